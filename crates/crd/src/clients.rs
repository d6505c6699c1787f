//! How clients reach the nodes.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// The Service for clients, and what nodes say where they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Clients {
    /// The type of the Service: `ClusterIP` (the default), `NodePort` or `LoadBalancer`.
    #[serde(default)]
    pub service_type: ServiceType,
    /// Annotations of the Service, for a load balancer's controller for instance.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub service_annotations: BTreeMap<String, String>,
    /// The address that each node gives its clients for direct requests: host:port, in which {pod} stands for the name of
    /// the node's pod and {zone} for its zone, such as {pod}.dynamo.example.com:7400. Default: an address
    /// that is known in this Kubernetes cluster only; clients outside go through the Service then, at one hop more.
    /// Changing it restarts the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::ADVERTISED_NAMES_POD)]
    pub advertise: Option<String>,
}

/// A type of Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Within the Kubernetes cluster.
    #[default]
    ClusterIP,
    /// At a port of each Kubernetes node.
    NodePort,
    /// Behind a load balancer.
    LoadBalancer,
}

impl Clients {
    /// What the node in this pod tells its clients, if that is to be another address than the pod's own.
    pub fn advertised(&self, pod: &str, zone: &str) -> Option<String> {
        self.advertise.as_ref().map(|pattern| pattern.replace("{pod}", pod).replace("{zone}", zone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_address_names_the_pod_and_its_zone() {
        let clients = Clients { advertise: Some("{pod}.{zone}.example:7400".into()), ..Clients::default() };
        assert_eq!(clients.advertised("shop-a-0", "a").as_deref(), Some("shop-a-0.a.example:7400"));
        assert_eq!(Clients::default().advertised("shop-a-0", "a"), None);
    }
}
