//! Randomness by name: each part of a run draws from a stream of its own, all from one seed.
//!
//! What one part draws does not shift what another does, so taking one fault or one client away leaves the rest of a
//! run much as it was: that is what lets a failing run be made smaller. ChaCha gives the same numbers on each
//! platform and in each version.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Chance(ChaCha8Rng);

/// What a stream is for.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum For {
    Shape = 1,
    Faults,
    Clients,
    Link,
    Disk,
    Node,
    Gossip,
}

impl Chance {
    /// The stream of one `part` (a node's, a link's number) for one purpose.
    pub fn new(seed: u64, purpose: For, part: u64) -> Self {
        let mut stream = ChaCha8Rng::seed_from_u64(seed);
        stream.set_stream((purpose as u64) << 32 | part);
        Self(stream)
    }

    pub fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number of `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in so many of a thousand cases. Draws nothing where that is never.
    pub fn permille(&mut self, chances: u32) -> bool {
        chances > 0 && self.below(1000) < u64::from(chances)
    }

    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    /// `count` distinct numbers below `bound`, in random order.
    pub fn some_of(&mut self, bound: u8, count: usize) -> Vec<u8> {
        let mut all: Vec<u8> = (0..bound).collect();
        for at in 0..count.min(all.len()) {
            let other = at + self.index(all.len() - at);
            all.swap(at, other);
        }
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_their_own_and_the_same_each_time() {
        let draw = |seed, purpose, part| Chance::new(seed, purpose, part).next();
        assert_eq!(draw(1, For::Disk, 2), draw(1, For::Disk, 2));
        assert_ne!(draw(1, For::Disk, 2), draw(1, For::Disk, 3));
        assert_ne!(draw(1, For::Disk, 2), draw(1, For::Link, 2));
        assert_ne!(draw(1, For::Disk, 2), draw(2, For::Disk, 2));
        // Held down: another number here would be another run for each kept seed.
        assert_eq!(draw(42, For::Clients, 7), PINNED);
    }

    const PINNED: u64 = 11_343_890_752_083_402_082;

    #[test]
    fn some_of_are_distinct() {
        let mut chance = Chance::new(3, For::Shape, 0);
        for _ in 0..100 {
            let mut some = chance.some_of(5, 3);
            some.sort_unstable();
            some.dedup();
            assert!(some.len() == 3 && some.iter().all(|one| *one < 5));
        }
    }
}
