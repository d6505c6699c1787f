//! A cluster that holds a register: nodes with disks, a network and a scheduler, all driven by one seed.
//!
//! Messages are lost, doubled and reordered, nodes crash and lose what is not on their disks, disks are wiped, and
//! proposers go on from old values.

#![allow(dead_code, reason = "each test file uses its part")]

mod broken;
mod chance;
mod faults;
mod jobs;
mod judge;
mod looks;

use std::collections::{BTreeSet, VecDeque};

pub use broken::Broken;
pub use chance::Chance;
use dynamo_ring::{
    NodeId,
    register::{Acceptor, AcceptorEffect, Ask, Outcome, ProposerEffect, Reply, Request, State, Value, Voter},
};
pub use jobs::Job;
pub use judge::Judge;

/// What is on its way.
#[derive(Debug, Clone)]
enum Packet {
    Request { from: usize, request: Request },
    Reply { to: usize, reply: Reply },
    News { from: usize, to: usize, value: Value },
}

impl Packet {
    fn ends(&self) -> (usize, usize) {
        match self {
            Packet::Request { from, request } => (*from, index(request.to)),
            Packet::Reply { to, reply } => (index(reply.from), *to),
            Packet::News { from, to, .. } => (*from, *to),
        }
    }
}

#[derive(Debug)]
pub struct Node {
    pub voter: Voter,
    pub up: bool,
    /// In which part of the network.
    apart: bool,
    acceptor: Acceptor,
    disk: Option<Vec<u8>>,
    /// Not on the disk yet.
    writes: VecDeque<(u64, State)>,
    /// A chosen value, perhaps an old one.
    pub known: Value,
    pub job: Option<Job>,
    look: Option<looks::Look>,
    /// The counter of its ballots, where these are broken.
    counter: u64,
}

pub struct World {
    pub chance: Chance,
    pub nodes: Vec<Node>,
    pub judge: Judge,
    pub broken: Broken,
    /// How many of the nodes propose.
    pub proposers: usize,
    /// In percent of packets.
    pub loss: usize,
    /// How fast disks are, how often something goes wrong, how often that is the disk, how often nodes gossip, and how often proposers want something, in percent of
    /// what could be.
    disks: usize,
    mishaps: usize,
    /// The same while things are delicate.
    tension: usize,
    wipes: usize,
    gossip: usize,
    haste: usize,
    network: Vec<Packet>,
    /// For how many steps more faults and rivals come often: an attempt is at its last phase, where they hurt most.
    delicate: usize,
    /// What was sent to be accepted.
    sent: Vec<Value>,
    /// Voters whose disks are no more.
    dead: BTreeSet<Voter>,
    payloads: u64,
    /// How often somebody that only looked knew what the register has.
    pub looked: usize,
    /// How attempts ended.
    pub endings: Vec<Outcome>,
}

fn id(index: usize) -> NodeId {
    NodeId(index as u128 + 1)
}

fn index(voter: Voter) -> usize {
    voter.id.0 as usize - 1
}

impl World {
    /// 3 to 7 voters, some nodes more, 2 to 4 of which propose.
    pub fn new(seed: u64, broken: Broken) -> World {
        let mut chance = Chance(seed);
        let voters = [3, 3, 3, 4, 5, 6, 7][chance.below(7)];
        let count = voters + 1 + chance.below(4);
        let proposers = 2 + chance.below(3);
        let lives: Vec<Voter> = (0..count).map(|index| Voter { id: id(index), incarnation: 1 }).collect();
        let first = Value::first(lives[..voters].to_vec(), b"first".to_vec()).expect("a value");
        let node = |voter: &Voter| Node {
            voter: *voter,
            up: true,
            apart: false,
            acceptor: Acceptor::new(*voter, None),
            disk: None,
            writes: VecDeque::new(),
            known: first.clone(),
            job: None,
            look: None,
            counter: 0,
        };
        World {
            loss: chance.below(15),
            disks: 10 + chance.below(90),
            mishaps: 1 + [10, 40, 99][chance.below(3)] * chance.below(100) / 100,
            tension: chance.below(15),
            wipes: chance.below(60),
            gossip: 10 + chance.below(90),
            haste: 5 + chance.below(70),
            chance,
            nodes: lives.iter().map(node).collect(),
            judge: Judge::new(first.clone()),
            broken,
            proposers,
            network: Vec::new(),
            delicate: 0,
            sent: Vec::new(),
            dead: BTreeSet::new(),
            payloads: 0,
            looked: 0,
            endings: Vec::new(),
        }
    }

    /// One thing happens.
    pub fn step(&mut self) {
        let proposer = self.chance.below(self.proposers);
        let node = self.chance.below(self.nodes.len());
        self.delicate = self.delicate.saturating_sub(1);
        if self.delicate > 0 && self.mishaps > 0 && self.chance.percent(self.tension) {
            return match self.chance.below(4) {
                0 => self.cut(),
                1 => self.mishap(),
                _ => self.begin(proposer),
            };
        }
        match self.chance.below(1000) {
            0..650 => self.deliver(),
            650..850 if self.chance.percent(self.disks) => self.some_write(),
            850..890 if self.chance.percent(self.haste) => self.begin(proposer),
            890..920 => self.resend(proposer),
            920..926 => self.give_up(proposer),
            926..940 if self.chance.percent(self.gossip) => {
                let value = self.nodes[proposer].known.clone();
                self.network.push(Packet::News { from: proposer, to: node, value });
            }
            940..950 => self.look(node),
            950..956 if self.mishaps > 0 => self.cut(),
            956.. if self.chance.percent(self.mishaps) => self.mishap(),
            _ => {}
        }
    }

