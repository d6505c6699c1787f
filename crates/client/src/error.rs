//! What a request failed of: a code for programs, a sentence for people.

use std::fmt;

use dynamo_wire::{CODE_METADATA, v1::ErrorCode};
use tonic::Status;

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Key, value, R or W outside their limits. Nothing was written.
    InvalidArgument,
    /// No such bucket. Nothing was written.
    UnknownBucket,
    /// The context does not hold for this key. Nothing was written.
    BadContext,
    /// Fewer than R or W replicas answered. A write may become visible later.
    NotEnoughReplicas,
    /// No space. Nothing was written.
    DiskFull,
    /// A queue is full. Nothing was written.
    Overloaded,
    /// The key has too many siblings. Nothing was written.
    TooManySiblings,
    /// The node is starting or stopping. Nothing was written.
    NotReady,
    /// The bucket exists with other settings. Nothing was changed.
    BucketConflict,
    /// The coordinator was lost: a write may or may not have happened.
    CoordinatorLost,
    /// A defect, or a damaged disk.
    Internal,
    /// No node could be reached. Nothing was written.
    Unreachable,
    /// The endpoint is no address, or no node of a Dynamo cluster. Nothing was written.
    BadEndpoint,
    /// No answer in time: a write may or may not have happened.
    Timeout,
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// For programs.
    pub code: Code,
    /// What failed, what became of the data, what to do.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl Error {
    /// An error with its sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Whether another try may go better. A put that is tried again after [`Code::CoordinatorLost`] may have happened
    /// twice: then the key has two identical versions, which a get shows as one.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.code,
            Code::NotReady
                | Code::Overloaded
                | Code::CoordinatorLost
                | Code::Unreachable
                | Code::DiskFull
                | Code::NotEnoughReplicas
        )
    }

    pub(crate) fn from_code(code: i32, message: String) -> Self {
        let code = match ErrorCode::try_from(code).unwrap_or_default() {
            ErrorCode::InvalidArgument => Code::InvalidArgument,
            ErrorCode::UnknownBucket => Code::UnknownBucket,
            ErrorCode::BadContext => Code::BadContext,
            ErrorCode::NotEnoughReplicas => Code::NotEnoughReplicas,
            ErrorCode::DiskFull => Code::DiskFull,
            ErrorCode::Overloaded => Code::Overloaded,
            ErrorCode::TooManySiblings => Code::TooManySiblings,
            ErrorCode::NotReady => Code::NotReady,
            ErrorCode::BucketConflict => Code::BucketConflict,
            ErrorCode::CoordinatorLost => Code::CoordinatorLost,
            ErrorCode::Internal | ErrorCode::Unspecified => Code::Internal,
        };
        Self { code, message }
    }

    /// Of a unary call.
    pub(crate) fn from_status(status: &Status, endpoint: &str) -> Self {
        let name = status.metadata().get(CODE_METADATA).and_then(|name| name.to_str().ok());
        if let Some(code) = name.and_then(ErrorCode::from_str_name) {
            return Self::from_code(code as i32, status.message().to_owned());
        }
        if status.code() == tonic::Code::Unimplemented {
            let message = format!(
                "{endpoint} is no node of a Dynamo cluster, or is older than this client: nothing was read or written; check the address"
            );
            return Self::new(Code::BadEndpoint, message);
        }
        Self::new(
            Code::Unreachable,
            format!("{endpoint} did not answer ({}): try again, or name another endpoint", status.message()),
        )
    }
}
