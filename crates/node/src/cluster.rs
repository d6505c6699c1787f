//! What the request path knows of the cluster: the ring, each member's state and links, behind one atomic load.
//!
//! Gossip and the links write it, requests read it without a lock.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU32, Ordering},
};

use arc_swap::ArcSwap;
use dynamo_quorum::{Candidate, NodeState as State};
use dynamo_ring::{NodeId, Partition, Ring};
use smallvec::SmallVec;

use crate::link::{Class, Link};

/// A member as the request path sees it.
pub struct Peer {
    /// Its id in the ring.
    pub id: NodeId,
    state: AtomicU8,
    latency_us: AtomicU32,
    /// None for this node itself.
    pub links: Option<Links>,
}

/// The two streams to a peer.
pub struct Links {
    /// For requests that a client waits for.
    pub foreground: Arc<Link>,
    /// For hints.
    pub background: Arc<Link>,
}

impl Links {
    /// The stream of a class of traffic.
    pub fn of(&self, class: Class) -> &Arc<Link> {
        match class {
            Class::Foreground => &self.foreground,
            Class::Background => &self.background,
        }
    }
}

const UP: u8 = 0;
const DOWN: u8 = 1;
const READ_ONLY: u8 = 2;

impl Peer {
    /// A member of which nothing is known yet: taken for down until its stream opens, unless it is this node.
    pub fn new(id: NodeId, links: Option<Links>) -> Self {
        let state = if links.is_some() { DOWN } else { UP };
        Self { id, state: AtomicU8::new(state), latency_us: AtomicU32::new(0), links }
    }

    /// Whether it may be asked, and for what.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            UP => State::Up,
            READ_ONLY => State::ReadOnly,
            _ => State::Down,
        }
    }

    /// Sets what it may be asked for.
    pub fn set_state(&self, state: State) {
        let code = match state {
            State::Up => UP,
            State::ReadOnly => READ_ONLY,
            State::Down => DOWN,
        };
        self.state.store(code, Ordering::Relaxed);
    }

    /// A moving average over its last answers.
    pub fn latency_us(&self) -> u32 {
        self.latency_us.load(Ordering::Relaxed)
    }

    /// Takes an answer's latency into the average (weight 1/8: it follows a slow peer within some ten answers).
    pub fn answered_in(&self, us: u64) {
        let us = u32::try_from(us).unwrap_or(u32::MAX);
        let old = self.latency_us();
        let new = if old == 0 { us } else { old - old / 8 + us / 8 };
        self.latency_us.store(new.max(1), Ordering::Relaxed);
    }
}

/// One ring and its members, never changed: another epoch is another view.
pub struct View {
    /// The ring.
    pub ring: Ring,
    peers: Vec<Arc<Peer>>,
    me: usize,
}

/// The walk of a request: homes first, then fallbacks.
pub type Candidates = SmallVec<[Candidate; 8]>;

impl View {
    /// `peers` in the order of the ring's members.
    ///
    /// # Panics
    /// If they are not, or `me` is not among them: the caller checked both.
    pub fn new(ring: Ring, peers: Vec<Arc<Peer>>, me: NodeId) -> Self {
        assert!(ring.members().iter().map(|member| member.id).eq(peers.iter().map(|peer| peer.id)));
        let me = peers.iter().position(|peer| peer.id == me).expect("this node is a member of its ring");
        Self { ring, peers, me }
    }

    /// All members.
    pub fn peers(&self) -> &[Arc<Peer>] {
        &self.peers
    }

    /// A member.
    pub fn peer(&self, id: NodeId) -> Option<&Arc<Peer>> {
        self.peers.binary_search_by_key(&id, |peer| peer.id).ok().map(|index| &self.peers[index])
    }

    /// This node.
    pub fn me(&self) -> &Arc<Peer> {
        &self.peers[self.me]
    }

    /// Whom a request for `partition` may go to, in the order of the walk (§4.3, 4.6).
    pub fn candidates(&self, partition: Partition) -> Candidates {
        let homes = usize::from(self.ring.n());
        let walk = self.ring.walk_ids(partition).iter().enumerate();
        walk.map(|(place, index)| {
            let peer = &self.peers[usize::from(*index)];
            Candidate { node: peer.id, home: place < homes, state: peer.state(), latency_us: peer.latency_us() }
        })
        .collect()
    }
}

/// The current view.
pub struct Cluster {
    /// Its name: nothing of another cluster is ever taken.
    pub name: String,
    /// This node.
    pub me: NodeId,
    view: ArcSwap<View>,
}

impl Cluster {
    /// A cluster at its first view.
    pub fn new(name: String, me: NodeId, view: View) -> Self {
        Self { name, me, view: ArcSwap::from_pointee(view) }
    }

    /// The current view.
    pub fn view(&self) -> arc_swap::Guard<Arc<View>> {
        self.view.load()
    }
}
