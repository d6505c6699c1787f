//! Coordinating a get (§4.5): ask R, join, answer, and go on to repair what was stale (§5).

use std::sync::Arc;

use bytes::Bytes;
use dynamo_quorum::{Answer, Found, Get, GetEffect, GetEffects, GetSettings, NotEnough, Refusal};
use dynamo_ring::NodeId;
use dynamo_storage::{Op, Outcome, Read, RecordKey, StoreError};
use dynamo_version::{Mode, SiblingSet};
use dynamo_wire::v1::{
    ErrorCode, GetRequest, GetResponse, ReplicaRead, ReplicaRequest, ReplicaState, ReplicaWrite, replica_request,
};
use smallvec::SmallVec;
use std::sync::atomic::Ordering;

use super::{
    Coordinator, Entry, RequestId,
    again::Once,
    answers::{not_enough, refusal_of_store},
    quorum,
    table::Ended,
};
use crate::{
    buckets::BucketSettings,
    cluster::View,
    completion::Done,
    request::{ClientResponse, Refused, ReplyTo},
};

/// A read in flight.
pub(super) struct GetEntry {
    record: RecordKey,
    bucket: Arc<BucketSettings>,
    key: Bytes,
    machine: Get,
    epoch: u64,
    began_us: u64,
    /// Homes that refused because they are being filled, to be named.
    filling: SmallVec<[NodeId; 2]>,
    /// R, as it was asked for.
    r: u32,
    /// The client's patience.
    until_us: u64,
    reply: Option<ReplyTo>,
}

impl Coordinator {
    pub(super) fn begin_get(self: &Arc<Self>, get: GetRequest, reply: ReplyTo) {
        self.get_until(get, reply, self.clock.now_us() + self.times.deadline_us);
    }

    pub(super) fn get_until(self: &Arc<Self>, get: GetRequest, reply: ReplyTo, until_us: u64) {
        let view = self.cluster.view();
        match self.check_get(&view, get) {
            Err(refused) => self.refuse(refused, reply),
            Ok(mut entry) => {
                (entry.reply, entry.until_us) = (Some(reply), until_us);
                let id = self.insert(Entry::Get(entry));
                self.with_get(id, |entry, effects, now| entry.machine.start(now, effects));
            }
        }
    }

    fn check_get(&self, view: &View, get: GetRequest) -> Result<GetEntry, Refused> {
        let bucket = self.buckets.get(&get.bucket)?;
        let (partition, record) = self.address(view, &bucket, &get.key)?;
        let settings = GetSettings {
            r: quorum('R', get.r, bucket.r, view.ring.n())?,
            sloppy: !bucket.strict,
            mode: bucket.mode,
            hedge_after_us: self.hedge_us.load(Ordering::Relaxed),
            replica_timeout_us: self.times.replica_us,
            deadline_us: self.times.deadline_us,
        };
        let now = self.clock.now_us();
        let candidates = view.candidates(partition, bucket.strict);
        let machine = Get::new(self.cluster.me, &candidates, settings, now).map_err(|error| not_enough(&error))?;
        let epoch = view.ring.epoch();
        let (r, until_us) = (get.r, now);
        let filling = SmallVec::new();
        Ok(GetEntry { record, bucket, key: get.key, machine, epoch, began_us: now, filling, r, until_us, reply: None })
    }

    /// This node's own answer.
    pub(crate) fn read_here(self: &Arc<Self>, id: RequestId, result: Result<Outcome, StoreError>) {
        let me = self.cluster.me;
        match result {
            Ok(Outcome::State(state)) => self.answered(id, me, state),
            Ok(_) => self.on_refusal(id, me, Refusal::Invalid),
            Err(error) => {
                self.metrics.engine_errors.increment(1);
                self.report_damage(&error);
                self.on_refusal(id, me, refusal_of_store(&error));
            }
        }
    }

