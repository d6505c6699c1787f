//! The nodes and their ring, as the planner relies on them: one change at a time, by compare-and-set; disks that are
//! filled from enough whole ones; leavers that hand over; lives that left and do not come back.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_cluster_model::{Chance, Store, Told};
use dynamo_planner::{ChangeView, Edit, NodeView, PodId, ReceiptView, RingView, Uid, turn::NOTICED_S};
use dynamo_ring::{Member, NodeId, PartitionCount, Ring};

#[derive(Debug, Clone, Default)]
pub struct Nodes {
    pub n: u32,
    pub version: u64,
    pub epoch: u64,
    pub members: BTreeMap<PodId, u32>,
    /// By partition.
    pub homes: Vec<Vec<PodId>>,
    pub change: Option<Change>,
    /// Who hands over, and until when if it is up.
    pub leavers: BTreeMap<PodId, u64>,
    pub gone: BTreeSet<(PodId, u64)>,
    /// Disks by their claim's uid.
    pub disks: BTreeMap<Uid, Disk>,
    /// The disk of each process that runs.
    pub up: BTreeMap<PodId, Uid>,
    /// Since when a node has been down; and when one came back.
    pub down_since: BTreeMap<PodId, u64>,
    pub back_since: BTreeMap<PodId, u64>,
    /// The life under which each was last heard.
    pub last_life: BTreeMap<PodId, u64>,
    pub lives: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub life: u64,
    /// Partitions that it has whole.
    pub whole: BTreeSet<usize>,
}

#[derive(Debug, Clone)]
pub struct Change {
    pub id: u64,
    pub joins: BTreeSet<PodId>,
    pub leaves: BTreeSet<PodId>,
    pub removes: BTreeSet<PodId>,
    pub after: BTreeMap<PodId, u32>,
    pub homes_after: Vec<Vec<PodId>>,
    pub left: u64,
    pub cancelled: bool,
}

fn ring_of(n: u32, members: &BTreeMap<PodId, u32>) -> Vec<Vec<PodId>> {
    let member = |(pod, weight): (&PodId, &u32)| Member {
        id: NodeId::initial("c", &pod.to_string()),
        name: pod.to_string(),
        zone: pod.set.clone(),
        weight: *weight,
    };
    let list: Vec<Member> = members.iter().map(member).collect();
    let ring = Ring::bootstrap(n as u8, PartitionCount::try_from(32).unwrap(), list).expect("members that make a ring");
    let named: BTreeMap<NodeId, &PodId> =
        members.keys().map(|pod| (NodeId::initial("c", &pod.to_string()), pod)).collect();
    let homes = |partition| ring.preference_list(partition).iter().map(|id| named[id].clone()).collect();
    ring.partitions().iter().map(homes).collect()
}

impl Nodes {
    pub fn quorum(&self) -> u32 {
        self.n / 2 + 1
    }

    pub fn sources(&self) -> u32 {
        self.quorum().max(self.n - self.quorum() + 1)
    }

    /// The founders are whole from the start: there is nothing to have.
    pub fn found(&mut self, members: BTreeMap<PodId, u32>) {
        self.homes = ring_of(self.n, &members);
        (self.members, self.version, self.epoch) = (members, 1, 1);
    }

    pub fn is_up(&self, pod: &PodId) -> bool {
        self.up.contains_key(pod)
    }

    pub fn has_whole(&self, pod: &PodId, partition: usize) -> bool {
        self.up.get(pod).is_some_and(|disk| self.disks[disk].whole.contains(&partition))
    }

    fn lacks(&self, pod: &PodId) -> usize {
        let homes = self.homes.iter().enumerate().filter(|(_, homes)| homes.contains(pod));
        homes.filter(|(partition, _)| !self.has_whole(pod, *partition)).count()
    }

    pub fn serves(&self, pod: &PodId) -> bool {
        self.is_up(pod) && self.lacks(pod) == 0
    }

