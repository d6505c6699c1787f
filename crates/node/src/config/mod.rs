//! The node's configuration: defaults, then a YAML file, then the environment, then flags.
//!
//! Every key can be given in each of the three: `storage: {durability: interval}` in the file is
//! `DYNAMO_NODE__STORAGE__DURABILITY=interval` in the environment and `--set storage.durability=interval` as a flag.
//! Unknown keys are refused in all of them. This is the one module that knows YAML: `load` puts the sources together,
//! `check` says what can't be used, `identity` which node this is, `keys` knows all keys by name, `tls` is a section of its own.

mod check;
mod identity;
mod keys;
mod load;
mod sizes;
mod tls;

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use load::{ENV_PREFIX, Setting, load};
pub use sizes::Taken;
pub use tls::{ClientAuth, TlsConfig, TlsMode};

/// All of it. See `docs/CONFIGURATION.md`, which is made from these comments' facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "sections such as `cluster:` and `node:`")]
pub struct Config {
    /// The cluster that the node belongs to.
    pub cluster: ClusterConfig,
    /// The node itself.
    pub node: NodeConfig,
    /// Its engine.
    pub storage: StorageConfig,
    /// TLS, and who may ask what.
    pub tls: TlsConfig,
    /// What clients may ask for.
    pub limits: LimitsConfig,
    /// How long things may take.
    pub timeouts: TimeoutsConfig,
    /// Membership and failure detection.
    pub gossip: GossipConfig,
    /// Hinted handoff.
    pub handoff: HandoffConfig,
    /// What goes on behind the requests.
    pub background: BackgroundConfig,
    /// Deleted keys.
    pub tombstones: TombstonesConfig,
    /// Logs.
    pub log: LogConfig,
    /// Threads.
    pub runtime: RuntimeConfig,
}

/// Same on all nodes of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a section of keys")]
pub struct ClusterConfig {
    /// Another one for each cluster: it is what tells their nodes and disks apart.
    pub name: String,
    /// Seals contexts, so that a forged one is refused. Without one it is made from the name: damage is still noticed.
    pub secret: Option<String>,
    /// N, home replicas of each key.
    pub replication: u8,
    /// Q, a power of two; fixed at creation.
    pub partitions: u32,
    /// The members of the first ring; a node that joins later is none of them. Never changed once the cluster exists.
    pub members: Vec<MemberConfig>,
    /// Addresses (host:port of peers' ports) to ask when no member answers.
    pub seeds: Vec<String>,
    /// `node.retired` of several nodes, for a configuration that they share.
    pub retired: Vec<Retired>,
}

/// A disk's life that left the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a life like {name: a, life: 1}")]
pub struct Retired {
    /// Which node's.
    pub name: String,
    /// The last one.
    pub life: u64,
}

/// A member of the first ring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a member like {name: a, zone: z, address: \"a:8400\"}")]
pub struct MemberConfig {
    /// Its stable name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Where its peers reach it, host:port; a stable DNS name rather than an IP address.
    pub address: String,
    /// Where clients reach it, until it says so itself.
    #[serde(default)]
    pub client_address: String,
    /// Its share of the load.
    #[serde(default = "one")]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

/// This node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a section of keys")]
pub struct NodeConfig {
    /// Its name in the cluster.
    pub name: String,
    /// Its zone; must be what the members list says, if that names this node.
    pub zone: String,
    /// Its share of the load when it joins; the members list says it of those that it names.
    pub weight: u32,
    /// Where its data and identity are.
    pub data_dir: PathBuf,
    /// For clients (and admin, health, reflection), host:port.
    pub client_listen: String,
    /// For peers, host:port.
    pub peer_listen: String,
    /// For /metrics, /healthz and /readyz, host:port.
    pub http_listen: String,
    /// What clients are told; default: the members list's, or `client_listen`.
    pub advertise_client: Option<String>,
    /// What peers are told; default: the members list's, or `peer_listen` of a node that the list does not name.
    pub advertise_peer: Option<String>,
    /// The last life of this node's disk that left the cluster: one that is it or older is emptied at the start. 0: none.
    pub retired: u64,
}

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// On disk.
    Fjall,
    /// Nothing outlives the process.
    Memory,
}

/// What an acknowledgement promises (§6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DurabilityKind {
    /// W replicas have it on stable storage.
    Fsync,
    /// One of them has, the others have it in their operating system's buffers.
    OneFsync,
    /// All have it in buffers; synced at an interval.
    Interval,
}

/// The engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a section of keys")]
pub struct StorageConfig {
    /// Which engine.
    pub engine: EngineKind,
    /// What an acknowledgement promises. Same on all nodes.
    pub durability: DurabilityKind,
    /// With `interval`: milliseconds between syncs.
    pub interval_ms: u64,
    /// MiB of block cache; 0: by the memory limit.
    pub cache_mib: u64,
    /// MiB of one memtable; 0: by the memory limit.
    pub memtable_mib: u64,
    /// MiB that stay free: below, writes are refused and reads go on.
    pub reserve_mib: u64,
    /// MiB of hints held for others; beyond, hints (and only hints) are refused.
    pub hints_max_mib: u64,
    /// Threads that read; 0: by the processor limit.
    pub readers: usize,
}

/// What clients may ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a section of keys")]
pub struct LimitsConfig {
    /// Bytes of a key.
    pub key_bytes: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Siblings of a key, above which a write without their context is refused.
    pub siblings_max: usize,
    /// Bytes of one message from a client.
    pub message_bytes: usize,
    /// Items of a batch.
    pub batch_items: usize,
    /// Connections of clients; one more is closed at once.
    pub connections: usize,
    /// Unanswered requests of one session.
    pub session_inflight: usize,
    /// Unfinished requests of the node.
    pub inflight: usize,
}

