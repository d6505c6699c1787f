//! Coordinating a put or delete (§4.5, 4.6): mint here, send the merged state to the others, count acknowledgements.

use bytes::Bytes;
use dynamo_quorum::{Durability, NodeState, NotEnough, Put, PutEffect, PutEffects, PutSettings, Refusal};
use dynamo_ring::NodeId;
use dynamo_storage::{Applied, Op, StoreError};
use dynamo_version::{Causality, Dot, Mode, Payload, SiblingSet, Timestamp};
use smallvec::SmallVec;

use super::{
    DEADLINE_US, Ended, Entry, REPLICA_US, ReplyTo, Write,
    again::{Made, Once, homes_of, is_turning},
    forward, not_enough, refused_by_store,
};
use crate::{
    coverage::cover,
    history::{Minted, WriteId},
    known_bad::KnownBad,
    message::{Class, Refused, ReplicaAsk, ReplicaRequest, ReplicaWrite, Response, Why},
    node::{
        Done, Node, Step,
        cluster::{Candidates, Standing},
        replica::{for_whom, refusal_of_store},
    },
    world::{Kernel, id_of, index_of, say},
};

/// A write in flight.
pub(in crate::node) struct PutEntry {
    key: u16,
    write: WriteId,
    epoch: u64,
    /// What is written again where the ring turned before there was a version.
    again: Option<Write>,
    /// The client's patience.
    until_us: u64,
    seen: Causality,
    seen_ts: Timestamp,
    pub(super) machine: Put,
    /// The state that replicas get, and its digest; empty until minted.
    set: Bytes,
    digest: u64,
    dot: Option<Dot>,
    context: Bytes,
    /// The key's homes under its epoch.
    homes: SmallVec<[NodeId; 4]>,
    /// The version is from an earlier attempt: this node's own record may not have it.
    is_again: bool,
    /// Who was sent it.
    sent: SmallVec<[NodeId; 4]>,
    reply: Option<ReplyTo>,
}

impl Node {
    pub(in crate::node) fn begin_write(&mut self, write: Write, reply: ReplyTo, kernel: &mut Kernel) {
        self.write_until(write, reply, kernel.clock_us() + DEADLINE_US, kernel);
    }

    pub(super) fn write_until(&mut self, write: Write, reply: ReplyTo, until_us: u64, kernel: &mut Kernel) {
        let (seen, seen_ts, candidates, settings) = match self.check_write(&write) {
            Ok(checked) => checked,
            Err(refused) => return self.give(reply, Err(refused), kernel),
        };
        // Who has left sends on also what was sent on to it by a node that has not heard of that.
        if (!write.forwarded || !self.is_member())
            && !forward::coordinates_here(self.id(), &candidates)
            && let Some(home) = forward::next_coordinator(&candidates, &[])
        {
            return self.forward(home, candidates, write, reply, kernel);
        }
        if !self.is_member() {
            cover!("collect.outsider_mints_nothing");
            return self.give(reply, Err(Refused::NotReady), kernel);
        }
        if !candidates.iter().any(|one| one.home && one.node == self.id()) {
            cover!("put.coordinated_without_home");
        }
        match Put::new(self.id(), &candidates, settings, true, kernel.clock_us()) {
            Ok(machine) => self.mint(machine, write, (seen, seen_ts), (reply, until_us), kernel),
            Err(error) => {
                cover!("put.refused_at_once");
                say!(kernel, "node-{} refuses write {} at once: {error}", self.me, write.ask.write);
                self.give(reply, Err(not_enough(&error)), kernel);
            }
        }
    }

    fn check_write(&self, write: &Write) -> Result<(Causality, Timestamp, Candidates, PutSettings), Refused> {
        if !self.buckets[usize::from(self.shape.key(write.key).bucket)] {
            return Err(Refused::UnknownBucket);
        }
        let bucket = self.shape.bucket_of(write.key);
        let settings = self.put_settings(write.key, DEADLINE_US);
        if write.ask.value.is_none() && write.ask.context.is_empty() && bucket.mode == Mode::Siblings {
            return Err(Refused::BadContext);
        }
        let (seen, seen_ts) = self.open_context(write.key, &write.ask.context)?;
        Ok((seen, seen_ts, self.candidates(write.key, bucket.strict), settings))
    }