    /// A process starts on a disk; false: it refuses to, since that life left.
    pub fn start(&mut self, pod: &PodId, disk: &Uid, retired: Option<u64>, now: u64) -> bool {
        let new = !self.disks.contains_key(disk);
        if new {
            self.lives += 1;
            let first = self.members.contains_key(pod) && !self.down_since.contains_key(pod);
            let home = |(partition, homes): (usize, &Vec<PodId>)| homes.contains(pod).then_some(partition);
            let whole = if first { self.homes.iter().enumerate().filter_map(home).collect() } else { BTreeSet::new() };
            self.disks.insert(disk.clone(), Disk { life: self.lives, whole });
        }
        let life = self.disks[disk].life;
        if retired.is_some_and(|last| last >= life) {
            let needed = self.members.contains_key(pod) || self.leavers.contains_key(pod);
            assert!(!needed, "{pod} is told to empty a disk that is needed");
            self.lives += 1;
            self.disks.insert(disk.clone(), Disk { life: self.lives, whole: BTreeSet::new() });
        } else if self.gone.contains(&(pod.clone(), life)) && !self.leavers.contains_key(pod) {
            return false;
        }
        self.up.insert(pod.clone(), disk.clone());
        self.last_life.insert(pod.clone(), self.disks[disk].life);
        if self.down_since.remove(pod).is_some() {
            self.back_since.insert(pod.clone(), now);
        }
        true
    }

    pub fn stop(&mut self, pod: &PodId, now: u64) {
        if self.up.remove(pod).is_some() {
            self.down_since.insert(pod.clone(), now);
        }
    }

    fn majority(&self) -> bool {
        let up = self.members.keys().filter(|pod| self.is_up(pod)).count();
        2 * up > self.members.len()
    }

    pub fn step(&mut self, now: u64, chance: &mut Chance) {
        self.fill(chance);
        self.hand_over(now);
        if self.majority() {
            self.go_on(now);
        }
    }

    /// Whether enough other homes of a partition are up and whole.
    fn has_sources(&self, partition: usize, without: &PodId) -> bool {
        let homes = &self.homes[partition];
        let others = homes.iter().filter(|pod| *pod != without && self.has_whole(pod, partition)).count();
        others >= (self.sources() as usize).min(homes.len().saturating_sub(1)).max(1)
    }

    fn fill(&mut self, chance: &mut Chance) {
        let mut filled = Vec::new();
        for (partition, homes) in self.homes.iter().enumerate() {
            for pod in homes.iter().filter(|pod| self.is_up(pod) && !self.has_whole(pod, partition)) {
                if self.has_sources(partition, pod) && chance.percent(40) {
                    filled.push((self.up[pod].clone(), partition));
                }
            }
        }
        for (disk, partition) in filled {
            self.disks.get_mut(&disk).expect("it is there").whole.insert(partition);
        }
    }

    fn hand_over(&mut self, now: u64) {
        let up: BTreeSet<PodId> = self.up.keys().cloned().collect();
        let before = self.leavers.len();
        self.leavers.retain(|pod, until| !up.contains(pod) || *until > now);
        self.version += u64::from(self.leavers.len() != before);
    }

    fn can_go_on(&self, change: &Change) -> Result<(), String> {
        let mut moving = change.joins.iter().chain(&change.leaves);
        if let Some(pod) = moving.find(|pod| !self.is_up(pod)) {
            return Err(format!("{pod} is down"));
        }
        for (partition, homes) in self.homes.iter().enumerate() {
            let mut gained = change.homes_after[partition].iter().filter(|pod| !homes.contains(pod));
            if let Some(pod) = gained.find(|pod| !self.is_up(pod)).filter(|_| !change.cancelled) {
                return Err(format!("{pod} is to have partition {partition}, and is down"));
            }
            let whole = homes.iter().filter(|pod| self.has_whole(pod, partition)).count();
            if whole < (self.sources() as usize).min(homes.len()) && !(self.n == 2 && whole > 0) {
                return Err(format!("too few whole homes of {partition}"));
            }
        }
        Ok(())
    }

    fn go_on(&mut self, now: u64) {
        let Some(mut change) = self.change.clone() else { return };
        if self.can_go_on(&change).is_err() {
            return;
        }
        change.left = change.left.saturating_sub(1);
        if change.left > 0 {
            self.change = Some(change);
            return;
        }
        self.change = None;
        self.version += 1;
        self.epoch += 1;
        if change.cancelled {
            return;
        }
        self.turn(&change, now);
    }

