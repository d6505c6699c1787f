//! The step under way, as each node works it out from the charter: which partitions it moves, from whom, to whom (§4.9).

use std::collections::BTreeSet;

use dynamo_ring::{NodeId, charter::Charter};

/// A partition whose preference list differs between the settled ring and the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    /// Which.
    pub partition: u16,
    /// Its homes now.
    pub old: Vec<NodeId>,
    /// Those of them that may have what was acknowledged: not those that are down for good.
    pub sources: Vec<NodeId>,
    /// Its homes after, as far as they are none now.
    pub gained: Vec<NodeId>,
    /// Homes that are not whole count as sources, and those that are left are enough, however few: an administrator has
    /// said so.
    pub accept_loss: bool,
}

/// A step of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The register's version under which it is under way. Another version is another step, also over the same tokens.
    pub version: u64,
    /// The settled ring's epoch.
    pub epoch: u64,
    /// What it affects, by partition.
    pub affected: Vec<Affected>,
}

impl Step {
    /// The step that is under way under a charter, if one is.
    pub fn of(version: u64, charter: &Charter) -> Option<Step> {
        let (ring, next, change) = (charter.ring(), charter.next_ring()?, charter.change()?);
        let mut affected = Vec::new();
        for partition in ring.partitions().iter() {
            let old = ring.preference_list(partition);
            let new = next.preference_list(partition);
            let gained: Vec<NodeId> = new.iter().copied().filter(|id| !old.contains(id)).collect();
            if gained.is_empty() && old.iter().all(|id| new.contains(id)) {
                continue;
            }
            let sources = old.iter().copied().filter(|id| !change.lost.contains(id)).collect();
            let (partition, old, accept_loss) = (partition.0, old.to_vec(), change.accept_loss);
            affected.push(Affected { partition, old, sources, gained, accept_loss });
        }
        Some(Step { version, epoch: ring.epoch(), affected })
    }

    /// What it affects of which this node is a home now.
    pub fn of_home(&self, me: NodeId) -> impl Iterator<Item = &Affected> {
        self.affected.iter().filter(move |affected| affected.old.contains(&me))
    }

    /// What this node gains by it.
    pub fn gained_by(&self, me: NodeId) -> impl Iterator<Item = &Affected> {
        self.affected.iter().filter(move |affected| affected.gained.contains(&me))
    }

    /// Who has to report: all that give or gain.
    pub fn involved(&self) -> BTreeSet<NodeId> {
        self.affected.iter().flat_map(|affected| affected.sources.iter().chain(&affected.gained)).copied().collect()
    }

    /// Copies of partitions that it makes.
    pub fn copies(&self) -> usize {
        self.affected.iter().map(|affected| affected.gained.len()).sum()
    }
}

impl Affected {
    /// Of how many whole old homes a gaining node must have had everything that they ever acknowledged: `needed` is
    /// max(R, N - R + 1), the largest over the buckets.
    pub fn needed(&self, needed: usize) -> usize {
        let lost = self.old.len() - self.sources.len();
        if self.accept_loss { needed.min(self.sources.len()) } else { sources_needed(needed, self.old.len(), lost) }
    }
}

/// Of how many of `homes` old homes everything must be had, of which `lost` are down for good. One of those is allowed for
/// also where all would be needed (W = 1, or R = 1): else nobody could ever be replaced there. With a second one, what W
/// acknowledged may be nowhere else.
pub fn sources_needed(needed: usize, homes: usize, lost: usize) -> usize {
    needed.min(if lost == 0 { homes } else { homes.saturating_sub(1).max(1) })
}

/// Copies of partitions that all steps of a charter's change make that are still to be taken.
pub fn copies(charter: &Charter) -> usize {
    let (mut charter, mut copies) = (charter.clone(), 0);
    while let (Some(step), Some(next)) = (Step::of(0, &charter), charter.turn()) {
        copies += step.copies();
        charter = next;
    }
    copies
}