    pub(super) fn put_settings(&self, key: u16, deadline_us: u64) -> PutSettings {
        let bucket = self.shape.bucket_of(key);
        PutSettings {
            w: bucket.w,
            sloppy: !bucket.strict,
            durability: self.durability(),
            replica_timeout_us: REPLICA_US,
            deadline_us,
        }
    }

    /// Has the engine give the version its dot; the rest follows when it is with the operating system.
    fn mint(
        &mut self,
        machine: Put,
        write: Write,
        (seen, seen_ts): (Causality, Timestamp),
        (reply, until_us): (ReplyTo, u64),
        kernel: &mut Kernel,
    ) {
        let (hint_for, sync) = (machine.local_hint(), machine.local_sync());
        let mode = self.shape.bucket_of(write.key).mode;
        let entry = PutEntry {
            key: write.key,
            write: write.ask.write,
            epoch: self.epoch(),
            again: Some(write.clone()),
            until_us,
            seen: seen.clone(),
            seen_ts,
            machine,
            set: Bytes::new(),
            digest: 0,
            dot: None,
            context: Bytes::new(),
            homes: homes_of(&self.view, self.shape.partition(write.key)),
            is_again: false,
            sent: SmallVec::new(),
            reply: Some(reply),
        };
        let id = self.insert(Entry::Put(Box::new(entry)), kernel);
        let payload = write.ask.value.map_or(Payload::Tombstone, Payload::Value);
        let key = self.shape.key(write.key).record.clone();
        let wall_ms = kernel.wall_ms(self.me);
        let (context_ts, epoch) = (seen_ts, self.epoch());
        let op = Op::Write { key, context: seen, context_ts, payload, mode, wall_ms, hint_for, epoch, sync };
        let done = self.done_of_write(id, Step::Mint, sync, hint_for);
        self.submit(op, done, kernel);
    }

    fn done_of_write(&self, id: u64, step: Step, sync: bool, hint_for: Option<NodeId>) -> Done {
        Done::Local { id, step, durable: self.store.is_durable(sync), hint_for: hint_for.map(index_of) }
    }

    /// The version has its dot and is with the operating system: the other replicas may have it.
    pub(in crate::node) fn minted(&mut self, id: u64, applied: &Applied, kernel: &mut Kernel) {
        self.with_entry(id, kernel, |node, entry, kernel| {
            let Entry::Put(entry) = entry else { return Ended::No };
            node.note_minted(entry, applied, kernel);
            entry.set = applied.set.clone();
            entry.digest = applied.digest;
            entry.dot = applied.dot;
            let mut seen = std::mem::take(&mut entry.seen);
            if let Some(dot) = applied.dot {
                seen.insert(dot);
            }
            if kernel.known_bad == Some(KnownBad::ContextTooWide)
                && let Ok(set) = SiblingSet::decode(applied.set.clone())
            {
                seen.join(set.causality());
            }
            let latest = entry.seen_ts.max(applied.timestamp);
            entry.context = node.seal(entry.key, &seen, latest);
            node.put_step(id, entry, kernel, |machine, now, effects| machine.start(now, effects))
        });
    }

    /// What the checkers know of the write from now on.
    fn note_minted(&self, entry: &PutEntry, applied: &Applied, kernel: &mut Kernel) {
        let Some(dot) = applied.dot else { return };
        let set = SiblingSet::decode(applied.set.clone()).ok();
        // Under last-write-wins it may have lost at once.
        let own = set.and_then(|set| set.siblings().iter().find(|one| one.dot == dot).map(|one| one.timestamp));
        let timestamp = own.unwrap_or_default();
        if own.is_some() && timestamp.wall_ms() > kernel.wall_ms(self.me) {
            cover!("clock.behind");
        }
        let (write, key) = (entry.write, entry.key);
        say!(
            kernel,
            "node-{} mints write {write} of key-{key} as {}.{}.{}/{}",
            self.me,
            index_of(NodeId(dot.actor.node)),
            dot.actor.incarnation,
            dot.actor.key_epoch,
            dot.counter
        );
        let at_us = kernel.now;
        kernel.history.minted(write, Minted { dot, timestamp, at_us });
    }

