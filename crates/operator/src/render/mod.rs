//! What the objects of a cluster look like: pure, of the resource and of what was decided for it once.
//!
//! Where things are: a file a kind of object; `template` says which edits restart nodes. What is decided elsewhere and only
//! referred to here by name (founders, authority, trust, lives that left, the key of contexts) is kept by others.

mod accounts;
mod budget;
mod config;
mod monitor;
mod network;
mod pod;
pub mod retired;
mod services;
mod stateful_set;
mod template;

#[cfg(test)]
mod promises;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod snapshots;

use dynamo_crd::{DynamoCluster, GROUP, VERSION, names};
use dynamo_planner::Founders;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use serde::Serialize;
use serde_json::Value;

pub use budget::budget;
pub use config::config_map_name;
pub use pod::image;
pub use stateful_set::{size, stateful_set};
pub use template::template;

/// The label, on StatefulSets and pods, that names what pods are made of.
pub const LABEL_TEMPLATE: &str = "dynamo-k8s.io/template";
/// The label that tells the Service of the nodes from that of the clients.
pub const LABEL_SERVICE: &str = "dynamo-k8s.io/service";
/// Where clients connect, the operator among them.
pub const CLIENT_PORT: i32 = 7400;
/// Where nodes connect to each other.
pub const PEER_PORT: i32 = 8400;
/// Where kubelet asks, and without TLS Prometheus.
pub const HTTP_PORT: i32 = 9400;
/// The claim template's name: claims are called `data-POD`.
pub const DATA: &str = "data";
/// The key of the Secret `<cluster>-secret` that has what seals contexts.
pub const CONTEXT_KEY: &str = "secret";
/// The key of the ConfigMap `<cluster>-trust` that has the authorities of nodes and clients, the signing one first.
pub const TRUST_KEY: &str = "ca.crt";
/// The key of the same ConfigMap that has the authorities of the signer.
pub const SIGNER_TRUST_KEY: &str = "signer.crt";
/// Whom the token that a node shows to the signer is for.
pub const AUDIENCE: &str = "dynamo-operator";

/// A zone, as it was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZonePlace {
    /// Its name, as a part of names.
    pub name: String,
    /// What the label of its machines says; None: any machine.
    pub label_value: Option<String>,
    /// The weight of each of its nodes.
    pub weight: u32,
    /// The size of each volume.
    pub storage_bytes: u64,
    /// The class of its volumes; None: the default one.
    pub storage_class: Option<String>,
}

/// What this operator brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Where images of nodes are, without a tag.
    pub image_repository: String,
    /// The release that the cluster runs if it names none: the operator's when the cluster was founded, whatever this
    /// operator's is.
    pub version: String,
    /// `https://` address of the signer.
    pub signer_url: String,
}

/// Of what a cluster's objects are rendered.
#[derive(Debug, Clone, Copy)]
pub struct Basis<'a> {
    /// The resource.
    pub cluster: &'a DynamoCluster,
    /// What the nodes call their cluster (`cluster.name`). It is on their disks and in their certificates, so it is decided
    /// at the founding and kept with the founders: a resource that is created again for volumes that were kept has another uid.
    pub name: &'a str,
    /// The zones.
    pub zones: &'a [ZonePlace],
    /// The members of the first ring.
    pub founders: &'a Founders,
    /// This operator's.
    pub release: &'a Release,
    /// Whether the Prometheus operator's ServiceMonitor is served.
    pub service_monitors: bool,
}

/// A kind of object that needs no decision, and that is deleted when it is not wanted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What nodes start from.
    ConfigMap,
    /// Who nodes are to Kubernetes.
    ServiceAccount,
    /// Where nodes and clients find nodes.
    Service,
    /// Who reaches which port.
    NetworkPolicy,
    /// The Prometheus operator's.
    ServiceMonitor,
}

impl Kind {
    /// All of them, those first that others refer to.
    pub const ALL: [Kind; 5] =
        [Kind::ConfigMap, Kind::ServiceAccount, Kind::Service, Kind::NetworkPolicy, Kind::ServiceMonitor];
}

/// An object as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// What it is.
    pub kind: Kind,
    /// Its name, in the cluster's namespace.
    pub name: String,
    /// All of it.
    pub object: Value,
}

impl Rendered {
    fn new(kind: Kind, object: impl Serialize) -> Rendered {
        let object = serde_json::to_value(object).expect("objects of Kubernetes can be written");
        let name = object["metadata"]["name"].as_str().expect("an object has a name").to_owned();
        Rendered { kind, name, object }
    }
}

/// All objects of a cluster but its StatefulSets and its budget, which the planner decides on.
pub fn objects(basis: &Basis<'_>) -> Vec<Rendered> {
    let mut objects = vec![
        Rendered::new(Kind::ConfigMap, config::config_map(basis)),
        Rendered::new(Kind::ServiceAccount, accounts::nodes(basis)),
        Rendered::new(Kind::Service, services::nodes(basis)),
        Rendered::new(Kind::Service, services::clients(basis)),
    ];
    if basis.cluster.spec.network_policies {
        objects.push(Rendered::new(Kind::NetworkPolicy, network::policy(basis)));
    }
    if basis.cluster.spec.service_monitor && basis.service_monitors {
        objects.push(Rendered { kind: Kind::ServiceMonitor, name: basis.resource(), object: monitor::monitor(basis) });
    }
    objects
}

impl Basis<'_> {
    /// The resource's name.
    fn resource(&self) -> String {
        self.cluster.name_any()
    }

    fn namespace(&self) -> String {
        self.cluster.namespace().unwrap_or_default()
    }

    /// Of an object of the cluster.
    fn metadata(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: self.cluster.namespace(),
            labels: Some(names::labels(&self.resource())),
            owner_references: Some(vec![owner(self.cluster)]),
            ..ObjectMeta::default()
        }
    }
}

/// That the objects of a cluster go with it. It blocks no deletion: that would take a right on the resource's finalizers.
pub fn owner(cluster: &DynamoCluster) -> OwnerReference {
    OwnerReference {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: "DynamoCluster".to_owned(),
        name: cluster.name_any(),
        uid: cluster.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}
