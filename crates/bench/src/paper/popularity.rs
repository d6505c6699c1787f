//! Keys that are asked for unevenly: the key of rank k as often as k to the power of minus the skew (Zipf). Skew 0 asks for all alike.

use crate::workload::draw::Draws;

/// As many bits as an f64 has digits.
const STEPS: u64 = 1 << 53;

/// How often each of so many keys is asked for.
#[derive(Debug, Clone)]
pub struct Popularity {
    /// By rank: how much is asked for it and all before it, the last 1.
    up_to: Vec<f64>,
}

impl Popularity {
    /// Of at least one key.
    pub fn new(keys: u64, skew: f64) -> Self {
        assert!(keys > 0, "nothing could be asked for");
        let mut sum = 0.0;
        let mut up_to: Vec<f64> = (1..=keys)
            .map(|rank| {
                sum += (rank as f64).powf(-skew);
                sum
            })
            .collect();
        up_to.iter_mut().for_each(|part| *part /= sum);
        Self { up_to }
    }

    /// The rank of the key that is asked for next, counted from 0.
    pub fn next(&self, draws: &mut Draws) -> u64 {
        let chance = draws.below(STEPS) as f64 / STEPS as f64;
        let rank = self.up_to.partition_point(|up_to| *up_to <= chance);
        rank.min(self.up_to.len() - 1) as u64
    }

    /// What part of all is asked for the most popular key.
    pub fn most(&self) -> f64 {
        self.up_to[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(keys: u64, skew: f64, draws: u32) -> Vec<f64> {
        let popularity = Popularity::new(keys, skew);
        let mut chance = Draws::new(11);
        let mut counts = vec![0.0; keys as usize];
        (0..draws).for_each(|_| counts[popularity.next(&mut chance) as usize] += 1.0);
        counts
    }

    #[test]
    fn without_skew_all_are_asked_for_alike() {
        let counts = counts(10, 0.0, 100_000);
        assert!(counts.iter().all(|count| (9_500.0..10_500.0).contains(count)), "{counts:?}");
    }

    #[test]
    fn with_a_skew_of_one_the_second_is_asked_for_half_as_often_as_the_first() {
        let counts = counts(100, 1.0, 200_000);
        assert!((counts[0] / counts[1] - 2.0).abs() < 0.1, "{counts:?}");
        assert!((counts[0] / counts[9] - 10.0).abs() < 1.0, "{counts:?}");
        let most = Popularity::new(100, 1.0).most();
        assert!((counts[0] / 200_000.0 / most - 1.0).abs() < 0.03, "{} {most}", counts[0]);
    }

    #[test]
    fn every_rank_is_one_of_the_keys() {
        assert!(counts(1, 3.0, 1000)[0] == 1000.0);
        let popularity = Popularity::new(7, 0.3);
        let mut chance = Draws::new(5);
        assert!((0..10_000).all(|_| popularity.next(&mut chance) < 7));
    }
}
