//! Coordinating a get (§4.5): ask R, join, answer, and go on to repair what was stale (§5).

use bytes::Bytes;
use dynamo_quorum::{Answer, Found, Get, GetEffect, GetEffects, GetSettings, Refusal};
use dynamo_ring::NodeId;
use dynamo_storage::{Op, Outcome, StoreError};
use dynamo_version::{Payload, SiblingSet};
use smallvec::SmallVec;

use super::{
    DEADLINE_US, Ended, Entry, REPLICA_US, ReplyTo,
    again::{Once, is_turning},
    not_enough,
};
use crate::{
    coverage::cover,
    known_bad::KnownBad,
    message::{Class, Refused, ReplicaAsk, ReplicaRequest, ReplicaWrite, Response, Why},
    node::{Done, Node, Step, replica::refusal_of_store},
    world::{Kernel, id_of, index_of, say},
};

/// A read in flight.
pub(in crate::node) struct GetEntry {
    key: u16,
    pub(super) machine: Get,
    epoch: u64,
    began_us: u64,
    /// The client's patience.
    until_us: u64,
    reply: Option<ReplyTo>,
}

impl Node {
    pub(super) fn begin_get(&mut self, key: u16, reply: ReplyTo, kernel: &mut Kernel) {
        if self.stopping {
            return self.give(reply, Err(Refused::NotReady), kernel);
        }
        self.get_until(key, reply, kernel.clock_us() + DEADLINE_US, kernel);
    }

    pub(super) fn get_until(&mut self, key: u16, reply: ReplyTo, until_us: u64, kernel: &mut Kernel) {
        if !self.buckets[usize::from(self.shape.key(key).bucket)] {
            return self.give(reply, Err(Refused::UnknownBucket), kernel);
        }
        let now = kernel.clock_us();
        let bucket = self.shape.bucket_of(key);
        let settings = GetSettings {
            r: bucket.r,
            sloppy: !bucket.strict,
            mode: bucket.mode,
            hedge_after_us: self.latencies.hedge_us,
            replica_timeout_us: REPLICA_US,
            deadline_us: DEADLINE_US,
        };
        let candidates = self.candidates(key, bucket.strict);
        match Get::new(self.id(), &candidates, settings, now) {
            Err(error) => {
                cover!("get.refused_at_once");
                self.give(reply, Err(not_enough(&error)), kernel);
            }
            Ok(machine) => {
                let epoch = self.epoch();
                let entry = GetEntry { key, machine, epoch, began_us: now, until_us, reply: Some(reply) };
                let id = self.insert(Entry::Get(Box::new(entry)), kernel);
                self.with_get(id, kernel, |entry, now, effects| entry.machine.start(now, effects));
            }
        }
    }

    /// This node's own answer.
    pub(in crate::node) fn read_here(&mut self, id: u64, result: Result<Outcome, StoreError>, kernel: &mut Kernel) {
        match result {
            Ok(Outcome::State(state)) => self.answered(id, self.me, state, kernel),
            Ok(_) => self.on_refusal(id, self.me, Refusal::Invalid, kernel),
            Err(error) => {
                self.report_damage(&error, kernel);
                self.on_refusal(id, self.me, refusal_of_store(&error), kernel);
            }
        }
    }

    /// A replica's answer.
    pub(super) fn answered(&mut self, id: u64, from: u8, state: Option<(Bytes, u64)>, kernel: &mut Kernel) {
        if let Some(Entry::Get(entry)) = self.requests.entries.get(&id) {
            let took = kernel.clock_us() - entry.began_us;
            self.peers[usize::from(from)].answered_in(took);
        }
        self.with_get(id, kernel, |entry, now, effects| match state {
            Some((set, digest)) if set.is_empty() => entry.machine.on_digest(id_of(from), digest, now, effects),
            state => entry.machine.on_state(id_of(from), state, now, effects),
        });
    }

    fn with_get(&mut self, id: u64, kernel: &mut Kernel, news: impl FnOnce(&mut GetEntry, u64, &mut GetEffects)) {
        self.with_entry(id, kernel, |node, entry, kernel| {
            let Entry::Get(entry) = entry else { return Ended::No };
            let mut effects = GetEffects::new();
            news(entry, kernel.clock_us(), &mut effects);
            node.carry_out_get(id, entry, effects, kernel)
        });
    }

    pub(super) fn get_refused(
        &mut self,
        id: u64,
        entry: &mut GetEntry,
        from: u8,
        refusal: Refusal,
        kernel: &mut Kernel,
    ) -> Ended {
        let mut effects = GetEffects::new();
        entry.machine.on_refusal(id_of(from), refusal, kernel.clock_us(), &mut effects);
        self.carry_out_get(id, entry, effects, kernel)
    }

    pub(super) fn get_time(&mut self, id: u64, entry: &mut GetEntry, now: u64, kernel: &mut Kernel) -> Ended {
        if entry.machine.next_time().is_some_and(|next| next > now) {
            return Ended::No;
        }
        let mut effects = GetEffects::new();
        entry.machine.on_time(now, &mut effects);
        if effects.iter().any(|effect| matches!(effect, GetEffect::Ask { .. })) {
            cover!("get.hedged");
        }
        self.carry_out_get(id, entry, effects, kernel)
    }

