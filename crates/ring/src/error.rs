//! What is wrong with a ring.

use std::fmt;

use crate::id::NodeId;

/// A ring that can't be. Its text says what is wrong and, where there is a remedy, which. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RingError {
    /// Q, given here, is no power of two from 1 to [`PartitionCount::MAX`](crate::PartitionCount::MAX).
    PartitionCount(u32),
    /// N, given here, is 0 or more than [`REPLICAS_MAX`](crate::REPLICAS_MAX).
    Replicas(u8),
    /// No members.
    NoMembers,
    /// More members than partitions, so that some would have no token; or more than 65,535.
    TooManyMembers {
        /// How many members.
        members: usize,
        /// Q.
        partitions: u32,
    },
    /// Two members with the same id.
    DuplicateId(NodeId),
    /// Two members with the same name.
    DuplicateName(String),
    /// A name or zone that is empty or longer than 253 bytes (what DNS allows a host's name).
    BadName(String),
    /// A weight outside 1 to 1,000,000.
    BadWeight {
        /// Of the member with this name.
        name: String,
        /// The weight.
        weight: u32,
    },
    /// A preference list that lacks nodes or zones that it could have (§4.3).
    Spread {
        /// The first such partition.
        partition: u16,
    },
    /// Bytes that are no encoded ring, and why.
    Malformed(&'static str),
    /// A ring of a newer format.
    NewerFormat {
        /// The format found.
        found: u8,
        /// The newest known here.
        known: u8,
    },
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PartitionCount(count) => {
                write!(f, "{count} partitions: their number is a power of two from 1 to 65536")
            }
            Self::Replicas(n) => write!(f, "N = {n}: a key has 1 to 16 replicas"),
            Self::NoMembers => f.write_str("a ring has at least one member"),
            Self::TooManyMembers { members, partitions } if *members > *partitions as usize => {
                write!(
                    f,
                    "{members} members do not fit {partitions} partitions, each needs a token: create the cluster with more partitions"
                )
            }
            Self::TooManyMembers { members, .. } => write!(f, "{members} members: a ring has at most 65535"),
            Self::DuplicateId(id) => write!(f, "two members have the id {id}"),
            Self::DuplicateName(name) => write!(f, "two members have the name {name:?}: give each its own"),
            Self::BadName(name) => write!(f, "{name:?} is no name of a node or zone: 1 to 253 bytes"),
            Self::BadWeight { name, weight } => write!(f, "{name:?} has weight {weight}: weights are 1 to 1000000"),
            Self::Spread { partition } => {
                write!(f, "the preference list of partition {partition} lacks nodes or zones that it could have")
            }
            Self::Malformed(what) => write!(f, "these bytes are no ring: {what}"),
            Self::NewerFormat { found, known } => {
                write!(f, "the ring has format {found}, this version reads up to {known}: upgrade it")
            }
        }
    }
}

impl std::error::Error for RingError {}
