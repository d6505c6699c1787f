//! StatefulSets, and their controller: the real one's with podManagementPolicy Parallel, RollingUpdate with a partition and
//! both retention policies Retain. `tests/controller.rs` plays the same acts on both.
//!
//! Pods above `replicas` go all at once. A pod is made from the current revision below the partition and from the update's
//! above it. What is above and outdated is made anew from the top, one at a time, each only when those above it are ready.
//! The update's revision is the current one once all pods have it and are ready. Where a pod can't be made, since its claim
//! still goes or another has its name, neither is anything after it, nothing is scaled down and nothing rolled.
//!
//! What it does not do: pods that failed or were evicted, minReadySeconds, other policies; revisions are their templates.

use std::collections::BTreeMap;

use dynamo_planner::{PARKED, PodId, Uid, Version};

use crate::{
    chance::Chance,
    kube::{Claim, Done, Kube, Pod},
};

/// A StatefulSet.
#[derive(Debug, Clone)]
pub struct Set {
    /// Its uid.
    pub uid: Uid,
    /// Its version: another after each write, the controller's too.
    pub version: Version,
    /// Its spec's generation: one more after each edit that changes anything.
    pub generation: u64,
    /// Its zone.
    pub zone: String,
    /// Wanted pods.
    pub replicas: u32,
    /// Pods with a lower number come back as they were.
    pub partition: u32,
    /// The template of the update's revision.
    pub template: String,
    /// The size in its claim template.
    pub storage_bytes: u64,
    /// What its controller says.
    pub status: SetStatus,
}

/// What the controller says of a StatefulSet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetStatus {
    /// The generation that it has seen.
    pub generation: u64,
    /// Pods, with those that go.
    pub replicas: u32,
    /// Pods that are ready.
    pub ready: u32,
    /// Pods of the update's revision that do not go.
    pub updated: u32,
    /// The template of the current revision; None: it has not looked yet.
    pub present: Option<String>,
}

impl Set {
    /// Whether the controller says that the current revision is the update's: it does so at once of one that was just
    /// made, whatever pods it takes up.
    pub fn rolled(&self) -> bool {
        self.status.generation >= self.generation && self.status.present.as_ref() == Some(&self.template)
    }

    fn spec(&self) -> (u32, u32, &str) {
        (self.replicas, self.partition, &self.template)
    }
}

impl Kube {
    /// Makes a StatefulSet whose partition is parked; false: there is one of this name.
    pub fn create_set(&mut self, name: &str, zone: &str, replicas: u32, template: &str, storage_bytes: u64) -> bool {
        if self.sets.contains_key(name) {
            return false;
        }
        let made = Set {
            uid: self.fresh(),
            version: self.fresh(),
            generation: 1,
            zone: zone.to_owned(),
            replicas,
            partition: PARKED,
            template: template.to_owned(),
            storage_bytes,
            status: SetStatus::default(),
        };
        self.sets.insert(name.to_owned(), made);
        true
    }

    /// Edits a StatefulSet, if it is there: replicas, partition, template.
    pub fn edit_set(&mut self, name: &str, edit: impl FnOnce(&mut Set)) {
        let fresh = self.fresh();
        let Some(set) = self.sets.get_mut(name) else { return };
        let before = set.clone();
        edit(set);
        if set.spec() != before.spec() {
            set.generation += 1;
            set.version = fresh;
        }
    }

    /// Deletes a StatefulSet, if it is there; its pods stay as orphans, or go with it. Claims stay.
    pub fn delete_set(&mut self, name: &str, orphan: bool, now: u64, chance: &mut Chance) {
        let Some(set) = self.sets.remove(name) else { return };
        for pod in self.owned(&set.uid).into_keys() {
            if orphan {
                self.pods.get_mut(&pod).expect("it is there").owner = None;
            } else {
                self.delete_pod(&pod, now, chance);
            }
        }
    }

    fn owned(&self, set: &Uid) -> BTreeMap<PodId, Pod> {
        let ours = self.pods.iter().filter(|(_, pod)| pod.owner.as_ref() == Some(set));
        ours.map(|(pod, view)| (pod.clone(), view.clone())).collect()
    }

