//! Which key is asked for next, and what is written to it. The same seed asks the same of every store.

use bytes::{Bytes, BytesMut};

/// Values are cut from so many random bytes, so that they cost no time to make and do not compress.
const POOL_BYTES: usize = 1 << 20;
/// A value begins with its write's stamp and its key's number.
pub const VALUE_BYTES_MIN: usize = 16;
/// Beyond, no two values would differ.
pub const VALUE_BYTES_MAX: usize = POOL_BYTES / 2;

/// The key with this number: a fixed permutation, so that neighbours in number are none in key order.
pub fn key(number: u64) -> [u8; 16] {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    std::array::from_fn(|digit| b"0123456789abcdef"[(mixed >> (digit * 4) & 15) as usize])
}

/// What one client wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Of this key.
    Read(u64),
    /// Of this key.
    Write(u64),
}

/// Random numbers: xorshift64*, cheap beside any request.
#[derive(Debug, Clone)]
pub struct Draws(u64);

impl Draws {
    /// The same for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Evenly from 0 up to `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A key evenly of all, a read with the given probability.
    pub fn wish(&mut self, keys: u64, read_percent: u32) -> Wish {
        let key = self.below(keys);
        if self.below(100) < u64::from(read_percent) { Wish::Read(key) } else { Wish::Write(key) }
    }
}

/// Values of one size.
#[derive(Debug, Clone)]
pub struct Values {
    pool: Bytes,
    size: usize,
}

impl Values {
    /// Of `size` bytes, within [`VALUE_BYTES_MIN`] and [`VALUE_BYTES_MAX`].
    pub fn new(size: usize) -> Self {
        assert!(
            (VALUE_BYTES_MIN..=VALUE_BYTES_MAX).contains(&size),
            "{size} bytes have no room for a stamp, or are too many"
        );
        let mut draws = Draws::new(42);
        Self { pool: (0..POOL_BYTES).map(|_| draws.next() as u8).collect(), size }
    }

    /// A value that says whose it is.
    pub fn stamped(&self, draws: &mut Draws, key: u64, stamp: u64) -> Bytes {
        let from = draws.below((POOL_BYTES - self.size) as u64) as usize;
        let mut value = BytesMut::with_capacity(self.size);
        value.extend_from_slice(&stamp.to_be_bytes());
        value.extend_from_slice(&key.to_be_bytes());
        value.extend_from_slice(&self.pool[from..from + self.size - VALUE_BYTES_MIN]);
        value.freeze()
    }
}

/// The stamp of a value of this key; None when it is no such value.
pub fn stamp_of(value: &[u8], key: u64) -> Option<u64> {
    let (stamp, rest) = value.split_first_chunk()?;
    (rest.first_chunk() == Some(&key.to_be_bytes())).then(|| u64::from_be_bytes(*stamp))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn one_seed_asks_the_same_again_and_another_something_else() {
        let wishes = |seed| {
            let mut draws = Draws::new(seed);
            (0..1000).map(|_| draws.wish(100_000, 50)).collect::<Vec<_>>()
        };
        assert_eq!(wishes(1003), wishes(1003));
        assert_ne!(wishes(1003), wishes(1004));
        // As the peers' generator asks, so that figures of one can stand beside the other's.
        let mut draws = Draws::new(42);
        assert_eq!((0..4).map(|_| draws.next() as u8).collect::<Vec<_>>(), &Values::new(100).pool[..4]);
        assert_eq!(&key(0), b"fadcd1b7938a022e");
    }

    #[test]
    fn keys_are_drawn_evenly_and_reads_as_often_as_is_said() {
        let mut draws = Draws::new(7);
        let (mut counts, mut reads) = ([0u32; 100], 0);
        for _ in 0..100_000 {
            let (Wish::Read(key) | Wish::Write(key)) = match draws.wish(100, 95) {
                read @ Wish::Read(_) => {
                    reads += 1;
                    read
                }
                write @ Wish::Write(_) => write,
            };
            counts[key as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        assert!((94_500..95_500).contains(&reads), "{reads}");
        assert!((0..1000).all(|_| matches!(draws.wish(5, 100), Wish::Read(_))));
        assert!((0..1000).all(|_| matches!(draws.wish(5, 0), Wish::Write(_))));
    }

    #[test]
    fn keys_differ_and_are_in_another_order_than_their_numbers() {
        let keys: Vec<_> = (0..10_000).map(key).collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
        assert!(!keys.is_sorted());
    }

    #[test]
    fn a_value_has_its_size_and_says_whose_it_is_and_which() {
        let mut draws = Draws::new(1);
        for size in [VALUE_BYTES_MIN, 100, 1024, VALUE_BYTES_MAX] {
            let values = Values::new(size);
            let value = values.stamped(&mut draws, 17, 4711);
            assert_eq!((value.len(), stamp_of(&value, 17)), (size, Some(4711)));
            assert_eq!(stamp_of(&value, 18), None);
            assert_eq!(stamp_of(&value[..15], 17), None);
        }
        let values = Values::new(100);
        assert_ne!(values.stamped(&mut draws, 1, 1), values.stamped(&mut draws, 1, 1), "cut elsewhere");
    }
}
