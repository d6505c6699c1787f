//! How many pods others may evict at a time; the number is the planner's.

use dynamo_crd::names;
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::Basis;

/// One budget over all pods of the cluster. One that is not ready may always be evicted: it keeps nothing up, and may be what
/// holds a drained machine.
pub fn budget(basis: &Basis<'_>, max_unavailable: u32) -> PodDisruptionBudget {
    let cluster = basis.resource();
    PodDisruptionBudget {
        metadata: basis.metadata(names::disruption_budget(&cluster)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(i32::try_from(max_unavailable).unwrap_or(i32::MAX))),
            selector: Some(LabelSelector { match_labels: Some(names::selector(&cluster)), ..LabelSelector::default() }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
