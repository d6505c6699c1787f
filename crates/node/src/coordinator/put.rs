//! Coordinating a put or delete (§4.5, 4.6): mint here, send the merged state to the others, count acknowledgements.
//!
//! The order is what makes it safe: the version gets its dot and reaches this node's operating system first (the
//! engine's `applied`), then travels to the other replicas while this node's own `fsync` is under way.

use std::sync::Arc;

use bytes::Bytes;
use dynamo_quorum::{Candidate, NotEnough, Put, PutEffect, PutEffects, PutSettings, Refusal};
use dynamo_ring::NodeId;
use dynamo_storage::{Applied, Op, RecordKey, StoreError};
use dynamo_version::{Causality, Dot, Mode, Payload, Timestamp};
use dynamo_wire::v1::{
    DeleteRequest, ErrorCode, ForwardedPut, PutRequest, ReplicaRequest, ReplicaWrite, replica_request,
};
use smallvec::SmallVec;

use super::{
    Coordinator, Entry, RequestId,
    again::{Made, Once},
    answers::{not_enough, refusal_of_store, refused_by_store},
    forward, quorum,
    table::Ended,
};
use crate::{
    buckets::BucketSettings,
    clock::Clock,
    cluster::{Candidates, View},
    completion::{Done, Step},
    request::{ClientResponse, Refused, ReplyTo},
};

/// A write as it came from a client or a peer.
#[derive(Debug)]
pub struct Write {
    pub bucket: String,
    pub key: Bytes,
    /// None: a delete.
    pub value: Option<Bytes>,
    pub context: Bytes,
    pub w: u32,
    /// A peer sent it on: it is coordinated here, whoever else might be better placed, so that it can't go in circles.
    pub forwarded: bool,
}

impl Write {
    pub fn from_put(put: PutRequest) -> Self {
        let PutRequest { bucket, key, value, context, w } = put;
        Self { bucket, key, value: Some(value), context, w, forwarded: false }
    }

    pub fn from_delete(delete: DeleteRequest) -> Self {
        let DeleteRequest { bucket, key, context, w } = delete;
        Self { bucket, key, value: None, context, w, forwarded: false }
    }

    pub fn from_peer(put: ForwardedPut) -> Self {
        let ForwardedPut { bucket, key, value, tombstone, context, w } = put;
        Self { bucket, key, value: (!tombstone).then_some(value), context, w, forwarded: true }
    }
}

/// A write that was found to be well formed.
struct Checked {
    bucket: Arc<BucketSettings>,
    record: RecordKey,
    seen: Causality,
    seen_ts: Timestamp,
    settings: PutSettings,
    candidates: Candidates,
}

/// A write in flight.
pub(super) struct PutEntry {
    record: RecordKey,
    bucket: Arc<BucketSettings>,
    key: Bytes,
    /// What the writer has seen.
    seen: Causality,
    seen_ts: Timestamp,
    machine: Put,
    /// The state that replicas get, and its digest; empty until minted.
    set: Bytes,
    digest: u64,
    dot: Option<Dot>,
    siblings: u32,
    /// The sealed context of the answer.
    context: Bytes,
    epoch: u64,
    /// The key's homes under it.
    homes: SmallVec<[NodeId; 4]>,
    /// The version is from an earlier attempt: this node's own record may not have it.
    again: bool,
    began_us: u64,
    /// What is written again where the ring turned before there was a version: value, the client's context, W.
    value: Option<Bytes>,
    given: Bytes,
    w: u32,
    forwarded: bool,
    /// The client's patience.
    until_us: u64,
    reply: Option<ReplyTo>,
}

impl Coordinator {
    pub(super) fn begin_write(self: &Arc<Self>, write: Write, reply: ReplyTo) {
        self.write_until(write, reply, self.clock.now_us() + self.times.deadline_us);
    }

