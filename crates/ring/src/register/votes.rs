//! Who was asked in an attempt, what they said, and whether that makes majorities.

use std::collections::BTreeMap;

use super::ballot::{Ballot, Voter};

/// What a voter said so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vote {
    Silent,
    Yes,
    /// It promised that ballot: it will never take part in this attempt.
    Refused(Ballot),
    /// Another voter answers in its place.
    Gone,
}

/// More than half.
pub(super) fn majority(of: usize) -> usize {
    of / 2 + 1
}

/// The count of one group of voters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub of: usize,
    pub yes: usize,
    pub refused: usize,
    pub gone: usize,
}

impl Count {
    pub fn needed(self) -> usize {
        majority(self.of)
    }

    /// A group without voters is one that nobody has to ask.
    pub fn filled(self) -> bool {
        self.of == 0 || self.yes >= self.needed()
    }

    /// Too many are gone.
    pub fn vacant(self) -> bool {
        !self.filled() && self.of - self.gone < self.needed()
    }

    /// Refusals make its majority impossible.
    pub fn hopeless(self) -> bool {
        self.refused > 0 && !self.filled() && !self.vacant() && self.of - self.gone - self.refused < self.needed()
    }

    /// Refusals, and not silence, are what stands between this group and its majority.
    pub fn outbid(self) -> bool {
        self.hopeless() || (self.refused > 0 && !self.filled() && self.answered() >= self.needed())
    }

    pub fn answered(self) -> usize {
        self.yes + self.refused
    }
}

/// The answers to one phase of an attempt.
#[derive(Debug, Default)]
pub(super) struct Votes(BTreeMap<Voter, Vote>);

impl Votes {
    /// Asks those of the groups that were not asked yet, and says who they are.
    pub fn ask(&mut self, groups: &[&[Voter]]) -> Vec<Voter> {
        let mut asked = Vec::new();
        for voter in groups.iter().copied().flatten() {
            self.0.entry(*voter).or_insert_with(|| {
                asked.push(*voter);
                Vote::Silent
            });
        }
        asked
    }

    /// For the next phase: no one was asked, but who is out of the attempt stays out.
    pub fn next_phase(&mut self) {
        self.0.retain(|_, vote| matches!(vote, Vote::Refused(_) | Vote::Gone));
    }

    /// Notes what a voter said; false when it was not asked, or can't change its mind any more.
    pub fn set(&mut self, voter: Voter, vote: Vote) -> bool {
        match self.0.get_mut(&voter) {
            Some(now) if *now == Vote::Silent => {
                *now = vote;
                true
            }
            _ => false,
        }
    }

    pub fn silent(&self) -> Vec<Voter> {
        self.0.iter().filter(|(_, vote)| **vote == Vote::Silent).map(|(voter, _)| *voter).collect()
    }

    pub fn count(&self, group: &[Voter]) -> Count {
        let mut count = Count { of: group.len(), yes: 0, refused: 0, gone: 0 };
        for voter in group {
            match self.0.get(voter) {
                Some(Vote::Yes) => count.yes += 1,
                Some(Vote::Refused(_)) => count.refused += 1,
                Some(Vote::Gone) => count.gone += 1,
                Some(Vote::Silent) | None => {}
            }
        }
        count
    }

    /// The latest attempt that a voter preferred to this one.
    pub fn outbid_by(&self) -> Option<Ballot> {
        let ballots = self.0.values().filter_map(|vote| match vote {
            Vote::Refused(ballot) => Some(*ballot),
            _ => None,
        });
        ballots.max()
    }
}
