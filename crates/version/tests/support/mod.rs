//! A model of replicas, clients and an oracle: the real sibling sets, each beside the set of writes that it has really
//! seen. The tests generate steps; after each, the real thing has to agree with the oracle.
//!
//! It models one key. Nodes forget (a fallback that handed its hint off), crash back to what was durable (with the
//! epoch floor raised), lose their disks, and get states late and in any order. It knows no disk format and no quorum.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dynamo_version::{Causality, Dot, Minter, Mode, Payload, SiblingSet, Timestamp, mint};
use proptest::prelude::*;

pub const NODES: usize = 4;
pub const CLIENTS: usize = 3;
const MESSAGES_MAX: usize = 12;

pub type WriteId = usize;

/// What the oracle knows of a write.
pub struct Write {
    pub dot: Dot,
    pub timestamp: Timestamp,
    /// All that its writer had seen.
    pub over: BTreeSet<WriteId>,
}

/// A real state, and what it has really seen.
#[derive(Clone, Default)]
pub struct Tracked {
    pub set: SiblingSet,
    pub seen: BTreeSet<WriteId>,
}

#[derive(Clone, Default)]
pub struct Record {
    pub state: Tracked,
    pub own_epoch: Option<u64>,
}

pub struct Node {
    pub record: Record,
    pub durable: Record,
    pub minter: Minter,
    next_epoch: u64,
}

#[derive(Clone, Default)]
pub struct Client {
    pub context: Causality,
    pub latest: Timestamp,
    pub seen: BTreeSet<WriteId>,
}

#[derive(Debug, Clone)]
pub enum Step {
    /// A client writes or deletes through a node with the context it holds; its context is the put's result then.
    Write { client: usize, node: usize, wall_ms: u64, delete: bool },
    /// A client drops its context.
    Blind { client: usize },
    /// A client takes the context of a read of two nodes.
    Read { client: usize, nodes: (usize, usize) },
    /// A node's state sets out.
    Send { node: usize },
    /// One of the states under way reaches a node; it may do so again.
    Deliver { message: usize, node: usize },
    /// A node's record becomes durable.
    Sync { node: usize },
    /// A node forgets the key after another holds all it had durably.
    HandOff { node: usize, to: usize },
    /// A node goes back to what was durable.
    Crash { node: usize },
    /// A node comes back with an empty disk, after another holds all that was durable on it.
    LoseDisk { node: usize, to: usize },
}

pub struct World {
    pub mode: Mode,
    pub nodes: Vec<Node>,
    pub clients: Vec<Client>,
    pub messages: Vec<Tracked>,
    pub writes: Vec<Write>,
    /// Writes that were durable somewhere.
    pub acknowledged: BTreeSet<WriteId>,
    dots: BTreeMap<Dot, WriteId>,
}

impl World {
    pub fn new(mode: Mode) -> Self {
        let node = |id| Node {
            record: Record::default(),
            durable: Record::default(),
            minter: Minter { node: id as u128, incarnation: 1, epoch_floor: 1 },
            next_epoch: 1,
        };
        World {
            mode,
            nodes: (0..NODES).map(node).collect(),
            clients: vec![Client::default(); CLIENTS],
            messages: Vec::new(),
            writes: Vec::new(),
            acknowledged: BTreeSet::new(),
            dots: BTreeMap::new(),
        }
    }

    pub fn run(mode: Mode, steps: &[Step], mut check: impl FnMut(&World)) -> Self {
        let mut world = World::new(mode);
        for step in steps {
            world.step(step);
            check(&world);
        }
        world
    }

    pub fn step(&mut self, step: &Step) {
        match *step {
            Step::Write { client, node, wall_ms, delete } => self.write(client, node, wall_ms, delete),
            Step::Blind { client } => self.clients[client] = Client::default(),
            Step::Read { client, nodes: (one, other) } => {
                let mut state = self.nodes[one].record.state.clone();
                state.merge(&self.nodes[other].record.state, self.mode);
                let latest = state.set.max_timestamp();
                self.clients[client] = Client { context: state.set.causality().clone(), latest, seen: state.seen };
            }
            Step::Send { node } => {
                if self.messages.len() == MESSAGES_MAX {
                    self.messages.remove(0);
                }
                self.messages.push(self.nodes[node].record.state.clone());
            }
            Step::Deliver { message, node } => {
                if !self.messages.is_empty() {
                    let message = self.messages[message % self.messages.len()].clone();
                    self.nodes[node].record.state.merge(&message, self.mode);
                }
            }
            Step::Sync { node } => self.sync(node),
            Step::HandOff { node, to } => {
                if node != to {
                    let state = self.nodes[node].record.state.clone();
                    self.nodes[to].record.state.merge(&state, self.mode);
                    self.sync(to);
                    self.nodes[node].record = Record::default();
                    self.sync(node);
                }
            }
            Step::Crash { node } => {
                let node = &mut self.nodes[node];
                node.record = node.durable.clone();
                node.minter.epoch_floor = node.next_epoch;
            }
            Step::LoseDisk { node, to } => {
                if node != to {
                    let state = self.nodes[node].durable.state.clone();
                    self.nodes[to].record.state.merge(&state, self.mode);
                    self.sync(to);
                    let node = &mut self.nodes[node];
                    (node.record, node.durable) = Default::default();
                    let incarnation = node.minter.incarnation + 1;
                    node.minter = Minter { incarnation, epoch_floor: 1, ..node.minter };
                    node.next_epoch = 1;
                }
            }
        }
    }

