//! A node's ends of its streams to peers: the simulator's `node/src/link.rs`.

use std::collections::BTreeSet;

use dynamo_quorum::Refusal;
use dynamo_ring::NodeId;

use super::{Node, keeper};
use crate::{
    message::{Class, Lost, ReplicaReply, ReplicaRequest},
    world::{Kernel, NodeEvent, Shape, id_of},
};

const RECONNECT_MIN_US: u64 = 50_000;
const RECONNECT_MAX_US: u64 = 1_000_000;

/// One stream's state at its client.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    up: bool,
    pause_us: u64,
    /// When the oldest request without any reply since was sent; 0: nothing is awaited.
    waiting_since_us: u64,
    /// When the peer last replied over it.
    heard_us: u64,
}

pub fn links(shape: &Shape) -> Vec<Link> {
    let link = Link { up: false, pause_us: RECONNECT_MIN_US, waiting_since_us: 0, heard_us: 0 };
    vec![link; usize::from(shape.nodes()) * 2]
}

pub fn class(number: u8) -> Class {
    if number == 0 { Class::Foreground } else { Class::Background }
}

impl Node {
    fn link(&mut self, peer: u8, class: Class) -> &mut Link {
        &mut self.links[usize::from(peer) * 2 + class as usize]
    }

    /// Queues a request for a peer. Never waits.
    pub(super) fn send(
        &mut self,
        peer: u8,
        class: Class,
        request: ReplicaRequest,
        kernel: &mut Kernel,
    ) -> Result<(), Refusal> {
        let now = kernel.clock_us();
        let link = self.link(peer, class);
        if !link.up {
            return Err(Refusal::Unreachable);
        }
        if link.waiting_since_us == 0 {
            link.waiting_since_us = now;
        }
        let stream = kernel.network.stream_number(self.me, peer, class);
        kernel.send_request(stream, Box::new(request));
        Ok(())
    }

    /// A stream is open.
    pub fn link_up(&mut self, peer: u8, class: Class, kernel: &mut Kernel) {
        self.link(peer, class).up = true;
        if class == Class::Foreground {
            return self.gossip_heard(peer, kernel);
        }
        // It may be the background stream alone that had broken: then no news of the peer's state will come.
        if self.is_up(peer) {
            self.handoff_reachable(peer, true, kernel);
        }
    }

    /// A stream is closed, or could not be opened: no reply to what was sent before will come.
    pub fn link_down(&mut self, peer: u8, class: Class, lost: Lost, kernel: &mut Kernel) {
        let link = self.link(peer, class);
        let connected = std::mem::take(&mut link.up);
        link.waiting_since_us = 0;
        link.heard_us = 0;
        link.pause_us = if connected { RECONNECT_MIN_US } else { (link.pause_us * 2).min(RECONNECT_MAX_US) };
        let (pause_us, number) = (link.pause_us, class as u8);
        kernel.node_after(pause_us, self.me, self.life, NodeEvent::Connect { peer, class: number });
        if class == Class::Foreground {
            self.gossip_failed(peer, lost, kernel);
            self.peer_lost(peer, kernel);
        } else {
            self.handoff_reachable(peer, false, kernel);
            self.keeper_lost(peer, kernel);
        }
    }

    /// A reply came over a stream.
    pub fn on_reply(&mut self, peer: u8, class: Class, reply: ReplicaReply, kernel: &mut Kernel) {
        let now = kernel.clock_us();
        let link = self.link(peer, class);
        link.heard_us = now;
        link.waiting_since_us = 0;
        match class {
            Class::Foreground => self.on_replica_reply(peer, reply, kernel),
            Class::Background if reply.id & keeper::MARK != 0 => self.keeper_replied(reply, kernel),
            Class::Background => self.handoff_replied(reply, kernel),
        }
    }

    /// Whose background stream is open.
    pub(super) fn background_open(&self) -> BTreeSet<NodeId> {
        let open = |peer: &u8| self.links[usize::from(*peer) * 2 + Class::Background as usize].up;
        (0..self.shape.nodes()).filter(open).map(id_of).collect()
    }

    /// Whether one of them is.
    pub(super) fn is_background_open(&self, peer: u8) -> bool {
        self.links[usize::from(peer) * 2 + Class::Background as usize].up
    }

    /// Streams that are not open, to these nodes.
    pub fn streams_down(&self, nodes: &[u8]) -> usize {
        let others = nodes.iter().filter(|node| **node != self.me);
        others.flat_map(|node| &self.links[usize::from(*node) * 2..][..2]).filter(|link| !link.up).count()
    }

    /// For how long requests have been out on a stream without a single reply; 0 when none is. And when it last replied.
    pub(super) fn silence(&self, peer: u8, class: Class, now: u64) -> (u64, u64) {
        let link = &self.links[usize::from(peer) * 2 + class as usize];
        let silent = if link.waiting_since_us == 0 { 0 } else { now.saturating_sub(link.waiting_since_us) };
        (silent, link.heard_us)
    }
}
