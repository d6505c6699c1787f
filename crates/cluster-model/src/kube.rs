//! The API server's objects, and the controllers and kubelets that tend them, as far as a store's pods are concerned.
//!
//! StatefulSets as the real controller keeps them with podManagementPolicy Parallel, RollingUpdate with a partition and both
//! retention policies Retain: pods above `replicas` go all at once; a pod is made from the present revision below the
//! partition and from the update's above it; what is above and outdated is made anew from the top, one at a time, each only
//! when those above it are ready; the update's revision is the present one once all pods have it and are ready.

use std::collections::BTreeMap;

use dynamo_planner::{Founders, HostView, Mark, PodId, Uid, Version, turn::TurnRecord};

use super::chance::Chance;

/// The objects.
#[derive(Debug, Clone, Default)]
pub struct Kube {
    last: u64,
    /// The first ring's members.
    pub founders: Option<Founders>,
    /// The zones, as status has them.
    pub zones: Vec<String>,
    /// StatefulSets.
    pub sets: BTreeMap<String, Set>,
    /// Pods.
    pub pods: BTreeMap<PodId, Pod>,
    /// Claims, by the pods that they are for.
    pub claims: BTreeMap<PodId, Claim>,
    /// Whose turn it is.
    pub turn: TurnRecord,
    /// The disruption budget.
    pub budget: Option<u32>,
    /// The lives that left, as the nodes' configuration has them.
    pub retired: BTreeMap<PodId, u64>,
    /// Machines.
    pub hosts: BTreeMap<String, HostView>,
}

/// A StatefulSet.
#[derive(Debug, Clone)]
pub struct Set {
    /// Its uid.
    pub uid: Uid,
    /// Its version.
    pub version: Version,
    /// Its zone.
    pub zone: String,
    /// Wanted pods.
    pub replicas: u32,
    /// Pods with a lower number come back as they were.
    pub partition: u32,
    /// The template of the update's revision.
    pub template: String,
    /// The template of the present revision.
    pub present: String,
    /// The size in its claim template.
    pub storage_bytes: u64,
}

/// A pod.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Its uid.
    pub uid: Uid,
    /// What it was made from.
    pub template: String,
    /// Its machine.
    pub host: Option<String>,
    /// When its process is up, if it can be.
    pub up_at: Option<u64>,
    /// Its process runs.
    pub ready: bool,
    /// When it is gone.
    pub gone_at: Option<u64>,
}

/// A claim on a volume.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Its uid.
    pub uid: Uid,
    /// Its version.
    pub version: Version,
    /// The size that it asks for.
    pub size_bytes: u64,
    /// What is known of its disk.
    pub mark: Option<Mark>,
    /// It is being deleted.
    pub deleting: bool,
    /// The machine that its volume is on.
    pub host: Option<String>,
}

/// What the controllers and kubelets did in a step.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// Pods that are being deleted from now on, by a controller.
    pub deleted: Vec<PodId>,
    /// Pods whose processes may start now.
    pub started: Vec<PodId>,
    /// Disks that are gone.
    pub disks_gone: Vec<Uid>,
}

impl Kube {
    /// A uid or a version that nothing had before.
    pub fn fresh(&mut self) -> String {
        self.last += 1;
        self.last.to_string()
    }

    /// Whether a machine is gone for good.
    pub fn is_gone(&self, host: &str) -> bool {
        self.hosts.get(host).is_none_or(|host| host.out_of_service)
    }

    /// Pods of a StatefulSet, lowest first.
    pub fn pods_of(&self, set: &str) -> Vec<PodId> {
        self.pods.keys().filter(|pod| pod.set == set).cloned().collect()
    }

    /// Whether the present revision is the update's: a StatefulSet that was just made says so at once, whatever pods it took up.
    pub fn rolled(&self, name: &str) -> bool {
        self.sets.get(name).is_some_and(|set| set.present == set.template)
    }

    /// Begins to delete a pod; how long it takes is up to its process.
    pub fn delete_pod(&mut self, pod: &PodId, now: u64, chance: &mut Chance) {
        let takes = 1 + chance.below(3);
        if let Some(pod) = self.pods.get_mut(pod).filter(|pod| pod.gone_at.is_none()) {
            pod.gone_at = Some(now + takes);
            pod.ready = false;
            pod.up_at = None;
        }
    }

