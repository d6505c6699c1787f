//! Who stands in for a home that is down, refuses or stays silent (§4.6).

use dynamo_ring::NodeId;

use super::{
    Put, PutEffect, PutEffects,
    replica::{NEVER, Phase, Replica, Stable},
    verdict::Verdict,
};

impl Put {
    pub(super) fn refused(&mut self, index: usize, now: u64, effects: &mut PutEffects) {
        let replica = &mut self.replicas[index];
        replica.due = NEVER;
        if replica.stable != Stable::Yes {
            replica.stable = Stable::Failed;
        }
        // One that has the write already and refuses to sync it still has it.
        if replica.phase == Phase::InFlight {
            replica.phase = Phase::Refused;
            let (slot, spare) = (replica.slot, replica.spare);
            if self.started && !spare {
                self.replace(slot, now, effects);
            }
        }
    }

    pub(super) fn silent(&mut self, index: usize, now: u64, effects: &mut PutEffects) {
        let replica = &mut self.replicas[index];
        replica.due = NEVER;
        if replica.phase == Phase::InFlight && !replica.spare {
            let slot = replica.slot;
            self.replace(slot, now, effects);
        }
    }

    /// Gives a home's slot to the next fallback, unless somebody has it or is still waited for.
    pub(super) fn replace(&mut self, slot: u8, now: u64, effects: &mut PutEffects) {
        let covered = |replica: &Replica| replica.slot == slot && replica.due != NEVER && !replica.spare;
        let waiting = self.replicas.iter().any(|replica| replica.phase == Phase::InFlight && covered(replica));
        if self.is_settled(slot) || waiting || self.verdict == Verdict::Failed {
            return;
        }
        let spare = self.replicas.iter().position(|replica| replica.spare && replica.phase != Phase::Refused);
        if let Some(index) = spare.filter(|&index| self.replicas[index].slot == slot) {
            return self.use_spare(index);
        }
        let first_fallback = usize::from(self.homes);
        let next = (first_fallback..self.replicas.len()).find(|&index| self.replicas[index].phase == Phase::Idle);
        if let Some(index) = next {
            let sync = self.wants_durable() && self.sloppy && self.resend_candidate().is_none();
            self.replicas[index].slot = slot;
            self.replicas[index].counts = self.sloppy;
            return self.send(index, sync, now, effects);
        }
        // The spare copy keeps a hint for another home, but it is a node of its own and has the write.
        if let Some(index) = spare {
            self.use_spare(index);
        }
        self.keep(slot, effects);
    }

    /// Nobody stands in for a home: the coordinator remembers what it misses. Not of itself: its own copy was written
    /// before anything was sent, and nobody would ever deliver a hint from a node to itself.
    pub(super) fn keep(&mut self, slot: u8, effects: &mut PutEffects) {
        self.settled |= 1 << slot;
        if self.local != Some(slot) {
            effects.push(PutEffect::KeepHint { hint_for: self.replicas[usize::from(slot)].node });
        }
    }

    fn use_spare(&mut self, index: usize) {
        let replica = &mut self.replicas[index];
        replica.spare = false;
        replica.counts = self.sloppy;
        if replica.phase == Phase::Acked {
            self.settled |= 1 << replica.slot;
        }
    }

    pub(super) fn hint_for(&self, index: usize) -> Option<NodeId> {
        let slot = usize::from(self.replicas[index].slot);
        (index != slot).then(|| self.replicas[slot].node)
    }

    pub(super) fn is_settled(&self, slot: u8) -> bool {
        self.settled & (1 << slot) != 0
    }
}
