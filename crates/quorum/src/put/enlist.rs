//! Who may take part in a write, from the ring's walk (§4.3, 4.6).

use dynamo_ring::NodeId;

use super::{
    Put,
    replica::{Phase, Replica},
};
use crate::{Candidate, NodeState, Refusal};

impl Put {
    pub(super) fn enlist_homes(&mut self, me: NodeId, candidates: &[Candidate], local: bool) {
        for candidate in candidates.iter().filter(|candidate| candidate.home) {
            if self.position(candidate.node).is_some() {
                continue;
            }
            let slot = self.homes;
            assert!(slot < 32, "a preference list of more than 32 nodes");
            let mine = local && candidate.node == me;
            let phase = match candidate.state {
                _ if mine => Phase::InFlight,
                NodeState::Up => Phase::Idle,
                NodeState::Down | NodeState::ReadOnly => Phase::Absent,
            };
            if mine {
                self.local = Some(slot);
            }
            if phase == Phase::Absent && candidate.state == NodeState::ReadOnly {
                self.refusals.add(Refusal::DiskFull);
            }
            self.homes_alive += u8::from(phase != Phase::Absent);
            self.homes += 1;
            self.replicas.push(Replica { phase, slot, counts: true, ..Replica::idle(candidate.node) });
        }
    }

    pub(super) fn enlist_fallbacks(&mut self, me: NodeId, candidates: &[Candidate], local: bool) {
        if local && self.local.is_none() && self.homes > 0 {
            // The coordinator's own copy stands for the first home that is not there. When all are, it is a spare for
            // the last: counting it would make W nodes of N + 1, which R of N need not meet.
            let absent = self.replicas.iter().position(|home| home.phase == Phase::Absent);
            let slot = absent.map_or(self.homes - 1, |slot| slot as u8);
            let spare = absent.is_none();
            self.local = Some(self.replicas.len() as u8);
            self.replicas.push(Replica {
                phase: Phase::InFlight,
                slot,
                spare,
                counts: self.sloppy && !spare,
                ..Replica::idle(me)
            });
        }
        for candidate in candidates.iter().filter(|candidate| !candidate.home) {
            let usable = candidate.state == NodeState::Up;
            if usable && self.replicas.len() < 64 && self.position(candidate.node).is_none() {
                self.replicas.push(Replica::idle(candidate.node));
            }
        }
    }
}
