//! The plan: each subject in its order, and one turn at a time for all that disturbs.

use crate::{
    action::{Action, Plan},
    certificates, founding,
    memory::{Fact, Memory},
    names::PodId,
    observed::{Observed, RingView},
    pdb, replacement, restarts,
    ring_changes::Needs,
    scale_down, scale_up,
    turn::{QUARANTINE_S, Turn, Work},
    volumes,
    wanted::Wanted,
    why::Why,
    zones::{self, Shape},
};

impl Plan {
    /// Whether a StatefulSet is written to already: a second write of this plan would meet a newer version.
    pub(crate) fn touches(&self, name: &str) -> bool {
        self.actions.iter().any(|action| match action {
            Action::CreateSet { set, .. }
            | Action::RaiseSet { set, .. }
            | Action::ShrinkSet { set, .. }
            | Action::DeleteSet { set, .. }
            | Action::SetTemplate { set, .. }
            | Action::LowerPartition { set, .. }
            | Action::ParkPartition { set, .. } => set == name,
            _ => false,
        })
    }
}

/// What to do next, and what is waited for. The same inputs give the same plan; `memory` has to have observed the same
/// [`Observed`] before.
pub fn plan(wanted: &Wanted, observed: &Observed, memory: &Memory) -> Plan {
    let mut plan = Plan::default();
    let all = All { wanted, observed, memory };
    if let Some(shape) = zones::decide(wanted, observed, &mut plan) {
        if founding::is_founded(observed, &shape, &mut plan) {
            scale_up::plan(wanted, observed, &shape, &mut plan);
            volumes::plan(wanted, observed, &shape, &mut plan);
            all.tell(&shape, &mut plan);
            all.turn(&shape, &mut plan);
        }
        pdb::plan(wanted, observed, &mut plan);
        certificates::plan(observed, &mut plan);
    }
    withhold(wanted, observed, &mut plan);
    plan
}

/// What maintenance forbids is told, and not done. The disruption budget goes on following what the nodes say: who has asked
/// only for a plan has not asked that others may evict what must not be evicted just then.
fn withhold(wanted: &Wanted, observed: &Observed, plan: &mut Plan) {
    let (plan_only, paused) = (wanted.maintenance.plan_only, wanted.maintenance.paused);
    if !plan_only && !paused {
        return;
    }
    let protects = |action: &Action| matches!(action, Action::SetBudget(_)) && observed.founders.is_some();
    let (withheld, actions) = std::mem::take(&mut plan.actions)
        .into_iter()
        .partition(|action| (plan_only && !protects(action)) || action.disrupts());
    (plan.withheld, plan.actions) = (withheld, actions);
    plan.wait(if plan_only { Why::PlanOnly } else { Why::Paused });
}

#[derive(Clone, Copy)]
struct All<'a> {
    wanted: &'a Wanted,
    observed: &'a Observed,
    memory: &'a Memory,
}

impl<'a> All<'a> {
    fn inputs(self) -> (&'a Wanted, &'a Observed, &'a Memory) {
        (self.wanted, self.observed, self.memory)
    }

    /// What is worth knowing whatever is done, and the change of the ring that is under way.
    fn tell(self, shape: &Shape, plan: &mut Plan) {
        let Some(ring) = &self.observed.ring else {
            plan.wait(Why::NoNodeAnswers);
            return;
        };
        let refuses: Vec<PodId> =
            ring.nodes.iter().filter(|(_, node)| node.disk_refuses).map(|(pod, _)| pod.clone()).collect();
        if !refuses.is_empty() {
            plan.wait(Why::DiskRefuses { pods: refuses });
        }
        if ring.confirmed {
            self.needs(shape, ring).tend(plan);
        }
    }

