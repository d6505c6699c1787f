//! The resource itself.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Bucket, BucketSettings, Clients, DynamoClusterStatus, Maintenance, PodOverrides, Replication, Storage, Tls, Zone,
    quantity::{self, QuantityError},
    rules,
};

/// What is wanted of the cluster. Everything has a default: an empty spec is three nodes over the zones that there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "dynamo-k8s.io",
    version = "v1alpha1",
    kind = "DynamoCluster",
    plural = "dynamoclusters",
    singular = "dynamocluster",
    shortname = "dc",
    category = "dynamo",
    namespaced,
    doc = "A Dynamo: a key-value store that is always writable, on nodes that the operator tends.",
    derive = "PartialEq",
    status = "DynamoClusterStatus",
    validation = rules::CLUSTER_NAME,
    validation = rules::CLUSTER_NAME_OF_NODES,
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Nodes",
        type_ = "integer",
        json_path = ".spec.replicas",
        description = "How many nodes are wanted"
    ),
    printcolumn(
        name = "Ready",
        type_ = "integer",
        json_path = ".status.readyReplicas",
        description = "How many of them serve"
    ),
    printcolumn(
        name = "Available",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Available")].status"#,
        description = "Whether every key can be read and written"
    ),
    printcolumn(
        name = "Safe",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="DataSafe")].status"#,
        description = "Whether every key is on all its replicas"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.summary",
        description = "What goes on, and what it waits for"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.version",
        description = "The release that all nodes run",
        priority = 1
    ),
    printcolumn(
        name = "Epoch",
        type_ = "integer",
        json_path = ".status.ring.epoch",
        description = "The epoch of the ring",
        priority = 1
    ),
    printcolumn(
        name = "Balance",
        type_ = "string",
        json_path = ".status.balance",
        description = "The load of the most loaded node, in parts of the mean",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::N_NEEDS_REPLICAS,
    validation = rules::REPLICAS_NEED_PARTITIONS,
    validation = rules::ZONES_NEED_REPLICAS,
    validation = rules::ZONES_DIFFER,
    validation = rules::ZONE_STAYS_WHERE_IT_IS,
    validation = rules::N_IS_FIXED,
    validation = rules::PARTITIONS_ARE_A_POWER_OF_TWO,
    validation = rules::PARTITIONS_ARE_FIXED,
    validation = rules::IMAGE_OR_VERSION,
    validation = rules::CONFIG_OF_OTHERS
)]
#[x_kube(
    validation = rules::VOLUMES_DO_NOT_SHRINK,
    validation = rules::ZONE_VOLUMES_DO_NOT_SHRINK,
    validation = rules::CLASS_IS_FIXED,
    validation = rules::ZONE_CLASS_IS_FIXED,
    validation = rules::PLAINTEXT_IS_FIXED,
    validation = rules::BUCKET_R_WITHIN_N,
    validation = rules::BUCKET_W_WITHIN_N,
    validation = rules::BUCKETS_ARE_FIXED
)]
pub struct DynamoClusterSpec {
    /// How many nodes the whole cluster has; they are spread evenly over the zones. 1 to 1000 and at least
    /// replication.factor, default 3. More: the new nodes join once they run. Fewer: nodes hand over all they have, then go.
    /// `kubectl scale` and autoscalers change it.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: u32,
    /// The zones that the nodes are spread over, up to 16. Default: those that the label topology.kubernetes.io/zone of the
    /// Kubernetes nodes shows when the cluster is created. To take one out hands over what its nodes have, then removes
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub zones: Vec<Zone>,
    /// How many nodes keep each key, and how many of them a read and a write wait for.
    #[serde(default)]
    pub replication: Replication,
    /// Into how many partitions the keys are divided: a power of two up to 65536, at least one for each node that the
    /// cluster will ever have, default 256. Take 1024 for a cluster meant to grow past 64 nodes. Fixed when the
    /// cluster is created.
    #[serde(default = "partitions")]
    #[schemars(range(min = 1, max = 65536))]
    pub partitions: u32,
    /// What an acknowledged write has survived. `fsync` (the default): w replicas have it on stable storage. `one-fsync`:
    /// one has, the others have it in memory of the operating system; a crash of any node loses nothing, a power
    /// cut of all together with the loss of one disk may. `interval`: all have it in memory and write it out ten times a
    /// second; a power cut may lose the last moment. Changing it restarts the nodes, and holds once all have.
    #[serde(default)]
    pub durability: Durability,
    /// The volume that each node keeps its data on.
    #[serde(default)]
    pub storage: Storage,
    /// The image of the nodes. Default: that of the release in `version`. Changing it restarts the nodes, a safe set at a
    /// time, and stops at the first that does not come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// The release that the nodes run, such as 0.1.0. Default: the operator's when the cluster is created; an operator
    /// that is upgraded later leaves the nodes at theirs. Changing it restarts the nodes, a safe set at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9_][A-Za-z0-9_.-]*$"))]
    pub version: Option<String>,
    /// Processor time and memory of each node, as of any container. Default: no requests and no limits. A node fits its
    /// threads and caches to its limits. Changing it restarts the nodes, a safe set at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Who may talk to the nodes, and how it is kept from others.
    #[serde(default)]
    pub tls: Tls,
    /// Requests of the people who run the cluster.
    #[serde(default)]
    pub maintenance: Maintenance,
    /// Seconds for which the machine of a volume has to be gone for good (its Kubernetes node deleted, or tainted as
    /// out of service) before the volume is given up and its node is filled anew on another machine. 0 to 604800 (a week),
    /// default 600. A machine that is only not ready is waited for without end.
    #[serde(default = "ten_minutes")]
    #[schemars(range(min = 0, max = 604_800))]
    pub replace_after_seconds: u32,
    /// What clients are promised; background work yields to it.
    #[serde(default)]
    pub slo: Slo,
    /// How clients reach the nodes.
    #[serde(default)]
    pub clients: Clients,
    /// Whether NetworkPolicies let only the cluster's own nodes reach the port that nodes use among
    /// themselves. Default true. The clients' port is open to all pods either way.
    #[serde(default = "yes")]
    pub network_policies: bool,
    /// Whether a ServiceMonitor tells the Prometheus operator to collect the nodes' metrics. Default false. Where that
    /// operator is not installed nothing is made.
    #[serde(default)]
    pub service_monitor: bool,
    /// Additions to the nodes' pods.
    #[serde(default)]
    pub pod_template: PodOverrides,
    /// Other keys of the nodes' configuration, such as limits.value_bytes: "4194304"; docs/CONFIGURATION.md has them all. Up
    /// to 64. Changing one restarts the nodes, a safe set at a time, and stops at the first that does not come back.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub config: BTreeMap<String, String>,
    /// Buckets that are created once the cluster is there, up to 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub buckets: Vec<Bucket>,
}