    /// A replica's answer.
    pub(super) fn got_state(self: &Arc<Self>, id: RequestId, from: NodeId, ReplicaState { set, digest }: ReplicaState) {
        self.answered(id, from, (digest != 0).then_some((set, digest)));
    }

    fn answered(self: &Arc<Self>, id: RequestId, from: NodeId, state: Option<(Bytes, u64)>) {
        self.with_get(id, |entry, effects, now| {
            if let Some(peer) = self.cluster.view().peer(from) {
                peer.answered_in(now - entry.began_us);
            }
            match state {
                Some((set, digest)) if set.is_empty() => entry.machine.on_digest(from, digest, now, effects),
                state => entry.machine.on_state(from, state, now, effects),
            }
        });
    }

    fn with_get(self: &Arc<Self>, id: RequestId, news: impl FnOnce(&mut GetEntry, &mut GetEffects, u64)) {
        self.table.step(id, |entry| {
            let Entry::Get(entry) = entry else { return Ended::No };
            let mut effects = GetEffects::new();
            news(entry, &mut effects, self.clock.now_us());
            self.carry_out_get(id, entry, effects)
        });
    }

    /// A replica's refusal. The caller holds the entry.
    pub(super) fn get_refused(
        self: &Arc<Self>,
        id: RequestId,
        entry: &mut GetEntry,
        from: NodeId,
        refusal: Refusal,
    ) -> Ended {
        let mut effects = GetEffects::new();
        if refusal == Refusal::Refilling {
            entry.filling.push(from);
        }
        entry.machine.on_refusal(from, refusal, self.clock.now_us(), &mut effects);
        self.carry_out_get(id, entry, effects)
    }

    /// Time passes. The caller holds the entry.
    pub(super) fn get_time(self: &Arc<Self>, id: RequestId, entry: &mut GetEntry, now: u64) -> Ended {
        if entry.machine.next_time().is_some_and(|next| next > now) {
            return Ended::No;
        }
        let mut effects = GetEffects::new();
        entry.machine.on_time(now, &mut effects);
        if effects.iter().any(|effect| matches!(effect, GetEffect::Ask { .. })) {
            self.metrics.hedged.increment(1);
        }
        self.carry_out_get(id, entry, effects)
    }

    fn carry_out_get(self: &Arc<Self>, id: RequestId, entry: &mut GetEntry, mut effects: GetEffects) -> Ended {
        let mut next = 0;
        while next < effects.len() {
            let effect = std::mem::replace(&mut effects[next], GetEffect::Finished);
            next += 1;
            match effect {
                GetEffect::Ask { to, digest } => {
                    if let Err(refusal) = self.ask(id, entry, to, digest) {
                        if refusal == Refusal::Refilling {
                            entry.filling.push(to);
                        }
                        entry.machine.on_refusal(to, refusal, self.clock.now_us(), &mut effects);
                    }
                }
                GetEffect::Answer(answer) => self.answer(entry, answer),
                GetEffect::Fail(error) => {
                    let Some(reply) = entry.reply.take() else { continue };
                    if self.is_passing(&error) && self.may_try_again(entry.until_us) {
                        let (bucket, key, r) = (entry.bucket.name.to_string(), entry.key.clone(), entry.r);
                        self.try_again(Once::Get(GetRequest { bucket, key, r }), reply, entry.until_us);
                    } else {
                        self.refuse(self.read_refused(entry, &error), reply);
                    }
                }
                GetEffect::Repair { to, state } => self.repair(entry, to, state),
                GetEffect::Finished => return Ended::Yes,
            }
        }
        Ended::No
    }

