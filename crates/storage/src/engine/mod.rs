//! The engine trait: an ordered, durable map with atomic batches.
//!
//! Everything above this line (records, hints, counters, group commit) is written once; an engine only has to
//! keep bytes in order. Two engines are here: [`FjallEngine`] for disks and [`MemoryEngine`] for tests and for
//! simulated nodes, held to the same promises by one shared test suite (`tests/engine_suite.rs`).
//!
//! What it does not do: it knows no record format, checks no record checksum and takes no decision about a full disk.

mod fjall;
mod journal;
mod memory;

pub use fjall::{FjallEngine, FjallSettings};
pub use memory::MemoryEngine;

use bytes::Bytes;
use std::io;

/// The key spaces of a node. A batch is atomic over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Space {
    /// Replicas: the records of the keys this node is home to.
    Data = b'd',
    /// Hints: what this node keeps for others (§4.6).
    Hints = b'h',
    /// The node's own book-keeping, and whatever the node program wants kept.
    Meta = b'm',
    /// Leaves of the hash trees over the replicas (§4.7).
    Trees = b't',
}

impl Space {
    /// All spaces, in key order.
    pub const ALL: [Space; 4] = [Space::Data, Space::Hints, Space::Meta, Space::Trees];
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub space: Space,
    /// Which key.
    pub key: Bytes,
    /// The new value; `None` removes the key.
    pub value: Option<Bytes>,
}

/// Changes that become visible and crash-safe together.
///
/// A key is changed at most once in a batch: engines may number all changes of a batch alike.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    changes: Vec<Change>,
    bytes: usize,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, space: Space, key: Bytes, value: Bytes) {
        self.bytes += key.len() + value.len();
        self.changes.push(Change { space, key, value: Some(value) });
    }

    /// Removes `key`; removing what is not there is allowed.
    pub fn delete(&mut self, space: Space, key: Bytes) {
        self.bytes += key.len();
        self.changes.push(Change { space, key, value: None });
    }

    /// Number of changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// True if there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The changes in the order they were made.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Gives the changes away.
    pub fn into_changes(self) -> Vec<Change> {
        self.changes
    }
}

/// A range of keys to read, in key order.
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    /// Where.
    pub space: Space,
    /// Only keys that begin with this.
    pub prefix: &'a [u8],
    /// Only keys greater than this one (the last of the page before).
    pub after: Option<&'a [u8]>,
    /// Only keys less than this one.
    pub until: Option<&'a [u8]>,
    /// At most so many entries.
    pub limit: usize,
    /// Stop after the entry that reaches so many bytes of keys and values; at least one entry is given.
    pub bytes_max: usize,
}

/// A page of entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and values in key order.
    pub entries: Vec<(Bytes, Bytes)>,
    /// True if the range had ended: there is nothing after the last entry.
    pub end: bool,
}

/// What the engine says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Bytes on disk (in memory for the memory engine), journals included.
    pub bytes: u64,
    /// Memtables that wait to be written out; writes slow down when there are many.
    pub flushes_waiting: usize,
    /// Number of journals.
    pub journals: usize,
}

/// Why an engine could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No space left. Nothing of the batch is promised; committed batches are untouched.
    #[error("no space left on the disk")]
    NoSpace,
    /// The engine stopped taking writes after an earlier failure; reads still work. [`Engine::reopen`] may mend it.
    #[error("the engine refuses writes after an earlier disk error")]
    Broken,
    /// The disk failed.
    #[error("disk error: {0}")]
    Io(#[source] io::Error),
    /// The stored files do not make sense.
    #[error("stored files are damaged: {0}")]
    Damaged(String),
    /// Another process has it open.
    #[error("in use by another process")]
    InUse,
}

impl From<io::Error> for EngineError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => EngineError::NoSpace,
            _ => EngineError::Io(error),
        }
    }
}

/// Reading, on the live state or on a snapshot.
pub trait Reading: Send + Sync {
    /// The value of a key. On the live state two calls may see a batch begin between them; a snapshot has no such gap.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// A page of a range.
    fn scan(&self, scan: Scan<'_>) -> Result<Page, EngineError>;
}

/// An ordered map that survives crashes.
///
/// One thread commits; any number read and one syncs at the same time.
pub trait Engine: Reading + 'static {
    /// Applies a batch atomically. On return its bytes are with the operating system: the death of this process
    /// loses nothing of it, the loss of power may. On an error the batch may or may not be found after
    /// [`Engine::reopen`], but never in part.
    fn commit(&self, batch: Batch) -> Result<(), EngineError>;

    /// Makes every batch whose `commit` returned before this call durable against loss of power. Does not hold up commits.
    fn sync(&self) -> Result<(), EngineError>;

    /// A view that later commits do not change. Keep it short-lived: the engine keeps old versions for it.
    fn snapshot(&self) -> Result<Box<dyn Reading>, EngineError>;

    /// Opens again in place after an error; reads wait meanwhile. What was committed before the error is there after it.
    fn reopen(&self) -> Result<(), EngineError>;

    /// Figures for status pages.
    fn stats(&self) -> EngineStats;

    /// Lets go of the files; everything after it is `Broken`.
    fn close(&self);
}
