//! N, R and W (§4.5), as the resource has them.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// How many nodes keep each key, and how many of them a read and a write wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::R_WITHIN_N, validation = rules::W_WITHIN_N)]
pub struct Replication {
    /// N: how many nodes keep each key, in as many zones as there are. 1 to 16, default 3. Fixed when the cluster is
    /// created.
    // Not called `n`: Kubernetes reads YAML 1.1, where that is false, also as a key.
    #[serde(rename = "factor", default = "three")]
    #[schemars(range(min = 1, max = 16))]
    pub n: u8,
    /// R: how many replicas a read waits for, in the buckets of this resource that do not say it themselves. 1 to factor;
    /// default: a majority of factor. The bucket `default`, which every cluster has, always takes a majority.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub r: Option<u8>,
    /// W: how many replicas a write waits for, in the buckets of this resource that do not say it themselves. 1 to factor;
    /// default: a majority of factor. The bucket `default`, which every cluster has, always takes a majority.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub w: Option<u8>,
    /// Whether another node may stand in for a replica that does not answer, in the buckets that do not say it
    /// themselves. With true (the default) reads and writes go on while any nodes are there. With false only the key's
    /// own replicas count: a read sees every acknowledged write if r + w is more than factor, and requests fail when too few
    /// replicas answer.
    #[serde(default = "yes")]
    pub sloppy: bool,
}

fn three() -> u8 {
    3
}

fn yes() -> bool {
    true
}

impl Default for Replication {
    fn default() -> Self {
        Self { n: three(), r: None, w: None, sloppy: yes() }
    }
}

impl Replication {
    /// More than half of N.
    pub fn majority(&self) -> u8 {
        self.n / 2 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_majorities_of_n_always_meet() {
        for n in 1..=16 {
            let majority = Replication { n, ..Replication::default() }.majority();
            assert!(majority <= n && 2 * majority > n, "n = {n}");
        }
    }
}
