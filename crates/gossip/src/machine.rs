//! The gossip machine: messages, ticks and observations in, messages and news out (§4.8).
//!
//! Each tick it begins one exchange with a random peer, one with a peer that is down (to notice its return), and asks
//! others about those that are suspect. Information about a node carries the node's own version numbers, so the newest wins
//! wherever it comes from.

use std::collections::BTreeMap;

use dynamo_ring::NodeId;

use crate::{
    buckets::{Bucket, BucketTable, Creation},
    detector::{Detector, Failure, PeerState},
    member::{NodeInfo, Version},
    message::{Digest, Message},
};

/// Nodes in one delta: the rest comes with the next exchange.
const DELTA_NODES_MAX: usize = 256;
/// Nodes that are asked about a suspect.
const INDIRECT_PROBES: usize = 2;
/// Pings under way on behalf of others; more are not taken, the asker asks again.
const ERRANDS_MAX: usize = 64;
/// Nodes that are remembered; a cluster has at most as many as a ring has tokens.
const NODES_MAX: usize = 1 << 16;

/// How the machine behaves.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// After so long as a suspect a peer counts as down.
    pub down_after_us: u64,
}

/// Whom a message goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A node whose address is known.
    Node(NodeId),
    /// A seed of which only the address is known, host:port.
    Address(String),
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a message. What came of it is reported with [`Gossip::heard_from`] or [`Gossip::failed`].
    Send {
        /// To whom.
        to: Target,
        /// What.
        message: Message,
    },
    /// This node thinks otherwise of another.
    StateChanged {
        /// Of whom.
        id: NodeId,
        /// Before.
        from: PeerState,
        /// Now.
        to: PeerState,
    },
    /// Something about these nodes is new: an address, a phase, a load.
    MembersChanged,
    /// The bucket table is new.
    BucketsChanged,
}

/// A list of effects, in order.
pub type Effects = Vec<Effect>;

struct Known {
    info: NodeInfo,
    version: Version,
    detector: Detector,
}

struct Errand {
    asker: NodeId,
    asker_seq: u64,
    target: NodeId,
}

/// What a node knows of the others, and how it comes to know it.
pub struct Gossip {
    me: NodeId,
    nodes: BTreeMap<NodeId, Known>,
    seeds: Vec<String>,
    buckets: BucketTable,
    settings: Settings,
    errands: BTreeMap<u64, Errand>,
    seq: u64,
}

impl Gossip {
    /// A node in its `generation`-th start. `known` are nodes that the configuration names: their addresses are where
    /// they are looked for until they say otherwise themselves.
    pub fn new(me: NodeInfo, generation: u64, seeds: Vec<String>, known: Vec<NodeInfo>, settings: Settings) -> Self {
        let id = me.id;
        let unheard = known
            .into_iter()
            .map(|info| (info.id, Known { info, version: Version::default(), detector: Detector::default() }));
        let mut nodes: BTreeMap<_, _> = unheard.collect();
        let version = Version { generation, number: 1 };
        nodes.insert(id, Known { info: me, version, detector: Detector::default() });
        Self { me: id, nodes, seeds, buckets: BucketTable::default(), settings, errands: BTreeMap::new(), seq: 0 }
    }

    /// A round: one exchange with a random peer, one with one that is down or unheard of, probes about suspects.
    /// `random` is any number, a new one each time.
    pub fn on_tick(&mut self, now: u64, random: u64, effects: &mut Effects) {
        self.errands.clear();
        for id in self.others() {
            let down_after_us = self.settings.down_after_us;
            self.observe(id, effects, |detector| detector.tick(now, down_after_us));
        }
        let (answering, silent): (Vec<_>, Vec<_>) =
            self.others().into_iter().partition(|id| self.state(*id) == PeerState::Up);
        for (group, random) in [(&answering, random), (&silent, random.rotate_left(17))] {
            if let Some(peer) = pick(group, random) {
                self.send(*peer, Message::Digest(self.digest()), effects);
            }
        }
        if answering.is_empty()
            && let Some(seed) = pick(&self.seeds, random.rotate_left(31))
        {
            let message = Message::Digest(self.digest());
            effects.push(Effect::Send { to: Target::Address(seed.clone()), message });
        }
        self.ask_about_suspects(&answering, &silent, random, effects);
    }

