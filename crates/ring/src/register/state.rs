//! What a node keeps of the register on its disk.

use super::{
    ballot::{Ballot, Voter},
    message::Accepted,
};

/// What must survive a crash: what was promised and accepted as a voter, and the ballots used as a proposer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub(super) me: Voter,
    /// The counter of the newest ballot that was made here.
    pub(super) minted: u64,
    pub(super) promised: Ballot,
    pub(super) accepted: Option<Accepted>,
}

impl State {
    pub(super) fn new(me: Voter) -> State {
        State { me, minted: 0, promised: Ballot::NONE, accepted: None }
    }

    /// Whose state it is. That of another life of the disk is of no use.
    pub fn me(&self) -> Voter {
        self.me
    }

    /// The attempt before which all others are refused.
    pub fn promised(&self) -> Ballot {
        self.promised
    }

    /// The value accepted last. It need not be chosen.
    pub fn accepted(&self) -> Option<&Accepted> {
        self.accepted.as_ref()
    }
}
