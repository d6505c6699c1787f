//! Proposers' drivers: they start attempts, retry them, and remember what they were told.

use dynamo_ring::register::{Ballot, Change, Outcome, Proposer, ProposerEffect, Value, Voter};

use super::{Broken, Node, World, broken::Heard, index};

const TRIES: usize = 4;

/// A change or read that a node is at, with one attempt after the other.
#[derive(Debug)]
pub struct Job {
    /// Unlike any other's; None for a read.
    pub payload: Option<Vec<u8>>,
    voters: Vec<Voter>,
    /// What the change was planned on.
    against: Value,
    /// What is told as the register's value must be at least this version.
    least: u64,
    tries: usize,
    /// Between two attempts: what the next one's ballot has to be beyond.
    pausing: Option<Option<Ballot>>,
    pub machine: Option<Proposer>,
    pub sending: Option<Value>,
    pub sent_own: bool,
    pub heard: Heard,
}

impl Job {
    /// What the change would make.
    pub(super) fn value(&self) -> Option<Value> {
        let payload = self.payload.clone()?;
        Some(self.against.next(self.voters.clone(), payload).expect("a value"))
    }
}

impl World {
    /// A node that is at nothing begins a change, or at times a read; one that pauses between attempts makes the next.
    pub fn begin(&mut self, node: usize) {
        match &mut self.nodes[node] {
            Node { up: false, .. } => {}
            Node { job: Some(job), .. } => {
                if let Some(beyond) = job.pausing.take() {
                    self.mint(node, beyond);
                }
            }
            _ if self.chance.percent(20) => self.begin_read(node),
            _ => {
                let voters = self.some_voters(node);
                self.begin_change(node, voters);
            }
        }
    }

    pub fn begin_read(&mut self, node: usize) {
        self.begin_job(node, None, Vec::new());
    }

    pub fn begin_change(&mut self, node: usize, voters: Vec<Voter>) {
        self.payloads += 1;
        let payload = self.payloads.to_be_bytes().to_vec();
        self.judge.proposed(&self.nodes[node].known, &payload);
        self.begin_job(node, Some(payload), voters);
    }

    fn begin_job(&mut self, node: usize, payload: Option<Vec<u8>>, voters: Vec<Voter>) {
        self.nodes[node].job = Some(Job {
            payload,
            voters,
            against: self.nodes[node].known.clone(),
            least: 0,
            tries: 0,
            pausing: None,
            machine: None,
            sending: None,
            sent_own: false,
            heard: Heard::default(),
        });
        self.mint(node, None);
    }

    /// The voters as they are, or one or several of them replaced, or all.
    fn some_voters(&mut self, node: usize) -> Vec<Voter> {
        let mut voters = self.nodes[node].known.voters().to_vec();
        let mut others: Vec<Voter> =
            self.nodes.iter().map(|node| node.voter).filter(|voter| !voters.contains(voter)).collect();
        if self.chance.percent(30) && !others.is_empty() {
            let count = 1 + self.chance.below(4);
            while others.len() > count {
                others.swap_remove(self.chance.below(others.len()));
            }
            return others;
        }
        if self.chance.percent(50) {
            voters.iter_mut().for_each(|voter| *voter = self.nodes[index(*voter)].voter);
        }
        for _ in 0..self.chance.below(4) {
            if voters.len() > 1 && self.chance.percent(80) {
                voters.swap_remove(self.chance.below(voters.len()));
            }
            let new = self.chance.below(self.nodes.len());
            let new = self.nodes[new].voter;
            voters.retain(|voter| voter.id != new.id);
            voters.push(new);
        }
        voters
    }

    fn mint(&mut self, node: usize, beyond: Option<Ballot>) {
        let Self { nodes, broken, .. } = self;
        let state = &mut nodes[node];
        if *broken == Broken::BallotsForgotten {
            state.counter = state.counter.max(beyond.map_or(0, |ballot| ballot.counter)) + 1;
            let proposer = Voter { id: state.voter.id, incarnation: 0 };
            return self.minted(node, Ballot { counter: self.nodes[node].counter, proposer });
        }
        let mut effects = Vec::new();
        state.acceptor.mint(beyond, &mut effects).expect("a ballot");
        self.carry_out(node, effects);
    }

    /// An attempt has its ballot.
    pub(super) fn minted(&mut self, node: usize, ballot: Ballot) {
        let newest = self.judge.newest().version();
        let state = &mut self.nodes[node];
        let Some(job) = state.job.as_mut().filter(|job| job.machine.is_none()) else { return };
        let known = state.known.clone();
        let mut machine = match &job.payload {
            None => Proposer::read(ballot, known),
            Some(payload) => {
                let (voters, payload) = (job.voters.clone(), payload.clone());
                let change = Change { expected_version: job.against.version(), voters, payload };
                Proposer::change(ballot, known, change).expect("a change")
            }
        };
        let mut effects = Vec::new();
        machine.start(&mut effects);
        // When gossip brought the end of it already, that is not asked for again.
        job.least = if machine.is_finished() { 0 } else { newest };
        job.machine = Some(machine);
        (job.sending, job.sent_own, job.heard) = (None, false, Heard::default());
        job.tries += 1;
        self.follow(node, effects);
    }

    pub(super) fn finished(&mut self, node: usize, outcome: Outcome) {
        let Some(mut job) = self.nodes[node].job.take() else { return };
        self.endings.push(outcome.clone());
        if job.sent_own && matches!(outcome, Outcome::NoMajority { .. } | Outcome::Preempted { .. }) {
            self.judge.wrong.push(format!("{outcome} after its own value was sent"));
        }
        let beyond = match outcome {
            Outcome::Chosen(value) => {
                if job.payload.as_ref().is_some_and(|payload| value.payload() != payload) {
                    self.judge.wrong.push("a change was told as made that is another".into());
                }
                return self.learn(node, value, job.least);
            }
            Outcome::Outdated { current } => {
                let payload = job.payload.as_deref().expect("a change");
                let same_version = current.version() == job.against.version() + 1;
                if current.version() <= job.against.version() {
                    self.judge.wrong.push("outdated by an older value".into());
                } else if same_version {
                    self.judge.deny(payload);
                }
                return self.learn(node, current, job.least);
            }
            Outcome::NoMajority { .. } => None,
            Outcome::Preempted { by } => Some(by),
            Outcome::Unknown { by, .. } => by,
        };
        if job.tries < TRIES {
            (job.machine, job.pausing) = (None, Some(beyond));
            self.nodes[node].job = Some(job);
        }
    }

    pub(super) fn learn(&mut self, node: usize, value: Value, least: u64) {
        self.judge.tell(&value, least);
        if value.is_newer(&self.nodes[node].known) {
            self.nodes[node].known = value;
        }
    }

    pub fn resend(&mut self, node: usize) {
        self.drive(node, |machine, effects| machine.resend(effects));
    }

    /// A driver waits no longer; its attempt must end now.
    pub fn give_up(&mut self, node: usize) {
        let ends = self.endings.len();
        let running = self.drive(node, |machine, effects| machine.give_up(effects));
        assert!(!running || self.endings.len() > ends, "an attempt that was given up goes on");
    }

    fn drive(&mut self, node: usize, call: impl FnOnce(&mut Proposer, &mut Vec<ProposerEffect>)) -> bool {
        let mut effects = Vec::new();
        let Some(Job { machine: Some(machine), .. }) = &mut self.nodes[node].job else { return false };
        call(machine, &mut effects);
        self.follow(node, effects);
        true
    }
}
