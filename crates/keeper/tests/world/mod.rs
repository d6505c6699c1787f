//! A cluster of keepers in one thread: delayed, lost and reordered messages, crashes, strict clients.
//!
//! A record is a set of writes that were seen and a set of those that live, a bit each, and joins as siblings do, so that
//! what was acknowledged and what a read must see is plain.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod deletes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use dynamo_keeper::{
    Effect, Effects, Found, Keeper, Kept, Question, Settings, Situation, Started, StoreAsk, StoreDone, Superseded,
    Trees, registry,
};
use dynamo_merkle::{Entry, Shape, Tree};
use dynamo_ring::charter::{Charter, Move, Proposed};
use dynamo_ring::{Member, NodeId, Partition, PartitionCount, Ring};
use dynamo_transfer::{
    AnsweringSettings, ComparisonSettings, MergeRefusal, Page, Record, Reply, ScheduleSettings, SliceSettings, Stored,
};

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

/// A record: writes that were seen, and those that no other supersedes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct State {
    pub seen: u64,
    pub live: u64,
}

impl State {
    pub fn join(self, other: State) -> State {
        let live = (self.live & other.live) | (self.live & !other.seen) | (other.live & !self.seen);
        State { seen: self.seen | other.seen, live }
    }

    fn encode(self) -> Bytes {
        Bytes::from([self.seen.to_be_bytes(), self.live.to_be_bytes()].concat())
    }

    fn decode(bytes: &[u8]) -> State {
        let (seen, live) = bytes.split_at(8);
        let word = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
        State { seen: word(seen), live: word(live) }
    }
}

