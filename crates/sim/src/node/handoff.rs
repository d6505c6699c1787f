//! Hinted handoff (§4.6): the simulator's `node/src/handoff.rs`. One `transfer::Delivery` for each node that hints are
//! held for.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dynamo_quorum::Refusal as Refused;
use dynamo_storage::{Op, Outcome, Read, RecordKey, StoreError};
use dynamo_transfer::{Delivery, DeliverySettings, Effect, Effects, HintMeta, Refusal};

use super::{Done, Node, store::Store};
use crate::{
    coverage::cover,
    known_bad::KnownBad,
    message::{Class, ReplicaAsk, ReplicaReply, ReplicaRequest, ReplicaWrite, Reply, Why},
    world::{Kernel, NodeEvent, id_of, index_of, say},
};

const SETTINGS: DeliverySettings = DeliverySettings {
    window: 64,
    page: 128,
    bytes_per_s: 16 << 20,
    burst_bytes: 4 << 20,
    backoff_min_us: 100_000,
    backoff_max_us: 10_000_000,
    confirm_timeout_us: 5_000_000,
};
/// Longest sleep between looks at the deliveries' timers, microseconds.
const TICK_US: u64 = 200_000;

/// What handoff asked the engine.
#[derive(Debug, Clone)]
pub enum HandoffAsk {
    Page,
    /// With the ring's epoch before it was read: what is sent later is no younger than that.
    Hint(RecordKey, u64),
    Drop(RecordKey),
    /// To take in a hint for a node that left, this one being a home of its key; with its digest.
    Kept(RecordKey, u64),
    /// To drop a hint that has nothing to deliver.
    Forget(RecordKey),
}

pub struct Handoff {
    deliveries: BTreeMap<u8, Delivery>,
    reachable: BTreeSet<u8>,
    /// By number: the target, the key, the digest, and who was sent it: the target, or a home in its place.
    sent: BTreeMap<u64, (u8, Bytes, u64, u8)>,
    next_id: u64,
    /// A tick is under way.
    ticking: bool,
}

impl Handoff {
    /// Begins with the hints that the store holds.
    pub fn new(store: &Store, now: u64) -> Self {
        let held = store.hints_by_target();
        let deliveries = held.keys().map(|target| (index_of(*target), Delivery::new(*target, SETTINGS, now))).collect();
        Self { deliveries, reachable: BTreeSet::new(), sent: BTreeMap::new(), next_id: 1, ticking: false }
    }

    pub fn sent(&self) -> usize {
        self.sent.len()
    }
}

impl Node {
    pub(super) fn hint_stored(&mut self, target: u8, kernel: &mut Kernel) {
        let new = !self.handoff.deliveries.contains_key(&target);
        let up = !self.view.is_member(target) || self.handoff.reachable.contains(&target);
        self.drive(target, kernel, |delivery, now, _, effects| {
            delivery.on_hint_stored(now, effects);
            if new && up {
                delivery.on_target_up(now, effects);
            }
        });
    }

    /// Time passes for the deliveries.
    pub(super) fn handoff_time(&mut self, kernel: &mut Kernel) {
        self.handoff.ticking = false;
        let now = kernel.clock_us();
        let due = |delivery: &Delivery| delivery.next_time().is_some_and(|next| next <= now);
        let targets: Vec<u8> =
            self.handoff.deliveries.iter().filter(|(_, delivery)| due(delivery)).map(|(target, _)| *target).collect();
        for target in targets {
            self.drive(target, kernel, |delivery, now, random, effects| delivery.on_time(now, random, effects));
        }
        self.schedule_handoff(kernel);
    }

    /// The real task looks at least every 200 ms; here it looks when there is something to look for.
    fn schedule_handoff(&mut self, kernel: &mut Kernel) {
        let next = self.handoff.deliveries.values().filter_map(Delivery::next_time).min();
        if let Some(next) = next.filter(|_| !self.handoff.ticking) {
            self.handoff.ticking = true;
            let after = next.saturating_sub(kernel.clock_us()).clamp(1_000, TICK_US);
            kernel.node_after(after, self.me, self.life, NodeEvent::HandoffTick);
        }
    }

    pub(super) fn handoff_reachable(&mut self, target: u8, reachable: bool, kernel: &mut Kernel) {
        if reachable {
            self.handoff.reachable.insert(target);
            if self.handoff.deliveries.contains_key(&target) {
                self.drive(target, kernel, |delivery, now, _, effects| delivery.on_target_up(now, effects));
            }
            return;
        }
        self.handoff.reachable.remove(&target);
        let before = self.handoff.sent.len();
        self.handoff_lost(target, kernel);
        if self.handoff.sent.len() < before {
            cover!("handoff.interrupted");
        }
        if let Some(delivery) = self.handoff.deliveries.get_mut(&target) {
            delivery.on_target_down();
        }
        // Its links end because it left, and others get its hints: nothing else would begin that again.
        self.look_for_gone(kernel);
    }

