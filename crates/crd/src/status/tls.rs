//! What is said of certificates.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Certificates, as the nodes have loaded them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsStatus {
    /// `Settled`; or, while the authority changes: `Trusting` (nodes learn to trust the new one beside the old),
    /// `Issuing` (nodes get certificates of the new one) or `Retiring` (nodes learn to trust the new one alone). A phase ends
    /// when every node has said that it has loaded what is new.
    pub phase: RotationPhase,
    /// The URI that a certificate which all nodes share has among its names (tls.mode `Secret`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub nodes_uri: Option<String>,
    /// The authorities that nodes trust: one, or two while one follows the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["fingerprint".into()]))]
    pub authorities: Vec<CertificateAuthorityStatus>,
    /// When the first certificate of a node ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates_end_at: Option<Time>,
    /// Nodes that have not loaded what the phase needs, up to 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 63)))]
    pub behind: Vec<String>,
}

/// A certificate authority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateAuthorityStatus {
    /// The SHA-256 of its certificate, in hexadecimal.
    #[schemars(length(max = 64))]
    pub fingerprint: String,
    /// When it ends.
    pub ends_at: Time,
}

/// How far the change of the authority is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum RotationPhase {
    /// There is one authority.
    #[default]
    Settled,
    /// Nodes learn to trust the new one beside the old.
    Trusting,
    /// Nodes get certificates of the new one.
    Issuing,
    /// Nodes learn to trust the new one alone.
    Retiring,
}
