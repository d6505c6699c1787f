//! What was acknowledged of each key, and whether what is found later is no older.
//!
//! Every write has a stamp, in the order in which writes begin. A write that began when another one was over comes after it; of two that
//! were under way at once either may have won. So an acknowledged write gives its key a floor: the oldest write of the key that was
//! under way when it began. Whatever is found below was over before the acknowledged one began: that one is lost. A write that failed is
//! in doubt: it may become visible at any time, and is under way for ever.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::draw::stamp_of;

/// One key's part.
#[derive(Debug, Default, Clone)]
struct Entry {
    /// No stamp below may be all that is found; 0: nothing was acknowledged.
    floor: u64,
    /// Stamps of writes without an answer, the oldest first.
    under_way: Vec<u64>,
}

/// All keys'. Its lock is held for a few instructions, by one client mostly: a key has one writer at a time but for chance.
#[derive(Debug)]
pub struct Ledger {
    stamps: AtomicU64,
    entries: Vec<Mutex<Entry>>,
}

/// A write that has begun.
#[derive(Debug)]
pub struct Write {
    key: u64,
    stamp: u64,
    floor: u64,
}

impl Write {
    /// What its value begins with.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }
}

/// What is wrong with what was found of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is there.
    Absent,
    /// All that is there was over before the acknowledged write began.
    Older,
    /// It is no value of this key.
    Foreign,
}

impl Ledger {
    /// Nothing was written yet.
    pub fn new(keys: u64) -> Self {
        Self { stamps: AtomicU64::new(0), entries: (0..keys).map(|_| Mutex::default()).collect() }
    }

    /// How many keys there are.
    pub fn keys(&self) -> u64 {
        self.entries.len() as u64
    }

    /// A write is about to be sent.
    pub fn begin(&self, key: u64) -> Write {
        let mut entry = self.entries[key as usize].lock();
        // Under the lock, so that stamps of a key are in the order of its entries.
        let stamp = self.stamps.fetch_add(1, Ordering::Relaxed) + 1;
        entry.under_way.push(stamp);
        Write { key, stamp, floor: entry.under_way[0] }
    }

    /// The store says that it has it.
    pub fn acknowledged(&self, write: Write) {
        let mut entry = self.entries[write.key as usize].lock();
        entry.under_way.retain(|stamp| *stamp != write.stamp);
        entry.floor = entry.floor.max(write.floor);
    }

    /// Whether anything of this key was acknowledged.
    pub fn has(&self, key: u64) -> bool {
        self.entries[key as usize].lock().floor > 0
    }

    /// Judges what was found of a key: all its siblings.
    ///
    /// # Errors
    /// An acknowledged write is lost.
    pub fn judge(&self, key: u64, found: &[impl AsRef<[u8]>]) -> Result<(), Fault> {
        let floor = self.entries[key as usize].lock().floor;
        if floor == 0 {
            return Ok(());
        }
        let stamps: Option<Vec<u64>> = found.iter().map(|value| stamp_of(value.as_ref(), key)).collect();
        match stamps.ok_or(Fault::Foreign)?.into_iter().max() {
            None => Err(Fault::Absent),
            Some(newest) if newest < floor => Err(Fault::Older),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::draw::{Draws, Values};

    fn value(key: u64, write: &Write) -> bytes::Bytes {
        Values::new(100).stamped(&mut Draws::new(1), key, write.stamp())
    }

    #[test]
    fn what_was_acknowledged_last_has_to_be_there() {
        let ledger = Ledger::new(2);
        assert_eq!(ledger.judge(0, &[b""; 0]), Ok(()), "nothing was acknowledged");
        let first = ledger.begin(0);
        let old = value(0, &first);
        ledger.acknowledged(first);
        assert!(ledger.has(0) && !ledger.has(1));
        assert_eq!(ledger.judge(0, &[&old]), Ok(()));
        let second = ledger.begin(0);
        let new = value(0, &second);
        assert_eq!(ledger.judge(0, &[&old]), Ok(()), "the second has no answer yet");
        ledger.acknowledged(second);
        assert_eq!(ledger.judge(0, &[&new]), Ok(()));
        assert_eq!(ledger.judge(0, &[&new, &old]), Ok(()), "a sibling too many is no loss");
        assert_eq!(ledger.judge(0, &[&old]), Err(Fault::Older));
        assert_eq!(ledger.judge(0, &[b""; 0]), Err(Fault::Absent));
        assert_eq!(ledger.judge(0, &[value(1, &ledger.begin(1))]), Err(Fault::Foreign));
        assert_eq!(ledger.judge(0, &[b"short"]), Err(Fault::Foreign));
    }

    #[test]
    fn of_two_that_were_under_way_at_once_either_may_have_won() {
        let ledger = Ledger::new(1);
        let (before, one, other) = (ledger.begin(0), ledger.begin(0), ledger.begin(0));
        let (old, first, second) = (value(0, &before), value(0, &one), value(0, &other));
        ledger.acknowledged(before);
        ledger.acknowledged(other);
        ledger.acknowledged(one);
        for found in [&old, &first, &second] {
            assert_eq!(ledger.judge(0, &[found]), Ok(()), "they all overlapped");
        }
        let last = ledger.begin(0);
        let newest = value(0, &last);
        ledger.acknowledged(last);
        assert_eq!(ledger.judge(0, &[&first, &second]), Err(Fault::Older));
        assert_eq!(ledger.judge(0, &[newest]), Ok(()));
    }

    #[test]
    fn a_write_in_doubt_may_become_visible_at_any_time() {
        let ledger = Ledger::new(1);
        let sure = ledger.begin(0);
        let oldest = value(0, &sure);
        ledger.acknowledged(sure);
        let doubtful = ledger.begin(0);
        let surprise = value(0, &doubtful);
        let later = ledger.begin(0);
        ledger.acknowledged(later);
        assert_eq!(ledger.judge(0, &[&surprise]), Ok(()), "it came after the last one");
        assert_eq!(ledger.judge(0, &[&oldest]), Err(Fault::Older));
    }
}