    pub(super) fn handoff_replied(&mut self, reply: ReplicaReply, kernel: &mut Kernel) {
        let Some((target, key, digest, _)) = self.handoff.sent.remove(&reply.id) else { return };
        let refusal = match reply.reply {
            Reply::Ack { .. } => {
                return self.drive(target, kernel, |delivery, now, _, effects| {
                    delivery.on_confirmed(&key, digest, now, effects);
                });
            }
            Reply::Refusal(refusal, _) => refusal_of(refusal),
            _ => Refusal::Invalid,
        };
        cover!("handoff.refused");
        say!(kernel, "node-{} keeps a hint for node-{target}, which was refused: {refusal:?}", self.me);
        self.refuse(target, &key, refusal, kernel);
    }

    pub(super) fn handoff_engine_done(
        &mut self,
        target: u8,
        what: HandoffAsk,
        result: Result<Outcome, StoreError>,
        kernel: &mut Kernel,
    ) {
        match (what, result) {
            (HandoffAsk::Page, Ok(Outcome::Hints { entries, end })) => {
                let page = entries
                    .into_iter()
                    .map(|hint| HintMeta { key: hint.key.as_bytes().clone(), digest: hint.digest, bytes: hint.bytes })
                    .collect();
                self.drive(target, kernel, |delivery, now, _, effects| delivery.on_page(page, end, now, effects));
            }
            (HandoffAsk::Page, _) => {
                self.drive(target, kernel, |delivery, now, random, effects| {
                    delivery.on_page_failed(now, random, effects);
                });
            }
            (HandoffAsk::Hint(key, epoch), Ok(Outcome::State(Some((set, digest))))) => {
                self.send_hint(target, (&key, epoch), set, digest, kernel);
            }
            (HandoffAsk::Hint(key, _), Ok(_)) => {
                self.forget(target, key, 0, HandoffAsk::Forget, kernel);
            }
            (HandoffAsk::Forget(key), _) => self.drive(target, kernel, |delivery, now, _, effects| {
                delivery.on_dropped(key.as_bytes(), true, now, effects);
            }),
            (HandoffAsk::Kept(key, digest), Ok(_)) => {
                let key = key.as_bytes().clone();
                self.drive(target, kernel, |delivery, now, _, effects| {
                    delivery.on_confirmed(&key, digest, now, effects);
                });
            }
            (HandoffAsk::Kept(key, _), Err(_)) => self.refuse(target, key.as_bytes(), Refusal::Overloaded, kernel),
            (HandoffAsk::Hint(key, _), Err(error)) => {
                let overloaded = matches!(error, StoreError::Overloaded | StoreError::Closed);
                let refusal = if overloaded { Refusal::Overloaded } else { Refusal::Corrupt };
                self.refuse(target, key.as_bytes(), refusal, kernel);
            }
            (HandoffAsk::Drop(key), result) => {
                let dropped = matches!(result, Ok(Outcome::HintDropped(true)));
                if dropped {
                    cover!("handoff.delivered")
                } else {
                    cover!("handoff.moved_on")
                }
                self.drive(target, kernel, |delivery, now, _, effects| {
                    delivery.on_dropped(key.as_bytes(), dropped, now, effects);
                });
            }
        }
    }

    fn refuse(&mut self, target: u8, key: &[u8], refusal: Refusal, kernel: &mut Kernel) {
        self.drive(target, kernel, |delivery, now, random, effects| {
            delivery.on_refused(key, refusal, now, random, effects);
        });
    }

    /// Under the epoch in which it was read.
    fn send_hint(
        &mut self,
        target: u8,
        (record, epoch): (&RecordKey, u64),
        set: Bytes,
        digest: u64,
        kernel: &mut Kernel,
    ) {
        let Some(key) = self.shape.keys.iter().position(|key| key.record == *record) else {
            return self.refuse(target, record.as_bytes(), Refusal::Invalid, kernel);
        };
        if self.keeping.keeper.in_doubt() {
            // It may be older than what was collected since.
            cover!("doubt.hint_kept");
            return self.refuse(target, record.as_bytes(), Refusal::Overloaded, kernel);
        }
        let key = key as u16;
        let mode = self.shape.bucket_of(key).mode;
        let write = ReplicaWrite { key, set, digest, mode, hint_for: None, sync: true, why: Why::Handoff };
        let id = self.handoff.next_id;
        self.handoff.next_id += 1;
        let Some(to) = self.heir(target, record) else {
            return self.refuse(target, record.as_bytes(), Refusal::Unreachable, kernel);
        };
        if to != target {
            cover!("handoff.for_who_left");
        }
        if to == self.me {
            let ReplicaWrite { set, digest, mode, .. } = write;
            let op = Op::Merge { key: record.clone(), set, digest, mode, hint_for: None, epoch, sync: true };
            let what = HandoffAsk::Kept(record.clone(), digest);
            return self.submit(op, Done::Handoff { target, what }, kernel);
        }
        say!(kernel, "node-{} hands its hint of key-{key} for node-{target} to node-{to}", self.me);
        let request = ReplicaRequest { id, epoch, ask: ReplicaAsk::Write(write) };
        match self.send(to, Class::Background, request, kernel) {
            Ok(()) => {
                self.handoff.sent.insert(id, (target, record.as_bytes().clone(), digest, to));
                if kernel.known_bad == Some(KnownBad::HintDroppedUnconfirmed) {
                    let op = Op::DropHint { target: id_of(target), key: record.clone(), digest };
                    self.submit(op, Done::Nobody, kernel);
                }
            }
            Err(_) => self.refuse(target, record.as_bytes(), Refusal::Unreachable, kernel),
        }
    }

