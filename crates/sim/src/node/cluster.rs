//! What a node believes of its peers, for its requests: the simulator's `node/src/cluster.rs`.

use dynamo_quorum::{Candidate, NodeState as State};
use smallvec::SmallVec;

use super::Node;
use crate::world::{Shape, id_of};

/// What gossip makes of a member, for the request path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Serves reads and writes.
    Up,
    /// Not asked at all.
    Down,
    /// Its disk takes no writes.
    ReadOnly,
    /// Slow to answer lately: asked only when too few others are left.
    Suspect,
}

/// A member as the request path sees it.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    pub standing: Standing,
    pub latency_us: u32,
}

impl Peer {
    /// Takes an answer's latency into the moving average.
    pub fn answered_in(&mut self, us: u64) {
        let us = u32::try_from(us).unwrap_or(u32::MAX);
        let old = self.latency_us;
        let new = if old == 0 { us } else { old - old / 8 + us / 8 };
        self.latency_us = new.max(1);
    }
}

/// Members of which nothing is known yet: taken for down until their streams open, but this node.
pub fn peers(me: u8, shape: &Shape) -> Vec<Peer> {
    let standing = |node| if node == me { Standing::Up } else { Standing::Down };
    (0..shape.nodes()).map(|node| Peer { standing: standing(node), latency_us: 0 }).collect()
}

/// The walk of a request: homes first, then fallbacks.
pub type Candidates = SmallVec<[Candidate; 8]>;

impl Node {
    /// Nobody else mints versions, or keeps what homes miss.
    pub(super) fn is_member(&self) -> bool {
        self.view.ring().member(self.id()).is_some()
    }

    /// Whether a peer serves reads and writes, as far as is known.
    pub(super) fn is_up(&self, peer: u8) -> bool {
        self.peers[usize::from(peer)].standing == Standing::Up
    }

    /// Whom a request for a key may go to, in the order of the walk (§4.3, 4.6).
    pub(super) fn candidates(&self, key: u16, strict: bool) -> Candidates {
        let (view, homes) = (self.view.clone(), usize::from(self.view.ring().n()));
        let partition = self.shape.partition(key);
        let walk = || view.walk(partition).iter().map(|node| (*node, &self.peers[usize::from(*node)]));
        let ask_suspects =
            strict || walk().filter(|(_, peer)| peer.standing == Standing::Up).take(homes).count() < homes;
        let candidate = |(place, (node, peer)): (usize, (u8, &Peer))| {
            let (state, latency_us) = match peer.standing {
                Standing::Up => (State::Up, peer.latency_us),
                Standing::ReadOnly => (State::ReadOnly, peer.latency_us),
                Standing::Suspect if ask_suspects => (State::Up, u32::MAX),
                Standing::Suspect | Standing::Down => (State::Down, u32::MAX),
            };
            Candidate { node: id_of(node), home: place < homes, state, latency_us }
        };
        walk().enumerate().map(candidate).collect()
    }
}
