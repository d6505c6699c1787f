//! `OneDurable` (§6.1): of the copies that count, one is on stable storage before the client hears.

use super::{
    Put, PutEffects,
    replica::{NEVER, Phase, Replica, Stable},
    verdict::Verdict,
};
use crate::Durability;

impl Put {
    /// Whom to ask for the durable copy of `OneDurable`: the coordinator itself when its copy counts, for that costs no
    /// hop, or else the first home. When there is neither, the first fallback gets it at the start.
    pub(super) fn choose_first_durable(&mut self) {
        let local = self.local.map(usize::from).filter(|&index| self.replicas[index].counts);
        let first = local.or_else(|| self.homes().iter().position(|home| home.phase != Phase::Absent));
        if let Some(index) = first {
            self.replicas[index].stable = Stable::Asked;
        }
    }

    /// `OneDurable`: when whoever was to make it durable failed, asks another. One that already has the write is asked
    /// first, because it is alive; while others are still in flight their answer is waited for, so that a node never has
    /// two requests of one write under way.
    pub(super) fn seek_durable(&mut self, now: u64, effects: &mut PutEffects) {
        if !self.started || !self.wants_durable() {
            return;
        }
        if let Some(index) = self.resend_candidate() {
            return self.send(index, true, now, effects);
        }
        let awaited = |replica: &Replica| replica.counts && replica.phase == Phase::InFlight && replica.due != NEVER;
        if self.sloppy && !self.replicas.iter().any(awaited) {
            let first_fallback = usize::from(self.homes);
            let next = (first_fallback..self.replicas.len()).find(|&index| self.replicas[index].phase == Phase::Idle);
            if let Some(index) = next {
                self.replicas[index].counts = true;
                self.send(index, true, now, effects);
            }
        }
    }

    /// `OneDurable`, no counted copy is durable, and nobody is being waited for to make one so.
    pub(super) fn wants_durable(&self) -> bool {
        let promising = |replica: &Replica| match replica.stable {
            Stable::Yes => true,
            Stable::Asked => replica.due != NEVER,
            Stable::NotAsked | Stable::Failed => false,
        };
        self.durability == Durability::OneDurable
            && self.verdict == Verdict::Open
            && !self.replicas.iter().any(|replica| replica.counts && promising(replica))
    }

    pub(super) fn resend_candidate(&self) -> Option<usize> {
        self.replicas
            .iter()
            .position(|replica| replica.counts && replica.phase == Phase::Acked && replica.stable == Stable::NotAsked)
    }
}