    pub(super) fn write_until(self: &Arc<Self>, write: Write, reply: ReplyTo, until_us: u64) {
        let view = self.cluster.view();
        let checked = match self.check_write(&view, &write) {
            Ok(checked) => checked,
            Err(refused) => return self.refuse(refused, reply),
        };
        // Who has left sends on also what was sent on to it by a node that has not heard of that.
        if (!write.forwarded || !view.is_member())
            && !forward::coordinates_here(self.cluster.me, &checked.candidates)
            && let Some(home) = forward::next_coordinator(&checked.candidates, &[])
        {
            return self.forward(home, checked.candidates, write, reply);
        }
        if !view.is_member() {
            return self.refuse(forward::outside(), reply);
        }
        let machine = Put::new(self.cluster.me, &checked.candidates, checked.settings, true, self.clock.now_us());
        match machine {
            Ok(machine) => self.mint(&view, machine, checked, write, (reply, until_us)),
            Err(error) => self.refuse(not_enough(&error), reply),
        }
    }

    fn check_write(&self, view: &View, write: &Write) -> Result<Checked, Refused> {
        let bucket = self.buckets.get(&write.bucket)?;
        let (partition, record) = self.address(view, &bucket, &write.key)?;
        let settings = self.put_settings(view, &bucket, write.w, self.times.deadline_us)?;
        if let Some(value) = &write.value {
            self.check_value(value)?;
        } else if write.context.is_empty() && bucket.mode == Mode::Siblings {
            return Err(Refused::new(
                ErrorCode::BadContext,
                "a delete in a bucket that keeps siblings needs the context of a get, or it would hide versions that nobody read: nothing was deleted; get the key first",
            ));
        }
        let (seen, seen_ts) = self.open_context(&bucket, &write.key, &write.context)?;
        let candidates = view.candidates(partition, bucket.strict);
        Ok(Checked { bucket, record, seen, seen_ts, settings, candidates })
    }

    pub(super) fn put_settings(
        &self,
        view: &View,
        bucket: &BucketSettings,
        w: u32,
        deadline_us: u64,
    ) -> Result<PutSettings, Refused> {
        Ok(PutSettings {
            w: quorum('W', w, bucket.w, view.ring.n())?,
            sloppy: !bucket.strict,
            durability: self.durability,
            replica_timeout_us: self.times.replica_us,
            deadline_us,
        })
    }

    /// Has the engine give the version its dot; the rest follows when it is with the operating system.
    fn mint(
        self: &Arc<Self>,
        view: &View,
        machine: Put,
        checked: Checked,
        write: Write,
        (reply, until_us): (ReplyTo, u64),
    ) {
        let Checked { bucket, record, seen, seen_ts, candidates, .. } = checked;
        let (hint_for, sync, mode) = (machine.local_hint(), machine.local_sync(), bucket.mode);
        let id = self.insert(Entry::Put(PutEntry {
            record: record.clone(),
            bucket,
            key: write.key,
            seen: seen.clone(),
            seen_ts,
            machine,
            set: Bytes::new(),
            digest: 0,
            dot: None,
            siblings: 0,
            context: Bytes::new(),
            epoch: view.ring.epoch(),
            homes: homes(&candidates),
            again: false,
            began_us: self.clock.now_us(),
            value: write.value.clone(),
            given: write.context,
            w: write.w,
            forwarded: write.forwarded,
            until_us,
            reply: Some(reply),
        }));
        let payload = write.value.map_or(Payload::Tombstone, Payload::Value);
        let wall_ms = Clock::wall_ms();
        let (context_ts, epoch) = (seen_ts, view.ring.epoch());
        let op = Op::Write { key: record, context: seen, context_ts, payload, mode, wall_ms, hint_for, epoch, sync };
        self.submit(op, Done::write(self, id, Step::Mint, sync, hint_for));
    }

    /// The version has its dot and is with the operating system: the other replicas may have it.
    pub(crate) fn minted(self: &Arc<Self>, id: RequestId, applied: &Applied) {
        self.with_put(id, |entry, effects, now| {
            entry.set = applied.set.clone();
            entry.digest = applied.digest;
            (entry.dot, entry.siblings) = (applied.dot, applied.siblings as u32);
            let mut seen = std::mem::take(&mut entry.seen);
            if let Some(dot) = applied.dot {
                seen.insert(dot);
            }
            // What is written with this context has to be stamped later than this write.
            let latest = entry.seen_ts.max(applied.timestamp);
            let sealed = self.contexts.seal(&entry.bucket.name, &entry.key, &seen, latest);
            self.metrics.version(sealed.len(), applied.siblings);
            entry.context = sealed.into();
            entry.machine.start(now, effects);
        });
    }