    fn carry_out_get(&mut self, id: u64, entry: &mut GetEntry, mut effects: GetEffects, kernel: &mut Kernel) -> Ended {
        let mut next = 0;
        while next < effects.len() {
            let effect = std::mem::replace(&mut effects[next], GetEffect::Finished);
            next += 1;
            match effect {
                GetEffect::Ask { to, digest } => {
                    if let Err(refusal) = self.ask(id, entry, to, digest, kernel) {
                        entry.machine.on_refusal(to, refusal, kernel.clock_us(), &mut effects);
                    }
                }
                GetEffect::Answer(answer) => self.answer(entry, answer, kernel),
                GetEffect::Fail(error) if is_turning(&error) && Self::may_try_again(entry.until_us, kernel) => {
                    if let Some(reply) = entry.reply.take() {
                        self.try_again(Once::Get(entry.key), reply, entry.until_us, kernel);
                    }
                }
                GetEffect::Fail(error) => {
                    cover!("get.failed");
                    say!(kernel, "node-{} fails a get of key-{}: {error}", self.me, entry.key);
                    if let Some(reply) = entry.reply.take() {
                        self.give(reply, Err(not_enough(&error)), kernel);
                    }
                }
                GetEffect::Repair { to, state } => self.repair(entry, to, state, kernel),
                GetEffect::Finished => return Ended::Yes,
            }
        }
        Ended::No
    }

    fn ask(&mut self, id: u64, entry: &GetEntry, to: NodeId, digest: bool, kernel: &mut Kernel) -> Result<(), Refusal> {
        let (peer, key) = (index_of(to), entry.key);
        if peer == self.me {
            let bucket = self.shape.bucket_of(key);
            if bucket.strict && !self.is_whole(self.shape.partition(key)) {
                cover!("get.refilling");
                return Err(Refusal::Refilling);
            }
            let epoch = if bucket.strict { entry.epoch } else { u64::MAX };
            let read = self.state_of(key, bucket.mode, epoch, digest);
            let result = self.read_now(&read);
            self.note_read(key, &result);
            let after = self.read_time();
            let done = Done::Local { id, step: Step::Read, durable: false, hint_for: None };
            let what = crate::world::NodeEvent::Read { done, result: Box::new(result) };
            kernel.node_after(after, self.me, self.life, what);
            return Ok(());
        }
        say!(kernel, "node-{} asks node-{peer} for key-{key}{}", self.me, if digest { "'s digest" } else { "" });
        let strict = self.shape.bucket_of(key).strict;
        let request = ReplicaRequest { id, epoch: entry.epoch, ask: ReplicaAsk::Read { key, digest, strict } };
        self.send(peer, Class::Foreground, request, kernel)
    }

    fn answer(&mut self, entry: &mut GetEntry, answer: Answer, kernel: &mut Kernel) {
        self.latencies.took(kernel.clock_us() - entry.began_us);
        let Some(reply) = entry.reply.take() else { return };
        if answer.diverged {
            cover!("get.diverged");
        }
        let Some(Found { encoded, .. }) = answer.found else {
            let nothing = Response::Got { values: SmallVec::new(), deletes: SmallVec::new(), context: Bytes::new() };
            return self.give(reply, Ok(nothing), kernel);
        };
        let Ok(set) = SiblingSet::decode(encoded) else {
            return self.give(reply, Err(Refused::Internal), kernel);
        };
        let context = self.seal(entry.key, set.causality(), set.max_timestamp());
        let values: SmallVec<[Bytes; 2]> = set.values().into_iter().cloned().collect();
        if values.len() > 1 {
            cover!("get.siblings");
        }
        if set.is_deleted() {
            cover!("get.deleted");
        }
        let tombstones = set.siblings().iter().filter(|one| one.payload == Payload::Tombstone);
        let deletes = tombstones.filter_map(|one| kernel.history.write_of(entry.key, &one.dot)).collect();
        self.give(reply, Ok(Response::Got { values, deletes, context }), kernel);
    }

    /// Sends a stale home what it misses. Nobody waits for it: a repair that is lost is made by the next read.
    fn repair(&mut self, entry: &GetEntry, to: NodeId, Found { encoded: set, digest }: Found, kernel: &mut Kernel) {
        let (key, epoch) = (entry.key, entry.epoch);
        let mode = self.shape.bucket_of(key).mode;
        let peer = index_of(to);
        say!(kernel, "node-{} repairs key-{key} at node-{peer}", self.me);
        if peer == self.me {
            cover!("get.repaired_here");
            let record = self.shape.key(key).record.clone();
            if kernel.known_bad == Some(KnownBad::RepairOverwrites) {
                self.store.forget(&record);
            }
            let op = Op::Merge { key: record, set, digest, mode, hint_for: None, epoch, sync: false };
            return self.submit(op, Done::Nobody, kernel);
        }
        cover!("get.repaired");
        let write = ReplicaWrite { key, set, digest, mode, hint_for: None, sync: false, why: Why::Repair };
        // Number 0 is nobody's: the acknowledgement finds no request and is dropped.
        let _ =
            self.send(peer, Class::Foreground, ReplicaRequest { id: 0, epoch, ask: ReplicaAsk::Write(write) }, kernel);
    }
}
