//! Drives the [`Keeper`]: the ring's register, changes of the ring, filling, comparing, letting go (§4.7, 4.9).
//!
//! One task owns it. Peers' questions, their answers over the background links, the engine and administrators report to
//! it; it sends, reads and writes what the keeper wants, and lets requests go by a newer ring.

mod admin;
mod store;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use dynamo_keeper::{
    Answer, ChangeError, Effect, Effects, Found, Keeper, Question, Settings, Situation, Started, StoreDone, Superseded,
};
use dynamo_ring::{NodeId, charter::Charter, register::Value};
use dynamo_transfer::{AnsweringSettings, ComparisonSettings, ScheduleSettings, SliceSettings};
use dynamo_wire::v1::{KeepAnswer, KeepQuestion, ReplicaReply, ReplicaRequest, replica_reply::Reply, replica_request};
use tokio::sync::{mpsc, mpsc::OwnedPermit, oneshot, watch};

use admin::Looking;
pub use admin::{Asked, KeeperStatus, Looked};
pub use store::Pending;

use crate::{
    cluster::View, config::BackgroundConfig, coordinator::Coordinator, keeping::store::LocalTrees, latency::Fared,
    link::Class, membership::Membership, network::Network,
};

/// How often the keeper is told the time.
const TICK: Duration = Duration::from_millis(100);
/// The same while there is something to do.
const TICK_BUSY: Duration = Duration::from_millis(20);
/// A question that is not answered so long counts as lost, microseconds.
const LOST_US: u64 = 5_000_000;
/// How often it is looked how the foreground fares, microseconds.
const SAMPLE_US: u64 = 100_000;
/// Set in the numbers of its requests, which share the background links with handoff's.
const MARK: u64 = 1 << 63;

/// News for the task.
pub enum KeeperNews {
    /// A peer asks.
    Question {
        /// Who.
        from: NodeId,
        /// Its number for it.
        id: u64,
        /// The question.
        question: Bytes,
        /// The answer's place in the stream.
        place: OwnedPermit<ReplicaReply>,
    },
    /// A peer has answered.
    Reply(ReplicaReply),
    /// No answers of this peer will come to what was asked so far.
    Lost(NodeId),
    /// The engine has done what was asked.
    Stored(u64, StoreDone),
    /// An administrator asks.
    Asked(Asked),
    /// This peer goes by a newer ring than this node.
    Newer(NodeId),
    /// This peer goes by an older ring.
    Behind(NodeId),
    /// Gossip says which version of the register a node has.
    Version(NodeId, u64),
    /// A request met a damaged record.
    Damaged(Bytes),
}

/// Where news for the task goes. What peers ask is bounded by the places in their streams, what the keeper asked for by
/// itself; gossip's by the members.
#[derive(Clone)]
pub struct KeeperEvents(mpsc::UnboundedSender<KeeperNews>);

impl KeeperEvents {
    /// Something happened. After the task's end it is dropped.
    pub fn send(&self, news: KeeperNews) {
        let _ = self.0.send(news);
    }

    /// Whether a reply is to one of the keeper's questions.
    pub fn is_own(reply: &ReplicaReply) -> bool {
        reply.id & MARK != 0
    }
}

/// Both ends of the task's queue.
pub fn channel() -> (KeeperEvents, mpsc::UnboundedReceiver<KeeperNews>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (KeeperEvents(sender), receiver)
}

/// The task.
pub struct Keeping {
    keeper: Keeper,
    coordinator: Arc<Coordinator>,
    membership: Arc<Membership>,
    network: Arc<Network>,
    events: KeeperEvents,
    inbox: mpsc::UnboundedReceiver<KeeperNews>,
    status: Arc<ArcSwap<KeeperStatus>>,
    line: watch::Sender<Line>,
    /// The node's names for versions: its life's, and the one that stands in for it.
    names: (u64, u64),
    /// Questions of peers that are not answered yet.
    places: HashMap<u64, (u64, OwnedPermit<ReplicaReply>)>,
    next_place: u64,
    /// This node's own, by number: to whom, and when.
    asked: HashMap<u64, (NodeId, u64)>,
    /// Answered by nobody before the step in which they were asked had ended: there is no link.
    unsent: Vec<u64>,
    changes: HashMap<u64, oneshot::Sender<Result<u64, ChangeError>>>,
    looks: HashMap<u64, Looking>,
    next_change: u64,
    next_sample_us: u64,
    /// When the keeper was last told the time.
    told_us: u64,
}