    /// The ring is another: whoever is a home has had everything first.
    fn turn(&mut self, change: &Change, now: u64) {
        let old = std::mem::replace(&mut self.homes, change.homes_after.clone());
        for pod in self.members.keys().filter(|pod| !change.after.contains_key(*pod)) {
            self.gone.extend(self.last_life.get(pod).map(|life| (pod.clone(), *life)));
            if !change.removes.contains(pod) {
                self.leavers.insert(pod.clone(), now + 3);
            }
        }
        self.members = change.after.clone();
        for (partition, homes) in self.homes.iter().enumerate() {
            for pod in homes.iter().filter(|pod| !old[partition].contains(pod)) {
                if let Some(disk) = self.up.get(pod) {
                    self.disks.get_mut(disk).expect("it is there").whole.insert(partition);
                }
            }
        }
    }

    /// As `RingAdmin.Apply`.
    pub fn apply(&mut self, version: u64, edits: &[Edit], chance: &mut Chance) -> Result<(), String> {
        if version != self.version || self.change.is_some() || !self.majority() {
            return Err("the ring has moved on, or nobody answers".to_owned());
        }
        let (mut joins, mut leaves, mut removes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut after = self.members.clone();
        for edit in edits {
            match edit {
                Edit::Join { pod, weight } => {
                    let disk = self.up.get(pod).ok_or_else(|| format!("{pod} does not answer"))?;
                    if self.gone.contains(&(pod.clone(), self.disks[disk].life)) {
                        return Err(format!("{pod} left with this disk"));
                    }
                    joins.insert(pod.clone());
                    after.insert(pod.clone(), *weight);
                }
                Edit::Leave { pod } if self.is_up(pod) => {
                    leaves.insert(pod.clone());
                    after.remove(pod);
                }
                Edit::Leave { pod } => return Err(format!("{pod} is down")),
                Edit::Remove { pod } if self.leavers.remove(pod).is_some() => self.version += 1,
                Edit::Remove { pod } => {
                    let mut homes = self.homes.iter().enumerate().filter(|(_, homes)| homes.contains(pod));
                    if self.is_up(pod) || homes.any(|(partition, _)| !self.has_sources(partition, pod)) {
                        return Err(format!("{pod} is alive, or the only copy"));
                    }
                    removes.insert(pod.clone());
                    after.remove(pod);
                }
                Edit::Reweigh { pod, weight } => {
                    after.insert(pod.clone(), *weight);
                }
            }
        }
        if after == self.members {
            return Ok(());
        }
        if after.len() < self.members.len().min(self.n as usize) {
            return Err("fewer than N would stay".to_owned());
        }
        self.version += 1;
        let (id, left) = (self.version, 3 + chance.below(20));
        let homes_after = ring_of(self.n, &after);
        self.change = Some(Change { id, joins, leaves, removes, after, homes_after, left, cancelled: false });
        Ok(())
    }

    /// As `RingAdmin.Cancel`.
    pub fn cancel(&mut self, id: u64, now: u64) -> Result<(), String> {
        let change = self.change.as_mut().filter(|change| change.id == id && !change.cancelled);
        let change = change.ok_or("there is no such change")?;
        (change.cancelled, change.left) = (true, change.left.min(4));
        let joins = std::mem::take(&mut change.joins);
        change.leaves.clear();
        self.version += 1;
        for pod in joins {
            self.leavers.insert(pod, now + 3);
        }
        Ok(())
    }

    pub fn hints(&self, now: u64) -> u64 {
        let down = self.down_since.iter().filter(|(pod, _)| self.members.contains_key(*pod)).count();
        let back = self.back_since.iter().filter(|(_, since)| now < **since + 3).count();
        (down + back) as u64
    }

    pub fn receipt(&self, pod: &PodId) -> Option<ReceiptView> {
        let disk = self.up.get(pod)?;
        let owes = self.members.contains_key(pod) || self.leavers.contains_key(pod);
        let missing = if owes { vec!["it is in the ring".to_owned()] } else { vec![] };
        Some(ReceiptView { complete: !owes, incarnation: self.disks[disk].life, missing })
    }

    fn last_gone(&self) -> BTreeMap<PodId, u64> {
        // In order, so that the last one of each stays.
        self.gone.iter().cloned().collect()
    }

    /// What an operator is told; None: nobody answers.
    pub fn view(&self, now: u64) -> Option<RingView> {
        if self.up.is_empty() || self.members.is_empty() {
            return None;
        }
        let mut nodes = BTreeMap::new();
        for (pod, disk) in &self.up {
            let (incarnation, refilling) = (self.disks[disk].life, self.lacks(pod) as u32);
            let hints = if self.members.contains_key(pod) { self.hints(now) } else { 0 };
            nodes.insert(pod.clone(), NodeView { up: true, incarnation, refilling, hints, ..NodeView::default() });
        }
        for (pod, since) in &self.down_since {
            let up = now < since + NOTICED_S;
            let incarnation = self.last_life.get(pod).copied().unwrap_or(0);
            nodes.entry(pod.clone()).or_insert(NodeView { up, incarnation, ..NodeView::default() });
        }
        let change = self.change.as_ref().map(|change| ChangeView {
            id: change.id,
            joins: change.joins.clone(),
            leaves: change.leaves.clone(),
            cancelled: change.cancelled,
            blocked_by: self.can_go_on(change).err().into_iter().collect(),
        });
        Some(RingView {
            version: self.version,
            epoch: self.epoch,
            confirmed: self.majority(),
            members: self.members.clone(),
            homes: self.homes.iter().cloned().collect(),
            change,
            leavers: self.leavers.keys().cloned().collect(),
            gone: self.last_gone(),
            behind: BTreeSet::new(),
            nodes,
            quorum: self.quorum(),
            sources: self.sources(),
        })
    }
}

impl Store for Nodes {
    fn new(n: u32) -> Nodes {
        Nodes { n, ..Nodes::default() }
    }

