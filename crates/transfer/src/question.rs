//! What two replicas say to each other while one compares a partition with the other and moves what is missing (§4.7, 4.9).
//!
//! One asks ([`crate::Comparison`]), the other answers ([`crate::Answering`]) and keeps nothing between questions. Every
//! answer tells the epoch in which it was given and whether the partition was sealed. How it is written down: `encode.rs`.

use bytes::Bytes;
use dynamo_merkle::{self as merkle, Call, Key, Shape};

/// A question about one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// Its name: the partition, the comparison, and a number. Steps down the tree are numbered on their own.
    pub call: Call,
    /// The ring's epoch at the one who asks; under another nothing is answered.
    pub epoch: u64,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Where do our trees differ?
    Tree {
        /// The shape of the asking side's tree.
        shape: Shape,
        /// The step down the tree.
        ask: merkle::Ask,
    },
    /// What are your states of these keys?
    Fetch {
        /// At least one.
        keys: Vec<Key>,
        /// No further state once there are so many bytes of keys and states; the first comes in any case.
        bytes_max: u32,
    },
    /// Merge these states durably.
    Push(Vec<Record>),
    /// What is next in the partition, in order of keys?
    Page {
        /// Only keys greater than this; None: from the first.
        after: Option<Key>,
        /// No further record once there are so many bytes; the first comes in any case.
        bytes_max: u32,
    },
}

/// A key and its state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The key, as the store spells it.
    pub key: Key,
    /// The encoded state.
    pub set: Bytes,
    /// Its digest, as the one who sends it knows it: what the trees are made of.
    pub digest: u64,
}

impl Record {
    /// What it weighs: key and state.
    pub fn bytes(&self) -> u64 {
        (self.key.len() + self.set.len()) as u64
    }
}

/// What a store has of a key that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    /// This.
    State {
        /// The encoded state.
        set: Bytes,
        /// Its digest.
        digest: u64,
    },
    /// Nothing (any more).
    Absent,
    /// A record that cannot be read: this is not "nothing".
    Damaged,
}

impl Stored {
    /// What it weighs, without its key.
    pub fn set_bytes(&self) -> u64 {
        if let Stored::State { set, .. } = self { set.len() as u64 } else { 0 }
    }
}

/// A piece of a partition, in order of keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// In order.
    pub records: Vec<Record>,
    /// So many records in this range could not be read and are not among them.
    pub damaged: u32,
    /// The range goes up to this key, where the next page begins; None: to the partition's end.
    pub go_on: Option<Key>,
}

/// The answer to a [`Question`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The question's name.
    pub call: Call,
    /// The epoch at the one who answers.
    pub epoch: u64,
    /// When the question came, it had sealed the partition for this epoch: all that it will ever apply in this epoch
    /// was applied.
    pub sealed: bool,
    /// When the question came, it had all that it ever acknowledged of the partition, in whatever life of its disk.
    pub whole: bool,
    /// What it says.
    pub reply: Reply,
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// To [`Ask::Tree`]; never [`merkle::Answer::Refused`], for which there is [`Reply::Refused`].
    Tree(merkle::Answer),
    /// To [`Ask::Fetch`]: the first or first few of the keys asked for, in their order; the others are to be asked again.
    Fetched(Vec<Stored>),
    /// To [`Ask::Push`]: merged durably, but for so many.
    Pushed {
        /// Records that the one who answers cannot take: its own is damaged, or it makes no sense of what came.
        refused: u32,
    },
    /// To [`Ask::Page`].
    Page(Page),
    /// To any: no.
    Refused(Refused),
}

/// Why a question was refused. Nothing of it was done, but for [`Refused::Failed`], where a part may have been.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It has another epoch ([`Answer::epoch`]).
    Epoch,
    /// It does not serve this partition to this peer in this epoch.
    NotServed,
    /// It has sealed the partition and takes no more states in this epoch.
    Sealed,
    /// Its tree has another shape.
    Shape,
    /// It has too much to do.
    Busy,
    /// Its disk is full.
    DiskFull,
    /// Its store failed.
    Failed,
}

/// A store could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreFailed;

/// A store did not merge records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MergeRefusal {
    /// All but so many were merged durably: these make no sense, or are damaged here.
    Some {
        /// How many were not merged.
        keys: u32,
    },
    /// This node has sealed the partition: nothing was merged.
    Sealed,
    /// This node's ring has another epoch by now: nothing was merged.
    Outdated {
        /// This node's epoch.
        epoch: u64,
    },
    /// The disk is full; a part may have been merged.
    DiskFull,
    /// The store failed; a part may have been merged.
    Failed,
}

/// How many of these fit within a bound of bytes: none begins beyond it, and the first comes in any case.
pub(crate) fn fitting(weights: impl Iterator<Item = u64>, bytes_max: u32) -> usize {
    let mut bytes = 0;
    let within = weights.enumerate().take_while(|&(at, weight)| {
        let room = at == 0 || bytes < u64::from(bytes_max);
        bytes += weight;
        room
    });
    within.count()
}
