//! The nodes as the model of Kubernetes knows them: the truth of each second, for its judge; and what it wants of them, to be
//! carried out once the second is over.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use dynamo_cluster_model::{Asked, Chance, Harm, Store, Told};
use dynamo_planner::{Edit, PodId, Uid};

/// What is wanted of the nodes.
#[derive(Debug)]
pub enum Wish {
    /// These are the first ring's.
    Found(Vec<PodId>),
    /// A process is to run on a disk; lives up to the last one are to be emptied first.
    Start { pod: PodId, disk: Uid, retired: Option<u64> },
    /// A process is to end.
    Stop(PodId),
    /// An operator asks for the ring.
    Look { operator: usize },
    /// An operator asks for a change.
    Change { operator: usize, change: Change },
}

/// A change that an operator asks for.
#[derive(Debug)]
pub enum Change {
    /// Of the ring as it is in this version; fewer zones than N may be meant.
    Edits { version: u64, edits: Vec<Edit>, fewer_zones: bool },
    /// The one under way is taken back.
    Cancel { id: u64 },
}

/// The nodes of a run.
#[derive(Default)]
pub struct Nodes {
    /// The largest R or W, and max(R, N - R + 1).
    pub needed: (u32, u32),
    /// The register's version that the following is of.
    pub version: u64,
    pub homes: Vec<Vec<PodId>>,
    pub members: BTreeSet<PodId>,
    /// Members, who joins, who leaves and who hands over.
    pub concerned: BTreeSet<PodId>,
    pub leavers: BTreeSet<PodId>,
    pub quiet: bool,
    /// Processes that run, and do not stop.
    pub up: BTreeSet<PodId>,
    /// The disk of each, and whether it has all of each partition, as it said last.
    pub disks: BTreeMap<PodId, (Uid, Vec<bool>)>,
    /// Who had all once that it should.
    pub filled: BTreeSet<PodId>,
    pub wishes: Vec<Wish>,
    /// By operator: what the look came to that it began last; None: it goes on.
    pub told: BTreeMap<usize, Option<Told>>,
    /// By operator: what became of what it asked for last.
    pub asked: BTreeMap<usize, Asked>,
    harm: RefCell<Option<(Harm, String)>>,
}

impl Nodes {
    /// What must not be, if it has happened.
    pub fn harm(&self) -> Option<(Harm, String)> {
        self.harm.take()
    }
}

impl Store for Nodes {
    fn new(_: u32) -> Nodes {
        Nodes::default()
    }

    fn found(&mut self, members: BTreeMap<PodId, u32>) {
        self.wishes.push(Wish::Found(members.into_keys().collect()));
    }

    fn step(&mut self, _: u64, _: &mut Chance) {}

    fn start(&mut self, pod: &PodId, disk: &Uid, retired: Option<u64>, _: u64) -> bool {
        let is_up = self.up.contains(pod);
        if !is_up {
            self.wishes.push(Wish::Start { pod: pod.clone(), disk: disk.clone(), retired });
        }
        is_up
    }

    fn stop(&mut self, pod: &PodId, _: u64) {
        if self.up.remove(pod) {
            self.wishes.push(Wish::Stop(pod.clone()));
        }
    }

    fn look(&mut self, operator: usize, _: u64) {
        self.told.insert(operator, None);
        self.wishes.push(Wish::Look { operator });
    }

    fn told(&self, operator: usize, _: u64) -> Option<Told> {
        self.told.get(&operator).cloned().flatten()
    }

    fn apply(
        &mut self,
        operator: usize,
        (version, edits, fewer_zones): (u64, &[Edit], bool),
        _: u64,
        _: &mut Chance,
    ) -> Result<(), String> {
        self.asked.insert(operator, Asked::Waits);
        let change = Change::Edits { version, edits: edits.to_vec(), fewer_zones };
        self.wishes.push(Wish::Change { operator, change });
        Ok(())
    }

    fn cancel(&mut self, operator: usize, id: u64, _: u64) -> Result<(), String> {
        self.asked.insert(operator, Asked::Waits);
        self.wishes.push(Wish::Change { operator, change: Change::Cancel { id } });
        Ok(())
    }

    /// A failure is told once.
    fn asked(&mut self, operator: usize, _: u64) -> Asked {
        match self.asked.get(&operator) {
            Some(Asked::Waits) => Asked::Waits,
            Some(_) => self.asked.remove(&operator).unwrap_or(Asked::Done),
            None => Asked::Done,
        }
    }

    fn forget(&mut self, operator: usize) {
        self.asked.remove(&operator);
        self.told.remove(&operator);
    }

    fn quorum(&self) -> u32 {
        self.needed.0
    }

    fn sources(&self) -> u32 {
        self.needed.1
    }

    fn homes(&self) -> &[Vec<PodId>] {
        &self.homes
    }

    fn members(&self) -> Vec<PodId> {
        self.members.iter().cloned().collect()
    }

    fn concerns(&self, pod: &PodId) -> bool {
        self.concerned.contains(pod)
    }

    fn hands_over(&self, pod: &PodId) -> bool {
        self.leavers.contains(pod)
    }

    fn is_quiet(&self) -> bool {
        self.quiet
    }

    fn is_up(&self, pod: &PodId) -> bool {
        self.up.contains(pod)
    }

    fn serves(&self, pod: &PodId) -> bool {
        let whole = |(_, whole): &(Uid, Vec<bool>)| {
            let mut homes = self.homes.iter().zip(whole).filter(|(homes, _)| homes.contains(pod));
            homes.all(|(_, whole)| *whole)
        };
        self.up.contains(pod) && self.disks.get(pod).is_some_and(whole)
    }

    fn has_whole(&self, pod: &PodId, disk: &Uid, partition: usize) -> bool {
        let same = self.disks.get(pod).filter(|(uid, _)| uid == disk);
        same.is_some_and(|(_, whole)| whole.get(partition).copied().unwrap_or(false))
    }

    fn has_run(&self, pod: &PodId) -> bool {
        self.filled.contains(pod)
    }

    fn harmed(&self, harm: Harm, told: String) {
        self.harm.borrow_mut().get_or_insert((harm, told));
    }
}
