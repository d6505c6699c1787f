//! What a cluster has promised its clients.

use serde::{Deserialize, Serialize};

/// A bucket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Whether the latest write wins, or concurrent ones stay as siblings.
    pub last_write_wins: bool,
    /// R; None: a majority.
    #[serde(default)]
    pub r: Option<u8>,
    /// W; None: a majority.
    #[serde(default)]
    pub w: Option<u8>,
    /// Whether home replicas alone count.
    pub strict: bool,
}

impl Bucket {
    /// Siblings, majorities, sloppy: what every cluster has.
    pub const DEFAULT: Self = Self { last_write_wins: false, r: None, w: None, strict: false };
    /// Siblings, majorities, home replicas alone.
    pub const STRICT: Self = Self { strict: true, ..Self::DEFAULT };
    /// The latest wins, majorities, sloppy.
    pub const LATEST: Self = Self { last_write_wins: true, ..Self::DEFAULT };

    /// R and W, where N replicas are kept.
    pub fn quorums(&self, n: u8) -> (u8, u8) {
        (self.r.unwrap_or(n / 2 + 1).min(n), self.w.unwrap_or(n / 2 + 1).min(n))
    }
}

/// What holds for all keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// How many keys there are.
    pub keys: u16,
    /// The buckets; keys go to them in turn.
    pub buckets: Vec<Bucket>,
    /// N.
    pub replication: u8,
    /// How many nodes there are.
    pub nodes: u8,
    /// Siblings that a key may have before blind writes are refused.
    pub siblings_max: u16,
    /// Whether an acknowledged write may go with a disk or a power cut under what was promised: then its loss is none.
    pub may_lose: bool,
}

impl Terms {
    /// The bucket of a key.
    pub fn bucket(&self, key: u16) -> Bucket {
        self.buckets[usize::from(key) % self.buckets.len()]
    }
}
