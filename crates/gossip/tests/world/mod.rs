//! A network of gossiping nodes in virtual time, played from a seed: what is lost, doubled, late or cut is the same in each
//! run of one seed.
//!
//! It stands in for the driver: a message that arrives gives its sender a receipt, as a remote call does, and one that
//! does not is reported as a failure.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::{BTreeMap, BTreeSet};

use dynamo_gossip::{Effect, Effects, Failure, Gossip, Message, NodeInfo, PeerState, Phase, Settings, Target};
use dynamo_ring::NodeId;

/// Microseconds between a node's rounds.
pub const ROUND: u64 = 1_000_000;
/// Microseconds after which a sender stops waiting for a receipt.
pub const PATIENCE: u64 = ROUND / 2;
/// Microseconds of suspicion after which a peer counts as down.
pub const DOWN_AFTER: u64 = 5 * ROUND;
pub const SETTINGS: Settings = Settings { down_after_us: DOWN_AFTER };

/// Numbers that look random (splitmix64).
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What is at a node's address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Running,
    /// The process is dead, its host says so: connections are refused.
    Crashed,
    /// The host is dead: nothing comes back.
    Gone,
}

struct Node {
    id: NodeId,
    gossip: Gossip,
    address: String,
    health: Health,
    life: u64,
}

enum Event {
    Tick { node: usize },
    Arrive { from: usize, to: Target, address: String, message: Message, receipt: bool },
    Receipt { node: usize, peer: NodeId },
    Fail { node: usize, peer: Target, failure: Failure },
}

pub struct World {
    pub now: u64,
    pub chance: Chance,
    /// Percent of messages, and of receipts, that vanish.
    pub loss: u64,
    /// Percent of messages that come twice.
    pub doubled: u64,
    /// A message's way takes up to so many microseconds.
    pub delay: u64,
    /// What was sent, of whom, since a test last looked.
    pub sent: Vec<(NodeId, Target, Message)>,
    /// What nodes came to think of others since a test last looked.
    pub turns: Vec<(NodeId, NodeId, PeerState)>,
    nodes: Vec<Node>,
    cuts: BTreeSet<(usize, usize)>,
    /// Nodes whose own machine turns away whatever they send.
    netless: BTreeSet<usize>,
    /// By time, then by the order in which they were planned. The last number is the life that they belong to.
    events: BTreeMap<(u64, u64), (Event, u64)>,
    planned: u64,
}

/// The id of a node by its place in the world.
pub fn id(node: usize) -> NodeId {
    NodeId(node as u128 + 1)
}

pub fn address(node: usize) -> String {
    format!("node-{node}:7000")
}

/// What a node says of itself when it starts.
pub fn info(node: usize) -> NodeInfo {
    NodeInfo {
        id: id(node),
        name: format!("node-{node}"),
        zone: format!("zone-{}", node % 3),
        weight: 1,
        incarnation: 1_000,
        peer_addr: address(node),
        phase: Phase::Serving,
        ..NodeInfo::default()
    }
}

impl World {
    /// Nodes that know nobody, only some seeds' addresses.
    pub fn of_strangers(nodes: usize, seeds: &[usize], seed: u64) -> World {
        let seeds: Vec<String> = seeds.iter().map(|seed| address(*seed)).collect();
        Self::of((0..nodes).map(|node| Gossip::new(info(node), 1, seeds.clone(), Vec::new(), SETTINGS)), seed)
    }

    /// Nodes that a configuration named to each other.
    pub fn of_members(nodes: usize, seed: u64) -> World {
        let known: Vec<NodeInfo> = (0..nodes).map(configured).collect();
        let others = |node: usize| known.iter().filter(|info| info.id != id(node)).cloned().collect();
        Self::of((0..nodes).map(|node| Gossip::new(info(node), 1, Vec::new(), others(node), SETTINGS)), seed)
    }

