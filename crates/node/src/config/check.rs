//! What a configuration that could be read must hold so that a node can work with it.

use std::{fmt, ops::RangeInclusive};

use dynamo_ring::{Member, NodeId, PartitionCount, Ring, RingError};

use super::{ClusterConfig, Config, ConfigError, HIDDEN};
use crate::telemetry;

/// A day: what waits longer than that waits for ever.
const MS: u64 = 24 * 3600 * 1000;
/// A pebibyte in MiB.
const MIB: u64 = 1 << 30;
/// More than the file descriptors and memory of one machine give.
const MANY: u64 = 1_000_000;
/// The ring takes no greater one.
const WEIGHT_MAX: u64 = 1_000_000;

/// A life is a time in milliseconds; one above it has to be left, and names that are given to one start alone begin at twice
/// as much.
const LIFE_MAX: u64 = 1 << 62;

/// Something wrong with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// `section.key`
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

/// The problems found so far.
#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn demand(&mut self, holds: bool, key: &'static str, text: impl Into<String>) {
        if !holds {
            self.0.push(Problem { key, text: text.into() });
        }
    }

    fn demand_address(&mut self, key: &'static str, address: &str, example: &str) {
        let text = format!("{address:?} is no address like {example}");
        self.demand(is_host_and_port(address), key, text);
    }
}

impl Config {
    /// All that is wrong with it.
    ///
    /// # Errors
    /// One sentence for each problem.
    pub fn check(&self) -> Result<(), ConfigError> {
        let problems = self.problems();
        if problems.is_empty() {
            return Ok(());
        }
        Err(ConfigError { problems: problems.iter().map(Problem::to_string).collect() })
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut found = Problems::default();
        for (key, value, bounds) in self.numbers() {
            let text = format!("{} to {}", bounds.start(), bounds.end());
            found.demand(bounds.contains(&value), key, text);
        }
        self.check_numbers_together(&mut found);
        self.check_node(&mut found);
        self.check_cluster(&mut found);
        self.check_tls(&mut found);
        if let Err(error) = telemetry::filter(&self.log.level) {
            found.demand(false, "log.level", error);
        }
        found.0
    }

    /// Every number with its least and greatest value. The upper bounds keep sums and products of them in range.
    pub fn numbers(&self) -> Vec<(&'static str, u64, RangeInclusive<u64>)> {
        let Self { cluster, node, storage, tls, limits, timeouts, .. } = self;
        let Self { gossip, handoff, background, tombstones, runtime, .. } = self;
        vec![
            ("cluster.replication", cluster.replication.into(), 1..=16),
            ("cluster.partitions", cluster.partitions.into(), 1..=PartitionCount::MAX.into()),
            ("node.weight", node.weight.into(), 1..=WEIGHT_MAX),
            ("node.retired", node.retired, 0..=LIFE_MAX),
            ("storage.interval_ms", storage.interval_ms, 1..=MS),
            ("storage.cache_mib", storage.cache_mib, 0..=MIB),
            ("storage.memtable_mib", storage.memtable_mib, 0..=MIB),
            ("storage.reserve_mib", storage.reserve_mib, 0..=MIB),
            ("storage.hints_max_mib", storage.hints_max_mib, 0..=MIB),
            ("tls.reload_ms", tls.reload_ms, 10..=MS),
            ("storage.readers", storage.readers as u64, 0..=1024),
            ("limits.key_bytes", limits.key_bytes as u64, 16..=32_000),
            ("limits.value_bytes", limits.value_bytes as u64, 0..=64 << 20),
            ("limits.siblings_max", limits.siblings_max as u64, 1..=MANY),
            ("limits.message_bytes", limits.message_bytes as u64, 64 << 10..=1 << 30),
            ("limits.batch_items", limits.batch_items as u64, 1..=MANY),
            ("limits.connections", limits.connections as u64, 1..=MANY),
            ("limits.session_inflight", limits.session_inflight as u64, 1..=MANY),
            ("limits.inflight", limits.inflight as u64, 1..=MANY),
            ("timeouts.request_ms", timeouts.request_ms, 10..=MS),
            ("timeouts.replica_ms", timeouts.replica_ms, 1..=MS),
            ("timeouts.connect_ms", timeouts.connect_ms, 1..=MS),
            ("timeouts.hedge_ms", timeouts.hedge_ms, 0..=MS),
            ("timeouts.drain_ms", timeouts.drain_ms, 0..=MS),
            ("gossip.interval_ms", gossip.interval_ms, 10..=MS),
            ("gossip.down_after_ms", gossip.down_after_ms, 0..=MS),
            ("handoff.bytes_per_s", handoff.bytes_per_s, 1024..=1 << 40),
            ("handoff.window", handoff.window as u64, 1..=MANY),
            ("background.rate_min_bytes_per_s", background.rate_min_bytes_per_s, 1024..=1 << 40),
            ("background.rate_max_bytes_per_s", background.rate_max_bytes_per_s, 1024..=1 << 40),
            ("background.p99_target_ms", background.p99_target_ms, 1..=MS),
            ("background.p99_bearable_percent", background.p99_bearable_percent, 101..=10_000),
            ("background.compare_ms", background.compare_ms, 10..=MS),
            ("tombstones.collect_every_s", tombstones.collect_every_s, 0..=30 * 24 * 3600),
            ("runtime.threads", runtime.threads as u64, 0..=1024),
        ]
    }

