//! Which change the ring needs, and which one is to be taken back (§4.9).
//!
//! All that is wanted goes into one change: whoever joins, leaves and weighs otherwise, so that data moves once.

use std::collections::BTreeSet;

use crate::{
    action::{Action, Edit, Plan},
    memory::{Fact, Memory},
    names::PodId,
    observed::{ChangeView, Observed, RingView},
    quorum,
    turn::Turn,
    wanted::Wanted,
    why::Why,
    zones::Shape,
};

/// How long new nodes wait for those that come with them.
const JOIN_PATIENCE_S: u64 = 300;
/// How long a change may be refused before something else may have its turn.
const REFUSED_S: u64 = 120;

/// What is needed to decide.
pub struct Needs<'a> {
    /// What is wanted.
    pub wanted: &'a Wanted,
    /// What was seen.
    pub observed: &'a Observed,
    /// Since when.
    pub memory: &'a Memory,
    /// The zones.
    pub shape: &'a Shape,
    /// The ring.
    pub ring: &'a RingView,
}

impl Needs<'_> {
    /// Looks after the change that is under way: it is taken back once nothing of it is wanted any more, or when it does
    /// not go on and a part of it is not wanted.
    pub fn tend(&self, plan: &mut Plan) {
        let Some(change) = &self.ring.change else { return };
        for reason in &change.blocked_by {
            plan.wait(Why::ChangeBlocked { id: change.id, reason: reason.clone() });
        }
        if self.is_to_be_cancelled(change) {
            plan.act(Action::CancelChange { id: change.id });
        }
    }

    fn is_to_be_cancelled(&self, change: &ChangeView) -> bool {
        let joins = change.joins.iter().filter(|pod| !self.shape.wants(pod)).count();
        let leaves = change.leaves.iter().filter(|pod| self.shape.wants(pod)).count();
        let (unwanted, all) = (joins + leaves, change.joins.len() + change.leaves.len());
        !change.cancelled && unwanted > 0 && (unwanted == all || !change.blocked_by.is_empty())
    }

    /// What is to become of whom, if anything is to change.
    pub fn edits(&self, plan: &mut Plan) -> Vec<Edit> {
        let Some(joins) = self.joins(plan) else { return Vec::new() };
        let mut edits = joins;
        if let Some(removal) = self.removal(plan) {
            edits.push(removal);
        } else {
            let leaves = self.leaves(plan);
            let stay = self.ring.members.len() + edits.len() - leaves.len();
            if leaves.is_empty() || stay >= self.ring.members.len().min(self.wanted.n as usize) {
                edits.extend(leaves);
            } else {
                plan.wait(Why::TooFewWouldStay { members: stay, n: self.wanted.n });
            }
        }
        let weighs = |(pod, weight): (&PodId, &u32)| {
            let zone = self.shape.zone(&pod.set).filter(|zone| zone.weight != *weight)?;
            self.shape.wants(pod).then(|| Edit::Reweigh { pod: pod.clone(), weight: zone.weight })
        };
        edits.extend(self.ring.members.iter().filter_map(weighs));
        edits
    }

    /// The nodes that can join now; None: some others are waited for.
    fn joins(&self, plan: &mut Plan) -> Option<Vec<Edit>> {
        let (mut joins, mut awaited) = (Vec::new(), Vec::new());
        for zone in &self.shape.zones {
            for pod in (0..zone.count).map(|ordinal| PodId::new(&zone.set, ordinal)) {
                if self.ring.members.contains_key(&pod) {
                    self.unmark(&pod, plan);
                    continue;
                }
                match self.is_new(&pod, plan) {
                    true => joins.push(Edit::Join { pod, weight: zone.weight }),
                    false if self.is_awaited(&pod) => awaited.push(pod),
                    false => {}
                }
            }
        }
        if awaited.is_empty() {
            return Some(joins);
        }
        plan.wait(Why::PodsNotReady { pods: awaited });
        None
    }

    /// Whether a node is up, on a disk that never left. A mark of an earlier life is taken off the claim first: whoever is
    /// in the ring has an unmarked one.
    fn is_new(&self, pod: &PodId, plan: &mut Plan) -> bool {
        let node = self.ring.nodes.get(pod).filter(|node| node.up && node.incarnation > 0);
        let ready = self.observed.pods.get(pod).is_some_and(|pod| pod.ready && !pod.deleting);
        let claim = self.observed.claims.get(pod).filter(|claim| !claim.deleting);
        let (Some(node), true, Some(claim)) = (node, ready, claim) else { return false };
        if self.ring.is_gone(pod, node.incarnation) {
            plan.wait(Why::DiskLeft { pod: pod.clone() });
            return false;
        }
        self.unmark(pod, plan);
        claim.mark.is_none()
    }

    fn unmark(&self, pod: &PodId, plan: &mut Plan) {
        if let Some(claim) = self.observed.claims.get(pod).filter(|claim| claim.mark.is_some() && !claim.deleting) {
            let (pod, version) = (pod.clone(), claim.version.clone());
            plan.act(Action::MarkClaim { pod, version, mark: None, under: None });
        }
    }

    fn is_awaited(&self, pod: &PodId) -> bool {
        let Some(set) = self.observed.sets.get(&pod.set) else { return true };
        if pod.ordinal >= set.replicas {
            // With a disk it may be held up for long by that.
            return !self.observed.claims.contains_key(pod);
        }
        self.memory.age(&Fact::Unjoined(pod.clone()), self.observed.now_s) < JOIN_PATIENCE_S
    }

    fn leaves(&self, plan: &mut Plan) -> Vec<Edit> {
        let mut leaves = Vec::new();
        for pod in self.unwanted() {
            if self.is_up(pod) {
                leaves.push(Edit::Leave { pod: pod.clone() });
            } else {
                plan.wait(Why::LeaverIsDown { pod: pod.clone() });
            }
        }
        leaves
    }

    fn unwanted(&self) -> impl Iterator<Item = &PodId> {
        self.ring.members.keys().filter(|pod| !self.shape.wants(pod))
    }

    fn is_up(&self, pod: &PodId) -> bool {
        self.ring.nodes.get(pod).is_some_and(|node| node.up)
    }

    /// One node that can't leave by itself any more, since its disk is gone, is removed, if the others have everything. Who
    /// left and lost what it was to hand over is not waited for.
    fn removal(&self, plan: &mut Plan) -> Option<Edit> {
        let alone = |pod: &&PodId| !self.observed.claims.contains_key(*pod) && !self.observed.pods.contains_key(*pod);
        let given_up = self.ring.leavers.iter().filter(|pod| !self.is_up(pod)).find(alone);
        if let Some(pod) = given_up {
            return Some(Edit::Remove { pod: pod.clone() });
        }
        let gone = self.unwanted().find(|pod| !self.is_up(pod) && self.has_no_disk(pod))?;
        if quorum::has_sources_without(self.ring, gone) {
            return Some(Edit::Remove { pod: gone.clone() });
        }
        plan.wait(Why::RemovalWouldLose { pod: gone.clone() });
        None
    }

    /// Its disk is gone for good; or it never ran, and nothing that could run it was found.
    fn has_no_disk(&self, pod: &PodId) -> bool {
        let never_ran = self.ring.nodes.get(pod).is_none_or(|node| node.incarnation == 0)
            && self.observed.pods.get(pod).is_none_or(|pod| pod.host.is_none());
        never_ran || crate::replacement::is_lost(self.wanted, self.observed, self.memory, pod).is_ok_and(|lost| lost)
    }

    /// The turn's action.
    pub fn act(&self, under: u64, plan: &mut Plan) {
        let edits = self.edits(plan);
        if edits.is_empty() {
            return;
        }
        let zones: BTreeSet<&String> =
            self.shape.zones.iter().filter(|zone| zone.count > 0).map(|zone| &zone.name).collect();
        let fewer_zones = zones.len() < self.wanted.n as usize;
        plan.act(Action::ChangeRing { version: self.ring.version, edits, fewer_zones, under });
    }

    /// Whether the turn is over: a change that is under way keeps everything else out by itself.
    pub fn is_over(&self, turn: &Turn) -> bool {
        let refused = self.memory.age(&Fact::Turn(turn.id), self.observed.now_s) > REFUSED_S;
        self.ring.change.is_some() || refused || self.edits(&mut Plan::default()).is_empty()
    }
}
