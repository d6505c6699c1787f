//! What is written down: founders, turns, lives that left, zones; and the disruption budget.

use std::collections::BTreeMap;

use dynamo_crd::{DynamoCluster, ReclaimPolicy, names, status::ZoneStatus};
use dynamo_planner::{Founders, PodId, certificates::Step, record, turn::Turn};
use k8s_openapi::{
    api::core::v1::{ConfigMap, PersistentVolumeClaim},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{
    failure::{ActError, Dropped, Failure},
    hand::Hand,
};
use crate::{
    authority::AuthorityError,
    observe::{self, ANNOTATION_NAME, ANNOTATION_UID, ANNOTATION_VERSION, belongs},
    render,
};

const MAPS: &str = "configmaps";

impl Hand<'_> {
    /// A ConfigMap of the cluster's.
    fn map(&self, name: String, data: record::Data) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(name),
            namespace: self.cluster.namespace(),
            labels: Some(names::labels(&self.cluster_name())),
            owner_references: Some(vec![render::owner(self.cluster)]),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
    }

    /// Founders stay as long as volumes do: who takes these up again has to know who made them.
    fn founders(&self, founders: &Founders) -> ConfigMap {
        let mut map = self.map(names::founders(&self.cluster_name()), record::founders_to_data(founders));
        if self.cluster.spec.storage.reclaim.on_delete == ReclaimPolicy::Retain {
            map.metadata.owner_references = None;
        }
        let uid = self.cluster.uid().unwrap_or_default();
        let version = self.seen.release.version.clone();
        let annotations =
            [(ANNOTATION_NAME, self.seen.name.clone()), (ANNOTATION_VERSION, version), (ANNOTATION_UID, uid)];
        map.annotations_mut().extend(annotations.map(|(key, value)| (key.to_owned(), value)));
        map
    }

    pub async fn create_founders(&self, founders: &Founders) -> Result<(), Failure> {
        // It is done once in the life of a cluster, so it may cost a list: a cache that is old, or a claim that has lost its
        // label, must not found a second cluster beside the first.
        let claims = self.api::<PersistentVolumeClaim>().list(&ListParams::default()).await;
        let claims =
            claims.map_err(|error| self.failed("list", "persistentvolumeclaims", "of the namespace", error))?;
        if let Some(claim) = claims.items.iter().find(|claim| is_of(claim, self.cluster)) {
            let message = format!(
                "claim {} may hold data of this cluster, and who founded it is not written down: nothing was founded; \
                 restore ConfigMap {}, or delete the claim if nothing on it is needed",
                claim.name_any(),
                names::founders(&self.cluster_name())
            );
            return Err(ActError::Impossible(message).into());
        }
        let mut map = self.founders(founders);
        match self.create(MAPS, &map).await {
            Err(Failure::Dropped(stale)) => {
                map.metadata.resource_version = self.replaceable_founders(stale).await?;
                self.replace(MAPS, &map).await
            }
            outcome => outcome,
        }
    }

    /// The version of founders that are there, if they were written for a resource that is gone.
    async fn replaceable_founders(&self, stale: Dropped) -> Result<Option<String>, Failure> {
        let name = names::founders(&self.cluster_name());
        let found = self.api::<ConfigMap>().get_opt(&name).await;
        let Some(map) = found.map_err(|error| self.failed("get", MAPS, &name, error))? else {
            return Err(stale.into());
        };
        if !belongs(&map, self.cluster) {
            return Err(ActError::NotOurs { kind: "ConfigMap", name }.into());
        }
        let other =
            map.annotations().get(ANNOTATION_UID).is_some_and(|uid| Some(uid) != self.cluster.meta().uid.as_ref());
        if other {
            return Ok(map.resource_version());
        }
        if map.labels().get(names::LABEL_CLUSTER) != Some(&self.cluster_name()) {
            let message = format!("ConfigMap {name} lacks the label {}: put it back", names::LABEL_CLUSTER);
            return Err(ActError::Impossible(message).into());
        }
        Err(stale.into())
    }

    /// With a version the object is replaced if nobody has written to it; without one it is created.
    pub async fn write_turn(&self, version: Option<&str>, last: u64, turn: Option<&Turn>) -> Result<(), Failure> {
        let mut map = self.map(observe::turn_name(&self.cluster_name()), record::turn_to_data(last, turn));
        map.metadata.resource_version = version.map(str::to_owned);
        if version.is_some() { self.replace(MAPS, &map).await } else { self.create(MAPS, &map).await }
    }

    pub async fn retire(&self, lives: &BTreeMap<PodId, u64>) -> Result<(), Failure> {
        let mut map = self.map(render::retired::config_map_name(&self.cluster_name()), render::retired::data(lives));
        let Some(before) = &self.seen.objects.retired else { return self.create(MAPS, &map).await };
        map.metadata.resource_version = before.resource_version();
        self.replace(MAPS, &map).await
    }

    pub async fn set_budget(&self, allowed: u32) -> Result<(), Failure> {
        self.apply("poddisruptionbudgets", &render::budget(&self.basis(), allowed)).await
    }

    pub async fn record_zones(&self) -> Result<(), Failure> {
        let (zones, name) = (&self.seen.zones, self.cluster_name());
        let counts = self.cluster.spec.nodes_by_zone(zones.len());
        let zone = |(zone, replicas): (&render::ZonePlace, u32)| ZoneStatus {
            name: zone.name.clone(),
            node_label_value: zone.label_value.clone().unwrap_or_default(),
            replicas,
            ready_replicas: 0,
        };
        let zones: Vec<ZoneStatus> = zones.iter().zip(counts).map(zone).collect();
        let patch = Patch::Merge(json!({"status": {"zones": zones}}));
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patched = self.api::<DynamoCluster>().patch_status(&name, &params, &patch).await;
        patched.map(drop).map_err(|error| self.failed("patch", "dynamoclusters/status", &name, error))
    }

    pub async fn certificates(&self, step: &Step) -> Result<(), Failure> {
        let (seen, wall_s) = (&self.seen.authority, self.context.clock.now_s());
        let done = self.context.authority.step(self.cluster, seen, step, wall_s).await;
        done.map_err(|error| match error {
            AuthorityError::Api { call, source: kube::Error::Api(status) } if matches!(status.code, 404 | 409) => {
                Dropped::Stale(format!("{call}: {}", status.message)).into()
            }
            AuthorityError::Api { call, source } => self.failed(call.verb, call.resource, &call.name, source),
            error => ActError::Impossible(error.to_string()).into(),
        })
    }
}

/// Whether a claim is one of a cluster's pods: by its label, or by its name where it has none.
fn is_of(claim: &PersistentVolumeClaim, cluster: &DynamoCluster) -> bool {
    let name = cluster.name_any();
    let Ok(pod) = observe::pod_of_claim(&claim.name_any()) else { return false };
    match claim.labels().get(names::LABEL_CLUSTER) {
        Some(of) => *of == name,
        None => pod.set.starts_with(&format!("{name}-")) && belongs(claim, cluster),
    }
}
