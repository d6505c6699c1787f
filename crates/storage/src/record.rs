//! How a record stands on disk: a head with a format version and checksums, then the sibling set's canonical encoding.
//!
//! `format u8 | own key epoch u64 | digest of the set u64 | head check u32 | sibling set`, little-endian.
//! The head check covers the head and the record's full engine key, so a record that is found under a wrong key is
//! damage as well. The digest covers the set: it is what replicas compare, and at the same time the body's checksum.

use bytes::Bytes;
use dynamo_version::SiblingSet;
use xxhash_rust::xxh3::Xxh3;

/// The record format written by this version.
pub const RECORD_FORMAT: u8 = 1;
/// Bytes before the sibling set.
pub const HEAD_BYTES: usize = 1 + 8 + 8 + 4;

/// A stored record, checked, its set not yet decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key epoch under which this node mints for the key with unbroken memory; never leaves the node (§4.4).
    pub own_epoch: Option<u64>,
    /// [`SiblingSet::digest`] of `set`.
    pub digest: u64,
    /// Canonical encoding of the sibling set.
    pub set: Bytes,
}

/// A record that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Shorter than its head.
    #[error("the record is cut short")]
    Short,
    /// Written by a newer version.
    #[error("the record has format {0}, newer than this program")]
    NewerFormat(u8),
    /// The head does not match its check, or stands under another key.
    #[error("the record's head is damaged")]
    Head,
    /// The sibling set does not match its digest.
    #[error("the record's body is damaged")]
    Body,
}

impl Record {
    /// Encodes for the place `key` (the full key in the engine).
    pub fn encode(&self, key: &[u8]) -> Bytes {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.set.len());
        bytes.push(RECORD_FORMAT);
        bytes.extend_from_slice(&self.own_epoch.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&self.digest.to_le_bytes());
        let check = head_check(&bytes, key);
        bytes.extend_from_slice(&check.to_le_bytes());
        bytes.extend_from_slice(&self.set);
        Bytes::from(bytes)
    }

    /// Decodes and checks what was found at the place `key`. The set is a slice of `bytes`, not a copy.
    pub fn decode(key: &[u8], bytes: Bytes) -> Result<Record, RecordError> {
        let Head { own_epoch, digest } = Head::decode(key, &bytes)?;
        let set = bytes.slice(HEAD_BYTES..);
        if SiblingSet::digest(&set) != digest {
            return Err(RecordError::Body);
        }
        Ok(Record { own_epoch, digest, set })
    }
}

/// What can be told of a record without reading its set, for the trees of anti-entropy (§4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// See [`Record::own_epoch`].
    pub own_epoch: Option<u64>,
    /// What the set's digest should be: the set itself was not looked at.
    pub digest: u64,
}

impl Head {
    /// Decodes and checks the head of what was found at the place `key`.
    pub fn decode(key: &[u8], bytes: &[u8]) -> Result<Head, RecordError> {
        let Some((&format, _)) = bytes.split_first() else { return Err(RecordError::Short) };
        if bytes.len() < HEAD_BYTES {
            return Err(RecordError::Short);
        }
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let check = u32::from_le_bytes(bytes[17..21].try_into().expect("four bytes"));
        if head_check(&bytes[..17], key) != check {
            return Err(RecordError::Head);
        }
        if format != RECORD_FORMAT {
            return Err(RecordError::NewerFormat(format));
        }
        let (own_epoch, digest) = (word(1), word(9));
        Ok(Head { own_epoch: (own_epoch != 0).then_some(own_epoch), digest })
    }
}

fn head_check(head: &[u8], key: &[u8]) -> u32 {
    let mut hash = Xxh3::new();
    hash.update(head);
    hash.update(key);
    hash.digest() as u32
}
