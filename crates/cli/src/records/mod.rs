//! JSON lines as `load` and `verify` read them: one record a line, its key a field of it, its value the line's bytes.

pub mod lanes;
pub mod lines;
pub mod summary;

use std::{future::Future, time::Duration};

use bytes::Bytes;
use dynamo_client::{Code, Error};

/// A line, its number (from 1), and the key in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// For messages.
    pub line: u64,
    /// What the key field says.
    pub key: Bytes,
    /// The line without its newline.
    pub value: Bytes,
}

/// So often a request is tried while nodes come and go; the pause doubles from the first.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Whether the same request may succeed a little later.
fn may_pass(code: &Code) -> bool {
    matches!(
        code,
        Code::NotEnoughReplicas
            | Code::Overloaded
            | Code::NotReady
            | Code::CoordinatorLost
            | Code::Unreachable
            | Code::Timeout
    )
}

/// Tries a request again where that may help. The number says how many tries there were: a write that took more than
/// one may have happened more than once.
pub async fn insist<T, F: Future<Output = Result<T, Error>>>(
    mut request: impl FnMut() -> F,
) -> (Result<T, Error>, u32) {
    let mut pause = FIRST_PAUSE;
    for tries in 1.. {
        match request().await {
            Err(error) if tries < TRIES && may_pass(&error.code) => tokio::time::sleep(pause).await,
            ended => return (ended, tries),
        }
        pause *= 2;
    }
    unreachable!("the last try returns")
}