/// What the keeper starts with.
pub struct Start {
    /// Which life of this node's disk.
    pub incarnation: u64,
    /// What the configuration makes.
    pub first: Charter,
    /// How much may go on behind the requests.
    pub background: BackgroundConfig,
    /// How often tombstones are collected at most, microseconds; 0: never.
    pub collect_every_us: u64,
    /// Which start of it.
    pub started: Started,
    /// Its life begins with this start.
    pub born: bool,
    /// There is nothing on it.
    pub empty: bool,
}

/// Whether this node may do what only the one line of its disk's starts may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Not known yet.
    Asked,
    /// As far as anybody who answers remembers.
    Known,
    /// It may not: its disk is an old copy.
    Superseded(Superseded),
    /// Something was collected since this disk was written: it has to be emptied.
    Outlived,
}

/// A keeper with what the disk holds.
///
/// # Errors
/// What it holds can't be used.
pub fn open(coordinator: &Coordinator, start: &Start) -> anyhow::Result<Keeper> {
    let (kept, [starts, clear, lots]) = store::kept(coordinator, &start.first)?;
    let shape = coordinator.store.with_tree(dynamo_ring::Partition(0), dynamo_merkle::Tree::shape);
    let comparison = ComparisonSettings::new(dynamo_storage::key::tree_hash, shape);
    let answering =
        AnsweringSettings { exchange: comparison.exchange, jobs_max: 256, jobs_per_peer_max: 64, bytes_max: 2 << 20 };
    let background = &start.background;
    let settings = Settings {
        comparison,
        answering,
        jobs_max: 8,
        jobs_per_peer_max: 4,
        schedule: ScheduleSettings {
            interval_us: background.compare_ms * 1000,
            parallel: 4,
            reply_timeout_us: LOST_US,
            backoff_min_us: 500_000,
            backoff_max_us: 60_000_000,
        },
        slices: SliceSettings {
            p99_target_us: background.p99_target_ms * 1000,
            bearable_percent: background.p99_bearable_percent as u32,
            window_us: 500_000,
            rate_min_bytes_per_s: background.rate_min_bytes_per_s,
            rate_max_bytes_per_s: background.rate_max_bytes_per_s.max(background.rate_min_bytes_per_s),
            increase_bytes_per_s: 1 << 20,
            decrease_to_percent: 50,
            busy_permille_max: 1000,
            burst_bytes: 2 << 20,
            weights: [4, 4, 2, 1, 1],
        },
        forget_max: 64,
        ask_us: 200_000,
        ask_sealed_us: 20_000,
        collect_every_us: start.collect_every_us,
    };
    let me = coordinator.cluster.me;
    let now = coordinator.clock.now_us();
    let mut keeper = Keeper::new(me, start.incarnation, &start.first, &kept, settings, (now, rand::random()))
        .map_err(|error| anyhow::anyhow!(error))?;
    let (starts, clear, lots) = (starts.as_ref(), clear.as_ref(), lots.as_ref());
    let found = Found { born: start.born, empty: start.empty, starts, clear, lots };
    let started = keeper.started(start.started, found, now);
    started.map_err(|error| anyhow::anyhow!(error))?;
    Ok(keeper)
}

impl Keeping {
    /// Around a keeper.
    pub fn new(
        keeper: Keeper,
        coordinator: Arc<Coordinator>,
        membership: Arc<Membership>,
        network: Arc<Network>,
        (events, inbox): (KeeperEvents, mpsc::UnboundedReceiver<KeeperNews>),
        names: (u64, u64),
    ) -> Self {
        let status = Arc::new(ArcSwap::from_pointee(KeeperStatus::of(&keeper)));
        coordinator.cluster.set_whole(Arc::new(keeper.whole().to_vec()));
        coordinator.cluster.set_in_doubt(keeper.in_doubt());
        // Known from the first moment: who waits for the end of a refill must not see one that has not begun.
        membership.set_upkeep(keeper.leftovers() as u32, keeper.refilling() as u32);
        Self {
            keeper,
            coordinator,
            membership,
            network,
            events,
            inbox,
            status,
            line: watch::Sender::new(Line::Asked),
            names,
            places: HashMap::new(),
            next_place: 0,
            asked: HashMap::new(),
            unsent: Vec::new(),
            changes: HashMap::new(),
            looks: HashMap::new(),
            next_change: 0,
            next_sample_us: 0,
            told_us: 0,
        }
    }

    /// What administrators are shown, as of the last step.
    pub fn status(&self) -> Arc<ArcSwap<KeeperStatus>> {
        self.status.clone()
    }

    /// Whether this node's disk is known to be no old copy.
    pub fn line(&self) -> watch::Receiver<Line> {
        self.line.subscribe()
    }

