//! Hash trees over the keys of a partition, and the exchange that finds which keys differ (§4.7).
//!
//! Where things are: [`Tree`] is kept with each write, of a fixed [`Shape`]; [`encode_leaf`] is how the engine keeps it
//! on disk. [`Roots`] compares many partitions at once; for one that differs, an [`Initiator`] at one replica and a
//! [`Responder`] at the other find the keys. [`Message`] is what travels. [`Agreement`] tells whether all replicas have
//! the same.
//!
//! What is deliberately not here: a clock, a socket, a disk; states (only their digests); which keys count (tombstones
//! are keys like others); when and how fast to compare; the hash of a key, which the caller chooses, the same everywhere.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod agreement;
mod compare;
mod encode;
mod exchange;
mod initiator;
mod leaf;
mod message;
mod responder;
mod roots;
mod shape;
mod tree;

pub use agreement::{Agreement, Barrier, Verdict};
pub use encode::{DecodeError, FORMAT};
pub use exchange::{Cursor, Difference, KeyHash, LeafRead, PeerError, Settings};
pub use initiator::{Effect, Effects, Ending, Initiator, Progress};
pub use leaf::{LEAF_BYTES, LEAF_FORMAT, LeafError, decode_leaf, encode_leaf};
pub use message::{
    Answer, Ask, Call, Covered, ENTRIES_MAX, Entry, KEY_BYTES_MAX, KEYS_BYTES_MAX, Key, LeafDiff, LeafPage, Message,
    NODES_MAX, NodeSums, Reason, Reply, Request,
};
pub use responder::{Responder, ResponderEffect, ResponderEffects};
pub use roots::{Roots, RootsAnswer};
pub use shape::{DEPTH_MAX, FANOUT, Shape, entry_sum};
pub use tree::{LeafChange, Tree};
