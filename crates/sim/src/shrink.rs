//! Makes a failing run smaller: faults, clients and operations are taken away as long as the same checker still fails.

use crate::{
    campaign::words_of,
    history::Violation,
    plan::Plan,
    run::{Telling, Variant, run},
};

/// What is left of a failing run.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// The smallest that was found.
    pub plan: Plan,
    /// What it still shows.
    pub violation: Violation,
    /// Runs that it took.
    pub runs: u32,
}

/// Takes away from a failing plan what its failure does not need, within so many runs.
pub fn shrink(plan: &Plan, violation: &Violation, variant: Option<Variant>, runs_max: u32) -> Shrunk {
    let best = Shrunk { plan: plan.clone(), violation: violation.clone(), runs: 0 };
    let mut shrinker = Shrinker { best, variant, runs_max };
    loop {
        let before = shrinker.size();
        shrinker.faults();
        shrinker.edits();
        shrinker.deeds();
        shrinker.operations();
        shrinker.end_sooner();
        shrinker.shorter_faults();
        if shrinker.size() == before || shrinker.spent() {
            return shrinker.best;
        }
    }
}

struct Shrinker {
    best: Shrunk,
    variant: Option<Variant>,
    runs_max: u32,
}

impl Shrinker {
    fn size(&self) -> (usize, usize, u32) {
        let plan = &self.best.plan;
        let deeds = plan.tending.as_ref().map_or(0, |tending| tending.deeds.len());
        (plan.faults.len() + plan.edits.len() + deeds, plan.operations(), plan.run_ms)
    }

    fn spent(&self) -> bool {
        self.best.runs >= self.runs_max
    }

    /// Keeps a smaller plan if the same checker still fails.
    fn keeps(&mut self, plan: Plan) -> bool {
        if self.spent() {
            return false;
        }
        self.best.runs += 1;
        let outcome = std::panic::catch_unwind(|| run(&plan, Telling::No, self.variant).violation);
        let violation = outcome.unwrap_or_else(|panic| Some(Violation::new("panic", None, words_of(&*panic))));
        match violation {
            Some(violation) if violation.checker == self.best.violation.checker => {
                self.best = Shrunk { plan, violation, runs: self.best.runs };
                true
            }
            _ => false,
        }
    }

    fn faults(&mut self) {
        self.chunks(|plan| plan.faults.len(), |plan, from, to| drop(plan.faults.drain(from..to)));
    }

    fn edits(&mut self) {
        self.chunks(|plan| plan.edits.len(), |plan, from, to| drop(plan.edits.drain(from..to)));
    }

    fn deeds(&mut self) {
        let count = |plan: &Plan| plan.tending.as_ref().map_or(0, |tending| tending.deeds.len());
        self.chunks(count, |plan, from, to| {
            if let Some(tending) = &mut plan.tending {
                tending.deeds.drain(from..to);
            }
        });
    }

    fn operations(&mut self) {
        for client in 0..self.best.plan.clients.len() {
            let mut without = self.best.plan.clone();
            without.clients[client].clear();
            if self.best.plan.clients[client].is_empty() || self.keeps(without) {
                continue;
            }
            self.chunks(|plan| plan.clients[client].len(), |plan, from, to| drop(plan.clients[client].drain(from..to)));
        }
    }

    /// Takes chunks of a list away, large ones first.
    fn chunks(&mut self, length: impl Fn(&Plan) -> usize, take: impl Fn(&mut Plan, usize, usize)) {
        let mut chunk = length(&self.best.plan);
        while chunk > 0 && !self.spent() {
            let mut from = 0;
            while from < length(&self.best.plan) {
                let to = (from + chunk).min(length(&self.best.plan));
                let mut without = self.best.plan.clone();
                take(&mut without, from, to);
                if !self.keeps(without) {
                    from = to;
                }
                if self.spent() {
                    return;
                }
            }
            chunk /= 2;
        }
    }

    /// Ends soon after the last thing that was planned.
    fn end_sooner(&mut self) {
        let mut plan = self.best.plan.clone();
        let last = plan.clients.iter().flatten().map(|op| op.at_ms).chain(plan.faults.iter().map(|fault| fault.at_ms));
        let deeds = plan.tending.iter().flat_map(|tending| &tending.deeds).map(|deed| deed.at_ms);
        let last = last.chain(plan.edits.iter().map(|edit| edit.at_ms)).chain(deeds).max();
        plan.run_ms = plan.run_ms.min(last.unwrap_or(0) + 2_000);
        if plan.run_ms < self.best.plan.run_ms {
            self.keeps(plan);
        }
    }

    fn shorter_faults(&mut self) {
        for fault in 0..self.best.plan.faults.len() {
            while self.best.plan.faults[fault].for_ms > 100 && !self.spent() {
                let mut plan = self.best.plan.clone();
                plan.faults[fault].for_ms /= 2;
                if !self.keeps(plan) {
                    break;
                }
            }
        }
    }
}