    fn turn(self, shape: &Shape, plan: &mut Plan) {
        let record = &self.observed.turn;
        match (&record.turn, &record.version) {
            (Some(turn), Some(version)) => {
                let at = plan.actions.len();
                if self.is_over(shape, turn, plan) {
                    plan.act(Action::EndTurn { version: version.clone(), id: turn.id });
                } else if self.memory.age(&Fact::Turn(turn.id), self.observed.now_s) < QUARANTINE_S {
                    plan.wait(Why::TurnBegins { what: turn.work.in_words() });
                } else {
                    plan.wait(Why::InTurn { what: turn.work.in_words() });
                    self.act(shape, turn, plan);
                }
                self.check_sets(&turn.work, at, plan);
            }
            _ => {
                if let Some(work) = self.next(shape, plan) {
                    // Also where the object was deleted no number comes twice.
                    let turn = Turn { id: self.observed.now_s.max(record.last + 1), work };
                    plan.act(Action::TakeTurn { version: record.version.clone(), turn });
                }
            }
        }
    }

    /// What stops pods, and what says that none is stopped any more, is done only while the StatefulSets are as they were seen:
    /// their controllers restart pods too.
    fn check_sets(self, work: &Work, at: usize, plan: &mut Plan) {
        let rests = matches!(work, Work::Restart { .. } | Work::Replace { .. });
        if rests && plan.actions.len() > at {
            let sets = self.observed.sets.iter().map(|(set, view)| (set.clone(), view.generation));
            plan.actions.insert(at, Action::CheckSets(sets.collect()));
        }
    }

    /// The most urgent work that can be done now.
    fn next(self, shape: &Shape, plan: &mut Plan) -> Option<Work> {
        let (wanted, observed, memory) = self.inputs();
        let Some(ring) = &observed.ring else { return restarts::next(wanted, observed, plan) };
        if !ring.confirmed {
            plan.wait(Why::RingNotConfirmed);
            // Whoever is broken may restart: it may be one of those that a majority lacks.
            return restarts::next(wanted, observed, plan);
        }
        let needs = self.needs(shape, ring);
        if let Some(change) = &ring.change {
            let blocked = !change.blocked_by.is_empty();
            let lost = blocked.then(|| replacement::next(wanted, observed, memory, shape, ring, plan));
            // Whoever serves nobody may restart meanwhile: the change may be waiting for it.
            return lost.flatten().or_else(|| restarts::next(wanted, observed, plan));
        }
        if let Some(work) = replacement::next(wanted, observed, memory, shape, ring, plan) {
            return Some(work);
        }
        if let Some(work) = scale_down::next(wanted, observed, shape, plan) {
            return Some(work);
        }
        if !needs.edits(plan).is_empty() {
            return Some(Work::Ring);
        }
        restarts::next(wanted, observed, plan)
    }

    fn needs<'b>(self, shape: &'b Shape, ring: &'b RingView) -> Needs<'b>
    where
        'a: 'b,
    {
        let (wanted, observed, memory) = self.inputs();
        Needs { wanted, observed, memory, shape, ring }
    }

    fn act(self, shape: &Shape, turn: &Turn, plan: &mut Plan) {
        let (wanted, observed, _) = self.inputs();
        if let Work::Restart { .. } = &turn.work {
            // A turn that only restarts who serves nobody needs no ring.
            return restarts::act(self.inputs(), turn, plan);
        }
        let Some(ring) = observed.ring.as_ref().filter(|ring| ring.confirmed) else {
            plan.wait(Why::RingNotConfirmed);
            return;
        };
        match &turn.work {
            Work::Restart { .. } => {}
            Work::Ring => self.needs(shape, ring).act(turn.id, plan),
            Work::Shrink { .. } => scale_down::act(wanted, observed, shape, turn, plan),
            Work::Replace { pod, .. } => replacement::act(self.inputs(), ring, (turn, pod), plan),
        }
    }

    fn is_over(self, shape: &Shape, turn: &Turn, plan: &mut Plan) -> bool {
        let (wanted, observed, memory) = self.inputs();
        match &turn.work {
            Work::Restart { .. } => restarts::is_over(self.inputs(), turn),
            Work::Ring => observed.ring.as_ref().is_none_or(|ring| self.needs(shape, ring).is_over(turn)),
            Work::Shrink { .. } => scale_down::is_over(wanted, observed, memory, shape, turn, plan),
            Work::Replace { .. } => replacement::is_over(self.inputs(), turn),
        }
    }
}