    /// Runs until `stop` turns true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let pause = if self.keeper.is_busy() { TICK_BUSY } else { TICK };
            // Counted from the last time, not from the last news: under a steady stream of them it has to pass as well.
            let passed = self.coordinator.clock.now_us().saturating_sub(self.told_us);
            let left = pause.saturating_sub(Duration::from_micros(passed));
            if left.is_zero() {
                self.on_time();
                self.told_us = self.coordinator.clock.now_us();
                continue;
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                Some(news) = self.inbox.recv() => self.take(news),
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    fn on_time(&mut self) {
        let now = self.coordinator.clock.now_us();
        let late: Vec<u64> =
            self.asked.iter().filter(|(_, (_, since))| since + LOST_US < now).map(|(id, _)| *id).collect();
        for id in late {
            self.answered(id, None);
        }
        let reachable = self.reachable();
        let needed = self.coordinator.buckets.homes_needed(self.coordinator.cluster.view().ring.n());
        let durable = self.coordinator.store.counters().synced();
        self.drive(|keeper, at, effects| {
            keeper.on_durable(durable);
            keeper.on_reachable(reachable, needed, at, effects);
            keeper.on_time(at, effects);
        });
        self.coordinator.handoff.pace.set(|moved| self.keeper.hints_moved(moved, now));
        if now >= self.next_sample_us {
            self.next_sample_us = now + SAMPLE_US;
            match self.coordinator.metrics.foreground(self.keeper.foreground_watch(), now) {
                Fared::NotKnown => {}
                Fared::Silent => self.keeper.on_foreground(None, now),
                Fared::P99(us) => self.keeper.on_foreground(Some(us), now),
            }
            let (slices, stalest) = (self.keeper.slices(now), self.keeper.stalest_us(now));
            self.coordinator.metrics.background(&slices, stalest, self.keeper.scrubbing());
        }
        let status = self.publish();
        self.membership.set_upkeep(status.leftovers as u32, status.refilling as u32);
        self.coordinator.metrics.keeping(&status);
    }

    /// Whose background stream is open.
    fn reachable(&self) -> BTreeSet<NodeId> {
        let view = self.coordinator.cluster.view();
        let open =
            |peer: &&Arc<crate::cluster::Peer>| peer.links.as_ref().is_some_and(|links| links.background.is_open());
        view.peers().iter().filter(open).map(|peer| peer.id).collect()
    }

    fn take(&mut self, news: KeeperNews) {
        match news {
            KeeperNews::Question { from, id, question, place } => self.questioned(from, id, &question, place),
            KeeperNews::Reply(ReplicaReply { id, reply }) => {
                let answer = match reply {
                    Some(Reply::Keep(KeepAnswer { answer })) => Answer::decode(&answer).ok(),
                    _ => None,
                };
                self.answered(id & !MARK, answer);
            }
            KeeperNews::Lost(peer) => {
                let lost: Vec<u64> = self.asked.iter().filter(|(_, (to, _))| *to == peer).map(|(id, _)| *id).collect();
                for id in lost {
                    self.answered(id, None);
                }
            }
            KeeperNews::Stored(ticket, done) => {
                self.drive(|keeper, at, effects| keeper.on_stored(ticket, done, at, effects));
            }
            KeeperNews::Asked(asked) => self.administer(asked),
            KeeperNews::Newer(from) => self.drive(|keeper, _, effects| keeper.pull_from(from, effects)),
            KeeperNews::Behind(peer) => self.drive(|keeper, _, effects| keeper.tell_to(peer, effects)),
            KeeperNews::Damaged(key) => {
                tracing::warn!(
                    partition = key.first_chunk().map(|two| u16::from_be_bytes(*two)),
                    "a record is damaged: it is had again from the other homes"
                );
                self.drive(|keeper, _, effects| keeper.damaged(key, effects));
            }
            KeeperNews::Version(of, version) => self.keeper.on_version(of, version),
        }
    }

    fn questioned(&mut self, from: NodeId, id: u64, question: &Bytes, place: OwnedPermit<ReplicaReply>) {
        let question = match Question::decode(question) {
            Ok(question) => question,
            Err(error) => {
                tracing::warn!(%from, %error, "a peer's question can't be read");
                return answer(id, place, &Answer::Unable);
            }
        };
        self.next_place += 1;
        let call = self.next_place;
        self.places.insert(call, (id, place));
        self.drive(|keeper, at, effects| keeper.on_question(from, call, question, at, effects));
    }

    fn answered(&mut self, call: u64, answer: Option<Answer>) {
        if self.asked.remove(&call).is_some() {
            self.drive(|keeper, at, effects| keeper.on_answer(call, answer, at, effects));
        }
    }

    fn drive(&mut self, step: impl FnOnce(&mut Keeper, &Situation<'_>, &mut Effects)) {
        let coordinator = self.coordinator.clone();
        let trees = LocalTrees(&coordinator.store);
        let now = coordinator.clock.now_us();
        let mut effects = Effects::new();
        step(&mut self.keeper, &Situation { now, random: rand::random(), trees: &trees }, &mut effects);
        self.carry_out(effects);
        // Those without a link: each is an answer of its own, which may ask again.
        while let Some(call) = self.unsent.pop() {
            if self.asked.remove(&call).is_some() {
                let mut effects = Effects::new();
                let at = Situation { now, random: rand::random(), trees: &trees };
                self.keeper.on_answer(call, None, &at, &mut effects);
                self.carry_out(effects);
            }
        }
        self.look_at_line();
    }

    /// Versions are minted under the life's own name only while it is known that no other disk has it.
    fn look_at_line(&self) {
        self.coordinator.cluster.set_in_doubt(self.keeper.in_doubt());
        let (life, stand_in) = self.names;
        self.coordinator.store.set_incarnation(if self.keeper.mints() { life } else { stand_in });
        let now = match self.keeper.superseded() {
            Some(superseded) => Line::Superseded(*superseded),
            None if self.keeper.is_to_be_emptied() => Line::Outlived,
            None if self.keeper.is_known() => Line::Known,
            None => Line::Asked,
        };
        let changed = *self.line.borrow() != now;
        if changed {
            self.line.send_replace(now);
        }
    }

    fn carry_out(&mut self, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Ask { to, call, question } => self.ask(to, call, question),
                Effect::Answer { call, answer: said } => {
                    if let Some((id, place)) = self.places.remove(&call) {
                        answer(id, place, &said);
                    }
                }
                Effect::Store { ticket, what } => Pending::begin(&self.coordinator, &self.events, ticket, what),
                Effect::Adopt { version, charter } => self.adopt(version, &charter),
                Effect::Whole(whole) => self.coordinator.cluster.set_whole(whole),
                Effect::Looked { request, result } => {
                    if let Some(waiting) = self.looks.remove(&request) {
                        let status = self.publish();
                        let _ = waiting.send((result, status));
                    }
                }
                Effect::Done { request, result } => {
                    if let Some(waiting) = self.changes.remove(&request) {
                        let _ = waiting.send(result);
                    }
                }
            }
        }
    }