    /// This node's own copy is as durable as was asked, or could not be made.
    pub(in crate::node) fn stored_here(&mut self, id: u64, result: Result<bool, StoreError>, kernel: &mut Kernel) {
        let error = match result {
            Ok(durable) => return self.put_acked(id, self.me, durable, kernel),
            Err(error) => error,
        };
        self.report_damage(&error, kernel);
        if matches!(error, StoreError::DiskFull | StoreError::DiskFailing(_)) {
            self.peers[usize::from(self.me)].standing = Standing::ReadOnly;
        }
        self.with_entry(id, kernel, |node, entry, kernel| {
            let Entry::Put(entry) = entry else { return Ended::No };
            if !entry.set.is_empty() {
                return node.put_refused(id, entry, node.me, refusal_of_store(&error), kernel);
            }
            let Some(reply) = entry.reply.take() else { return Ended::Yes };
            if matches!(error, StoreError::Sealed { .. }) && Self::may_try_again(entry.until_us, kernel) {
                node.mint_again(entry, reply, kernel);
            } else {
                node.give(reply, Err(refused_by_store(&error)), kernel);
            }
            Ended::Yes
        });
    }

    /// A replica's answer to a write.
    pub(super) fn put_acked(&mut self, id: u64, from: u8, durable: bool, kernel: &mut Kernel) {
        self.with_entry(id, kernel, |node, entry, kernel| {
            let Entry::Put(entry) = entry else { return Ended::No };
            node.put_step(id, entry, kernel, |machine, now, effects| {
                machine.on_ack(id_of(from), durable, now, effects);
            })
        });
    }

    pub(super) fn put_refused(
        &mut self,
        id: u64,
        entry: &mut PutEntry,
        from: u8,
        refusal: Refusal,
        kernel: &mut Kernel,
    ) -> Ended {
        self.put_step(id, entry, kernel, |machine, now, effects| {
            machine.on_refusal(id_of(from), refusal, now, effects);
        })
    }

    pub(super) fn put_time(&mut self, id: u64, entry: &mut PutEntry, now: u64, kernel: &mut Kernel) -> Ended {
        if entry.machine.next_time().is_some_and(|next| next > now) {
            return Ended::No;
        }
        self.put_step(id, entry, kernel, |machine, now, effects| machine.on_time(now, effects))
    }

    fn put_step(
        &mut self,
        id: u64,
        entry: &mut PutEntry,
        kernel: &mut Kernel,
        news: impl FnOnce(&mut Put, u64, &mut PutEffects),
    ) -> Ended {
        let mut effects = PutEffects::new();
        news(&mut entry.machine, kernel.clock_us(), &mut effects);
        let mut next = 0;
        while next < effects.len() {
            let effect = effects[next];
            next += 1;
            match effect {
                PutEffect::Send { to, hint_for, sync } => {
                    if let Err(refusal) = self.send_write(id, entry, to, hint_for, sync, kernel) {
                        entry.machine.on_refusal(to, refusal, kernel.clock_us(), &mut effects);
                    }
                }
                PutEffect::KeepHint { hint_for } => self.keep_hint(hint_for, entry, kernel),
                PutEffect::Acknowledge { acks, hinted } => {
                    say!(
                        kernel,
                        "node-{} acknowledges write {} ({acks} have it, {hinted} as hints)",
                        self.me,
                        entry.write
                    );
                    if let Some(reply) = entry.reply.take() {
                        let context = entry.context.clone();
                        self.give(reply, Ok(Response::Written { context }), kernel);
                    }
                }
                PutEffect::Fail(error) => {
                    let Some(reply) = entry.reply.take() else { continue };
                    // The engine has the write, or has yet to come to it.
                    let error = NotEnough { begun: true, ..error };
                    let made = !entry.set.is_empty();
                    if is_turning(&error) && made && Self::may_try_again(entry.until_us, kernel) {
                        self.send_again(entry, error, reply, kernel);
                    } else {
                        cover!("put.failed_after_begin");
                        say!(kernel, "node-{} fails write {}: {error}", self.me, entry.write);
                        self.give(reply, Err(not_enough(&error)), kernel);
                    }
                }
                PutEffect::Finished => return Ended::Yes,
            }
        }
        Ended::No
    }

    /// The same write under the newer ring: nothing was made of it yet.
    fn mint_again(&mut self, entry: &PutEntry, reply: ReplyTo, kernel: &mut Kernel) {
        let write = entry.again.clone().expect("one that goes on has a version");
        self.try_again(Once::Write(write), reply, entry.until_us, kernel);
    }

