//! What changes between the look and the act: each write of a plan is refused by the API server, and nothing was done by it.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use dynamo_crd::DynamoCluster;
use dynamo_operator::{
    act::{self, Done, Dropped},
    apply,
    caches::{Caches, Watches},
    context::{Clock, Context},
    observe::{self, Seen},
};
use dynamo_planner::{Action, Memory, Plan, plan};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod},
};
use kube::{
    Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::support::{
    OPERATOR, World,
    faults::Faults,
    plane::{PATIENCE, SPEED},
};

/// An operator that is led by the hand, from a look to an act.
struct Led<'a> {
    world: &'a World,
    context: Context,
    memory: Memory,
    /// Of which kinds of writes one has met an object that had changed.
    met: BTreeSet<&'static str>,
    _watches: Watches,
}

/// The object that a write goes by.
enum Object {
    Set(String),
    Pod(String),
    Claim(String),
    Map(String),
}

/// Which kind of write it is, and what it goes by; None: of those there is no object to go by.
fn of(action: &Action) -> Option<(&'static str, Object)> {
    let claim = |pod: &dyn ToString| Object::Claim(format!("data-{}", pod.to_string()));
    Some(match action {
        Action::RaiseSet { set, .. } => ("RaiseSet", Object::Set(set.clone())),
        Action::ShrinkSet { set, .. } => ("ShrinkSet", Object::Set(set.clone())),
        Action::DeleteSet { set, .. } => ("DeleteSet", Object::Set(set.clone())),
        Action::SetTemplate { set, .. } => ("SetTemplate", Object::Set(set.clone())),
        Action::LowerPartition { set, .. } => ("LowerPartition", Object::Set(set.clone())),
        Action::ParkPartition { set, .. } => ("ParkPartition", Object::Set(set.clone())),
        Action::DeletePod { pod, .. } => ("DeletePod", Object::Pod(pod.to_string())),
        Action::MarkClaim { pod, .. } => ("MarkClaim", claim(pod)),
        Action::DeleteClaim { pod, .. } => ("DeleteClaim", claim(pod)),
        Action::GrowClaim { pod, .. } => ("GrowClaim", claim(pod)),
        Action::TakeTurn { version: Some(_), .. } => ("TakeTurn", Object::Map("c-turn".to_owned())),
        Action::EndTurn { .. } => ("EndTurn", Object::Map("c-turn".to_owned())),
        _ => return None,
    })
}

/// The same of another life of its object.
fn of_another_life(action: &Action) -> Option<Action> {
    let mut other = action.clone();
    match &mut other {
        Action::DeleteSet { uid, .. } | Action::DeletePod { uid, .. } | Action::DeleteClaim { uid, .. } => {
            "another-life".clone_into(uid);
        }
        _ => return None,
    }
    Some(other)
}

