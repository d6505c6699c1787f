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

/// What gossip makes of a member, for the request path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Serves reads and writes.
    Up = 0,
    /// Not asked at all.
    Down = 1,
    /// Its disk takes no writes.
    ReadOnly = 2,
    /// Slow to answer lately: asked only when too few others are left.
    Suspect = 3,
}

/// A member as the request path sees it.
pub struct Peer {
    /// Its id in the ring.
    pub id: NodeId,
    standing: AtomicU8,
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

impl Peer {
    /// A member of which nothing is known yet: taken for down until its stream opens, unless it is this node.
    pub fn new(id: NodeId, links: Option<Links>) -> Self {
        let standing = if links.is_some() { Standing::Down } else { Standing::Up };
        Self { id, standing: AtomicU8::new(standing as u8), latency_us: AtomicU32::new(0), links }
    }

    /// What gossip makes of it.
    pub fn standing(&self) -> Standing {
        match self.standing.load(Ordering::Relaxed) {
            0 => Standing::Up,
            2 => Standing::ReadOnly,
            3 => Standing::Suspect,
            _ => Standing::Down,
        }
    }

    /// Sets what requests go by from now on.
    pub fn set_standing(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Relaxed);
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
    ///
    /// A suspect counts as down while N others are up, so that nobody waits for it. With fewer, or where a fallback
    /// does not count (`strict`), it is asked after all, as the slowest: it may answer, a node left out can not.
    pub fn candidates(&self, partition: Partition, strict: bool) -> Candidates {
        let homes = usize::from(self.ring.n());
        let walk = || self.ring.walk_ids(partition).iter().map(|index| &self.peers[usize::from(*index)]);
        let ask_suspects = strict || walk().filter(|peer| peer.standing() == Standing::Up).take(homes).count() < homes;
        let candidate = |(place, peer): (usize, &Arc<Peer>)| {
            let (state, latency_us) = match peer.standing() {
                Standing::Up => (State::Up, peer.latency_us()),
                Standing::ReadOnly => (State::ReadOnly, peer.latency_us()),
                Standing::Suspect if ask_suspects => (State::Up, u32::MAX),
                Standing::Suspect | Standing::Down => (State::Down, u32::MAX),
            };
            Candidate { node: peer.id, home: place < homes, state, latency_us }
        };
        walk().enumerate().map(candidate).collect()
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

#[cfg(test)]
mod tests {
    use dynamo_ring::{Member, PartitionCount};

    use super::*;

    fn view(nodes: u128) -> View {
        let member =
            |id: u128| Member { id: NodeId(id), name: id.to_string(), zone: format!("z{}", id % 3), weight: 1 };
        let ring = Ring::bootstrap(3, PartitionCount::try_from(16).unwrap(), (0..nodes).map(member).collect()).unwrap();
        let peers: Vec<_> = ring.members().iter().map(|member| Arc::new(Peer::new(member.id, None))).collect();
        let me = peers[0].id;
        View::new(ring, peers, me)
    }

    fn asked(view: &View, strict: bool) -> usize {
        let candidates = view.candidates(Partition(0), strict);
        candidates.iter().filter(|candidate| candidate.state == State::Up).count()
    }

    #[test]
    fn a_suspect_is_asked_only_when_too_few_others_are_left_or_only_homes_count() {
        let view = view(5);
        view.peers[1].set_standing(Standing::Suspect);
        assert_eq!((asked(&view, false), asked(&view, true)), (4, 5));
        view.peers[2].set_standing(Standing::Down);
        assert_eq!((asked(&view, false), asked(&view, true)), (3, 4));
        view.peers[3].set_standing(Standing::Down);
        assert_eq!((asked(&view, false), asked(&view, true)), (3, 3));
    }
}
