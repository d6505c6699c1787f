//! What a node keeps on its disk: replicas, hints and book-keeping, behind one small engine trait.
//!
//! Where things are: [`engine`] the ordered map and its two engines; [`key`] and [`record`] the layout on disk;
//! [`apply`] the pure read-modify-write of a record (§4.4); `plan` operations into one atomic batch; [`Core`] the batch
//! committed and what is kept in memory of it: `trees` the hash trees (§4.7), `fences` the epochs that are still taken
//! (§4.9), [`epochs`] key epochs, [`counters`] live figures; `answer` reads; [`Store`] threads, queues and group commit.
//!
//! What is deliberately not here: rings, quorums and delivery of hints (the caller decides what to write and when),
//! and the node's identity.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod answer;
pub mod apply;
mod core;
pub mod counters;
mod directory;
pub mod engine;
pub mod epochs;
mod error;
mod fences;
mod highwater;
pub mod key;
mod live;
mod plan;
pub mod record;
mod space;
mod store;
mod table;
mod trees;

pub use crate::core::{Core, CoreSettings, OpenFacts, Opened};

pub use counters::{Counters, DiskState, HintCount};
pub use directory::{DIRECTORY_FORMAT, DataDir};
pub use error::StoreError;
pub use highwater::HighWater;
pub use key::{KeyError, KeyParts, RecordKey, tree_hash};
pub use space::{SpaceProbe, disk_probe};
pub use store::{
    Applied, Busy, Completion, Durability, HintEntry, Hinted, Identity, Op, Outcome, Read, RecordFound, ScanEntry,
    Settings, Store,
};
pub use trees::TREE_DEPTH_MAX;
