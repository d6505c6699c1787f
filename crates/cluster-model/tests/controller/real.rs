//! The real side: Kubernetes' own API server and controllers. What a scheduler and kubelets do is done here.

use std::{collections::BTreeMap, time::Duration};

use dynamo_planner::PARKED;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{PersistentVolumeClaim, Pod},
};
use kube::{
    Api, Client, Error, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    acts::Act,
    looks::{ClaimLook, Look, Owner, PodLook, SetLook},
};

/// The label that tells what a pod was made from.
const TEMPLATE: &str = "template";
/// Who holds a claim.
const HOLDER: &str = "dynamo-k8s.io/test";

/// At most one StatefulSet, beside those of other cases.
pub struct Real {
    name: String,
    sets: Api<StatefulSet>,
    pods: Api<Pod>,
    claims: Api<PersistentVolumeClaim>,
    revisions: Api<ControllerRevision>,
    /// Templates by the names of their revisions.
    templates: BTreeMap<String, String>,
    /// There is a machine for pods.
    machine: bool,
    /// How often the controller was made to look by an edit of the StatefulSet that means nothing.
    nudges: u64,
}

/// Waits before it is looked again; gives up after so many looks.
pub async fn pause() {
    tokio::time::sleep(Duration::from_millis(40)).await;
}
pub const LOOKS: u32 = 1500;

impl Real {
    pub fn new(name: &str, client: &Client) -> Self {
        let client = || client.clone();
        Self {
            name: name.to_owned(),
            sets: Api::default_namespaced(client()),
            pods: Api::default_namespaced(client()),
            claims: Api::default_namespaced(client()),
            revisions: Api::default_namespaced(client()),
            templates: BTreeMap::new(),
            machine: true,
            nudges: 0,
        }
    }

