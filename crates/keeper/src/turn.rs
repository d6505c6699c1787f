//! This node's part in the step under way: it seals when asked, compares with those from whom it gains, and, if it is the
//! one to drive it, asks, has the others seal, and turns the epoch.

use dynamo_ring::NodeId;
use dynamo_transfer::{Ended, Outcome, Purpose};

use crate::{
    effect::{Effects, StoreAsk},
    jobs::{Job, Why},
    keeper::{Asked, Keeper, OWN_REQUEST, Situation, Ticket},
    message::Question,
    steward::Decision,
};

/// Comparisons at once with sources that are sealed.
const JOBS_SEALED_MAX: usize = 256;
/// The same with one of them; it answers as many of one peer.
const JOBS_SEALED_PER_PEER_MAX: usize = 64;

impl Keeper {
    /// Stops serving what the step moves.
    pub(crate) fn seal(&mut self, version: u64, now: u64, effects: &mut Effects) {
        if version != self.version() || self.learning.is_some() {
            return;
        }
        let Some(step) = &self.step else { return };
        if !self.sealing {
            self.sealing = true;
            self.fills.values_mut().for_each(crate::fill::Fill::sealing);
        }
        let epoch = step.epoch;
        let mine = step.of_home(self.me).map(|affected| affected.partition);
        let partitions: Vec<u16> = mine.filter(|partition| !self.sealed.contains(partition)).collect();
        if !partitions.is_empty() && !self.is_sealing() && !self.refused.holds(now) {
            let ask = StoreAsk::Fence { partitions: partitions.clone(), epoch: epoch + 1, floor: 0 };
            self.store(Ticket::Sealed(epoch, partitions), ask, effects);
        }
    }

    /// Whether what is read here is all that this node ever applied of a partition as a home of the settled epoch, in whatever
    /// life: it is sealed, and whole. A record that is taken out as damaged is missed by `whole` before it goes.
    pub(crate) fn gives_all(&self, partition: u16) -> bool {
        let loss = self.charter().change().is_some_and(|change| change.accept_loss);
        let whole = loss || self.whole().get(usize::from(partition)).is_some_and(|whole| *whole);
        self.recall.known() && self.sealed.contains(&partition) && whole
    }

    /// Asks those who take part, and does what their reports allow.
    pub(crate) fn drive_step(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        let steward = self.is_steward();
        if !(steward || at.now < self.watched_until) || self.learning.is_some() {
            return;
        }
        // Before the step is taken out: what this node has sealed is part of it.
        let own = self.report();
        let Some(step) = self.step.take() else { return };
        self.steward.on_report(self.me, own);
        let alive = self.alive();
        let decision = self.steward.decide(&step, self.needed, &alive, at.now);
        let version = step.version;
        let involved = step.involved();
        self.step = Some(step);
        let decision = if steward { decision } else { Decision::Wait };
        let next = match decision {
            Decision::Turn => self.charter().turn(),
            Decision::Unseal => self.charter().unseal(),
            Decision::Wait | Decision::Seal => None,
        };
        if let Some(charter) = next
            && !self.registry.is_changing()
        {
            self.change(OWN_REQUEST, version, charter, at, effects);
        }
        if decision == Decision::Seal {
            if !self.sealing {
                // The others at once: requests wait from the first seal on.
                self.next_ask = 0;
            }
            self.seal(version, at.now, effects);
        }
        if at.now < self.next_ask {
            return;
        }
        let pause = if self.sealing { self.settings.ask_sealed_us } else { self.settings.ask_us };
        self.next_ask = at.now.saturating_add(pause);
        for id in involved {
            if id != self.me && self.reachable.contains(&id) && !self.is_asked(id, Asked::Report) {
                let question = match decision {
                    Decision::Seal | Decision::Turn => Question::Seal { version },
                    Decision::Wait | Decision::Unseal => Question::Report { version },
                };
                self.ask(id, Asked::Report, question, effects);
            }
        }
    }

    /// The first member that answers drives: each node judges by itself, and two at once do no harm.
    pub(crate) fn is_steward(&self) -> bool {
        let mut members = self.charter().ring().members().iter().map(|member| member.id);
        self.charter().ring().member(self.me).is_some()
            && members.find(|id| *id == self.me || self.reachable.contains(id)) == Some(self.me)
    }

