//! How keys are laid out, so that a partition, a leaf of its hash tree, and one partition key's items in sort-key order
//! are each one range.
//!
//! Data key: `partition (u16, big-endian) | hash (u16, big-endian) | bucket length (u8) | bucket | partition key, escaped
//! | 00 01 | sort key`. In the partition key a zero byte becomes `00 FF`, and `00 01` ends it: byte order of encodings is
//! then the order of (partition, hash, bucket, partition key, sort key), buckets ordered by length first. The hash is the
//! top 16 bits of XXH3 over what stands between it and the `00 01`; a tree's leaf is its first bits (§4.7), so the keys of
//! a leaf stand together, and so do the items of a partition key. Hint key: `target node (u128, big-endian) | data key`.
//!
//! The position of a key on the ring (§4.2) is not computed here: the caller knows the partition. It comes from another
//! hash, or the leaves of a partition would fill unevenly.

use bytes::Bytes;
use dynamo_ring::{NodeId, Partition};
use std::fmt;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes before the bucket's length.
const HEAD_BYTES: usize = 4;
/// Longest bucket name, bytes.
pub const BUCKET_BYTES_MAX: usize = 255;
/// Longest encoded data key, bytes: the engine's own limit is 65,535, less the hint's target and the space's tag.
pub const ENCODED_BYTES_MAX: usize = 65_000;

/// A key that cannot be stored. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The partition key is empty.
    #[error("a key must not be empty")]
    Empty,
    /// The bucket's name is empty or longer than [`BUCKET_BYTES_MAX`].
    #[error("a bucket name has 1 to 255 bytes, not {0}")]
    Bucket(usize),
    /// The whole key is longer than [`ENCODED_BYTES_MAX`].
    #[error("a key with its bucket and sort key takes {0} bytes, more than the 65000 that can be stored")]
    TooLong(usize),
    /// Bytes that are no encoded key.
    #[error("these bytes are not an encoded key")]
    Malformed,
}

/// The name of a record: partition, bucket, partition key and an optional sort key, in its encoded form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey(Bytes);

/// What a [`RecordKey`] is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyParts {
    /// The partition.
    pub partition: Partition,
    /// The bucket's name.
    pub bucket: Bytes,
    /// The partition key.
    pub key: Bytes,
    /// The sort key; empty if there is none.
    pub sort: Bytes,
}

impl RecordKey {
    /// Encodes a key. An empty sort key is the same as none.
    pub fn new(partition: Partition, bucket: &[u8], key: &[u8], sort: Option<&[u8]>) -> Result<RecordKey, KeyError> {
        if key.is_empty() {
            return Err(KeyError::Empty);
        }
        if bucket.is_empty() || bucket.len() > BUCKET_BYTES_MAX {
            return Err(KeyError::Bucket(bucket.len()));
        }
        let sort = sort.unwrap_or_default();
        let zeroes = key.iter().filter(|byte| **byte == 0).count();
        let length = HEAD_BYTES + 1 + bucket.len() + key.len() + zeroes + 2 + sort.len();
        if length > ENCODED_BYTES_MAX {
            return Err(KeyError::TooLong(length));
        }
        let mut encoded = Vec::with_capacity(length);
        encoded.extend_from_slice(&partition.0.to_be_bytes());
        encoded.extend_from_slice(&[0; 2]);
        encoded.push(bucket.len() as u8);
        encoded.extend_from_slice(bucket);
        for &byte in key {
            encoded.push(byte);
            if byte == 0 {
                encoded.push(0xFF);
            }
        }
        let hash = placing_hash(&encoded[HEAD_BYTES..]);
        encoded[2..HEAD_BYTES].copy_from_slice(&hash);
        encoded.extend_from_slice(&[0, 1]);
        encoded.extend_from_slice(sort);
        Ok(RecordKey(Bytes::from(encoded)))
    }

    /// Takes an encoded key from a peer or from the disk, and checks it. The bytes are copied: a key in the engine's memory
    /// must not hold on to the network buffer that it came in.
    pub fn decode(encoded: &[u8]) -> Result<RecordKey, KeyError> {
        if encoded.len() > ENCODED_BYTES_MAX {
            return Err(KeyError::TooLong(encoded.len()));
        }
        let (_, key_end) = split(encoded)?;
        if encoded[2..HEAD_BYTES] != placing_hash(&encoded[HEAD_BYTES..key_end]) {
            return Err(KeyError::Malformed);
        }
        Ok(RecordKey(Bytes::copy_from_slice(encoded)))
    }

    /// The encoded form: what travels between nodes and what the engine orders by.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The partition.
    pub fn partition(&self) -> Partition {
        Partition(u16::from_be_bytes([self.0[0], self.0[1]]))
    }

    /// See [`tree_hash`].
    pub fn tree_hash(&self) -> u64 {
        tree_hash(&self.0)
    }