    /// Everything but the operator and the nodes themselves.
    pub fn step(&mut self, now: u64, chance: &mut Chance) -> Done {
        let mut done = Done::default();
        let sets: Vec<String> = self.sets.keys().cloned().collect();
        for set in sets {
            if chance.percent(80) {
                self.tend_set(&set, now, chance, &mut done);
            }
        }
        self.collect(now, &mut done);
        self.schedule(now, chance, &mut done);
        done
    }

    fn tend_set(&mut self, name: &str, now: u64, chance: &mut Chance, done: &mut Done) {
        let set = self.sets[name].clone();
        for pod in self.pods_of(name).into_iter().filter(|pod| pod.ordinal >= set.replicas) {
            if self.pods[&pod].gone_at.is_none() {
                done.deleted.push(pod.clone());
                self.delete_pod(&pod, now, chance);
            }
        }
        for ordinal in 0..set.replicas {
            let pod = PodId::new(name, ordinal);
            if self.pods.get(&pod).is_none_or(|pod| pod.host.is_none()) && !self.claims.contains_key(&pod) {
                let (uid, version) = (self.fresh(), self.fresh());
                let claim =
                    Claim { uid, version, size_bytes: set.storage_bytes, mark: None, deleting: false, host: None };
                self.claims.insert(pod.clone(), claim);
            }
            if !self.pods.contains_key(&pod) {
                let template = if ordinal < set.partition { set.present.clone() } else { set.template.clone() };
                let uid = self.fresh();
                self.pods.insert(pod, Pod { uid, template, host: None, up_at: None, ready: false, gone_at: None });
            }
        }
        self.roll(name, &set, now, chance, done);
    }

    fn roll(&mut self, name: &str, set: &Set, now: u64, chance: &mut Chance, done: &mut Done) {
        let mut all = (0..set.replicas).map(|ordinal| &self.pods[&PodId::new(name, ordinal)]);
        if all.all(|pod| pod.ready && pod.template == set.template) {
            self.sets.get_mut(name).expect("it is there").present = set.template.clone();
            return;
        }
        for ordinal in (set.partition.min(set.replicas)..set.replicas).rev() {
            let pod = PodId::new(name, ordinal);
            let view = &self.pods[&pod];
            if view.template != set.template && view.gone_at.is_none() {
                done.deleted.push(pod.clone());
                self.delete_pod(&pod, now, chance);
                return;
            }
            if !view.ready {
                return;
            }
        }
    }

    /// Pods whose time is up go; claims that are being deleted go once no pod uses them.
    fn collect(&mut self, now: u64, done: &mut Done) {
        self.pods.retain(|_, pod| pod.gone_at.is_none_or(|gone| gone > now));
        let used: Vec<PodId> =
            self.pods.iter().filter(|(_, pod)| pod.host.is_some()).map(|(pod, _)| pod.clone()).collect();
        let goes = |pod: &PodId, claim: &Claim| claim.deleting && !used.contains(pod);
        done.disks_gone
            .extend(self.claims.iter().filter(|(pod, claim)| goes(pod, claim)).map(|(_, claim)| claim.uid.clone()));
        self.claims.retain(|pod, claim| !goes(pod, claim));
    }

    /// Pods get a machine of their zone, which their volume is tied to from then on.
    fn schedule(&mut self, now: u64, chance: &mut Chance, done: &mut Done) {
        let waiting: Vec<PodId> = self
            .pods
            .iter()
            .filter(|(_, pod)| pod.host.is_none() && pod.gone_at.is_none())
            .map(|(pod, _)| pod.clone())
            .collect();
        for pod in waiting {
            let Some(zone) = self.sets.get(&pod.set).map(|set| set.zone.clone()) else { continue };
            let Some(claim) = self.claims.get(&pod).filter(|claim| !claim.deleting) else { continue };
            let hosts = self.hosts.iter().filter(|(_, host)| host.zone.as_ref() == Some(&zone) && !host.out_of_service);
            let hosts: Vec<String> = hosts.map(|(name, _)| name.clone()).collect();
            let host = match &claim.host {
                Some(host) => Some(host.clone()).filter(|host| hosts.contains(host)),
                None => chance.pick(&hosts),
            };
            let Some(host) = host else { continue };
            self.claims.get_mut(&pod).expect("it is there").host = Some(host.clone());
            let view = self.pods.get_mut(&pod).expect("it is there");
            view.host = Some(host);
            view.up_at = Some(now + 1 + chance.below(4));
        }
        for (pod, view) in &self.pods {
            if view.up_at.is_some_and(|at| at <= now) && !view.ready && !view.template.starts_with("bad") {
                done.started.push(pod.clone());
            }
        }
    }
}