    fn ask_about_suspects(&mut self, answering: &[NodeId], silent: &[NodeId], random: u64, effects: &mut Effects) {
        let suspects = silent.iter().filter(|id| matches!(self.state(**id), PeerState::Suspect | PeerState::Down));
        // One a round is enough: it only informs people.
        let Some(target) = suspects.copied().nth(0) else { return };
        self.seq += 1;
        let seq = self.seq;
        for offset in 0..INDIRECT_PROBES.min(answering.len()) as u64 {
            if let Some(helper) = pick(answering, random.rotate_left(43).wrapping_add(offset)) {
                self.send(*helper, Message::PingRequest { target, seq }, effects);
            }
        }
    }

    /// A message came from a node. An answer shows that the node answers this one; a question does not: the way back may
    /// be cut.
    pub fn on_message(&mut self, from: NodeId, message: Message, now: u64, effects: &mut Effects) {
        if matches!(message, Message::Delta { .. } | Message::Ack { .. } | Message::PingReply { .. }) {
            self.heard_from(from, now, effects);
        }
        match message {
            Message::Digest(digest) => {
                let nodes = self.news_for(&digest);
                self.send(from, Message::Delta { nodes, digest: Some(self.digest()) }, effects);
                self.compare_buckets(from, &digest, effects);
            }
            Message::Delta { nodes, digest } => {
                self.learn(nodes, effects);
                if let Some(digest) = digest {
                    let nodes = self.news_for(&digest);
                    if !nodes.is_empty() {
                        self.send(from, Message::Delta { nodes, digest: None }, effects);
                    }
                    self.compare_buckets(from, &digest, effects);
                }
            }
            Message::Ping { seq } => self.send(from, Message::Ack { seq }, effects),
            Message::Ack { seq } => {
                if let Some(errand) = self.errands.remove(&seq).filter(|errand| errand.target == from) {
                    let reply = Message::PingReply { target: from, seq: errand.asker_seq };
                    self.send(errand.asker, reply, effects);
                }
            }
            Message::PingRequest { target, seq } => self.run_errand(from, target, seq, effects),
            Message::PingReply { target, .. } => {
                if let Some(known) = self.nodes.get_mut(&target) {
                    known.detector.others_heard(now);
                }
            }
            Message::Buckets(buckets) => self.take_buckets(from, buckets, effects),
        }
    }

    /// A peer answered, in whatever way.
    pub fn heard_from(&mut self, id: NodeId, now: u64, effects: &mut Effects) {
        self.observe(id, effects, |detector| detector.heard(now));
    }

    /// A peer could not be reached.
    pub fn failed(&mut self, id: NodeId, failure: Failure, now: u64, effects: &mut Effects) {
        self.observe(id, effects, |detector| detector.failed(failure, now));
    }

    /// Changes what this node says of itself; the change spreads from the next tick on.
    pub fn set_self(&mut self, change: impl FnOnce(&mut NodeInfo)) {
        let me = self.nodes.get_mut(&self.me).expect("a node knows itself");
        let before = me.info.clone();
        change(&mut me.info);
        if me.info != before {
            me.version.number += 1;
        }
    }

    /// Tells everybody that answers at once, instead of leaving it to the next rounds: for what must not wait, such as a
    /// new bucket or a node that is about to stop.
    pub fn spread_now(&mut self, effects: &mut Effects) {
        let me = &self.nodes[&self.me];
        let news = vec![(me.info.clone(), me.version)];
        for id in self.others() {
            if self.state(id) == PeerState::Up {
                self.send(id, Message::Delta { nodes: news.clone(), digest: None }, effects);
                self.send(id, Message::Buckets(self.buckets.iter().cloned().collect()), effects);
            }
        }
    }

    /// What this node thinks of another.
    pub fn state(&self, id: NodeId) -> PeerState {
        match self.nodes.get(&id) {
            Some(_) if id == self.me => PeerState::Up,
            Some(known) => known.detector.state(),
            None => PeerState::Unknown,
        }
    }

    /// All known nodes, this one included, with what is thought of each.
    pub fn members(&self) -> impl Iterator<Item = (&NodeInfo, &Detector)> {
        self.nodes.values().map(|known| (&known.info, &known.detector))
    }

    /// What a node says of itself.
    pub fn info(&self, id: NodeId) -> Option<&NodeInfo> {
        self.nodes.get(&id).map(|known| &known.info)
    }

