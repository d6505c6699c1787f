//! Hinted handoff (§4.6): drives one `transfer::Delivery` for each node that hints are held for.
//!
//! One task owns all deliveries. The engine, the background links and gossip report to it; it reads hints, sends them
//! over the target's background link, and drops each after the target has confirmed it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dynamo_quorum::Refusal as Refused;
use dynamo_ring::NodeId;
use dynamo_storage::{Op, Outcome, Read, RecordKey, StoreError};
use dynamo_transfer::{Delivery, DeliverySettings, Effect, Effects, HintMeta, Refusal};
use dynamo_version::Mode;
use dynamo_wire::v1::{ReplicaReply, ReplicaRequest, ReplicaWrite, replica_reply::Reply, replica_request};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};

use crate::{
    completion::{Done, HandoffAsk},
    coordinator::Coordinator,
    link::Class,
};

/// Longest sleep between looks at the deliveries' timers.
const TICK: Duration = Duration::from_millis(200);

/// News for the task.
pub enum HandoffNews {
    /// The engine has done what was asked.
    Engine {
        /// For whom the hints are.
        target: NodeId,
        /// What was asked.
        what: HandoffAsk,
        /// What came of it.
        result: Result<Outcome, StoreError>,
    },
    /// The target has answered.
    Reply(ReplicaReply),
    /// The target can be reached, or no longer.
    Reachable(NodeId, bool),
    /// The ring is another: hints for who left it go to others.
    Ring,
}

/// Where news for the task goes. The queue holds at most what the task itself asked for (a page and a window for each
/// target) and a few changes of state, so it needs no bound of its own; stored hints only mark their target.
#[derive(Clone)]
pub struct HandoffEvents {
    news: mpsc::UnboundedSender<HandoffNews>,
    stored: Arc<(Mutex<BTreeSet<NodeId>>, Notify)>,
    /// Hints' part of what background work may move.
    pub pace: Arc<Pace>,
}

/// Hints' part of what background work may move (§6.5): the keeper's task holds the slices, this one keeps to its part.
pub struct Pace {
    /// There are hints to be delivered now.
    wanted: AtomicBool,
    /// Bytes since the keeper's task last took note.
    moved: AtomicU64,
    /// Bytes per second, for all targets together.
    rate: AtomicU64,
}

impl Pace {
    /// Takes note of what was moved and sets the rate that `part` gives for it, if there is anything to move.
    pub fn set(&self, part: impl FnOnce(u64) -> u64) {
        let moved = self.moved.swap(0, Ordering::Relaxed);
        if moved > 0 || self.wanted.load(Ordering::Relaxed) {
            self.rate.store(part(moved), Ordering::Relaxed);
        }
    }
}

/// The other end.
pub struct HandoffInbox {
    news: mpsc::UnboundedReceiver<HandoffNews>,
    stored: Arc<(Mutex<BTreeSet<NodeId>>, Notify)>,
    pace: Arc<Pace>,
}

/// Both ends of the task's queue.
pub fn channel() -> (HandoffEvents, HandoffInbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let stored = Arc::new((Mutex::new(BTreeSet::new()), Notify::new()));
    // Until the keeper's task has said otherwise each target's own rate holds.
    let pace = Pace { wanted: AtomicBool::new(false), moved: AtomicU64::new(0), rate: AtomicU64::new(u64::MAX) };
    let pace = Arc::new(pace);
    let inbox = HandoffInbox { news: receiver, stored: stored.clone(), pace: pace.clone() };
    (HandoffEvents { news: sender, stored, pace }, inbox)
}

impl HandoffEvents {
    /// A hint for `target` was stored.
    pub fn hint_stored(&self, target: NodeId) {
        if self.stored.0.lock().insert(target) {
            self.stored.1.notify_one();
        }
    }

    /// The ring is another.
    pub fn ring_changed(&self) {
        self.send(HandoffNews::Ring);
    }

    /// Something happened. After the task's end it is dropped.
    pub fn send(&self, news: HandoffNews) {
        let _ = self.news.send(news);
    }
}

/// The task.
pub struct Handoff {
    coordinator: Arc<Coordinator>,
    inbox: HandoffInbox,
    settings: DeliverySettings,
    deliveries: BTreeMap<NodeId, Delivery>,
    reachable: BTreeSet<NodeId>,
    /// By number: the target, the key, the digest, and who was sent it: the target, or a home in its place.
    sent: HashMap<u64, (NodeId, Bytes, u64, NodeId)>,
    next_id: u64,
    /// What each target gets, bytes per second.
    rate: u64,
}

