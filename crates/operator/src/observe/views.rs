//! Objects as the planner has them.

use std::collections::BTreeMap;

use dynamo_crd::{
    names::{LABEL_NODE_ZONE, LABEL_ZONE, dns_safe},
    quantity,
};
use dynamo_planner::{ClaimView, HostView, PodId, PodView, SetView, record::RecordError};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
};
use kube::{Resource, ResourceExt};

use crate::render::{DATA, LABEL_TEMPLATE};

/// The annotation of a claim that says what is known of its disk.
pub const ANNOTATION_LEFT: &str = "dynamo-k8s.io/left";
/// The taint by which a person says that a machine is off.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// Labels of machines that volumes are tied to one machine by.
const ONE_MACHINE: [&str; 2] = ["kubernetes.io/hostname", "topology.topolvm.io/node"];
/// What a StatefulSet is said to be made from whose template somebody else has edited.
const EDITED: &str = "edited-by-hand";

/// A machine; its zone as a part of names.
pub fn host_view(machine: &Node) -> HostView {
    let taints = machine.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    HostView {
        zone: machine.labels().get(LABEL_NODE_ZONE).map(|zone| dns_safe(zone)),
        out_of_service: taints.is_some_and(|taints| taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)),
    }
}

/// A StatefulSet.
pub fn set_view(set: &StatefulSet) -> SetView {
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    let rolling = spec.update_strategy.and_then(|strategy| strategy.rolling_update);
    let generation = set.meta().generation.unwrap_or_default();
    let is_seen = status.observed_generation.is_some_and(|observed| observed >= generation);
    let label = |name: &str| set.labels().get(name).cloned().unwrap_or_default();
    SetView {
        uid: set.uid().unwrap_or_default(),
        version: set.resource_version().unwrap_or_default(),
        generation: generation.unsigned_abs(),
        zone: label(LABEL_ZONE),
        replicas: unsigned(spec.replicas.unwrap_or(1)),
        partition: unsigned(rolling.and_then(|rolling| rolling.partition).unwrap_or(0)),
        template: if is_edited(set) { EDITED.to_owned() } else { label(LABEL_TEMPLATE) },
        storage_bytes: spec.volume_claim_templates.iter().flatten().map(claim_bytes).next().unwrap_or_default(),
        // From then on a pod that comes back is made from the present template.
        rolled: is_seen && status.current_revision.is_some() && status.current_revision == status.update_revision,
    }
}

/// Whether anybody else wrote a part of what pods are made of. What pods are made of can't be compared with what would
/// be rendered: the operator may have been upgraded since, and that restarts nobody.
fn is_edited(set: &StatefulSet) -> bool {
    set.managed_fields().iter().any(owns_template)
}

/// Whether a manager other than this operator has written to the template.
pub fn owns_template(entry: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry) -> bool {
    let ours = entry.manager.as_deref() == Some(dynamo_crd::names::FIELD_MANAGER);
    let template = |fields: &serde_json::Value| fields.pointer("/f:spec/f:template").is_some();
    !ours
        && entry.subresource.as_deref().unwrap_or_default().is_empty()
        && entry.fields_v1.as_ref().is_some_and(|fields| template(&fields.0))
}

/// A pod.
pub fn pod_view(pod: &Pod) -> PodView {
    PodView {
        uid: pod.uid().unwrap_or_default(),
        host: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        ready: is_ready(pod),
        template: pod.labels().get(LABEL_TEMPLATE).cloned().unwrap_or_default(),
        deleting: pod.meta().deletion_timestamp.is_some(),
    }
}

/// Whether kubelet finds it ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The pod that a claim is for.
///
/// # Errors
/// It is no claim of a StatefulSet's pod.
pub fn pod_of_claim(claim: &str) -> Result<PodId, RecordError> {
    claim.strip_prefix(&format!("{DATA}-")).unwrap_or_default().parse()
}

/// A claim.
///
/// # Errors
/// What is written on it can't be read.
pub fn claim_view(
    claim: &PersistentVolumeClaim,
    volumes: Option<&BTreeMap<String, std::sync::Arc<PersistentVolume>>>,
    machines: &Machines,
) -> Result<ClaimView, RecordError> {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref());
    let volume = volume.and_then(|name| volumes?.get(name));
    Ok(ClaimView {
        uid: claim.uid().unwrap_or_default(),
        version: claim.resource_version().unwrap_or_default(),
        size_bytes: claim_bytes(claim),
        mark: claim.annotations().get(ANNOTATION_LEFT).map(|mark| mark.parse()).transpose()?,
        deleting: claim.meta().deletion_timestamp.is_some(),
        lost: phase == Some("Lost"),
        pinned_to: volume.and_then(|volume| pinned_to(volume, machines)),
    })
}

/// Names of machines by what their labels call them.
#[derive(Debug, Clone, Default)]
pub struct Machines(BTreeMap<String, String>);

impl Machines {
    /// Of these.
    pub fn of<'a>(machines: impl Iterator<Item = &'a Node>) -> Machines {
        let called = machines.flat_map(|machine| {
            let labels = ONE_MACHINE.iter().filter_map(|label| machine.labels().get(*label).cloned());
            labels.map(|label| (label, machine.name_any())).collect::<Vec<_>>()
        });
        Machines(called.collect())
    }

    /// One that is gone is called what it was called.
    fn name(&self, called: &str) -> String {
        self.0.get(called).cloned().unwrap_or_else(|| called.to_owned())
    }
}

