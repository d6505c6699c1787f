//! The lines of a history's file: one JSON document each, in the order in which things happened.
//!
//! A write's line is in the file before the write is sent, so that the store never holds what the file does not name.
//! Times are microseconds of the machine's monotonic clock, which its processes share: a witness that is begun again on
//! the same machine goes on with the same time.

use dynamo_history::{Bucket, WriteId};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Line {
    /// A witness begins, or begins again.
    Begins {
        at: u64,
        /// Keys are named by it, so that two histories on one cluster don't meet.
        run: String,
        buckets: Vec<(String, Bucket)>,
    },
    /// A write is sent.
    Write {
        id: WriteId,
        at: u64,
        client: u8,
        key: u16,
        delete: bool,
        /// What its context came from.
        seen: Vec<WriteId>,
    },
    /// It was answered; `failed`: by an error.
    Written { id: WriteId, at: u64, failed: Option<Failed> },
    /// A read was answered.
    Read { at: u64, began: u64, client: u8, key: u16, found: Vec<WriteId>, strange: Vec<String> },
    /// A read failed.
    Unread { at: u64, began: u64, client: u8, key: u16, failed: Failed },
    /// The witness has stopped: nothing of it is under way.
    Ends { at: u64 },
    /// What a key held after all was over, and through how many nodes that was read; `differs`: they did not tell the same.
    Stands { key: u16, nodes: usize, found: Vec<WriteId>, strange: Vec<String>, differs: Option<String> },
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    pub kind: String,
    /// Whether a write may have happened all the same.
    pub maybe: bool,
    pub message: String,
}

impl From<&dynamo_client::Error> for Failed {
    fn from(error: &dynamo_client::Error) -> Self {
        let (kind, maybe) = (format!("{:?}", error.code), error.may_have_happened());
        Self { kind, maybe, message: error.message.clone() }
    }
}

/// The machine's monotonic time, microseconds.
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}
