//! The canonical encoding of a sibling set: what is stored, sent and digested. Equal sets have equal bytes.
//!
//! `format u8 | causality | count | siblings`. Causality: `count | (actor, counter)* | count | dot*`. An actor is its
//! node id (16 bytes, big-endian) and two varints, incarnation and key epoch. A dot: one more than its actor's place in
//! the vector, or 0 and the actor that is not there; then its counter. A sibling: `dot | timestamp (8 bytes, big-endian) |
//! 0, or 1 and length and value`. Varints are LEB128, of the least length; so are counts, lengths and counters.
//!
//! Decoding takes nothing that encoding would not give, copies no value, and never panics.

use std::fmt;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    causality::Causality,
    clock::Timestamp,
    dot::{Actor, COUNTER_MAX, Dot},
    siblings::{Payload, Sibling, SiblingSet},
};

/// The format of an encoded sibling set, its first byte, that is written, and the newest that is read.
pub const FORMAT: u8 = 1;

const TOMBSTONE: u8 = 0;
const VALUE: u8 = 1;
/// The least bytes of an actor with its counter, of a sibling, of a dot: bounds what a count may claim.
const ENTRY_BYTES_MIN: usize = 19;
const SIBLING_BYTES_MIN: usize = 11;
const DOT_BYTES_MIN: usize = 2;