    /// This node's own copy is as durable as was asked, or could not be made.
    pub(crate) fn stored_here(self: &Arc<Self>, id: RequestId, result: Result<bool, StoreError>) {
        let error = match result {
            Ok(durable) => return self.put_acked(id, self.cluster.me, durable),
            Err(error) => error,
        };
        self.store_failed(&error);
        self.table.step(id, |entry| {
            let Entry::Put(entry) = entry else { return Ended::No };
            if !entry.set.is_empty() {
                return self.put_refused(id, entry, self.cluster.me, refusal_of_store(&error));
            }
            // Not minted: there is no version to send, and nothing was written anywhere.
            let Some(reply) = entry.reply.take() else { return Ended::Yes };
            if matches!(error, StoreError::Sealed { .. }) && self.may_try_again(entry.until_us) {
                self.mint_again(entry, reply);
            } else {
                self.refuse(refused_by_store(&error), reply);
            }
            Ended::Yes
        });
    }

    /// A replica's answer to a write.
    pub(super) fn put_acked(self: &Arc<Self>, id: RequestId, from: NodeId, durable: bool) {
        self.with_put(id, |entry, effects, now| entry.machine.on_ack(from, durable, now, effects));
    }

    fn with_put(self: &Arc<Self>, id: RequestId, news: impl FnOnce(&mut PutEntry, &mut PutEffects, u64)) {
        self.table.step(id, |entry| {
            let Entry::Put(entry) = entry else { return Ended::No };
            let mut effects = PutEffects::new();
            news(entry, &mut effects, self.clock.now_us());
            self.carry_out_put(id, entry, effects)
        });
    }

    /// A replica's refusal, or its silence. The caller holds the entry.
    pub(super) fn put_refused(
        self: &Arc<Self>,
        id: RequestId,
        entry: &mut PutEntry,
        from: NodeId,
        refusal: Refusal,
    ) -> Ended {
        let mut effects = PutEffects::new();
        entry.machine.on_refusal(from, refusal, self.clock.now_us(), &mut effects);
        self.carry_out_put(id, entry, effects)
    }

    /// Time passes. The caller holds the entry.
    pub(super) fn put_time(self: &Arc<Self>, id: RequestId, entry: &mut PutEntry, now: u64) -> Ended {
        if entry.machine.next_time().is_some_and(|next| next > now) {
            return Ended::No;
        }
        let mut effects = PutEffects::new();
        entry.machine.on_time(now, &mut effects);
        self.carry_out_put(id, entry, effects)
    }

    fn carry_out_put(self: &Arc<Self>, id: RequestId, entry: &mut PutEntry, mut effects: PutEffects) -> Ended {
        let mut next = 0;
        while next < effects.len() {
            let effect = effects[next];
            next += 1;
            match effect {
                PutEffect::Send { to, hint_for, sync } => {
                    if let Err(refusal) = self.send_write(id, entry, to, hint_for, sync) {
                        entry.machine.on_refusal(to, refusal, self.clock.now_us(), &mut effects);
                    }
                }
                PutEffect::KeepHint { hint_for } => self.keep_hint(hint_for, entry),
                PutEffect::Acknowledge { .. } => {
                    self.metrics.put(self.clock.now_us() - entry.began_us);
                    if let Some(reply) = entry.reply.take() {
                        let (context, siblings) = (entry.context.clone(), entry.siblings);
                        reply.give(Ok(ClientResponse::Written { context, siblings }));
                    }
                }
                PutEffect::Fail(error) => {
                    let Some(reply) = entry.reply.take() else { continue };
                    // The engine has the write, or has yet to come to it.
                    let error = NotEnough { begun: true, ..error };
                    if self.is_passing(&error) && !entry.set.is_empty() && self.may_try_again(entry.until_us) {
                        self.send_again(entry, error, reply);
                    } else {
                        self.refuse(not_enough(&error), reply);
                    }
                }
                PutEffect::Finished => return Ended::Yes,
            }
        }
        Ended::No
    }

    /// The same write under the newer ring: nothing was made of it yet.
    fn mint_again(&self, entry: &PutEntry, reply: ReplyTo) {
        let (bucket, key, value, w) = (entry.bucket.name.to_string(), entry.key.clone(), entry.value.clone(), entry.w);
        let write = Write { bucket, key, value, context: entry.given.clone(), w, forwarded: entry.forwarded };
        self.try_again(Once::Write(write), reply, entry.until_us);
    }

