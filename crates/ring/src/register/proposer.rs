//! One attempt to change or read the register (the proposer of Lamport 2001, over a value that changes: Rystsov 2018).
//!
//! It proposes at most one value under its ballot: the half-accepted one that it found, or its own change. Why the
//! majorities that it waits for are the right ones is in the [module's words](super).

use std::collections::BTreeMap;

use super::{
    ballot::{Ballot, Voter},
    error::RegisterError,
    message::{Accepted, Answer, Ask, Reply, Request},
    outcome::Outcome,
    value::Value,
    votes::{Count, Vote, Votes},
};

/// What the driver has to do for an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposerEffect {
    /// Send it to the node of the voter that it is meant for.
    Send(Request),
    /// The attempt is over; the machine may be dropped.
    Finished(Outcome),
}

/// A change of the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The version that it was planned on. It is made against exactly this one, or not at all.
    pub expected_version: u64,
    /// Who votes on the change after it. A majority of them must be up, or this change is not made either.
    pub voters: Vec<Voter>,
    /// The new payload.
    pub payload: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Prepare,
    Accept(Value),
    Finished,
}

/// One attempt. It has no clock: the driver calls [`Proposer::resend`] now and then, and [`Proposer::give_up`] in the end.
#[derive(Debug)]
pub struct Proposer {
    ballot: Ballot,
    /// A chosen value.
    known: Value,
    /// What the change makes of it; None for a read.
    own: Option<Value>,
    phase: Phase,
    votes: Votes,
    /// The highest ballot at which something was reported as accepted.
    top: Option<Ballot>,
    /// What was accepted at the highest ballot, leaving out values that the known one has outlived.
    newest: Option<Accepted>,
    /// When those who promised accepted what they have.
    reported: BTreeMap<Voter, Ballot>,
}

impl Proposer {
    /// Prepares a change. `known` is the newest value that the caller knows to be chosen, and `ballot` comes from
    /// [`Acceptor::mint`](super::Acceptor::mint), for this attempt alone.
    ///
    /// # Errors
    /// A change that makes no value, or that expects a version which the caller does not have.
    pub fn change(ballot: Ballot, known: Value, change: Change) -> Result<Proposer, RegisterError> {
        let Change { expected_version, voters, payload } = change;
        if expected_version > known.version() {
            return Err(RegisterError::VersionAhead { expected: expected_version, known: known.version() });
        }
        let mut proposer = Proposer::read(ballot, known);
        let known = &proposer.known;
        // It may be made already, by an attempt of which the caller did not hear the end.
        let maybe_made = expected_version.checked_add(1) == Some(known.version());
        proposer.own = Some(if maybe_made { known.instead(voters, payload) } else { known.next(voters, payload) }?);
        if expected_version < known.version() {
            // Whatever the voters say, it is not the version that the change expects.
            proposer.phase = Phase::Finished;
        }
        Ok(proposer)
    }

    /// Prepares a read: the value that the register has now, not the one that gossip brought last. It finishes what it
    /// finds half done, and it may preempt a change that is under way, so it is for those who need to be sure.
    pub fn read(ballot: Ballot, known: Value) -> Proposer {
        Proposer {
            ballot,
            known,
            own: None,
            phase: Phase::Prepare,
            votes: Votes::default(),
            top: None,
            newest: None,
            reported: BTreeMap::new(),
        }
    }

    /// Begins. To be called once.
    pub fn start(&mut self, effects: &mut Vec<ProposerEffect>) {
        if self.is_finished() {
            return self.settle(self.known.clone(), effects);
        }
        self.advance(effects);
    }

    /// A voter's answer. Those of other attempts, doubled ones and those of voters that were not asked do nothing.
    pub fn on_reply(&mut self, reply: Reply, effects: &mut Vec<ProposerEffect>) {
        let Reply { from, ballot, answer } = reply;
        if ballot != self.ballot || self.is_finished() {
            return;
        }
        let heard = match (answer, &self.phase) {
            (Answer::Promised { accepted }, Phase::Prepare) => self.promised(from, accepted),
            (Answer::Accepted, Phase::Accept(_)) => self.votes.set(from, Vote::Yes),
            (Answer::Refused { promised }, _) if promised > ballot => self.votes.set(from, Vote::Refused(promised)),
            (Answer::Elsewhere { me }, _) if me != from => self.votes.set(from, Vote::Gone),
            _ => false,
        };
        if heard {
            self.advance(effects);
        }
    }

    fn promised(&mut self, from: Voter, accepted: Option<Accepted>) -> bool {
        // Under this ballot nothing was proposed yet, and above it the voter would have refused.
        if accepted.as_ref().is_some_and(|accepted| accepted.ballot >= self.ballot) || !self.votes.set(from, Vote::Yes)
        {
            return false;
        }
        if let Some(accepted) = accepted {
            self.reported.insert(from, accepted.ballot);
            self.top = self.top.max(Some(accepted.ballot));
            // Another value that is no newer than the known one may be old, or half accepted and lost: whose majorities it
            // once needed does not matter. By the time that the majorities are there, somebody reported a newer one.
            let alive = accepted.value.is_newer(&self.known) || accepted.value == self.known;
            if alive && self.newest.as_ref().is_none_or(|newest| newest.ballot < accepted.ballot) {
                self.newest = Some(accepted);
            }
        }
        true
    }