    fn ask(&mut self, to: NodeId, call: u64, question: Question) {
        self.asked.insert(call, (to, self.coordinator.clock.now_us()));
        let view = self.coordinator.cluster.view();
        let keep = KeepQuestion { question: question.encode().into() };
        let request = Some(replica_request::Request::Keep(keep));
        let request = ReplicaRequest { id: call | MARK, epoch: view.ring.epoch(), request };
        let links = view.peer(to).and_then(|peer| peer.links.as_ref());
        if links.is_none_or(|links| links.of(Class::Background).send(request).is_err()) {
            self.unsent.push(call);
        }
    }

    /// Requests go by another charter from now on.
    fn adopt(&mut self, version: u64, charter: &Charter) {
        let ring = charter.ring().clone();
        let settled = charter.change().is_none();
        tracing::info!(version, epoch = ring.epoch(), members = ring.members().len(), settled, "the ring has changed");
        self.coordinator.cluster.adopt(view(&self.network, &self.membership, charter));
        self.membership.ring_changed(ring.epoch(), version);
        self.coordinator.handoff.ring_changed();
        self.publish();
    }

    /// Shows administrators what is the case now.
    fn publish(&mut self) -> Arc<KeeperStatus> {
        let status = Arc::new(KeeperStatus::of(&self.keeper));
        self.status.store(status.clone());
        status
    }
}

/// What requests go by under a charter.
pub fn view(network: &Network, membership: &Membership, charter: &Charter) -> View {
    let ring = charter.ring().clone();
    let joining = charter.change().map(|change| change.members.clone()).unwrap_or_default();
    let ids: Vec<NodeId> = ring.members().iter().chain(&joining).map(|member| member.id).collect();
    let peers = network.set(ids, |id| membership.address(id));
    let view = View::new(ring, peers, network.me()).with_leavers(charter.leavers().iter().copied().collect());
    view.with_floor(charter.last_barrier().epoch)
}

fn answer(id: u64, place: OwnedPermit<ReplicaReply>, answer: &Answer) {
    place.send(ReplicaReply { id, reply: Some(Reply::Keep(KeepAnswer { answer: answer.encode().into() })) });
}

/// The newest value that this node's disk knows to be chosen.
pub fn known(keeper: &Keeper) -> (u64, Arc<Charter>, Value) {
    (keeper.version(), keeper.charter().clone(), keeper.known().clone())
}