    fn write(&mut self, client: usize, node: usize, wall_ms: u64, delete: bool) {
        let (client, node, id) = (&mut self.clients[client], &mut self.nodes[node], self.writes.len());
        let Record { state, own_epoch } = &mut node.record;
        let next = &mut node.next_epoch;
        let (dot, epoch) = mint(&state.set, &client.context, &node.minter, *own_epoch, || {
            *next += 1;
            *next - 1
        });
        assert_eq!(self.dots.insert(dot, id), None, "a dot was minted twice");
        let timestamp = state.set.stamp(wall_ms, client.latest);
        let payload = if delete { Payload::Tombstone } else { Payload::Value(value_of(id)) };
        state.set.write(&client.context, dot, timestamp, payload, self.mode);
        *own_epoch = Some(epoch);
        self.writes.push(Write { dot, timestamp, over: client.seen.clone() });
        state.seen.extend(&client.seen);
        state.seen.insert(id);
        client.context.insert(dot);
        client.latest = timestamp;
        client.seen.insert(id);
    }

    fn sync(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.durable = node.record.clone();
        self.acknowledged.extend(&node.durable.state.seen);
    }

    /// All states that exist: of nodes, on disks, under way.
    pub fn states(&self) -> impl Iterator<Item = &Tracked> {
        let of_nodes = self.nodes.iter().flat_map(|node| [&node.record.state, &node.durable.state]);
        of_nodes.chain(&self.messages)
    }

    /// What all disks hold together.
    pub fn union_of_disks(&self) -> Tracked {
        let mut union = Tracked::default();
        for node in &self.nodes {
            union.merge(&node.durable.state, self.mode);
        }
        union
    }

    /// The dots of the versions that a state which has seen these writes must have.
    pub fn expected(&self, seen: &BTreeSet<WriteId>) -> Vec<Dot> {
        let superseded: BTreeSet<WriteId> = seen.iter().flat_map(|id| &self.writes[*id].over).copied().collect();
        let concurrent = seen.difference(&superseded).map(|id| &self.writes[*id]);
        let mut dots: Vec<Dot> = match self.mode {
            Mode::Siblings => concurrent.map(|write| write.dot).collect(),
            Mode::LastWriteWins => {
                concurrent.max_by_key(|write| (write.timestamp, write.dot)).map(|write| write.dot).into_iter().collect()
            }
        };
        dots.sort();
        dots
    }

    /// Whether what a causality says it covers is what was really seen, of all writes there ever were.
    pub fn agrees(&self, causality: &Causality, seen: &BTreeSet<WriteId>) -> bool {
        self.writes.iter().enumerate().all(|(id, write)| causality.covers(&write.dot) == seen.contains(&id))
    }
}

impl Tracked {
    pub fn merge(&mut self, other: &Tracked, mode: Mode) {
        let before = self.set.encode();
        let changed = self.set.merge(&other.set, mode);
        assert_eq!(changed, self.set.encode() != before, "merge says whether anything changed");
        self.seen.extend(&other.seen);
    }
}

pub fn value_of(id: WriteId) -> Bytes {
    Bytes::from(format!("write {id}"))
}

pub fn dots_of(set: &SiblingSet) -> Vec<Dot> {
    set.siblings().iter().map(|sibling| sibling.dot).collect()
}

pub fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Siblings), Just(Mode::LastWriteWins)]
}

pub fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let (client, node) = (0..CLIENTS, 0..NODES);
    // Clocks that stand far apart and run backwards, and collide often.
    let write = (client.clone(), node.clone(), 0..6_u64, prop::bool::weighted(0.2));
    let step = prop_oneof![
        6 => write.prop_map(|(client, node, wall_ms, delete)| Step::Write { client, node, wall_ms, delete }),
        2 => client.clone().prop_map(|client| Step::Blind { client }),
        3 => (client, (node.clone(), node.clone())).prop_map(|(client, nodes)| Step::Read { client, nodes }),
        3 => node.clone().prop_map(|node| Step::Send { node }),
        4 => (0..MESSAGES_MAX, node.clone()).prop_map(|(message, node)| Step::Deliver { message, node }),
        2 => node.clone().prop_map(|node| Step::Sync { node }),
        2 => (node.clone(), node.clone()).prop_map(|(node, to)| Step::HandOff { node, to }),
        2 => node.clone().prop_map(|node| Step::Crash { node }),
        1 => (node.clone(), node).prop_map(|(node, to)| Step::LoseDisk { node, to }),
    ];
    prop::collection::vec(step, 1..most)
}
