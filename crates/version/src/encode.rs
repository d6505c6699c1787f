//! The canonical encoding of a sibling set: what is stored, sent and digested. Equal sets have equal bytes.
//!
//! `format u8 | causality | count | siblings`. Causality: `count | (actor, counter)* | count | dot*`. An actor is its
//! node id (16 bytes, big-endian) and two varints; dots name an actor that is in the vector by its index. A sibling:
//! `dot | timestamp (8 bytes, big-endian) | 0, or 1 and length and value`. Varints are LEB128, of the least length.
//!
//! Decoding takes nothing that encoding would not give, copies no value, and never panics.

use std::fmt;

use bytes::{Buf, Bytes};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    causality::Causality,
    clock::Timestamp,
    dot::{Actor, Dot},
    siblings::{Payload, Sibling, SiblingSet},
};

/// The format that is written, and the newest that is read.
pub const FORMAT: u8 = 1;

const TOMBSTONE: u8 = 0;
const VALUE: u8 = 1;
/// The least bytes of an actor with its counter, and of a sibling: bounds what a count may claim.
const ENTRY_BYTES_MIN: usize = 19;
const SIBLING_BYTES_MIN: usize = 11;

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
    /// They are not in canonical form: unsorted, a dot that nothing covers, a number of more bytes than it needs.
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
    /// The canonical encoding.
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

    /// Reads an encoding; values are slices of it.
    pub fn decode(encoded: Bytes) -> Result<Self, DecodeError> {
        let mut input = encoded;
        match get_u8(&mut input)? {
            FORMAT => {}
            0 => return Err(DecodeError::NotCanonical("format 0")),
            found => return Err(DecodeError::NewerFormat { found }),
        }
        let causality = Causality::decode_from(&mut input)?;
        let count = get_count(&mut input, SIBLING_BYTES_MIN)?;
        let mut set = SiblingSet { causality, siblings: smallvec::SmallVec::with_capacity(count) };
        for _ in 0..count {
            let sibling = set.get_sibling(&mut input)?;
            if set.siblings.last().is_some_and(|last| last.dot >= sibling.dot) {
                return Err(DecodeError::NotCanonical("siblings out of order"));
            }
            set.siblings.push(sibling);
        }
        if input.has_remaining() { Err(DecodeError::TrailingBytes) } else { Ok(set) }
    }

    /// Names an encoding: equal sets have equal digests, and 0 is never one (it stands for "never written").
    pub fn digest(encoded: &[u8]) -> u64 {
        xxh3_64(encoded).max(1)
    }

    fn get_sibling(&self, input: &mut Bytes) -> Result<Sibling, DecodeError> {
        let dot = self.causality.get_dot(input)?;
        if !self.causality.covers(&dot) {
            return Err(DecodeError::NotCanonical("a sibling that its causality does not cover"));
        }
        let timestamp = Timestamp(input.try_get_u64().map_err(|_| DecodeError::Truncated)?);
        let payload = match get_u8(input)? {
            TOMBSTONE => Payload::Tombstone,
            VALUE => {
                let length = usize::try_from(get_varint(input)?).map_err(|_| DecodeError::Truncated)?;
                if length > input.remaining() {
                    return Err(DecodeError::Truncated);
                }
                Payload::Value(input.split_to(length))
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

    pub(crate) fn decode_from(input: &mut Bytes) -> Result<Self, DecodeError> {
        let mut causality = Causality::default();
        for _ in 0..get_count(input, ENTRY_BYTES_MIN)? {
            let actor = get_actor(input)?;
            causality.vector.push((actor, get_varint(input)?));
        }
        // Looked up by index and by binary search below: sorted before anything relies on it.
        if !causality.is_normal() {
            return Err(DecodeError::NotCanonical("a version vector out of order"));
        }
        let mut cloud = smallvec::SmallVec::new();
        for _ in 0..get_count(input, 2)? {
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

    fn get_dot(&self, input: &mut Bytes) -> Result<Dot, DecodeError> {
        let actor = match get_varint(input)? {
            0 => {
                let actor = get_actor(input)?;
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
        match get_varint(input)? {
            0 => Err(DecodeError::NotCanonical("a dot with counter 0")),
            counter => Ok(Dot { actor, counter }),
        }
    }
}

fn put_actor(out: &mut Vec<u8>, actor: &Actor) {
    out.extend_from_slice(&actor.node.to_be_bytes());
    put_varint(out, actor.incarnation);
    put_varint(out, actor.key_epoch);
}

fn get_actor(input: &mut Bytes) -> Result<Actor, DecodeError> {
    let node = input.try_get_u128().map_err(|_| DecodeError::Truncated)?;
    Ok(Actor { node, incarnation: get_varint(input)?, key_epoch: get_varint(input)? })
}

fn get_count(input: &mut Bytes, item_bytes_min: usize) -> Result<usize, DecodeError> {
    let count = get_varint(input)?;
    if count > (input.remaining() / item_bytes_min) as u64 {
        return Err(DecodeError::Truncated);
    }
    Ok(count as usize)
}

fn get_u8(input: &mut Bytes) -> Result<u8, DecodeError> {
    input.try_get_u8().map_err(|_| DecodeError::Truncated)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn get_varint(input: &mut Bytes) -> Result<u64, DecodeError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = get_u8(input)?;
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
