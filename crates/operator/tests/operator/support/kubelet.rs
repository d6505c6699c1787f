//! What kubelets, the scheduler and a provisioner of volumes do: pods get a machine of their zone and an address, claims a
//! volume that is tied to that machine, and what is told to go goes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dynamo_planner::{PodId, record};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;
use tokio::{task::JoinHandle, time::sleep};

use super::{
    plane::{CLUSTER, NAMESPACE, from},
    stub::Cluster,
};

const EVERY: Duration = Duration::from_millis(150);

/// It ends with this.
pub struct Kubelet(JoinHandle<()>);

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Kubelet {
    pub fn start(client: Client, cluster: Arc<Cluster>) -> Kubelet {
        Kubelet(tokio::spawn(async move {
            let machine = Machine { client, cluster };
            loop {
                machine.round().await;
                sleep(EVERY).await;
            }
        }))
    }
}

struct Machine {
    client: Client,
    cluster: Arc<Cluster>,
}

impl Machine {
    fn api<K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    async fn map(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let map = self.api::<ConfigMap>().get_opt(&format!("{CLUSTER}-{name}")).await.ok()??;
        Some(map.data.unwrap_or_default())
    }

    /// What fails is tried in the next one.
    async fn round(&self) {
        if let Some(founders) = self.map("founders").await {
            self.cluster.found(&record::founders_of_data(&founders).unwrap());
        }
        let retired = self.map("retired").await.unwrap_or_default();
        let Ok(pods) = self.api::<Pod>().list(&ListParams::default().labels("dynamo-k8s.io/cluster")).await else {
            return;
        };
        let names: Vec<PodId> = pods.items.iter().filter_map(|pod| pod.name_any().parse().ok()).collect();
        self.cluster.only(&names);
        for pod in pods.items {
            let Ok(id) = pod.name_any().parse::<PodId>() else { continue };
            if pod.meta().deletion_timestamp.is_some() {
                self.cluster.stop(&id);
                let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
                let now = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
                let _ = self.api::<Pod>().delete(&pod.name_any(), &now).await;
            } else {
                let retired = retired.get(&id.to_string()).and_then(|life| life.parse().ok());
                let _ = self.run(&id, &pod, retired).await;
            }
        }
    }

    async fn run(&self, id: &PodId, pod: &Pod, retired: Option<u64>) -> Result<(), kube::Error> {
        let zone = pod.labels().get("dynamo-k8s.io/zone").cloned().unwrap_or_default();
        let machine = format!("{zone}{}", id.ordinal % 3);
        if pod.spec.as_ref().is_none_or(|spec| spec.node_name.is_none()) {
            let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name_any()},
                "target": {"apiVersion": "v1", "kind": "Node", "name": machine}});
            let (pods, put) = (self.api::<Pod>(), PostParams::default());
            let bound: Result<serde_json::Value, _> =
                pods.create_subresource("binding", &pod.name_any(), &put, &binding).await;
            return bound.map(drop);
        }
        let claims = self.api::<PersistentVolumeClaim>();
        let Some(claim) = claims.get_opt(&format!("data-{id}")).await? else { return Ok(()) };
        if claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
            return self.provide(&claim, &machine).await;
        }
        let image = pod.spec.iter().flat_map(|spec| &spec.containers).find_map(|container| container.image.clone());
        if image.is_some_and(|image| image.contains("bad")) || claim.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        let Some(address) = self.cluster.start(id, &claim.uid().unwrap_or_default(), retired).await else {
            return Ok(());
        };
        if dynamo_operator::observe::is_ready(pod) {
            return Ok(());
        }
        let ready = json!([{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}]);
        let status = json!({"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": ready});
        let patch = Patch::Merge(json!({"metadata": {"uid": pod.uid()}, "status": status}));
        self.api::<Pod>().patch_status(&pod.name_any(), &PatchParams::default(), &patch).await.map(drop)
    }

    /// A volume on this machine; the real controller binds it.
    async fn provide(&self, claim: &PersistentVolumeClaim, machine: &str) -> Result<(), kube::Error> {
        let uid = claim.uid().unwrap_or_default();
        let rule = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [machine]});
        let volume: PersistentVolume = from(json!({
            "metadata": {"name": format!("pv-{uid}")},
            "spec": {
                "capacity": {"storage": "100Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "static",
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/nowhere"},
                "claimRef": {"namespace": NAMESPACE, "name": claim.name_any(), "uid": uid},
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