/// What an acknowledged write has survived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// W replicas have it on stable storage.
    #[default]
    Fsync,
    /// One of them has, the others have it in their operating system's buffers (§6.1).
    OneFsync,
    /// All have it in buffers; synced at an interval.
    Interval,
}

/// What clients are promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Slo {
    /// Milliseconds within which 99 of 100 requests are to be answered, 1 to 60000, default 50. While it takes longer,
    /// transfers and comparisons slow down. Changing it restarts the nodes.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 60000))]
    pub p99_ms: u32,
}

fn three() -> u32 {
    3
}

fn partitions() -> u32 {
    256
}

fn ten_minutes() -> u32 {
    600
}

fn yes() -> bool {
    true
}

fn fifty() -> u32 {
    50
}

impl Default for Slo {
    fn default() -> Self {
        Self { p99_ms: fifty() }
    }
}

impl Default for DynamoClusterSpec {
    fn default() -> Self {
        Self {
            replicas: three(),
            zones: vec![],
            replication: Replication::default(),
            partitions: partitions(),
            durability: Durability::default(),
            storage: Storage::default(),
            image: None,
            version: None,
            resources: None,
            tls: Tls::default(),
            maintenance: Maintenance::default(),
            replace_after_seconds: ten_minutes(),
            slo: Slo::default(),
            clients: Clients::default(),
            network_policies: yes(),
            service_monitor: false,
            pod_template: PodOverrides::default(),
            config: BTreeMap::new(),
            buckets: vec![],
        }
    }
}