fn digest(state: State) -> u64 {
    hash(&state.encode()) | 1
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

/// What survives a crash of the process.
#[derive(Clone, Default)]
pub struct Disk {
    meta: BTreeMap<&'static str, Bytes>,
    fences: Vec<u64>,
    floor: u64,
    records: BTreeMap<u16, BTreeMap<Vec<u8>, State>>,
    hints: BTreeMap<(NodeId, u16, Vec<u8>), State>,
    trees: BTreeMap<u16, Tree>,
    incarnation: u64,
    /// Starts of this life, writes, and dots that were minted.
    generation: u64,
    commits: u64,
    minted: u64,
}

impl Trees for Disk {
    fn with(&self, partition: u16, read: &mut dyn FnMut(&Tree)) {
        match self.trees.get(&partition) {
            Some(tree) => read(tree),
            None => read(&Tree::new(SHAPE)),
        }
    }
}

impl Disk {
    fn apply(&mut self, partition: u16, key: &[u8], state: State) {
        self.commits += 1;
        let joined = self.of(partition, key).join(state);
        self.put(partition, key, Some(joined));
    }

    fn put(&mut self, partition: u16, key: &[u8], state: Option<State>) {
        let records = self.records.entry(partition).or_default();
        let before = match state {
            Some(state) => records.insert(key.to_vec(), state),
            None => records.remove(key),
        };
        let tree = self.trees.entry(partition).or_insert_with(|| Tree::new(SHAPE));
        tree.apply(hash(key), before.map(digest), state.map(digest));
    }

    fn of(&self, partition: u16, key: &[u8]) -> State {
        self.records.get(&partition).and_then(|records| records.get(key)).copied().unwrap_or_default()
    }

    pub fn records(&self) -> usize {
        self.records.values().map(BTreeMap::len).sum()
    }

    fn fence(&self, partition: u16) -> u64 {
        self.fences[usize::from(partition)].max(self.floor)
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

struct Write {
    epoch: u64,
    partition: u16,
    key: Vec<u8>,
    bit: u64,
    acked_by: BTreeSet<NodeId>,
    acked: bool,
}

struct Read {
    epoch: u64,
    partition: u16,
    key: Vec<u8>,
    must: u64,
    bits: u64,
    answered: BTreeSet<NodeId>,
    judged: bool,
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

/// What was seen of background work.
#[derive(Default)]
pub struct Watch {
    /// When a node gave another how many bytes of records, and whether it had sealed them.
    pub given: Vec<(u64, NodeId, u64, bool)>,
    /// Whose deletions were in which partition, and whether anything was left there.
    pub forgotten: Vec<(NodeId, u16, bool)>,
    /// How many comparisons a node began in one step, at most.
    pub begun_at_once: BTreeMap<NodeId, usize>,
}

impl Watch {
    fn answered(&mut self, now: u64, node: NodeId, answer: &dynamo_keeper::Answer) {
        let dynamo_keeper::Answer::Compare(compared) = answer else { return };
        let bytes: u64 = match &compared.reply {
            Reply::Fetched(found) => found.iter().map(Stored::set_bytes).sum(),
            Reply::Page(page) => page.records.iter().map(Record::bytes).sum(),
            Reply::Tree(_) | Reply::Pushed { .. } | Reply::Refused(_) => return,
        };
        self.given.push((now, node, bytes, compared.sealed));
    }

    fn asked(&mut self, node: NodeId, effects: &Effects) {
        let begun: BTreeSet<u32> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Ask { question: Question::Compare(question), .. } => Some(question.call.exchange),
                _ => None,
            })
            .collect();
        let most = self.begun_at_once.entry(node).or_default();
        *most = begun.len().max(*most);
    }
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

    pub fn crash(&mut self, number: u128, down_us: u64) {
        self.log.push(format!("{} node {number} crashes", self.now));
        let node = self.nodes.get_mut(&id(number)).unwrap();
        if node.keeper.take().is_some() {
            node.life += 1;
            self.at(down_us, Event::Restart(id(number)));
        }
    }

    /// As after a crash between the fence for a charter and keeping it.
    pub fn fence_ahead(&mut self, number: u128, epoch: u64) {
        self.nodes.get_mut(&id(number)).unwrap().disk.floor = epoch;
    }

    /// Crashes it for good.
    pub fn kill(&mut self, number: u128) {
        let node = self.nodes.get_mut(&id(number)).unwrap();
        node.keeper = None;
        node.life += 1;
    }

    /// One that was killed for good comes back all the same.
    pub fn start_again(&mut self, number: u128) {
        if self.keeper(number).is_none() {
            self.start(id(number));
        }
    }

    /// It comes back with an empty disk.
    pub fn wipe(&mut self, number: u128, down_us: u64) {
        self.crash(number, down_us);
        let incarnation = self.now + 1;
        let node = self.nodes.get_mut(&id(number)).unwrap();
        node.disk = Disk { fences: vec![0; usize::from(Q)], incarnation, ..Disk::default() };
    }

    /// What is on its disk now.
    pub fn copy(&self, number: u128) -> Disk {
        self.nodes[&id(number)].disk.clone()
    }

    /// It comes back with an old copy of its disk.
    pub fn roll_back(&mut self, number: u128, to: Disk, down_us: u64) {
        self.crash(number, down_us);
        self.nodes.get_mut(&id(number)).unwrap().disk = to;
    }

    pub fn life(&self, number: u128) -> u64 {
        self.nodes[&id(number)].disk.incarnation
    }

    /// What a node does when it learns that its disk is an old copy: it begins another life, and starts again.
    fn begin_life(&mut self, node: NodeId, superseded: Superseded) {
        self.log.push(format!("{} node {}: {superseded}", self.now, node.0));
        self.superseded.push(superseded);
        let entry = self.nodes.get_mut(&node).unwrap();
        let disk = &mut entry.disk;
        disk.incarnation = self.now.max(disk.incarnation + 1).max(superseded.newest_life + 1);
        disk.generation = disk.generation.max(superseded.mark.generation);
        entry.keeper = None;
        entry.life += 1;
        self.at(10 * MS, Event::Restart(node));
    }

    /// A coordinator names a write: no name is ever given twice.
    fn mint(&mut self, node: NodeId) {
        let entry = self.nodes.get_mut(&node).unwrap();
        let known = entry.keeper.as_ref().is_some_and(Keeper::mints);
        let actor = if known { entry.disk.incarnation } else { entry.lot };
        entry.disk.minted += 1;
        entry.disk.commits += 1;
        let fresh = self.dots.insert((node, actor, entry.disk.minted));
        assert!(fresh, "node {} minted {} of {actor} twice\n{:?}", node.0, self.nodes[&node].disk.minted, self.log);
    }

    /// A record of this node's is found damaged.
    pub fn damage(&mut self, number: u128) -> bool {
        let records = self.nodes[&id(number)].disk.records.iter();
        let mut keys = records.flat_map(|(partition, records)| records.keys().map(move |key| (*partition, key)));
        let Some((partition, key)) = keys.next() else { return false };
        let key = Bytes::from([&partition.to_be_bytes()[..], key].concat());
        self.drive(id(number), |keeper, _, effects| keeper.damaged(key, effects));
        true
    }

    pub fn charter(&self, number: u128) -> Arc<Charter> {
        self.nodes[&id(number)].charter.clone()
    }

    pub fn version(&self, number: u128) -> u64 {
        self.nodes[&id(number)].version
    }

    pub fn keeper(&self, number: u128) -> Option<&Keeper> {
        self.nodes[&id(number)].keeper.as_ref()
    }

    /// Asks a node whether its ring is the newest. What others go by at that time must not be newer than what it then says.
    pub fn look(&mut self, number: u128, request: u64) {
        if self.keeper(number).is_some() {
            let newest = self.nodes.values().map(|node| node.version).max().expect("there are nodes");
            self.looks.insert(request, newest);
            self.drive(id(number), |keeper, at, effects| keeper.look(request, at, effects));
        }
    }

    /// What a node's disk holds of the register.
    pub fn register_on_disk(&self, number: u128) -> Vec<Option<Bytes>> {
        let meta = &self.nodes[&id(number)].disk.meta;
        [registry::STATE_KEY, registry::KNOWN_KEY].map(|key| meta.get(key).cloned()).into()
    }

    /// Asks a node for a change of the charter that it knows.
    pub fn change(&mut self, number: u128, request: u64, change: impl FnOnce(&Charter, u64) -> Option<Charter>) {
        let node = &self.nodes[&id(number)];
        let (charter, version) = (node.charter.clone(), node.version);
        if let Some(charter) = change(&charter, version + 1) {
            self.drive(id(number), |keeper, at, effects| keeper.change(request, version, charter, at, effects));
        }
    }

    /// Tokens to a newcomer, or from a node to the others, in steps.
    pub fn moves(charter: &Charter, members: &[Member], steps: usize, chance: &mut Chance) -> Vec<Vec<Move>> {
        let ring = charter.ring();
        let mut moves = Vec::new();
        for partition in ring.partitions().iter() {
            let owner = ring.owner(partition).id;
            let stays = members.iter().any(|member| member.id == owner);
            let newcomers: Vec<_> = members.iter().filter(|member| ring.member(member.id).is_none()).collect();
            if !stays {
                let to = members[chance.below(members.len() as u64) as usize].id;
                moves.push(Move { partition, to });
            } else if !newcomers.is_empty() && chance.percent(30) {
                moves.push(Move { partition, to: newcomers[chance.below(newcomers.len() as u64) as usize].id });
            }
        }
        // Each newcomer owns a token in the end.
        for newcomer in members.iter().filter(|member| ring.member(member.id).is_none()) {
            if !moves.iter().any(|step| step.to == newcomer.id) {
                let free = ring.partitions().iter().find(|at| moves.iter().all(|step| step.partition != *at));
                moves.extend(free.map(|partition| Move { partition, to: newcomer.id }));
            }
        }
        let size = moves.len().div_ceil(steps.max(1)).max(1);
        moves.chunks(size).map(<[Move]>::to_vec).collect()
    }

    pub fn propose(&mut self, by: u128, request: u64, members: Vec<Member>, lost: Vec<NodeId>, steps: usize) {
        let charter = self.charter(by);
        let moves = World::moves(&charter, &members, steps, &mut self.chance);
        let lives: BTreeMap<NodeId, u64> = self.nodes.iter().map(|(id, node)| (*id, node.disk.incarnation)).collect();
        let (what, accept_loss) = ("a change".into(), self.accept_loss);
        let proposed = Proposed { what, members, steps: moves, lost, accept_loss, lives };
        self.change(by, request, |charter, version| charter.begin(version, proposed).ok());
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

    pub fn settled(&self) -> bool {
        let newest = self.nodes.values().map(|node| node.version).max();
        let members: Vec<NodeId> = self.newest().ring().members().iter().map(|member| member.id).collect();
        self.newest().change().is_none()
            && members.iter().all(|id| {
                let node = &self.nodes[id];
                node.keeper.as_ref().is_some_and(|keeper| {
                    Some(node.version) == newest && keeper.leftovers() == 0 && keeper.refilling() == 0
                })
            })
    }

    pub fn newest(&self) -> Arc<Charter> {
        self.nodes.values().max_by_key(|node| node.version).unwrap().charter.clone()
    }

    pub fn describe(&self) -> String {
        let node = |(id, node): (&NodeId, &Node)| {
            let keeper = node.keeper.as_ref().map(|keeper| {
                format!(
                    "votes {} leftovers {} refilling {} progress {:?} report {:?}",
                    keeper.votes(),
                    keeper.leftovers(),
                    keeper.refilling(),
                    keeper.progress(|id| id.0.to_string()),
                    keeper.report()
                )
            });
            format!("node {} version {} epoch {}: {keeper:?}\n", id.0, node.version, node.charter.ring().epoch())
        };
        self.nodes.iter().map(node).collect()
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

    /// Applies at once: the process may crash before it hears of it.
    fn store(&mut self, node: NodeId, what: StoreAsk) -> StoreDone {
        let disk = &mut self.nodes.get_mut(&node).unwrap().disk;
        match what {
            StoreAsk::Put { key, value } => {
                disk.commits += 1;
                disk.meta.insert(key, value);
                StoreDone::Kept
            }
            StoreAsk::Fence { .. } if self.full.contains(&node) => {
                self.fences_refused += 1;
                StoreDone::Failed
            }
            StoreAsk::Fence { partitions, epoch, floor } => {
                self.log.push(format!("{} node {} fences {partitions:?} {epoch}, floor {floor}", self.now, node.0));
                disk.floor = floor.max(disk.floor);
                for partition in partitions {
                    let fence = &mut disk.fences[usize::from(partition)];
                    *fence = epoch.max(*fence);
                }
                StoreDone::Kept
            }
            StoreAsk::Merge { partition, epoch, records } => {
                if epoch < disk.fence(partition) {
                    return StoreDone::Merged(Err(MergeRefusal::Sealed));
                }
                for Record { key, set, .. } in records {
                    self.take_in(node, partition, &key, State::decode(&set));
                }
                StoreDone::Merged(Ok(()))
            }
            StoreAsk::Leaf { partition, leaf, after, entries_max, .. } => {
                let records = disk.records.get(&partition).into_iter().flatten();
                let of_leaf = records.filter(|(key, _)| SHAPE.leaf_of(hash(key)) == leaf);
                let mut after: Vec<Entry> = of_leaf
                    .filter(|(key, _)| after.as_ref().is_none_or(|after| key[..] > after[..]))
                    .map(|(key, bits)| Entry { key: key.clone().into(), digest: digest(*bits) })
                    .take(entries_max + 1)
                    .collect();
                let end = after.len() <= entries_max;
                after.truncate(entries_max);
                StoreDone::Leaf { entries: after, end }
            }
            StoreAsk::Records { partition, keys, .. } => {
                let stored = |key: &Bytes| match disk.of(partition, key) {
                    state if state == State::default() => Stored::Absent,
                    state => Stored::State { set: state.encode(), digest: digest(state) },
                };
                StoreDone::Records(keys.iter().map(stored).collect())
            }
            StoreAsk::Page { partition, after, .. } => {
                let records = disk.records.get(&partition).into_iter().flatten();
                let mut rest = records.filter(|(key, _)| after.as_ref().is_none_or(|after| key[..] > after[..]));
                let page: Vec<Record> = rest
                    .by_ref()
                    .take(3)
                    .map(|(key, bits)| Record { key: key.clone().into(), set: bits.encode(), digest: digest(*bits) })
                    .collect();
                let go_on = rest.next().and(page.last().map(|last| last.key.clone()));
                StoreDone::Page(Page { records: page, damaged: 0, go_on })
            }
            StoreAsk::Scrub { .. } => StoreDone::Scrubbed { go_on: None, damaged: vec![], bytes: 0 },
            StoreAsk::Mend { key } => {
                let partition = u16::from_be_bytes([key[0], key[1]]);
                disk.put(partition, &key[2..], None);
                StoreDone::Kept
            }
            StoreAsk::Forget { partition, epoch, limit } => {
                if disk.fence(partition) < epoch {
                    return StoreDone::Failed;
                }
                let records = disk.records.entry(partition).or_default();
                let gone: Vec<Vec<u8>> = records.keys().take(limit).cloned().collect();
                gone.iter().for_each(|key| disk.put(partition, key, None));
                let left = !disk.records[&partition].is_empty();
                self.watch.forgotten.push((node, partition, left));
                StoreDone::Forgot { left }
            }
            ask @ (StoreAsk::Spent { .. } | StoreAsk::Digests { .. } | StoreAsk::Hinted | StoreAsk::Collect { .. }) => {
                self.spent(node, ask)
            }
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

    /// A strict write (W = 2) or read (R = 2) through any node that runs, by the ring that it knows.
    fn client(&mut self) {
        self.at(2 * MS, Event::Client);
        if !self.clients {
            return;
        }
        let running: Vec<NodeId> =
            self.nodes.iter().filter(|(_, node)| node.keeper.is_some()).map(|(id, _)| *id).collect();
        if running.is_empty() {
            return;
        }
        let coordinator = running[self.chance.below(running.len() as u64) as usize];
        let charter = self.nodes[&coordinator].charter.clone();
        let key = self.chance.below(self.keys);
        let partition = (key % u64::from(Q)) as u16;
        let key = format!("{partition:02}/{key}").into_bytes();
        let mut homes = charter.ring().preference_list(Partition(partition));
        // Often no more than have to: what only W have, and only R are asked for, shows what is missing somewhere.
        if self.chance.percent(50) {
            homes.remove(self.chance.below(homes.len() as u64) as usize);
        }
        let epoch = charter.ring().epoch();
        if self.chance.percent(60) {
            self.mint(coordinator);
            let bit = 1 << self.chance.below(64);
            let write = self.writes.len();
            self.writes.push(Write { epoch, partition, key, bit, acked_by: BTreeSet::new(), acked: false });
            for to in homes {
                if let Some(delay) = self.link(coordinator, to) {
                    self.at(delay, Event::Write { to, write });
                }
            }
        } else {
            let read = self.reads.len();
            let must = self.acked.get(&(partition, key.clone())).copied().unwrap_or(0);
            self.reads.push(Read { epoch, partition, key, must, bits: 0, answered: BTreeSet::new(), judged: false });
            for to in homes {
                if let Some(delay) = self.link(coordinator, to) {
                    self.at(delay, Event::Read { to, read });
                }
            }
        }
    }

    fn serves(&self, node: NodeId, epoch: u64, partition: u16) -> bool {
        let entry = &self.nodes[&node];
        entry.keeper.is_some()
            && epoch <= entry.charter.ring().epoch()
            && epoch >= entry.disk.fence(partition)
            && entry.charter.ring().is_home(Partition(partition), node)
    }

    fn write(&mut self, to: NodeId, write: usize) {
        let Write { epoch, partition, ref key, bit, .. } = self.writes[write];
        let key = key.clone();
        let done = self.serves(to, epoch, partition);
        if done {
            self.nodes.get_mut(&to).unwrap().disk.apply(partition, &key, State { seen: bit, live: bit });
        }
        let delay = 100 + self.chance.below(self.weather.slow_us);
        self.at(delay, Event::WriteAnswer { from: to, write, done });
    }

    fn write_answered(&mut self, from: NodeId, write: usize, done: bool) {
        let write = &mut self.writes[write];
        if done && write.acked_by.insert(from) && write.acked_by.len() >= 2 && !write.acked {
            write.acked = true;
            self.acknowledged += 1;
            *self.acked.entry((write.partition, write.key.clone())).or_default() |= write.bit;
        }
    }

    fn serve_read(&mut self, to: NodeId, read: usize) {
        let Read { epoch, partition, ref key, .. } = self.reads[read];
        let node = &self.nodes[&to];
        let whole = node.keeper.as_ref().is_some_and(|keeper| keeper.whole()[usize::from(partition)]);
        let bits = (whole && self.serves(to, epoch, partition)).then(|| node.disk.of(partition, key).seen);
        let delay = 100 + self.chance.below(self.weather.slow_us);
        self.at(delay, Event::ReadAnswer { from: to, read, bits });
    }

    fn read_answered(&mut self, from: NodeId, read: usize, bits: Option<u64>) {
        let Some(bits) = bits else { return };
        let read = &mut self.reads[read];
        read.bits |= bits;
        if read.answered.insert(from) && read.answered.len() >= 2 && !read.judged {
            read.judged = true;
            self.read += 1;
            assert_eq!(
                read.must & !read.bits,
                0,
                "a strict read at epoch {} of {:?} by {:?} lacks an acknowledged write: {:?}\nrings {:?}\n{:?}",
                read.epoch,
                String::from_utf8_lossy(&read.key),
                read.answered,
                self.writes
                    .iter()
                    .filter(|w| w.acked && w.key == read.key && w.bit & read.must & !read.bits != 0)
                    .map(|w| (w.epoch, w.bit, w.acked_by.clone()))
                    .collect::<Vec<_>>(),
                self.rings
                    .iter()
                    .map(|(epoch, ring)| (epoch, ring.preference_list(Partition(read.partition))))
                    .collect::<Vec<_>>(),
                self.log.iter().rev().take(60).rev().collect::<Vec<_>>(),
            );
        }
    }

    /// Every acknowledged write is at the homes of the newest ring: at one at least.
    pub fn check_nothing_lost(&self) {
        let charter = self.newest();
        for ((partition, key), bits) in &self.acked {
            let homes = charter.ring().preference_list(Partition(*partition));
            let held = homes.iter().fold(0, |held, id| held | self.nodes[id].disk.of(*partition, key).seen);
            assert_eq!(
                bits & !held,
                0,
                "{} lost an acknowledged write\n{}",
                String::from_utf8_lossy(key),
                self.describe()
            );
        }
    }

    /// All homes of each partition have the same.
    pub fn equal(&self) -> bool {
        let charter = self.newest();
        let ring = charter.ring();
        ring.partitions().iter().all(|partition| {
            let root = |id: &NodeId| self.nodes[id].disk.trees.get(&partition.0).map_or(0, Tree::root);
            let roots: BTreeSet<u64> = ring.preference_list(partition).iter().map(root).collect();
            roots.len() == 1
        })
    }

    pub fn records(&self, number: u128) -> usize {
        self.nodes[&id(number)].disk.records()
    }
}
