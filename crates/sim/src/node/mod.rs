//! One simulated node: the machines that `dynamo-node` drives with tokio and threads, driven here by events, doing the
//! same things in the same order.
//!
//! Where things are: `coordinator` requests of clients, `replica` requests of peers, `handoff` hints, `membership`
//! gossip, `keeper` and `keeper_store` the ring and the comparisons, `edits` administrators, `administered` operators, `store` the engine's threads, `link` the streams to peers, `cluster` what is believed of them.

mod administered;
mod cluster;
mod coordinator;
mod edits;
mod handoff;
mod keeper;
mod keeper_store;
mod link;
mod membership;
mod replica;
mod store;

use std::{rc::Rc, sync::Arc};

use dynamo_gossip::Gossip;
use dynamo_keeper::Superseded;
use dynamo_ring::charter::Gone;
use dynamo_storage::{HighWater, Op, Opened, Outcome, Read, StoreError};
use dynamo_version::ContextCodec;

use self::{
    cluster::Peer,
    coordinator::{Latencies, Requests},
    handoff::Handoff,
    keeper::{Keeping, Start},
    link::Link,
    store::{Store, StoreNews},
};
pub use self::{
    coordinator::{ReplyTo, Write},
    membership::stored_table,
};
use crate::{
    chance::{Chance, For},
    coverage::cover,
    disk::SimDisk,
    message::{Class, ClientRequest},
    world::{Event, Kernel, NodeEvent, Shape, View, id_of, say},
};

/// How often links and disk are looked at, microseconds.
const LOOK_US: u64 = 100_000;
/// The engine begins on a batch after so long.
const APPLY_US: u64 = 30;
/// A read takes so long, at least and at most.
const READ_US: (u64, u64) = (20, 200);
/// A sync takes so long, at least and at most.
const SYNC_US: (u64, u64) = (400, 2_500);

/// Whom to tell of a finished operation of the engine.
#[derive(Debug, Clone)]
pub enum Done {
    /// A request that is coordinated here.
    Local { id: u64, step: Step, durable: bool, hint_for: Option<u8> },
    /// A peer's request, by its stream.
    Peer { stream: u16, generation: u32, id: u64, durable: bool, hint_for: Option<u8> },
    /// A hint that the coordinator keeps.
    KeptHint { home: u8 },
    /// A value of the node's own, read repair of its own copy: nobody waits.
    Nobody,
    /// The keeper asked.
    Keeper { ticket: u64 },
    /// Handoff asked.
    Handoff { target: u8, what: handoff::HandoffAsk },
}

/// Which step of a request the engine works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Mint,
    Write,
    Read,
}

/// Which life of its disk a node is in, and which start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Whose disk it is.
    pub node: u8,
    pub incarnation: u64,
    pub generation: u64,
}

/// What a node's disk has turned out to be.
#[derive(Debug, Clone, Copy)]
pub enum Outlived {
    /// An old copy: it begins another life.
    Copy(Superseded),
    /// Older than what was collected since: it is emptied.
    Collected,
}

impl Identity {
    /// Another life of the disk, above all that is known of it.
    pub fn begin_life(&mut self, now_ms: u64, after: (u64, u64)) {
        self.incarnation = now_ms.max(self.incarnation.max(after.0) + 1);
        self.generation = self.generation.max(after.1);
    }
}

/// Why a node does not start.
#[derive(Debug)]
pub enum NotStarted {
    /// Its disk, this time.
    Store(StoreError),
    /// It left its cluster, or was removed, and holds nothing for others.
    Gone,
}

