//! The store's nodes, as this world needs them: processes that run on disks, a ring that is looked at and changed, and the
//! truth by which what operators do is judged.
//!
//! The planner's tests have a model of them, and the simulator the nodes themselves. What these answer takes time: a look and
//! a change are begun, and asked after in each later second.

use std::collections::BTreeMap;

use dynamo_planner::{Edit, PodId, ReceiptView, RingView, Uid};

use crate::chance::Chance;

/// What an operator is told when it asks the nodes.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// The ring; None: no node answers.
    pub ring: Option<RingView>,
    /// What those say that are in no ring.
    pub receipts: BTreeMap<PodId, ReceiptView>,
}

/// What became of a change that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It was made, or none was asked for.
    Done,
    /// There is no answer yet.
    Waits,
    /// It was refused, or nobody knows.
    Failed,
}

/// What an operator did that it must never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// A range lost its quorum by it.
    Disruption,
    /// A pod or a disk went that the ring needs.
    Departure,
}

/// The nodes of a store.
pub trait Store {
    /// A store that keeps so many replicas, and has no nodes yet.
    fn new(n: u32) -> Self;

    /// The first ring's members, with their weights.
    fn found(&mut self, members: BTreeMap<PodId, u32>);

    /// One second.
    fn step(&mut self, now: u64, chance: &mut Chance);

    /// A process is to run on a disk, by a configuration that names the last life that left. Whether it runs: if not, it is
    /// asked for again a second later.
    fn start(&mut self, pod: &PodId, disk: &Uid, retired: Option<u64>, now: u64) -> bool;

    /// A process is told to end.
    fn stop(&mut self, pod: &PodId, now: u64);

    /// An operator begins to look at the ring.
    fn look(&mut self, _operator: usize, _now: u64) {}

    /// What the look came to that it began last. None: there is no answer yet.
    fn told(&self, operator: usize, now: u64) -> Option<Told>;

    /// As `RingAdmin.Apply`.
    ///
    /// # Errors
    /// It is refused at once.
    fn apply(
        &mut self,
        operator: usize,
        change: (u64, &[Edit], bool),
        now: u64,
        chance: &mut Chance,
    ) -> Result<(), String>;

    /// As `RingAdmin.Cancel`.
    ///
    /// # Errors
    /// It is refused at once.
    fn cancel(&mut self, operator: usize, id: u64, now: u64) -> Result<(), String>;

    /// What became of the change that an operator asked for last.
    fn asked(&mut self, _operator: usize, _now: u64) -> Asked {
        Asked::Done
    }

    /// An operator died: nobody waits for what it asked.
    fn forget(&mut self, _operator: usize) {}

    /// The largest R or W.
    fn quorum(&self) -> u32;

    /// max(R, N - R + 1).
    fn sources(&self) -> u32;

    /// The homes of each partition, as the ring really is.
    fn homes(&self) -> &[Vec<PodId>];

    /// The members, as the ring really is, lowest first.
    fn members(&self) -> Vec<PodId>;

    /// Whether the ring really has anything to do with a node: it is a member, joins, leaves, or hands over.
    fn concerns(&self, pod: &PodId) -> bool;

    /// Whether a node has left the ring and has things still to hand over.
    fn hands_over(&self, pod: &PodId) -> bool;

    /// Whether nothing is under way in the ring, and nobody hands over.
    fn is_quiet(&self) -> bool;

    /// Whether a process runs.
    fn is_up(&self, pod: &PodId) -> bool;

    /// Whether it runs and has all that it should.
    fn serves(&self, pod: &PodId) -> bool;

    /// Whether a disk has all of a partition.
    fn has_whole(&self, pod: &PodId, disk: &Uid, partition: usize) -> bool;

    /// Whether a node has ever run, and had what it should.
    fn has_run(&self, pod: &PodId) -> bool;

    /// What must not be has happened; the world tells what led there.
    fn harmed(&self, _harm: Harm, told: String) {
        panic!("{told}");
    }
}