    /// Who gets a hint: its target while that is a home of the key; else a home that can be had, this node first.
    fn heir(&self, target: u8, record: &RecordKey) -> Option<u8> {
        let homes = self.view.homes(record.partition());
        if homes.contains(&target) {
            return Some(target);
        }
        let own = homes.contains(&self.me).then_some(self.me);
        own.or_else(|| homes.iter().copied().find(|home| self.is_background_open(*home)))
    }

    /// No answer of this peer will come: what was sent to it in a target's place is tried again, with the target's own.
    fn handoff_lost(&mut self, peer: u8, kernel: &mut Kernel) {
        let lost: Vec<(u8, Bytes)> = self
            .handoff
            .sent
            .extract_if(.., |_, (.., to)| *to == peer)
            .map(|(_, (target, key, ..))| (target, key))
            .collect();
        for (target, key) in lost {
            if target != peer {
                self.refuse(target, &key, Refusal::Unreachable, kernel);
            }
        }
    }

    /// Hints are for a key's homes, not for a node for ever: those of who is no member any more can be delivered.
    pub(super) fn look_for_gone(&mut self, kernel: &mut Kernel) {
        let targets = self.handoff.deliveries.keys().copied();
        let gone: Vec<u8> = targets.filter(|target| !self.view.is_member(*target)).collect();
        for target in gone {
            self.drive(target, kernel, |delivery, now, _, effects| delivery.on_target_up(now, effects));
        }
    }

    fn drive(&mut self, target: u8, kernel: &mut Kernel, step: impl FnOnce(&mut Delivery, u64, u64, &mut Effects)) {
        let now = kernel.clock_us();
        let random = self.chance.next();
        let deliveries = &mut self.handoff.deliveries;
        let delivery = deliveries.entry(target).or_insert_with(|| Delivery::new(id_of(target), SETTINGS, now));
        let mut effects = Effects::new();
        step(delivery, now, random, &mut effects);
        for effect in effects {
            self.carry_out_handoff(target, effect, kernel);
        }
        self.schedule_handoff(kernel);
    }

    fn carry_out_handoff(&mut self, target: u8, effect: Effect, kernel: &mut Kernel) {
        let decode = |key: &[u8]| RecordKey::decode(key).expect("it came from the store");
        match effect {
            Effect::ReadPage { after, limit } => {
                let read = Read::HintPage { target: id_of(target), after: after.map(|key| decode(&key)), limit };
                self.read(&read, Done::Handoff { target, what: HandoffAsk::Page }, kernel);
            }
            Effect::Send { key, .. } => {
                let key = decode(&key);
                let read = Read::Hint { target: id_of(target), key: key.clone() };
                self.read(&read, Done::Handoff { target, what: HandoffAsk::Hint(key, self.epoch()) }, kernel);
            }
            Effect::Drop { key, digest } => self.forget(target, decode(&key), digest, HandoffAsk::Drop, kernel),
            Effect::Idle => {}
        }
    }

    fn forget(
        &mut self,
        target: u8,
        key: RecordKey,
        digest: u64,
        what: impl FnOnce(RecordKey) -> HandoffAsk,
        kernel: &mut Kernel,
    ) {
        let done = Done::Handoff { target, what: what(key.clone()) };
        self.submit(Op::DropHint { target: id_of(target), key, digest }, done, kernel);
    }
}

fn refusal_of(refusal: Refused) -> Refusal {
    match refusal {
        Refused::Unreachable | Refused::Stopping => Refusal::Unreachable,
        Refused::DiskFull => Refusal::DiskFull,
        // Only reads are refused by who is being filled.
        Refused::Overloaded | Refused::HintsFull | Refused::Refilling => Refusal::Overloaded,
        Refused::Sealed => Refusal::Sealed,
        Refused::Corrupt | Refused::Invalid => Refusal::Invalid,
    }
}
