//! Who drives a step: asks all that take part how far they are, has the old homes seal, and turns the epoch (§4.9).
//!
//! Nothing here is kept: it can be lost at any moment, and another node goes on from what the nodes report. Two that drive
//! at once do no harm: seals are the same whoever asks for them, and of two turns the register makes one.
//!
//! *When a step may turn.* Of every affected partition, each gaining node has had everything from `needed` old homes that are
//! whole after they sealed. A write that W old homes acknowledged met one of these, so the gaining node has it; and those
//! that have not sealed are too few for R or W. (The proof is in docs/PROTOCOL.md.) While too few are whole nobody is asked
//! to seal, so that requests go on and who is being filled can be.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_ring::NodeId;

use crate::{
    report::Report,
    step::{Affected, Step},
};

/// How long old homes that are slow to seal are waited for once enough have, microseconds.
const GRACE_US: u64 = 1_000_000;
/// After so long of being sealed without a turn the old homes are let serve again.
const SEALED_MAX_US: u64 = 8_000_000;
/// After that the step is tried again when so much time has passed.
const PAUSE_US: u64 = 5_000_000;

/// Who has not reported on a step after so long is named, microseconds.
const LATE_US: u64 = 3_000_000;

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing but to ask on.
    Wait,
    /// All gaining nodes have caught up: the old homes are to seal.
    Seal,
    /// The step is done.
    Turn,
    /// It can't be done now: the old homes are to serve again.
    Unseal,
}

/// Where a step stands, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepProgress {
    /// copying, sealing or turning.
    pub phase: &'static str,
    /// Copies that the step makes.
    pub copies: usize,
    /// Copies that have caught up.
    pub copies_done: usize,
    /// Bytes received for it.
    pub bytes: u64,
    /// Why it does not go on.
    pub blocked_by: Vec<String>,
}

/// Drives a step.
#[derive(Debug, Default)]
pub struct Steward {
    version: u64,
    began: u64,
    /// Reports on the step are overdue.
    late: bool,
    reports: BTreeMap<NodeId, Report>,
    sealed_since: Option<u64>,
    enough_since: Option<u64>,
    pause_until: u64,
}

impl Steward {
    /// A node's report.
    pub fn on_report(&mut self, from: NodeId, report: Report) {
        self.reports.insert(from, report);
    }

    /// The last report of a node.
    pub fn report(&self, of: NodeId) -> Option<&Report> {
        self.reports.get(&of)
    }

    /// Reports of nodes that take part no more are forgotten.
    pub fn retain(&mut self, members: &BTreeSet<NodeId>) {
        self.reports.retain(|id, _| members.contains(id));
    }

    /// What is to be done now. `alive` are those that are thought to answer.
    pub fn decide(&mut self, step: &Step, needed: usize, alive: &BTreeSet<NodeId>, now: u64) -> Decision {
        if self.version != step.version {
            (self.version, self.began, self.sealed_since, self.enough_since) = (step.version, now, None, None);
        }
        self.late = now.saturating_sub(self.began) > LATE_US;
        let any_sealed = step.involved().iter().any(|id| self.of(step, *id).is_some_and(|report| report.sealed));
        if !any_sealed {
            self.sealed_since = None;
        }
        let since = *self.sealed_since.get_or_insert(now);
        if any_sealed && now.saturating_sub(since) > SEALED_MAX_US {
            self.pause_until = now.saturating_add(PAUSE_US);
            return Decision::Unseal;
        }
        let done = |all| step.affected.iter().all(|affected| self.is_done(step, affected, needed, all, alive));
        if done(true) {
            return Decision::Turn;
        }
        if done(false) {
            let enough = *self.enough_since.get_or_insert(now);
            if now.saturating_sub(enough) >= GRACE_US {
                return Decision::Turn;
            }
        }
        let caught_up = step.affected.iter().all(|affected| self.has_caught_up(step, affected, needed, alive));
        if any_sealed || (caught_up && now >= self.pause_until) { Decision::Seal } else { Decision::Wait }
    }

