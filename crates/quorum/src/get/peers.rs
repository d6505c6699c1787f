//! Who may be asked, and what is to be expected of whom (§4.5, 4.6).

use dynamo_ring::NodeId;
use smallvec::SmallVec;

use super::{Get, NEVER};
use crate::{Candidate, NodeState};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Not asked yet.
    Idle,
    /// Asked; once its time is up (`due` is NEVER) still hoped for, but no longer waited for.
    Waiting,
    Answered,
    Refused,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub node: NodeId,
    pub due: u64,
    /// What it last answered.
    pub digest: Option<u64>,
    pub phase: Phase,
    pub home: bool,
    /// It was asked for the whole state.
    pub full: bool,
}

impl Get {
    pub(super) fn enlist(&mut self, me: NodeId, candidates: &[Candidate]) {
        let mut homes: SmallVec<[&Candidate; 16]> = SmallVec::new();
        for candidate in candidates.iter().filter(|candidate| candidate.home) {
            if homes.iter().all(|known| known.node != candidate.node) {
                homes.push(candidate);
            }
        }
        self.homes = homes.len() as u8;
        homes.retain(|home| home.state != NodeState::Down);
        // Stable, so that equals stay in walk order.
        homes.sort_by_key(|home| (home.node != me, home.latency_us));
        for home in homes {
            self.enlist_one(home.node, true);
        }
        self.homes_alive = self.peers.len() as u8;
        if self.settings.sloppy {
            for candidate in candidates.iter().filter(|candidate| !candidate.home) {
                if candidate.state != NodeState::Down && self.peers.len() < 64 {
                    self.enlist_one(candidate.node, false);
                }
            }
        }
        self.hedgeable = self.homes.min(self.peers.len() as u8);
    }

    fn enlist_one(&mut self, node: NodeId, home: bool) {
        if self.position(node).is_none() {
            self.peers.push(Peer { node, due: NEVER, digest: None, phase: Phase::Idle, home, full: false });
        }
    }

    /// Its answer is in the join.
    pub(super) fn resolved(&self, peer: &Peer) -> bool {
        peer.digest.is_some_and(|digest| self.join.contains(digest))
    }

    /// R answers are in the join; and a fallback's stands only for a home that is absent, refused or fell silent. Else
    /// two fallbacks that know nothing of the key could outrun the one home that has it, and the key would seem to be gone.
    pub(super) fn enough(&self) -> bool {
        let resolved = self.peers.iter().filter(|peer| self.resolved(peer)).count();
        let homes = || self.peers.iter().filter(|peer| peer.home);
        let expected = homes().filter(|peer| peer.phase == Phase::Idle || self.is_promising(peer)).count();
        let answered = homes().filter(|peer| self.resolved(peer)).count();
        let r = usize::from(self.r);
        resolved >= r && answered >= expected.min(r)
    }

    /// Nodes whose answers are in the join or are expected in time.
    pub(super) fn promising(&self) -> usize {
        self.peers.iter().filter(|peer| self.is_promising(peer)).count()
    }

    fn is_promising(&self, peer: &Peer) -> bool {
        match peer.phase {
            _ if self.resolved(peer) => true,
            Phase::Waiting => peer.due != NEVER,
            Phase::Answered => !peer.full || self.chased(peer.digest),
            Phase::Idle | Phase::Refused => false,
        }
    }

    /// Nodes whose answers may still be in the join by the deadline.
    pub(super) fn hopeful(&self) -> usize {
        let possible = |peer: &&Peer| {
            let open = matches!(peer.phase, Phase::Idle | Phase::Waiting | Phase::Answered);
            open || self.resolved(peer)
        };
        self.peers.iter().filter(possible).count()
    }

    /// Somebody who answered with this digest was asked for the state, and is still waited for.
    pub(super) fn chased(&self, digest: Option<u64>) -> bool {
        self.peers.iter().any(|peer| peer.digest == digest && peer.phase == Phase::Waiting && peer.due != NEVER)
    }

    pub(super) fn full_awaited(&self) -> bool {
        self.peers.iter().any(|peer| peer.full && peer.phase == Phase::Waiting && peer.due != NEVER)
    }

    pub(super) fn next_idle(&self) -> Option<usize> {
        self.peers.iter().position(|peer| peer.phase == Phase::Idle)
    }

    /// Index of a node of which an answer is outstanding.
    pub(super) fn waiting(&self, from: NodeId) -> Option<usize> {
        let index = self.position(from)?;
        (self.peers[index].phase == Phase::Waiting && !self.finished).then_some(index)
    }

    fn position(&self, node: NodeId) -> Option<usize> {
        self.peers.iter().position(|peer| peer.node == node)
    }
}
