//! What a bench asks for: keys, values, and which key next.

use bytes::Bytes;
use clap::ValueEnum;
use rand::{Rng, RngCore, SeedableRng, rngs::SmallRng};

/// How often which key is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum Distribution {
    /// All alike
    #[default]
    Uniform,
    /// The k-th key in proportion to 1/k^0.99
    Zipfian,
}

impl Distribution {
    /// Its name as the flag takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipfian => "zipfian",
        }
    }
}

/// YCSB's exponent.
const ZIPF_EXPONENT: f64 = 0.99;
/// Values are slices of a pool of random bytes: they cost no CPU time to make, and do not compress.
const POOL_BYTES: usize = 8 << 20;

/// Chooses keys by number.
pub struct Chooser {
    keys: usize,
    /// For zipfian: the sum of the probabilities up to each key.
    cumulative: Vec<f64>,
}

impl Chooser {
    /// Over `keys` keys, at least one.
    pub fn new(distribution: Distribution, keys: usize) -> Self {
        let mut cumulative = Vec::new();
        if distribution == Distribution::Zipfian {
            let mut sum = 0.0;
            cumulative = (1..=keys)
                .map(|rank| {
                    sum += (rank as f64).powf(-ZIPF_EXPONENT);
                    sum
                })
                .collect();
            cumulative.iter_mut().for_each(|upto| *upto /= sum);
        }
        Self { keys, cumulative }
    }

    /// The next key's number.
    pub fn choose(&self, random: &mut impl Rng) -> usize {
        if self.cumulative.is_empty() {
            return random.random_range(0..self.keys);
        }
        let point: f64 = random.random();
        self.cumulative.partition_point(|&upto| upto <= point).min(self.keys - 1)
    }
}

/// The key of a number: exactly `size` bytes, decimal digits with zeros before.
pub fn key(number: usize, size: usize) -> Bytes {
    format!("{number:0size$}").into()
}

/// How many digits the keys need.
pub fn key_size_min(keys: usize) -> usize {
    keys.saturating_sub(1).to_string().len()
}

/// Values of one size.
#[derive(Clone)]
pub struct Values {
    pool: Bytes,
    size: usize,
}

impl Values {
    /// Values of `size` bytes.
    pub fn new(size: usize) -> Self {
        let mut pool = vec![0; POOL_BYTES + size];
        SmallRng::seed_from_u64(0xd1a0).fill_bytes(&mut pool);
        Self { pool: pool.into(), size }
    }

    /// Some value.
    pub fn next(&self, random: &mut impl Rng) -> Bytes {
        let start = random.random_range(0..POOL_BYTES);
        self.pool.slice(start..start + self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(distribution: Distribution) -> Vec<u32> {
        let chooser = Chooser::new(distribution, 100);
        let mut random = SmallRng::seed_from_u64(7);
        let mut counts = vec![0; 100];
        (0..100_000).for_each(|_| counts[chooser.choose(&mut random)] += 1);
        counts
    }

    #[test]
    fn uniform_chooses_all_keys_alike() {
        assert!(counts(Distribution::Uniform).iter().all(|count| (800..1200).contains(count)));
    }

    #[test]
    fn zipfian_follows_one_over_rank() {
        let counts = counts(Distribution::Zipfian);
        let ratio = f64::from(counts[0]) / f64::from(counts[9]);
        let expected = 10f64.powf(ZIPF_EXPONENT);
        assert!((ratio / expected - 1.0).abs() < 0.15, "{ratio} against {expected}");
        assert!(counts.iter().all(|&count| count > 0));
    }

    #[test]
    fn keys_have_their_size_and_differ() {
        assert_eq!(key(42, 16), "0000000000000042");
        assert_eq!((key_size_min(100_000), key_size_min(100_001), key_size_min(1)), (5, 6, 1));
    }

    #[test]
    fn values_have_their_size_also_when_larger_than_the_pool() {
        let mut random = SmallRng::seed_from_u64(1);
        for size in [0, 1024, POOL_BYTES + 5] {
            assert_eq!(Values::new(size).next(&mut random).len(), size);
        }
    }
}