    fn check_numbers_together(&self, found: &mut Problems) {
        let Self { limits, timeouts, .. } = self;
        found.demand(
            limits.message_bytes >= limits.value_bytes.saturating_add(64 << 10),
            "limits.message_bytes",
            "at least 64 KiB more than limits.value_bytes",
        );
        found.demand(timeouts.replica_ms <= timeouts.request_ms, "timeouts.replica_ms", "at most timeouts.request_ms");
    }

    fn check_node(&self, found: &mut Problems) {
        let node = &self.node;
        found.demand(
            !node.name.is_empty(),
            "node.name",
            "say which node this is, with --name: one of cluster.members, or a new one that joins them",
        );
        found.demand(!node.data_dir.as_os_str().is_empty(), "node.data_dir", "say where data and identity are kept");
        found.demand_address("node.client_listen", &node.client_listen, "127.0.0.1:7400 or localhost:7400");
        found.demand_address("node.peer_listen", &node.peer_listen, "0.0.0.0:8400");
        found.demand_address("node.http_listen", &node.http_listen, "127.0.0.1:9400 or localhost:9400");
        for (key, address) in
            [("node.advertise_client", &node.advertise_client), ("node.advertise_peer", &node.advertise_peer)]
        {
            if let Some(address) = address {
                found.demand_address(key, address, "node-1.example:7400");
            }
        }
    }

    fn check_cluster(&self, found: &mut Problems) {
        let cluster = &self.cluster;
        found.demand(
            (1..=64).contains(&cluster.name.len()) && cluster.name.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "cluster.name",
            "1 to 64 printable ASCII characters",
        );
        let secret = cluster.secret.as_deref();
        found.demand(secret != Some(""), "cluster.secret", "is empty: give one that is none, or leave the key out");
        let hidden = "is what --print-config shows instead of a secret: give the secret itself, or leave the key out";
        found.demand(secret != Some(HIDDEN), "cluster.secret", hidden);
        for seed in &cluster.seeds {
            found.demand_address("cluster.seeds", seed, "node-1.example:8400");
        }
        for retired in &cluster.retired {
            let text = format!("{:?}: a name, and a life from 1 to {LIFE_MAX}", retired.name);
            found.demand(!retired.name.is_empty() && (1..=LIFE_MAX).contains(&retired.life), "cluster.retired", text);
        }
        for member in &cluster.members {
            found.demand_address("cluster.members", &member.address, "node-1.example:8400");
            if !member.client_address.is_empty() {
                found.demand_address("cluster.members", &member.client_address, "node-1.example:7400");
            }
        }
        self.check_identity(found);
        if let Err(error) = self.first_ring() {
            let (key, text) = match &error {
                // Said by its bounds already.
                RingError::Replicas(_) => return,
                RingError::PartitionCount(_) => ("cluster.partitions", "a power of two".to_owned()),
                RingError::NoMembers => ("cluster.members", "name the members of the first ring".to_owned()),
                _ => ("cluster.members", error.to_string()),
            };
            found.demand(false, key, text);
        }
    }

    /// The ring at epoch 1: every node works out the same one.
    ///
    /// # Errors
    /// Members, N or Q that make no ring.
    pub fn first_ring(&self) -> Result<Ring, RingError> {
        let ClusterConfig { name, members, replication, partitions, .. } = &self.cluster;
        let partitions = PartitionCount::try_from(*partitions)?;
        let members = members.iter().map(|member| Member {
            id: NodeId::initial(name, &member.name),
            name: member.name.clone(),
            zone: member.zone.clone(),
            weight: member.weight,
        });
        Ring::bootstrap(*replication, partitions, members.collect())
    }
}

/// `host:port`, the host a name, an IPv4 address or an IPv6 address in brackets. Names are resolved when they are used:
/// a name server that is away is no fault of the configuration.
fn is_host_and_port(address: &str) -> bool {
    if address.parse::<std::net::SocketAddr>().is_ok() {
        return true;
    }
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let is_name = |host: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        (1..=253).contains(&host.len()) && host.bytes().all(letter)
    };
    is_name(host) && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_with_a_port_are_addresses() {
        for address in
            ["127.0.0.1:0", "[::1]:7400", "localhost:7400", "node-1.shop.svc.cluster.local:8400", "a_b:65535"]
        {
            assert!(is_host_and_port(address), "{address}");
        }
        for not in
            ["", ":", ":7400", "localhost", "a:", "a:65536", "a:+1", "::1:7400", "http://a:1", "a b:1", "a:1/", "a:1\n"]
        {
            assert!(!is_host_and_port(not), "{not}");
        }
    }

    #[test]
    fn every_number_has_bounds_and_its_default_is_within() {
        let config = Config::default();
        let numbers = config.numbers();
        for (key, value) in super::super::keys::all() {
            let bounded = numbers.iter().find(|(bounded, ..)| *bounded == key);
            let Some(number) = value.as_u64() else {
                assert!(bounded.is_none() && !value.is_number(), "{key}");
                continue;
            };
            let (_, value, bounds) = bounded.unwrap_or_else(|| panic!("{key} has no bounds"));
            assert!(*value == number && bounds.contains(value), "{key}");
        }
    }
}
