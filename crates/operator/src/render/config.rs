//! What nodes start from: node.yaml in a ConfigMap whose name has the template's in it.
//!
//! A pod that restarts before its turn comes back from the StatefulSet's earlier revision, which refers to the earlier ConfigMap. So
//! one is never changed: it is immutable, stays as the operator that made it rendered it, and goes when no revision and no pod
//! refers to it.

use std::collections::BTreeMap;

use dynamo_crd::{ClientAuth, Durability, TlsMode, names};
use k8s_openapi::api::core::v1::ConfigMap;
use serde::Serialize;

use super::{Basis, CLIENT_PORT, PEER_PORT, SIGNER_TRUST_KEY, TRUST_KEY, pod, template};

/// The key of the ConfigMap.
pub(super) const FILE: &str = "node.yaml";

/// The ConfigMap of a template.
pub fn config_map_name(cluster: &str, template: &str) -> String {
    format!("{}-{template}", names::config(cluster))
}

pub(super) fn config_map(basis: &Basis<'_>) -> ConfigMap {
    let text = serde_yaml::to_string(&node(basis)).expect("plain data can be written");
    ConfigMap {
        metadata: basis.metadata(config_map_name(&basis.resource(), &template(basis))),
        data: Some(BTreeMap::from([(FILE.to_owned(), text)])),
        immutable: Some(true),
        ..ConfigMap::default()
    }
}

/// The configuration that all nodes share, in the order in which docs/CONFIGURATION.md has it. What tells one from another is in
/// its pod's arguments, and the key that seals contexts in its environment.
#[derive(Debug, Serialize)]
struct Node {
    cluster: Cluster,
    storage: Storage,
    tls: Tls,
    background: Background,
    log: Log,
}

#[derive(Debug, Serialize)]
struct Cluster {
    name: String,
    replication: u8,
    partitions: u32,
    members: Vec<Member>,
}

#[derive(Debug, Serialize)]
struct Member {
    name: String,
    zone: String,
    address: String,
    client_address: String,
}

#[derive(Debug, Serialize)]
struct Storage {
    durability: &'static str,
}

#[derive(Debug, Default, Serialize)]
struct Tls {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trust_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_auth: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signer_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signer_trust_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signer_token_file: Option<String>,
}

#[derive(Debug, Serialize)]
struct Background {
    p99_target_ms: u32,
}

#[derive(Debug, Serialize)]
struct Log {
    format: &'static str,
}

fn node(basis: &Basis<'_>) -> Node {
    let spec = &basis.cluster.spec;
    Node {
        cluster: Cluster {
            name: basis.name.to_owned(),
            replication: spec.replication.n,
            partitions: spec.partitions,
            members: founders(basis),
        },
        storage: Storage { durability: durability(spec.durability) },
        tls: tls(basis),
        background: Background { p99_target_ms: spec.slo.p99_ms },
        log: Log { format: "json" },
    }
}

/// The members of the first ring. All weigh the same there: weights may be edited, and the first ring may not, so a zone that
/// weighs more is reweighed at once.
fn founders(basis: &Basis<'_>) -> Vec<Member> {
    let mut members = Vec::new();
    for (zone, count) in &basis.founders.zones {
        for ordinal in 0..*count {
            let pod = names::pod(&basis.resource(), zone, ordinal);
            members.push(Member {
                address: basis.address(&pod, PEER_PORT),
                client_address: basis.address(&pod, CLIENT_PORT),
                name: pod,
                zone: zone.clone(),
            });
        }
    }
    members
}

fn tls(basis: &Basis<'_>) -> Tls {
    let tls = &basis.cluster.spec.tls;
    let file = |folder: &str, name: &str| Some(format!("{folder}/{name}"));
    let own = match tls.mode {
        TlsMode::Plaintext => return Tls { mode: "plaintext", ..Tls::default() },
        TlsMode::OperatorCA => Tls {
            trust_file: file(pod::TRUST_DIR, TRUST_KEY),
            signer_url: Some(basis.release.signer_url.clone()),
            signer_trust_file: file(pod::TRUST_DIR, SIGNER_TRUST_KEY),
            signer_token_file: file(pod::SIGNER_DIR, pod::TOKEN_FILE),
            ..Tls::default()
        },
        TlsMode::Secret => Tls {
            certificate_file: file(pod::CERTIFICATE_DIR, "tls.crt"),
            key_file: file(pod::CERTIFICATE_DIR, "tls.key"),
            trust_file: file(pod::CERTIFICATE_DIR, "ca.crt"),
            ..Tls::default()
        },
    };
    let client_auth = match tls.client_auth {
        ClientAuth::None => "none",
        ClientAuth::Certificate => "certificate",
        ClientAuth::Token => "token",
    };
    let tokens_dir = tls.tokens_secret_name.as_ref().map(|_| pod::TOKENS_DIR.to_owned());
    Tls { mode: "tls", client_auth: Some(client_auth), tokens_dir, ..own }
}

fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Fsync => "fsync",
        Durability::OneFsync => "one-fsync",
        Durability::Interval => "interval",
    }
}

impl Basis<'_> {
    /// The stable address of a pod.
    pub(super) fn address(&self, pod: &str, port: i32) -> String {
        format!("{}:{port}", names::host(&self.resource(), &self.namespace(), pod))
    }
}
