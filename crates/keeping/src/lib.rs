//! What a keeper wants of its store, as the store's operations; and what those came to, as the keeper is told it (§4.7, 4.9).
//!
//! `keeper` knows no store and `storage` no keeper; whoever drives both needs this, with threads as `node` does or in virtual
//! time as `sim` does. A [`Task`] is one thing that was asked: its [`Asked`] operations are submitted in their order, and the
//! result of each is given back to it, in any order, until it says what the keeper is told.
//!
//! And what a node answers to whoever administers the ring (`edits`: the change that is meant, or why not; `view`: the ring
//! and its nodes; `receipt`: what a node that is to go still has), by what its keeper and gossip know.
//!
//! What it does not do: submit anything, wait, or know buckets.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod answers;
pub mod edits;
pub mod receipt;
pub mod view;

use std::sync::Arc;

use bytes::Bytes;
use dynamo_keeper::{StoreAsk, StoreDone, collect::Item, registry};
use dynamo_ring::Partition;
use dynamo_storage::{Op, Outcome, Read, RecordKey, StoreError};
use dynamo_transfer::{MergeRefusal, Record};
use dynamo_version::Mode;

/// Records of one page at most, beside its bytes.
const PAGE_MAX: usize = 4096;

/// The keeper's values: what it has to be given at its start, in the order of [`dynamo_keeper::Kept`] and of what follows it.
pub const KEYS: [&str; 7] = [
    registry::STATE_KEY,
    registry::KNOWN_KEY,
    registry::LIVES_KEY,
    dynamo_keeper::WHOLE_KEY,
    dynamo_keeper::STARTS_KEY,
    dynamo_keeper::CLEAR_KEY,
    dynamo_keeper::LOTS_KEY,
];

/// Under which name a value of the keeper's stands in the store.
pub fn meta_key(key: &str) -> Bytes {
    Bytes::from(format!("keeper/{key}"))
}

/// An operation of the store's.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "made and taken apart in one step")]
pub enum Asked {
    /// A change.
    Op(Op),
    /// A look.
    Read(Read),
}

/// One thing that was asked, of which the store may make several operations.
#[derive(Debug)]
pub struct Task {
    what: What,
    left: usize,
    /// Of a merge: records that could not be taken. Of a collection: operations that failed.
    refused: u32,
    stopped: Option<MergeRefusal>,
    /// Of a collection: tombstones that went, and records that lost names.
    gone: u32,
    pruned: u32,
}

#[derive(Debug, Clone)]
enum What {
    Simple,
    Merge,
    Page { after: Option<Bytes> },
    Scrub,
    Spent { retired: Arc<[(u128, u64)]> },
    Collect,
}

impl Task {
    /// What has to be submitted; `mode_of` says how a bucket reconciles.
    ///
    /// # Errors
    /// There is nothing to submit: the keeper is to be told this.
    pub fn begin(ask: StoreAsk, mode_of: impl Fn(&str) -> Mode) -> Result<(Task, Vec<Asked>), StoreDone> {
        let scan = |what, partition, after: &Option<Bytes>, bytes_max| {
            let after = after.as_ref().and_then(|after| RecordKey::decode(after).ok());
            let read = Read::Scan { partition: Partition(partition), after, limit: PAGE_MAX, bytes_max };
            Ok((Task::of(what, 1), vec![Asked::Read(read)]))
        };
        match ask {
            StoreAsk::Merge { partition, epoch, records } => {
                let count = records.len();
                let ops = records.into_iter().filter_map(|record| merge(partition, epoch, record, &mode_of));
                let ops: Vec<Asked> = ops.map(Asked::Op).collect();
                let mut task = Task::of(What::Merge, ops.len());
                task.refused = (count - ops.len()) as u32;
                if ops.is_empty() { Err(task.merged()) } else { Ok((task, ops)) }
            }
            StoreAsk::Page { partition, after, bytes_max } => {
                scan(What::Page { after: after.clone() }, partition, &after, bytes_max)
            }
            StoreAsk::Scrub { partition, after, bytes_max } => scan(What::Scrub, partition, &after, bytes_max),
            StoreAsk::Spent { partition, after, retired, bytes_max } => {
                scan(What::Spent { retired }, partition, &after, bytes_max)
            }
            StoreAsk::Collect { partition, items, retired } => {
                let ops = collect(partition, &items, &retired);
                if ops.is_empty() { Err(StoreDone::Failed) } else { Ok((Task::of(What::Collect, ops.len()), ops)) }
            }
            ask => {
                let asked = simple(ask).ok_or(StoreDone::Failed)?;
                Ok((Task::of(What::Simple, 1), vec![asked]))
            }
        }
    }