impl Handoff {
    /// Begins with the hints that the store holds.
    pub fn new(coordinator: Arc<Coordinator>, inbox: HandoffInbox, settings: DeliverySettings) -> Self {
        let now = coordinator.clock.now_us();
        let held = coordinator.store.counters().hints_by_target();
        let deliveries = held.keys().map(|target| (*target, Delivery::new(*target, settings, now))).collect();
        let (reachable, sent) = (BTreeSet::new(), HashMap::new());
        let rate = settings.bytes_per_s;
        Self { coordinator, inbox, settings, deliveries, reachable, sent, next_id: 1, rate }
    }

    /// Delivers until `stop` turns true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                Some(news) = self.inbox.news.recv() => self.take(news),
                () = self.inbox.stored.1.notified() => self.take_stored(),
                () = tokio::time::sleep(TICK) => {}
            }
            self.on_time();
        }
    }

    /// Hints are for a key's homes, not for a node for ever: those of who is no member any more can be delivered.
    fn look_for_gone(&mut self) {
        let view = self.coordinator.cluster.view();
        let gone: Vec<NodeId> =
            self.deliveries.keys().copied().filter(|target| view.ring.member(*target).is_none()).collect();
        drop(view);
        for target in gone {
            self.drive(target, |delivery, now, _, effects| delivery.on_target_up(now, effects));
        }
    }

    fn take_stored(&mut self) {
        let targets = std::mem::take(&mut *self.inbox.stored.0.lock());
        for target in targets {
            let new = !self.deliveries.contains_key(&target);
            let gone = self.coordinator.cluster.view().ring.member(target).is_none();
            let up = gone || self.reachable.contains(&target);
            self.drive(target, |delivery, now, _, effects| {
                delivery.on_hint_stored(now, effects);
                if new && up {
                    delivery.on_target_up(now, effects);
                }
            });
        }
    }

    fn on_time(&mut self) {
        let now = self.coordinator.clock.now_us();
        self.keep_pace(now);
        let due = |delivery: &Delivery| delivery.next_time().is_some_and(|next| next <= now);
        let targets: Vec<_> = self.deliveries.iter().filter(|(_, delivery)| due(delivery)).map(|(id, _)| *id).collect();
        for target in targets {
            self.drive(target, |delivery, now, random, effects| delivery.on_time(now, random, effects));
        }
    }

    /// Those that can be delivered share hints' part of background work.
    fn keep_pace(&mut self, now: u64) {
        let view = self.coordinator.cluster.view();
        let can = |target: &NodeId| self.reachable.contains(target) || view.ring.member(*target).is_none();
        let active = |(target, delivery): &(&NodeId, &Delivery)| !delivery.is_idle() && can(target);
        let count = self.deliveries.iter().filter(active).count() as u64;
        drop(view);
        let pace = &self.inbox.pace;
        pace.wanted.store(count > 0, Ordering::Relaxed);
        let part = pace.rate.load(Ordering::Relaxed) / count.max(1);
        let rate = part.clamp(1, self.settings.bytes_per_s);
        if rate != self.rate {
            self.rate = rate;
            self.deliveries.values_mut().for_each(|delivery| delivery.set_rate(rate, now));
        }
    }

    fn take(&mut self, news: HandoffNews) {
        match news {
            HandoffNews::Reachable(target, true) => {
                self.reachable.insert(target);
                if self.deliveries.contains_key(&target) {
                    self.drive(target, |delivery, now, _, effects| delivery.on_target_up(now, effects));
                }
            }
            HandoffNews::Reachable(target, false) => {
                self.reachable.remove(&target);
                self.lost(target);
                if let Some(delivery) = self.deliveries.get_mut(&target) {
                    delivery.on_target_down();
                }
                // Its links end because it left, and others get its hints: nothing else would begin that again.
                self.look_for_gone();
            }
            HandoffNews::Reply(reply) => self.replied(reply),
            HandoffNews::Ring => self.look_for_gone(),
            HandoffNews::Engine { target, what, result } => self.engine_done(target, what, result),
        }
    }

    fn replied(&mut self, reply: ReplicaReply) {
        let Some((target, key, digest, _)) = self.sent.remove(&reply.id) else { return };
        let refusal = match reply.reply {
            Some(Reply::Ack(_)) => {
                return self
                    .drive(target, |delivery, now, _, effects| delivery.on_confirmed(&key, digest, now, effects));
            }
            Some(Reply::Refusal(refusal)) => refusal_of(crate::coordinator::refusal_of_wire(&refusal)),
            _ => Refusal::Invalid,
        };
        self.drive(target, |delivery, now, random, effects| delivery.on_refused(&key, refusal, now, random, effects));
    }

    fn engine_done(&mut self, target: NodeId, what: HandoffAsk, result: Result<Outcome, StoreError>) {
        match (what, result) {
            (HandoffAsk::Page, Ok(Outcome::Hints { entries, end })) => {
                let page = entries
                    .into_iter()
                    .map(|hint| HintMeta { key: hint.key.as_bytes().clone(), digest: hint.digest, bytes: hint.bytes })
                    .collect();
                self.drive(target, |delivery, now, _, effects| delivery.on_page(page, end, now, effects));
            }
            (HandoffAsk::Page, _) => {
                self.drive(target, |delivery, now, random, effects| delivery.on_page_failed(now, random, effects));
            }
            (HandoffAsk::Hint(key, epoch), Ok(Outcome::State(Some((set, digest))))) => {
                self.send(target, &key, epoch, set, digest);
            }
            // Gone already, or a note of a record that is gone: nothing will ever be delivered.
            (HandoffAsk::Hint(key, _), Ok(_)) => self.forget(target, key, 0, HandoffAsk::Forget),
            (HandoffAsk::Kept(key, digest), Ok(_)) => {
                let key = key.as_bytes().clone();
                self.drive(target, |delivery, now, _, effects| delivery.on_confirmed(&key, digest, now, effects));
            }
            (HandoffAsk::Kept(key, _), Err(error)) => {
                tracing::debug!(%target, %error, "a hint for a home of ours could not be taken in");
                self.refuse(target, key.as_bytes(), Refusal::Overloaded);
            }
            (HandoffAsk::Forget(key), _) => {
                self.drive(target, |delivery, now, _, effects| delivery.on_dropped(key.as_bytes(), true, now, effects));
            }
            (HandoffAsk::Hint(key, _), Err(error)) => {
                let refusal = match error {
                    StoreError::Overloaded | StoreError::Closed => Refusal::Overloaded,
                    _ => Refusal::Corrupt,
                };
                tracing::warn!(%target, %error, "a hint can't be read");
                self.refuse(target, key.as_bytes(), refusal);
            }
            (HandoffAsk::Drop(key), result) => {
                let dropped = matches!(result, Ok(Outcome::HintDropped(true)));
                if dropped {
                    self.coordinator.metrics.hints_delivered.increment(1);
                }
                self.drive(target, |delivery, now, _, effects| {
                    delivery.on_dropped(key.as_bytes(), dropped, now, effects)
                });
            }
        }
    }

    fn refuse(&mut self, target: NodeId, key: &[u8], refusal: Refusal) {
        self.drive(target, |delivery, now, random, effects| delivery.on_refused(key, refusal, now, random, effects));
    }

    /// Under the epoch in which the hint was read: after a newer one was adopted it may be older than what was collected.
    fn send(&mut self, target: NodeId, record: &RecordKey, epoch: u64, set: Bytes, digest: u64) {
        if self.coordinator.cluster.is_in_doubt() {
            // It may be older than what was collected since.
            return self.refuse(target, record.as_bytes(), Refusal::Overloaded);
        }
        let parts = record.parts();
        let bucket = String::from_utf8_lossy(&parts.bucket).into_owned();
        let last_write_wins =
            self.coordinator.buckets.get(&bucket).is_ok_and(|bucket| bucket.mode == Mode::LastWriteWins);
        let bytes = set.len() as u64;
        // Dropped here once it is confirmed, so the target's copy has to be as durable as this one (§6.1).
        let write =
            ReplicaWrite { bucket, key: parts.key, set, digest, last_write_wins, hint_for: Bytes::new(), sync: true };
        let id = self.next_id;
        self.next_id += 1;
        let Some(to) = self.heir(target, record) else {
            return self.refuse(target, record.as_bytes(), Refusal::Unreachable);
        };
        let view = self.coordinator.cluster.view();
        if to == self.coordinator.cluster.me {
            let ReplicaWrite { set, digest, .. } = write;
            let mode = if last_write_wins { Mode::LastWriteWins } else { Mode::Siblings };
            let op = Op::Merge { key: record.clone(), set, digest, mode, hint_for: None, epoch, sync: true };
            let done = self.done(target, HandoffAsk::Kept(record.clone(), digest));
            if let Err((done, busy)) = self.coordinator.store.submit(op, done) {
                done.not_taken(busy);
            }
            return;
        }
        let request = ReplicaRequest { id, epoch, request: Some(replica_request::Request::Write(write)) };
        let links = view.peer(to).and_then(|peer| peer.links.as_ref());
        match links.map(|links| links.of(Class::Background).send(request)) {
            Some(Ok(())) => {
                self.inbox.pace.moved.fetch_add(bytes, Ordering::Relaxed);
                self.sent.insert(id, (target, record.as_bytes().clone(), digest, to));
            }
            _ => self.refuse(target, record.as_bytes(), Refusal::Unreachable),
        }
    }

    /// Who gets a hint: its target while that is a home of the key; else a home that can be had, this node first. The
    /// others have it from that one, by comparing.
    fn heir(&self, target: NodeId, record: &RecordKey) -> Option<NodeId> {
        let view = self.coordinator.cluster.view();
        let homes = view.ring.preference_list(record.partition());
        if homes.contains(&target) {
            return Some(target);
        }
        let me = self.coordinator.cluster.me;
        let open = |id: &NodeId| {
            let links = view.peer(*id).and_then(|peer| peer.links.as_ref());
            links.is_some_and(|links| links.of(Class::Background).is_open())
        };
        homes.contains(&me).then_some(me).or_else(|| homes.iter().copied().find(open))
    }

    /// No answer of this peer will come: what was sent to it in a target's place is tried again, with the target's own.
    fn lost(&mut self, peer: NodeId) {
        let lost: Vec<(NodeId, Bytes)> =
            self.sent.extract_if(|_, (.., to)| *to == peer).map(|(_, (target, key, ..))| (target, key)).collect();
        for (target, key) in lost {
            if target != peer {
                self.refuse(target, &key, Refusal::Unreachable);
            }
        }
    }

    fn drive(&mut self, target: NodeId, step: impl FnOnce(&mut Delivery, u64, u64, &mut Effects)) {
        let now = self.coordinator.clock.now_us();
        let settings = DeliverySettings { bytes_per_s: self.rate, ..self.settings };
        let delivery = self.deliveries.entry(target).or_insert_with(|| Delivery::new(target, settings, now));
        let mut effects = Effects::new();
        step(delivery, now, rand::random(), &mut effects);
        for effect in effects {
            self.carry_out(target, effect);
        }
    }

    fn carry_out(&self, target: NodeId, effect: Effect) {
        let decode = |key: &[u8]| RecordKey::decode(key).expect("it came from the store");
        match effect {
            Effect::ReadPage { after, limit } => {
                let after = after.map(|key| decode(&key));
                self.read(Read::HintPage { target, after, limit }, target, HandoffAsk::Page);
            }
            Effect::Send { key, .. } => {
                let key = decode(&key);
                let epoch = self.coordinator.cluster.view().ring.epoch();
                self.read(Read::Hint { target, key: key.clone() }, target, HandoffAsk::Hint(key, epoch));
            }
            Effect::Drop { key, digest } => {
                self.forget(target, decode(&key), digest, HandoffAsk::Drop);
            }
            Effect::Idle => {}
        }
    }

    fn forget(&self, target: NodeId, key: RecordKey, digest: u64, what: impl FnOnce(RecordKey) -> HandoffAsk) {
        let done = self.done(target, what(key.clone()));
        if let Err((done, busy)) = self.coordinator.store.submit(Op::DropHint { target, key, digest }, done) {
            done.not_taken(busy);
        }
    }

    fn read(&self, read: Read, target: NodeId, what: HandoffAsk) {
        if let Err((done, busy)) = self.coordinator.store.read(read, self.done(target, what)) {
            done.not_taken(busy);
        }
    }

    fn done(&self, target: NodeId, what: HandoffAsk) -> Done {
        Done::Handoff { events: self.coordinator.handoff.clone(), target, what }
    }
}

fn refusal_of(refusal: Refused) -> Refusal {
    match refusal {
        Refused::Unreachable | Refused::Stopping => Refusal::Unreachable,
        Refused::DiskFull => Refusal::DiskFull,
        // Only reads are refused by who is being filled.
        Refused::Overloaded | Refused::HintsFull | Refused::Refilling => Refusal::Overloaded,
        Refused::Sealed => Refusal::Sealed,
        // The target's own copy is damaged; it may be mended by then.
        Refused::Corrupt | Refused::Invalid => Refusal::Invalid,
    }
}
