//! What a store is asked, and what it answers.

use super::Durability;
use crate::error::StoreError;
use crate::key::RecordKey;
use bytes::Bytes;
use dynamo_ring::{NodeId, Partition};
use dynamo_version::{Causality, Dot, Mode, Payload, Timestamp};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A change. All changes go through one thread, in the order they were submitted.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "moved twice through a queue; a box would cost an allocation for each write"
)]
pub enum Op {
    /// This node coordinates a write (§4.4): mints a dot and writes the value over what `context` covers.
    Write {
        /// Which record.
        key: RecordKey,
        /// What the client had read.
        context: Causality,
        /// The latest timestamp that the client had read; the new one is later.
        context_ts: Timestamp,
        /// The value, or a tombstone.
        payload: Payload,
        /// The bucket's mode.
        mode: Mode,
        /// The coordinator's wall clock, milliseconds since the Unix epoch.
        wall_ms: u64,
        /// `Some`: this node is no home of the key and keeps the write as a hint for that one.
        hint_for: Option<NodeId>,
        /// The ring's epoch under which this node is taken for a home: refused as [`StoreError::Sealed`] below the
        /// partition's fence. Of hints only those below the floor are refused.
        epoch: u64,
        /// With [`Durability::OneFsync`](super::Durability): this is the replica whose answer must be durable.
        sync: bool,
    },
    /// A state from another replica (a replicated write, a repair, a delivered hint) joins what is here.
    Merge {
        /// Which record.
        key: RecordKey,
        /// Canonical encoding of a sibling set.
        set: Bytes,
        /// Its digest, as the sender computed it.
        digest: u64,
        /// The bucket's mode.
        mode: Mode,
        /// As in `Write`.
        hint_for: Option<NodeId>,
        /// As in `Write`.
        epoch: u64,
        /// As in `Write`.
        sync: bool,
    },
    /// Remembers that `target` misses what this node, itself a home of the key, has: no copy, a note (§4.6).
    KeepHint {
        /// The home that misses it.
        target: NodeId,
        /// Which record.
        key: RecordKey,
    },
    /// Forgets a hint if it is still what was delivered.
    DropHint {
        /// The home that has it now.
        target: NodeId,
        /// Which record.
        key: RecordKey,
        /// Digest of the state that was confirmed by the target; 0 if there was nothing to deliver.
        digest: u64,
    },
    /// From here on this node takes requests for the partitions as their home only under this epoch of the ring or a later
    /// one (§4.9). Raises their fences, never lowers one. Always durable before it is done, and in force before that: what
    /// was applied before is then durable as well.
    Fence {
        /// Which partitions.
        partitions: Vec<Partition>,
        /// The lowest epoch that is still taken.
        epoch: u64,
        /// The lowest epoch of anything that is still taken: of all partitions, and of hints. 0: as before.
        floor: u64,
    },
    /// Removes records of a partition that this node has given up (§4.9). Refused as [`StoreError::Serving`] unless the
    /// partition's fence is `epoch`: a node that becomes its home again raises the fence to that later epoch before it
    /// takes anything, and what was on its way to forget the old copy does not touch the new one. Notes of hints for
    /// what is removed become copies.
    Forget {
        /// Which partition.
        partition: Partition,
        /// Its fence, raised when it was given up; not 0.
        epoch: u64,
        /// At most about so many records.
        limit: usize,
    },
    /// Removes a deleted record for good, if its digest is this, all its siblings are tombstones, and no hint for the key is
    /// held here. That nobody else can bring an older version back is the caller's to know.
    Collect {
        /// Which record.
        key: RecordKey,
        /// Digest of the state that all replicas have.
        digest: u64,
    },
    /// Drops actors of which no version is left from a record's causality, if its digest is this: those that will never
    /// write again, or all where there are many ([`apply::pruned`](crate::apply::pruned)).
    Prune {
        /// Which record.
        key: RecordKey,
        /// Digest of the state that all replicas have.
        digest: u64,
        /// Nodes, each with the incarnation that is over.
        actors: Arc<[(u128, u64)]>,
    },
    /// Removes a record if it is damaged, so that it is missing to anti-entropy and is fetched from another replica.
    Mend {
        /// Which record.
        key: RecordKey,
    },
    /// Builds a partition's hash tree anew from the records' heads. All other changes wait for it.
    Rebuild {
        /// Which partition.
        partition: Partition,
    },
    /// Sets or removes (`None`) a value of the node program's own. Always durable before it is done.
    PutMeta {
        /// Any bytes.
        key: Bytes,
        /// The new value.
        value: Option<Bytes>,
    },
}

