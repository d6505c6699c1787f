//! Since when something has been so, as this operator has seen it.
//!
//! Lost with the process, and nothing is unsafe by that: everything that is waited for is waited for again.

use std::collections::BTreeMap;

use crate::{names::PodId, observed::Observed};

/// Since when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    since: BTreeMap<Fact, u64>,
}

/// What may be so for a while.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// A turn stands.
    Turn(u64),
    /// A machine is gone for good.
    HostGone(String),
    /// A pod is wanted by its StatefulSet, and its node is no member.
    Unjoined(PodId),
}

impl Memory {
    /// Notes what is seen; to be called before each plan.
    pub fn observe(&mut self, observed: &Observed) {
        let turn = observed.turn.turn.iter().map(|turn| Fact::Turn(turn.id));
        let pinned = observed.claims.values().filter_map(|claim| claim.pinned_to.clone());
        let gone = pinned.filter(|host| observed.is_gone(host)).map(Fact::HostGone);
        let facts: Vec<Fact> = turn.chain(gone).chain(unjoined(observed)).collect();
        self.since.retain(|fact, _| facts.contains(fact));
        for fact in facts {
            self.since.entry(fact).or_insert(observed.now_s);
        }
    }

    /// For how long something has been so; 0 if it is not.
    pub fn age(&self, fact: &Fact, now_s: u64) -> u64 {
        self.since.get(fact).map_or(0, |since| now_s.saturating_sub(*since))
    }
}

fn unjoined(observed: &Observed) -> Vec<Fact> {
    let Some(ring) = &observed.ring else { return Vec::new() };
    let mut facts = Vec::new();
    for (set, view) in &observed.sets {
        let pods = (0..view.replicas).map(|ordinal| PodId::new(set, ordinal));
        facts.extend(pods.filter(|pod| !ring.members.contains_key(pod)).map(Fact::Unjoined));
    }
    facts
}
