//! Why a charter can't be changed that way, or read.

use std::fmt;

use crate::{error::RingError, id::NodeId};

/// A change that does not fit the charter, or bytes that are none. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CharterError {
    /// Another change is under way.
    UnderWay {
        /// Its name.
        id: u64,
        /// In words.
        what: String,
    },
    /// No change is under way.
    NoChange,
    /// The change is being taken back already.
    Cancelled(u64),
    /// The ring is that already.
    Nothing,
    /// A node that left or was removed comes with the disk that it had then.
    Returned(String),
    /// Which life of its disk a node has is not known to the one who plans the change.
    Unheard(String),
    /// No such member.
    NoMember(NodeId),
    /// A step makes no ring.
    Ring(RingError),
    /// Bytes that are no charter, and why.
    Malformed(&'static str),
    /// A charter of a newer format.
    NewerFormat {
        /// The format found.
        found: u8,
    },
}

impl fmt::Display for CharterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnderWay { id, what } => write!(
                f,
                "change {id} is under way ({what}): nothing was changed; wait for its end (`dynamo ring status`) or take it back (`dynamo ring cancel`)"
            ),
            Self::NoChange => f.write_str("no change of the ring is under way: nothing was changed"),
            Self::Cancelled(id) => write!(f, "change {id} is being taken back already: wait for its end"),
            Self::Nothing => f.write_str("the ring is like that already: there is nothing to change"),
            Self::Returned(name) => write!(
                f,
                "{name} left this cluster or was removed with the disk that it has: nothing was changed; start it with an empty data directory to let it join as a new node"
            ),
            Self::Unheard(name) => write!(
                f,
                "this node has not heard of {name} itself since it started: nothing was changed; try again in a second, or at another node"
            ),
            Self::NoMember(id) => write!(f, "node {id} is no member of the ring: nothing was changed"),
            Self::Ring(error) => write!(f, "a step of the change makes no ring: {error}; nothing was changed"),
            Self::Malformed(what) => write!(f, "these bytes are no charter of a cluster: {what}"),
            Self::NewerFormat { found } => {
                write!(f, "the cluster's charter has format {found}, newer than this version reads: upgrade this node")
            }
        }
    }
}

impl std::error::Error for CharterError {}

impl From<RingError> for CharterError {
    fn from(error: RingError) -> Self {
        Self::Ring(error)
    }
}
