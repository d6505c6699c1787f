//! Who reaches which port, where something enforces it.
//!
//! Nodes' own port is theirs alone. The clients' port is open, since who may ask what is decided there call by call; the HTTP
//! port is open, since kubelet is nobody that a policy could name (docs/SECURITY.md says what it tells).

use dynamo_crd::names;
use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{Basis, CLIENT_PORT, HTTP_PORT, PEER_PORT};

pub(super) fn policy(basis: &Basis<'_>) -> NetworkPolicy {
    let cluster = basis.resource();
    let pods = || LabelSelector { match_labels: Some(names::selector(&cluster)), ..LabelSelector::default() };
    let open = NetworkPolicyIngressRule { from: None, ports: Some(vec![port(CLIENT_PORT), port(HTTP_PORT)]) };
    let own = NetworkPolicyIngressRule {
        from: Some(vec![NetworkPolicyPeer { pod_selector: Some(pods()), ..NetworkPolicyPeer::default() }]),
        ports: Some(vec![port(PEER_PORT)]),
    };
    NetworkPolicy {
        metadata: basis.metadata(cluster.clone()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods()),
            ingress: Some(vec![open, own]),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ..NetworkPolicySpec::default()
        }),
    }
}

fn port(number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    }
}
