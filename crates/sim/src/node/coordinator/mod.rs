//! Coordination of clients' requests (§4.5, 6.4): the simulator's `node/src/coordinator/`. One `quorum` machine a request.

pub(super) mod again;
mod forward;
mod get;
mod put;

use std::collections::BTreeMap;

use bytes::Bytes;
use dynamo_quorum::{Durability, NotEnough, Refusal};
use dynamo_storage::StoreError;
use dynamo_version::{Causality, Timestamp};

use self::{again::Waiting, forward::ForwardEntry, get::GetEntry, put::PutEntry};
use super::Node;
use crate::{
    coverage::cover,
    message::{Answer, Ask, ClientRequest, Refused, ReplicaReply, Reply, WriteAsk},
    plan::DurabilityPlan,
    world::{Kernel, NodeEvent},
};

/// For an answer, in all, microseconds.
const DEADLINE_US: u64 = 5_000_000;
/// For one replica, before another is asked beside it, microseconds.
const REPLICA_US: u64 = 500_000;
const HEDGE_DEFAULT_US: u64 = 20_000;
const HEDGE_MIN_US: u64 = 1_000;
/// How often the requests in flight are looked at while there are any, microseconds.
const TICK_US: u64 = 1_000;

/// A write as it came from a client or a peer.
#[derive(Debug, Clone)]
pub struct Write {
    pub key: u16,
    pub ask: WriteAsk,
    /// A peer sent it on: it is coordinated here, so that it can't go in circles.
    pub forwarded: bool,
}

/// Where an answer goes.
#[derive(Debug, Clone, Copy)]
pub enum ReplyTo {
    Client { client: u8, attempt: u32 },
    Peer { stream: u16, generation: u32, id: u64 },
}

/// A request in flight.
enum Entry {
    Get(Box<GetEntry>),
    Put(Box<PutEntry>),
    Forward(Box<ForwardEntry>),
}

/// Whether a request is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Yes,
    No,
}

/// The requests in flight, by number. A number is never used twice.
#[derive(Default)]
pub struct Requests {
    entries: BTreeMap<u64, Entry>,
    last: u64,
    /// Those that met the ring while it turned.
    again: Vec<Waiting>,
    /// When the next look at the clock is planned.
    tick_at: Option<u64>,
}

impl Requests {
    pub fn len(&self) -> usize {
        self.entries.len() + self.again.len()
    }

    fn insert(&mut self, entry: Entry) -> u64 {
        self.last += 1;
        self.entries.insert(self.last, entry);
        self.last
    }
}

/// How long recent reads took, for the time after which one replica more is asked.
pub struct Latencies {
    recent: Vec<u32>,
    next: usize,
    hedge_us: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { recent: Vec::new(), next: 0, hedge_us: HEDGE_DEFAULT_US }
    }
}

impl Latencies {
    const KEPT: usize = 64;

    fn took(&mut self, us: u64) {
        let us = u32::try_from(us).unwrap_or(u32::MAX);
        if self.recent.len() < Self::KEPT {
            self.recent.push(us);
        } else {
            self.recent[self.next % Self::KEPT] = us;
        }
        self.next += 1;
    }

    /// Takes the p95 of recent reads.
    pub fn adapt_hedging(&mut self) {
        let mut sorted = self.recent.clone();
        sorted.sort_unstable();
        if let Some(p95) = sorted.get(sorted.len() * 95 / 100) {
            self.hedge_us = u64::from(*p95).max(HEDGE_MIN_US);
        }
    }
}

impl Node {
    /// Takes a client's request; its answer comes at once or later.
    pub(super) fn begin_request(&mut self, request: ClientRequest, kernel: &mut Kernel) {
        let ClientRequest { client, attempt, key, ask } = request;
        let reply = ReplyTo::Client { client, attempt };
        match ask {
            Ask::Get => self.begin_get(key, reply, kernel),
            Ask::Write(ask) => self.take_write(Write { key, ask, forwarded: false }, reply, kernel),
        }
    }

    /// A write from a client or a peer, unless this node is about to stop.
    pub(super) fn take_write(&mut self, write: Write, reply: ReplyTo, kernel: &mut Kernel) {
        if self.stopping {
            return self.give(reply, Err(Refused::NotReady), kernel);
        }
        self.begin_write(write, reply, kernel);
    }

    fn give(&mut self, reply: ReplyTo, answer: Answer, kernel: &mut Kernel) {
        match reply {
            ReplyTo::Client { client, attempt } => self.answer_client(client, attempt, answer, kernel),
            ReplyTo::Peer { stream, generation, id } => {
                kernel.send_reply(stream, generation, ReplicaReply { id, reply: Reply::Put(answer) }, 0);
            }
        }
    }

    fn durability(&self) -> Durability {
        match self.shape.plan.cluster.durability {
            DurabilityPlan::Fsync => Durability::AllDurable,
            DurabilityPlan::OneFsync => Durability::OneDurable,
            DurabilityPlan::Interval => Durability::Buffered,
        }
    }

    fn open_context(&self, key: u16, context: &[u8]) -> Result<(Causality, Timestamp), Refused> {
        if context.is_empty() {
            return Ok((Causality::default(), Timestamp(0)));
        }
        let (bucket, key) = (self.shape.bucket_of(key), self.shape.key(key));
        self.contexts.open(&bucket.name, key.name.as_bytes(), context).map_err(|_| Refused::BadContext)
    }

    fn seal(&self, key: u16, seen: &Causality, latest: Timestamp) -> Bytes {
        let (bucket, key) = (self.shape.bucket_of(key), self.shape.key(key));
        self.contexts.seal(&bucket.name, key.name.as_bytes(), seen, latest).into()
    }

