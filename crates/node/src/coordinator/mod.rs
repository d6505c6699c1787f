//! Coordination of clients' requests (§4.5, 6.4): drives one `quorum` machine per request.
//!
//! There is no task per request and none per replica call. A request is an entry in a [`Table`]; whoever brings news
//! of it (a link's reader, the engine's threads, the ticker) takes one step of its machine under the entry's lock and
//! carries out the effects: queue a message, queue an engine operation, give the answer. No step waits for anything,
//! and no step begins another request (it would lock a second entry).

mod again;
mod answers;
mod forward;
mod get;
mod put;
mod table;
mod ticker;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use bytes::Bytes;
use dynamo_quorum::{Durability, Refusal};
use dynamo_ring::{NodeId, Partition, Position};
use dynamo_storage::{Op, Read, RecordKey, StoreError};
use dynamo_version::{Causality, ContextCodec, Timestamp};
use dynamo_wire::v1::{ErrorCode, ReplicaRefusal, ReplicaReply, ReplicaRequest, replica_reply::Reply};

use self::{
    again::Again,
    answers::bad_context,
    forward::ForwardEntry,
    get::GetEntry,
    put::{PutEntry, Write},
    table::{Ended, Table},
    ticker::Ticker,
};
pub use self::{
    answers::{refusal_of_store, refusal_of_wire, wire_refusal},
    table::RequestId,
};
use crate::{
    buckets::{BucketSettings, Buckets},
    clock::Clock,
    cluster::{Cluster, Standing, View},
    completion::{Done, LocalStore},
    handoff::HandoffEvents,
    keeping::{KeeperEvents, KeeperNews},
    link::Class,
    lost::Lost,
    metrics::NodeMetrics,
    request::{ClientRequest, Refused, ReplyTo},
};

/// What a client may ask for at most.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// Bytes of a key.
    pub key_bytes: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Items of a batch.
    pub batch_items: usize,
    /// Requests of one session that are not answered yet.
    pub session_inflight: usize,
    /// Requests of the whole node that are not finished yet; more are refused as overload.
    pub inflight: usize,
}

/// How long a request waits, microseconds.
#[derive(Debug, Clone, Copy)]
pub struct RequestTimes {
    /// For its answer, in all.
    pub deadline_us: u64,
    /// For one replica, before another is asked beside it.
    pub replica_us: u64,
    /// For the first readers, before one more is asked; None: the observed p95.
    pub hedge_us: Option<u64>,
}

/// What a coordinator is made of.
pub struct Parts {
    /// The ring, and who is up.
    pub cluster: Arc<Cluster>,
    /// The buckets.
    pub buckets: Arc<Buckets>,
    /// Seals and opens clients' contexts.
    pub contexts: ContextCodec,
    /// This node's own replica.
    pub store: Arc<LocalStore>,
    /// Hears of kept hints.
    pub handoff: HandoffEvents,
    /// Hears of peers whose ring is another.
    pub keeper: KeeperEvents,
    /// What a client may ask for.
    pub limits: RequestLimits,
    /// How long requests wait.
    pub times: RequestTimes,
    /// What an acknowledgement promises (§6.1).
    pub durability: Durability,
    /// The node's clock.
    pub clock: Clock,
    /// The node's figures.
    pub metrics: Arc<NodeMetrics>,
    /// Where engine threads may start a task.
    pub runtime: tokio::runtime::Handle,
}

/// All that a request needs; shared by services, links and engine threads.
pub struct Coordinator {
    parts: Parts,
    table: Table<Entry>,
    ticker: Ticker,
    again: Again,
    /// When a stream to a peer last broke; 0: none did.
    broke_us: AtomicU64,
    hedge_us: AtomicU64,
    starting: AtomicBool,
    stopping: AtomicBool,
}

impl std::ops::Deref for Coordinator {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// A request in flight.
enum Entry {
    Get(GetEntry),
    Put(PutEntry),
    Forward(ForwardEntry),
}

/// Until there are enough reads to know their p95.
const HEDGE_DEFAULT_US: u64 = 20_000;
/// Hedging sooner than this costs more reads than it saves time.
const HEDGE_MIN_US: u64 = 1_000;

impl Coordinator {
    /// A coordinator with nothing in flight.
    pub fn new(parts: Parts) -> Arc<Self> {
        let hedge_us = AtomicU64::new(parts.times.hedge_us.unwrap_or(HEDGE_DEFAULT_US));
        Arc::new(Self {
            parts,
            table: Table::new(),
            ticker: Ticker::default(),
            again: Again::default(),
            broke_us: AtomicU64::new(0),
            hedge_us,
            starting: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
        })
    }

