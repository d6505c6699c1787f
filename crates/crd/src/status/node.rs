//! What is said of each node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A node, as the other nodes and Kubernetes see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name, which is its pod's.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Its id in the ring, a UUID. It is made of the cluster's name and its own, and stays the same when it gets another disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub id: Option<String>,
    /// Its zone.
    #[schemars(length(max = 63))]
    pub zone: String,
    /// The Kubernetes node that its pod is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub kubernetes_node: Option<String>,
    /// `Starting`, `Joining`, `Serving`, `Suspect` (some do not reach it), `Down`, `Leaving` or `Left`.
    pub state: NodeState,
    /// How many tokens it has in the ring, one for each partition that it owns.
    #[serde(default)]
    pub tokens: u32,
    /// The start of its disk that it is at: it never goes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9_007_199_254_740_991u64))]
    pub incarnation: Option<u64>,
    /// About how many hints it holds for others: rounded up to a power of ten. 0 when there are none.
    #[serde(default)]
    #[schemars(range(max = 9_007_199_254_740_991u64))]
    pub hints_about: u64,
    /// Copies of partitions that it is receiving.
    #[serde(default)]
    pub receiving: u32,
    /// `Ok`, `Full` (it refuses writes and goes on reading) or `Failing`.
    #[serde(default)]
    pub disk: DiskState,
    /// How full its volume is, in steps of five percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub disk_used_percent: Option<u32>,
    /// The image that its pod runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub image: Option<String>,
}

/// What a node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeState {
    /// Its pod is there and does not serve yet.
    Starting,
    /// It gets its part of the ring.
    Joining,
    /// It serves.
    Serving,
    /// Some do not reach it.
    Suspect,
    /// Nobody reaches it.
    Down,
    /// It hands over what it has.
    Leaving,
    /// It has nothing that is needed any more.
    Left,
}

/// What a node says of its volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum DiskState {
    /// It reads and writes.
    #[default]
    Ok,
    /// It has no room.
    Full,
    /// It fails.
    Failing,
}

impl NodeStatus {
    /// A number of hints as coarse as the status has it.
    pub fn about(hints: u64) -> u64 {
        let mut power = 1u64;
        while power < hints {
            match power.checked_mul(10) {
                Some(next) if next < 1 << 53 => power = next,
                _ => break,
            }
        }
        if hints == 0 { 0 } else { power }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_rounded_up_so_that_none_are_told_from_some() {
        for (hints, about) in
            [(0, 0), (1, 1), (2, 10), (10, 10), (11, 100), (99_999, 100_000), (u64::MAX, 1_000_000_000_000_000)]
        {
            assert_eq!(NodeStatus::about(hints), about, "{hints}");
        }
    }
}
