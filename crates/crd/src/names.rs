//! What the objects of a cluster are called, and how they are labelled: one place for the operator, its planner and the
//! command line.
//!
//! A cluster `shop` with the zones `a` and `b` has the StatefulSets `shop-a` and `shop-b`, the pods (and nodes) `shop-a-0`,
//! `shop-b-0` and so on, the Services `shop` for clients and `shop-nodes` for the nodes among themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Who applies the fields of these objects.
pub const FIELD_MANAGER: &str = "dynamo-operator";
/// The label that names the cluster.
pub const LABEL_CLUSTER: &str = "dynamo-k8s.io/cluster";
/// The label that names the zone.
pub const LABEL_ZONE: &str = "dynamo-k8s.io/zone";
/// The label of Kubernetes nodes that says in which zone they are.
pub const LABEL_NODE_ZONE: &str = "topology.kubernetes.io/zone";
/// The longest name of a cluster, which [`rules::CLUSTER_NAME`](crate::rules::CLUSTER_NAME) keeps to.
pub const CLUSTER_MAX: usize = 28;
/// The longest name of a zone in the name of a StatefulSet.
pub const ZONE_MAX: usize = 23;
/// The longest name that nodes take for their cluster.
pub const INNER_MAX: usize = 64;

/// The StatefulSet of a zone.
pub fn stateful_set(cluster: &str, zone: &str) -> String {
    format!("{cluster}-{}", dns_safe(zone))
}

/// A pod, which is also the name of its node.
pub fn pod(cluster: &str, zone: &str, ordinal: u32) -> String {
    format!("{}-{ordinal}", stateful_set(cluster, zone))
}

/// The volume claim of a pod.
pub fn volume_claim(pod: &str) -> String {
    format!("data-{pod}")
}

/// The headless Service under which nodes find each other.
pub fn nodes_service(cluster: &str) -> String {
    format!("{cluster}-nodes")
}

/// The Service for clients.
pub fn client_service(cluster: &str) -> String {
    cluster.to_owned()
}

/// The PodDisruptionBudget over all pods of the cluster.
pub fn disruption_budget(cluster: &str) -> String {
    cluster.to_owned()
}

/// The ConfigMap with what the nodes start from.
pub fn config(cluster: &str) -> String {
    format!("{cluster}-config")
}

/// The ConfigMap with what was decided at the founding and can never be worked out again.
pub fn founders(cluster: &str) -> String {
    format!("{cluster}-founders")
}

/// The Secret with the certificate authority's key: the operator's alone, mounted nowhere.
pub fn authority(cluster: &str) -> String {
    format!("{cluster}-ca")
}

/// The ConfigMap with the certificates that nodes trust.
pub fn trust(cluster: &str) -> String {
    format!("{cluster}-trust")
}

/// The Secret with the key that seals contexts.
pub fn context_key(cluster: &str) -> String {
    format!("{cluster}-secret")
}

/// The ServiceAccount of the nodes.
pub fn node_account(cluster: &str) -> String {
    format!("{cluster}-node")
}

/// The stable host name of a node.
pub fn host(cluster: &str, namespace: &str, pod: &str) -> String {
    format!("{pod}.{}.{namespace}.svc", nodes_service(cluster))
}

/// What the nodes call their cluster, so that nodes and disks of two are never mixed: with a part of the resource's uid, since
/// another may have had its name before. A namespace that is too long is cut, and told apart by a digest.
///
/// It is worked out once, when a cluster is founded, and kept from then on: disks know it.
pub fn inner(namespace: &str, cluster: &str, uid: &str) -> String {
    let life: String = uid.chars().take(8).collect();
    let whole = format!("{namespace}/{cluster}/{life}");
    if whole.len() <= INNER_MAX {
        return whole;
    }
    let end = format!("-{:08x}/{cluster}/{life}", fnv1a(whole.as_bytes()));
    let kept: String = namespace.chars().take(INNER_MAX.saturating_sub(end.len())).collect();
    kept + &end
}

