//! A read that writes nothing: whether what is known is the register's value now.
//!
//! Voters are asked what they accepted last, and promise nothing. K is known to be chosen. *When a majority of K's voters says
//! that it has accepted nothing newer than K, no newer value was chosen before the read began.* Suppose one was, and let N be
//! the change of K in its chain: chosen before the read began too, so a majority of K's voters had accepted it. One of
//! these answered, after that, and what it has accepted last was proposed at N's ballot or a later one: it descends from
//! N (the claim in the [module's words](super)) and is newer than K.
//!
//! What is newer and not known may be chosen or not. It is where the answers say so themselves; else whoever proposed it
//! is about to finish it, or has died, and then a [`Proposer::read`](super::Proposer::read) does.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ballot::{Ballot, Voter},
    message::{Accepted, Answer, Ask, Reply, Request},
    value::Value,
    votes::majority,
};

/// What the answers so far say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Glimpse {
    /// What is known was the register's value at some moment since the read began, and none chosen before that is newer.
    Newest,
    /// This is chosen, and newer. To be learnt; then the answers say more.
    Chosen(Value),
    /// Something newer is accepted by some, and not known to be chosen.
    HalfDone,
    /// Too few have answered.
    Waiting {
        /// How many have.
        answered: usize,
        /// How many are needed.
        needed: usize,
        /// How many there are.
        of: usize,
    },
}

/// One read. It has no clock, and keeps its answers until it is told to forget them.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Tells its answers from those to other questions. No ballot: nobody promises anything.
    name: Ballot,
    asked: BTreeSet<Voter>,
    /// What voters accepted last, if that is newer than what was known when they were asked.
    said: BTreeMap<Voter, Option<Accepted>>,
}

impl Reading {
    /// A read whose answers have this name.
    pub fn new(name: Ballot) -> Reading {
        Reading { name, asked: BTreeSet::new(), said: BTreeMap::new() }
    }

    /// Questions to those voters who were not asked yet.
    pub fn ask(&mut self, known: &Value) -> Vec<Request> {
        let found = self.found(known).map(|found| found.value.clone());
        let groups = found.iter().flat_map(Value::groups).chain([known.voters()]);
        let voters: BTreeSet<Voter> = groups.flatten().copied().filter(|voter| !self.asked.contains(voter)).collect();
        self.asked.extend(&voters);
        voters.into_iter().map(|to| self.question(to, known)).collect()
    }

    /// The same to those who have not answered.
    pub fn ask_again(&self, known: &Value) -> Vec<Request> {
        let silent = self.asked.iter().filter(|voter| !self.said.contains_key(voter));
        silent.map(|to| self.question(*to, known)).collect()
    }

    /// Forgets the answers: all are to be asked anew.
    pub fn begin_again(&mut self) {
        self.asked.clear();
        self.said.clear();
    }

    fn question(&self, to: Voter, known: &Value) -> Request {
        Request { to, ballot: self.name, ask: Ask::Look { newer_than: known.version() } }
    }

    /// A voter's answer; false: it is to another question, or none that counts.
    pub fn on_reply(&mut self, reply: Reply) -> bool {
        let Reply { from, ballot, answer: Answer::Seen { accepted } } = reply else { return false };
        let counts = ballot == self.name && self.asked.contains(&from);
        if counts {
            // Two answers may come in any order: of what was accepted, the newer one is news.
            let said = self.said.entry(from).or_insert(None);
            let ballot = |accepted: &Option<Accepted>| accepted.as_ref().map(|accepted| accepted.ballot);
            *said = if ballot(said) < ballot(&accepted) { accepted } else { said.take() };
        }
        counts
    }

    /// What the answers say of what is known now. It may have become newer since voters were asked: who had nothing newer
    /// than an older value has nothing newer than this one.
    pub fn look(&self, known: &Value) -> Glimpse {
        let lacks = |voter: &&Voter| self.said.get(voter).is_some_and(|said| !is_newer(said.as_ref(), known));
        let (lacking, needed) = (known.voters().iter().filter(lacks).count(), majority(known.voters().len()));
        if lacking >= needed {
            return Glimpse::Newest;
        }
        match self.found(known) {
            Some(found) if self.is_chosen(found) => Glimpse::Chosen(found.value.clone()),
            Some(_) => Glimpse::HalfDone,
            None => Glimpse::Waiting { answered: lacking, needed, of: known.voters().len() },
        }
    }

    /// The newest that somebody accepted, if it is newer than what is known.
    fn found(&self, known: &Value) -> Option<&Accepted> {
        self.said.values().flatten().filter(|said| is_newer(Some(said), known)).max_by_key(|said| said.ballot)
    }

    /// Majorities of both groups have accepted it in one attempt.
    fn is_chosen(&self, found: &Accepted) -> bool {
        let did = |voter: &&Voter| self.said.get(voter).is_some_and(|said| said.as_ref() == Some(found));
        let groups = found.value.groups();
        groups
            .iter()
            .filter(|group| !group.is_empty())
            .all(|group| group.iter().filter(did).count() >= majority(group.len()))
    }
}

fn is_newer(said: Option<&Accepted>, known: &Value) -> bool {
    said.is_some_and(|said| said.value.is_newer(known))
}
