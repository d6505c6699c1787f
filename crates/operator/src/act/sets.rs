//! StatefulSets.

use std::collections::BTreeMap;

use dynamo_crd::names::LABEL_CLUSTER;
use dynamo_planner::PARKED;
use k8s_openapi::api::apps::v1::{RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetUpdateStrategy};
use kube::{Resource, ResourceExt, api::ListParams};
use serde_json::json;

use super::{
    failure::{ActError, Dropped, Failure},
    hand::Hand,
};
use crate::{
    observe::{belongs, owns_template},
    render::{self, LABEL_TEMPLATE},
};

const SETS: &str = "statefulsets";

impl Hand<'_> {
    fn rendered(&self, zone: &str, replicas: u32, storage_bytes: u64) -> Result<StatefulSet, Failure> {
        let unknown = || ActError::Impossible(format!("zone {zone} is not known: no StatefulSet was written"));
        let place = self.seen.place(zone).ok_or_else(unknown)?;
        Ok(render::stateful_set(&self.basis(), place, replicas, PARKED, storage_bytes))
    }

    pub async fn create_set(&self, name: &str, zone: &str, replicas: u32, storage: u64) -> Result<(), Failure> {
        let set = self.rendered(zone, replicas, storage)?;
        match self.create(SETS, &set).await {
            Err(Failure::Dropped(stale)) => self.find_again(name, stale).await,
            outcome => outcome,
        }
    }

    /// One that is there and was not seen: it is somebody else's, or has lost the label that it is found by.
    async fn find_again(&self, name: &str, stale: Dropped) -> Result<(), Failure> {
        let found = self.api::<StatefulSet>().get_opt(name).await;
        let Some(set) = found.map_err(|error| self.failed("get", SETS, name, error))? else { return Err(stale.into()) };
        if !belongs(&set, self.cluster) {
            return Err(ActError::NotOurs { kind: "StatefulSet", name: name.to_owned() }.into());
        }
        if set.labels().get(LABEL_CLUSTER) == Some(&self.cluster_name()) {
            return Err(stale.into());
        }
        let patch = json!({"metadata": {
            "resourceVersion": set.resource_version(),
            "labels": {LABEL_CLUSTER: self.cluster_name()},
        }});
        self.merge::<StatefulSet>(SETS, name, patch).await
    }

    pub async fn scale(&self, name: &str, replicas: u32, version: &str) -> Result<(), Failure> {
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"replicas": replicas}});
        self.merge::<StatefulSet>(SETS, name, patch).await
    }

    pub async fn partition(&self, name: &str, partition: u32, version: &str) -> Result<(), Failure> {
        let strategy = json!({"rollingUpdate": {"partition": partition}});
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"updateStrategy": strategy}});
        self.merge::<StatefulSet>(SETS, name, patch).await
    }

    /// The whole template: what others have put there goes, and they own nothing of it any more.
    pub async fn set_template(&self, name: &str, version: &str) -> Result<(), Failure> {
        let seen = self.seen.objects.sets.get(name).filter(|set| set.resource_version().as_deref() == Some(version));
        let Some(seen) = seen else { return Err(Dropped::Stale(format!("StatefulSet {name} is another")).into()) };
        let view = &self.seen.observed.sets[name];
        let rendered = self.rendered(&view.zone, view.replicas, view.storage_bytes)?;
        let mut set = StatefulSet::clone(seen);
        let label = rendered.labels().get(LABEL_TEMPLATE).cloned().unwrap_or_default();
        set.labels_mut().insert(LABEL_TEMPLATE.to_owned(), label);
        set.managed_fields_mut().retain(|entry| !owns_template(entry));
        if let (Some(spec), Some(rendered)) = (&mut set.spec, rendered.spec) {
            spec.template = rendered.template;
            spec.update_strategy = Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateStatefulSetStrategy {
                    partition: i32::try_from(PARKED).ok(),
                    ..RollingUpdateStatefulSetStrategy::default()
                }),
            });
        }
        self.replace(SETS, &set).await
    }

    pub async fn delete_set(&self, name: &str, uid: &str, version: &str, orphan: bool) -> Result<(), Failure> {
        self.delete::<StatefulSet>(SETS, name, (uid, version), orphan).await
    }

    /// That each StatefulSet has the generation that it was seen with, by the API server's own word.
    pub async fn check_sets(&self, seen: &BTreeMap<String, u64>) -> Result<(), Failure> {
        let labels = format!("{LABEL_CLUSTER}={}", self.cluster_name());
        let listed = self.api::<StatefulSet>().list(&ListParams::default().labels(&labels)).await;
        let listed = listed.map_err(|error| self.failed("list", SETS, "of the cluster", error))?;
        let ours = |set: &&StatefulSet| belongs(*set, self.cluster) && set.meta().deletion_timestamp.is_none();
        let generation = |set: &StatefulSet| set.meta().generation.unwrap_or_default().unsigned_abs();
        let now: BTreeMap<String, u64> =
            listed.items.iter().filter(ours).map(|set| (set.name_any(), generation(set))).collect();
        if now == *seen { Ok(()) } else { Err(Dropped::Stale("a StatefulSet is another by now".to_owned()).into()) }
    }
}