impl DynamoClusterSpec {
    /// Bytes of the volumes in a zone.
    ///
    /// # Errors
    /// The size is none. The API server refuses such a resource, so it was stored before this rule was there.
    pub fn volume_bytes(&self, zone: &Zone) -> Result<u64, QuantityError> {
        let own = zone.storage.as_ref().and_then(|storage| storage.size.as_deref());
        quantity::bytes(own.unwrap_or(&self.storage.size))
    }

    /// The storage class of the volumes in a zone; nothing: the default one.
    pub fn storage_class<'a>(&'a self, zone: &'a Zone) -> Option<&'a str> {
        let own = zone.storage.as_ref().and_then(|storage| storage.storage_class_name.as_deref());
        own.or(self.storage.storage_class_name.as_deref())
    }

    /// The settings of a bucket, with what the cluster says where it says nothing itself.
    pub fn bucket_settings(&self, bucket: &Bucket) -> BucketSettings {
        bucket.settings(&self.replication)
    }

    /// How many nodes each of these zones gets, in their order: as even as can be, the first ones get one more.
    pub fn nodes_by_zone(&self, zones: usize) -> Vec<u32> {
        let zones = u32::try_from(zones).expect("at most 16 zones");
        (0..zones).map(|zone| self.replicas / zones + u32::from(zone < self.replicas % zones)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ZoneStorage;

    #[test]
    fn an_empty_spec_is_the_default_one() {
        let empty: DynamoClusterSpec = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, DynamoClusterSpec::default());
        let written = serde_json::to_value(&empty).unwrap();
        assert_eq!(serde_json::from_value::<DynamoClusterSpec>(written).unwrap(), empty);
    }

    #[test]
    fn empty_parts_of_the_spec_have_the_same_defaults_as_absent_ones() {
        let parts = ["replication", "storage", "tls", "maintenance", "slo", "clients", "podTemplate"];
        let parts = parts.map(|part| format!("{part:?}: {{}}"));
        let spec: DynamoClusterSpec = serde_json::from_str(&format!("{{{}}}", parts.join(", "))).unwrap();
        assert_eq!(spec, DynamoClusterSpec::default());
    }

    #[test]
    fn nothing_unset_is_written_as_null() {
        let written = serde_json::to_string(&DynamoClusterSpec::default()).unwrap();
        assert!(!written.contains("null"), "{written}");
    }

    #[test]
    fn zones_share_the_nodes_evenly() {
        let of = |replicas, zones| DynamoClusterSpec { replicas, ..Default::default() }.nodes_by_zone(zones);
        assert_eq!(of(3, 3), [1, 1, 1]);
        assert_eq!(of(5, 3), [2, 2, 1]);
        assert_eq!(of(1, 2), [1, 0]);
        assert!(of(4, 0).is_empty());
    }

    #[test]
    fn a_zone_s_volumes_are_the_cluster_s_unless_it_says_otherwise() {
        let mut spec = DynamoClusterSpec::default();
        let mut zone = Zone::named("a");
        assert_eq!((spec.volume_bytes(&zone), spec.storage_class(&zone)), (Ok(10 << 30), None));
        spec.storage.storage_class_name = Some("slow".into());
        assert_eq!(spec.storage_class(&zone), Some("slow"));
        zone.storage = Some(ZoneStorage { size: Some("1Ti".into()), storage_class_name: Some("fast".into()) });
        assert_eq!((spec.volume_bytes(&zone), spec.storage_class(&zone)), (Ok(1 << 40), Some("fast")));
    }
}
