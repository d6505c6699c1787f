//! What two replicas say to each other while they compare (§4.7). How it is written down: [`crate::FORMAT`]'s module.

use crate::roots::{Roots, RootsAnswer};
use crate::shape::{FANOUT, Shape};

/// A record's key, as the store spells and orders it.
pub type Key = Box<[u8]>;

/// Longest key, bytes. The shortest has one.
pub const KEY_BYTES_MAX: usize = 65_535;
/// Nodes, or pages of leaves, in one message.
pub const NODES_MAX: usize = 256;
/// Keys in one message.
pub const ENTRIES_MAX: usize = 8_192;
/// Bytes of all keys in one message, as they are in memory. Neighbours' common beginnings travel once, so without this
/// bound a small message could claim much memory.
pub const KEYS_BYTES_MAX: usize = 1 << 20;

/// A message. Roots, requests go to the side that answers, the others to the side that asked, so both may ask at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Are these roots the same at yours?
    Roots(Roots),
    /// Which are not.
    RootsAnswer(RootsAnswer),
    /// A step of an exchange; for a [`Responder`](crate::Responder).
    Request(Request),
    /// Its answer; for the [`Initiator`](crate::Initiator) of [`Call::partition`].
    Reply(Reply),
}

/// Names a request and its reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// The partition that is compared.
    pub partition: u16,
    /// Which exchange of this partition on this connection, so that what belongs to one given up is not mistaken.
    pub exchange: u32,
    /// Which request of the exchange, counted from 0.
    pub step: u32,
}

/// What the initiator asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Its name.
    pub call: Call,
    /// The ring's epoch at the initiator: one who serves the partition under another refuses.
    pub epoch: u64,
    /// The shape of the initiator's tree: one whose tree has another refuses.
    pub shape: Shape,
    /// The question.
    pub ask: Ask,
}

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Which children of these nodes differ?
    Nodes(Vec<NodeSums>),
    /// Which keys of these leaves differ? Only the last page may leave off before its leaf's end.
    Pages(Vec<LeafPage>),
}

/// The children's sums of an inner node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeSums {
    /// The node's level; the root has 0.
    pub level: u8,
    /// Its place in the level.
    pub index: u32,
    /// The sums of its children.
    pub sums: [u64; FANOUT],
}

/// A key and the digest of its state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Digest of its state.
    pub digest: u64,
}

/// All keys that the initiator has in a range of a leaf: beyond `after`, and up to the last entry, or to the leaf's end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeafPage {
    /// Which leaf.
    pub leaf: u32,
    /// Only keys greater than this.
    pub after: Option<Key>,
    /// In order of keys.
    pub entries: Vec<Entry>,
    /// The range goes to the leaf's end; otherwise to the last entry, and there is one.
    pub end: bool,
}

/// What the responder answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The request's name.
    pub call: Call,
    /// The answer to its question.
    pub answer: Answer,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To [`Ask::Nodes`], for each node a bit per child that differs, the lowest for the first child.
    Nodes(Vec<u16>),
    /// To [`Ask::Pages`], for the first or first few pages; the others are to be asked again.
    Pages(Vec<LeafDiff>),
    /// None: the exchange is over.
    Refused {
        /// The responder's epoch.
        epoch: u64,
        /// Why.
        reason: Reason,
    },
}

/// How the responder differs in the range of a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeafDiff {
    /// Entries of the page (by position, in order) whose keys the responder does not have.
    pub missing: Vec<u32>,
    /// Entries of which it has another state, with that state's digest.
    pub differing: Vec<(u32, u64)>,
    /// Keys that only it has, in order.
    pub extra: Vec<Entry>,
    /// How far this goes.
    pub covered: Covered,
}

/// How much of a page's range an answer covers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Covered {
    /// All of it.
    Whole,
    /// Only up to this key, for the answer was full. It is the last answer of the reply.
    UpTo(Key),
}

/// Why an exchange was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The epochs differ, or the responder does not serve the partition in this one, or has sealed it.
    Epoch,
    /// The trees' shapes differ.
    Shape,
    /// The responder has too much to do.
    Busy,
    /// The responder could not read its store.
    Failed,
}
