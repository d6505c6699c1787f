//! What the operator says of a cluster. Figures that change all the time are metrics; here is what a person looks for, as
//! coarse as it can be, so that a settled cluster's status is never written.

mod condition;
mod node;
mod plan;
mod ring;
mod tls;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use condition::ConditionKind;
pub use node::{DiskState, NodeState, NodeStatus};
pub use plan::{PlanStatus, PlannedStep, StepState};
pub use ring::{RingChange, RingStatus};
pub use tls::{CertificateAuthorityStatus, RotationPhase, TlsStatus};

/// What is. Written by the operator alone; nothing in it is needed to go on, all of it can be found again.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DynamoClusterStatus {
    /// The generation of the spec that the rest is about. Lower than metadata.generation: the operator has not seen the
    /// latest change yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What goes on and what it waits for, in one line; "settled" when there is nothing to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub summary: String,
    /// `Available`: every key can be read and written. `Progressing`: something is being changed. `Degraded`: something
    /// needs a person, and the message says what to do. `RingSettled`: no change of the ring is under way. `DataSafe`: every
    /// key is on all its replicas, no hints wait and no disk is being filled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many nodes' pods there are.
    #[serde(default)]
    pub replicas: u32,
    /// How many of the nodes serve.
    #[serde(default)]
    pub ready_replicas: u32,
    /// Which pods are nodes of this cluster, for autoscalers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub selector: String,
    /// The release that all nodes run; while they are being changed, the one that all had before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub version: Option<String>,
    /// The image that all nodes run; while they are being changed, the one that all had before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub image: Option<String>,
    /// Names what the nodes' pods are made of: another one when the image, the configuration or anything else changes that
    /// restarts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub template: Option<String>,
    /// What the nodes call their cluster, so that nodes and disks of two clusters are never mixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub cluster_name: Option<String>,
    /// The load of the most loaded node in parts of the mean, such as 1.04: 1.00 is perfect.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub balance: Option<String>,
    /// The ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring: Option<RingStatus>,
    /// The zones, as listed or as found when the cluster was created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub zones: Vec<ZoneStatus>,
    /// The nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2000))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub nodes: Vec<NodeStatus>,
    /// What the operator does next, and what it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,
    /// Certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsStatus>,
    /// Buckets of the spec that are there, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub buckets: Vec<String>,
}

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZoneStatus {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// What the label topology.kubernetes.io/zone of its Kubernetes nodes says.
    #[schemars(length(max = 63))]
    pub node_label_value: String,
    /// How many nodes are wanted in it.
    pub replicas: u32,
    /// How many of them serve.
    pub ready_replicas: u32,
}

impl DynamoClusterStatus {
    /// What is said of this kind, if anything is.
    pub fn condition(&self, kind: ConditionKind) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == kind.as_str())
    }
}