    /// Takes a request; `reply` gets its answer, at once or later.
    pub fn begin(self: &Arc<Self>, request: ClientRequest, reply: ReplyTo) {
        let (starting, stopping) = (self.starting.load(Ordering::Relaxed), self.stopping.load(Ordering::Relaxed));
        if starting || stopping {
            let what = if stopping { "stopping" } else { "starting" };
            let message = format!("the node is {what}: nothing was read or written; ask another node");
            return self.refuse(Refused::new(ErrorCode::NotReady, message), reply);
        }
        if self.table.len() >= self.limits.inflight {
            let message = format!(
                "the node has {} requests in flight, its limit: nothing was read or written; try again or ask another node",
                self.limits.inflight
            );
            return self.refuse(Refused::new(ErrorCode::Overloaded, message), reply);
        }
        match request {
            ClientRequest::Get(get) => self.begin_get(get, reply),
            ClientRequest::Put(put) => self.begin_write(Write::from_put(put), reply),
            ClientRequest::Delete(delete) => self.begin_write(Write::from_delete(delete), reply),
            ClientRequest::Forwarded(put) => self.begin_write(Write::from_peer(put), reply),
        }
    }

    /// Takes requests from now on.
    pub fn open(&self) {
        self.starting.store(false, Ordering::Relaxed);
    }

    /// Refuses new requests from now on; those in flight go on.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Requests not finished yet.
    pub fn in_flight(&self) -> usize {
        self.table.len() + self.again.len()
    }

    /// Takes the p95 of recent reads as the time after which one more replica is asked.
    pub fn adapt_hedging(&self) {
        if self.times.hedge_us.is_none()
            && let Some(p95) = self.metrics.p95_get_us()
        {
            self.hedge_us.store(p95.max(HEDGE_MIN_US), Ordering::Relaxed);
        }
    }

    /// A reply came over a link.
    pub fn on_reply(self: &Arc<Self>, from: NodeId, ReplicaReply { id, reply }: ReplicaReply) {
        let id = RequestId(id);
        match reply {
            Some(Reply::Ack(ack)) => self.put_acked(id, from, ack.durable),
            Some(Reply::State(state)) => self.got_state(id, from, state),
            Some(Reply::Put(result)) => self.forwarded(id, from, result),
            Some(Reply::Refusal(refusal)) => {
                self.compare_rings(from, &refusal);
                self.on_refusal(id, from, answers::refusal_of_wire(&refusal));
            }
            Some(Reply::Keep(_)) | None => self.on_refusal(id, from, Refusal::Invalid),
        }
    }

    /// A refusal tells the peer's epoch where that is the reason: the one whose ring is older gets the newer one.
    fn compare_rings(&self, peer: NodeId, refusal: &ReplicaRefusal) {
        if refusal.epoch == 0 {
            return;
        }
        match refusal.epoch.cmp(&self.epoch()) {
            std::cmp::Ordering::Greater => self.keeper.send(KeeperNews::Newer(peer)),
            std::cmp::Ordering::Less => self.keeper.send(KeeperNews::Behind(peer)),
            std::cmp::Ordering::Equal => {}
        }
    }

    fn on_refusal(self: &Arc<Self>, id: RequestId, from: NodeId, refusal: Refusal) {
        self.table.step(id, |entry| self.refused_by(id, entry, from, refusal));
    }

    fn refused_by(self: &Arc<Self>, id: RequestId, entry: &mut Entry, from: NodeId, refusal: Refusal) -> Ended {
        match entry {
            Entry::Put(put) => self.put_refused(id, put, from, refusal),
            Entry::Get(get) => self.get_refused(id, get, from, refusal),
            Entry::Forward(forward) => self.forward_refused(id, forward, from, refusal),
        }
    }

    /// No reply of `peer` will come to what was sent so far.
    pub fn peer_lost(self: &Arc<Self>, peer: NodeId, lost: Lost) {
        if lost == Lost::Broke {
            self.broke_us.store(self.clock.now_us(), Ordering::Relaxed);
        }
        self.table.sweep(|id, entry| self.refused_by(id, entry, peer, Refusal::Unreachable));
    }