impl From<StoreError> for NotStarted {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A running node.
pub struct Node {
    pub me: u8,
    pub life: u32,
    shape: Rc<Shape>,
    store: Store,
    contexts: ContextCodec,
    requests: Requests,
    latencies: Latencies,
    peers: Vec<Peer>,
    /// By peer and class.
    links: Vec<Link>,
    gossip: Gossip,
    /// By bucket: whether this node has heard of it.
    buckets: Vec<bool>,
    handoff: Handoff,
    keeping: Keeping,
    /// What requests go by.
    view: Rc<View>,
    /// By partition: whether this node has all that it ever acknowledged as its home.
    whole: Arc<Vec<bool>>,
    /// This is the first start on a disk that was emptied.
    emptied: bool,
    looks: u32,
    stopping: bool,
    slow_disk: u64,
    chance: Chance,
    disk_chance: Chance,
}

impl Node {
    /// A node that starts on a disk. Its identity is another life's where the disk has lost something.
    pub fn start(
        me: u8,
        disk: Arc<SimDisk>,
        identity: &mut Identity,
        found: Option<HighWater>,
        kernel: &mut Kernel,
    ) -> Result<Self, NotStarted> {
        let shape = kernel.shape.clone();
        let life = kernel.lives[usize::from(me)];
        let plan = &shape.plan;
        let stream = u64::from(me) << 16 | u64::from(life & 0xffff);
        let mut chance = Chance::new(plan.seed, For::Gossip, stream);
        let stand_in = chance.next() | 1 << 63;
        let (mut store, opened) = Store::open(disk, plan, me, stand_in, found, kernel)?;
        let born = is_born(identity, &opened, &mut store, kernel);
        let (peers, links) = (cluster::peers(me, &shape), link::links(&shape));
        let now = (kernel.clock_us(), chance.next());
        let Identity { incarnation, generation, .. } = *identity;
        let start = Start { incarnation, generation, stand_in, found: opened.commit, born, empty: opened.new };
        let keeping = Keeping::open(me, start, &shape, &store, now, kernel.known_bad)?;
        let (version, charter) = (keeping.keeper.version(), keeping.keeper.charter().clone());
        let gone = Gone { id: id_of(me), incarnation: identity.incarnation };
        let member = charter.ring().member(gone.id).is_some();
        if charter.gone().contains(&gone) && !charter.leavers().contains(&gone.id) && !member {
            return Err(NotStarted::Gone);
        }
        let view = kernel.view_of(version, &charter);
        let place = kernel.places[usize::from(me)];
        let (gossip, buckets) = membership::machine((me, place), identity, &shape, &store, &view);
        let handoff = Handoff::new(&store, kernel.clock_us());
        let mut node = Self {
            me,
            life,
            contexts: ContextCodec::new(b"the key of a run", "sim"),
            requests: Requests::default(),
            latencies: Latencies::default(),
            store,
            peers,
            links,
            gossip,
            buckets,
            handoff,
            whole: Arc::new(keeping.keeper.whole().to_vec()),
            keeping,
            view,
            emptied: opened.new && kernel.now > 0,
            looks: 0,
            stopping: false,
            slow_disk: 1,
            chance,
            disk_chance: Chance::new(plan.seed, For::Disk, stream),
            shape,
        };
        node.begin(kernel);
        Ok(node)
    }

    fn begin(&mut self, kernel: &mut Kernel) {
        for peer in (0..self.shape.nodes()).filter(|peer| *peer != self.me) {
            for class in [Class::Foreground, Class::Background] {
                kernel.connect(self.me, peer, self.place_of(peer), class);
            }
        }
        self.announce_serving(kernel);
        self.look_at_line(kernel);
        let offset = self.chance.below(LOOK_US);
        kernel.node_after(offset, self.me, self.life, NodeEvent::Look);
        kernel.node_after(offset / 2, self.me, self.life, NodeEvent::KeeperTick);
    }

    /// One of this node's own events.
    pub fn on_event(&mut self, what: NodeEvent, kernel: &mut Kernel) {
        match what {
            NodeEvent::Connect { peer, class } => {
                kernel.connect(self.me, peer, self.place_of(peer), link::class(class))
            }
            NodeEvent::GossipReceipt { peer } => self.gossip_heard(peer, kernel),
            NodeEvent::GossipFailed { peer, lost } => self.gossip_failed(peer, lost, kernel),
            NodeEvent::Look => self.look(kernel),
            NodeEvent::Apply => self.apply(kernel),
            NodeEvent::Synced => self.synced(kernel),
            NodeEvent::Read { done, result } => self.done(done, *result, kernel),
            NodeEvent::Tick => self.tick(kernel),
            NodeEvent::KeeperTick => self.keeper_time(kernel),
            NodeEvent::HandoffTick => self.handoff_time(kernel),
            NodeEvent::CoordinateHere { write, reply } => self.begin_write(*write, reply, kernel),
            NodeEvent::Drained | NodeEvent::Outlived => {}
        }
    }

