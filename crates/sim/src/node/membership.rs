//! Drives the gossip machine (§4.8): the simulator's `node/src/membership.rs`.

use bytes::Bytes;
use dynamo_gossip::{
    Bucket as GossipBucket, BucketMode, Disk, Effect, Effects, Failure, Gossip, Load, Message, NodeInfo, PeerState,
    Phase, Settings, Target,
};
use dynamo_storage::{
    DiskState, Op, Outcome, Read,
    engine::{Batch, Space},
};
use dynamo_version::Mode;

use super::{Done, Identity, Node, cluster::Standing, store::Store};
use crate::{
    coverage::cover,
    fault::Fault,
    message::{Class, Lost},
    world::{EPOCH_MS, Kernel, Shape, View, id_of, index_of, say},
};

/// Silence of a replica, microseconds, after which it counts as a failure to answer.
const PATIENCE_US: u64 = 500_000;
const LOOK_US: u64 = 100_000;
const DOWN_AFTER_US: u64 = 5_000_000;
const BUCKETS_KEY: &[u8] = b"buckets";

/// A name that finds some node, wherever it is.
const SEED: &str = "seeds:8400";

fn address(place: u8) -> String {
    format!("host-{place}:8400")
}

fn place_at(address: &str) -> Option<u8> {
    address.strip_prefix("host-")?.strip_suffix(":8400")?.parse().ok()
}

fn configured(node: u8, shape: &Shape) -> NodeInfo {
    let zone = format!("zone-{}", node % shape.plan.cluster.zones);
    NodeInfo {
        id: id_of(node),
        name: format!("node-{node}"),
        zone,
        weight: 1,
        peer_addr: address(node),
        ..NodeInfo::default()
    }
}

fn as_gossip(at: usize, shape: &Shape) -> GossipBucket {
    let (bucket, settings) = (&shape.buckets[at], shape.plan.buckets[at]);
    let mode = if bucket.mode == Mode::LastWriteWins { BucketMode::LastWriteWins } else { BucketMode::Siblings };
    let created = (EPOCH_MS, id_of(0));
    GossipBucket { name: bucket.name.clone(), mode, r: settings.r, w: settings.w, strict: settings.strict, created }
}

/// What a node's disk is given before its first start: the buckets, as if they had been created long ago.
pub fn stored_table(shape: &Shape) -> Batch {
    let names: Vec<&str> = shape.buckets.iter().map(|bucket| bucket.name.as_str()).collect();
    let mut batch = Batch::new();
    batch.put(Space::Meta, [b"node/", BUCKETS_KEY].concat().into(), names.join("\n").into());
    batch
}

/// The machine of a node that starts, and which buckets it knows from its disk.
pub fn machine(
    (me, place): (u8, u8),
    identity: &Identity,
    shape: &Shape,
    store: &Store,
    view: &View,
) -> (Gossip, Vec<bool>) {
    let info = NodeInfo {
        peer_addr: address(place),
        incarnation: identity.incarnation,
        ring_epoch: view.epoch(),
        ring_version: view.version,
        ..configured(me, shape)
    };
    let founders = shape.nodes() - shape.plan.cluster.spares;
    let known = (0..founders).filter(|node| *node != me).map(|node| configured(node, shape)).collect();
    let settings = Settings { down_after_us: DOWN_AFTER_US };
    let moves = shape.plan.faults.iter().any(|fault| matches!(fault.what, Fault::Move { .. }));
    // A headless Service finds whoever runs.
    let seed = if moves || shape.plan.tending.is_some() { SEED.to_owned() } else { address(0) };
    let mut gossip = Gossip::new(info, identity.generation, vec![seed], known, settings);
    let read = Read::Meta { key: Bytes::from_static(BUCKETS_KEY) };
    let names = match store.read(&read) {
        Ok(Outcome::Meta(Some(names))) => names,
        _ => Bytes::new(),
    };
    let stored = |name: &str| names.split(|byte| *byte == b'\n').any(|known| known == name.as_bytes());
    let buckets: Vec<bool> = shape.buckets.iter().map(|bucket| stored(&bucket.name)).collect();
    let restored = (0..buckets.len()).filter(|at| buckets[*at]).map(|at| as_gossip(at, shape)).collect();
    gossip.restore_buckets(restored);
    (gossip, buckets)
}

impl Node {
    /// A gossip message from a peer; the receipt is the caller's.
    pub fn on_gossip(&mut self, from: u8, message: Message, kernel: &mut Kernel) {
        self.step(kernel, |machine, now, effects| machine.on_message(id_of(from), message, now, effects));
    }

    pub(super) fn gossip_heard(&mut self, peer: u8, kernel: &mut Kernel) {
        self.step(kernel, |machine, now, effects| machine.heard_from(id_of(peer), now, effects));
    }

    pub(super) fn gossip_failed(&mut self, peer: u8, lost: Lost, kernel: &mut Kernel) {
        let failure = if lost == Lost::Refused { Failure::Refused } else { Failure::Timeout };
        self.step(kernel, |machine, now, effects| machine.failed(id_of(peer), failure, now, effects));
    }

    pub(super) fn announce_serving(&mut self, kernel: &mut Kernel) {
        self.announce(Phase::Serving, kernel);
    }

    pub(super) fn announce_draining(&mut self, kernel: &mut Kernel) {
        cover!("gossip.draining");
        self.announce(Phase::Draining, kernel);
    }

    fn announce(&mut self, phase: Phase, kernel: &mut Kernel) {
        self.update_self(|info| info.phase = phase);
        self.step(kernel, |machine, _, effects| machine.spread_now(effects));
    }

