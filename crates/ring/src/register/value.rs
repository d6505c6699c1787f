//! What the register holds: one version of an opaque payload, with the voters that decide on the next.

use std::{fmt, sync::Arc};

use super::{ballot::Voter, error::RegisterError};

/// The longest payload. Above any ring's encoding, and short enough to go into one message.
pub const PAYLOAD_BYTES_MAX: usize = 8 << 20;

/// A version of what the register holds. Cheap to clone.
///
/// Besides its own voters it names those of the value before it. Whoever finds it half accepted needs a majority of both
/// to finish it, and may never have seen the value before.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Arc<Parts>);

#[derive(PartialEq, Eq)]
struct Parts {
    version: u64,
    /// Sorted; none in version 1, and only there.
    previous: Vec<Voter>,
    /// Sorted, each node once, never none.
    voters: Vec<Voter>,
    payload: Vec<u8>,
}

impl Value {
    /// Version 1. No vote is taken on it: all first members make the same one out of their configuration.
    ///
    /// # Errors
    /// Voters or a payload that make no value.
    pub fn first(voters: Vec<Voter>, payload: Vec<u8>) -> Result<Value, RegisterError> {
        Value::from_parts(1, Vec::new(), voters, payload)
    }

    /// The next version: a change of this one.
    ///
    /// # Errors
    /// Voters or a payload that make no value.
    pub fn next(&self, voters: Vec<Voter>, payload: Vec<u8>) -> Result<Value, RegisterError> {
        let version = self.version().checked_add(1).ok_or(RegisterError::NumbersUsedUp)?;
        Value::from_parts(version, self.voters().to_vec(), voters, payload)
    }

    /// What a change of the value before this one would have made.
    pub(super) fn instead(&self, voters: Vec<Voter>, payload: Vec<u8>) -> Result<Value, RegisterError> {
        Value::from_parts(self.version(), self.previous_voters().to_vec(), voters, payload)
    }

    pub(super) fn from_parts(
        version: u64,
        previous: Vec<Voter>,
        mut voters: Vec<Voter>,
        payload: Vec<u8>,
    ) -> Result<Value, RegisterError> {
        voters.sort();
        for voters in [&previous, &voters] {
            if voters.len() > usize::from(u16::MAX) {
                return Err(RegisterError::TooManyVoters(voters.len()));
            }
            if let Some(pair) = voters.windows(2).find(|pair| pair[0].id >= pair[1].id) {
                return Err(RegisterError::VoterTwice(pair[0].id));
            }
        }
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(RegisterError::PayloadTooLong(payload.len()));
        }
        if voters.is_empty() || (previous.is_empty() && version > 1) {
            return Err(RegisterError::NoVoters);
        }
        if version == 0 || (version == 1 && !previous.is_empty()) {
            return Err(RegisterError::Malformed("a value before the first"));
        }
        Ok(Value(Arc::new(Parts { version, previous, voters, payload })))
    }

    /// Which value of the register this is; each change counts one up from 1.
    pub fn version(&self) -> u64 {
        self.0.version
    }

    /// Whose majority, together with that of [`Value::voters`], chose this value; none in version 1.
    pub fn previous_voters(&self) -> &[Voter] {
        &self.0.previous
    }

    /// Whose majority decides on the next value; sorted.
    pub fn voters(&self) -> &[Voter] {
        &self.0.voters
    }

    /// What the register is for.
    pub fn payload(&self) -> &[u8] {
        &self.0.payload
    }

    /// Whether this one replaces the other at a learner. For chosen values only: they form one chain.
    pub fn is_newer(&self, than: &Value) -> bool {
        self.version() > than.version()
    }

    /// The two groups of voters each of which has to agree by majority. (Only one for version 1.)
    pub(super) fn groups(&self) -> [&[Voter]; 2] {
        [self.previous_voters(), self.voters()]
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value")
            .field("version", &self.version())
            .field("previous_voters", &self.previous_voters())
            .field("voters", &self.voters())
            .field("payload_bytes", &self.payload().len())
            .finish()
    }
}
