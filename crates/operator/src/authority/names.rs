//! Whom a certificate speaks for: the URI that nodes compare, and the host names that clients do. All of it is told by what
//! Kubernetes says of the pod, and nothing by what was asked for.

use dynamo_crd::{DynamoCluster, names};
use kube::ResourceExt;

use super::ca::Leaf;

/// The operator's name among the administrators.
const OPERATOR: &str = "dynamo-operator";
/// How long what the operator shows itself is good.
const OWN_S: u64 = 86_400;
const DAY_S: u64 = 86_400;

/// The certificate of a node.
pub(super) fn node(cluster: &DynamoCluster, called: &str, pod: &str, zone: &str) -> Leaf {
    let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
    let mut hosts = Vec::new();
    for base in [format!("{pod}.{}", names::nodes_service(&name)), names::client_service(&name)] {
        hosts.extend(within(&base, &namespace));
    }
    hosts.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
    let advertised = cluster.spec.clients.advertised(pod, zone);
    hosts.extend(advertised.as_deref().and_then(host_of));
    let uri = Some(uri(called, "node", pod));
    let seconds = u64::from(cluster.spec.tls.certificate_days) * DAY_S;
    Leaf { uri, common_name: pod.to_owned(), hosts, seconds }
}

/// What the operator shows to the nodes of a cluster.
pub(super) fn operator(called: &str) -> Leaf {
    let uri = Some(uri(called, "admin", OPERATOR));
    Leaf { uri, common_name: OPERATOR.to_owned(), hosts: vec![], seconds: OWN_S }
}

/// A Service's or a pod's host name as it is called from near and from far. The last one is the domain of nearly all
/// Kubernetes clusters; where it is another, the one before it is resolved all the same.
fn within(base: &str, namespace: &str) -> [String; 4] {
    [
        base.to_owned(),
        format!("{base}.{namespace}"),
        format!("{base}.{namespace}.svc"),
        format!("{base}.{namespace}.svc.cluster.local"),
    ]
}

fn host_of(address: &str) -> Option<String> {
    let (host, _) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| host.to_owned())
}

/// `dynamo:/CLUSTER/ROLE/NAME`, as docs/SECURITY.md has it.
pub(super) fn uri(cluster: &str, role: &str, name: &str) -> String {
    format!("dynamo:/{}/{role}/{}", escape(cluster), escape(name))
}

/// The URI of a certificate that all nodes share.
pub fn any_node(cluster: &str) -> String {
    format!("dynamo:/{}/node/*", escape(cluster))
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(byte.into());
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use dynamo_crd::DynamoClusterSpec;

    use super::*;

    fn shop() -> DynamoCluster {
        let mut cluster = DynamoCluster::new("shop", DynamoClusterSpec::default());
        cluster.metadata.namespace = Some("prod".to_owned());
        cluster
    }

    #[test]
    fn a_node_is_its_pod_in_its_own_cluster_and_reached_under_its_stable_names() {
        let leaf = node(&shop(), "prod/shop/1a2b3c4d", "shop-a-0", "a");
        assert_eq!(leaf.uri.as_deref(), Some("dynamo:/prod%2Fshop%2F1a2b3c4d/node/shop-a-0"));
        for host in ["shop-a-0.shop-nodes.prod.svc", "shop.prod.svc", "shop", "localhost"] {
            assert!(leaf.hosts.iter().any(|name| name == host), "{host} in {:?}", leaf.hosts);
        }
        assert_eq!(leaf.seconds, 90 * 86_400);
    }

    #[test]
    fn an_address_for_clients_outside_is_among_the_names() {
        let mut cluster = shop();
        cluster.spec.clients.advertise = Some("{pod}.{zone}.example.com:7400".to_owned());
        assert!(node(&cluster, "c", "shop-a-0", "a").hosts.contains(&"shop-a-0.a.example.com".to_owned()));
    }

    #[test]
    fn the_operator_is_an_administrator_and_of_no_host() {
        let leaf = operator("prod/shop/1a2b3c4d");
        assert_eq!(leaf.uri.as_deref(), Some("dynamo:/prod%2Fshop%2F1a2b3c4d/admin/dynamo-operator"));
        assert!(leaf.hosts.is_empty());
    }
}