/// An object: its kind and its name.
pub type Object = (&'static str, String);

/// The objects of a cluster with these zones whose names another cluster's might have, too.
pub fn objects(cluster: &str, zones: &[&str]) -> BTreeSet<Object> {
    let sets = zones.iter().map(|zone| ("StatefulSet", stateful_set(cluster, zone)));
    let named = [
        ("Service", client_service(cluster)),
        ("Service", nodes_service(cluster)),
        ("PodDisruptionBudget", disruption_budget(cluster)),
        ("ConfigMap", config(cluster)),
        ("ConfigMap", founders(cluster)),
        ("ConfigMap", trust(cluster)),
        ("Secret", authority(cluster)),
        ("Secret", context_key(cluster)),
        ("ServiceAccount", node_account(cluster)),
    ];
    sets.chain(named).collect()
}

/// An object that two clusters of a namespace both want. The one that has it keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The object.
    pub object: Object,
    /// The other cluster.
    pub other: String,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((kind, name), other) = (&self.object, &self.other);
        write!(
            f,
            "the {kind} {name} is that of the DynamoCluster {other}, too: name this cluster or its zone otherwise"
        )
    }
}

/// What a cluster and another one of its namespace, each with its zones, both want: `a` with the zone `b-c` and `a-b` with
/// the zone `c` have one StatefulSet between them. (No rule can see two resources.)
pub fn clash(cluster: &str, zones: &[&str], other: &str, other_zones: &[&str]) -> Option<Clash> {
    if cluster == other {
        return None;
    }
    let theirs = objects(other, other_zones);
    let shared = objects(cluster, zones).into_iter().find(|object| theirs.contains(object))?;
    Some(Clash { object: shared, other: other.to_owned() })
}

