//! What a person asks the operator to do, or to leave.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Requests of the people who run the cluster. `kubectl dynamo` writes them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Maintenance {
    /// Whether the operator only says in status.plan what it would do, and does nothing. Default false. What was begun in
    /// the ring goes on, and evictions are held back as ever.
    #[serde(default)]
    pub plan_only: bool,
    /// Whether the operator stops no pod, moves no data and deletes no disk, so that somebody may work by hand. Default false.
    /// The nodes serve as before, and certificates are renewed.
    #[serde(default)]
    pub pause: bool,
    /// When a restart of all nodes was asked for, such as 2026-01-31T12:00:00Z. A later time than before restarts each
    /// node that has not been restarted since, a safe set at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_requested_at: Option<Time>,
    /// When new certificates for all nodes were asked for. A later time than before issues them, without a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates_requested_at: Option<Time>,
    /// When a new certificate authority was asked for. A later time than before makes one and moves all nodes to it, in
    /// steps and without a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_requested_at: Option<Time>,
    /// The template (as in status.template) for which nodes are restarted one at a time even where keys lose their quorum
    /// meanwhile: for a cluster without replicas, or one that only a restart can mend. It counts for that template alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub restart_anyway: Option<String>,
    /// Disks that are to be given up: the node gets an empty one, under the same name, and is filled from the other
    /// replicas. The operator waits while keys would be lost by it. Up to 16; an entry acts once, and may be taken out
    /// when it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["node".into()]))]
    pub replace: Vec<Replacement>,
}

/// A disk that is to be given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replacement {
    /// The name of the node, which is its pod's.
    #[schemars(length(min = 1, max = 63))]
    pub node: String,
    /// The uid of the volume claim that it has now (kubectl get pvc data-NODE -o jsonpath={.metadata.uid}). The one that
    /// follows has another, so the request is not taken twice.
    #[schemars(length(min = 36, max = 36), regex(pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"))]
    pub claim_uid: String,
}
