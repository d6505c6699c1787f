//! The network: who reaches whom, how fast, and the streams between nodes.
//!
//! Two kinds of traffic. A *stream* (two for each pair of nodes and direction, as in the node's `link.rs`) delivers in
//! order while it lives, as TCP does: loss makes it late, a cut makes it wait, a break loses what is under way, and
//! whoever opened it is told. *Datagrams* (gossip, clients' requests) are lost, doubled and overtaken one by one.

use std::collections::VecDeque;

use crate::{
    chance::{Chance, For},
    message::{Class, ReplicaReply, ReplicaRequest},
    plan::Plan,
};

/// How long a lost segment takes to be sent again, microseconds.
const RETRANSMIT_US: u64 = 200_000;

/// The way from one endpoint to another.
struct Way {
    /// Faults that cut it now.
    cuts: u8,
    slow_us: u32,
    loss: u32,
    duplicate: u32,
    reorder: u32,
    chance: Chance,
}

/// What is wrong with a way, besides cuts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Badness {
    pub slow_us: u32,
    pub loss: u32,
    pub duplicate: u32,
    pub reorder: u32,
}

/// A stream that a node (its client) has opened to a peer (its server).
#[derive(Default)]
pub struct Stream {
    pub open: bool,
    /// Counts what it was opened and broken; what is under way belongs to one.
    pub generation: u32,
    /// The server's life that it was opened to.
    pub server_life: u32,
    /// Before this nothing arrives there, or back: order is kept.
    pub there_at: u64,
    pub back_at: u64,
    pub waiting_there: VecDeque<Box<ReplicaRequest>>,
    pub waiting_back: VecDeque<Box<ReplicaReply>>,
}

/// What becomes of a datagram.
pub enum Fate {
    Lost,
    Arrives { after_us: u64, again_after_us: Option<u64> },
}

/// All ways and streams.
pub struct Network {
    endpoints: usize,
    nodes: usize,
    latency_us: u64,
    jitter_us: u64,
    ways: Vec<Way>,
    streams: Vec<Stream>,
    /// When anything last changed that answers hang on.
    pub changed_us: u64,
}

impl Network {
    pub fn new(plan: &Plan) -> Self {
        let nodes = usize::from(plan.cluster.nodes);
        let endpoints = nodes + plan.clients.len();
        let way = |at: usize| Way {
            cuts: 0,
            slow_us: 0,
            loss: 0,
            duplicate: 0,
            reorder: 0,
            chance: Chance::new(plan.seed, For::Link, at as u64),
        };
        Self {
            endpoints,
            nodes,
            latency_us: plan.network.latency_us.into(),
            jitter_us: plan.network.jitter_us.into(),
            ways: (0..endpoints * endpoints).map(way).collect(),
            streams: (0..nodes * nodes * 2).map(|_| Stream::default()).collect(),
            changed_us: 0,
        }
    }

    fn way(&mut self, from: u8, to: u8) -> &mut Way {
        &mut self.ways[usize::from(from) * self.endpoints + usize::from(to)]
    }

    pub fn is_cut(&self, from: u8, to: u8) -> bool {
        self.ways[usize::from(from) * self.endpoints + usize::from(to)].cuts > 0
    }

    /// Whether both ways are open.
    pub fn connected(&self, one: u8, other: u8) -> bool {
        !self.is_cut(one, other) && !self.is_cut(other, one)
    }

    /// A cut of a way begins.
    pub fn cut(&mut self, from: u8, to: u8) {
        let way = self.way(from, to);
        way.cuts += 1;
    }

    /// A cut ends; true if the way is open now.
    pub fn mend(&mut self, from: u8, to: u8) -> bool {
        let way = self.way(from, to);
        way.cuts -= 1;
        way.cuts == 0
    }

    pub fn set_bad(&mut self, from: u8, to: u8, bad: Badness) {
        let Badness { slow_us, loss, duplicate, reorder } = bad;
        let way = self.way(from, to);
        (way.slow_us, way.loss, way.duplicate, way.reorder) = (slow_us, loss, duplicate, reorder);
    }

    fn latency(&mut self, from: u8, to: u8) -> u64 {
        let (base, jitter) = (self.latency_us, self.jitter_us);
        let way = self.way(from, to);
        // The square of an even chance: most are near the least, some are three times the mean.
        let chance = way.chance.below(1 << 16);
        let extra = (jitter * 3 * ((chance * chance) >> 16)) >> 16;
        // Now and then a queue somewhere is full.
        let spike = if way.chance.permille(2) { way.chance.below(30_000) } else { 0 };
        base + extra + spike + u64::from(way.slow_us)
    }

    /// One way there and back, of a handshake.
    pub fn round_trip(&mut self, from: u8, to: u8) -> u64 {
        self.latency(from, to) + self.latency(to, from)
    }

    pub fn datagram(&mut self, from: u8, to: u8) -> Fate {
        let after_us = self.latency(from, to);
        let way = self.way(from, to);
        if way.cuts > 0 || way.chance.permille(way.loss) {
            return Fate::Lost;
        }
        let overtaken = if way.chance.permille(way.reorder) { way.chance.below(500_000) } else { 0 };
        let again = way.chance.permille(way.duplicate).then(|| after_us + way.chance.below(2_000_000));
        Fate::Arrives { after_us: after_us + overtaken, again_after_us: again }
    }

    pub fn stream_number(&self, client: u8, server: u8, class: Class) -> u16 {
        ((usize::from(client) * self.nodes + usize::from(server)) * 2 + class as usize) as u16
    }

    /// Client, server and class of a stream.
    pub fn ends(&self, stream: u16) -> (u8, u8, Class) {
        let pair = usize::from(stream) / 2;
        let class = if stream.is_multiple_of(2) { Class::Foreground } else { Class::Background };
        ((pair / self.nodes) as u8, (pair % self.nodes) as u8, class)
    }

    pub fn stream(&mut self, stream: u16) -> &mut Stream {
        &mut self.streams[usize::from(stream)]
    }

    pub fn streams(&self) -> impl Iterator<Item = (u16, &Stream)> {
        self.streams.iter().enumerate().map(|(at, stream)| (at as u16, stream))
    }

    /// Closes a stream: what is under way or waits is lost. Returns whether it was open; if not, nothing changes.
    pub fn close(&mut self, stream: u16) -> bool {
        let stream = self.stream(stream);
        if !stream.open {
            return false;
        }
        stream.generation += 1;
        stream.waiting_there.clear();
        stream.waiting_back.clear();
        stream.open = false;
        true
    }

    /// Whether something in an open stream is late: sent again and again, it holds up what is behind it.
    pub fn is_backed_up(&self, now: u64) -> bool {
        self.streams.iter().any(|stream| stream.open && stream.there_at.max(stream.back_at) > now)
    }

    /// When a message that is put into a stream now arrives.
    pub fn stream_arrival(&mut self, number: u16, back: bool, now: u64) -> u64 {
        let (client, server, _) = self.ends(number);
        let (from, to) = if back { (server, client) } else { (client, server) };
        let mut after = self.latency(from, to);
        let way = self.way(from, to);
        let mut timeout = RETRANSMIT_US;
        while way.chance.permille(way.loss) && timeout < 16 * RETRANSMIT_US {
            after += timeout;
            timeout *= 2;
        }
        let stream = self.stream(number);
        let before = if back { &mut stream.back_at } else { &mut stream.there_at };
        *before = (now + after).max(*before);
        *before
    }
}