    /// A reply came over a link.
    pub(super) fn on_replica_reply(&mut self, peer: u8, reply: ReplicaReply, kernel: &mut Kernel) {
        let id = reply.id;
        match reply.reply {
            Reply::Ack { durable } => self.put_acked(id, peer, durable, kernel),
            Reply::State(state) => self.answered(id, peer, state, kernel),
            Reply::Put(answer) => self.forwarded(id, peer, answer, kernel),
            Reply::Refusal(refusal, epoch) => {
                self.compare_rings(peer, epoch, kernel);
                self.on_refusal(id, peer, refusal, kernel);
            }
            Reply::Keep(_) => self.on_refusal(id, peer, Refusal::Invalid, kernel),
        }
    }

    /// A refusal tells the peer's epoch where that is the reason: the one whose ring is older gets the newer one.
    fn compare_rings(&mut self, peer: u8, epoch: u64, kernel: &mut Kernel) {
        match epoch.cmp(&self.epoch()) {
            _ if epoch == 0 => {}
            std::cmp::Ordering::Greater => self.pull_ring_from(peer, kernel),
            std::cmp::Ordering::Less => self.tell_ring_to(peer, kernel),
            std::cmp::Ordering::Equal => {}
        }
    }

    fn on_refusal(&mut self, id: u64, from: u8, refusal: Refusal, kernel: &mut Kernel) {
        self.with_entry(id, kernel, |node, entry, kernel| node.refused_by(id, entry, from, refusal, kernel));
    }

    fn refused_by(&mut self, id: u64, entry: &mut Entry, from: u8, refusal: Refusal, kernel: &mut Kernel) -> Ended {
        match entry {
            Entry::Put(put) => self.put_refused(id, put, from, refusal, kernel),
            Entry::Get(get) => self.get_refused(id, get, from, refusal, kernel),
            Entry::Forward(forward) => self.forward_refused(id, forward, from, refusal, kernel),
        }
    }

    /// No reply of `peer` will come to what was sent so far.
    pub(super) fn peer_lost(&mut self, peer: u8, kernel: &mut Kernel) {
        let ids: Vec<u64> = self.requests.entries.keys().copied().collect();
        for id in ids {
            self.on_refusal(id, peer, Refusal::Unreachable, kernel);
        }
    }

    /// One step of a request: it is taken out meanwhile, so the step may do as it likes with the node.
    fn with_entry(
        &mut self,
        id: u64,
        kernel: &mut Kernel,
        step: impl FnOnce(&mut Self, &mut Entry, &mut Kernel) -> Ended,
    ) {
        let Some(mut entry) = self.requests.entries.remove(&id) else { return };
        if step(self, &mut entry, kernel) == Ended::No {
            self.plan_tick(entry.next_time(), kernel);
            self.requests.entries.insert(id, entry);
        }
    }

    fn insert(&mut self, entry: Entry, kernel: &mut Kernel) -> u64 {
        self.plan_tick(entry.next_time(), kernel);
        self.requests.insert(entry)
    }

    /// The real ticker looks each millisecond; here it looks when there is something to look for.
    fn plan_tick(&mut self, next: Option<u64>, kernel: &mut Kernel) {
        let Some(next) = next else { return };
        let at = next.max(kernel.clock_us()).next_multiple_of(TICK_US);
        if self.requests.tick_at.is_none_or(|planned| planned > at) {
            self.requests.tick_at = Some(at);
            let after = at - kernel.clock_us();
            kernel.node_after(after, self.me, self.life, NodeEvent::Tick);
        }
    }

    /// Time for the requests in flight.
    pub(super) fn tick(&mut self, kernel: &mut Kernel) {
        let now = kernel.clock_us();
        if self.requests.tick_at.is_none_or(|at| at > now) {
            return;
        }
        self.requests.tick_at = None;
        let due = |entry: &Entry| entry.next_time().is_some_and(|next| next <= now);
        let entries = self.requests.entries.iter();
        let ids: Vec<u64> = entries.filter(|(_, entry)| due(entry)).map(|(id, _)| *id).collect();
        for id in ids {
            self.with_entry(id, kernel, |node, entry, kernel| match entry {
                Entry::Put(put) => node.put_time(id, put, now, kernel),
                Entry::Get(get) => node.get_time(id, get, now, kernel),
                Entry::Forward(forward) => node.forward_time(id, forward, now, kernel),
            });
        }
        self.begin_again(now, kernel);
        let entries = self.requests.entries.values().filter_map(Entry::next_time);
        let next = entries.chain(self.requests.again.iter().map(|waiting| waiting.due_us)).min();
        self.plan_tick(next, kernel);
    }
}

impl Entry {
    fn next_time(&self) -> Option<u64> {
        match self {
            Self::Put(put) => put.machine.next_time(),
            Self::Get(get) => get.machine.next_time(),
            Self::Forward(forward) => Some(forward.deadline_us),
        }
    }
}

fn not_enough(error: &NotEnough) -> Refused {
    Refused::NotEnough { begun: error.begun, timed_out: error.timed_out }
}

/// The coordinator's own engine could not begin the write.
fn refused_by_store(error: &StoreError) -> Refused {
    cover!("put.not_minted");
    match error {
        StoreError::DiskFull | StoreError::HintsFull { .. } => Refused::DiskFull,
        StoreError::Closed | StoreError::Sealed { .. } => Refused::NotReady,
        StoreError::TooManySiblings { .. } => Refused::TooManySiblings,
        _ => Refused::Internal,
    }
}
