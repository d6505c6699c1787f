//! The table of buckets, spread by gossip: it only grows, and of two that were created apart with one name, the same
//! one wins everywhere.

use std::collections::BTreeMap;

use dynamo_ring::NodeId;

/// What becomes of a bucket's concurrent writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BucketMode {
    /// Kept as siblings.
    Siblings,
    /// The latest wins.
    LastWriteWins,
}

/// A bucket's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// What becomes of concurrent writes.
    pub mode: BucketMode,
    /// Replicas that a read waits for; None: a majority of N.
    pub r: Option<u8>,
    /// Replicas that a write waits for; None: a majority of N.
    pub w: Option<u8>,
    /// Whether home replicas alone count.
    pub strict: bool,
    /// When and where it was created: the earlier wins, then the lower id.
    pub created: (u64, NodeId),
}

impl Bucket {
    /// Whether the settings are the same, whoever created them.
    pub fn same_settings(&self, other: &Bucket) -> bool {
        (&self.name, self.mode, self.r, self.w, self.strict)
            == (&other.name, other.mode, other.r, other.w, other.strict)
    }

    fn rank(&self) -> impl Ord {
        (self.created, self.mode, self.r, self.w, self.strict)
    }
}

/// What came of creating a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// It is new.
    Created,
    /// It was there with the same settings.
    Same,
    /// It was there with these others; nothing was changed.
    Conflict(Bucket),
    /// The table is full; nothing was changed.
    Full,
}

/// Buckets at most: the table travels whole.
pub const BUCKETS_MAX: usize = 1024;

/// All buckets that a node knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BucketTable {
    buckets: BTreeMap<String, Bucket>,
}

impl BucketTable {
    /// A bucket.
    pub fn get(&self, name: &str) -> Option<&Bucket> {
        self.buckets.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Bucket> {
        self.buckets.values()
    }

    /// Adds a bucket if its name is free.
    pub fn create(&mut self, bucket: Bucket) -> Creation {
        match self.buckets.get(&bucket.name) {
            Some(known) if known.same_settings(&bucket) => Creation::Same,
            Some(known) => Creation::Conflict(known.clone()),
            None if self.buckets.len() >= BUCKETS_MAX => Creation::Full,
            None => {
                self.buckets.insert(bucket.name.clone(), bucket);
                Creation::Created
            }
        }
    }

    /// Takes in another node's table; returns whether anything changed. Commutative, associative, idempotent.
    pub fn merge(&mut self, others: impl IntoIterator<Item = Bucket>) -> bool {
        let mut changed = false;
        for other in others {
            match self.buckets.get(&other.name) {
                Some(known) if known.rank() <= other.rank() => continue,
                None if self.buckets.len() >= 2 * BUCKETS_MAX => continue,
                _ => {}
            }
            self.buckets.insert(other.name.clone(), other);
            changed = true;
        }
        changed
    }

    /// Names the table: equal tables have equal digests. (FNV-1a: the same on every build.)
    pub fn digest(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut eat = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            }
        };
        for bucket in self.buckets.values() {
            eat(&(bucket.name.len() as u64).to_be_bytes());
            eat(bucket.name.as_bytes());
            eat(&[bucket.mode as u8, bucket.r.unwrap_or(0), bucket.w.unwrap_or(0), u8::from(bucket.strict)]);
            eat(&bucket.created.0.to_be_bytes());
            eat(&bucket.created.1.0.to_be_bytes());
        }
        hash
    }
}
