//! The gossip machine: messages, ticks and observations in, messages and news out (§4.8).
//!
//! Each tick it begins one exchange with a random peer, one with a peer that does not answer (to notice its return), one
//! with a seed that it does not know, and asks others about those that are suspect. Information about a node carries the
//! node's own version numbers, so the newest wins wherever it comes from.

use dynamo_ring::NodeId;

use crate::{
    buckets::{Bucket, BucketTable, Creation},
    detector::{Detector, Failure, PeerState},
    member::NodeInfo,
    message::{Digest, Message},
    nodes::{News, Nodes},
    probes::Probes,
};

/// Nodes that are asked about a suspect.
const INDIRECT_PROBES: usize = 2;

/// However patient a cluster is with suspects: a node that is alone serves what it can.
const SELF_SUSPICION_MAX_US: u64 = 5_000_000;

/// How the machine behaves.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Microseconds: after so long as a suspect a peer counts as down (§4.8.3), and so long a node that has just started and
    /// hears nobody suspects itself.
    pub down_after_us: u64,
}

/// Whom a message goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A node that is known: its address is in [`Gossip::info`].
    Node(NodeId),
    /// Whoever is at this address, host:port: a seed that is not known yet (§4.8.2), or a node that is not where it was.
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
    /// This node thinks otherwise of another (§4.8.3).
    StateChanged {
        /// Of whom.
        id: NodeId,
        /// Before.
        from: PeerState,
        /// Now.
        to: PeerState,
    },
    /// Something about other nodes is new: an address, a phase, a load.
    MembersChanged,
    /// The bucket table is new.
    BucketsChanged,
}

/// A list of effects, in order.
pub type Effects = Vec<Effect>;

/// What a node knows of the others, and how it comes to know it (§4.8). Nothing here fails: what makes no sense is dropped.
pub struct Gossip {
    nodes: Nodes,
    seeds: Vec<String>,
    buckets: BucketTable,
    /// A peer has said in this life which buckets there are.
    heard_of_buckets: bool,
    /// A peer has answered in this life.
    heard_of_anybody: bool,
    /// When this life began to look for others, in microseconds.
    since_us: Option<u64>,
    settings: Settings,
    probes: Probes,
}

impl Gossip {
    /// A node in its `generation`-th start, counted from 1. `seeds` are addresses, host:port, where some node is found
    /// (§4.8.2). `known` are nodes that the configuration names: their addresses are where they are looked for until they
    /// say otherwise themselves.
    pub fn new(me: NodeInfo, generation: u64, seeds: Vec<String>, known: Vec<NodeInfo>, settings: Settings) -> Self {
        let nodes = Nodes::new(me, generation, known);
        Self {
            nodes,
            seeds,
            buckets: BucketTable::default(),
            heard_of_buckets: false,
            heard_of_anybody: false,
            since_us: None,
            settings,
            probes: Probes::default(),
        }
    }

    /// A round: one exchange with a random peer, one with one that is down or unheard of, one with a strange seed, probes
    /// about suspects. `now` is in microseconds from any beginning and never goes back; `random` is any number, a new one
    /// each time.
    pub fn on_tick(&mut self, now: u64, random: u64, effects: &mut Effects) {
        self.since_us.get_or_insert(now);
        self.probes.on_tick();
        let down_after_us = self.settings.down_after_us;
        for id in self.nodes.others() {
            self.observe(id, effects, |detector| detector.tick(now, down_after_us));
        }
        let (answering, silent): (Vec<_>, Vec<_>) =
            self.nodes.others().into_iter().partition(|id| self.state(*id) == PeerState::Up);
        for (group, random) in [(&answering, random), (&silent, random.rotate_left(17))] {
            if let Some(peer) = pick(group, random) {
                self.begin_exchange(*peer, effects);
            }
        }
        self.ask_a_seed(answering.is_empty(), random.rotate_left(31), effects);
        self.ask_about_suspects(&answering, &silent, random.rotate_left(43), effects);
    }

    fn begin_exchange(&self, peer: NodeId, effects: &mut Effects) {
        if !self.nodes.can_answer(peer) {
            self.send(peer, Message::Delta { nodes: self.nodes.my_news(), digest: None }, effects);
        }
        self.send(peer, Message::Digest(self.digest()), effects);
    }

