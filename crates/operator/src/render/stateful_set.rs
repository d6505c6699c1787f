//! The StatefulSet of a zone. How many pods it has and which of them may be made anew is the planner's.

use std::collections::BTreeMap;

use dynamo_crd::{DynamoCluster, names};
use k8s_openapi::{
    api::{
        apps::v1::{
            RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy,
            StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
    },
};

use super::{Basis, DATA, LABEL_TEMPLATE, ZonePlace, pod, template};

/// Of a zone, with so many pods, of which those from `partition` on may be made anew, and new volumes of this size.
pub fn stateful_set(
    basis: &Basis<'_>,
    zone: &ZonePlace,
    replicas: u32,
    partition: u32,
    storage_bytes: u64,
) -> StatefulSet {
    let cluster = basis.resource();
    let labels = names::zone_labels(&cluster, &zone.name);
    let mut metadata = basis.metadata(names::stateful_set(&cluster, &zone.name));
    metadata.labels = Some(labels.clone().into_iter().chain([(LABEL_TEMPLATE.to_owned(), template(basis))]).collect());
    StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(signed(replicas)),
            // Pods find each other by themselves: all at once is fastest, and none waits for one that is stuck.
            pod_management_policy: Some("Parallel".to_owned()),
            service_name: Some(names::nodes_service(&cluster)),
            selector: LabelSelector { match_labels: Some(selector(&cluster, &labels)), ..LabelSelector::default() },
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateStatefulSetStrategy {
                    partition: Some(signed(partition)),
                    ..RollingUpdateStatefulSetStrategy::default()
                }),
            }),
            // A disk goes by its receipt alone.
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Retain".to_owned()),
                when_scaled: Some("Retain".to_owned()),
            }),
            revision_history_limit: Some(10),
            template: pod::pods(basis, zone, &labels),
            volume_claim_templates: Some(vec![claim(&labels, zone, size(basis.cluster, storage_bytes))]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

/// What tells the pods of this StatefulSet from others; fixed for its life.
fn selector(cluster: &str, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let zone = labels.get_key_value(names::LABEL_ZONE).map(|(key, zone)| (key.clone(), zone.clone()));
    names::selector(cluster).into_iter().chain(zone).collect()
}

fn claim(labels: &BTreeMap<String, String>, zone: &ZonePlace, size: Quantity) -> PersistentVolumeClaim {
    let requests = BTreeMap::from([("storage".to_owned(), size)]);
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(DATA.to_owned()), labels: Some(labels.clone()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements { requests: Some(requests), limits: None }),
            storage_class_name: zone.storage_class.clone(),
            volume_mode: Some("Filesystem".to_owned()),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

/// So many bytes as the resource spells them, where it does: people look for what they wrote.
pub fn size(cluster: &DynamoCluster, bytes: u64) -> Quantity {
    let storage = &cluster.spec.storage.size;
    let zones = cluster.spec.zones.iter().filter_map(|zone| zone.storage.as_ref()?.size.as_ref());
    let spelled = zones.chain([storage]).find(|text| dynamo_crd::quantity::bytes(text) == Ok(bytes));
    spelled.map_or_else(|| quantity(bytes), |text| Quantity(text.clone()))
}

/// Bytes as Kubernetes writes them: with the largest binary unit that is exact.
fn quantity(bytes: u64) -> Quantity {
    let units = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let exact = (bytes.trailing_zeros() / 10) as usize;
    let unit = if bytes == 0 { 0 } else { exact.min(units.len() - 1) };
    Quantity(format!("{}{}", bytes >> (10 * unit), units[unit]))
}

fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render::samples::Sample;

    #[test]
    fn a_size_is_spelled_as_the_resource_spells_it() {
        let zones = json!([{"name": "a"}, {"name": "b", "storage": {"size": "0.5Ti"}}]);
        let sample = Sample::of(json!({"storage": {"size": "10G"}, "zones": zones}));
        let of = |bytes| size(&sample.cluster, bytes).0;
        assert_eq!([of(10_000_000_000), of(1 << 39), of(20 << 30)], ["10G", "0.5Ti", "20Gi"]);
        let set = stateful_set(&sample.basis(), &sample.zones[0], 1, 0, 10_000_000_000);
        let claim = set.spec.unwrap().volume_claim_templates.unwrap().remove(0).spec.unwrap();
        assert_eq!(claim.resources.unwrap().requests.unwrap()["storage"].0, "10G");
    }

    #[test]
    fn sizes_are_written_as_kubernetes_would() {
        for (bytes, text) in
            [(0, "0"), (1, "1"), (1 << 30, "1Gi"), (3 << 29, "1536Mi"), (10_000_000_000, "9765625Ki"), (7 << 60, "7Ei")]
        {
            assert_eq!(quantity(bytes).0, text);
            assert_eq!(dynamo_crd::quantity::bytes(text), Ok(bytes));
        }
    }
}
