//! What a request failed of: a code for programs, a sentence for people.

use std::fmt;

use dynamo_wire::{CODE_METADATA, v1::ErrorCode};
use tonic::Status;

use crate::nodes::untrusted;

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
    /// A change of the ring does not fit the ring as it is. Nothing was changed.
    RingConflict,
    /// No node has this name. Nothing was changed.
    UnknownNode,
    /// The node does not know who this client is, or what was shown is not enough. Nothing was written.
    NotAllowed,
    /// No TLS can be spoken with the node: one of both does not accept the other's certificate. Nothing was written.
    Untrusted,
    /// What this client is to show, or whom it is to trust, can't be read. Nothing was written.
    BadCredentials,
    /// No majority of the members answers, or not the node that was asked about: a change of the ring may or may not have
    /// been made.
    NoMajority,
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

    /// Whether another try may go better. A write that failed so may have happened all the same: see
    /// [`Error::may_have_happened`] before it is tried again.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.code,
            Code::NotReady
                | Code::Overloaded
                | Code::CoordinatorLost
                | Code::Timeout
                | Code::Unreachable
                | Code::DiskFull
                | Code::NotEnoughReplicas
                | Code::NoMajority
        )
    }

    /// Whether a write that failed so may have happened, or may become visible later. Written again as it was, it is a
    /// second version: in a bucket that keeps siblings it can bring back what somebody has superseded meanwhile, in one
    /// where the last write wins it can hide a newer value. So read the key first.
    pub fn may_have_happened(&self) -> bool {
        matches!(
            self.code,
            Code::NotEnoughReplicas | Code::CoordinatorLost | Code::Timeout | Code::Internal | Code::NoMajority
        )
    }

    pub(crate) fn from_code(code: i32, message: String) -> Self {
        let code = match ErrorCode::try_from(code).unwrap_or_default() {
            ErrorCode::InvalidArgument => Code::InvalidArgument,
            ErrorCode::UnknownBucket => Code::UnknownBucket,
            ErrorCode::BadContext => Code::BadContext,
            // Told from each other where it is decided who else is asked.
            ErrorCode::NotEnoughReplicas | ErrorCode::MayBeWritten => Code::NotEnoughReplicas,
            ErrorCode::DiskFull => Code::DiskFull,
            ErrorCode::Overloaded => Code::Overloaded,
            ErrorCode::TooManySiblings => Code::TooManySiblings,
            ErrorCode::NotReady => Code::NotReady,
            ErrorCode::BucketConflict => Code::BucketConflict,
            ErrorCode::CoordinatorLost => Code::CoordinatorLost,
            ErrorCode::NotAllowed => Code::NotAllowed,
            ErrorCode::Internal | ErrorCode::Unspecified => Code::Internal,
        };
        Self { code, message }
    }

    /// Of a unary call that only reads, or that may be made twice.
    pub(crate) fn from_status(status: &Status, endpoint: &str) -> Self {
        if let Some(error) = Self::named_by(status) {
            return error;
        }
        if status.code() == tonic::Code::Unimplemented {
            return Self::new(Code::BadEndpoint, no_node(endpoint));
        }
        if let Some(why) = dynamo_tls::refusal(status) {
            return untrusted(endpoint, &why);
        }
        let cause = cause_of(status);
        let message =
            format!("{endpoint} was lost before it answered ({cause}): a change may or may not have been made");
        Self::new(Code::CoordinatorLost, message + "; try again, or name another endpoint")
    }

    /// What the node itself said, by the name beside the status.
    pub(crate) fn named_by(status: &Status) -> Option<Self> {
        let name = status.metadata().get(CODE_METADATA).and_then(|name| name.to_str().ok());
        let code = name.and_then(ErrorCode::from_str_name)?;
        Some(Self::from_code(code as i32, status.message().to_owned()))
    }
}

/// A sentence on whoever answers, but not as a node.
pub(crate) fn no_node(endpoint: &str) -> String {
    format!(
        "{endpoint} is no node of a Dynamo cluster, or is older than this client: nothing was read or written; check the address"
    )
}

/// Why a call failed, in the words of whoever noticed it first: "connection refused", not "transport error".
pub(crate) fn cause_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    let words = match root.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => root.to_string(),
    };
    if words.is_empty() { "without a reason".to_owned() } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_node_says_in_words_that_this_client_does_not_know_is_told_on() {
        let error = Error::from_code(4711, "the moon is in the way".to_owned());
        assert_eq!((error.code, error.to_string().as_str()), (Code::Internal, "the moon is in the way"));
        assert!(error.may_have_happened());
    }

    #[test]
    fn a_status_without_a_message_has_a_cause_all_the_same() {
        assert_eq!(cause_of(&Status::unknown("")), "without a reason");
        assert_eq!(cause_of(&Status::unknown("broken")), "broken");
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(cause_of(&Status::from_error(refused.into())), "connection refused");
    }
}
