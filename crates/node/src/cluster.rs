//! What the request path knows of the cluster: the ring, each member's state and links, behind one atomic load.
//!
//! Gossip and the links write it, requests read it without a lock.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
};

use arc_swap::ArcSwap;
use dynamo_quorum::{Candidate, NodeState as State};
use dynamo_ring::{NodeId, Partition, Ring};
use smallvec::SmallVec;

use crate::{
    link::{Class, Link},
    ring_mark::RingMark,
};

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
    /// All that this node talks to, by id: the ring's members, those who are to be, and this node.
    peers: Vec<Arc<Peer>>,
    /// By place in the ring's members: the place in `peers`.
    members: Vec<u16>,
    me: usize,
    /// Who left and still hands over.
    leavers: Vec<NodeId>,
    /// Below which epoch nobody is read for.
    floor: u64,
}

/// The walk of a request: homes first, then fallbacks.
pub type Candidates = SmallVec<[Candidate; 8]>;

impl View {
    /// `peers` has the ring's members and this node, each once, in any order.
    ///
    /// # Panics
    /// If it has not: the caller made it so.
    pub fn new(ring: Ring, mut peers: Vec<Arc<Peer>>, me: NodeId) -> Self {
        peers.sort_by_key(|peer| peer.id);
        let place = |id| peers.binary_search_by_key(&id, |peer: &Arc<Peer>| peer.id).expect("it is among the peers");
        let members = ring.members().iter().map(|member| place(member.id) as u16).collect();
        let me = place(me);
        Self { ring, peers, members, me, leavers: Vec::new(), floor: 0 }
    }

    /// With those who left and may still bring what they hold.
    #[must_use]
    pub fn with_leavers(self, leavers: Vec<NodeId>) -> Self {
        Self { leavers, ..self }
    }

    /// Something was collected in this epoch: who is older may hold what was.
    #[must_use]
    pub fn with_floor(self, floor: u64) -> Self {
        Self { floor, ..self }
    }

    /// Below which epoch nobody is read for any more.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Whether what a node has may still be taken from it, as `Charter::takes_from` has it.
    pub fn takes_from(&self, id: NodeId) -> bool {
        self.peer(id).is_some() || self.leavers.contains(&id)
    }

    /// Whether this node is a member: nobody else mints versions, or keeps what homes miss.
    pub fn is_member(&self) -> bool {
        self.ring.member(self.peers[self.me].id).is_some()
    }

    /// All that this node talks to, itself included.
    pub fn peers(&self) -> &[Arc<Peer>] {
        &self.peers
    }

    /// One of them.
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
        let peer = |index: &u16| &self.peers[usize::from(self.members[usize::from(*index)])];
        let walk = || self.ring.walk_ids(partition).iter().map(peer);
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
    /// Of the view's ring, for the links.
    pub mark: Arc<RingMark>,
    /// By partition: whether this node has all that it ever acknowledged as its home.
    whole: ArcSwap<Vec<bool>>,
    in_doubt: AtomicBool,
}

impl Cluster {
    /// A cluster at its first view; the mark is shared with the links.
    pub fn new(name: String, me: NodeId, view: View, mark: Arc<RingMark>) -> Self {
        mark.set(&view.ring);
        let (view, in_doubt) = (ArcSwap::from_pointee(view), AtomicBool::new(true));
        Self { name, me, view, mark, whole: ArcSwap::default(), in_doubt }
    }

    /// The current view.
    pub fn view(&self) -> arc_swap::Guard<Arc<View>> {
        self.view.load()
    }

    /// Requests go by another view from now on.
    pub fn adopt(&self, view: View) {
        self.mark.set(&view.ring);
        self.view.store(Arc::new(view));
    }

    /// Whether strict reads of a partition can be answered here: its disk was not emptied, or it has been filled since.
    pub fn is_whole(&self, partition: Partition) -> bool {
        self.whole.load().get(usize::from(partition.0)).copied().unwrap_or(false)
    }

    /// Whether what this disk has may be older than what was collected since: nothing of it is given to who goes by a newer
    /// ring, and no hint is handed on.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Relaxed)
    }

    /// Whether it may be, from now on.
    pub fn set_in_doubt(&self, in_doubt: bool) {
        self.in_doubt.store(in_doubt, Ordering::Relaxed);
    }

    /// These partitions are whole from now on.
    pub fn set_whole(&self, whole: Arc<Vec<bool>>) {
        self.whole.store(whole);
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