    fn pod(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.name)
    }

    fn claim(&self, ordinal: u32) -> String {
        format!("data-{}-{ordinal}", self.name)
    }

    fn of_ours(&self) -> ListParams {
        ListParams::default().labels(&format!("set={}", self.name))
    }

    /// Does it. A write to the StatefulSet is answered with what there is then: the controller has not seen it yet.
    pub async fn act(&mut self, act: &Act) -> Option<SetLook> {
        let written = match *act {
            Act::Create { replicas, template, bytes } => self.create(replicas, template, bytes).await,
            Act::Scale(to) => self.edit(json!({ "replicas": to })).await,
            Act::Template(to) => {
                self.edit(json!({ "template": self.template(to), "updateStrategy": strategy(PARKED) })).await
            }
            Act::ByHand(to) => self.edit(json!({ "template": self.template(to) })).await,
            Act::Partition(to) => self.edit(json!({ "updateStrategy": strategy(to) })).await,
            _ => {
                self.act_on_others(act).await;
                return None;
            }
        };
        Some(self.set_look(&written).await)
    }

    async fn act_on_others(&mut self, act: &Act) {
        match *act {
            Act::Delete { orphan } => self.delete(orphan).await,
            Act::DeletePod(at) => {
                self.pods.delete(&self.pod(at), &DeleteParams::default()).await.unwrap();
            }
            Act::Start(at) => self.status(at, true).await.unwrap(),
            Act::Run(at) | Act::Fall(at) => self.status(at, false).await.unwrap(),
            Act::Gone(at) => {
                self.pods.delete(&self.pod(at), &DeleteParams::default().grace_period(0)).await.unwrap();
            }
            Act::DeleteClaim(at) => {
                self.claims.delete(&self.claim(at), &DeleteParams::default()).await.unwrap();
            }
            Act::Hold(at) => self.hold(at, true).await,
            Act::Release(at) => self.hold(at, false).await,
            Act::Machine(on) => self.machine = on,
            _ => unreachable!("it is about the StatefulSet, or many acts"),
        }
    }

    fn template(&self, name: &str) -> Value {
        json!({
            "metadata": { "labels": { "set": self.name, TEMPLATE: name } },
            "spec": { "containers": [{ "name": "node", "image": name }] },
        })
    }

    async fn create(&mut self, replicas: u32, template: &str, bytes: u64) -> StatefulSet {
        let labels = json!({ "set": self.name });
        let claim = json!({
            "metadata": { "name": "data", "labels": labels },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": bytes.to_string() } },
            },
        });
        let set = json!({
            "metadata": { "name": self.name, "labels": labels },
            "spec": {
                "replicas": replicas,
                "podManagementPolicy": "Parallel",
                "serviceName": self.name,
                "selector": { "matchLabels": labels },
                "updateStrategy": strategy(PARKED),
                "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Retain", "whenScaled": "Retain" },
                "revisionHistoryLimit": 10,
                "template": self.template(template),
                "volumeClaimTemplates": [claim],
            },
        });
        self.nudges = 0;
        self.sets.create(&PostParams::default(), &typed(set)).await.unwrap()
    }

    async fn edit(&self, spec: Value) -> StatefulSet {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.sets.patch(&self.name, &PatchParams::default(), &patch).await.unwrap()
    }

    /// It takes a while until the pods are let go, and the StatefulSet goes after that.
    async fn delete(&self, orphan: bool) {
        let policy = if orphan { PropagationPolicy::Orphan } else { PropagationPolicy::Background };
        let how = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
        self.sets.delete(&self.name, &how).await.unwrap();
        for _ in 0..LOOKS {
            if self.sets.get_opt(&self.name).await.unwrap().is_none() {
                return;
            }
            pause().await;
        }
        panic!("{}: the StatefulSet does not go", self.name);
    }

    async fn hold(&self, ordinal: u32, held: bool) {
        let name = self.claim(ordinal);
        let claim = self.claims.get(&name).await.unwrap();
        let mut all: Vec<_> = claim.finalizers().iter().filter(|name| *name != HOLDER).cloned().collect();
        all.extend(held.then(|| HOLDER.to_owned()));
        let patch = Patch::Merge(json!({ "metadata": { "finalizers": all } }));
        self.claims.patch(&name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// As a kubelet says it of a pod whose process runs.
    async fn status(&self, ordinal: u32, ready: bool) -> Result<(), Error> {
        let ready = if ready { "True" } else { "False" };
        let status = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] });
        let patch = Patch::Merge(json!({ "status": status }));
        self.pods.patch_status(&self.pod(ordinal), &PatchParams::default(), &patch).await.map(drop)
    }

    /// What a scheduler and kubelets do at once, and how things are.
    pub async fn tend(&mut self) -> Look {
        let look = self.look().await;
        for (ordinal, pod) in &look.pods {
            let free = look.claims.get(ordinal).is_some_and(|claim| !claim.is_going);
            if pod.is_going && pod.ready {
                // It may have gone meanwhile.
                let _ = self.status(*ordinal, false).await;
            } else if !pod.is_going && !pod.is_placed && self.machine && free {
                let target = json!({ "apiVersion": "v1", "kind": "Node", "name": "machine" });
                let binding = json!({ "metadata": { "name": self.pod(*ordinal) }, "target": target });
                let put = PostParams::default();
                let _: Result<Value, _> =
                    self.pods.create_subresource("binding", &self.pod(*ordinal), &put, &binding).await;
            }
        }
        look
    }

    /// Makes the controller look once more, and waits until it has. What it could not do it would try again only after a
    /// while, and it hears nothing of claims.
    pub async fn nudge(&mut self) {
        if self.sets.get_opt(&self.name).await.unwrap().is_none() {
            return;
        }
        self.nudges += 1;
        self.edit(json!({ "revisionHistoryLimit": 10 + self.nudges % 2 })).await;
        for _ in 0..LOOKS {
            let set = self.sets.get(&self.name).await.unwrap();
            if is_seen(&set) {
                return;
            }
            pause().await;
        }
        panic!("{}: the controller does not look at its StatefulSet", self.name);
    }

    async fn look(&mut self) -> Look {
        // The claims first: a pod is given to a machine by a claim that was there.
        let claims = self.claims.list(&self.of_ours()).await.unwrap().items;
        let pods = self.pods.list(&self.of_ours()).await.unwrap().items;
        let set = self.sets.get_opt(&self.name).await.unwrap();
        let uid = set.as_ref().and_then(ResourceExt::uid);
        Look {
            set: match set {
                Some(set) => Some(self.set_look(&set).await),
                None => None,
            },
            pods: pods.iter().map(|pod| (ordinal(pod), pod_look(pod, uid.as_ref()))).collect(),
            claims: claims.iter().map(|claim| (ordinal(claim), claim_look(claim))).collect(),
        }
    }

    async fn set_look(&mut self, set: &StatefulSet) -> SetLook {
        let status = set.status.clone().unwrap_or_default();
        let generation = set.metadata.generation.unwrap_or_default();
        let [current, update] = [&status.current_revision, &status.update_revision];
        SetLook {
            uid: set.uid().unwrap_or_default(),
            generation: unsigned(generation) - self.nudges,
            is_seen: is_seen(set),
            replicas: count(Some(status.replicas)),
            ready: count(status.ready_replicas),
            updated: count(status.updated_replicas),
            present: match current {
                Some(revision) => Some(self.template_of(revision).await),
                None => None,
            },
            // As the operator has it.
            rolled: is_seen(set) && current.is_some() && current == update,
        }
    }

    async fn template_of(&mut self, revision: &str) -> String {
        if !self.templates.contains_key(revision) {
            for found in self.revisions.list(&self.of_ours()).await.unwrap() {
                let label = format!("/spec/template/metadata/labels/{TEMPLATE}");
                let data = found.data.as_ref().map(|data| data.0.clone()).unwrap_or_default();
                let template = data.pointer(&label).and_then(Value::as_str).unwrap_or_default();
                self.templates.insert(found.name_any(), template.to_owned());
            }
        }
        self.templates.get(revision).cloned().unwrap_or_else(|| format!("unknown: {revision}"))
    }
}

fn typed<K: DeserializeOwned>(document: Value) -> K {
    serde_json::from_value(document).unwrap()
}

fn strategy(partition: u32) -> Value {
    json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": partition } })
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap()
}

fn count(number: Option<i32>) -> u32 {
    u32::try_from(number.unwrap_or_default()).unwrap()
}

fn ordinal(object: &impl ResourceExt) -> u32 {
    object.name_any().rsplit_once('-').unwrap().1.parse().unwrap()
}

fn is_seen(set: &StatefulSet) -> bool {
    set.status.as_ref().and_then(|status| status.observed_generation) == set.metadata.generation
}

fn pod_look(pod: &Pod, set: Option<&String>) -> PodLook {
    let status = pod.status.clone().unwrap_or_default();
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
    PodLook {
        uid: pod.uid().unwrap_or_default(),
        owner: Owner::of(owner.map(|owner| &owner.uid), set),
        template: pod.labels().get(TEMPLATE).cloned().unwrap_or_default(),
        is_placed: pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()),
        ran: status.phase.as_deref() == Some("Running"),
        ready: status.conditions.iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True"),
        is_going: pod.metadata.deletion_timestamp.is_some(),
    }
}

fn claim_look(claim: &PersistentVolumeClaim) -> ClaimLook {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let size = resources.and_then(|resources| resources.requests.as_ref()?.get("storage"));
    ClaimLook {
        uid: claim.uid().unwrap_or_default(),
        bytes: size.unwrap().0.parse().unwrap(),
        is_going: claim.metadata.deletion_timestamp.is_some(),
    }
}
