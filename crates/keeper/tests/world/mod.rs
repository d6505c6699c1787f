//! A cluster of keepers in one thread: delayed, lost and reordered messages, crashes, strict clients.
//!
//! A record is a set of writes that were seen and a set of those that live, a bit each, and joins as siblings do, so that
//! what was acknowledged and what a read must see is plain.

#![allow(dead_code, reason = "each test file uses its part")]

mod changes;
mod clients;
pub mod deletes;
mod disk;
mod mishaps;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use dynamo_keeper::{
    Effect, Effects, Found, Keeper, Kept, Question, Settings, Situation, Started, StoreDone, Superseded, registry,
};
use dynamo_merkle::Shape;
use dynamo_ring::charter::Charter;
use dynamo_ring::{Member, NodeId, PartitionCount, Ring};
use dynamo_transfer::{AnsweringSettings, ComparisonSettings, ScheduleSettings, SliceSettings};

use clients::{Read, Write};
use disk::digest;
pub use disk::{Disk, State};
pub use watch::Watch;

pub const Q: u16 = 16;
const MS: u64 = 1000;
/// As few leaves as can be, so that pages and leaves with many keys occur.
const SHAPE: Shape = Shape::new(1).unwrap();
const SLICES: SliceSettings = SliceSettings {
    p99_target_us: 50 * MS,
    bearable_percent: 125,
    window_us: 1000 * MS,
    rate_min_bytes_per_s: 1 << 20,
    rate_max_bytes_per_s: 64 << 20,
    increase_bytes_per_s: 1 << 20,
    decrease_to_percent: 50,
    busy_permille_max: 900,
    burst_bytes: 1 << 20,
    weights: [1; 5],
};

pub fn hash(key: &[u8]) -> u64 {
    let mut word = key
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |word, byte| (word ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    word ^= word >> 29;
    word.wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (word >> 32)
}

pub fn id(number: u128) -> NodeId {
    NodeId(number)
}

pub fn member(number: u128) -> Member {
    Member { id: id(number), name: format!("n{number}"), zone: format!("z{}", number % 3), weight: 1 }
}

/// A small generator: the tests' only chance.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct Node {
    disk: Disk,
    keeper: Option<Keeper>,
    charter: Arc<Charter>,
    version: u64,
    /// Counts starts: what was under way before a crash is lost.
    life: u64,
    /// Under which name dots are minted until it is known that the disk is no old copy.
    lot: u64,
    /// How often hints were kept in this life, by partition.
    kept: BTreeMap<u16, u64>,
}

enum Event {
    Question { to: NodeId, from: NodeId, call: u64, bytes: Bytes },
    Answer { to: NodeId, life: u64, call: u64, answer: Option<Bytes> },
    Stored { node: NodeId, life: u64, ticket: u64, done: StoreDone },
    Tick(NodeId),
    Gossip,
    Restart(NodeId),
    Write { to: NodeId, write: usize },
    WriteAnswer { from: NodeId, write: usize, done: bool },
    Read { to: NodeId, read: usize },
    ReadAnswer { from: NodeId, read: usize, bits: Option<u64> },
    Client,
    Customer,
    Sent(deletes::Sent),
    Repair(deletes::Repair),
    Deliver,
    Delivered { node: NodeId, life: u64, hint: (NodeId, u16, Vec<u8>), state: State },
}

/// What may go wrong in the network.
#[derive(Clone, Copy)]
pub struct Weather {
    pub lost_percent: u64,
    pub slow_us: u64,
}

pub struct World {
    pub now: u64,
    sequence: u64,
    events: BTreeMap<(u64, u64), Event>,
    nodes: BTreeMap<NodeId, Node>,
    pub chance: Chance,
    pub weather: Weather,
    pub cut: BTreeSet<(NodeId, NodeId)>,
    calls: BTreeMap<u64, (NodeId, NodeId, u64, u64)>,
    next_call: u64,
    writes: Vec<Write>,
    reads: Vec<Read>,
    acked: BTreeMap<(u16, Vec<u8>), u64>,
    pub clients: bool,
    pub keys: u64,
    pub acknowledged: usize,
    pub read: usize,
    pub done: Vec<(u64, Result<u64, String>)>,
    /// Looks under way: what the newest version was when each began. And how each ended.
    looks: BTreeMap<u64, u64>,
    pub looked: Vec<(u64, Result<u64, String>)>,
    pub rings: BTreeMap<u64, Ring>,
    /// Old copies that were found out, and disks that were emptied since something was collected without them.
    pub superseded: Vec<Superseded>,
    pub emptied: Vec<u128>,
    dots: BTreeSet<(NodeId, u64, u64)>,
    first: Charter,
    pub log: Vec<String>,
    pub deletes: deletes::Deletes,
    pub collect_every_us: u64,
    /// Whose disks take no fence, and how many they did not take.
    pub full: BTreeSet<NodeId>,
    pub fences_refused: usize,
    /// Whoever proposes a change accepts a loss.
    pub accept_loss: bool,
    /// What background work may do, and the percentile that the requests of these nodes have: the others have none.
    pub slices: SliceSettings,
    pub foreground_us: BTreeMap<NodeId, u64>,
    pub watch: Watch,
}

