//! Counts of what is stored, changed in the same batch as the records, and readable at any time without a lock.

use crate::engine::{Batch, EngineError, Page, Reading, Scan, Space};
use arc_swap::ArcSwap;
use bytes::Bytes;
use dynamo_ring::NodeId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const TOTALS_KEY: &[u8] = b"store/totals";
const HINTS_PREFIX: &[u8] = b"store/hints/";

/// Hints held for one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HintCount {
    /// Number of hints.
    pub count: u64,
    /// Bytes of their keys and bodies.
    pub bytes: u64,
}

/// The counts, and the number of the commit that they are as of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of the last commit.
    pub commit: u64,
    /// Records, tombstones included.
    pub keys: u64,
    /// Records of which every sibling is a tombstone.
    pub tombstones: u64,
    /// Bytes of the records' keys and values.
    pub bytes: u64,
    /// Hints by target; targets without hints are left out.
    pub hints: BTreeMap<NodeId, HintCount>,
}

impl Totals {
    /// Bytes of all hints.
    pub fn hint_bytes(&self) -> u64 {
        self.hints.values().map(|hints| hints.bytes).sum()
    }

    /// Adds a change of a record: `None` is no record; whether all its siblings are tombstones, and its bytes.
    pub fn record_changed(&mut self, before: Option<(bool, usize)>, after: Option<(bool, usize)>) {
        if let Some((deleted, bytes)) = before {
            self.keys -= 1;
            // Of a damaged record it can only be guessed whether it was one.
            self.tombstones = self.tombstones.saturating_sub(u64::from(deleted));
            self.bytes -= bytes as u64;
        }
        if let Some((deleted, bytes)) = after {
            self.keys += 1;
            self.tombstones += u64::from(deleted);
            self.bytes += bytes as u64;
        }
    }

    /// Adds a change of a hint: its bytes before and after.
    pub fn hint_changed(&mut self, target: NodeId, before: Option<usize>, after: Option<usize>) {
        let hints = self.hints.entry(target).or_default();
        if let Some(bytes) = before {
            hints.count -= 1;
            hints.bytes -= bytes as u64;
        }
        if let Some(bytes) = after {
            hints.count += 1;
            hints.bytes += bytes as u64;
        }
        if hints.count == 0 {
            self.hints.remove(&target);
        }
    }

    /// Reads them from an engine. All zero if there are none.
    pub fn load(engine: &dyn Reading) -> Result<Totals, EngineError> {
        let mut totals = Totals::default();
        if let Some(bytes) = engine.get(Space::Meta, TOTALS_KEY)? {
            let words = words::<4>(&bytes).ok_or_else(|| damaged("totals"))?;
            [totals.commit, totals.keys, totals.tombstones, totals.bytes] = words;
        }
        let Page { entries, .. } = engine.scan(Scan {
            space: Space::Meta,
            prefix: HINTS_PREFIX,
            after: None,
            until: None,
            limit: usize::MAX,
            bytes_max: usize::MAX,
        })?;
        for (key, value) in entries {
            let target = key[HINTS_PREFIX.len()..].try_into().map_err(|_| damaged("hint counts"))?;
            let [count, bytes] = words::<2>(&value).ok_or_else(|| damaged("hint counts"))?;
            totals.hints.insert(NodeId(u128::from_be_bytes(target)), HintCount { count, bytes });
        }
        Ok(totals)
    }

    /// Writes what changed since `before` into the batch.
    pub fn store(&self, before: &Totals, batch: &mut Batch) {
        let words = [self.commit, self.keys, self.tombstones, self.bytes];
        batch.put(Space::Meta, Bytes::from_static(TOTALS_KEY), bytes_of(&words));
        for (target, count) in &self.hints {
            if before.hints.get(target) != Some(count) {
                batch.put(Space::Meta, hints_key(*target), bytes_of(&[count.count, count.bytes]));
            }
        }
        for target in before.hints.keys().filter(|target| !self.hints.contains_key(target)) {
            batch.delete(Space::Meta, hints_key(*target));
        }
    }
}

fn damaged(what: &str) -> EngineError {
    EngineError::Damaged(format!("the stored {what} have a wrong length"))
}

fn hints_key(target: NodeId) -> Bytes {
    [HINTS_PREFIX, &target.0.to_be_bytes()].concat().into()
}

fn bytes_of(words: &[u64]) -> Bytes {
    words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>().into()
}

fn words<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let words: &[[u8; 8]; N] = chunks.try_into().ok()?;
    rest.is_empty().then(|| words.map(u64::from_le_bytes))
}

/// The state of the disk as the store sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DiskState {
    /// Reads and writes.
    Ok = 0,
    /// Reads only, until space returns.
    Full = 1,
    /// Reads only, after an error of the disk; the store tries to open it again from time to time.
    Failing = 2,
}

/// Live figures of a store. Reading them never waits for a writer.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) commit: AtomicU64,
    pub(crate) synced: AtomicU64,
    pub(crate) keys: AtomicU64,
    pub(crate) tombstones: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) hints: AtomicU64,
    pub(crate) hint_bytes: AtomicU64,
    pub(crate) corrupt: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) free: AtomicU64,
    pub(crate) disk: AtomicU64,
    hints_by_target: ArcSwap<BTreeMap<NodeId, HintCount>>,
}

impl Counters {
    /// Commits so far, in the whole life of the store.
    pub fn commits(&self) -> u64 {
        self.commit.load(Ordering::Acquire)
    }

    /// The last commit known to be durable.
    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// Records, tombstones included.
    pub fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    /// Records that are deleted and not yet collected.
    pub fn tombstones(&self) -> u64 {
        self.tombstones.load(Ordering::Relaxed)
    }

    /// Bytes of records, keys included, before whatever the engine adds.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Hints held for all targets.
    pub fn hints(&self) -> u64 {
        self.hints.load(Ordering::Relaxed)
    }

    /// Bytes of all hints.
    pub fn hint_bytes(&self) -> u64 {
        self.hint_bytes.load(Ordering::Relaxed)
    }

    /// Hints by target.
    pub fn hints_by_target(&self) -> Arc<BTreeMap<NodeId, HintCount>> {
        self.hints_by_target.load_full()
    }

    /// Damaged records that were met since the store was opened (each time one is met counts).
    pub fn corrupt(&self) -> u64 {
        self.corrupt.load(Ordering::Relaxed)
    }

    /// Syncs of the disk since the store was opened.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Free bytes on the disk when last looked at.
    pub fn disk_free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Whether the disk takes writes.
    pub fn disk(&self) -> DiskState {
        match self.disk.load(Ordering::Acquire) {
            0 => DiskState::Ok,
            1 => DiskState::Full,
            _ => DiskState::Failing,
        }
    }

    pub(crate) fn set_disk(&self, state: DiskState) {
        self.disk.store(state as u64, Ordering::Release);
    }

    pub(crate) fn publish(&self, totals: &Totals) {
        self.keys.store(totals.keys, Ordering::Relaxed);
        self.tombstones.store(totals.tombstones, Ordering::Relaxed);
        self.bytes.store(totals.bytes, Ordering::Relaxed);
        if **self.hints_by_target.load() != totals.hints {
            self.hints.store(totals.hints.values().map(|hints| hints.count).sum(), Ordering::Relaxed);
            self.hint_bytes.store(totals.hint_bytes(), Ordering::Relaxed);
            self.hints_by_target.store(Arc::new(totals.hints.clone()));
        }
        self.commit.store(totals.commit, Ordering::Release);
    }
}
