//! Anti-entropy (§4.7): the homes of each partition compare what they have, all the time, and move what differs.

use dynamo_ring::NodeId;
use dynamo_transfer::{Ended, Purpose, RootsReply, ScheduleEffect, ScheduleEffects};

use crate::{
    effect::Effects,
    jobs::{Job, Why},
    keeper::{Asked, Keeper, Situation, with_tree},
    message::Question,
};

impl Keeper {
    /// The settled ring is another: other homes have to be equal.
    pub(crate) fn schedule_ring(&mut self, now: u64) {
        let (me, charter) = (self.me, self.charter().clone());
        let ring = charter.ring();
        let homes = ring.partitions().iter().filter(|partition| ring.is_home(*partition, me)).map(|partition| {
            let others = ring.preference_list(partition).into_iter().filter(|id| *id != me).collect();
            (partition.0, others)
        });
        self.schedule.set_ring(ring.epoch(), homes, now);
    }

    pub(crate) fn compare_homes(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        if self.in_doubt() {
            return;
        }
        let mut out = ScheduleEffects::new();
        self.schedule.on_time(at.now, |partition| Some(with_tree(at.trees, partition, |tree| tree.root())), &mut out);
        self.scheduled(out, at, effects);
    }

    pub(crate) fn roots_answered(
        &mut self,
        from: NodeId,
        reply: RootsReply,
        at: &Situation<'_>,
        effects: &mut Effects,
    ) {
        let mut out = ScheduleEffects::new();
        let root_of = |partition| Some(with_tree(at.trees, partition, |tree| tree.root()));
        // What makes no sense taught it nothing; the next round asks again.
        let _ = self.schedule.on_reply(from, reply, at.now, root_of, &mut out);
        self.scheduled(out, at, effects);
    }

    pub(crate) fn homes_compared(&mut self, job: Job, ended: Ended, at: &Situation<'_>, effects: &mut Effects) {
        let mut out = ScheduleEffects::new();
        self.schedule.on_compared(job.partition, job.peer, &ended, at.now, &mut out);
        self.scheduled(out, at, effects);
    }

    fn scheduled(&mut self, out: ScheduleEffects, at: &Situation<'_>, effects: &mut Effects) {
        for effect in out {
            match effect {
                ScheduleEffect::Ask { peer, question } => {
                    self.ask(peer, Asked::Roots, Question::Roots(question), effects);
                }
                ScheduleEffect::Compare { partition, peer } => {
                    let job = Job { partition, peer, purpose: Purpose::Both, why: Why::AntiEntropy };
                    if !self.begin(job, at, effects) {
                        // No room now: it is begun some other time, like one that failed.
                        self.homes_compared(job, Ended::Unreachable, at, effects);
                    }
                }
            }
        }
    }
}