    /// A client's request.
    pub fn on_client(&mut self, request: ClientRequest, kernel: &mut Kernel) {
        self.begin_request(request, kernel);
    }

    fn look(&mut self, kernel: &mut Kernel) {
        kernel.node_after(LOOK_US, self.me, self.life, NodeEvent::Look);
        self.store.look_after_disk(kernel.now);
        self.look_at_links(kernel);
        if self.looks.is_multiple_of(10) {
            self.round_of_gossip(kernel);
        }
        self.looks += 1;
        if self.store.wants_background_sync(self.looks) {
            self.begin_sync(kernel);
        }
    }

    /// Gives the engine an operation; it is done with others that wait.
    fn submit(&mut self, op: Op, done: Done, kernel: &mut Kernel) {
        if self.store.submit(op, done) {
            let after = APPLY_US * self.slow_disk;
            kernel.node_after(after, self.me, self.life, NodeEvent::Apply);
        }
    }

    /// Asks the engine; the answer comes a little later.
    fn read(&mut self, read: &Read, done: Done, kernel: &mut Kernel) {
        let result = Box::new(self.read_now(read));
        let after = self.read_time();
        kernel.node_after(after, self.me, self.life, NodeEvent::Read { done, result });
    }

    fn read_now(&self, read: &Read) -> Result<Outcome, StoreError> {
        self.store.read(read)
    }

    fn read_time(&mut self) -> u64 {
        self.disk_chance.between(READ_US.0, READ_US.1) * self.slow_disk
    }

    fn apply(&mut self, kernel: &mut Kernel) {
        let news = self.store.apply(kernel);
        self.take_store_news(news, kernel);
        if self.store.wants_sync() {
            self.begin_sync(kernel);
        }
    }

    fn begin_sync(&mut self, kernel: &mut Kernel) {
        if self.store.begin_sync() {
            let after = self.disk_chance.between(SYNC_US.0, SYNC_US.1) * self.slow_disk;
            kernel.node_after(after, self.me, self.life, NodeEvent::Synced);
        }
    }

    fn synced(&mut self, kernel: &mut Kernel) {
        let news = self.store.synced();
        self.take_store_news(news, kernel);
        if self.store.wants_sync() {
            self.begin_sync(kernel);
        }
    }

    fn take_store_news(&mut self, news: Vec<StoreNews>, kernel: &mut Kernel) {
        for one in news {
            match one {
                StoreNews::Applied { id, applied } => self.minted(id, &applied, kernel),
                StoreNews::Done { done, result } => self.done(done, result, kernel),
            }
        }
    }

    fn done(&mut self, done: Done, result: Result<Outcome, StoreError>, kernel: &mut Kernel) {
        match done {
            Done::Local { id, step: Step::Read, .. } => self.read_here(id, result, kernel),
            Done::Local { id, durable, hint_for, .. } => {
                if let Some(home) = hint_for {
                    self.hint_stored(home, kernel);
                }
                self.stored_here(id, result.map(|_| durable), kernel);
            }
            Done::Peer { stream, generation, id, durable, hint_for } => {
                if let Some(home) = hint_for {
                    self.hint_stored(home, kernel);
                }
                if let Err(error) = &result {
                    self.report_damage(error, kernel);
                }
                let reply = replica::reply(id, result, durable);
                kernel.send_reply(stream, generation, reply, 0);
            }
            Done::KeptHint { home } => self.hint_kept(home, result.is_ok(), kernel),
            Done::Nobody => {}
            Done::Keeper { ticket } => self.keeper_engine_done(ticket, result, kernel),
            Done::Handoff { target, what } => self.handoff_engine_done(target, what, result, kernel),
        }
    }

    /// The disk takes so many times longer.
    pub fn set_disk_speed(&mut self, times: u32) {
        self.slow_disk = u64::from(times.max(1));
    }

    /// Begins to stop in order: no new requests, those in flight go on.
    pub fn stop(&mut self, kernel: &mut Kernel) {
        self.announce_draining(kernel);
        self.stopping = true;
    }

    /// The last act of an orderly stop.
    pub fn close(self) -> HighWater {
        self.store.close()
    }

    /// What its disk has turned out to be, if that is worse than it took it for.
    pub fn outlived(&self) -> Option<Outlived> {
        self.keeping.outlived
    }

