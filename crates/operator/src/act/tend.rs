//! What needs no plan, since there is nothing to decide: that what carries data belongs to whom it should, and that no
//! controller has been told by somebody else to delete disks or to restart pods as it likes.

use std::collections::BTreeMap;

use dynamo_crd::{GROUP, ReclaimPolicy, names};
use dynamo_planner::PARKED;
use k8s_openapi::{
    api::{apps::v1::StatefulSet, core::v1::ConfigMap},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    PATIENCE,
    failure::{ActError, Failure},
    hand::{Hand, once},
};
use crate::render;

const KIND: &str = "DynamoCluster";

impl Hand<'_> {
    /// How many objects were set right.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn tend(&self) -> Result<usize, ActError> {
        let asked = &self.cluster.spec.maintenance;
        if asked.pause || asked.plan_only {
            return Ok(0);
        }
        match once(PATIENCE, self.mend_all()).await {
            Ok(mended) => Ok(mended),
            // The next look sees it as it is then.
            Err(Failure::Dropped(dropped)) => {
                tracing::debug!(%dropped, "something was not set right");
                Ok(1)
            }
            Err(Failure::Error(error)) => Err(error),
        }
    }

    async fn mend_all(&self) -> Result<usize, Failure> {
        let mut mended = 0;
        for (name, set) in &self.seen.objects.sets {
            if let Some(patch) = self.mend_set(set) {
                tracing::info!(set = name, "a StatefulSet was edited by somebody else: it is set right");
                self.merge::<StatefulSet>("statefulsets", name, patch).await?;
                mended += 1;
            }
        }
        if let Some(founders) = self.seen.objects.founders.as_ref().filter(|_| self.seen.observed.founders.is_some()) {
            mended += self.own_founders(founders).await?;
        }
        let records = [&self.seen.objects.turn, &self.seen.objects.retired];
        for record in records.into_iter().flatten() {
            mended += self.own_record(record).await?;
        }
        Ok(mended + self.mend_budget().await?)
    }

    /// One that a resource of this name has left to nobody goes with this one.
    async fn own_record(&self, record: &ConfigMap) -> Result<usize, Failure> {
        let controlled = record.owner_references().iter().any(|one| one.controller == Some(true));
        if controlled || !contains(record.labels(), &names::labels(&self.cluster_name())) {
            return Ok(0);
        }
        let others = record.owner_references().iter().cloned();
        let owners: Vec<OwnerReference> = others.chain([render::owner(self.cluster)]).collect();
        let patch = json!({"metadata": {"resourceVersion": record.resource_version(), "ownerReferences": owners}});
        self.merge::<ConfigMap>("configmaps", &record.name_any(), patch).await?;
        Ok(1)
    }

    fn mend_set(&self, set: &StatefulSet) -> Option<Value> {
        let spec = set.spec.as_ref()?;
        let zone = &self.seen.observed.sets.get(&set.name_any())?.zone;
        let (mut metadata, mut changes) = (serde_json::Map::new(), serde_json::Map::new());
        let labels = names::zone_labels(&self.cluster_name(), zone);
        if !contains(set.labels(), &labels) {
            metadata.insert("labels".to_owned(), json!(labels));
        }
        let owner = render::owner(self.cluster);
        if !set.owner_references().iter().any(|one| one.uid == owner.uid && one.controller == Some(true)) {
            let others = set.owner_references().iter().filter(|one| one.uid != owner.uid).cloned();
            let owners: Vec<OwnerReference> = others.chain([owner.clone()]).collect();
            metadata.insert("ownerReferences".to_owned(), json!(owners));
        }
        let retention = spec.persistent_volume_claim_retention_policy.as_ref();
        let retains = |policy: Option<&String>| policy.is_none_or(|policy| policy == "Retain");
        let when = |deleted: bool| {
            retention
                .and_then(|policy| if deleted { policy.when_deleted.as_ref() } else { policy.when_scaled.as_ref() })
        };
        if !retains(when(true)) || !retains(when(false)) {
            let retain = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
            changes.insert("persistentVolumeClaimRetentionPolicy".to_owned(), retain);
        }
        let strategy = spec.update_strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
        if strategy != Some("RollingUpdate") {
            let parked = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": PARKED}});
            changes.insert("updateStrategy".to_owned(), parked);
        }
        if metadata.is_empty() && changes.is_empty() {
            return None;
        }
        metadata.insert("resourceVersion".to_owned(), json!(set.resource_version()));
        Some(json!({"metadata": metadata, "spec": changes}))
    }

    /// Founders go with the resource exactly if volumes do: who takes these up again has to know who made them.
    async fn own_founders(&self, founders: &ConfigMap) -> Result<usize, Failure> {
        let delete = self.cluster.spec.storage.reclaim.on_delete == ReclaimPolicy::Delete;
        let wanted = delete.then(|| render::owner(self.cluster));
        let mine = |owner: &&OwnerReference| owner.kind == KIND && owner.api_version.starts_with(GROUP);
        let (had, others): (Vec<_>, Vec<_>) = founders.owner_references().iter().partition(mine);
        let is_right = match &wanted {
            Some(wanted) => matches!(had.as_slice(), [one] if one.uid == wanted.uid),
            None => had.is_empty(),
        };
        if is_right {
            return Ok(0);
        }
        let owners: Vec<OwnerReference> = others.into_iter().cloned().chain(wanted).collect();
        let patch = json!({"metadata": {"resourceVersion": founders.resource_version(), "ownerReferences": owners}});
        self.merge::<ConfigMap>("configmaps", &founders.name_any(), patch).await?;
        Ok(1)
    }

    /// The budget but for its number, which is the planner's.
    async fn mend_budget(&self) -> Result<usize, Failure> {
        let (Some(live), Some(allowed)) = (&self.seen.objects.budget, self.seen.observed.budget) else { return Ok(0) };
        let rendered = render::budget(&self.basis(), allowed);
        let owned = rendered
            .owner_references()
            .iter()
            .all(|owner| live.owner_references().iter().any(|one| one.uid == owner.uid));
        if live.spec == rendered.spec && contains(live.labels(), rendered.labels()) && owned {
            return Ok(0);
        }
        if !crate::observe::belongs(&**live, self.cluster) {
            let name = live.name_any();
            return Err(ActError::NotOurs { kind: "PodDisruptionBudget", name }.into());
        }
        self.set_budget(allowed).await.map(|()| 1)
    }
}

fn contains(live: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| live.get(key) == Some(value))
}