    fn insert(&self, entry: Entry) -> RequestId {
        let id = self.table.insert(entry);
        self.ticker.wake();
        id
    }

    fn refuse(&self, refused: Refused, reply: ReplyTo) {
        self.metrics.refused(refused.code);
        reply.give(Err(refused));
    }

    fn epoch(&self) -> u64 {
        self.cluster.view().ring.epoch()
    }

    /// Queues a request for a peer.
    fn send(&self, to: NodeId, request: ReplicaRequest) -> Result<(), Refusal> {
        let view = self.cluster.view();
        let links = view.peer(to).and_then(|peer| peer.links.as_ref()).ok_or(Refusal::Unreachable)?;
        links.of(Class::Foreground).send(request).map_err(|_| Refusal::Unreachable)
    }

    /// Queues an engine operation; a full queue is an answer like any other, given on another thread than this step's.
    fn submit(&self, op: Op, done: Done) {
        if let Err((done, busy)) = self.store.submit(op, done) {
            done.not_taken(busy);
        }
    }

    fn read(&self, read: Read, done: Done) {
        if let Err((done, busy)) = self.store.read(read, done) {
            done.not_taken(busy);
        }
    }

    /// Takes note that the disk can't be written, so that the next write goes elsewhere at once.
    fn store_failed(&self, error: &StoreError) {
        self.metrics.engine_errors.increment(1);
        self.report_damage(error);
        if matches!(error, StoreError::DiskFull | StoreError::DiskFailing(_)) {
            self.cluster.view().me().set_standing(Standing::ReadOnly);
        }
    }

    /// A damaged record is had again from the other homes.
    fn report_damage(&self, error: &StoreError) {
        if let StoreError::Corrupt { record: Some(record), .. } = error {
            self.keeper.send(KeeperNews::Damaged(record.as_bytes().clone()));
        }
    }

    fn address(&self, view: &View, bucket: &BucketSettings, key: &Bytes) -> Result<(Partition, RecordKey), Refused> {
        let limit = self.limits.key_bytes;
        if key.is_empty() || key.len() > limit {
            let what =
                if key.is_empty() { "the key is empty".to_owned() } else { format!("the key has {} bytes", key.len()) };
            let message = format!("{what}: keys have 1 to {limit} bytes; nothing was read or written");
            return Err(Refused::new(ErrorCode::InvalidArgument, message));
        }
        let partition = view.ring.partitions().partition_of(Position::of(key));
        let record = RecordKey::new(partition, bucket.name.as_bytes(), key, None).map_err(|error| {
            Refused::new(ErrorCode::InvalidArgument, format!("{error}: nothing was read or written"))
        })?;
        Ok((partition, record))
    }

    fn check_value(&self, value: &Bytes) -> Result<(), Refused> {
        let limit = self.limits.value_bytes;
        if value.len() <= limit {
            return Ok(());
        }
        let message = format!(
            "the value has {} bytes, the limit is {limit} (limits.value_bytes): nothing was written; split it, or store it elsewhere and keep a reference here",
            value.len()
        );
        Err(Refused::new(ErrorCode::InvalidArgument, message))
    }

    fn open_context(
        &self,
        bucket: &BucketSettings,
        key: &[u8],
        context: &[u8],
    ) -> Result<(Causality, Timestamp), Refused> {
        if context.is_empty() {
            return Ok((Causality::default(), Timestamp(0)));
        }
        self.contexts.open(&bucket.name, key, context).map_err(|error| bad_context(&error))
    }
}

/// R or W of a request: its own, or the bucket's, or a majority of N.
fn quorum(letter: char, asked: u32, bucket: Option<u8>, n: u8) -> Result<u8, Refused> {
    match u8::try_from(asked) {
        Ok(0) => Ok(bucket.unwrap_or(n / 2 + 1).min(n)),
        Ok(asked) if asked <= n => Ok(asked),
        _ => Err(Refused::new(
            ErrorCode::InvalidArgument,
            format!(
                "{letter} = {asked} is more than the N = {n} replicas of a key: nothing was read or written; choose {letter} from 1 to {n}"
            ),
        )),
    }
}