    /// Begins comparisons that are due, as many as are allowed at once.
    pub(crate) fn begin_jobs(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        if self.learning.is_some() || (!self.sealing && self.jobs.len() >= self.settings.jobs_max) {
            return;
        }
        let (sealing, reachable) = (self.sealing, &self.reachable);
        let wanted = |fills: &std::collections::BTreeMap<u16, crate::fill::Fill>, why, sealing| {
            let next = |fill: &crate::fill::Fill| {
                let partition = fill.partition;
                fill.next(sealing, reachable, at.now)
                    .into_iter()
                    .map(move |peer| Job { partition, peer, purpose: Purpose::Pull, why })
                    .collect::<Vec<_>>()
            };
            fills.values().flat_map(next).collect::<Vec<_>>()
        };
        let mut jobs = wanted(&self.fills, Why::Fill, sealing);
        jobs.extend(wanted(&self.refills, Why::Refill, false));
        jobs.extend(self.wanted_leftovers(at.now));
        for job in jobs {
            self.begin(job, at, effects);
        }
    }

    /// Says whether it was begun.
    pub(crate) fn begin(&mut self, job: Job, at: &Situation<'_>, effects: &mut Effects) -> bool {
        // Clients wait for what the sources are sealed for: all of it at once. There is next to nothing left to move.
        let (most, most_per_peer) = match self.sealing && job.why == Why::Fill {
            true => (JOBS_SEALED_MAX, JOBS_SEALED_PER_PEER_MAX),
            false => (self.settings.jobs_max, self.settings.jobs_per_peer_max),
        };
        let full = self.jobs.len() >= most || self.jobs.with_peer(job.peer) >= most_per_peer;
        let forgetting = self.leftovers.get(&job.partition).is_some_and(crate::leftovers::Leftover::is_forgetting);
        if full || forgetting || self.jobs.has(job.partition, job.peer) {
            return false;
        }
        match job.why {
            Why::Fill => self.fills.get_mut(&job.partition).into_iter().for_each(|fill| fill.begun(job.peer)),
            Why::Refill => self.refills.get_mut(&job.partition).into_iter().for_each(|fill| fill.begun(job.peer)),
            Why::Leftover | Why::AntiEntropy => {}
        }
        let epoch = self.charter().ring().epoch();
        let mut out = Vec::new();
        self.jobs.begin(job, epoch, at.trees, at.now, &mut out);
        self.job_effects(out, at, effects);
        true
    }

    /// A comparison has ended.
    pub(crate) fn job_ended(&mut self, job: Job, outcome: Outcome, at: &Situation<'_>, effects: &mut Effects) {
        if let Ended::Refused { epoch, .. } = outcome.ended
            && epoch > self.charter().ring().epoch()
        {
            self.pull_from(job.peer, effects);
        }
        match job.why {
            Why::Fill => {
                self.fetched += outcome.moved.fetched_bytes;
                if let Some(fill) = self.fills.get_mut(&job.partition) {
                    fill.ended(job.peer, outcome.ended, at.now);
                }
            }
            Why::Refill => self.refilled(job.partition, job.peer, outcome.ended, at, effects),
            Why::Leftover => self.handed_over(job, outcome.ended, at.now),
            Why::AntiEntropy => self.homes_compared(job, outcome.ended, at, effects),
        }
    }

    /// A home that was emptied is whole once it has had everything from so many others that each acknowledged write of
    /// its earlier life met one of them: see [`crate::fill::Fill::is_refilled`].
    fn refilled(&mut self, partition: u16, peer: NodeId, ended: Ended, at: &Situation<'_>, effects: &mut Effects) {
        let Some(fill) = self.refills.get_mut(&partition) else { return };
        fill.ended(peer, ended, at.now);
        self.look_at_refill(partition, effects);
    }

    fn look_at_refill(&mut self, partition: u16, effects: &mut Effects) {
        let Some(fill) = self.refills.get(&partition) else { return };
        if fill.is_refilled(self.needed) {
            self.refills.remove(&partition);
            self.whole[usize::from(partition)] = true;
            self.keep_whole(effects);
        }
    }

    /// Partitions that have no other home are whole.
    pub(crate) fn look_at_lonely(&mut self, effects: &mut Effects) {
        let lonely: Vec<u16> =
            self.refills.values().filter(|fill| fill.sources() == 0).map(|fill| fill.partition).collect();
        lonely.into_iter().for_each(|partition| self.look_at_refill(partition, effects));
    }
}