    /// The same version under the newer ring.
    fn send_again(&mut self, entry: &PutEntry, last: NotEnough, reply: ReplyTo, kernel: &mut Kernel) {
        let made = Made {
            key: entry.key,
            write: entry.write,
            set: entry.set.clone(),
            digest: entry.digest,
            dot: entry.dot,
            context: entry.context.clone(),
            epoch: entry.epoch,
            homes: entry.homes.clone(),
            last,
        };
        self.try_again(Once::Made(Box::new(made)), reply, entry.until_us, kernel);
    }

    /// Sends a version that exists to the homes as they are now.
    pub(super) fn go_on(&mut self, machine: Put, made: Made, reply: ReplyTo, until_us: u64, kernel: &mut Kernel) {
        let entry = PutEntry {
            homes: homes_of(&self.view, self.shape.partition(made.key)),
            key: made.key,
            write: made.write,
            epoch: self.epoch(),
            again: None,
            until_us,
            seen: Causality::default(),
            seen_ts: Timestamp(0),
            machine,
            set: made.set,
            digest: made.digest,
            dot: made.dot,
            context: made.context,
            is_again: true,
            sent: SmallVec::new(),
            reply: Some(reply),
        };
        let id = self.insert(Entry::Put(Box::new(entry)), kernel);
        self.with_entry(id, kernel, |node, entry, kernel| {
            let Entry::Put(entry) = entry else { return Ended::No };
            node.put_step(id, entry, kernel, |machine, now, effects| machine.start(now, effects))
        });
    }

    fn send_write(
        &mut self,
        id: u64,
        entry: &mut PutEntry,
        to: NodeId,
        hint_for: Option<NodeId>,
        sync: bool,
        kernel: &mut Kernel,
    ) -> Result<(), Refusal> {
        if hint_for.is_some() {
            cover!("put.hint_sent");
        }
        if sync && self.durability() == Durability::OneDurable && entry.sent.contains(&to) {
            cover!("put.resent_for_durability");
        }
        entry.sent.push(to);
        let (set, digest, mode) = (entry.set.clone(), entry.digest, self.shape.bucket_of(entry.key).mode);
        let peer = index_of(to);
        if peer == self.me {
            let key = self.shape.key(entry.key).record.clone();
            let done = self.done_of_write(id, Step::Write, sync, hint_for);
            let epoch = entry.epoch;
            self.submit(Op::Merge { key, set, digest, mode, hint_for, epoch, sync }, done, kernel);
            return Ok(());
        }
        say!(kernel, "node-{} sends write {} to node-{peer}{}", self.me, entry.write, for_whom(hint_for));
        let write = ReplicaWrite { key: entry.key, set, digest, mode, hint_for, sync, why: Why::Put };
        self.send(
            peer,
            Class::Foreground,
            ReplicaRequest { id, epoch: entry.epoch, ask: ReplicaAsk::Write(write) },
            kernel,
        )
    }

    /// Keeps what `home` misses (§4.6): a note where this node's own record has the write, or else a copy.
    fn keep_hint(&mut self, home: NodeId, entry: &PutEntry, kernel: &mut Kernel) {
        if home == self.id() {
            return;
        }
        let key = self.shape.key(entry.key).record.clone();
        say!(kernel, "node-{} keeps write {} for node-{}", self.me, entry.write, index_of(home));
        let op = match entry.machine.local_hint() {
            None if !entry.is_again => {
                cover!("put.note_kept");
                Op::KeepHint { target: home, key }
            }
            _ => {
                cover!("put.copy_kept");
                let (set, digest, mode) = (entry.set.clone(), entry.digest, self.shape.bucket_of(entry.key).mode);
                Op::Merge { key, set, digest, mode, hint_for: Some(home), epoch: entry.epoch, sync: false }
            }
        };
        self.submit(op, Done::KeptHint { home: index_of(home) }, kernel);
    }

    /// The engine has kept it, or could not: then the home misses the write until it is read.
    pub(in crate::node) fn hint_kept(&mut self, home: u8, kept: bool, kernel: &mut Kernel) {
        if !kept {
            cover!("put.hint_lost");
        }
        self.hint_stored(home, kernel);
    }
}

/// Whether a candidate is a home that can write.
pub(super) fn is_writable_home(candidate: &dynamo_quorum::Candidate) -> bool {
    candidate.home && candidate.state == NodeState::Up
}
