//! What clients did and saw, and what causally preceded what: the checkers' ground truth.
//!
//! Causality is kept by what clients were shown, not by what contexts claim: a write follows the writes whose values
//! (or deletes) were in the answers that its client's context came from, and all that those follow.

use std::{collections::BTreeMap, rc::Rc};

use bytes::Bytes;
use dynamo_version::{Actor, Dot, Timestamp};

/// An attempt to write: each has a number, and its value says which.
pub type WriteId = u32;

/// What a client had seen.
pub type Seen = Rc<[WriteId]>;

/// What a client knows of an attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// No answer, or one that says that it may have happened.
    Unknown,
    /// It is safe.
    Acknowledged,
    /// Refused before anything was written.
    NotWritten,
}

/// An attempt to write.
#[derive(Debug, Clone)]
pub struct WriteRecord {
    /// Whose it is.
    pub client: u8,
    /// Of which key.
    pub key: u16,
    /// Whether it deletes.
    pub delete: bool,
    /// What its client's context came from.
    pub seen: Seen,
    /// When it was sent.
    pub began_us: u64,
    /// When its client was told, if ever.
    pub ended_us: Option<u64>,
    /// What its client was told.
    pub outcome: WriteOutcome,
    /// Where and as what it was minted.
    pub minted: Option<Minted>,
    /// What was promised of it when it began; see `check/availability.rs`.
    pub promise: Promise,
    /// What it was answered instead.
    pub refused: Option<String>,
}

/// The version that a write became.
#[derive(Debug, Clone, Copy)]
pub struct Minted {
    /// Its name.
    pub dot: Dot,
    /// Its time, where the last write wins.
    pub timestamp: Timestamp,
    /// When it got its name.
    pub at_us: u64,
}

/// A tombstone that homes may remove from now on.
#[derive(Debug, Clone, Copy)]
pub struct Collected {
    /// Its time.
    pub timestamp: Timestamp,
    /// Its name.
    pub dot: Dot,
    /// When the first home was asked to.
    pub at_us: u64,
}

/// What follows for a write from who can reach whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Nothing: things change, or have just changed.
    None,
    /// W nodes can be reached, and have been for a while.
    Succeeds,
    /// A strict write whose homes cannot be reached, and have not been for a while.
    FailsAtOnce,
}

/// A read that was answered.
#[derive(Debug, Clone)]
pub struct ReadRecord {
    /// Whose it is.
    pub client: u8,
    /// Of which key.
    pub key: u16,
    /// When it was sent.
    pub began_us: u64,
    /// When it was answered.
    pub ended_us: u64,
    /// The writes whose values or deletes were found.
    pub found: Seen,
    /// Values that name no write of the key, as they came.
    pub strange: Vec<Bytes>,
}

/// A run's history.
#[derive(Debug, Default)]
pub struct History {
    /// All attempts, by number.
    pub writes: Vec<WriteRecord>,
    /// All answered reads.
    pub reads: Vec<ReadRecord>,
    dots: BTreeMap<(u16, Dot), WriteId>,
    /// Dots that were minted twice: the key, the dot, the two writes.
    pub minted_twice: Vec<(u16, Dot, WriteId, WriteId)>,
    /// Reads that were refused.
    pub failed_reads: u32,
    /// Tombstones that passed a round of collecting, by key.
    pub collected: BTreeMap<u16, Vec<Collected>>,
}

/// Bytes of a value, its write's number first.
pub fn value_of(write: WriteId, bytes: u32) -> Bytes {
    let mut value = vec![b'.'; bytes as usize];
    value[..4].copy_from_slice(b"w:\0\0");
    value[4..8].copy_from_slice(&write.to_be_bytes());
    Bytes::from(value)
}

impl History {
    /// An attempt to write begins: its number.
    pub fn begin_write(&mut self, record: WriteRecord) -> WriteId {
        self.writes.push(record);
        (self.writes.len() - 1) as WriteId
    }

    /// An attempt by its number.
    pub fn write(&self, id: WriteId) -> &WriteRecord {
        &self.writes[id as usize]
    }

    /// A write got its name.
    pub fn minted(&mut self, id: WriteId, minted: Minted) {
        let key = self.write(id).key;
        if let Some(first) = self.dots.insert((key, minted.dot), id) {
            self.minted_twice.push((key, minted.dot, first, id));
        }
        // Its first name is its time, should it ever be named twice.
        let before = self.writes[id as usize].minted.map_or(minted.at_us, |before| before.at_us);
        let record = &mut self.writes[id as usize];
        record.minted = Some(Minted { at_us: before, ..minted });
    }

    /// A home is asked to remove a tombstone.
    pub fn collects(&mut self, key: u16, collected: Collected) {
        let known = self.collected.entry(key).or_default();
        if !known.iter().any(|known| known.dot == collected.dot) {
            known.push(collected);
        }
    }