    /// What would be found of this node's store after it is gone.
    pub fn high_water(&self) -> HighWater {
        self.store.high_water()
    }

    /// Schedules an answer to a client.
    fn answer_client(&self, client: u8, attempt: u32, answer: crate::message::Answer, kernel: &mut Kernel) {
        let endpoint = self.shape.nodes() + client;
        if let crate::network::Fate::Arrives { after_us, .. } = kernel.network.datagram(self.me, endpoint) {
            kernel.after(after_us, Event::Answer { client, attempt, answer: Box::new(answer) });
        }
    }

    /// The epoch of the ring that requests go by.
    fn epoch(&self) -> u64 {
        self.view.epoch()
    }

    fn id(&self) -> dynamo_ring::NodeId {
        id_of(self.me)
    }
}

/// Whether the disk's life begins with this start: it does where there is nothing, or not all that was durable.
fn is_born(identity: &mut Identity, opened: &Opened, store: &mut Store, kernel: &mut Kernel) -> bool {
    let first = identity.generation == 1;
    let gone = opened.new && !first;
    if opened.lost_tail || gone {
        identity.begin_life(kernel.wall_ms(identity.node), (0, 0));
        store.loss_is_known();
        cover!("life.after_loss");
        say!(kernel, "node-{} begins life {} on what is left of its disk", identity.node, identity.incarnation);
    }
    first || opened.lost_tail || gone
}

/// What a run looks at from outside.
impl Node {
    pub fn requests_in_flight(&self) -> usize {
        self.requests.len()
    }

    pub fn hints_held(&self) -> u64 {
        self.store.hints_held()
    }

    pub fn hints_sent(&self) -> usize {
        self.handoff.sent()
    }

    pub fn store_waits(&self) -> usize {
        self.store.waiting()
    }

    /// Whether it takes no new requests any more.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// By partition: whether its disk has all that it ever acknowledged as its home, if it is no old copy. What a ring gives
    /// it that it has not learnt yet it has: that ring was made only because it does.
    pub fn whole_in(&self, newest: &View) -> Vec<bool> {
        let whole = self.keeping.keeper.whole_if_newest();
        let given = |partition| newest.is_home(partition, self.me) && !self.view.is_home(partition, self.me);
        let given = |partition| newest.version > self.view.version && given(partition);
        let partitions = newest.ring().partitions().iter();
        partitions.map(|partition| whole[usize::from(partition.0)] || given(partition)).collect()
    }

    /// Whether it thinks that all these are up, and takes writes itself.
    pub fn thinks_well_of(&self, nodes: &[u8]) -> bool {
        nodes.iter().all(|node| self.peers[usize::from(*node)].standing == cluster::Standing::Up)
    }

    /// The version of the ring's register that it goes by.
    pub fn ring_version(&self) -> u64 {
        self.view.version
    }

    /// Whether its disk may be older than what was collected since.
    pub fn in_doubt(&self) -> bool {
        self.keeping.keeper.in_doubt()
    }

    /// Whether its disk gives a vote on the ring.
    pub fn votes(&self) -> bool {
        self.keeping.keeper.votes()
    }

    /// What it reports of the step under way, in words.
    pub fn part_in_step(&self) -> Option<String> {
        let report = self.keeping.keeper.report();
        self.view.charter.change()?;
        let progress = self.keeping.keeper.progress(|id| format!("node-{}", crate::world::index_of(id)));
        let blocked = progress.map(|progress| progress.blocked_by);
        let fills: Vec<_> = report
            .fills
            .iter()
            .map(|fill| format!("{}: {} once, {} wholly", fill.partition, fill.caught_up.len(), fill.complete.len()))
            .collect();
        Some(format!(
            "node-{} (version {}, sealed {}, lets go {}, is filled with {fills:?}, blocked by {blocked:?} {})",
            self.me, report.version, report.sealed, report.leftovers, report.blocked
        ))
    }

    /// Partitions that it has and is no home of, and those that it is being filled with.
    pub fn upkeep(&self) -> (usize, usize) {
        (self.keeping.keeper.leftovers(), self.keeping.keeper.refilling())
    }

    pub fn buckets_digest(&self) -> u64 {
        self.gossip.buckets().digest()
    }
}