impl World {
    pub fn new(seed: u64, founders: u128) -> World {
        World::new_collecting(seed, founders, 0)
    }

    /// In which tombstones are collected so often.
    pub fn new_collecting(seed: u64, founders: u128, collect_every_us: u64) -> World {
        let members = (1..=founders).map(member).collect();
        let ring = Ring::bootstrap(3, PartitionCount::try_from(u32::from(Q)).unwrap(), members).unwrap();
        let mut world = World {
            now: 1_000_000,
            sequence: 0,
            events: BTreeMap::new(),
            nodes: BTreeMap::new(),
            chance: Chance(seed),
            weather: Weather { lost_percent: 0, slow_us: 2 * MS },
            cut: BTreeSet::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            writes: Vec::new(),
            reads: Vec::new(),
            acked: BTreeMap::new(),
            clients: true,
            keys: 300,
            acknowledged: 0,
            read: 0,
            done: Vec::new(),
            looks: BTreeMap::new(),
            looked: Vec::new(),
            rings: BTreeMap::new(),
            superseded: Vec::new(),
            emptied: Vec::new(),
            dots: BTreeSet::new(),
            first: Charter::first(ring),
            log: Vec::new(),
            deletes: deletes::Deletes::default(),
            collect_every_us,
            full: BTreeSet::new(),
            fences_refused: 0,
            accept_loss: false,
            slices: SLICES,
            foreground_us: BTreeMap::new(),
            watch: Watch::default(),
        };
        (1..=founders).for_each(|number| world.add(number));
        world.at(5 * MS, Event::Gossip);
        world.at(10 * MS, Event::Client);
        world
    }

    /// A node with an empty disk.
    pub fn add(&mut self, number: u128) {
        let disk = Disk { fences: vec![0; usize::from(Q)], incarnation: self.now + number as u64, ..Disk::default() };
        let (charter, kept) = (Arc::new(self.first.clone()), BTreeMap::new());
        let node = Node { disk, keeper: None, charter, version: 1, life: 0, lot: 0, kept };
        self.nodes.insert(id(number), node);
        self.start(id(number));
    }

