//! How an attempt ends.

use std::fmt;

use super::{ballot::Ballot, value::Value};

/// How an attempt ended. Every attempt has one, at the latest when it is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A change: it is made, and this is the register's value. A read: this was the value at some moment between the
    /// read's begin and its end, and none chosen before it began is newer.
    ///
    /// Two changes that want the same payload and voters in the same version are one value, and both hear this.
    Chosen(Value),
    /// The change expected an older version than the register's. This attempt did not send it to anyone.
    Outdated {
        /// The register's value, as a read would have found it.
        current: Value,
    },
    /// Too few voters answered. Nothing of this attempt's own was sent to be accepted. The numbers are those of the
    /// group that lacks the most; a proposer whose value is old may ask voters that left long ago.
    NoMajority {
        /// How many answered in time, refusals included.
        answered: usize,
        /// How many are needed.
        needed: usize,
        /// How many there are.
        of: usize,
    },
    /// Another attempt came later and was heard first. Nothing of this attempt's own was sent to be accepted. Try again
    /// with a ballot beyond that one, after a pause whose length is drawn by lot: two that keep outbidding each other at the
    /// same pace may do so for ever.
    Preempted {
        /// That attempt.
        by: Ballot,
    },
    /// The value was sent to be accepted, and too few said that they did. It may be chosen already, it may yet be chosen
    /// by whoever finishes it, or it may be forgotten. Another attempt of the same change, or a read, brings it to an end:
    /// it is made if that says so, and it was not and never will be if the register's value of that version is another.
    Unknown {
        /// The value.
        value: Value,
        /// The attempt that came in between, if one did.
        by: Option<Ballot>,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen(value) => write!(f, "version {} is chosen", value.version()),
            Self::Outdated { current } => {
                write!(f, "the register has version {} by now: look at it and decide again", current.version())
            }
            Self::NoMajority { answered, needed, of } => write!(
                f,
                "{answered} of {of} voters answered and {needed} are needed: nothing was changed, try again when they are up"
            ),
            Self::Preempted { by } => write!(
                f,
                "node {} made a later attempt (ballot {}): nothing was changed, try again in a moment",
                by.proposer.id, by.counter
            ),
            Self::Unknown { value, .. } => write!(
                f,
                "too few voters answered: version {} may have been chosen or not, read the register to know",
                value.version()
            ),
        }
    }
}