    /// The network falls in two, or is whole again. Packets between the parts wait.
    fn cut(&mut self) {
        let whole = self.chance.percent(70);
        for node in 0..self.nodes.len() {
            self.nodes[node].apart = !whole && self.chance.percent(40);
        }
    }

    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let reachable = |packet: &Packet| {
            let (from, to) = packet.ends();
            self.nodes[from].apart == self.nodes[to].apart
        };
        let tries: [usize; 4] = std::array::from_fn(|_| self.chance.below(self.network.len()));
        let Some(at) = tries.into_iter().find(|at| reachable(&self.network[*at])) else { return };
        if self.loss > 0 && self.chance.percent(self.loss) {
            self.network.swap_remove(at);
            return;
        }
        let doubled = self.loss > 0 && self.chance.percent(10);
        let packet = if doubled { self.network[at].clone() } else { self.network.swap_remove(at) };
        match packet {
            Packet::Request { from, request } => self.deliver_request(from, request),
            Packet::Reply { to, reply } => {
                self.seen(to, &reply);
                self.hear(to, reply.clone());
                self.hear_what_nobody_said(to, reply);
            }
            Packet::News { to, value, .. } => {
                let node = &mut self.nodes[to];
                if node.up && value.is_newer(&node.known) {
                    node.known = value;
                }
            }
        }
    }

    fn deliver_request(&mut self, from: usize, request: Request) {
        let to = index(request.to);
        if self.nodes[to].up {
            let mut effects = Vec::new();
            self.nodes[to].acceptor.on_request(from as u64, request, &mut effects);
            self.carry_out(to, effects);
        }
    }

    fn carry_out(&mut self, node: usize, effects: Vec<AcceptorEffect>) {
        for effect in effects {
            match effect {
                AcceptorEffect::Persist { ticket, state } => {
                    self.nodes[node].writes.push_back((ticket, state));
                    if self.broken == Broken::ReplyBeforePersist {
                        let mut more = Vec::new();
                        self.nodes[node].acceptor.on_persisted(ticket, &mut more);
                        self.carry_out(node, more);
                    }
                }
                AcceptorEffect::Reply { call, reply } => {
                    self.network.push(Packet::Reply { to: call as usize, reply });
                }
                AcceptorEffect::Minted(ballot) => self.minted(node, ballot),
            }
        }
    }

    fn some_write(&mut self) {
        let busy = |node: &&usize| self.nodes[**node].up && !self.nodes[**node].writes.is_empty();
        let nodes: Vec<usize> = (0..self.nodes.len()).collect();
        let busy: Vec<usize> = nodes.iter().filter(busy).copied().collect();
        if let Some(node) = self.chance.pick(&busy) {
            self.write(node);
        }
    }

    /// A disk gets done with some of its writes.
    fn write(&mut self, node: usize) {
        let count = self.nodes[node].writes.len();
        if !self.nodes[node].up || count == 0 {
            return;
        }
        let done = 1 + self.chance.below(count);
        let ticket = self.put_on_disk(node, done);
        let mut effects = Vec::new();
        self.nodes[node].acceptor.on_persisted(ticket, &mut effects);
        self.carry_out(node, effects);
    }

    /// Puts so many writes on the disk; the last one's ticket.
    fn put_on_disk(&mut self, node: usize, count: usize) -> u64 {
        let mut last = 0;
        for (ticket, state) in self.nodes[node].writes.drain(..count).collect::<Vec<_>>() {
            if let Some(accepted) = state.accepted() {
                self.judge.on_disk(state.me(), accepted);
            }
            self.nodes[node].disk = Some(state.encode());
            last = ticket;
        }
        last
    }

    fn hear(&mut self, node: usize, reply: Reply) {
        let mut effects = Vec::new();
        if let Some(Job { machine: Some(machine), .. }) = &mut self.nodes[node].job {
            machine.on_reply(reply, &mut effects);
        }
        self.follow(node, effects);
    }

    /// Carries out what a proposer wants.
    fn follow(&mut self, node: usize, effects: Vec<ProposerEffect>) {
        for effect in effects {
            match effect {
                ProposerEffect::Send(request) => {
                    if let Ask::Accept(value) = &request.ask {
                        let job = self.nodes[node].job.as_mut().expect("the sender");
                        job.sent_own |= job.payload.as_deref() == Some(value.payload());
                        if job.sending.replace(value.clone()).is_none() {
                            self.delicate = 40;
                        }
                        if !self.sent.contains(value) {
                            self.sent.push(value.clone());
                        }
                    }
                    self.network.push(Packet::Request { from: node, request });
                }
                ProposerEffect::Finished(outcome) => self.finished(node, outcome),
            }
        }
    }
}
