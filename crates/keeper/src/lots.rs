//! The line of a disk's starts: which lot was drawn at each, as far back as the disk tells.
//!
//! A disk that was put back to an old copy and runs on for long enough has a start as late, and as much that is durable, as
//! others remember of the newer copy. What they remember is not among its own starts, though.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::recall::{Mark, Started};

/// Where the lots of this disk's starts are kept.
pub const LOTS_KEY: &str = "lots";

/// So many starts are kept: the latest.
const LOTS_MAX: usize = 64;

/// Lots by generation, of one life.
#[derive(Debug, Default)]
pub(crate) struct Lots {
    life: u64,
    drawn: BTreeMap<u64, u64>,
}

impl Lots {
    /// With the present start. What is kept of another life, or can't be read, says nothing.
    pub(crate) fn of(started: &Started, kept: Option<&Bytes>) -> Lots {
        let mut drawn = kept.and_then(|kept| decode(kept, started.life)).unwrap_or_default();
        // Later starts than this one are not of its line.
        drawn.retain(|generation, _| *generation < started.generation);
        drawn.insert(started.generation, started.lot);
        while drawn.len() > LOTS_MAX {
            drawn.pop_first();
        }
        Lots { life: started.life, drawn }
    }

    /// Whether what somebody remembers of this life is a start of another copy of the disk.
    pub(crate) fn lack(&self, mark: &Mark) -> bool {
        self.drawn.get(&mark.generation).is_some_and(|lot| *lot != mark.lot)
    }

    /// `life u64 | (generation u64 | lot u64)*`, big-endian.
    pub(crate) fn encode(&self) -> Bytes {
        let numbers = self.drawn.iter().flat_map(|(generation, lot)| [*generation, *lot]);
        let words = [self.life].into_iter().chain(numbers);
        words.flat_map(u64::to_be_bytes).collect()
    }
}

fn decode(bytes: &[u8], life: u64) -> Option<BTreeMap<u64, u64>> {
    let (words, []) = bytes.as_chunks::<8>() else { return None };
    let mut words = words.iter().map(|word| u64::from_be_bytes(*word));
    if words.next() != Some(life) {
        return None;
    }
    let mut drawn = BTreeMap::new();
    while let Some(generation) = words.next() {
        drawn.insert(generation, words.next()?);
    }
    Some(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(life: u64, generation: u64, lot: u64) -> Started {
        Started { life, generation, lot, found: 0, durable: 0 }
    }

    #[test]
    fn a_start_that_is_not_of_the_line_is_told_from_one_that_is_and_from_one_that_nobody_noted() {
        let mark = |generation, lot| Mark { generation, lot, durable: 0 };
        let first = Lots::of(&started(7, 2, 20), None).encode();
        let lots = Lots::of(&started(7, 3, 30), Some(&first));
        assert!(lots.lack(&mark(2, 21)) && lots.lack(&mark(3, 31)));
        assert!(!lots.lack(&mark(2, 20)) && !lots.lack(&mark(3, 30)) && !lots.lack(&mark(1, 99)));
        let another_life = Lots::of(&started(8, 3, 30), Some(&first));
        assert!(!another_life.lack(&mark(2, 21)));
        let again = Lots::of(&started(7, 2, 22), Some(&lots.encode()));
        assert!(again.lack(&mark(2, 20)) && !again.lack(&mark(3, 30)));
    }

    #[test]
    fn no_more_than_so_many_starts_are_kept_and_bytes_that_make_no_sense_are_none() {
        let mut kept = None;
        for generation in 1..=LOTS_MAX as u64 + 9 {
            kept = Some(Lots::of(&started(7, generation, generation), kept.as_ref()).encode());
        }
        let kept = kept.unwrap();
        assert_eq!(kept.len(), 8 + 16 * LOTS_MAX);
        for cut in 0..kept.len() {
            let cut = kept.slice(..cut);
            assert!(Lots::of(&started(7, 99, 1), Some(&cut)).drawn.len() <= LOTS_MAX);
        }
    }
}