impl Op {
    /// Bytes that wait in memory for it, roughly.
    pub(super) fn bytes(&self) -> usize {
        let payload = match self {
            Op::Write { key, payload: Payload::Value(value), .. } => key.as_bytes().len() + value.len(),
            Op::Write { key, payload: Payload::Tombstone, .. } => key.as_bytes().len(),
            Op::Merge { key, set, .. } => key.as_bytes().len() + set.len(),
            Op::KeepHint { key, .. } | Op::DropHint { key, .. } | Op::Collect { key, .. } | Op::Mend { key } => {
                key.as_bytes().len()
            }
            Op::Prune { key, actors, .. } => key.as_bytes().len() + size_of_val(&actors[..]),
            Op::Forget { .. } | Op::Rebuild { .. } => 0,
            Op::Fence { partitions, .. } => size_of_val(&partitions[..]),
            Op::PutMeta { key, value } => key.len() + value.as_ref().map_or(0, |value| value.len()),
        };
        payload + 64
    }

    /// On a full disk, what frees space or is tiny is still taken.
    pub(super) fn takes_space(&self) -> bool {
        match self {
            Op::Write { .. } | Op::Merge { .. } | Op::KeepHint { .. } => true,
            Op::DropHint { .. } | Op::Fence { .. } | Op::Rebuild { .. } => false,
            Op::Forget { .. } | Op::Collect { .. } | Op::Prune { .. } | Op::Mend { .. } => false,
            Op::PutMeta { value, .. } => value.as_ref().is_some_and(|value| value.len() > 64 << 10),
        }
    }

    /// Whether it counts as done only when it is durable.
    pub fn waits_for_sync(&self, durability: Durability) -> bool {
        match (self, durability) {
            // A drop that is lost leaves a hint that is delivered twice: no harm.
            (Op::DropHint { .. }, _) => false,
            // What a crash takes back of these is found again, and done again.
            (Op::Forget { .. } | Op::Collect { .. } | Op::Prune { .. } | Op::Mend { .. } | Op::Rebuild { .. }, _) => {
                false
            }
            (Op::PutMeta { .. } | Op::Fence { .. }, _) => true,
            (_, Durability::Fsync) => true,
            (_, Durability::Interval { .. }) => false,
            (Op::Write { sync, .. } | Op::Merge { sync, .. }, Durability::OneFsync) => *sync,
            (Op::KeepHint { .. }, Durability::OneFsync) => false,
        }
    }
}

/// A question. Answered by any of the reading threads, from the state as of some moment after it was submitted.
#[derive(Clone, Debug)]
pub enum Read {
    /// The state of a record.
    State {
        /// Which record.
        key: RecordKey,
        /// Targets whose hints are merged into the answer, for a node that is no home of the key. The own record is
        /// always looked at as well.
        hints: SmallVec<[NodeId; 2]>,
        /// The mode in which the states are merged.
        mode: Mode,
        /// As in [`Op::Write`]; `u64::MAX` where this node is asked as no home.
        epoch: u64,
        /// Leave the set out of the answer: only the digest is wanted. The stored checksum is verified all the same.
        digest_only: bool,
    },
    /// A page of the hints for a target, in key order.
    HintPage {
        /// For whom.
        target: NodeId,
        /// Begin after this key (the last of the page before).
        after: Option<RecordKey>,
        /// At most so many.
        limit: usize,
    },
    /// The state that a hint delivers. A hint without a body delivers the node's own record.
    Hint {
        /// For whom.
        target: NodeId,
        /// Which record.
        key: RecordKey,
    },
    /// A page of a partition's records, in key order.
    Scan {
        /// Which partition.
        partition: Partition,
        /// Begin after this key.
        after: Option<RecordKey>,
        /// At most so many records.
        limit: usize,
        /// Stop after the record that reaches so many bytes.
        bytes_max: usize,
    },
    /// Keys and digests of the records in one leaf of a partition's hash tree, in key order.
    Leaf {
        /// Which partition.
        partition: Partition,
        /// Which leaf.
        leaf: u32,
        /// Only keys greater than this; any bytes.
        after: Option<Bytes>,
        /// At most so many; at least 1 is read.
        entries_max: usize,
        /// Stop after the key that reaches so many bytes of keys.
        bytes_max: usize,
    },
    /// Some records, as for `Scan`.
    Records {
        /// Which.
        keys: Vec<RecordKey>,
        /// Stop after the record that reaches so many bytes.
        bytes_max: usize,
    },
    /// Whether any hint at all is held for keys of a partition.
    HintsOf {
        /// Which partition.
        partition: Partition,
    },
    /// Digests of some records, each read and checked as a whole.
    Digests {
        /// Which.
        keys: Vec<RecordKey>,
    },
    /// For keys of which partitions hints are held, and whether any came since an earlier look.
    Hinted,
    /// A value set by `PutMeta`.
    Meta {
        /// Its key.
        key: Bytes,
    },
}

