//! Buckets that the operator creates.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Replication, rules};

/// A bucket that is created once the cluster is there. What it is cannot change afterwards. Taking it out of the list
/// leaves the bucket and its data as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::BUCKET_IS_NOT_DEFAULT)]
pub struct Bucket {
    /// Its name: 1 to 64 characters of a-z A-Z 0-9 _ . and -
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_.-]+$"))]
    pub name: String,
    /// What becomes of concurrent writes to a key: `siblings` (the default) keeps all of them for the client to
    /// reconcile, `last-write-wins` keeps the latest.
    #[serde(default)]
    pub mode: BucketMode,
    /// How many replicas a read waits for: 1 to replication.factor. Default: replication.r.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub r: Option<u8>,
    /// How many replicas a write waits for: 1 to replication.factor. Default: replication.w.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub w: Option<u8>,
    /// Whether another node may stand in for a replica that does not answer. Default: replication.sloppy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sloppy: Option<bool>,
}

/// What becomes of concurrent writes to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BucketMode {
    /// All are kept, for the client to reconcile.
    #[default]
    Siblings,
    /// The latest is kept.
    LastWriteWins,
}

/// What a bucket is created with: nothing is left to a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketSettings {
    /// What becomes of concurrent writes.
    pub mode: BucketMode,
    /// Replicas that a read waits for.
    pub r: u8,
    /// Replicas that a write waits for.
    pub w: u8,
    /// Whether home replicas alone count.
    pub strict: bool,
}

impl Bucket {
    /// Its settings, with what the cluster's replication says where it says nothing itself.
    pub fn settings(&self, replication: &Replication) -> BucketSettings {
        let majority = replication.majority();
        BucketSettings {
            mode: self.mode,
            r: self.r.or(replication.r).unwrap_or(majority),
            w: self.w.or(replication.w).unwrap_or(majority),
            strict: !self.sloppy.unwrap_or(replication.sloppy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_takes_from_the_cluster_what_it_does_not_say() {
        let bucket = |r, sloppy| Bucket { name: "b".into(), mode: BucketMode::Siblings, r, w: None, sloppy };
        let replication = Replication { n: 5, r: Some(2), w: None, sloppy: false };
        let settings = bucket(None, None).settings(&replication);
        assert_eq!((settings.r, settings.w, settings.strict), (2, 3, true));
        let settings = bucket(Some(1), Some(true)).settings(&replication);
        assert_eq!((settings.r, settings.w, settings.strict), (1, 3, false));
    }
}
