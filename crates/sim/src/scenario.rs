//! Scenarios: each makes, for a seed, a plan of a kind.

use crate::{
    chance::{Chance, For},
    plan::Plan,
    scenarios,
};

/// A kind of run.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    pub(crate) plan: fn(seed: u64, shape: &mut Chance) -> Plan,
}

impl Scenario {
    /// All of them.
    pub fn all() -> &'static [Self] {
        scenarios::ALL
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::all().iter().find(|scenario| scenario.name == name)
    }

    /// The one that a seed runs when none is asked for: each in its turn.
    pub fn of_seed(seed: u64) -> &'static Self {
        &Self::all()[seed as usize % Self::all().len()]
    }

    /// The plan that a seed makes.
    pub fn plan(&self, seed: u64) -> Plan {
        let mut plan = (self.plan)(seed, &mut Chance::new(seed, For::Shape, 0));
        plan.scenario = self.name.to_owned();
        plan.faults.sort_by_key(|fault| fault.at_ms);
        plan.edits.sort_by_key(|edit| edit.at_ms);
        if let Some(tending) = &mut plan.tending {
            tending.deeds.sort_by_key(|deed| deed.at_ms);
        }
        plan
    }
}