    fn ask(self: &Arc<Self>, id: RequestId, entry: &GetEntry, to: NodeId, digest: bool) -> Result<(), Refusal> {
        if to == self.cluster.me {
            let (key, mode, strict) = (entry.record.clone(), entry.bucket.mode, entry.bucket.strict);
            if strict && !self.cluster.is_whole(key.partition()) {
                return Err(Refusal::Refilling);
            }
            // A sloppy read takes what there is, wherever the partition is going.
            let (hints, epoch) = (self.hints_to_read(&key), if strict { entry.epoch } else { u64::MAX });
            let read = Read::State { key, hints, mode, epoch, digest_only: digest };
            self.read(read, Done::read(self, id));
            return Ok(());
        }
        let read = ReplicaRead {
            bucket: entry.bucket.name.to_string(),
            key: entry.key.clone(),
            digest,
            strict: entry.bucket.strict,
        };
        let request = Some(replica_request::Request::Read(read));
        self.send(to, ReplicaRequest { id: id.0, epoch: entry.epoch, request })
    }

    /// Which homes are being filled is told by name: that they are up is what everybody sees.
    fn read_refused(&self, entry: &GetEntry, error: &NotEnough) -> Refused {
        let view = self.cluster.view();
        let name = |id: &NodeId| view.ring.member(*id).map_or_else(|| id.to_string(), |member| member.name.clone());
        let names: Vec<String> = entry.filling.iter().map(name).collect();
        let mut refused = not_enough(error);
        if !names.is_empty() {
            refused.message += &format!(
                " (being filled: {}; `dynamo status` shows how far they are, and a sloppy bucket is read meanwhile)",
                names.join(", ")
            );
        }
        refused
    }

    /// Whose hints a read here has to look at: none where this node is a home, all homes' where it is a fallback.
    pub fn hints_to_read(&self, record: &RecordKey) -> SmallVec<[NodeId; 2]> {
        let view = self.cluster.view();
        if view.ring.is_home(record.partition(), self.cluster.me) {
            return SmallVec::new();
        }
        view.ring.preference_list(record.partition()).iter().copied().collect()
    }

    fn answer(&self, entry: &mut GetEntry, answer: Answer) {
        self.metrics.got(self.clock.now_us() - entry.began_us);
        let Some(reply) = entry.reply.take() else { return };
        let Some(Found { encoded, .. }) = answer.found else {
            return reply.give(Ok(ClientResponse::Get(GetResponse::default())));
        };
        let set = match SiblingSet::decode(encoded) {
            Ok(set) => set,
            Err(error) => {
                let message = format!("the replicas' state of the key can't be read ({error}): nothing was changed");
                return self.refuse(Refused::new(ErrorCode::Internal, message), reply);
            }
        };
        let sealed = self.contexts.seal(&entry.bucket.name, &entry.key, set.causality(), set.max_timestamp());
        let values: Vec<Bytes> = set.values().into_iter().cloned().collect();
        self.metrics.version(sealed.len(), set.siblings().len());
        if values.len() > 1 {
            self.metrics.siblings_read.increment(1);
        }
        reply.give(Ok(ClientResponse::Get(GetResponse { values, context: sealed.into() })));
    }

    /// Sends a stale home what it misses. Nobody waits for it: a repair that is lost is made by the next read.
    fn repair(self: &Arc<Self>, entry: &GetEntry, to: NodeId, Found { encoded, digest }: Found) {
        self.metrics.repairs.increment(1);
        let mode = entry.bucket.mode;
        if to == self.cluster.me {
            let (key, epoch) = (entry.record.clone(), entry.epoch);
            let op = Op::Merge { key, set: encoded, digest, mode, hint_for: None, epoch, sync: false };
            return self.submit(op, Done::Repaired);
        }
        let write = ReplicaWrite {
            bucket: entry.bucket.name.to_string(),
            key: entry.key.clone(),
            set: encoded,
            digest,
            last_write_wins: mode == Mode::LastWriteWins,
            hint_for: Bytes::new(),
            sync: false,
        };
        let request = Some(replica_request::Request::Write(write));
        // Number 0 is nobody's: the acknowledgement finds no request and is dropped.
        let _ = self.send(to, ReplicaRequest { id: 0, epoch: entry.epoch, request });
    }
}