/// What selects the pods of a cluster, of all its zones.
pub fn selector(cluster: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "dynamo"),
        ("app.kubernetes.io/instance", cluster),
        ("app.kubernetes.io/component", "node"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The same as the scale subresource has it.
pub fn selector_text(cluster: &str) -> String {
    let pairs: Vec<_> = selector(cluster).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// The labels of an object of the cluster.
pub fn labels(cluster: &str) -> BTreeMap<String, String> {
    let mut labels = selector(cluster);
    labels.insert("app.kubernetes.io/managed-by".into(), FIELD_MANAGER.into());
    labels.insert(LABEL_CLUSTER.into(), cluster.to_owned());
    labels
}

/// The labels of an object of one zone.
pub fn zone_labels(cluster: &str, zone: &str) -> BTreeMap<String, String> {
    let mut labels = labels(cluster);
    labels.insert(LABEL_ZONE.into(), dns_safe(zone));
    labels
}

/// A zone's name as a part of names: what a label of Kubernetes nodes may say (capitals, `_`, `.`, up to 63 characters)
/// becomes a DNS label of at most [`ZONE_MAX`]. A name that is one already stays as it is; what is changed
/// ends with a digest of what it was, so that two zones stay two.
pub fn dns_safe(zone: &str) -> String {
    let is_safe = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = (1..=ZONE_MAX).contains(&zone.len())
        && zone.bytes().all(|byte| is_safe(byte) || byte == b'-')
        && !zone.starts_with('-')
        && !zone.ends_with('-');
    if is_label {
        return zone.to_owned();
    }
    let digest = format!("{:08x}", fnv1a(zone.as_bytes()));
    let kept =
        zone.bytes().map(|byte| byte.to_ascii_lowercase()).map(|byte| if is_safe(byte) { byte.into() } else { '-' });
    let kept: String = kept.take(ZONE_MAX - 1 - digest.len()).collect();
    match kept.trim_matches('-') {
        "" => digest,
        kept => format!("{kept}-{digest}"),
    }
}

/// The 32 bits of FNV-1a: names are told apart by it, and nobody gains by two that are not.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_documents_have() {
        assert_eq!(pod("shop", "a", 2), "shop-a-2");
        assert_eq!(host("shop", "prod", "shop-a-2"), "shop-a-2.shop-nodes.prod.svc");
        assert_eq!(
            selector_text("shop"),
            "app.kubernetes.io/component=node,app.kubernetes.io/instance=shop,app.kubernetes.io/name=dynamo"
        );
        assert_eq!(zone_labels("shop", "a")[LABEL_ZONE], "a");
    }

    #[test]
    fn what_a_zone_may_be_called_makes_names_that_kubernetes_takes() {
        let (long, capitals) = ("z".repeat(63), "Z".repeat(63));
        let zones = ["a", "eu-west-1a", "EU_West.1", "eu_west.1", "é", "-", "_", &long[..], &capitals[..], "0"];
        for zone in zones {
            let safe = dns_safe(zone);
            assert!((1..=ZONE_MAX).contains(&safe.len()), "{zone}: {safe}");
            assert!(
                safe.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
                "{safe}"
            );
            assert!(!safe.starts_with('-') && !safe.ends_with('-'), "{safe}");
            assert_eq!(dns_safe(&safe), safe, "a name that is safe is left as it is");
            // 28 of the cluster's name, and 11 for the revision label of pods.
            assert!(stateful_set(&"c".repeat(CLUSTER_MAX), zone).len() + 11 <= 63);
        }
        assert_eq!((dns_safe("a"), dns_safe("eu-west-1a")), ("a".into(), "eu-west-1a".into()));
    }

    #[test]
    fn rules_and_bounds_keep_to_these_lengths() {
        assert!(crate::rules::CLUSTER_NAME.rule.contains(&format!("<= {CLUSTER_MAX} ")));
        let zone = serde_json::to_value(schemars::schema_for!(crate::Zone)).unwrap();
        assert_eq!(zone["properties"]["name"]["maxLength"], ZONE_MAX);
    }

    #[test]
    fn zones_that_look_alike_stay_apart() {
        assert_ne!(dns_safe("EU_West.1"), dns_safe("eu_west.1"));
        assert_ne!(dns_safe(&format!("{}a", "z".repeat(62))), dns_safe(&format!("{}b", "z".repeat(62))));
    }

    #[test]
    fn nodes_take_what_any_cluster_is_called_inside() {
        let uid = "0f6ac0de-7f3e-3c6b-9a43-6d1a9d3f2b10";
        assert_eq!(inner("shop", "carts", uid), "shop/carts/0f6ac0de");
        // 26 letters are left to a namespace beside the longest name.
        let longest = "c".repeat(CLUSTER_MAX);
        assert_eq!(inner(&"n".repeat(26), &longest, uid), format!("{}/{longest}/0f6ac0de", "n".repeat(26)));
        let namespaces = ["n".repeat(27), format!("{}a", "n".repeat(62)), format!("{}b", "n".repeat(62))];
        let names: BTreeSet<_> = namespaces.iter().map(|namespace| inner(namespace, &longest, uid)).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        for name in names {
            assert_eq!(name.len(), INNER_MAX);
            assert!(name.starts_with("nnnnnnnnnnnnnnnnn-") && name.ends_with("/0f6ac0de"), "{name}");
        }
    }

    #[test]
    fn two_clusters_share_a_stateful_set_or_nothing() {
        // Such as the rules take, and zones that begin or end like what clusters are called.
        let clusters =
            ["a", "a-b", "a-b-c", "a-config", "a-ca", "a-node", "a-secret", "a-trust", "a-founders", "nodes-a"];
        let zones = ["b-c", "c", "b", "nodes", "ca", "0"];
        let mut shared = BTreeSet::new();
        for cluster in clusters {
            assert_eq!(clash(cluster, &zones, cluster, &zones), None, "with itself");
            for other in clusters {
                if let Some(found) = clash(cluster, &zones, other, &zones) {
                    assert_eq!(found.object.0, "StatefulSet", "{cluster} and {other}: {found}");
                    assert_eq!(clash(other, &zones, cluster, &zones).unwrap().object, found.object);
                    shared.insert((cluster, other));
                }
            }
        }
        assert!(shared.contains(&("a", "a-b")) && !shared.contains(&("a", "nodes-a")), "{shared:?}");
        let said = clash("a", &["b-c"], "a-b", &["c"]).unwrap().to_string();
        assert!(said.contains("StatefulSet a-b-c") && said.contains("DynamoCluster a-b,"), "{said}");
        // What the rule about the end of a name keeps out.
        assert_eq!(clash("a", &[], "a-nodes", &[]).unwrap().object, ("Service", "a-nodes".into()));
    }
}
