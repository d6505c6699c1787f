//! What can go wrong with a store, worded for the person who has to do something about it.

use crate::engine::EngineError;
use crate::key::RecordKey;
use std::io;
use std::path::PathBuf;

/// Why an operation, or the opening of a store, failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Free space fell below the reserve, or the disk is full. Nothing was written; reads go on; writes are taken again
    /// by themselves when space returns.
    #[error(
        "the disk is full: the write was refused and nothing was changed; reads go on, and writes resume by themselves when space is freed"
    )]
    DiskFull,
    /// The disk reported an error. The operation may or may not be found later; it must not be counted as done.
    #[error(
        "the disk is failing ({0}): the operation cannot be counted as done; the node opens its files again by itself, and writes resume once that works; if they do not, look at the disk"
    )]
    DiskFailing(String),
    /// The bound on stored hints is reached. Only hints are refused.
    #[error(
        "the hint store holds as much as it may ({held} bytes): the hint was not stored; other writes are not affected"
    )]
    HintsFull {
        /// Bytes held.
        held: u64,
    },
    /// The key has as many siblings as it may, and the write has not read them. Nothing was changed.
    #[error(
        "the key has {siblings} siblings, the limit is {limit}: nothing was written; get the key, merge its values, and put with the context of that get"
    )]
    TooManySiblings {
        /// What the key has.
        siblings: usize,
        /// What it may have.
        limit: usize,
    },
    /// The request was sent under an epoch of the ring in which this node may no longer take requests for the partition
    /// (§4.9). Nothing was changed.
    #[error(
        "the partition is sealed here for requests of epochs before {fence}: nothing was done; ask again under the newer ring"
    )]
    Sealed {
        /// The lowest epoch that is taken.
        fence: u64,
    },
    /// The partition's fence is not the epoch that was named: this node may be its home again. Nothing was removed.
    #[error("the partition is not given up here at the epoch named (its fence is {fence}): nothing was removed")]
    Serving {
        /// The lowest epoch under which requests for the partition are taken.
        fence: u64,
    },
    /// The store's queue is full. Nothing was done.
    #[error("the node's storage queue is full: nothing was done; try again, or ask another node")]
    Overloaded,
    /// A stored record's checksum does not match. It is not taken for a missing one.
    #[error(
        "the record of {key} is damaged on this disk: it was not used, and is to be fetched again from another replica"
    )]
    Corrupt {
        /// The key, escaped.
        key: String,
        /// The record, for [`Op::Mend`](crate::Op::Mend); None if what is damaged is a key.
        record: Option<RecordKey>,
    },
    /// What a peer sent is not what it said it sent. Nothing was changed.
    #[error("the received state is damaged ({0}): nothing was changed; send it again")]
    BadState(String),
    /// The store was closed before the operation was begun, or while it waited to become durable.
    #[error("the store is closing: the operation cannot be counted as done; send it to another node")]
    Closed,
    /// The directory is held by another process.
    #[error("the data directory {} is in use by another process: stop that process, or use another directory", .0.display())]
    InUse(PathBuf),
    /// The directory was written by a newer version of this program.
    #[error("the data directory {} has format {found}, and this program knows formats up to {known}: use a newer version; nothing was changed", path.display())]
    NewerFormat {
        /// The data directory.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// The directory was written by a version before the first that was released.
    #[error("the data directory {} has format {found}, of a version that was never released, and this program reads format {known}: remove the directory and let the node be rebuilt from its replicas; nothing was changed", path.display())]
    OlderFormat {
        /// The data directory.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The format known here.
        known: u32,
    },
    /// The stored files do not make sense.
    #[error("the data directory {} is damaged: {what}; nothing was opened. Restore the file, or remove the directory and let the node be rebuilt from its replicas", path.display())]
    Damaged {
        /// The data directory.
        path: PathBuf,
        /// Which file, and what is wrong with it.
        what: String,
    },
    /// The directory cannot be made or read.
    #[error("the data directory {} cannot be used: {what}", path.display())]
    Unusable {
        /// The data directory or a file of it.
        path: PathBuf,
        /// What the system said.
        what: String,
    },
    /// A setting that makes no sense.
    #[error("{0}")]
    Settings(String),
}

impl StoreError {
    pub(crate) fn opening(path: &std::path::Path, error: EngineError) -> StoreError {
        let path = path.to_path_buf();
        match error {
            EngineError::InUse => StoreError::InUse(path),
            EngineError::Damaged(what) => StoreError::Damaged { path, what },
            EngineError::NoSpace => StoreError::Unusable { path, what: "no space left on the disk".into() },
            EngineError::Broken => StoreError::Unusable { path, what: "the engine is closed".into() },
            EngineError::Io(error) => StoreError::unusable(path, &error),
        }
    }

    pub(crate) fn unusable(path: impl Into<PathBuf>, error: &io::Error) -> StoreError {
        StoreError::Unusable { path: path.into(), what: error.to_string() }
    }

    /// What a failure while running means to those whose operations it hit.
    pub(crate) fn running(error: &EngineError) -> StoreError {
        match error {
            EngineError::NoSpace => StoreError::DiskFull,
            EngineError::Broken => StoreError::DiskFailing("writes are off after an earlier error".into()),
            other => StoreError::DiskFailing(other.to_string()),
        }
    }
}