    /// Creates a bucket here; [`Gossip::spread_now`] tells the others.
    pub fn create_bucket(&mut self, bucket: Bucket, effects: &mut Effects) -> Creation {
        let creation = self.buckets.create(bucket);
        if creation == Creation::Created {
            effects.push(Effect::BucketsChanged);
        }
        creation
    }

    /// Takes in buckets from this node's own disk.
    pub fn restore_buckets(&mut self, buckets: Vec<Bucket>) {
        self.buckets.merge(buckets);
    }

    /// All buckets.
    pub fn buckets(&self) -> &BucketTable {
        &self.buckets
    }

    fn others(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().filter(|id| *id != self.me).collect()
    }

    fn observe(&mut self, id: NodeId, effects: &mut Effects, change: impl FnOnce(&mut Detector)) {
        if id == self.me {
            return;
        }
        let Some(known) = self.nodes.get_mut(&id) else { return };
        let from = known.detector.state();
        change(&mut known.detector);
        let to = known.detector.state();
        if from != to {
            effects.push(Effect::StateChanged { id, from, to });
        }
    }

    fn send(&self, to: NodeId, message: Message, effects: &mut Effects) {
        effects.push(Effect::Send { to: Target::Node(to), message });
    }

    fn digest(&self) -> Digest {
        let entries = self.nodes.iter().map(|(id, known)| (*id, known.version)).collect();
        Digest { entries, buckets: self.buckets.digest() }
    }

    /// What is newer here than there. What was only configured is no news.
    fn news_for(&self, digest: &Digest) -> Vec<(NodeInfo, Version)> {
        let theirs: BTreeMap<_, _> = digest.entries.iter().copied().collect();
        let newer = |id: &NodeId, known: &Known| known.version > theirs.get(id).copied().unwrap_or_default();
        let news = self.nodes.iter().filter(|(id, known)| newer(id, known));
        news.take(DELTA_NODES_MAX).map(|(_, known)| (known.info.clone(), known.version)).collect()
    }

    fn learn(&mut self, nodes: Vec<(NodeInfo, Version)>, effects: &mut Effects) {
        let mut changed = false;
        let mut room = NODES_MAX.saturating_sub(self.nodes.len());
        for (info, version) in nodes {
            if info.id == self.me {
                self.outdo(version);
                continue;
            }
            match self.nodes.get_mut(&info.id) {
                Some(known) if known.version >= version => {}
                Some(known) => {
                    (known.info, known.version) = (info, version);
                    changed = true;
                }
                None if room > 0 => {
                    room -= 1;
                    self.nodes.insert(info.id, Known { info, version, detector: Detector::default() });
                    changed = true;
                }
                None => {}
            }
        }
        if changed {
            effects.push(Effect::MembersChanged);
        }
    }

    /// Others know something newer of this node than it does: an earlier life whose counter this disk has lost. What it
    /// says now must be newer still.
    fn outdo(&mut self, version: Version) {
        let me = self.nodes.get_mut(&self.me).expect("a node knows itself");
        if version > me.version {
            me.version = Version { generation: version.generation, number: version.number.saturating_add(1) };
        }
    }

    fn run_errand(&mut self, asker: NodeId, target: NodeId, asker_seq: u64, effects: &mut Effects) {
        if target == self.me || !self.nodes.contains_key(&target) || self.errands.len() >= ERRANDS_MAX {
            return;
        }
        self.seq += 1;
        self.errands.insert(self.seq, Errand { asker, asker_seq, target });
        self.send(target, Message::Ping { seq: self.seq }, effects);
    }

    fn compare_buckets(&self, peer: NodeId, digest: &Digest, effects: &mut Effects) {
        if digest.buckets != self.buckets.digest() {
            self.send(peer, Message::Buckets(self.buckets.iter().cloned().collect()), effects);
        }
    }

    fn take_buckets(&mut self, from: NodeId, buckets: Vec<Bucket>, effects: &mut Effects) {
        let mut theirs = BucketTable::default();
        theirs.merge(buckets.iter().cloned());
        if self.buckets.merge(buckets) {
            effects.push(Effect::BucketsChanged);
        }
        // They lack something: one message more and both have the same.
        if theirs.digest() != self.buckets.digest() {
            self.send(from, Message::Buckets(self.buckets.iter().cloned().collect()), effects);
        }
    }
}

fn pick<T>(from: &[T], random: u64) -> Option<&T> {
    from.get((random % from.len().max(1) as u64) as usize)
}
