//! What a keeper asks of its driver, and what it is told when that is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use dynamo_ring::{NodeId, charter::Charter};
use dynamo_transfer::{Record, Stored};

use crate::{
    collect::Item,
    message::{Answer, Question},
};

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask a node; report with [`Keeper::on_answer`](crate::Keeper::on_answer), once.
    Ask {
        /// Whom.
        to: NodeId,
        /// The question's number.
        call: u64,
        /// The question.
        question: Question,
    },
    /// Answer a question that [`Keeper::on_question`](crate::Keeper::on_question) was given.
    Answer {
        /// The driver's name for the question.
        call: u64,
        /// The answer.
        answer: Answer,
    },
    /// Do this with the store; report with [`Keeper::on_stored`](crate::Keeper::on_stored), once. Changes have to be applied in
    /// the order in which they are given.
    Store {
        /// Names it.
        ticket: u64,
        /// What.
        what: StoreAsk,
    },
    /// A newer charter is durable here: requests go by it from now on.
    Adopt {
        /// The register's version.
        version: u64,
        /// The charter.
        charter: Arc<Charter>,
    },
    /// Partitions of which this node has all that it acknowledged in any life are these now: strict reads of others are refused.
    Whole(Arc<Vec<bool>>),
    /// What came of an administrator's request.
    Done {
        /// The request's name.
        request: u64,
        /// What.
        result: Result<u64, ChangeError>,
    },
    /// What came of a look at the register.
    Looked {
        /// The request's name.
        request: u64,
        /// The version that this node goes by, and that was the newest at some moment since it was asked; or a sentence that
        /// says why that is not known.
        result: Result<u64, String>,
    },
}

/// A list of effects, in order.
pub type Effects = Vec<Effect>;

/// What is asked of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAsk {
    /// Keep a value under a name of the keeper's own, durably.
    Put {
        /// The name.
        key: &'static str,
        /// The value.
        value: Bytes,
    },
    /// From now on take no request of an older epoch for these partitions, and nothing at all, hints included, that is older
    /// than the floor; durably, and with all that was applied before.
    Fence {
        /// Which.
        partitions: Vec<u16>,
        /// The epoch.
        epoch: u64,
        /// The floor; 0: as before.
        floor: u64,
    },
    /// Merge states, durably.
    Merge {
        /// Of which partition.
        partition: u16,
        /// Under which epoch.
        epoch: u64,
        /// The states.
        records: Vec<Record>,
    },
    /// Keys and digests of a tree's leaf.
    Leaf {
        /// Of which partition's tree.
        partition: u16,
        /// Which leaf.
        leaf: u32,
        /// Only keys greater than this.
        after: Option<Bytes>,
        /// At most so many.
        entries_max: usize,
        /// Stop after so many bytes of keys.
        bytes_max: usize,
    },
    /// The states of keys.
    Records {
        /// Of which partition.
        partition: u16,
        /// Which keys.
        keys: Vec<Bytes>,
        /// Stop after so many bytes.
        bytes_max: usize,
    },
    /// A page of a partition's records, in key order.
    Page {
        /// Which partition.
        partition: u16,
        /// Only keys greater than this.
        after: Option<Bytes>,
        /// Stop after so many bytes.
        bytes_max: usize,
    },
    /// Read and check some records of a partition.
    Scrub {
        /// Which partition.
        partition: u16,
        /// Only keys greater than this.
        after: Option<Bytes>,
        /// Stop after so many bytes.
        bytes_max: usize,
    },
    /// Take a record out, if it is damaged.
    Mend {
        /// Which record.
        key: Bytes,
    },
    /// Delete some records of a partition that this node does not serve any more.
    Forget {
        /// Which partition.
        partition: u16,
        /// The epoch in which it does not.
        epoch: u64,
        /// At most so many.
        limit: usize,
    },
    /// Read some records of a partition, and say which are spent: deleted, or with names of actors who are gone and no
    /// version of theirs.
    Spent {
        /// Which partition.
        partition: u16,
        /// Only keys greater than this.
        after: Option<Bytes>,
        /// Who is gone: node and life.
        retired: Arc<[(u128, u64)]>,
        /// Stop after so many bytes.
        bytes_max: usize,
    },
    /// The digests of some records, each read and checked.
    Digests {
        /// Of which partition.
        partition: u16,
        /// Which keys.
        keys: Vec<Bytes>,
    },
    /// For keys of which partitions hints are held, and how often some were kept.
    Hinted,
    /// Remove what is spent, where it is what is named. What a crash takes back of it does no harm.
    Collect {
        /// Of which partition.
        partition: u16,
        /// Keys and digests.
        items: Vec<Item>,
        /// Who is gone: node and life.
        retired: Arc<[(u128, u64)]>,
    },
}

/// What the store did.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreDone {
    /// It is durable: a value, or a fence.
    Kept,
    /// What came of a merge.
    Merged(Result<(), dynamo_transfer::MergeRefusal>),
    /// Keys and digests.
    Leaf {
        /// In key order.
        entries: Vec<dynamo_merkle::Entry>,
        /// There are no more.
        end: bool,
    },
    /// States, for the first or first few of the keys.
    Records(Vec<Stored>),
    /// A page.
    Page(dynamo_transfer::Page),
    /// Records were read.
    Scrubbed {
        /// Up to this key; None: to the partition's end.
        go_on: Option<Bytes>,
        /// Keys of those that are damaged.
        damaged: Vec<Bytes>,
        /// Bytes that were read.
        bytes: u64,
    },
    /// Records were deleted.
    Forgot {
        /// Whether there are more.
        left: bool,
    },
    /// Records were read.
    Spent {
        /// Those that are spent.
        items: Vec<Item>,
        /// Up to this key; None: to the partition's end.
        go_on: Option<Bytes>,
        /// Bytes that were read.
        bytes: u64,
    },
    /// In the order asked; None: there is no such record, or it is damaged.
    Digests(Vec<Option<u64>>),
    /// Hints, by the partition of their keys.
    Hinted {
        /// How often some were kept in this run of the process; counted before it was looked which are held.
        kept: BTreeMap<u16, u64>,
        /// For which some are held.
        held: BTreeSet<u16>,
    },
    /// So many records went, and so many lost names.
    Collected {
        /// Tombstones.
        gone: u32,
        /// Others.
        pruned: u32,
    },
    /// The store failed, or was too busy.
    Failed,
}

/// Why a change of the register was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeError {
    /// The register is not what the change was planned on. Nothing was changed.
    Outdated {
        /// The register's version.
        version: u64,
    },
    /// Too few members answered. Nothing was changed.
    NoMajority(String),
    /// Too few members answered in the end. It may be made yet.
    Unknown,
    /// This node's disk failed, or it is not ready. Nothing was changed.
    Unable(String),
    /// It can't be made as it is; in words that say that nothing was changed.
    Refused(String),
}

impl std::fmt::Display for ChangeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Outdated { version } => write!(
                f,
                "the ring has changed since (the register has version {version}): nothing was changed; plan again and look at the new plan"
            ),
            Self::NoMajority(what) => write!(f, "{what}; reads and writes go on meanwhile"),
            Self::Unknown => f.write_str(
                "too few members answered in time: the change may have begun or not; look at `dynamo ring status` before you try again",
            ),
            Self::Refused(what) => f.write_str(what),
            Self::Unable(what) => write!(f, "{what}: nothing was changed"),
        }
    }
}

impl std::error::Error for ChangeError {}
