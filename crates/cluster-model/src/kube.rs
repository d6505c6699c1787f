//! The API server's objects, and the controllers, the scheduler and the kubelets that tend them, as far as a store's pods are
//! concerned. StatefulSets and their controller are in `sets`.

use std::collections::BTreeMap;

use dynamo_planner::{Founders, HostView, Mark, PodId, Uid, Version, turn::TurnRecord};

use crate::{chance::Chance, sets::Set};

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

/// A pod.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Its uid.
    pub uid: Uid,
    /// The StatefulSet that it belongs to, by its uid; None: that one was deleted without it, and no other took it up.
    pub owner: Option<Uid>,
    /// Its zone.
    pub zone: String,
    /// What it was made from.
    pub template: String,
    /// Its machine.
    pub host: Option<String>,
    /// When its process is up, if it can be.
    pub up_at: Option<u64>,
    /// Its process was up at least once: its phase is Running, and Pending before.
    pub ran: bool,
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
    /// Somebody else has it in use: it does not go as long as they have.
    pub held: bool,
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

impl Pod {
    /// Its process is up.
    pub fn comes_up(&mut self) {
        (self.ran, self.ready) = (true, true);
    }
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

    /// Begins to delete a pod; how long it takes is up to its process. One that no machine has goes at once.
    pub fn delete_pod(&mut self, pod: &PodId, now: u64, chance: &mut Chance) {
        let takes = 1 + chance.below(3);
        if self.pods.get(pod).is_some_and(|pod| pod.host.is_none()) {
            self.pods.remove(pod);
        } else if let Some(pod) = self.pods.get_mut(pod).filter(|pod| pod.gone_at.is_none()) {
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

    /// Pods whose time is up go; claims that are being deleted go once no pod uses them.
    fn collect(&mut self, now: u64, done: &mut Done) {
        self.pods.retain(|_, pod| pod.gone_at.is_none_or(|gone| gone > now));
        let used: Vec<PodId> =
            self.pods.iter().filter(|(_, pod)| pod.host.is_some()).map(|(pod, _)| pod.clone()).collect();
        let goes = |pod: &PodId, claim: &Claim| claim.deleting && !claim.held && !used.contains(pod);
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
            let zone = self.pods[&pod].zone.clone();
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