impl<'a> Led<'a> {
    async fn start(world: &'a World) -> Led<'a> {
        let client = world.client(OPERATOR, None, &Arc::new(Faults::default())).await;
        let (caches, watches) = Caches::start(&client, &world.settings());
        let context = Context::new(client, caches, world.settings(), Clock::fast(SPEED));
        Led { world, context, memory: Memory::default(), met: BTreeSet::new(), _watches: watches }
    }

    async fn look(&mut self) -> (DynamoCluster, Seen, Plan) {
        loop {
            let cluster = self.world.resource().await;
            let Ok(seen) = observe::observe(&self.context, &cluster).await else {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            };
            self.memory.observe(&seen.observed);
            let plan = plan(&seen.wanted, &seen.observed, &self.memory);
            let applied = apply::beside(&self.context.client, &self.context.caches, &seen.basis(&cluster, false)).await;
            applied.unwrap();
            return (cluster, seen, plan);
        }
    }

    /// However long looking took on a machine that does other things too: it counts as just seen.
    async fn act(&self, cluster: &DynamoCluster, seen: &mut Seen, actions: &[Action]) -> Done {
        seen.taken = Instant::now();
        let plan = Plan { actions: actions.to_vec(), ..Plan::default() };
        act::carry_out(&self.context, cluster, seen, &plan, true).await.unwrap()
    }

    /// Works until one of each of these writes has met a change, and nothing is left to do.
    async fn lives_through(&mut self, kinds: &[&'static str]) {
        let began = tokio::time::Instant::now();
        loop {
            let (cluster, mut seen, plan) = self.look().await;
            let rests = plan.actions.is_empty() && seen.observed.turn.turn.is_none();
            if rests && kinds.iter().all(|kind| self.met.contains(kind)) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{kinds:?}, met: {:?}, waits: {:?}", self.met, plan.waits);
            let new = |action: &Action| of(action).filter(|(kind, _)| !self.met.contains(kind));
            let first = plan.actions.iter().enumerate().find_map(|(at, action)| Some((at, new(action)?)));
            let Some((at, (kind, object))) = first else {
                self.act(&cluster, &mut seen, &plan.actions).await;
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                continue;
            };
            let before = self.act(&cluster, &mut seen, &plan.actions[..at]).await;
            if before.dropped.is_none() {
                self.meets(&cluster, &mut seen, &plan.actions[at], &object).await;
                self.met.insert(kind);
            }
        }
    }

    /// A write that goes by what is no more is refused, and what it was about is as it was.
    async fn meets(&self, cluster: &DynamoCluster, seen: &mut Seen, action: &Action, object: &Object) {
        if let Some(other) = of_another_life(action) {
            let before = self.state(object).await;
            let done = self.act(cluster, seen, &[other]).await;
            assert!(matches!(done.dropped, Some(Dropped::Stale(_))), "of another life: {action:?}: {done:?}");
            assert_eq!(self.state(object).await, before, "of another life: {action:?}");
        }
        let touched = self.touch(object).await;
        let done = self.act(cluster, seen, std::slice::from_ref(action)).await;
        assert!(matches!(done.dropped, Some(Dropped::Stale(_))), "{action:?}: {done:?}");
        assert_eq!(self.state(object).await, touched, "{action:?}");
    }

    /// Somebody else writes to it. What it is after that.
    async fn touch(&self, object: &Object) -> String {
        match object {
            Object::Set(name) => self.annotate::<StatefulSet>(name).await,
            Object::Pod(name) => self.annotate::<Pod>(name).await,
            Object::Claim(name) => self.annotate::<PersistentVolumeClaim>(name).await,
            Object::Map(name) => self.annotate::<ConfigMap>(name).await,
        }
        self.state(object).await
    }

    async fn annotate<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let manager = PatchParams { field_manager: Some("by-hand".into()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"by-hand": format!("{:?}", Instant::now())}}}));
        self.world.api::<K>().patch(name, &manager, &patch).await.unwrap();
    }

    /// What a write of the operator would change of it: not what its controllers tell of it.
    async fn state(&self, object: &Object) -> String {
        let told = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta, spec: String| {
            let left = meta.annotations.iter().flatten().find(|(key, _)| *key == "dynamo-k8s.io/left");
            format!("{:?} {:?} {left:?} {spec}", meta.uid, meta.deletion_timestamp)
        };
        match object {
            Object::Set(name) => {
                let set: StatefulSet = self.world.api().get(name).await.unwrap();
                told(set.meta(), format!("{:?}", set.spec))
            }
            Object::Pod(name) => told(self.world.api::<Pod>().get(name).await.unwrap().meta(), String::new()),
            Object::Claim(name) => {
                let claim: PersistentVolumeClaim = self.world.api().get(name).await.unwrap();
                told(claim.meta(), format!("{:?}", claim.spec))
            }
            Object::Map(name) => {
                let map: ConfigMap = self.world.api().get(name).await.unwrap();
                told(map.meta(), format!("{:?}", map.data))
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_changed_since_it_was_looked_at_is_not_written_to_stopped_or_deleted() {
    let Some(world) = World::start("preconditions").await else { return };
    {
        let _operator = world.operator().await;
        world.create(3, json!({"image": "example.com/node:one"})).await;
        world.settles_at(3).await;
    }
    let mut led = Led::start(&world).await;
    world.edit(json!({"image": "example.com/node:two"})).await;
    led.lives_through(&["SetTemplate", "LowerPartition", "EndTurn"]).await;
    world.edit(json!({"storage": {"size": "2Gi"}})).await;
    led.lives_through(&["GrowClaim", "DeleteSet"]).await;
    world.edit(json!({"replicas": 4})).await;
    led.lives_through(&["RaiseSet", "TakeTurn"]).await;
    world.edit(json!({"replicas": 3})).await;
    led.lives_through(&["MarkClaim", "ShrinkSet", "DeleteClaim"]).await;
    let claim = world.claims().await.into_iter().find(|claim| claim.name_any() == "data-c-b-0").unwrap();
    world.edit(json!({"maintenance": {"replace": [{"node": "c-b-0", "claimUid": claim.uid()}]}})).await;
    led.lives_through(&["DeletePod"]).await;
    let after = world.claims().await.into_iter().find(|claim| claim.name_any() == "data-c-b-0").unwrap();
    assert_ne!(after.uid(), claim.uid(), "the disk was given up all the same");
}
