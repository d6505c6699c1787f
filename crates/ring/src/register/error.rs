//! What the register refuses to be given.

use std::fmt;

use crate::id::NodeId;

/// A value, a change or bytes that the register does not take. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterError {
    /// A value without voters: nobody could ever change it.
    NoVoters,
    /// More voters than the format counts.
    TooManyVoters(usize),
    /// A node that is named twice: it has one vote, under one incarnation.
    VoterTwice(NodeId),
    /// A payload that is longer than [`PAYLOAD_BYTES_MAX`](super::PAYLOAD_BYTES_MAX).
    PayloadTooLong(usize),
    /// A change against a version that the proposer has not seen.
    VersionAhead {
        /// What the change expects.
        expected: u64,
        /// What the proposer knows.
        known: u64,
    },
    /// All 2^64 versions or ballots are used: some message or disk was damaged.
    NumbersUsedUp,
    /// Bytes that are no value or state of a register.
    Malformed(&'static str),
    /// A newer format.
    NewerFormat {
        /// The format found.
        found: u8,
        /// The newest known here.
        known: u8,
    },
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVoters => f.write_str("a register's value names at least one voter"),
            Self::TooManyVoters(count) => write!(f, "{count} voters: a register has at most {}", u16::MAX),
            Self::VoterTwice(id) => write!(f, "node {id} is named twice as a voter: it has one vote"),
            Self::PayloadTooLong(length) => {
                write!(f, "a value of {length} bytes: a register holds at most {}", super::PAYLOAD_BYTES_MAX)
            }
            Self::VersionAhead { expected, known } => {
                write!(f, "the change expects version {expected}, but only {known} is known here: read it first")
            }
            Self::NumbersUsedUp => f.write_str("the register has no versions or ballots left: restore it from a copy"),
            Self::Malformed(what) => write!(f, "these bytes are no register: {what}"),
            Self::NewerFormat { found, known } => {
                write!(f, "the register has format {found}, this version reads up to {known}: upgrade it")
            }
        }
    }
}

impl std::error::Error for RegisterError {}