/// How long things may take, milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a section of keys")]
pub struct TimeoutsConfig {
    /// A request, in all.
    pub request_ms: u64,
    /// One replica's answer, before another is asked beside it.
    pub replica_ms: u64,
    /// Connecting to a peer.
    pub connect_ms: u64,
    /// A read's first answers, before one replica more is asked; 0: the observed p95.
    pub hedge_ms: u64,
    /// Finishing requests at shutdown.
    pub drain_ms: u64,
}

/// Membership and failure detection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a section of keys")]
pub struct GossipConfig {
    /// Milliseconds between rounds.
    pub interval_ms: u64,
    /// Milliseconds of suspicion after which a silent peer counts as down. So long, five seconds at most, a node that nobody
    /// answers at its start suspects itself, and takes no requests.
    pub down_after_ms: u64,
}

/// Hinted handoff.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a section of keys")]
pub struct HandoffConfig {
    /// Bytes per second to one returning node.
    pub bytes_per_s: u64,
    /// Hints to one node under way at once.
    pub window: usize,
}

/// What goes on behind the requests: partitions on their way to a new home, anti-entropy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a section of keys")]
pub struct BackgroundConfig {
    /// Bytes per second, however the foreground fares.
    pub rate_min_bytes_per_s: u64,
    /// Bytes per second, at most.
    pub rate_max_bytes_per_s: u64,
    /// The foreground's 99th percentile above which background work slows down, milliseconds.
    pub p99_target_ms: u64,
    /// What that percentile may be, in percent of what it is while background work rests.
    pub p99_bearable_percent: u64,
    /// Milliseconds between questions to another home whether it has the same.
    pub compare_ms: u64,
}

/// Deleted keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a section of keys")]
pub struct TombstonesConfig {
    /// Seconds between rounds of collecting them, at least; 0: they are never collected.
    pub collect_every_s: u64,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a section of keys")]
pub struct LogConfig {
    /// How they look.
    pub format: LogFormat,
    /// error, warn, info, debug, trace; or a filter as `tracing` takes it.
    pub level: String,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a section of keys")]
pub struct RuntimeConfig {
    /// Threads that serve requests; 0: as many as there are processors, or the limit leaves.
    pub threads: usize,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            name: "dynamo".into(),
            secret: None,
            replication: 3,
            partitions: 256,
            members: vec![],
            seeds: vec![],
            retired: vec![],
        }
    }
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            zone: String::new(),
            weight: 1,
            data_dir: "/var/lib/dynamo".into(),
            client_listen: "0.0.0.0:7400".into(),
            peer_listen: "0.0.0.0:8400".into(),
            http_listen: "0.0.0.0:9400".into(),
            advertise_client: None,
            advertise_peer: None,
            retired: 0,
        }
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            engine: EngineKind::Fjall,
            durability: DurabilityKind::Fsync,
            interval_ms: 100,
            cache_mib: 0,
            memtable_mib: 0,
            reserve_mib: 256,
            hints_max_mib: 1024,
            readers: 0,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            key_bytes: 2048,
            value_bytes: 1 << 20,
            siblings_max: 100,
            message_bytes: 16 << 20,
            batch_items: 1000,
            connections: 15_000,
            session_inflight: 1024,
            inflight: 20_000,
        }
    }
}

impl Default for TimeoutsConfig {
    fn default() -> Self {
        Self { request_ms: 5000, replica_ms: 500, connect_ms: 1000, hedge_ms: 0, drain_ms: 5000 }
    }
}

impl Default for GossipConfig {
    fn default() -> Self {
        Self { interval_ms: 1000, down_after_ms: 5000 }
    }
}

impl Default for HandoffConfig {
    fn default() -> Self {
        Self { bytes_per_s: 16 << 20, window: 64 }
    }
}

impl Default for BackgroundConfig {
    fn default() -> Self {
        Self {
            rate_min_bytes_per_s: 1 << 20,
            rate_max_bytes_per_s: 128 << 20,
            p99_target_ms: 50,
            p99_bearable_percent: 125,
            compare_ms: 1000,
        }
    }
}

impl Default for TombstonesConfig {
    fn default() -> Self {
        Self { collect_every_s: 3600 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into() }
    }
}

/// A configuration that can't be used: what is wrong, where it came from, what to do. The node was not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// One sentence each; at least one.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration can't be used:")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for ConfigError {}

impl From<String> for ConfigError {
    fn from(problem: String) -> Self {
        Self { problems: vec![problem] }
    }
}

/// What is shown of a secret.
const HIDDEN: &str = "(hidden)";

impl Config {
    /// The last life of this node's disk that left the cluster; 0: none.
    pub fn retired(&self) -> u64 {
        let shared = self.cluster.retired.iter().filter(|retired| retired.name == self.node.name);
        shared.map(|retired| retired.life).fold(self.node.retired, u64::max)
    }

    /// As YAML, the secret hidden.
    pub fn to_yaml(&self) -> String {
        let mut shown = self.clone();
        shown.cluster.secret = shown.cluster.secret.map(|_| HIDDEN.into());
        to_yaml(&shown)
    }
}

/// Reads a small YAML document of the node's own (its identity).
///
/// # Errors
/// What is wrong with it, with line and column.
pub(crate) fn from_yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_yaml::from_str(text).map_err(|error| error.to_string())
}

/// Writes a small YAML document.
pub(crate) fn to_yaml<T: Serialize>(document: &T) -> String {
    serde_yaml::to_string(document).expect("plain data can be written")
}
