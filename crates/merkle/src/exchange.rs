//! What both sides of an exchange have in common: settings, what is asked of the store, what a peer may get wrong.

use std::fmt;

use crate::message::{ENTRIES_MAX, Entry, KEY_BYTES_MAX, KEYS_BYTES_MAX, Key, NODES_MAX};
use crate::shape::{DEPTH_MAX, Shape};

/// The hash of a key that both sides' trees use: [`Tree::apply`](crate::Tree::apply) must be given the same. Its first
/// bits choose the leaf ([`Shape::leaf_of`]).
pub type KeyHash = fn(&[u8]) -> u64;

/// Bounds of an exchange. The two sides may differ in all but the hash.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Finds the leaf of a key that a peer names, to refuse keys of other leaves.
    pub hash: KeyHash,
    /// Inner nodes, or leaves, in one request; 1 to [`NODES_MAX`]. An inner node takes some 130 bytes.
    pub nodes_max: usize,
    /// Keys in one request or reply; 1 to half of [`ENTRIES_MAX`].
    pub entries_max: usize,
    /// Bytes of keys in one request or reply; one key more may come on top. 1 to half of [`KEYS_BYTES_MAX`].
    pub keys_bytes_max: usize,
    /// Requests after which an exchange ends, to be taken up again where it was, so that none takes a slot for ever.
    /// At least one more than a tree can have levels, so that each gets somewhere.
    pub requests_max: u32,
    /// Silence of the peer after which the exchange ends.
    pub reply_timeout_us: u64,
}

impl Settings {
    /// Messages of up to some 50 KB; thousands of requests; ten seconds of silence.
    pub fn new(hash: KeyHash) -> Settings {
        Settings {
            hash,
            nodes_max: 64,
            entries_max: 1_024,
            keys_bytes_max: 64 << 10,
            requests_max: 10_000,
            reply_timeout_us: 10_000_000,
        }
    }

    pub(crate) fn clamped(self) -> Settings {
        Settings {
            nodes_max: self.nodes_max.clamp(1, NODES_MAX),
            entries_max: self.entries_max.clamp(1, ENTRIES_MAX / 2),
            keys_bytes_max: self.keys_bytes_max.clamp(1, KEYS_BYTES_MAX / 2),
            requests_max: self.requests_max.max(u32::from(DEPTH_MAX) + 1),
            ..self
        }
    }
}

/// How far an exchange has come: all before it was compared, and what was found there is settled.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    /// The first leaf not finished.
    pub leaf: u32,
    /// Of that leaf, only keys greater than this.
    pub after: Option<Key>,
}

/// A key in which the replicas differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The key.
    pub key: Key,
    /// Digest of this node's state when it was read; None without one.
    pub mine: Option<u64>,
    /// Digest of the peer's.
    pub theirs: Option<u64>,
}

/// Keys of one leaf to be read from the store. Pages of a leaf need not come from one snapshot. A store whose
/// keys begin with the hash's first bits has a leaf's keys in one range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeafRead {
    /// Comes back with the page.
    pub ticket: u32,
    /// Which leaf.
    pub leaf: u32,
    /// Only keys greater than this.
    pub after: Option<Key>,
    /// At most so many; at least 1.
    pub entries_max: usize,
    /// No further key once their keys have so many bytes.
    pub bytes_max: usize,
}

impl LeafRead {
    /// Cuts a page that is longer than was asked for; returns whether it still goes to the leaf's end.
    ///
    /// Panics when the store gave keys out of order: an exchange over them would find nonsense.
    pub(crate) fn fit(&self, page: &mut Vec<Entry>, end: bool) -> bool {
        assert!(is_sorted(self.after.as_deref(), page), "the store gave a leaf's keys out of order");
        let mut bytes = 0;
        let within = page.iter().take(self.entries_max).take_while(|entry| {
            let room = bytes < self.bytes_max;
            bytes += entry.key.len();
            room
        });
        let within = within.count();
        let end = page.is_empty() || (end && within == page.len());
        page.truncate(within);
        end
    }
}

/// What a peer sent that cannot be. The exchange is over and nothing was changed: the connection should be broken off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerError {
    /// A node or leaf that a tree of this shape does not have.
    OutOfRange,
    /// Keys, positions or partitions that are not in order.
    Unsorted,
    /// More nodes, keys or bytes than a message may have.
    TooMuch,
    /// A key that is not of the leaf it was named in, or is too long: the sides may hash keys differently.
    ForeignKey,
    /// An answer to something else than was asked.
    NotAsked,
    /// An answer that contradicts itself or the question.
    Contradiction,
    /// A request before the one before was answered.
    Impatient,
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::OutOfRange => "a node that its tree cannot have",
            Self::Unsorted => "keys or positions that are not in order",
            Self::TooMuch => "more in one message than is allowed",
            Self::ForeignKey => "a key of another leaf: does it run another version?",
            Self::NotAsked => "an answer to what was not asked",
            Self::Contradiction => "an answer that contradicts itself",
            Self::Impatient => "a request before the last one was answered",
        };
        write!(f, "the peer sent {what}; the comparison was given up, no data was changed")
    }
}

impl std::error::Error for PeerError {}

/// Whether the keys ascend strictly, from beyond `after`.
pub(crate) fn is_sorted(after: Option<&[u8]>, entries: &[Entry]) -> bool {
    let first = entries.first().is_none_or(|first| after.is_none_or(|after| *first.key > *after));
    first && entries.is_sorted_by(|one, next| one.key < next.key)
}

/// Checks keys that a peer names in a leaf.
pub(crate) fn check_keys(
    hash: KeyHash,
    shape: Shape,
    leaf: u32,
    after: Option<&[u8]>,
    entries: &[Entry],
) -> Result<(), PeerError> {
    if !is_sorted(after, entries) {
        return Err(PeerError::Unsorted);
    }
    let of_leaf = |key: &[u8]| (1..=KEY_BYTES_MAX).contains(&key.len()) && shape.leaf_of(hash(key)) == leaf;
    if entries.iter().all(|entry| of_leaf(&entry.key)) { Ok(()) } else { Err(PeerError::ForeignKey) }
}
