//! The nodes' volumes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// The volume that each node keeps its data on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// The size of each node's volume, such as 20Gi; at least 512Mi, default 10Gi. It may grow, if the storage class
    /// allows expansion: the volumes are then grown while the nodes go on serving. It never shrinks. A node
    /// whose volume is full refuses writes and goes on reading until it is grown.
    #[serde(default = "ten_gib")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(validation = rules::SIZE_IS_A_SIZE)]
    pub size: String,
    /// The storage class of the volumes. Default: the default class of the Kubernetes cluster. Fixed when the cluster is
    /// created.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
    /// What becomes of volumes that are not needed any more.
    #[serde(default)]
    pub reclaim: Reclaim,
}

/// Volumes of one zone that differ from the cluster's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZoneStorage {
    /// The size of the volumes in this zone; default: storage.size. It may grow and never shrinks.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(validation = rules::SIZE_IS_A_SIZE)]
    pub size: Option<String>,
    /// The storage class of the volumes in this zone; default: storage.storageClassName. Fixed once the zone is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

/// What becomes of volumes that are not needed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reclaim {
    /// The volume of a node that has left the cluster: `Delete` (the default) or `Retain`. A node leaves with a receipt
    /// that all it had is on other nodes, and what it left behind is never used again.
    #[serde(default = "delete")]
    pub on_scale_down: ReclaimPolicy,
    /// The volumes when this resource is deleted: `Retain` (the default) or `Delete`. A cluster that is created again
    /// under the same name takes volumes that were retained up again.
    #[serde(default = "retain")]
    pub on_delete: ReclaimPolicy,
}

/// What becomes of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReclaimPolicy {
    /// It stays.
    Retain,
    /// It is deleted.
    Delete,
}

fn ten_gib() -> String {
    "10Gi".into()
}

fn delete() -> ReclaimPolicy {
    ReclaimPolicy::Delete
}

fn retain() -> ReclaimPolicy {
    ReclaimPolicy::Retain
}

impl Default for Reclaim {
    fn default() -> Self {
        Self { on_scale_down: delete(), on_delete: retain() }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self { size: ten_gib(), storage_class_name: None, reclaim: Reclaim::default() }
    }
}
