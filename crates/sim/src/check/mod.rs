//! The checkers: each looks at what clients did and saw, and at what the replicas hold at the end.

mod acknowledged;
mod availability;
mod dots;
mod growth;
mod latest;
mod phantom;
mod seals;
mod siblings;
mod strict;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{
    availability::{promise_of, void_promises},
    seals::Seals,
};
use crate::{
    history::{History, WriteId},
    plan::Plan,
};

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which checker says so.
    pub checker: String,
    /// The key that it is about.
    pub key: Option<u16>,
    /// What is wrong.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(checker: &str, key: Option<u16>, what: String) -> Self {
        Self { checker: checker.to_owned(), key, what }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            Some(key) => write!(f, "{}: key-{key}: {}", self.checker, self.what),
            None => write!(f, "{}: {}", self.checker, self.what),
        }
    }
}

/// What a key's replicas hold when all is over, joined.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// The writes whose versions stand, deletes included.
    pub standing: Vec<WriteId>,
    /// Values that name no write of the key.
    pub strange: Vec<String>,
    /// Siblings with their tombstones, and actors in the causality.
    pub siblings: usize,
    pub actors: usize,
}

/// All that the checkers look at.
pub struct Evidence<'a> {
    pub plan: &'a Plan,
    pub history: &'a History,
    /// By key.
    pub endings: &'a [Ending],
    /// Writes of each key.
    pub by_key: Vec<Vec<WriteId>>,
}

impl<'a> Evidence<'a> {
    pub fn new(plan: &'a Plan, history: &'a History, endings: &'a [Ending]) -> Self {
        Self { plan, history, endings, by_key: history.by_key(plan.keys) }
    }

    fn keys(&self) -> impl Iterator<Item = u16> {
        0..self.plan.keys
    }

    fn writes(&self, key: u16) -> &[WriteId] {
        &self.by_key[usize::from(key)]
    }

    /// All that these writes of a key follow, themselves included, and what deletes of the key followed: a delete that was
    /// collected stands nowhere. Sorted.
    fn covered_by(&self, key: u16, writes: &[WriteId]) -> Vec<WriteId> {
        let made =
            |write: &&WriteId| self.history.write(**write).delete && self.history.write(**write).minted.is_some();
        let ends: Vec<WriteId> = writes.iter().chain(self.writes(key).iter().filter(made)).copied().collect();
        self.history.past_of(&ends)
    }

    fn ending(&self, key: u16) -> &Ending {
        &self.endings[usize::from(key)]
    }

    fn bucket(&self, key: u16) -> crate::plan::BucketPlan {
        self.plan.buckets[self.plan.bucket_of(key.into())]
    }
}

/// Every checker, the most telling first: what it found first is what is reported.
pub fn check(evidence: &Evidence<'_>) -> Option<Violation> {
    let checkers: [fn(&Evidence<'_>) -> Option<Violation>; 8] = [
        acknowledged::check,
        phantom::check,
        latest::check,
        strict::check,
        siblings::check,
        dots::check,
        availability::check,
        growth::check,
    ];
    checkers.iter().find_map(|checker| checker(evidence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{BucketPlan, ClusterPlan, DurabilityPlan, NetworkPlan, collect_every_ms};

    /// A plan of one key in one bucket.
    pub fn plan(bucket: BucketPlan) -> Plan {
        Plan {
            scenario: "hand-made".into(),
            seed: 0,
            cluster: ClusterPlan {
                nodes: 3,
                spares: 0,
                zones: 3,
                replication: 3,
                partitions: 8,
                durability: DurabilityPlan::Fsync,
                hints_bytes_max: 1 << 20,
                siblings_max: 100,
                collect_every_ms: collect_every_ms(),
            },
            network: NetworkPlan { latency_us: 100, jitter_us: 100 },
            buckets: vec![bucket],
            keys: 1,
            value_bytes: 16,
            run_ms: 1000,
            settle_ms: 1000,
            clients: vec![vec![]],
            faults: vec![],
            edits: vec![],
        }
    }

    pub fn ending(standing: &[WriteId]) -> Vec<Ending> {
        vec![Ending { standing: standing.to_vec(), siblings: standing.len(), actors: 1, ..Ending::default() }]
    }
}