    /// The same version, under the newer ring or over new streams.
    fn send_again(&self, entry: &PutEntry, last: NotEnough, reply: ReplyTo) {
        let made = Made {
            record: entry.record.clone(),
            bucket: entry.bucket.clone(),
            key: entry.key.clone(),
            set: entry.set.clone(),
            digest: entry.digest,
            dot: entry.dot,
            siblings: entry.siblings,
            context: entry.context.clone(),
            w: entry.w,
            began_us: entry.began_us,
            epoch: entry.epoch,
            homes: entry.homes.clone(),
            last,
        };
        self.try_again(Once::Made(Box::new(made)), reply, entry.until_us);
    }

    /// Sends a version that exists to the homes under `view`.
    pub(super) fn go_on(
        self: &Arc<Self>,
        view: &View,
        machine: Put,
        candidates: &[Candidate],
        made: Made,
        (reply, until_us): (ReplyTo, u64),
    ) {
        let id = self.insert(Entry::Put(PutEntry {
            record: made.record,
            bucket: made.bucket,
            key: made.key,
            seen: Causality::default(),
            seen_ts: Timestamp(0),
            machine,
            set: made.set,
            digest: made.digest,
            dot: made.dot,
            siblings: made.siblings,
            context: made.context,
            epoch: view.ring.epoch(),
            homes: homes(candidates),
            again: true,
            began_us: made.began_us,
            value: None,
            given: Bytes::new(),
            w: made.w,
            forwarded: true,
            until_us,
            reply: Some(reply),
        }));
        self.with_put(id, |entry, effects, now| entry.machine.start(now, effects));
    }

    fn send_write(
        self: &Arc<Self>,
        id: RequestId,
        entry: &PutEntry,
        to: NodeId,
        hint_for: Option<NodeId>,
        sync: bool,
    ) -> Result<(), Refusal> {
        if hint_for.is_some() {
            self.metrics.hinted.increment(1);
        }
        let (set, digest, mode) = (entry.set.clone(), entry.digest, entry.bucket.mode);
        if to == self.cluster.me {
            let (key, epoch) = (entry.record.clone(), entry.epoch);
            let op = Op::Merge { key, set, digest, mode, hint_for, epoch, sync };
            self.submit(op, Done::write(self, id, Step::Write, sync, hint_for));
            return Ok(());
        }
        let write = ReplicaWrite {
            bucket: entry.bucket.name.to_string(),
            key: entry.key.clone(),
            set,
            digest,
            last_write_wins: mode == Mode::LastWriteWins,
            hint_for: hint_for.map_or_else(Bytes::new, |home| Bytes::copy_from_slice(&home.0.to_be_bytes())),
            sync,
        };
        let request = Some(replica_request::Request::Write(write));
        self.send(to, ReplicaRequest { id: id.0, epoch: entry.epoch, request })
    }

    /// Keeps what `home` misses (§4.6). A note of it is enough where this node's own record has the write; a coordinator
    /// that is no home has none, only its hint for another home, and keeps a copy. So does one that tries again: the
    /// partition may be another's by now. Nobody delivers a hint to himself.
    fn keep_hint(self: &Arc<Self>, home: NodeId, entry: &PutEntry) {
        if home == self.cluster.me {
            return;
        }
        let key = entry.record.clone();
        let op = match entry.machine.local_hint() {
            None if !entry.again => Op::KeepHint { target: home, key },
            _ => {
                let (set, digest, mode) = (entry.set.clone(), entry.digest, entry.bucket.mode);
                Op::Merge { key, set, digest, mode, hint_for: Some(home), epoch: entry.epoch, sync: false }
            }
        };
        self.submit(op, Done::KeptHint { coordinator: self.clone(), home });
    }

    /// The engine has kept it, or could not: then the home misses the write until it is read.
    pub(crate) fn hint_kept(&self, home: NodeId, kept: bool) {
        let count = if kept { &self.metrics.hints_kept } else { &self.metrics.hints_lost };
        count.increment(1);
        // Also after an error: see `Done`.
        self.handoff.hint_stored(home);
    }
}

fn homes(candidates: &[Candidate]) -> SmallVec<[NodeId; 4]> {
    candidates.iter().filter(|candidate| candidate.home).map(|candidate| candidate.node).collect()
}
