//! What kubelets, the scheduler and a provisioner of volumes do: pods get a machine of their zone, where there is one, and an
//! address, claims a volume that is tied to that machine, and what is told to go goes.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use dynamo_planner::{PodId, record};
use futures_util::{StreamExt, pin_mut, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Node, PersistentVolume, PersistentVolumeClaim, Pod, Taint};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};

use super::{
    plane::{Id, from},
    stub::Cluster,
};

const EVERY: Duration = Duration::from_millis(150);
/// So many clusters are gone round at once.
const AT_ONCE: usize = 16;

/// What the pods of all clusters are made of, as it was last heard: a hundred clusters are not asked for at each round.
#[derive(Clone)]
pub struct Heard {
    pub pods: Store<Pod>,
    pub claims: Store<PersistentVolumeClaim>,
    pub maps: Store<ConfigMap>,
    pub machines: Store<Node>,
}

/// It ends with this.
pub struct Kubelet {
    _tasks: JoinSet<()>,
}

impl Kubelet {
    /// Of all machines: one for these clusters, and what it hears.
    pub fn start(client: Client, clusters: Vec<Arc<Cluster>>) -> (Kubelet, Heard) {
        let mut tasks = JoinSet::new();
        let labels = Some("dynamo-k8s.io/cluster");
        let heard = Heard {
            pods: hear(&client, labels, &mut tasks),
            claims: hear(&client, labels, &mut tasks),
            maps: hear(&client, labels, &mut tasks),
            machines: hear(&client, None, &mut tasks),
        };
        let machine = Machine { client, heard: heard.clone() };
        tasks.spawn(async move {
            loop {
                let pods = by_namespace(&machine.heard.pods);
                let all: Vec<_> = clusters.iter().map(|cluster| (cluster, of(&pods, &cluster.id))).collect();
                let rounds = stream::iter(all);
                rounds.for_each_concurrent(AT_ONCE, |(cluster, pods)| machine.round(cluster, pods)).await;
                sleep(EVERY).await;
            }
        });
        (Kubelet { _tasks: tasks }, heard)
    }
}

/// All objects of a kind, or those with this label, as long as the tasks live.
pub fn hear<K>(client: &Client, labels: Option<&str>, tasks: &mut JoinSet<()>) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, mut writer) = reflector::store();
    let config = labels.map_or_else(watcher::Config::default, |labels| watcher::Config::default().labels(labels));
    let events = watcher(Api::<K>::all(client.clone()), config).default_backoff();
    tasks.spawn(async move {
        pin_mut!(events);
        while let Some(event) = events.next().await {
            // What fails is begun again.
            let _ = event.map(|event| writer.apply_watcher_event(&event));
        }
    });
    store
}

/// What was heard, namespace by namespace.
pub fn by_namespace<K>(store: &Store<K>) -> BTreeMap<String, Vec<Arc<K>>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let mut found: BTreeMap<String, Vec<Arc<K>>> = BTreeMap::new();
    for object in store.state() {
        found.entry(object.namespace().unwrap_or_default()).or_default().push(object);
    }
    found
}

/// The pods of a cluster: a namespace may have several.
fn of(pods: &BTreeMap<String, Vec<Arc<Pod>>>, id: &Id) -> Vec<Arc<Pod>> {
    let is_its = |pod: &&Arc<Pod>| pod.labels().get("dynamo-k8s.io/cluster") == Some(&id.name);
    pods.get(&id.namespace).into_iter().flatten().filter(is_its).cloned().collect()
}

struct Machine {
    client: Client,
    heard: Heard,
}

