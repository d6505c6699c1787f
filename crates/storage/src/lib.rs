//! What a node keeps on its disk: replicas, hints and book-keeping, behind one small engine trait.
//!
//! Where things are: [`engine`] the ordered map and its two engines; [`key`] and [`record`] the layout on disk;
//! [`apply`] the pure read-modify-write of a record (§4.4); [`plan`] operations into one atomic batch; [`Store`] the
//! threads, queues and group commit; [`epochs`] key epochs; [`counters`] live figures.
//!
//! What is deliberately not here: rings, quorums and delivery of hints (the caller decides what to write and when),
//! and the node's identity.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod apply;
pub mod counters;
mod directory;
pub mod engine;
pub mod epochs;
mod error;
mod highwater;
pub mod key;
pub mod plan;
pub mod record;
mod space;
mod store;

pub use counters::{Counters, DiskState, HintCount};
pub use directory::{DIRECTORY_FORMAT, DataDir};
pub use error::StoreError;
pub use key::{KeyError, KeyParts, RecordKey, tree_hash};
pub use space::{SpaceProbe, disk_probe};
pub use store::{
    Applied, Busy, Completion, Durability, HintEntry, Identity, Op, Opened, Outcome, Read, ScanEntry, Settings, Store,
    read_from,
};