/// Bytes that are no encoded state. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// They end too early.
    Truncated,
    /// They go on after the end.
    TrailingBytes,
    /// They were written by a newer version.
    NewerFormat {
        /// The format found.
        found: u8,
    },
    /// They are not in canonical form, and how: unsorted, a dot that nothing covers, a number of more bytes than it needs.
    NotCanonical(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the encoded state ends too early"),
            Self::TrailingBytes => f.write_str("the encoded state has bytes after its end"),
            Self::NewerFormat { found } => {
                write!(f, "the state has format {found}, this version reads up to {FORMAT}: upgrade this node")
            }
            Self::NotCanonical(what) => write!(f, "the encoded state is damaged: {what}"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl SiblingSet {
    /// The canonical encoding (§4.4): equal sets have equal bytes.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use dynamo_version::{DecodeError, SiblingSet};
    ///
    /// let encoded = SiblingSet::new().encode();
    /// assert_eq!(SiblingSet::decode(encoded.clone()), Ok(SiblingSet::new()));
    /// assert_eq!(SiblingSet::decode(encoded.slice(1..)), Err(DecodeError::NotCanonical("format 0")));
    /// assert_eq!(SiblingSet::decode(Bytes::new()), Err(DecodeError::Truncated));
    /// ```
    pub fn encode(&self) -> Bytes {
        let values: usize = self.siblings.iter().map(|sibling| 48 + sibling.payload.len()).sum();
        let mut out = Vec::with_capacity(8 + self.causality.encoded_len() + values);
        self.encode_into(&mut out);
        Bytes::from(out)
    }

    /// Appends the canonical encoding.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        self.causality.encode_into(out);
        put_varint(out, self.siblings.len() as u64);
        for Sibling { dot, timestamp, payload } in &self.siblings {
            self.causality.put_dot(out, dot);
            out.extend_from_slice(&timestamp.0.to_be_bytes());
            match payload {
                Payload::Tombstone => out.push(TOMBSTONE),
                Payload::Value(value) => {
                    out.push(VALUE);
                    put_varint(out, value.len() as u64);
                    out.extend_from_slice(value);
                }
            }
        }
    }

    /// Reads an encoding; values are slices of it, not copies. Never panics, whatever the bytes.
    ///
    /// # Errors
    /// The bytes are not what [`SiblingSet::encode`] gives, or a newer version wrote them.
    pub fn decode(encoded: Bytes) -> Result<Self, DecodeError> {
        let mut input = Input(&encoded);
        match input.u8()? {
            FORMAT => {}
            0 => return Err(DecodeError::NotCanonical("format 0")),
            found => return Err(DecodeError::NewerFormat { found }),
        }
        let causality = Causality::decode_from(&mut input)?;
        let count = input.count(SIBLING_BYTES_MIN)?;
        let mut set = SiblingSet { causality, siblings: smallvec::SmallVec::with_capacity(count) };
        for _ in 0..count {
            let sibling = set.get_sibling(&mut input, &encoded)?;
            if set.siblings.last().is_some_and(|last| last.dot >= sibling.dot) {
                return Err(DecodeError::NotCanonical("siblings out of order"));
            }
            set.siblings.push(sibling);
        }
        if !input.is_at_end() {
            return Err(DecodeError::TrailingBytes);
        }
        if count == 0 && !set.causality.is_empty() {
            // No write leaves such a state. Read as one, it would say "nothing there" of what was acknowledged.
            return Err(DecodeError::NotCanonical("a written key without a version"));
        }
        Ok(set)
    }

    /// Names an encoding: equal sets have equal digests, and 0 is never one (it stands for "never written"). XXH3, 64 bits:
    /// against accidents, not against those who look for two sets with one digest.
    pub fn digest(encoded: &[u8]) -> u64 {
        xxh3_64(encoded).max(1)
    }

    fn get_sibling(&self, input: &mut Input<'_>, encoded: &Bytes) -> Result<Sibling, DecodeError> {
        let dot = self.causality.get_dot(input)?;
        if !self.causality.covers(&dot) {
            return Err(DecodeError::NotCanonical("a sibling that its causality does not cover"));
        }
        let timestamp = Timestamp(input.u64()?);
        let payload = match input.u8()? {
            TOMBSTONE => Payload::Tombstone,
            VALUE => {
                let length = usize::try_from(input.varint()?).map_err(|_| DecodeError::Truncated)?;
                Payload::Value(encoded.slice_ref(input.take(length)?))
            }
            _ => return Err(DecodeError::NotCanonical("a payload of unknown kind")),
        };
        Ok(Sibling { dot, timestamp, payload })
    }
}

impl Payload {
    /// Bytes of the value; 0 for a tombstone.
    pub fn len(&self) -> usize {
        match self {
            Payload::Value(value) => value.len(),
            Payload::Tombstone => 0,
        }
    }

    /// Whether it holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Causality {
    pub(crate) fn encoded_len(&self) -> usize {
        4 + (self.vector.len() + self.cloud.len()) * 32
    }

    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        put_varint(out, self.vector.len() as u64);
        for (actor, counter) in &self.vector {
            put_actor(out, actor);
            put_varint(out, *counter);
        }
        put_varint(out, self.cloud.len() as u64);
        for dot in &self.cloud {
            self.put_dot(out, dot);
        }
    }

    pub(crate) fn decode_from(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let mut causality = Causality::default();
        for _ in 0..input.count(ENTRY_BYTES_MIN)? {
            let actor = input.actor()?;
            causality.vector.push((actor, input.counter()?));
        }
        // Looked up by index and by binary search below: sorted before anything relies on it.
        if !causality.is_normal() {
            return Err(DecodeError::NotCanonical("a version vector out of order"));
        }
        let mut cloud = smallvec::SmallVec::new();
        for _ in 0..input.count(DOT_BYTES_MIN)? {
            cloud.push(causality.get_dot(input)?);
        }
        causality.cloud = cloud;
        if causality.is_normal() { Ok(causality) } else { Err(DecodeError::NotCanonical("detached dots out of order")) }
    }

    /// `0` and the actor, or its index in the vector plus one; then the counter.
    fn put_dot(&self, out: &mut Vec<u8>, dot: &Dot) {
        match self.vector.binary_search_by(|(actor, _)| actor.cmp(&dot.actor)) {
            Ok(index) => put_varint(out, index as u64 + 1),
            Err(_) => {
                out.push(0);
                put_actor(out, &dot.actor);
            }
        }
        put_varint(out, dot.counter);
    }

    fn get_dot(&self, input: &mut Input<'_>) -> Result<Dot, DecodeError> {
        let actor = match input.varint()? {
            0 => {
                let actor = input.actor()?;
                if self.counter(&actor) > 0 {
                    return Err(DecodeError::NotCanonical("an actor spelled out that the vector has"));
                }
                actor
            }
            index => {
                let index = usize::try_from(index - 1).unwrap_or(usize::MAX);
                let entry = self.vector.get(index).ok_or(DecodeError::NotCanonical("a dot of no actor"))?;
                entry.0
            }
        };
        Ok(Dot { actor, counter: input.counter()? })
    }
}

fn put_actor(out: &mut Vec<u8>, actor: &Actor) {
    out.extend_from_slice(&actor.node.to_be_bytes());
    put_varint(out, actor.incarnation);
    put_varint(out, actor.key_epoch);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What is still to be read.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn actor(&mut self) -> Result<Actor, DecodeError> {
        let node = u128::from_be_bytes(self.array()?);
        Ok(Actor { node, incarnation: self.varint()?, key_epoch: self.varint()? })
    }

    fn counter(&mut self) -> Result<u64, DecodeError> {
        match self.varint()? {
            0 => Err(DecodeError::NotCanonical("a counter of 0")),
            counter if counter > COUNTER_MAX => Err(DecodeError::NotCanonical("a counter that no node reaches")),
            counter => Ok(counter),
        }
    }

    /// How many items follow, each of some least length: a count that cannot be true allocates nothing.
    fn count(&mut self, item_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = self.varint()?;
        if count > (self.0.len() / item_bytes_min) as u64 {
            return Err(DecodeError::Truncated);
        }
        Ok(count as usize)
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err(DecodeError::NotCanonical("a number with leading zeroes"))
                } else {
                    Ok(value)
                };
            }
        }
        Err(DecodeError::NotCanonical("a number of more than 64 bits"))
    }
}