    fn of(what: What, left: usize) -> Task {
        Task { what, left, refused: 0, stopped: None, gone: 0, pruned: 0 }
    }

    /// The store has finished one of the operations. What the keeper is told, once it was the last.
    pub fn done(&mut self, result: Result<Outcome, StoreError>) -> Option<StoreDone> {
        match &self.what {
            What::Merge => match result.map_err(|error| answers::refusal(&error)) {
                Ok(_) => {}
                Err(MergeRefusal::Some { keys }) => self.refused += keys,
                Err(refusal) => self.stopped = Some(refusal),
            },
            What::Collect => match result {
                Ok(Outcome::Collected(true)) => self.gone += 1,
                Ok(Outcome::Pruned(true)) => self.pruned += 1,
                Ok(_) => {}
                Err(_) => self.refused += 1,
            },
            what => return Some(result.map_or(StoreDone::Failed, |outcome| answers::one(what, outcome))),
        }
        self.left -= 1;
        (self.left == 0).then(|| if matches!(self.what, What::Merge) { self.merged() } else { self.collected() })
    }

    fn merged(&self) -> StoreDone {
        StoreDone::Merged(match (self.stopped, self.refused) {
            (Some(refusal), _) => Err(refusal),
            (None, 0) => Ok(()),
            (None, keys) => Err(MergeRefusal::Some { keys }),
        })
    }

    /// What failed is tried again by whoever asked: it was found to be there still.
    fn collected(&self) -> StoreDone {
        let (gone, pruned) = (self.gone, self.pruned);
        if self.refused > 0 { StoreDone::Failed } else { StoreDone::Collected { gone, pruned } }
    }
}

/// A key that a peer named, if it is one of the partition.
fn key_of(partition: u16, key: &[u8]) -> Option<RecordKey> {
    RecordKey::decode(key).ok().filter(|key| key.partition().0 == partition)
}

fn keys_of(partition: u16, keys: &[Bytes]) -> Option<Vec<RecordKey>> {
    keys.iter().map(|key| key_of(partition, key)).collect()
}

/// None: a key that is none came from a peer, or it makes several operations.
fn simple(ask: StoreAsk) -> Option<Asked> {
    Some(match ask {
        StoreAsk::Put { key, value } => Asked::Op(Op::PutMeta { key: meta_key(key), value: Some(value) }),
        StoreAsk::Fence { partitions, epoch, floor } => {
            Asked::Op(Op::Fence { partitions: partitions.into_iter().map(Partition).collect(), epoch, floor })
        }
        StoreAsk::Forget { partition, epoch, limit } => {
            Asked::Op(Op::Forget { partition: Partition(partition), epoch, limit })
        }
        StoreAsk::Mend { key } => Asked::Op(Op::Mend { key: RecordKey::decode(&key).ok()? }),
        StoreAsk::Leaf { partition, leaf, after, entries_max, bytes_max } => {
            Asked::Read(Read::Leaf { partition: Partition(partition), leaf, after, entries_max, bytes_max })
        }
        StoreAsk::Records { partition, keys, bytes_max } => {
            Asked::Read(Read::Records { keys: keys_of(partition, &keys)?, bytes_max })
        }
        StoreAsk::Digests { partition, keys } => Asked::Read(Read::Digests { keys: keys_of(partition, &keys)? }),
        StoreAsk::Hinted => Asked::Read(Read::Hinted),
        StoreAsk::Merge { .. }
        | StoreAsk::Page { .. }
        | StoreAsk::Scrub { .. }
        | StoreAsk::Spent { .. }
        | StoreAsk::Collect { .. } => return None,
    })
}

/// A record as a write to this node: None if it makes no sense here.
fn merge(partition: u16, epoch: u64, record: Record, mode_of: &impl Fn(&str) -> Mode) -> Option<Op> {
    let key = key_of(partition, &record.key)?;
    let bucket = key.parts().bucket;
    let mode = mode_of(std::str::from_utf8(&bucket).ok()?);
    // Copied out of the message: the engine keeps it longer than the other records that came with it.
    let set = Bytes::copy_from_slice(&record.set);
    Some(Op::Merge { key, set, digest: record.digest, mode, hint_for: None, epoch, sync: true })
}

fn collect(partition: u16, items: &[Item], retired: &Arc<[(u128, u64)]>) -> Vec<Asked> {
    let keys = items.iter().filter_map(|item| Some((key_of(partition, &item.key)?, item.digest)));
    // Not deleted: then it has names to lose.
    let both = |(key, digest): (RecordKey, u64)| {
        let prune = Op::Prune { key: key.clone(), digest, actors: retired.clone() };
        [Asked::Op(Op::Collect { key, digest }), Asked::Op(prune)]
    };
    keys.flat_map(both).collect()
}