    fn found(&mut self, members: BTreeMap<PodId, u32>) {
        Nodes::found(self, members);
    }

    fn step(&mut self, now: u64, chance: &mut Chance) {
        Nodes::step(self, now, chance);
    }

    fn start(&mut self, pod: &PodId, disk: &Uid, retired: Option<u64>, now: u64) -> bool {
        Nodes::start(self, pod, disk, retired, now)
    }

    fn stop(&mut self, pod: &PodId, now: u64) {
        Nodes::stop(self, pod, now);
    }

    fn told(&self, _: usize, now: u64) -> Option<Told> {
        let receipts = self.up.keys().filter_map(|pod| Some((pod.clone(), self.receipt(pod)?)));
        Some(Told { ring: self.view(now), receipts: receipts.collect() })
    }

    fn apply(
        &mut self,
        _: usize,
        (version, edits, _): (u64, &[Edit], bool),
        _: u64,
        chance: &mut Chance,
    ) -> Result<(), String> {
        Nodes::apply(self, version, edits, chance)
    }

    fn cancel(&mut self, _: usize, id: u64, now: u64) -> Result<(), String> {
        Nodes::cancel(self, id, now)
    }

    fn quorum(&self) -> u32 {
        Nodes::quorum(self)
    }

    fn sources(&self) -> u32 {
        Nodes::sources(self)
    }

    fn homes(&self) -> &[Vec<PodId>] {
        &self.homes
    }

    fn members(&self) -> Vec<PodId> {
        self.members.keys().cloned().collect()
    }

    fn hands_over(&self, pod: &PodId) -> bool {
        self.leavers.contains_key(pod)
    }

    fn concerns(&self, pod: &PodId) -> bool {
        let moves = |change: &Change| change.joins.contains(pod) || change.leaves.contains(pod);
        self.members.contains_key(pod) || self.leavers.contains_key(pod) || self.change.as_ref().is_some_and(moves)
    }

    fn is_quiet(&self) -> bool {
        self.change.is_none() && self.leavers.is_empty()
    }

    fn is_up(&self, pod: &PodId) -> bool {
        Nodes::is_up(self, pod)
    }

    fn serves(&self, pod: &PodId) -> bool {
        Nodes::serves(self, pod)
    }

    fn has_whole(&self, _: &PodId, disk: &Uid, partition: usize) -> bool {
        self.disks.get(disk).is_some_and(|disk| disk.whole.contains(&partition))
    }

    fn has_run(&self, pod: &PodId) -> bool {
        self.last_life.contains_key(pod)
    }
}
