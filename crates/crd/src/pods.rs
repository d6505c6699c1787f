//! What people may want of the nodes' pods that the operator does not decide.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, Toleration};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// Additions to the nodes' pods. Changing any of them restarts the nodes, a safe set at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::LABELS_OF_OTHERS, validation = rules::ANNOTATIONS_OF_OTHERS)]
pub struct PodOverrides {
    /// Labels beside the operator's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {
        "type": "string", "maxLength": 63, "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
    }))]
    pub labels: BTreeMap<String, String>,
    /// Annotations beside the operator's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a Kubernetes node needs, beside that of the zone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {
        "type": "string", "maxLength": 63, "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
    }))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that do not matter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tolerations: Vec<Toleration>,
    /// Affinities, beside the operator's own: it keeps the nodes of a zone on different machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// The priority class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Secrets with which the image is pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Seconds that a node has to finish its requests and to hand over what it holds for others before it is killed. 10 to
    /// 3600, default 60.
    #[serde(default = "a_minute")]
    #[schemars(range(min = 10, max = 3600))]
    pub termination_grace_period_seconds: u32,
}

fn a_minute() -> u32 {
    60
}

impl Default for PodOverrides {
    fn default() -> Self {
        Self {
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            node_selector: BTreeMap::new(),
            tolerations: vec![],
            affinity: None,
            priority_class_name: None,
            image_pull_secrets: vec![],
            termination_grace_period_seconds: a_minute(),
        }
    }
}