impl Machine {
    fn api<K>(&self, cluster: &Cluster) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &cluster.id.namespace)
    }

    fn map(&self, cluster: &Cluster, name: &str) -> Option<BTreeMap<String, String>> {
        let name = ObjectRef::new(&format!("{}-{name}", cluster.id.name)).within(&cluster.id.namespace);
        Some(self.heard.maps.get(&name)?.data.clone().unwrap_or_default())
    }

    /// What fails is tried in the next one.
    async fn round(&self, cluster: &Arc<Cluster>, pods: Vec<Arc<Pod>>) {
        if let Some(founders) = self.map(cluster, "founders") {
            cluster.found(&record::founders_of_data(&founders).unwrap());
        }
        let retired = self.map(cluster, "retired").unwrap_or_default();
        let names: Vec<PodId> = pods.iter().filter_map(|pod| pod.name_any().parse().ok()).collect();
        cluster.only(&names);
        for pod in pods {
            let Ok(id) = pod.name_any().parse::<PodId>() else { continue };
            if pod.meta().deletion_timestamp.is_some() {
                cluster.stop(&id);
                let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
                let now = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
                let _ = self.api::<Pod>(cluster).delete(&pod.name_any(), &now).await;
            } else {
                let retired = retired.get(&id.to_string()).and_then(|life| life.parse().ok());
                let _ = self.run(cluster, &id, &pod, retired).await;
            }
        }
    }

    async fn run(
        &self,
        cluster: &Arc<Cluster>,
        id: &PodId,
        pod: &Pod,
        retired: Option<u64>,
    ) -> Result<(), kube::Error> {
        let machine = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let Some(machine) = machine else {
            let Some(machine) = self.room_for(id, pod) else { return Ok(()) };
            let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name_any()},
                "target": {"apiVersion": "v1", "kind": "Node", "name": machine}});
            let (pods, put) = (self.api::<Pod>(cluster), PostParams::default());
            let bound: Result<serde_json::Value, _> =
                pods.create_subresource("binding", &pod.name_any(), &put, &binding).await;
            return bound.map(drop);
        };
        let name = ObjectRef::new(&format!("data-{id}")).within(&cluster.id.namespace);
        let Some(claim) = self.heard.claims.get(&name) else { return Ok(()) };
        if claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
            return self.provide(cluster, &claim, &machine).await;
        }
        let image = pod.spec.iter().flat_map(|spec| &spec.containers).find_map(|container| container.image.clone());
        if image.is_some_and(|image| image.contains("bad")) || claim.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        let Some(address) = cluster.start(id, &claim.uid().unwrap_or_default(), retired).await else {
            return Ok(());
        };
        if dynamo_operator::observe::is_ready(pod) {
            return Ok(());
        }
        let ready = json!([{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}]);
        let status = json!({"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": ready});
        let patch = Patch::Merge(json!({"metadata": {"uid": pod.uid()}, "status": status}));
        self.api::<Pod>(cluster).patch_status(&pod.name_any(), &PatchParams::default(), &patch).await.map(drop)
    }

    /// A machine of its zone that takes pods.
    fn room_for(&self, id: &PodId, pod: &Pod) -> Option<String> {
        let zone = pod.labels().get("dynamo-k8s.io/zone").cloned().unwrap_or_default();
        // The API server itself says of a new machine that it is not ready yet.
        let is_off = |taint: &Taint| taint.effect == "NoExecute";
        let takes = |name: &String| {
            let machine = self.heard.machines.get(&ObjectRef::new(name));
            machine
                .is_some_and(|machine| !machine.spec.iter().flat_map(|spec| spec.taints.iter().flatten()).any(is_off))
        };
        (0..3).map(|turn| format!("{zone}{}", (id.ordinal + turn) % 3)).find(takes)
    }

    /// A volume on this machine; the real controller binds it.
    async fn provide(
        &self,
        cluster: &Cluster,
        claim: &PersistentVolumeClaim,
        machine: &str,
    ) -> Result<(), kube::Error> {
        let uid = claim.uid().unwrap_or_default();
        let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.clone());
        let rule = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [machine]});
        let volume: PersistentVolume = from(json!({
            "metadata": {"name": format!("pv-{uid}")},
            "spec": {
                "capacity": {"storage": "100Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/nowhere"},
                "claimRef": {"namespace": cluster.id.namespace, "name": claim.name_any(), "uid": uid},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}},
            },
        }));
        let volumes = Api::<PersistentVolume>::all(self.client.clone());
        match volumes.create(&PostParams::default(), &volume).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            made => made.map(drop),
        }
    }
}