    pub fn of(machines: impl Iterator<Item = Gossip>, seed: u64) -> World {
        let node =
            |(node, gossip)| Node { id: id(node), gossip, address: address(node), health: Health::Running, life: 1 };
        let mut world = World {
            now: ROUND,
            chance: Chance(seed),
            loss: 0,
            doubled: 0,
            delay: ROUND / 20,
            sent: Vec::new(),
            turns: Vec::new(),
            nodes: machines.enumerate().map(node).collect(),
            cuts: BTreeSet::new(),
            netless: BTreeSet::new(),
            events: BTreeMap::new(),
            planned: 0,
        };
        for node in 0..world.nodes.len() {
            world.plan_first_tick(node);
        }
        world
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn gossip(&self, node: usize) -> &Gossip {
        &self.nodes[node].gossip
    }

    pub fn state(&self, node: usize, of: usize) -> PeerState {
        self.nodes[node].gossip.state(id(of))
    }

    /// Does something at a node and carries out what follows.
    pub fn at<T>(&mut self, node: usize, act: impl FnOnce(&mut Gossip, u64, &mut Effects) -> T) -> T {
        let mut effects = Effects::new();
        let result = act(&mut self.nodes[node].gossip, self.now, &mut effects);
        self.carry_out(node, effects);
        result
    }

    /// Nothing that `from` sends reaches `to` any more; the other way stays open.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((from, to));
    }

