//! What people want to know of a plan before they carry it out: data to print, nothing is printed here.

use super::{
    forced,
    plan::{Moved, NodeChange, Plan, ZoneChange},
    steps::steps,
};
use crate::{
    id::NodeId,
    position::Partition,
    ring::{Member, Ring},
};

/// A replica that moves: a partition's place in a preference list that one node leaves to another.
///
/// Which of a list's nodes that go is paired with which that come is by their order in the lists: a replica is copied from
/// whoever has it (§4.9), so this is how to count, not how to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaMoved {
    /// Of which partition.
    pub partition: Partition,
    /// Who has it before and not after; nobody if lists get longer, because there were fewer nodes than N.
    pub from: Option<NodeId>,
    /// Who has it after and not before; nobody if lists get shorter.
    pub to: Option<NodeId>,
}

/// A plan for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Tokens and replicas of every node that is on the ring before or after, by id.
    pub nodes: Vec<NodeChange>,
    /// The same of every zone, by name.
    pub zones: Vec<ZoneChange>,
    /// Partitions whose token changes hands, clockwise.
    pub tokens: Vec<Moved>,
    /// Replicas that move, by partition.
    pub replicas: Vec<ReplicaMoved>,
    /// How many would have to be gained at least: see [`Plan::replicas_least`].
    pub replicas_least: usize,
    /// In how many steps.
    pub steps: usize,
    /// Walks that skip a token before.
    pub skips_before: usize,
    /// Walks that skip a token after.
    pub skips_after: usize,
    /// Walks that would skip a token after whoever owned what: members, N and Q alone force so many, at least.
    pub skips_forced: usize,
}

impl Plan {
    /// The plan in figures, if it is carried out in [`steps`] of at most `tokens_max` tokens.
    pub fn report(&self, tokens_max: usize) -> Report {
        Report {
            nodes: self.nodes.clone(),
            zones: self.zones.clone(),
            tokens: self.moved.clone(),
            replicas: replicas(&self.current, &self.ring()),
            replicas_least: self.replicas_least,
            steps: steps(self, tokens_max).len(),
            skips_before: self.skips_before,
            skips_after: self.skips_after,
            skips_forced: forced::skips_forced(&self.members, self.current.partitions(), self.current.n()),
        }
    }
}

fn replicas(before: &Ring, after: &Ring) -> Vec<ReplicaMoved> {
    let ids = |ring: &Ring, other: &Ring, partition: Partition| {
        let gone = ring.walk(partition).take(ring.homes()).map(|member: &Member| member.id);
        gone.filter(|id| !other.is_home(partition, *id)).collect::<Vec<_>>()
    };
    let moved = |partition: Partition| {
        let (from, to) = (ids(before, after, partition), ids(after, before, partition));
        (0..from.len().max(to.len())).map(move |at| ReplicaMoved {
            partition,
            from: from.get(at).copied(),
            to: to.get(at).copied(),
        })
    };
    before.partitions().iter().flat_map(moved).collect()
}