    /// Says again what has no answer yet: messages get lost.
    pub fn resend(&mut self, effects: &mut Vec<ProposerEffect>) {
        for voter in self.votes.silent() {
            self.send(voter, effects);
        }
    }

    /// Waits no longer. Always finishes.
    pub fn give_up(&mut self, effects: &mut Vec<ProposerEffect>) {
        if !self.is_finished() {
            self.fail(effects);
        }
    }

    /// Whether [`ProposerEffect::Finished`] was pushed.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// The attempt's number.
    pub fn ballot(&self) -> Ballot {
        self.ballot
    }

    /// The newest accepted value, unless it is the known one. Nobody told that it is chosen.
    fn found(&self) -> Option<&Value> {
        self.newest.as_ref().map(|newest| &newest.value).filter(|value| **value != self.known)
    }

    /// The groups of voters of which the attempt needs a majority each, in the phase where it is.
    fn groups(&self) -> [&[Voter]; 2] {
        match (&self.phase, self.found(), &self.own) {
            (Phase::Accept(value), ..) => value.groups(),
            (_, Some(found), _) => found.groups(),
            // The own value's previous voters are the known one's. The new ones must promise too, though safety does not
            // ask for it: a value is accepted by none as long as those who must finish it may not exist.
            (_, None, Some(own)) => own.groups(),
            (_, None, None) => [&[], self.known.voters()],
        }
    }

    fn counts(&self) -> [Count; 2] {
        self.groups().map(|group| self.votes.count(group))
    }

    fn advance(&mut self, effects: &mut Vec<ProposerEffect>) {
        let groups = self.groups().map(<[Voter]>::to_vec);
        for voter in self.votes.ask(&[&groups[0], &groups[1]]) {
            self.send(voter, effects);
        }
        let counts = self.counts();
        let newest = self.newest.as_ref().map(|newest| newest.ballot);
        if counts.iter().all(|count| count.filled()) && newest == self.top {
            self.agreed(effects);
        } else if counts.iter().any(|count| count.hopeless()) {
            self.fail(effects);
        } else if counts.iter().any(|count| count.vacant()) && self.votes.silent().is_empty() {
            // As long as somebody may still answer, he may know newer voters.
            self.fail(effects);
        }
    }

    /// All majorities of this phase are there.
    fn agreed(&mut self, effects: &mut Vec<ProposerEffect>) {
        let proposal = match (&self.phase, self.found(), &self.own) {
            (Phase::Accept(value), ..) => return self.settle(value.clone(), effects),
            (_, Some(found), _) if self.is_chosen_already() => return self.settle(found.clone(), effects),
            (_, Some(found), _) => found.clone(),
            (_, None, Some(own)) => own.clone(),
            (_, None, None) => return self.settle(self.known.clone(), effects),
        };
        self.phase = Phase::Accept(proposal);
        self.votes.next_phase();
        self.advance(effects);
    }

    /// Whether the promises themselves say that the found value is chosen: both groups accepted it in one attempt.
    fn is_chosen_already(&self) -> bool {
        let Some(newest) = &self.newest else { return false };
        newest.value.groups().iter().all(|group| {
            let accepted = group.iter().filter(|voter| self.reported.get(voter) == Some(&newest.ballot)).count();
            let of = group.len();
            Count { of, yes: accepted, refused: 0, gone: 0 }.filled()
        })
    }

    /// This value is the register's.
    fn settle(&mut self, value: Value, effects: &mut Vec<ProposerEffect>) {
        let outcome = match &self.own {
            Some(own) if *own != value => Outcome::Outdated { current: value },
            _ => Outcome::Chosen(value),
        };
        self.finish(outcome, effects);
    }

    fn fail(&mut self, effects: &mut Vec<ProposerEffect>) {
        let by = self.votes.outbid_by();
        let outcome = match (&self.phase, by) {
            (Phase::Accept(value), _) if Some(value) == self.own.as_ref() => {
                Outcome::Unknown { value: value.clone(), by }
            }
            (_, Some(by)) if self.counts().iter().any(|count| count.outbid()) => Outcome::Preempted { by },
            _ => self.no_majority(),
        };
        self.finish(outcome, effects);
    }

    fn no_majority(&self) -> Outcome {
        let lacks = |count: &Count| count.needed().saturating_sub(count.answered());
        let [first, second] = self.counts();
        let worst = if !first.filled() && (second.filled() || lacks(&first) > lacks(&second)) { first } else { second };
        Outcome::NoMajority { answered: worst.answered(), needed: worst.needed(), of: worst.of }
    }

    fn finish(&mut self, outcome: Outcome, effects: &mut Vec<ProposerEffect>) {
        self.phase = Phase::Finished;
        effects.push(ProposerEffect::Finished(outcome));
    }

    fn send(&self, to: Voter, effects: &mut Vec<ProposerEffect>) {
        let ask = match &self.phase {
            Phase::Prepare => Ask::Prepare,
            Phase::Accept(value) => Ask::Accept(value.clone()),
            Phase::Finished => return,
        };
        effects.push(ProposerEffect::Send(Request { to, ballot: self.ballot, ask }));
    }
}
