//! What proposers and voters say to each other. A message may be lost, late, doubled or out of order.

use super::{
    ballot::{Ballot, Voter},
    value::Value,
};

/// A value that a voter accepted, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The attempt in which it did.
    pub ballot: Ballot,
    /// The value.
    pub value: Value,
}

/// A proposer's message to a voter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whom it is meant for. Another life of the same disk does not answer it in its place.
    pub to: Voter,
    /// The attempt.
    pub ballot: Ballot,
    /// What is asked.
    pub ask: Ask,
}

/// What a proposer asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// To take part in no attempt before this one any more, and to tell what was accepted so far (phase 1).
    Prepare,
    /// To accept a value (phase 2).
    Accept(Value),
    /// To tell what it accepted last, if that is newer. It promises nothing, and the ballot only names the question.
    Look {
        /// Than this version.
        newer_than: u64,
    },
}

/// A voter's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The voter that was asked.
    pub from: Voter,
    /// The attempt; its proposer is the receiver.
    pub ballot: Ballot,
    /// What the voter says.
    pub answer: Answer,
}

/// What a voter answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It promised. Its disk says so.
    Promised {
        /// The value that it accepted last.
        accepted: Option<Accepted>,
    },
    /// It accepted the value. Its disk says so.
    Accepted,
    /// It promised a later attempt to leave this one alone.
    Refused {
        /// That attempt.
        promised: Ballot,
    },
    /// It was only asked.
    Seen {
        /// What it accepted last, if that is newer than what the question named.
        accepted: Option<Accepted>,
    },
    /// The voter that was asked is not here (any more).
    Elsewhere {
        /// Who is.
        me: Voter,
    },
}
