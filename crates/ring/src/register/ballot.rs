//! Who votes, and how attempts are told apart.

use crate::id::NodeId;

/// One life of a node's disk: what has a vote. A disk that was wiped, cloned or rolled back forgot promises that others
/// rely on, so it takes a new incarnation, is another voter, and has no vote until a change names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Voter {
    /// The node.
    pub id: NodeId,
    /// Which life of its disk.
    pub incarnation: u64,
}

/// The number of an attempt (Lamport 2001). Two attempts never have the same one, and any two are ordered: by counter,
/// and those of one counter by who made them.
///
/// The proposer is a [`Voter`] and not only a node, because a wiped disk forgets the counters that it used. With the
/// node's id alone its next life would take some of them for other values, under promises that were made to the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// 1 or more in an attempt; see [`Acceptor::mint`](super::Acceptor::mint).
    pub counter: u64,
    /// Whose attempt it is.
    pub proposer: Voter,
}

impl Ballot {
    /// Below the ballot of every attempt: what a voter has promised that never promised anything.
    pub const NONE: Ballot = Ballot { counter: 0, proposer: Voter { id: NodeId(0), incarnation: 0 } };
}
