//! The table of buckets, spread by gossip (§4.8): it only grows, and of two that were created apart with one name, the same
//! one wins everywhere.

use std::collections::BTreeMap;

use dynamo_ring::NodeId;

/// What becomes of a bucket's concurrent writes (§4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BucketMode {
    /// Kept as siblings.
    Siblings,
    /// The latest wins.
    LastWriteWins,
}

/// What a bucket's rank is made of: the lower wins.
type Rank = ((u64, NodeId), BucketMode, Option<u8>, Option<u8>, bool);

/// A bucket's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// What becomes of concurrent writes.
    pub mode: BucketMode,
    /// Replicas that a read waits for, from 1; None: a majority of N (§4.5).
    pub r: Option<u8>,
    /// Replicas that a write waits for, from 1; None: a majority of N (§4.5).
    pub w: Option<u8>,
    /// Whether home replicas alone count, and no fallbacks (§4.6).
    pub strict: bool,
    /// When and where it was created: in milliseconds since the Unix epoch, and by which node. The earlier wins, then the
    /// lower id.
    pub created: (u64, NodeId),
}

impl Bucket {
    /// Whether the settings are the same, whoever created them.
    pub fn same_settings(&self, other: &Bucket) -> bool {
        (&self.name, self.mode, self.r, self.w, self.strict)
            == (&other.name, other.mode, other.r, other.w, other.strict)
    }

    fn rank(&self) -> Rank {
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

/// Buckets that can be created: the table travels whole.
pub const BUCKETS_MAX: usize = 1024;
/// Buckets at most where more than [`BUCKETS_MAX`] were created apart. Beyond that the earliest stay, the same everywhere.
const MERGED_MAX: usize = 2 * BUCKETS_MAX;

/// All buckets that a node knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BucketTable {
    buckets: BTreeMap<String, Bucket>,
}

impl BucketTable {
    /// A bucket; None: there is none of that name.
    pub fn get(&self, name: &str) -> Option<&Bucket> {
        self.buckets.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Bucket> {
        self.buckets.values()
    }

    /// Adds a bucket if its name is free and fewer than [`BUCKETS_MAX`] are there.
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
        let mut taken = Vec::new();
        for other in others {
            let is_worse = |known: &Bucket| known.rank() <= other.rank();
            if !self.buckets.get(&other.name).is_some_and(is_worse) {
                taken.push(other.name.clone());
                self.buckets.insert(other.name.clone(), other);
            }
        }
        self.keep_the_earliest();
        taken.iter().any(|name| self.buckets.contains_key(name))
    }

    /// Which ones stay must not hang on the order in which they came, or two tables would never be the same.
    fn keep_the_earliest(&mut self) {
        if self.buckets.len() > MERGED_MAX {
            let mut ranked: Vec<Bucket> = std::mem::take(&mut self.buckets).into_values().collect();
            ranked.sort_by(|one, other| (one.rank(), &one.name).cmp(&(other.rank(), &other.name)));
            ranked.truncate(MERGED_MAX);
            self.buckets = ranked.into_iter().map(|bucket| (bucket.name.clone(), bucket)).collect();
        }
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
            let quorum = |value: Option<u8>| [u8::from(value.is_some()), value.unwrap_or(0)];
            eat(&[bucket.mode as u8, u8::from(bucket.strict)]);
            eat(&quorum(bucket.r));
            eat(&quorum(bucket.w));
            eat(&bucket.created.0.to_be_bytes());
            eat(&bucket.created.1.0.to_be_bytes());
        }
        hash
    }
}