    /// Which write a dot of a key names.
    pub fn write_of(&self, key: u16, dot: &Dot) -> Option<WriteId> {
        self.dots.get(&(key, *dot)).copied()
    }

    /// Versions of a key that were made.
    pub fn versions(&self, key: u16) -> usize {
        let (first, last) = (
            Actor { node: 0, incarnation: 0, key_epoch: 0 },
            Actor { node: u128::MAX, incarnation: u64::MAX, key_epoch: u64::MAX },
        );
        let range = (key, Dot { actor: first, counter: 0 })..=(key, Dot { actor: last, counter: u64::MAX });
        self.dots.range(range).count()
    }

    /// Which write a value names, if it is one of this key's.
    pub fn write_in(&self, key: u16, value: &[u8]) -> Option<WriteId> {
        let number = value.get(..8)?.strip_prefix(b"w:\0\0")?;
        let id = WriteId::from_be_bytes(number.try_into().ok()?);
        let known = self.writes.get(id as usize)?;
        (known.key == key && !known.delete && value[8..].iter().all(|byte| *byte == b'.')).then_some(id)
    }

    /// All that these writes causally follow, themselves included, sorted.
    pub fn past_of(&self, writes: &[WriteId]) -> Vec<WriteId> {
        self.past_from(writes, 0)
    }

    /// As [`History::past_of`], but only what is not older than `first`. (What a write follows has a lower number.)
    pub fn past_from(&self, writes: &[WriteId], first: WriteId) -> Vec<WriteId> {
        let mut past: Vec<WriteId> = Vec::new();
        let mut open: Vec<WriteId> = writes.to_vec();
        // Highest first, so that each is met with all its followers done: a plain sorted merge.
        open.sort_unstable();
        let mut heap: std::collections::BinaryHeap<WriteId> = open.into();
        while let Some(next) = heap.pop() {
            if next < first {
                break;
            }
            if past.last() == Some(&next) {
                continue;
            }
            past.push(next);
            heap.extend(self.write(next).seen.iter().copied());
        }
        past.reverse();
        past
    }

    /// Whether `later` causally follows `earlier`, or is it.
    pub fn follows(&self, later: WriteId, earlier: WriteId) -> bool {
        self.past_from(&[later], earlier).first() == Some(&earlier)
    }

    /// Writes of each key, by number.
    pub fn by_key(&self, keys: u16) -> Vec<Vec<WriteId>> {
        let mut by_key = vec![Vec::new(); usize::from(keys)];
        for (id, write) in self.writes.iter().enumerate() {
            by_key[usize::from(write.key)].push(id as WriteId);
        }
        by_key
    }

    /// How many writes are safe.
    pub fn acknowledged(&self) -> usize {
        self.writes.iter().filter(|write| write.outcome == WriteOutcome::Acknowledged).count()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A write of key 0 that has seen these.
    pub fn write(seen: &[WriteId]) -> WriteRecord {
        WriteRecord {
            client: 0,
            key: 0,
            delete: false,
            seen: seen.into(),
            began_us: 0,
            ended_us: None,
            outcome: WriteOutcome::Unknown,
            minted: None,
            promise: Promise::None,
            refused: None,
        }
    }

    /// A history of acknowledged writes of key 0, each with what it has seen.
    pub fn history(writes: &[&[WriteId]]) -> History {
        let mut history = History::default();
        for (at, seen) in writes.iter().enumerate() {
            let (began_us, ended_us) = (at as u64 * 10, Some(at as u64 * 10 + 5));
            history.begin_write(WriteRecord { outcome: WriteOutcome::Acknowledged, began_us, ended_us, ..write(seen) });
        }
        history
    }

    #[test]
    fn the_past_is_transitive() {
        let history = history(&[&[], &[0], &[], &[1, 2], &[2]]);
        assert_eq!(history.past_of(&[3]), [0, 1, 2, 3]);
        assert_eq!(history.past_of(&[1, 4]), [0, 1, 2, 4]);
        assert!(history.follows(3, 0) && history.follows(3, 3));
        assert!(!history.follows(4, 0) && !history.follows(0, 3));
    }

    #[test]
    fn a_value_names_its_write_and_a_changed_one_none() {
        let history = history(&[&[], &[]]);
        let value = value_of(1, 16);
        assert_eq!(history.write_in(0, &value), Some(1));
        assert_eq!(history.write_in(1, &value), None, "of another key");
        assert_eq!(history.write_in(0, &value_of(2, 16)), None, "nobody wrote it");
        let mut changed = value.to_vec();
        changed[12] ^= 1;
        assert_eq!(history.write_in(0, &changed), None);
        assert_eq!(history.write_in(0, b"w:"), None);
    }
}