/// The only machine that a volume can be reached from.
fn pinned_to(volume: &PersistentVolume, machines: &Machines) -> Option<String> {
    let affinity = volume.spec.as_ref()?.node_affinity.as_ref()?.required.as_ref()?;
    // Terms are alternatives: with two of them it is reached from elsewhere too.
    let [term] = affinity.node_selector_terms.as_slice() else { return None };
    let by_label = term.match_expressions.iter().flatten().filter(|rule| ONE_MACHINE.contains(&rule.key.as_str()));
    let by_name = term.match_fields.iter().flatten().filter(|rule| rule.key == "metadata.name");
    by_label.chain(by_name).filter(|rule| rule.operator == "In").find_map(|rule| match rule.values.as_deref() {
        Some([one]) => Some(machines.name(one)),
        _ => None,
    })
}

fn claim_bytes(claim: &PersistentVolumeClaim) -> u64 {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let size = resources.and_then(|resources| resources.requests.as_ref()?.get("storage"));
    size.and_then(|size| quantity::bytes(&size.0).ok()).unwrap_or_default()
}

fn unsigned(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(json: serde_json::Value) -> StatefulSet {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_statefulset_is_rolled_when_pods_come_back_from_the_present_template() {
        let with = |observed: i64, update: &str| {
            set(json!({"metadata": {"generation": 3}, "status": {"replicas": 1, "observedGeneration": observed,
                "currentRevision": "one", "updateRevision": update}}))
        };
        assert!(set_view(&with(3, "one")).rolled);
        assert!(!set_view(&with(2, "one")).rolled, "its controller has not seen the latest yet");
        assert!(!set_view(&with(3, "two")).rolled);
        assert!(!set_view(&set(json!({"metadata": {"generation": 1}}))).rolled);
    }

    #[test]
    fn a_machine_is_off_by_the_taint_that_says_so_and_by_no_other() {
        let tainted = |keys: &[&str]| {
            let taints: Vec<_> = keys.iter().map(|key| json!({"key": key, "effect": "NoExecute"})).collect();
            let machine =
                json!({"metadata": {"labels": {"topology.kubernetes.io/zone": "EU_1"}}, "spec": {"taints": taints}});
            host_view(&serde_json::from_value(machine).unwrap())
        };
        // What Kubernetes says of a machine that does not answer, or that somebody drains: it may come back.
        let kubernetes = [
            "node.kubernetes.io/unreachable",
            "node.kubernetes.io/not-ready",
            "node.kubernetes.io/unschedulable",
            "example.com/out-of-service",
        ];
        assert!(!tainted(&kubernetes).out_of_service);
        assert!(tainted(&["node.kubernetes.io/unreachable", "node.kubernetes.io/out-of-service"]).out_of_service);
        assert_eq!(tainted(&[]), HostView { zone: Some(dns_safe("EU_1")), out_of_service: false });
        assert_eq!(host_view(&Node::default()), HostView::default());
    }

    #[test]
    fn a_template_that_somebody_else_wrote_to_is_not_what_it_says() {
        let with = |manager: &str, subresource: &str, field: &str| {
            set(json!({"metadata": {"labels": {"dynamo-k8s.io/template": "one"}, "managedFields": [
                {"manager": manager, "operation": "Update", "subresource": subresource, "fieldsType": "FieldsV1",
                 "fieldsV1": {"f:spec": {field: {}}}}]}}))
        };
        assert_eq!(set_view(&with("dynamo-operator", "", "f:template")).template, "one");
        assert_eq!(set_view(&with("kubectl-edit", "", "f:replicas")).template, "one");
        assert_eq!(set_view(&with("kubectl-rollout", "", "f:template")).template, EDITED);
    }

    fn volume(terms: serde_json::Value) -> PersistentVolume {
        let affinity = json!({"required": {"nodeSelectorTerms": terms}});
        serde_json::from_value(json!({"spec": {"nodeAffinity": affinity}})).unwrap()
    }

    #[test]
    fn a_volume_is_tied_to_the_machine_that_its_affinity_names() {
        let machine = json!({"metadata": {"name": "worker", "labels": {"kubernetes.io/hostname": "worker.example"}}});
        let machines: Node = serde_json::from_value(machine).unwrap();
        let machines = Machines::of([machines].iter());
        let rule = |key: &str, values: &[&str]| json!({"key": key, "operator": "In", "values": values});
        let on = |key: &str, values: &[&str]| json!([{"matchExpressions": [rule(key, values)]}]);
        let pinned = |terms| pinned_to(&volume(terms), &machines);
        assert_eq!(pinned(on("kubernetes.io/hostname", &["worker.example"])).as_deref(), Some("worker"));
        assert_eq!(pinned(on("kubernetes.io/hostname", &["left"])).as_deref(), Some("left"));
        assert_eq!(pinned(on("kubernetes.io/hostname", &["one", "other"])), None);
        assert_eq!(pinned(on("topology.kubernetes.io/zone", &["a"])), None);
        assert_eq!(pinned(json!([{"matchExpressions": []}, {"matchExpressions": []}])), None);
    }

    #[test]
    fn a_claim_is_for_the_pod_that_its_name_ends_with() {
        assert_eq!(pod_of_claim("data-c-a-1").unwrap(), PodId::new("c-a", 1));
        for other in ["c-a-1", "data-", "data-c"] {
            assert!(pod_of_claim(other).is_err(), "{other}");
        }
    }
}