    /// A seed whose address no known node bears may be the way to nodes that know nothing of these (§4.8.2: seeds prevent
    /// logical partitions). Without any answer all seeds are worth a try: the addresses that are known may be old.
    fn ask_a_seed(&self, alone: bool, random: u64, effects: &mut Effects) {
        let is_me = |seed: &str| self.nodes.me().info.peer_addr == seed;
        let is_known = |seed: &str| self.nodes.all().any(|known| known.info.peer_addr == seed);
        let worth_a_try = |seed: &&String| if alone { !is_me(seed) } else { !is_known(seed) };
        let seeds: Vec<&String> = self.seeds.iter().filter(worth_a_try).collect();
        let Some(seed) = pick(&seeds, random) else { return };
        // It answers only who it knows: it is told first.
        let told = Message::Delta { nodes: self.nodes.my_news(), digest: None };
        for message in [told, Message::Digest(self.digest())] {
            effects.push(Effect::Send { to: Target::Address((*seed).clone()), message });
        }
    }

    fn ask_about_suspects(&mut self, answering: &[NodeId], silent: &[NodeId], random: u64, effects: &mut Effects) {
        if answering.is_empty() {
            return;
        }
        let is_suspect = |id: &NodeId| matches!(self.state(*id), PeerState::Suspect | PeerState::Down);
        let suspects: Vec<NodeId> = silent.iter().copied().filter(is_suspect).collect();
        let Some((target, seq)) = self.probes.ask(&suspects) else { return };
        let first = (random % answering.len() as u64) as usize;
        for helper in answering.iter().cycle().skip(first).take(INDIRECT_PROBES.min(answering.len())) {
            self.send(*helper, Message::PingRequest { target, seq }, effects);
        }
    }

    /// A message came from a node; `now` is in microseconds. An answer shows that the node answers this one; a question
    /// does not, nor does what it tells unasked: the way back may be cut (§4.8.3).
    pub fn on_message(&mut self, from: NodeId, message: Message, now: u64, effects: &mut Effects) {
        if from == self.nodes.my_id() {
            return;
        }
        match message {
            Message::Digest(digest) => self.on_digest(from, &digest, effects),
            Message::Delta { nodes, digest } => self.on_delta(from, nodes, digest, now, effects),
            Message::Ping { seq } => self.send(from, Message::Ack { seq }, effects),
            Message::Ack { seq } => {
                self.heard_from(from, now, effects);
                if let Some(errand) = self.probes.end_errand(seq, from) {
                    let reply = Message::PingReply { target: from, seq: errand.asker_seq };
                    self.send(errand.asker, reply, effects);
                }
            }
            Message::PingRequest { target, seq } => self.run_errand(from, target, seq, effects),
            Message::PingReply { target, seq } => {
                self.heard_from(from, now, effects);
                if self.probes.was_asked(target, seq)
                    && let Some(known) = self.nodes.other_mut(target)
                {
                    known.detector.others_heard(now);
                }
            }
            Message::Buckets(buckets) => self.take_buckets(from, buckets, effects),
        }
    }

    fn on_digest(&mut self, from: NodeId, digest: &Digest, effects: &mut Effects) {
        self.nodes.note_digest(from, &digest.entries);
        let nodes = self.nodes.news_for(&digest.entries);
        self.send(from, Message::Delta { nodes, digest: Some(self.digest()) }, effects);
        self.heard_of_buckets |= digest.buckets == self.buckets.digest();
        if digest.buckets != self.buckets.digest() {
            self.send_buckets(from, effects);
        }
    }

    fn on_delta(&mut self, from: NodeId, nodes: Vec<News>, digest: Option<Digest>, now: u64, effects: &mut Effects) {
        if let Some((address, news)) = self.nodes.memory_of(from, &nodes) {
            let message = Message::Delta { nodes: vec![news], digest: None };
            effects.push(Effect::Send { to: Target::Address(address), message });
        }
        if self.nodes.learn(nodes) {
            effects.push(Effect::MembersChanged);
        }
        let Some(digest) = digest else { return };
        self.heard_from(from, now, effects);
        self.heard_of_buckets |= digest.buckets == self.buckets.digest();
        self.nodes.note_digest(from, &digest.entries);
        let nodes = self.nodes.news_for(&digest.entries);
        if !nodes.is_empty() {
            self.send(from, Message::Delta { nodes, digest: None }, effects);
        }
    }

    /// A peer answered, in whatever way; `now` is in microseconds.
    pub fn heard_from(&mut self, id: NodeId, now: u64, effects: &mut Effects) {
        self.heard_of_anybody |= id != self.nodes.my_id();
        self.observe(id, effects, |detector| detector.heard(now));
    }

