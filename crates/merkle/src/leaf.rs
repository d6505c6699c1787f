//! How a leaf stands on disk, in the same atomic batch as the key that changed it.
//!
//! `format u8 | depth u8 | leaf u32 | sum u64 | check u32`, big-endian. The check covers all before it, and the leaf's
//! number and the depth are part of it: a leaf that is found in the wrong place, or that was stored for another shape,
//! is told as such. A tree that cannot be loaded is built anew from its keys.

use std::fmt;

use crate::shape::{Shape, scramble};

/// The format of leaves that is written, and the newest that is read.
pub const LEAF_FORMAT: u8 = 1;
/// Bytes of an encoded leaf.
pub const LEAF_BYTES: usize = 18;

/// A stored leaf that cannot be used: build the partition's tree anew with [`Tree::build`](crate::Tree::build).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeafError {
    /// Not [`LEAF_BYTES`] long, or not what was written, or found in another leaf's place.
    Damaged,
    /// Written by a newer version.
    NewerFormat {
        /// The format found.
        found: u8,
    },
    /// Stored for a tree of another depth.
    OtherShape {
        /// The depth found.
        depth: u8,
    },
}

impl fmt::Display for LeafError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => f.write_str("a stored leaf of a hash tree is damaged: the tree must be built anew"),
            Self::NewerFormat { found } => {
                write!(f, "a stored leaf has format {found}, this version reads up to {LEAF_FORMAT}: upgrade this node")
            }
            Self::OtherShape { depth } => {
                write!(f, "a stored leaf is of a hash tree of depth {depth}: the tree must be built anew")
            }
        }
    }
}

impl std::error::Error for LeafError {}

/// Encodes a leaf's sum.
pub fn encode_leaf(shape: Shape, leaf: u32, sum: u64) -> [u8; LEAF_BYTES] {
    let mut bytes = [0; LEAF_BYTES];
    bytes[0] = LEAF_FORMAT;
    bytes[1] = shape.depth();
    bytes[2..6].copy_from_slice(&leaf.to_be_bytes());
    bytes[6..14].copy_from_slice(&sum.to_be_bytes());
    let check = check(bytes[..14].try_into().expect("fourteen bytes"));
    bytes[14..].copy_from_slice(&check.to_be_bytes());
    bytes
}

/// Decodes the sum of the leaf that was stored as number `leaf`.
pub fn decode_leaf(shape: Shape, leaf: u32, bytes: &[u8]) -> Result<u64, LeafError> {
    let bytes: &[u8; LEAF_BYTES] = bytes.try_into().map_err(|_| LeafError::Damaged)?;
    let (head, found) = bytes.split_first_chunk::<14>().expect("longer than that");
    if check(head).to_be_bytes() != found {
        return Err(LeafError::Damaged);
    }
    match (head[0], head[1]) {
        (LEAF_FORMAT, depth) if depth == shape.depth() => {}
        (LEAF_FORMAT, depth) => return Err(LeafError::OtherShape { depth }),
        (0, _) => return Err(LeafError::Damaged),
        (found, _) => return Err(LeafError::NewerFormat { found }),
    }
    if head[2..6] != leaf.to_be_bytes() {
        return Err(LeafError::Damaged);
    }
    Ok(u64::from_be_bytes(head[6..].try_into().expect("eight bytes")))
}

fn check(head: &[u8; 14]) -> u32 {
    let (first, second) = head.split_at(7);
    let word = |bytes: &[u8]| bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
    // Added so that zeroes, which disks like to leave, do not check out.
    let start = word(first).wrapping_add(0x9e37_79b9_7f4a_7c15);
    (scramble(scramble(start) ^ word(second)) >> 32) as u32
}
