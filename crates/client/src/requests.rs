//! What a client asks, and what it gets.

use bytes::Bytes;

/// What a get found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// None: absent or deleted. More than one: siblings, to be reconciled.
    pub values: Vec<Bytes>,
    /// For the put that follows. Empty when the key was never written.
    pub context: Bytes,
}

/// A put.
#[derive(Debug, Clone)]
pub struct Put {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// From a get or put of this key; empty when nothing was read.
    pub context: Bytes,
    /// Replicas that have to have it; None: the bucket's W.
    pub w: Option<u32>,
}

impl Put {
    /// A put that has read nothing.
    pub fn new(bucket: impl Into<String>, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { bucket: bucket.into(), key: key.into(), value: value.into(), context: Bytes::new(), w: None }
    }
}

/// A delete.
#[derive(Debug, Clone)]
pub struct Delete {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: Bytes,
    /// From a get.
    pub context: Bytes,
    /// Replicas that have to have it; None: the bucket's W.
    pub w: Option<u32>,
}

/// What a put or delete made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Covers the write and what its context covered.
    pub context: Bytes,
    /// Versions at the coordinator; above 1 the key has siblings. 0 for a delete.
    pub siblings: u32,
}