    /// Where the step stands.
    pub fn progress(
        &self,
        step: &Step,
        needed: usize,
        alive: &BTreeSet<NodeId>,
        name: impl Fn(NodeId) -> String,
    ) -> StepProgress {
        let fills = || step.affected.iter().flat_map(|affected| affected.gained.iter().map(move |id| (affected, *id)));
        let caught_up = |(affected, id): &(&Affected, NodeId)| {
            self.fill(step, *id, affected.partition)
                .is_some_and(|fill| fill.caught_up.len() >= affected.needed(needed).max(1))
        };
        let copies_done = fills().filter(caught_up).count();
        let mut blocked_by = Vec::new();
        for id in step.involved() {
            match self.of(step, id) {
                _ if !alive.contains(&id) => blocked_by.push(format!("{} does not answer", name(id))),
                None if !self.late || self.version != step.version => {}
                None => blocked_by.push(format!("{} has not reported yet", name(id))),
                Some(report) if !report.blocked.is_empty() => {
                    blocked_by.push(format!("{}: {}", name(id), report.blocked));
                }
                Some(_) => {}
            }
        }
        blocked_by.extend(self.too_few_sources(step, needed, alive, &name));
        let sealed = step.involved().iter().any(|id| self.of(step, *id).is_some_and(|report| report.sealed));
        StepProgress {
            phase: if sealed { "sealing" } else { "copying" },
            copies: step.copies(),
            copies_done,
            bytes: step.involved().iter().filter_map(|id| self.of(step, *id)).map(|report| report.bytes).sum(),
            blocked_by,
        }
    }

    fn of(&self, step: &Step, id: NodeId) -> Option<&Report> {
        self.reports.get(&id).filter(|report| report.version == step.version)
    }

    fn fill(&self, step: &Step, id: NodeId, partition: u16) -> Option<&crate::report::FillReport> {
        self.of(step, id)?.fills.iter().find(|fill| fill.partition == partition)
    }

    /// Whether a gaining node that has had everything from an old home has what that ever acknowledged: whoever has not said
    /// so is not counted.
    fn is_whole(&self, step: &Step, affected: &Affected, id: NodeId) -> bool {
        let says = |report: &Report| !report.lacking.contains(&affected.partition);
        affected.accept_loss || self.of(step, id).is_some_and(says)
    }

    /// Why there are too few old homes to have everything from, and what to do.
    fn too_few_sources(
        &self,
        step: &Step,
        needed: usize,
        alive: &BTreeSet<NodeId>,
        name: &impl Fn(NodeId) -> String,
    ) -> Vec<String> {
        let (mut refilled, mut lost, mut gone) = (BTreeSet::new(), false, None);
        for affected in step.affected.iter().filter(|affected| !affected.gained.is_empty()) {
            let enough = affected.needed(needed);
            let whole = |id: &&NodeId| self.is_whole(step, affected, **id);
            if affected.sources.iter().filter(whole).count() >= enough {
                continue;
            }
            let left = affected.sources.len();
            if left < enough {
                gone.get_or_insert((affected.partition, left, enough));
            }
            let says = |id: &&NodeId| alive.contains(id) && self.of(step, **id).is_some() && !whole(id);
            refilled.extend(affected.sources.iter().filter(says));
            lost |= left < affected.old.len();
        }
        let hint = "take the change back (`dynamo ring cancel`) and begin it again with --accept-loss: writes that only nodes which are down for good or not whole had are lost then";
        let waits = |id: &NodeId| {
            let waits = format!("waiting for {}, which is being refilled", name(*id));
            if lost { format!("{waits}; if it needs who is down for good for that, {hint}") } else { waits }
        };
        let gone = gone.map(|(partition, left, enough)| {
            format!("{left} of the {enough} homes are left that must be read of partition {partition}; {hint}")
        });
        refilled.iter().map(waits).chain(gone).collect()
    }

    fn has_caught_up(&self, step: &Step, affected: &Affected, needed: usize, alive: &BTreeSet<NodeId>) -> bool {
        let from = |id: &NodeId| alive.contains(id);
        let whole = |id: &&NodeId| from(id) && (affected.gained.is_empty() || self.is_whole(step, affected, **id));
        affected.sources.iter().filter(whole).count() >= affected.needed(needed)
            && affected.gained.iter().all(|gained| {
                self.fill(step, *gained, affected.partition).is_some_and(|fill| {
                    affected.sources.iter().filter(|id| from(id)).all(|id| fill.caught_up.contains(id))
                })
            })
    }

    /// `all`: every old home that answers, not only as many as are needed.
    fn is_done(&self, step: &Step, affected: &Affected, needed: usize, all: bool, alive: &BTreeSet<NodeId>) -> bool {
        let enough = affected.needed(needed);
        let has = |done: &dyn Fn(&NodeId) -> bool, waited_for: &dyn Fn(&NodeId) -> bool| {
            let everyone = affected.sources.iter().filter(|id| alive.contains(id) && waited_for(id)).all(done);
            affected.sources.iter().filter(|id| done(id)).count() >= enough && (everyone || !all)
        };
        let sealed = |id: &NodeId| self.of(step, *id).is_some_and(|report| report.sealed);
        // Who is not whole never gives all.
        let whole = |id: &NodeId| self.is_whole(step, affected, *id);
        has(&sealed, &|_| true)
            && affected.gained.iter().all(|gained| {
                self.fill(step, *gained, affected.partition)
                    .is_some_and(|fill| has(&|id: &NodeId| fill.complete.contains(id), &whole))
            })
    }
}
