//! What the client hears, and when the machine is done (§4.5).

use super::{
    Put, PutEffect, PutEffects,
    replica::{Phase, Replica, Stable},
};
use crate::{Durability, NotEnough, Operation};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Open,
    Acknowledged,
    Failed,
}

impl Put {
    pub(super) fn decide(&mut self, now: u64, effects: &mut PutEffects) {
        if self.finished {
            return;
        }
        let late = now >= self.deadline;
        if self.verdict == Verdict::Open {
            let (acks, durable) = self.counted();
            if acks >= self.w && (durable || self.durability != Durability::OneDurable) {
                self.verdict = Verdict::Acknowledged;
                let fallbacks = &self.replicas[usize::from(self.homes)..];
                let hinted = fallbacks.iter().filter(|replica| replica.counts && replica.phase == Phase::Acked).count();
                effects.push(PutEffect::Acknowledge { acks, hinted: hinted as u8 });
            } else if late || (self.started && !self.possible()) {
                // Nothing is left that could help the homes: a sloppy write fails early only when all fallbacks are
                // used up, and a late one has no time. What is under way arrives by itself.
                self.verdict = Verdict::Failed;
                effects.push(PutEffect::Fail(self.not_enough(late)));
                self.finish(effects);
                return;
            }
        }
        if self.verdict == Verdict::Acknowledged {
            for slot in 0..self.homes {
                if late && !self.is_settled(slot) {
                    self.keep(slot, effects);
                }
            }
            if (0..self.homes).all(|slot| self.is_settled(slot)) {
                self.finish(effects);
            }
        }
    }

    fn finish(&mut self, effects: &mut PutEffects) {
        self.finished = true;
        effects.push(PutEffect::Finished);
    }

    /// Whether W, and the durable copy, can still be had. While an idle fallback is left, every slot is held or in
    /// flight, so counting it as one more node is never too little, and the deadline bounds what it is too much.
    fn possible(&self) -> bool {
        let hopeful = |replica: &&Replica| {
            let alive = matches!(replica.phase, Phase::Acked | Phase::InFlight);
            let counts = replica.counts || (self.sloppy && replica.spare);
            (alive && counts) || (self.sloppy && replica.phase == Phase::Idle)
        };
        let durable = self.durability != Durability::OneDurable
            || self.replicas.iter().filter(hopeful).any(|replica| replica.stable != Stable::Failed);
        durable && self.replicas.iter().filter(hopeful).count() >= usize::from(self.w)
    }

    fn counted(&self) -> (u8, bool) {
        let counted = self.replicas.iter().filter(|replica| replica.counts && replica.phase == Phase::Acked);
        counted.fold((0, false), |(acks, durable), replica| (acks + 1, durable || replica.stable == Stable::Yes))
    }

    pub(super) fn not_enough(&self, timed_out: bool) -> NotEnough {
        let (acked, durable) = self.counted();
        let holding = self.replicas.iter().filter(|replica| replica.phase == Phase::Acked).count() as u8;
        NotEnough {
            operation: Operation::Write,
            strict: !self.sloppy,
            needed: self.w,
            acked,
            holding: holding.max(self.held_before.unwrap_or(0)),
            homes: self.homes,
            homes_alive: self.homes_alive,
            lacks_durable: acked >= self.w && !durable && self.durability == Durability::OneDurable,
            begun: self.started || self.held_before.is_some() || holding > 0,
            timed_out,
            refusals: self.refusals,
        }
    }
}
