//! A voter (the acceptor of Lamport 2001): it promises, accepts, and says so once its disk does.
//!
//! It keeps its proposers' ballots too: they need the same disk, and the same care. It does not know who has a vote, only
//! who it is itself; counting votes is the proposer's.

use std::collections::VecDeque;

use super::{
    ballot::{Ballot, Voter},
    error::RegisterError,
    message::{Accepted, Answer, Ask, Reply, Request},
    state::State,
    value::Value,
};

/// By how much a message may raise the counter of ballots. Attempts raise it by one. Without a limit one damaged message
/// would use up all ballots, and no attempt could ever come after it. A proposer that is told of a later ballot goes half
/// as far at most, so that voters that are somewhat behind take what it makes of a damaged answer.
const RAISE_MAX: u64 = 1 << 40;

/// What the driver has to do for a voter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcceptorEffect {
    /// Write the state to stable storage in place of the one before, then call [`Acceptor::on_persisted`]. States are
    /// written in the order given; one may be left out for a later one.
    Persist {
        /// Which write it is.
        ticket: u64,
        /// What to write.
        state: State,
    },
    /// Answer a request.
    Reply {
        /// The driver's name for the request.
        call: u64,
        /// The answer.
        reply: Reply,
    },
    /// A ballot that was never used before and never will be again.
    Minted(Ballot),
}

/// A voter.
#[derive(Debug)]
pub struct Acceptor {
    state: State,
    /// The newest write asked for.
    ticket: u64,
    /// The newest write done.
    persisted: u64,
    /// What may be said once a write is done, oldest first.
    waiting: VecDeque<(u64, AcceptorEffect)>,
}

impl Acceptor {
    /// How many answers wait for the disk at most. Requests beyond them are dropped unread, like lost messages: their
    /// proposers ask again.
    pub const WAITING_MAX: usize = 1024;

    /// A voter with what its disk holds. Pass what was read back after a crash; without it, or with the state of another
    /// incarnation, the voter has promised nothing yet, which only a disk that never had a vote may say.
    pub fn new(me: Voter, state: Option<State>) -> Acceptor {
        let state = state.filter(|state| state.me == me).unwrap_or_else(|| State::new(me));
        Acceptor { state, ticket: 0, persisted: 0, waiting: VecDeque::new() }
    }

    /// What it has promised and accepted, including what is still being written.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// A proposer's message. `call` comes back with the answer, if there is one.
    pub fn on_request(&mut self, call: u64, request: Request, effects: &mut Vec<AcceptorEffect>) {
        let Request { to, ballot, ask } = request;
        if to != self.state.me {
            let reply = Reply { from: to, ballot, answer: Answer::Elsewhere { me: self.state.me } };
            return effects.push(AcceptorEffect::Reply { call, reply });
        }
        let furthest = self.state.promised.counter.saturating_add(RAISE_MAX);
        let looks = matches!(ask, Ask::Look { .. });
        let credible = looks || (1..=furthest).contains(&ballot.counter);
        if !credible || self.waiting.len() >= Self::WAITING_MAX {
            return;
        }
        let answer = match ask {
            // Nothing is written for it; but what it tells may count as accepted, and has to be on disk like any answer.
            Ask::Look { newer_than } => {
                let newer = |accepted: &Accepted| accepted.value.version() > newer_than;
                Answer::Seen { accepted: self.state.accepted.clone().filter(newer) }
            }
            _ if ballot < self.state.promised => Answer::Refused { promised: self.state.promised },
            Ask::Prepare => self.promise(ballot, effects),
            Ask::Accept(value) => self.accept(ballot, value, effects),
        };
        self.say(AcceptorEffect::Reply { call, reply: Reply { from: to, ballot, answer } }, effects);
    }

    fn promise(&mut self, ballot: Ballot, effects: &mut Vec<AcceptorEffect>) -> Answer {
        if ballot > self.state.promised {
            self.state.promised = ballot;
            self.persist(effects);
        }
        Answer::Promised { accepted: self.state.accepted.clone() }
    }

    fn accept(&mut self, ballot: Ballot, value: Value, effects: &mut Vec<AcceptorEffect>) -> Answer {
        let accepted = Accepted { ballot, value };
        match &self.state.accepted {
            Some(before) if *before == accepted => {}
            // A ballot stands for one value. Whoever proposes a second has lost its memory: the first may be chosen.
            Some(before) if before.ballot == ballot => return Answer::Refused { promised: ballot },
            _ => {
                self.state.promised = ballot;
                self.state.accepted = Some(accepted);
                self.persist(effects);
            }
        }
        Answer::Accepted
    }

    /// Makes a ballot for an attempt, above those seen here and above `beyond` (that of
    /// [`Outcome::Preempted`](super::Outcome::Preempted)). It comes as [`AcceptorEffect::Minted`] once the disk has it:
    /// a proposer that crashed would else use it for a second value.
    ///
    /// # Errors
    /// No ballots are left.
    pub fn mint(&mut self, beyond: Option<Ballot>, effects: &mut Vec<AcceptorEffect>) -> Result<(), RegisterError> {
        let seen = self.state.minted.max(self.state.promised.counter);
        let told = beyond.map_or(0, |ballot| ballot.counter.min(seen.saturating_add(RAISE_MAX / 2)));
        let counter = seen.max(told).checked_add(1).ok_or(RegisterError::NumbersUsedUp)?;
        self.state.minted = counter;
        self.persist(effects);
        self.say(AcceptorEffect::Minted(Ballot { counter, proposer: self.state.me }), effects);
        Ok(())
    }

    /// A write is on stable storage, and with it those before. After a failed write this must not be called: drop the
    /// voter, and make another with what the disk holds.
    pub fn on_persisted(&mut self, ticket: u64, effects: &mut Vec<AcceptorEffect>) {
        self.persisted = self.persisted.max(ticket.min(self.ticket));
        let ready = self.waiting.iter().take_while(|(ticket, _)| *ticket <= self.persisted).count();
        effects.extend(self.waiting.drain(..ready).map(|(_, effect)| effect));
    }

    fn persist(&mut self, effects: &mut Vec<AcceptorEffect>) {
        self.ticket += 1;
        effects.push(AcceptorEffect::Persist { ticket: self.ticket, state: self.state.clone() });
    }

    /// Says it when all that it rests on is on disk. Refusals wait as well: they name a promise.
    fn say(&mut self, effect: AcceptorEffect, effects: &mut Vec<AcceptorEffect>) {
        if self.persisted == self.ticket {
            effects.push(effect);
        } else {
            self.waiting.push_back((self.ticket, effect));
        }
    }
}