    pub fn cut_both_ways(&mut self, one: usize, other: usize) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// A node's machine has no network: it is refused wherever it asks, and nobody reaches it.
    pub fn take_network(&mut self, node: usize) {
        self.netless.insert(node);
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.cut(other, node);
        }
    }

    pub fn heal(&mut self) {
        self.cuts.clear();
        self.netless.clear();
    }

    pub fn stop(&mut self, node: usize, health: Health) {
        self.nodes[node].health = health;
        self.nodes[node].life += 1;
    }

    /// Starts a node anew. All that it knew is lost.
    pub fn restart(&mut self, node: usize, gossip: Gossip) {
        self.restart_as(node, id(node), gossip);
    }

    /// Starts another node in the place of one.
    pub fn restart_as(&mut self, node: usize, id: NodeId, gossip: Gossip) {
        self.nodes[node].id = id;
        self.nodes[node].address = gossip.info(id).expect("a node knows itself").peer_addr.clone();
        self.nodes[node].gossip = gossip;
        self.nodes[node].health = Health::Running;
        self.nodes[node].life += 1;
        self.plan_first_tick(node);
    }

    /// From now on a running node is reached elsewhere; it says so itself.
    pub fn move_to(&mut self, node: usize, address: &str) {
        self.nodes[node].address = address.to_owned();
        self.nodes[node].gossip.set_self(|info| info.peer_addr = address.to_owned());
    }

    /// Lets so many rounds of every node pass.
    pub fn run(&mut self, rounds: u64) {
        let end = self.now + rounds * ROUND;
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((time, _), (event, life)) = entry.remove_entry();
            self.now = time;
            self.happen(event, life);
        }
        self.now = end;
    }

    /// Rounds that pass until something holds; panics when it does not within `bound`.
    pub fn rounds_until(&mut self, bound: u64, what: &str, holds: impl Fn(&World) -> bool) -> u64 {
        for round in 0..=bound {
            if holds(self) {
                return round;
            }
            self.run(1);
        }
        panic!("not within {bound} rounds: {what}");
    }

    /// Whether each running node knows of every running node what it says of itself.
    pub fn all_know_all(&self) -> bool {
        let running = || self.nodes.iter().filter(|node| node.health == Health::Running);
        running().all(|knows| running().all(|of| knows.gossip.info(of.id) == of.gossip.info(of.id)))
    }

    /// Whether all nodes have the same table of buckets.
    pub fn same_buckets(&self) -> bool {
        (1..self.len()).all(|node| self.gossip(node).buckets() == self.gossip(0).buckets())
    }

    fn plan_first_tick(&mut self, node: usize) {
        let offset = self.chance.below(ROUND);
        self.plan(offset, node, Event::Tick { node });
    }

    fn plan(&mut self, after: u64, owner: usize, event: Event) {
        self.planned += 1;
        self.events.insert((self.now + after, self.planned), (event, self.nodes[owner].life));
    }

    fn happen(&mut self, event: Event, life: u64) {
        match event {
            Event::Arrive { from, to, address, message, receipt } => self.arrive(from, to, &address, message, receipt),
            Event::Tick { node } if self.nodes[node].life == life => {
                self.plan(ROUND, node, Event::Tick { node });
                let random = self.chance.next();
                self.at(node, |gossip, now, effects| gossip.on_tick(now, random, effects));
            }
            Event::Receipt { node, peer } if self.nodes[node].life == life => {
                self.at(node, |gossip, now, effects| gossip.heard_from(peer, now, effects));
            }
            Event::Fail { node, peer: Target::Node(peer), failure } if self.nodes[node].life == life => {
                self.at(node, |gossip, now, effects| gossip.failed(peer, failure, now, effects));
            }
            _ => {}
        }
    }

    fn carry_out(&mut self, node: usize, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Send { to, message } => {
                    self.sent.push((self.nodes[node].id, to.clone(), message.clone()));
                    self.send(node, to, message);
                }
                Effect::StateChanged { id: of, to, .. } => self.turns.push((self.nodes[node].id, of, to)),
                Effect::MembersChanged | Effect::BucketsChanged => {}
            }
        }
    }

    fn send(&mut self, from: usize, to: Target, message: Message) {
        let address = match &to {
            Target::Address(address) => address.clone(),
            Target::Node(peer) => self.gossip(from).info(*peer).expect("nobody knows where that is").peer_addr.clone(),
        };
        if self.chance.percent(self.doubled) {
            let (to, address, message) = (to.clone(), address.clone(), message.clone());
            self.plan_arrival(from, Event::Arrive { from, to, address, message, receipt: false });
        }
        self.plan_arrival(from, Event::Arrive { from, to, address, message, receipt: true });
    }

    fn plan_arrival(&mut self, from: usize, event: Event) {
        let delay = self.chance.below(self.delay);
        self.plan(delay, from, event);
    }

    fn arrive(&mut self, from: usize, to: Target, address: &str, message: Message, receipt: bool) {
        let at = self.nodes.iter().position(|node| node.address == address);
        let health = at.map_or(Health::Crashed, |at| self.nodes[at].health);
        let failure = match at {
            _ if self.netless.contains(&from) => Some(Failure::Refused),
            Some(at) if self.cuts.contains(&(from, at)) || self.chance.percent(self.loss) => Some(Failure::Timeout),
            _ if health == Health::Crashed => Some(Failure::Refused),
            _ if health == Health::Gone => Some(Failure::Timeout),
            _ => None,
        };
        match (at, failure) {
            (Some(at), None) => {
                let sender = self.nodes[from].id;
                self.at(at, |gossip, now, effects| gossip.on_message(sender, message, now, effects));
                if receipt {
                    self.give_receipt(at, from, to);
                }
            }
            (_, Some(failure)) if receipt => self.plan_failure(from, to, failure),
            _ => {}
        }
    }

    fn give_receipt(&mut self, from: usize, to: usize, asked: Target) {
        if self.cuts.contains(&(from, to)) || self.chance.percent(self.loss) {
            self.plan_failure(to, asked, Failure::Timeout);
        } else {
            let delay = self.chance.below(self.delay);
            self.plan(delay, to, Event::Receipt { node: to, peer: self.nodes[from].id });
        }
    }

    fn plan_failure(&mut self, node: usize, peer: Target, failure: Failure) {
        let after = if failure == Failure::Timeout { PATIENCE } else { 0 };
        self.plan(after, node, Event::Fail { node, peer, failure });
    }
}

/// What the others' configuration says of a node before it speaks for itself.
pub fn configured(node: usize) -> NodeInfo {
    NodeInfo { id: id(node), name: format!("node-{node}"), weight: 1, peer_addr: address(node), ..NodeInfo::default() }
}

/// What an effect sends.
pub fn message_of(effect: Effect) -> Option<Message> {
    match effect {
        Effect::Send { message, .. } => Some(message),
        _ => None,
    }
}

/// What an effect sends to a node that is known.
pub fn sent_to_node(effect: Effect) -> Option<(NodeId, Message)> {
    match effect {
        Effect::Send { to: Target::Node(id), message } => Some((id, message)),
        _ => None,
    }
}