    /// One look of the controller at one StatefulSet.
    pub(crate) fn tend_set(&mut self, name: &str, now: u64, chance: &mut Chance, done: &mut Done) {
        let set = self.sets[name].clone();
        self.adopt(name, &set.uid);
        let found = self.owned(&set.uid);
        let present = set.status.present.clone().unwrap_or_else(|| set.template.clone());
        if self.fill(name, &set, &present) {
            let too_many = found.iter().filter(|(pod, view)| pod.ordinal >= set.replicas && view.gone_at.is_none());
            for (pod, _) in too_many {
                self.stop_pod(pod, now, chance, done);
            }
            self.roll(name, &set, now, chance, done);
        }
        self.tell(name, &set, &found, present);
    }

    fn stop_pod(&mut self, pod: &PodId, now: u64, chance: &mut Chance, done: &mut Done) {
        done.deleted.push(pod.clone());
        self.delete_pod(pod, now, chance);
    }

    /// Takes up pods of its name that nobody owns, but for those that go.
    fn adopt(&mut self, name: &str, uid: &Uid) {
        let orphans = self.pods.iter_mut().filter(|(pod, view)| pod.set == name && view.owner.is_none());
        for (_, view) in orphans.filter(|(_, view)| view.gone_at.is_none()) {
            view.owner = Some(uid.clone());
        }
    }

    /// Makes what is missing, one pod first and then twice as many each time; false: one can't be made, and what comes after
    /// those that were tried with it was not tried.
    fn fill(&mut self, name: &str, set: &Set, present: &str) -> bool {
        let (mut next, mut at_once) = (0, 1);
        while next < set.replicas {
            let batch = next..(next + at_once).min(set.replicas);
            (next, at_once) = (batch.end, at_once * 2);
            let failed = batch.filter(|ordinal| !self.make(PodId::new(name, *ordinal), set, present)).count();
            if failed > 0 {
                return false;
            }
        }
        true
    }

    /// Sees to it that a pod is there, and its claim as long as it never ran.
    fn make(&mut self, pod: PodId, set: &Set, present: &str) -> bool {
        let there = self.pods.get(&pod).map(|view| (view.owner.as_ref() == Some(&set.uid), view.ran));
        if there == Some((true, true)) {
            return true;
        }
        let claim = self.claims.get(&pod).map(|claim| claim.deleting);
        if claim == Some(true) {
            return false;
        }
        if claim.is_none() {
            let (uid, version, size_bytes) = (self.fresh(), self.fresh(), set.storage_bytes);
            let (mark, deleting, held, host) = Default::default();
            self.claims.insert(pod.clone(), Claim { uid, version, size_bytes, mark, deleting, held, host });
        }
        if let Some((ours, _)) = there {
            return ours;
        }
        let template = if pod.ordinal < set.partition { present } else { &set.template };
        let made = Pod {
            uid: self.fresh(),
            owner: Some(set.uid.clone()),
            zone: set.zone.clone(),
            template: template.to_owned(),
            host: None,
            up_at: None,
            ran: false,
            ready: false,
            gone_at: None,
        };
        self.pods.insert(pod, made);
        true
    }

    fn roll(&mut self, name: &str, set: &Set, now: u64, chance: &mut Chance, done: &mut Done) {
        for ordinal in (set.partition.min(set.replicas)..set.replicas).rev() {
            let pod = PodId::new(name, ordinal);
            let view = &self.pods[&pod];
            if view.template != set.template && view.gone_at.is_none() {
                return self.stop_pod(&pod, now, chance, done);
            }
            if !view.ready || view.gone_at.is_some() {
                return;
            }
        }
    }

    /// The status is of the pods that it found: what it did just now it sees when it looks again.
    fn tell(&mut self, name: &str, set: &Set, found: &BTreeMap<PodId, Pod>, present: String) {
        let count = |holds: &dyn Fn(&Pod) -> bool| found.values().filter(|pod| holds(pod)).count() as u32;
        let replicas = count(&|_| true);
        let ready = count(&|pod| pod.ready);
        let updated = count(&|pod| pod.template == set.template && pod.gone_at.is_none());
        // Which ones they are it does not ask.
        let complete = [replicas, ready, updated] == [set.replicas; 3];
        let present = Some(if complete { set.template.clone() } else { present });
        let status = SetStatus { generation: set.generation, replicas, ready, updated, present };
        if status != set.status {
            let fresh = self.fresh();
            let set = self.sets.get_mut(name).expect("it is there");
            (set.status, set.version) = (status, fresh);
        }
    }
}
