//! Nodes that answer at once, to try single attempts on.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};

use dynamo_ring::{
    NodeId,
    register::{
        Acceptor, AcceptorEffect, Ask, Ballot, Change, Outcome, Proposer, ProposerEffect, Reply, Request, Value, Voter,
    },
};

pub fn voter(id: u128) -> Voter {
    Voter { id: NodeId(id), incarnation: 1 }
}

pub fn voters(ids: impl IntoIterator<Item = u128>) -> Vec<Voter> {
    ids.into_iter().map(voter).collect()
}

pub fn first(ids: impl IntoIterator<Item = u128>) -> Value {
    Value::first(voters(ids), b"first".to_vec()).expect("a value")
}

pub fn ballot(counter: u64, id: u128) -> Ballot {
    Ballot { counter, proposer: voter(id) }
}

pub fn change(ballot: Ballot, known: &Value, ids: impl IntoIterator<Item = u128>, payload: &str) -> Proposer {
    let change = Change { expected_version: known.version(), voters: voters(ids), payload: payload.into() };
    Proposer::change(ballot, known.clone(), change).expect("a change")
}

/// Nodes 1 to 9 with disks that are done at once.
pub struct Cluster {
    pub nodes: BTreeMap<Voter, Acceptor>,
    /// Who does not hear.
    pub deaf: BTreeSet<Voter>,
    /// Who hears no accept.
    pub forgetful: BTreeSet<Voter>,
    /// What was asked in the attempt.
    pub asked: Vec<Request>,
}

impl Cluster {
    pub fn new() -> Cluster {
        let nodes = (1..=9).map(|id| (voter(id), Acceptor::new(voter(id), None))).collect();
        Cluster { nodes, deaf: BTreeSet::new(), forgetful: BTreeSet::new(), asked: Vec::new() }
    }

    /// Runs an attempt until nothing is under way, and gives it up if it goes on.
    pub fn run(&mut self, mut proposer: Proposer) -> Outcome {
        let mut effects = Vec::new();
        self.asked.clear();
        proposer.start(&mut effects);
        let mut gave_up = false;
        loop {
            for effect in std::mem::take(&mut effects) {
                match effect {
                    ProposerEffect::Finished(outcome) => return outcome,
                    ProposerEffect::Send(request) => {
                        self.asked.push(request.clone());
                        if let Some(reply) = self.ask(request) {
                            proposer.on_reply(reply, &mut effects);
                        }
                    }
                }
            }
            if effects.is_empty() {
                assert!(!std::mem::replace(&mut gave_up, true), "it goes on when it was given up");
                proposer.give_up(&mut effects);
            }
        }
    }

    pub fn ask(&mut self, request: Request) -> Option<Reply> {
        let to = request.to;
        let lost = matches!(request.ask, Ask::Accept(_)) && self.forgetful.contains(&to);
        let node = self.nodes.iter_mut().find(|(voter, _)| voter.id == to.id).map(|(_, node)| node)?;
        if lost || self.deaf.contains(&to) {
            return None;
        }
        let (mut effects, mut replies) = (Vec::new(), Vec::new());
        node.on_request(0, request, &mut effects);
        while let Some(effect) = effects.pop() {
            match effect {
                AcceptorEffect::Persist { ticket, .. } => node.on_persisted(ticket, &mut effects),
                AcceptorEffect::Reply { reply, .. } => replies.push(reply),
                AcceptorEffect::Minted(_) => {}
            }
        }
        replies.pop()
    }

    pub fn accepts_sent(&self) -> usize {
        self.asked.iter().filter(|request| matches!(request.ask, Ask::Accept(_))).count()
    }

    /// Of these nodes, those that accept nothing for now.
    pub fn forget(&mut self, ids: impl IntoIterator<Item = u128>) {
        self.forgetful = voters(ids).into_iter().collect();
    }

    pub fn silence(&mut self, ids: impl IntoIterator<Item = u128>) {
        self.deaf = voters(ids).into_iter().collect();
    }
}

pub fn chosen(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Chosen(value) => value,
        other => panic!("{other:?}"),
    }
}