    fn at(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + after, self.sequence), event);
    }

    fn settings(&self) -> Settings {
        let comparison = ComparisonSettings {
            fetch_keys: 16,
            fetch_bytes: 512,
            reply_timeout_us: 400 * MS,
            ..ComparisonSettings::new(hash, SHAPE)
        };
        Settings {
            answering: AnsweringSettings {
                exchange: comparison.exchange,
                jobs_max: 32,
                jobs_per_peer_max: 8,
                bytes_max: 1 << 16,
            },
            comparison,
            jobs_max: 6,
            jobs_per_peer_max: 3,
            schedule: ScheduleSettings {
                interval_us: 200 * MS,
                parallel: 4,
                reply_timeout_us: 400 * MS,
                backoff_min_us: 50 * MS,
                backoff_max_us: 1000 * MS,
            },
            slices: self.slices,
            forget_max: 2,
            ask_us: 100 * MS,
            ask_sealed_us: 20 * MS,
            collect_every_us: self.collect_every_us,
        }
    }

    fn start(&mut self, node: NodeId) {
        let (random, settings) = (self.chance.next(), self.settings());
        let first = self.first.clone();
        let entry = self.nodes.get_mut(&node).unwrap();
        entry.life += 1;
        entry.kept.clear();
        let meta = entry.disk.meta.clone();
        let get = |key: &'static str| meta.get(key).cloned();
        let kept = Kept {
            register: registry::Kept {
                state: get(registry::STATE_KEY),
                known: get(registry::KNOWN_KEY),
                lives: get(registry::LIVES_KEY),
            },
            whole: get(dynamo_keeper::WHOLE_KEY),
            fences: (0..Q).map(|partition| entry.disk.fence(partition)).collect(),
        };
        let mut keeper =
            Keeper::new(node, entry.disk.incarnation, &first, &kept, settings, (self.now, random)).unwrap();
        let found = entry.disk.commits;
        entry.disk.generation += 1;
        entry.lot = random | 1 << 63;
        let Disk { incarnation: life, generation, .. } = entry.disk;
        let started = Started { life, generation, lot: entry.lot, found, durable: found };
        let (starts, clear) = (get(dynamo_keeper::STARTS_KEY), get(dynamo_keeper::CLEAR_KEY));
        let first = generation == 1;
        let lots = get(dynamo_keeper::LOTS_KEY);
        let found =
            Found { born: first, empty: first, starts: starts.as_ref(), clear: clear.as_ref(), lots: lots.as_ref() };
        keeper.started(started, found, self.now).unwrap();
        (entry.charter, entry.version) = (keeper.charter().clone(), keeper.version());
        entry.keeper = Some(keeper);
        self.at(MS, Event::Tick(node));
    }

    pub fn run_for(&mut self, us: u64) {
        let end = self.now + us;
        while let Some((&(time, sequence), _)) = self.events.first_key_value() {
            if time > end {
                break;
            }
            let event = self.events.remove(&(time, sequence)).unwrap();
            self.now = time;
            self.happen(event);
        }
        self.now = end;
    }

    /// Runs until it holds; fails after `us`.
    pub fn run_until(&mut self, us: u64, what: &str, holds: impl Fn(&World) -> bool) {
        let end = self.now + us;
        while !holds(self) {
            assert!(self.now < end, "not in time: {what}\n{}", self.describe());
            self.run_for(50 * MS);
        }
    }

    fn link(&mut self, from: NodeId, to: NodeId) -> Option<u64> {
        if self.cut.contains(&(from, to)) || self.chance.percent(self.weather.lost_percent) {
            return None;
        }
        Some(100 + self.chance.below(self.weather.slow_us))
    }

    fn drive(&mut self, node: NodeId, step: impl FnOnce(&mut Keeper, &Situation<'_>, &mut Effects)) {
        let (now, random) = (self.now, self.chance.next());
        let entry = self.nodes.get_mut(&node).unwrap();
        let Some(keeper) = &mut entry.keeper else { return };
        let mut effects = Effects::new();
        step(keeper, &Situation { now, random, trees: &entry.disk }, &mut effects);
        let (superseded, empty) = (keeper.superseded().copied(), keeper.is_to_be_emptied());
        self.watch.asked(node, &effects);
        for effect in effects {
            self.carry_out(node, effect);
        }
        if let Some(superseded) = superseded {
            self.begin_life(node, superseded);
        } else if empty {
            self.log.push(format!("{} node {} empties its disk", self.now, node.0));
            self.emptied.push(node.0);
            self.wipe(node.0, 10 * MS);
        }
    }

    /// Whether its disk may be older than what was collected since: it serves nothing that is newer than its ring.
    fn in_doubt(&self, node: NodeId) -> bool {
        self.nodes[&node].keeper.as_ref().is_none_or(Keeper::in_doubt)
    }

    fn carry_out(&mut self, node: NodeId, effect: Effect) {
        let life = self.nodes[&node].life;
        match effect {
            Effect::Ask { to, call, question } => {
                assert_ne!(to, node, "nobody has a link to himself: {question:?}");
                let bytes = Bytes::from(question.encode());
                assert_eq!(Question::decode(&bytes).unwrap(), question);
                self.next_call += 1;
                self.calls.insert(self.next_call, (node, to, life, call));
                let call = self.next_call;
                match self.link(node, to).filter(|_| self.nodes.contains_key(&to)) {
                    Some(delay) => self.at(delay, Event::Question { to, from: node, call, bytes }),
                    None => self.at(500 * MS, Event::Answer { to: node, life, call, answer: None }),
                }
            }
            Effect::Answer { call, answer } => {
                let Some(&(to, _, life, _)) = self.calls.get(&call) else { panic!("an answer to nothing") };
                self.watch.answered(self.now, node, &answer);
                let bytes = Bytes::from(answer.encode());
                assert_eq!(dynamo_keeper::Answer::decode(&bytes).unwrap(), answer);
                match self.link(node, to) {
                    Some(delay) => self.at(delay, Event::Answer { to, life, call, answer: Some(bytes) }),
                    None => self.at(500 * MS, Event::Answer { to, life, call, answer: None }),
                }
            }
            Effect::Store { ticket, what } => {
                let done = self.store(node, what);
                let delay = 50 + self.chance.below(2 * MS);
                self.at(delay, Event::Stored { node, life, ticket, done });
            }
            Effect::Adopt { version, charter } => {
                let why = format!(
                    "{} node {} adopts v{version} epoch {} fills {:?}",
                    self.now,
                    node.0,
                    charter.ring().epoch(),
                    charter.change().map(|c| (c.steps.len(), c.cancelled))
                );
                self.log.push(why);
                let entry = self.nodes.get_mut(&node).unwrap();
                assert!(version > entry.version);
                (entry.version, entry.charter) = (version, charter.clone());
                let ring = charter.ring();
                let known = self.rings.entry(ring.epoch()).or_insert_with(|| ring.clone());
                assert_eq!(known, ring, "two rings at epoch {}", ring.epoch());
            }
            Effect::Whole(_) => {}
            Effect::Looked { request, result } => {
                let least = self.looks.remove(&request).expect("each look ends once");
                if let Ok(version) = result {
                    assert_eq!(version, self.nodes[&node].version, "a node says what it goes by");
                    assert!(version >= least, "{version} is told as the newest, after {least}\n{:?}", self.log);
                }
                self.looked.push((request, result));
            }
            Effect::Done { request, result } => self.done.push((request, result.map_err(|error| error.to_string()))),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Question { to, from, call, bytes } => {
                if self.nodes[&to].keeper.is_none() {
                    let (_, _, life, _) = self.calls[&call];
                    return self.at(MS, Event::Answer { to: from, life, call, answer: None });
                }
                let question = Question::decode(&bytes).unwrap();
                self.drive(to, |keeper, at, effects| keeper.on_question(from, call, question, at, effects));
            }
            Event::Answer { to, life, call, answer } => {
                let Some((_, _, _, own)) = self.calls.get(&call).copied() else { return };
                if self.nodes[&to].life == life {
                    let answer = answer.map(|bytes| dynamo_keeper::Answer::decode(&bytes).unwrap());
                    self.drive(to, |keeper, at, effects| keeper.on_answer(own, answer, at, effects));
                }
            }
            Event::Stored { node, life, ticket, done } => {
                if self.nodes[&node].life == life {
                    self.drive(node, |keeper, at, effects| keeper.on_stored(ticket, done, at, effects));
                }
            }
            Event::Tick(node) => {
                if self.nodes[&node].keeper.is_some() {
                    let (reachable, durable) = (self.reachable(node), self.nodes[&node].disk.commits);
                    let p99_us = self.foreground_us.get(&node).copied();
                    self.drive(node, |keeper, at, effects| {
                        keeper.on_foreground(p99_us, at.now);
                        keeper.on_durable(durable);
                        keeper.on_reachable(reachable, 2, at, effects);
                        keeper.on_time(at, effects);
                    });
                    self.at(20 * MS, Event::Tick(node));
                }
            }
            Event::Gossip => {
                let versions: Vec<(NodeId, u64)> = self.nodes.iter().map(|(id, node)| (*id, node.version)).collect();
                for (id, version) in versions {
                    let others: Vec<NodeId> = self.nodes.keys().copied().filter(|other| *other != id).collect();
                    for other in others {
                        if self.chance.percent(40) && !self.cut.contains(&(id, other)) {
                            self.drive(other, |keeper, _, _| keeper.on_version(id, version));
                        }
                    }
                }
                self.at(300 * MS, Event::Gossip);
            }
            Event::Restart(node) => self.start(node),
            Event::Client => self.client(),
            Event::Customer => self.customer(),
            Event::Sent(sent) => self.sent(sent),
            Event::Repair(repair) => self.repair(repair),
            Event::Deliver => self.deliver(),
            Event::Delivered { node, life, hint, state } => self.delivered(node, life, &hint, state),
            Event::Write { to, write } => self.write(to, write),
            Event::WriteAnswer { from, write, done } => self.write_answered(from, write, done),
            Event::Read { to, read } => self.serve_read(to, read),
            Event::ReadAnswer { from, read, bits } => self.read_answered(from, read, bits),
        }
    }

    fn reachable(&self, node: NodeId) -> BTreeSet<NodeId> {
        let up = |(id, other): (&NodeId, &Node)| {
            let open = !self.cut.contains(&(node, *id)) && !self.cut.contains(&(*id, node));
            (*id != node && other.keeper.is_some() && open).then_some(*id)
        };
        self.nodes.iter().filter_map(up).collect()
    }
}