    /// A peer could not be reached; `now` is in microseconds (§4.8.3). While this node suspects itself, a refusal tells
    /// nothing of the peer: where its own network is not up yet, whoever it asks for is refused.
    pub fn failed(&mut self, id: NodeId, failure: Failure, now: u64, effects: &mut Effects) {
        self.since_us.get_or_insert(now);
        if failure == Failure::Refused && self.suspects_itself(now) {
            return;
        }
        self.observe(id, effects, |detector| detector.failed(failure, now));
    }

    /// Changes what this node says of itself; the change spreads from the next tick on (§4.8.1). Its id stays.
    pub fn set_self(&mut self, change: impl FnOnce(&mut NodeInfo)) {
        self.nodes.change_me(change);
    }

    /// Tells everybody that answers at once, instead of leaving it to the next rounds: for what must not wait, such as a
    /// new bucket or a node that is about to stop.
    pub fn spread_now(&mut self, effects: &mut Effects) {
        let news = self.nodes.my_news();
        for id in self.nodes.others() {
            if self.state(id) == PeerState::Up {
                self.send(id, Message::Delta { nodes: news.clone(), digest: None }, effects);
                self.send_buckets(id, effects);
            }
        }
    }

    /// What this node thinks of another (§4.8.3); of itself, that it is up.
    pub fn state(&self, id: NodeId) -> PeerState {
        match self.nodes.get(id) {
            Some(_) if id == self.nodes.my_id() => PeerState::Up,
            Some(known) => known.detector.state(),
            None => PeerState::Unknown,
        }
    }

    /// All known nodes by id, this one included, with what is thought of each.
    pub fn members(&self) -> impl Iterator<Item = (&NodeInfo, &Detector)> {
        self.nodes.all().map(|known| (&known.info, &known.detector))
    }

    /// What a node says of itself; None: never heard of.
    pub fn info(&self, id: NodeId) -> Option<&NodeInfo> {
        self.nodes.get(id).map(|known| &known.info)
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

    /// Whether a bucket that is not in the table is one that there isn't: what this node's disk had may be old, or nothing at
    /// all, until a peer says what it has.
    pub fn knows_buckets(&self) -> bool {
        let me = &self.nodes.me().info.peer_addr;
        self.heard_of_buckets || (self.nodes.others().is_empty() && self.seeds.iter().all(|seed| seed == me))
    }

    /// Nobody has answered since this node started, and that was not long ago: it may be its own network that is not up
    /// yet. A suspicion's time ends that as well, since it may really be the only one that is left. `now` is in microseconds.
    pub fn suspects_itself(&self, now: u64) -> bool {
        let for_us = now.saturating_sub(self.since_us.unwrap_or(now));
        !self.heard_of_anybody && for_us < self.settings.down_after_us.min(SELF_SUSPICION_MAX_US)
    }

    fn observe(&mut self, id: NodeId, effects: &mut Effects, change: impl FnOnce(&mut Detector)) {
        let Some(known) = self.nodes.other_mut(id) else { return };
        let from = known.detector.state();
        change(&mut known.detector);
        let to = known.detector.state();
        if from != to {
            effects.push(Effect::StateChanged { id, from, to });
        }
    }

    /// A node that is not known has no address to send to: it will tell its address before it asks again.
    fn send(&self, to: NodeId, message: Message, effects: &mut Effects) {
        if self.nodes.get(to).is_some() {
            effects.push(Effect::Send { to: Target::Node(to), message });
        }
    }

    fn send_buckets(&self, to: NodeId, effects: &mut Effects) {
        self.send(to, Message::Buckets(self.buckets.iter().cloned().collect()), effects);
    }

    fn digest(&self) -> Digest {
        Digest { entries: self.nodes.digest(), buckets: self.buckets.digest() }
    }

    fn run_errand(&mut self, asker: NodeId, target: NodeId, asker_seq: u64, effects: &mut Effects) {
        let makes_sense = self.nodes.get(asker).is_some() && self.nodes.other_mut(target).is_some();
        if !makes_sense || asker == target {
            return;
        }
        if let Some(seq) = self.probes.take_errand(asker, asker_seq, target) {
            self.send(target, Message::Ping { seq }, effects);
        }
    }

    fn take_buckets(&mut self, from: NodeId, buckets: Vec<Bucket>, effects: &mut Effects) {
        let mut theirs = BucketTable::default();
        theirs.merge(buckets.iter().cloned());
        self.heard_of_buckets = true;
        if self.buckets.merge(buckets) {
            effects.push(Effect::BucketsChanged);
        }
        // They lack something: one message more and both have the same.
        if theirs.digest() != self.buckets.digest() {
            self.send_buckets(from, effects);
        }
    }
}

fn pick<T>(from: &[T], random: u64) -> Option<&T> {
    from.get((random % from.len().max(1) as u64) as usize)
}