    /// Every second: what this node says of itself, the hedging time, a round.
    pub(super) fn round_of_gossip(&mut self, kernel: &mut Kernel) {
        self.update_self(|_| {});
        self.latencies.adapt_hedging();
        let random = self.chance.next();
        self.step(kernel, |machine, now, effects| machine.on_tick(now, random, effects));
    }

    /// What the links saw since the last look: answers, or silence with requests out.
    pub(super) fn look_at_links(&mut self, kernel: &mut Kernel) {
        let (now, me) = (kernel.clock_us(), self.me);
        for peer in (0..self.shape.nodes()).filter(|peer| *peer != me) {
            let (silent, heard) = self.silence(peer, Class::Foreground, now);
            if silent > PATIENCE_US {
                self.gossip_failed(peer, Lost::Timeout, kernel);
            } else if now.saturating_sub(heard) < LOOK_US {
                self.gossip_heard(peer, kernel);
            }
        }
    }

    fn step(&mut self, kernel: &mut Kernel, step: impl FnOnce(&mut Gossip, u64, &mut Effects)) {
        let mut effects = Effects::new();
        step(&mut self.gossip, kernel.clock_us(), &mut effects);
        let mut changed = false;
        for effect in effects {
            match effect {
                Effect::Send { to, message } => self.tell(&to, message, kernel),
                Effect::StateChanged { id, from, to } => {
                    changed = true;
                    self.note_change(index_of(id), from, to, kernel);
                }
                Effect::MembersChanged => changed = true,
                Effect::BucketsChanged => self.take_buckets(kernel),
            }
        }
        if changed {
            self.publish_states(kernel);
        }
    }

    fn note_change(&self, peer: u8, from: PeerState, to: PeerState, kernel: &mut Kernel) {
        match (from, to) {
            (_, PeerState::Suspect) => cover!("gossip.suspect"),
            (_, PeerState::Down) => cover!("gossip.down"),
            (PeerState::Down, PeerState::Up) => cover!("gossip.up_again"),
            _ => {}
        }
        say!(kernel, "node-{} thinks node-{peer} {to:?}, no longer {from:?}", self.me);
    }

    fn tell(&self, to: &Target, message: Message, kernel: &mut Kernel) {
        let (place, meant) = match to {
            Target::Node(id) => (self.place_of(index_of(*id)), Some(index_of(*id))),
            Target::Address(address) if address == SEED => {
                let found = (0..self.shape.nodes()).find(|node| *node != self.me && kernel.is_on(*node));
                let Some(found) = found else { return };
                (kernel.places[usize::from(found)], None)
            }
            Target::Address(address) => match place_at(address) {
                Some(place) if place != kernel.places[usize::from(self.me)] => (place, None),
                _ => return,
            },
        };
        kernel.send_gossip(self.me, self.life, (place, meant), message);
    }

    /// Where this node looks for a peer.
    pub(super) fn place_of(&self, peer: u8) -> u8 {
        self.gossip.info(id_of(peer)).and_then(|info| place_at(&info.peer_addr)).unwrap_or(peer)
    }

    fn update_self(&mut self, change: impl FnOnce(&mut NodeInfo)) {
        let disk = match self.store.disk_state() {
            DiskState::Ok => Disk::Ok,
            DiskState::Full => Disk::Full,
            DiskState::Failing => Disk::Failing,
        };
        let standing = if disk == Disk::Ok { Standing::Up } else { Standing::ReadOnly };
        self.peers[usize::from(self.me)].standing = standing;
        let (keys, tombstones, bytes) = self.store.load();
        let load = Load {
            keys: keys.saturating_sub(tombstones),
            tombstones,
            bytes,
            hints_held: self.store.hints_held(),
            disk_free: 0,
        };
        self.gossip.set_self(|info| {
            info.disk = disk;
            info.load = load;
            change(info);
        });
    }

    /// Makes what gossip knows what requests go by.
    fn publish_states(&mut self, kernel: &mut Kernel) {
        let mut standings: smallvec::SmallVec<[(u8, Standing); 16]> = smallvec::SmallVec::new();
        for (info, detector) in self.gossip.members() {
            let node = index_of(info.id);
            self.keeping.keeper.on_version(info.id, info.ring_version);
            if node == self.me {
                continue;
            }
            let standing = match (detector.state(), info.phase, info.disk) {
                (PeerState::Up | PeerState::Suspect, Phase::Draining, _) => Standing::Down,
                (PeerState::Up, _, Disk::Ok) => Standing::Up,
                (PeerState::Up, ..) => Standing::ReadOnly,
                (PeerState::Suspect, _, Disk::Ok) => Standing::Suspect,
                _ => Standing::Down,
            };
            standings.push((node, standing));
        }
        for (node, standing) in standings {
            self.peers[usize::from(node)].standing = standing;
            self.handoff_reachable(node, standing == Standing::Up, kernel);
        }
    }

    /// The ring is another.
    pub(super) fn ring_changed(&mut self, epoch: u64, version: u64, kernel: &mut Kernel) {
        self.update_self(|info| (info.ring_epoch, info.ring_version) = (epoch, version));
        self.publish_states(kernel);
    }

    fn take_buckets(&mut self, kernel: &mut Kernel) {
        let shape = self.shape.clone();
        for (at, bucket) in shape.buckets.iter().enumerate() {
            let known = self.gossip.buckets().get(&bucket.name).is_some();
            if known && !self.buckets[at] {
                cover!("gossip.buckets_learnt");
            }
            self.buckets[at] = known;
        }
        let known = shape.buckets.iter().filter(|bucket| self.gossip.buckets().get(&bucket.name).is_some());
        let names: Vec<&str> = known.map(|bucket| bucket.name.as_str()).collect();
        let op = Op::PutMeta { key: Bytes::from_static(BUCKETS_KEY), value: Some(names.join("\n").into()) };
        self.submit(op, Done::Nobody, kernel);
    }
}
