//! The model's side.

use dynamo_cluster_model::{Chance, Claim, Kube, Pod, Set};
use dynamo_planner::{HostView, PodId};

use crate::{
    acts::Act,
    looks::{ClaimLook, Look, Owner, PodLook, SetLook},
};

const ZONE: &str = "a";
const HOST: &str = "a0";
/// Time stands still, so that a pod goes only when the test says so.
const NOW: u64 = 1;
/// The controller looks in four of five steps: it has looked for sure in so many.
const STILL: u32 = 30;

/// A cluster with one machine and at most one StatefulSet.
pub struct Model {
    kube: Kube,
    chance: Chance,
    name: String,
}

impl Model {
    pub fn new(name: &str, seed: u64) -> Self {
        let mut kube = Kube::default();
        kube.hosts.insert(HOST.to_owned(), HostView { zone: Some(ZONE.to_owned()), out_of_service: false });
        Self { kube, chance: Chance(seed), name: name.to_owned() }
    }

    fn id(&self, ordinal: u32) -> PodId {
        PodId::new(&self.name, ordinal)
    }

    pub fn set(&self) -> Option<&Set> {
        self.kube.sets.get(&self.name)
    }

    pub fn pod(&self, ordinal: u32) -> Option<&Pod> {
        self.kube.pods.get(&self.id(ordinal))
    }

    pub fn claim(&self, ordinal: u32) -> Option<&Claim> {
        self.kube.claims.get(&self.id(ordinal))
    }

    pub fn machine(&self) -> bool {
        !self.kube.hosts[HOST].out_of_service
    }

    /// Whether a pod's process could be made ready now.
    pub fn can_start(&self, ordinal: u32) -> bool {
        let can = |pod: &Pod| pod.host.is_some() && pod.gone_at.is_none() && !pod.template.starts_with("bad");
        self.pod(ordinal).is_some_and(|pod| can(pod) && !pod.ready)
    }

    /// What kubelets can do.
    pub fn chores(&self) -> Vec<Act> {
        let pods = || self.kube.pods.iter().map(|(id, pod)| (id.ordinal, pod));
        let gone: Vec<Act> = pods().filter(|(_, pod)| pod.gone_at.is_some()).map(|(at, _)| Act::Gone(at)).collect();
        if gone.is_empty() {
            pods().filter(|(at, _)| self.can_start(*at)).map(|(at, _)| Act::Start(at)).collect()
        } else {
            gone
        }
    }

    /// What is still held, let go, and the machine on.
    pub fn amends(&self) -> Vec<Act> {
        let held = self.kube.claims.iter().filter(|(_, claim)| claim.held).map(|(id, _)| Act::Release(id.ordinal));
        held.chain((!self.machine()).then_some(Act::Machine(true))).collect()
    }

    pub fn act(&mut self, act: &Act) {
        let name = self.name.clone();
        match *act {
            Act::Create { replicas, template, bytes } => {
                assert!(self.kube.create_set(&name, ZONE, replicas, template, bytes), "there is one");
            }
            Act::Scale(to) => self.kube.edit_set(&name, |set| set.replicas = to),
            Act::Template(to) => self.kube.edit_set(&name, |set| {
                (set.template, set.partition) = (to.to_owned(), dynamo_planner::PARKED);
            }),
            Act::ByHand(to) => self.kube.edit_set(&name, |set| set.template = to.to_owned()),
            Act::Partition(to) => self.kube.edit_set(&name, |set| set.partition = to),
            Act::Delete { orphan } => self.kube.delete_set(&name, orphan, NOW, &mut self.chance),
            Act::DeletePod(at) => {
                let pod = self.id(at);
                self.kube.delete_pod(&pod, NOW, &mut self.chance);
            }
            Act::Start(at) => self.pod_mut(at).comes_up(),
            Act::Run(at) => self.pod_mut(at).ran = true,
            Act::Fall(at) => self.pod_mut(at).ready = false,
            Act::Gone(at) => self.pod_mut(at).gone_at = Some(NOW),
            Act::DeleteClaim(at) => self.claim_mut(at).deleting = true,
            Act::Hold(at) => self.claim_mut(at).held = true,
            Act::Release(at) => self.claim_mut(at).held = false,
            Act::Machine(on) => self.kube.hosts.get_mut(HOST).expect("it is there").out_of_service = !on,
            Act::Kubelets => unreachable!("it is many acts"),
        }
    }

    fn pod_mut(&mut self, ordinal: u32) -> &mut Pod {
        let id = self.id(ordinal);
        self.kube.pods.get_mut(&id).expect("it is there")
    }

    fn claim_mut(&mut self, ordinal: u32) -> &mut Claim {
        let id = self.id(ordinal);
        self.kube.claims.get_mut(&id).expect("it is there")
    }

    /// Controllers, scheduler and the claims' protection, until nothing happens any more.
    pub fn rest(&mut self) {
        let mut still = 0;
        for _ in 0..1000 {
            let before = self.look();
            self.kube.step(NOW, &mut self.chance);
            still = if self.look() == before { still + 1 } else { 0 };
            if still == STILL {
                return;
            }
        }
        panic!("{}: the model comes to no rest: {:#?}", self.name, self.look());
    }

    pub fn look(&self) -> Look {
        let set = self.set();
        let pods = self.kube.pods.iter().map(|(id, pod)| {
            let look = PodLook {
                uid: pod.uid.clone(),
                owner: Owner::of(pod.owner.as_ref(), set.map(|set| &set.uid)),
                template: pod.template.clone(),
                is_placed: pod.host.is_some(),
                ran: pod.ran,
                ready: pod.ready,
                is_going: pod.gone_at.is_some(),
            };
            (id.ordinal, look)
        });
        let claims = self.kube.claims.iter().map(|(id, claim)| {
            let look = ClaimLook { uid: claim.uid.clone(), bytes: claim.size_bytes, is_going: claim.deleting };
            (id.ordinal, look)
        });
        Look { set: set.map(set_look), pods: pods.collect(), claims: claims.collect() }
    }
}

fn set_look(set: &Set) -> SetLook {
    SetLook {
        uid: set.uid.clone(),
        generation: set.generation,
        is_seen: set.status.generation == set.generation,
        replicas: set.status.replicas,
        ready: set.status.ready,
        updated: set.status.updated,
        present: set.status.present.clone(),
        rolled: set.rolled(),
    }
}