/// What a write or merge made of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Canonical encoding of the record's sibling set after the operation.
    pub set: Bytes,
    /// Its digest.
    pub digest: u64,
    /// The dot minted by a write.
    pub dot: Option<Dot>,
    /// The timestamp that a write was given: whoever has seen the write has seen up to it.
    pub timestamp: Timestamp,
    /// Siblings in the set, tombstones included.
    pub siblings: usize,
    /// False if a merge found that everything was there already.
    pub changed: bool,
}

/// Hints as a whole, by the partition of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hinted {
    /// How often in this run hints were kept for keys of a partition; those without any are left out. A partition with the
    /// same number later, that held none, held none in between.
    pub kept: BTreeMap<Partition, u64>,
    /// Partitions for keys of which some are held. Looked at after the numbers.
    pub held: BTreeSet<Partition>,
}

/// A hint in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HintEntry {
    /// Which record.
    pub key: RecordKey,
    /// Digest of the state it delivers, as known from the hint itself; 0 if it delivers the node's own record.
    pub digest: u64,
    /// Bytes held for it, key included.
    pub bytes: u32,
}

/// A record in a scan.
#[derive(Clone, Debug)]
pub struct ScanEntry {
    /// Its key.
    pub key: RecordKey,
    /// Its state and digest; an error if this one record is damaged.
    pub state: Result<(Bytes, u64), StoreError>,
}

/// A record's state and digest; None without one.
pub type RecordFound = Result<Option<(Bytes, u64)>, StoreError>;

/// The answer to an [`Op`] or a [`Read`].
#[derive(Clone, Debug)]
pub enum Outcome {
    /// `Write` and `Merge`: applied, and as durable as asked. The same as [`Completion::applied`] was told.
    Applied(Applied),
    /// `KeepHint`: it is kept.
    HintKept,
    /// `DropHint`: whether it was dropped. It was not if the state has moved on since it was delivered.
    HintDropped(bool),
    /// `Fence`: in force, and durable.
    Fenced,
    /// `Forget`.
    Forgot {
        /// There are more.
        left: bool,
    },
    /// `Collect`: whether it was removed. It was not if it is not what was named, or has a hint.
    Collected(bool),
    /// `Prune`: whether the record changed. It did not if it is not what was named, or has no such actors.
    Pruned(bool),
    /// `Mend`: whether it was damaged, and is removed.
    Mended(bool),
    /// `Rebuild`.
    Rebuilt {
        /// Leaves that were not what the records make them.
        changed_leaves: u32,
    },
    /// `PutMeta`: durable.
    MetaSet,
    /// `Read::State` and `Read::Hint`: encoding and digest; `None` if never written, or no such hint. With `digest_only`
    /// the encoding is empty.
    State(Option<(Bytes, u64)>),
    /// `Read::HintPage`.
    Hints {
        /// The hints.
        entries: Vec<HintEntry>,
        /// True if there are no more.
        end: bool,
    },
    /// `Read::Scan`.
    Scan {
        /// The records.
        entries: Vec<ScanEntry>,
        /// True if there are no more.
        end: bool,
    },
    /// `Read::Leaf`.
    Leaf {
        /// Encoded keys, and the digests of their states.
        entries: Vec<(Bytes, u64)>,
        /// True if there are no more in the leaf.
        end: bool,
    },
    /// `Read::Records`, in the order asked; fewer if the bytes were reached.
    Records(Vec<(RecordKey, RecordFound)>),
    /// `Read::HintsOf`.
    HintsOf(bool),
    /// `Read::Digests`, in the order asked: `None` where there is no record, or a damaged one.
    Digests(Vec<Option<u64>>),
    /// `Read::Hinted`.
    Hinted(Hinted),
    /// `Read::Meta`.
    Meta(Option<Bytes>),
}

/// Whom to tell. One value per operation, moved through the store's queues: no allocation and no virtual call.
///
/// Called on the store's own threads, so it must not block: send to a channel, wake a task.
pub trait Completion: Send + 'static {
    /// The state is with the operating system: it survives the death of this process, and may be sent to other
    /// replicas while this disk still syncs. Called at most once, before `done`, for writes and merges only.
    fn applied(&mut self, applied: &Applied) {
        let _ = applied;
    }

    /// The operation is over. Called exactly once.
    fn done(self, result: Result<Outcome, StoreError>);
}

/// A full queue, or a store that is closing: nothing was taken, ask again later or elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// The queue is full.
    #[error("the node's storage queue is full: nothing was done; try again")]
    Full,
    /// The store is closing.
    #[error("the node's storage is closing: nothing was done; try another node")]
    Closed,
}