    /// Takes the key apart.
    pub fn parts(&self) -> KeyParts {
        let (bucket_end, key_end) = split(&self.0).expect("checked when it was made");
        let escaped = &self.0[bucket_end..key_end];
        let mut key = Vec::with_capacity(escaped.len());
        let mut bytes = escaped.iter();
        while let Some(&byte) = bytes.next() {
            key.push(byte);
            if byte == 0 {
                bytes.next();
            }
        }
        KeyParts {
            partition: self.partition(),
            bucket: self.0.slice(HEAD_BYTES + 1..bucket_end),
            key: Bytes::from(key),
            sort: self.0.slice(key_end + 2..),
        }
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts();
        write!(f, "{}/{:?}/{:?}", parts.partition.0, parts.bucket, parts.key)?;
        if parts.sort.is_empty() { Ok(()) } else { write!(f, "/{:?}", parts.sort) }
    }
}

/// End of the bucket and end of the escaped partition key (where its `00 01` begins).
fn split(encoded: &[u8]) -> Result<(usize, usize), KeyError> {
    let &bucket = encoded.get(HEAD_BYTES).ok_or(KeyError::Malformed)?;
    let bucket_end = HEAD_BYTES + 1 + usize::from(bucket);
    if bucket == 0 || bucket_end >= encoded.len() {
        return Err(KeyError::Malformed);
    }
    let mut at = bucket_end;
    loop {
        match (encoded.get(at), encoded.get(at + 1)) {
            (Some(0), Some(0xFF)) => at += 2,
            (Some(0), Some(1)) if at > bucket_end => return Ok((bucket_end, at)),
            (None, _) | (Some(0), _) => return Err(KeyError::Malformed),
            (Some(_), _) => at += 1,
        }
    }
}

/// Of the bucket with its length, and the escaped partition key: not of the sort key, so that its items stand together.
fn placing_hash(bucket_and_key: &[u8]) -> [u8; 2] {
    ((xxh3_64(bucket_and_key) >> 48) as u16).to_be_bytes()
}

/// What a hash tree knows a key by: the hash that the key begins with on top, since it is what chooses the leaf, and bits
/// of the whole key below. Any bytes give a number, for peers may name any.
pub fn tree_hash(encoded_key: &[u8]) -> u64 {
    let placing = match encoded_key.get(2..HEAD_BYTES) {
        Some(hash) => u64::from(hash[0]) << 8 | u64::from(hash[1]),
        None => 0,
    };
    placing << 48 | xxh3_64(encoded_key) & ((1 << 48) - 1)
}

/// The keys of one leaf of a partition's tree: greater than the first, less than the second. None is the partition's end.
///
/// Leaves have `leaf_bits` bits, at most 16.
pub(crate) fn leaf_range(partition: Partition, leaf: u32, leaf_bits: u32) -> ([u8; 4], Option<[u8; 4]>) {
    let spare = 16 - leaf_bits;
    let head = |hash: u32| {
        let [p, q] = partition.0.to_be_bytes();
        let [h, i] = u16::try_from(hash).ok()?.to_be_bytes();
        Some([p, q, h, i])
    };
    let from = head(leaf << spare).expect("the leaf is one of the tree's");
    (from, head((leaf + 1) << spare))
}

/// The prefix of all data keys of a partition.
pub fn partition_prefix(partition: Partition) -> [u8; 2] {
    partition.0.to_be_bytes()
}

/// The prefix of a target's hints for the keys of a partition.
pub(crate) fn target_partition_prefix(target: NodeId, partition: Partition) -> [u8; 18] {
    let mut prefix = [0; 18];
    prefix[..16].copy_from_slice(&target_prefix(target));
    prefix[16..].copy_from_slice(&partition_prefix(partition));
    prefix
}

/// The partition of the key that a hint is for.
pub(crate) fn partition_of_hint(encoded: &[u8]) -> Option<Partition> {
    let (_, key) = encoded.split_first_chunk::<16>()?;
    key.first_chunk().map(|partition| Partition(u16::from_be_bytes(*partition)))
}

/// The prefix of all hints for a target.
pub fn target_prefix(target: NodeId) -> [u8; 16] {
    target.0.to_be_bytes()
}

/// The key of a hint.
pub fn hint_key(target: NodeId, key: &RecordKey) -> Bytes {
    let mut encoded = Vec::with_capacity(16 + key.0.len());
    encoded.extend_from_slice(&target_prefix(target));
    encoded.extend_from_slice(&key.0);
    Bytes::from(encoded)
}

/// Takes the key of a hint apart.
pub fn split_hint_key(encoded: &[u8]) -> Result<(NodeId, RecordKey), KeyError> {
    let (target, key) = encoded.split_first_chunk::<16>().ok_or(KeyError::Malformed)?;
    Ok((NodeId(u128::from_be_bytes(*target)), RecordKey::decode(key)?))
}
