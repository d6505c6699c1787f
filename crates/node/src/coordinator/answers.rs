//! Failures in the words of those who hear of them: what failed, what became of the data, what to do next.

use dynamo_quorum::{NotEnough, Operation, Refusal};
use dynamo_storage::StoreError;
use dynamo_version::ContextError;
use dynamo_wire::v1::{ErrorCode, ReplicaRefusal, replica_refusal::Reason};

use crate::request::Refused;

/// R or W could not be met.
pub(super) fn not_enough(error: &NotEnough) -> Refused {
    let code = match (error.operation, error.begun) {
        (Operation::Write, true) => ErrorCode::MayBeWritten,
        (Operation::Write, false) | (Operation::Read, _) => ErrorCode::NotEnoughReplicas,
    };
    Refused::new(code, error.to_string())
}

/// A write whose version was made can't be gone on with; `error` is what its last attempt came to.
pub(super) fn cut_short(error: &NotEnough, why: &str) -> Refused {
    let error = NotEnough { begun: true, ..*error };
    Refused::new(ErrorCode::MayBeWritten, format!("{error}; tried again under the newer ring: {why}"))
}

/// The coordinator's own engine could not begin the write.
pub(super) fn refused_by_store(error: &StoreError) -> Refused {
    let code = match error {
        StoreError::DiskFull | StoreError::HintsFull { .. } => ErrorCode::DiskFull,
        StoreError::Closed | StoreError::Sealed { .. } => ErrorCode::NotReady,
        StoreError::TooManySiblings { .. } => ErrorCode::TooManySiblings,
        StoreError::Overloaded => ErrorCode::Overloaded,
        _ => ErrorCode::Internal,
    };
    Refused::new(code, error.to_string())
}

/// A context that does not hold.
pub(super) fn bad_context(error: &ContextError) -> Refused {
    Refused::new(
        ErrorCode::BadContext,
        format!("{error}: nothing was written; get the key again and use the context that the get returns"),
    )
}

/// How a failed engine operation counts in a quorum.
pub fn refusal_of_store(error: &StoreError) -> Refusal {
    match error {
        StoreError::DiskFull | StoreError::DiskFailing(_) => Refusal::DiskFull,
        StoreError::HintsFull { .. } => Refusal::HintsFull,
        StoreError::Corrupt { .. } => Refusal::Corrupt,
        StoreError::Overloaded => Refusal::Overloaded,
        StoreError::Sealed { .. } => Refusal::Sealed,
        StoreError::Closed => Refusal::Stopping,
        _ => Refusal::Invalid,
    }
}

/// As a peer is told.
pub fn wire_refusal(refusal: Refusal, message: String) -> ReplicaRefusal {
    let reason = match refusal {
        Refusal::DiskFull => Reason::DiskFull,
        Refusal::HintsFull => Reason::HintsFull,
        Refusal::Overloaded | Refusal::Unreachable => Reason::Overloaded,
        Refusal::Corrupt => Reason::Corrupt,
        Refusal::Sealed => Reason::Sealed,
        Refusal::Stopping => Reason::Stopping,
        Refusal::Refilling => Reason::Refilling,
        Refusal::Invalid => Reason::Invalid,
    };
    ReplicaRefusal { reason: reason as i32, message, epoch: 0 }
}

/// As a peer told us.
pub fn refusal_of_wire(refusal: &ReplicaRefusal) -> Refusal {
    match refusal.reason() {
        Reason::DiskFull => Refusal::DiskFull,
        Reason::HintsFull => Refusal::HintsFull,
        Reason::Overloaded => Refusal::Overloaded,
        Reason::Corrupt => Refusal::Corrupt,
        Reason::Sealed | Reason::Behind => Refusal::Sealed,
        Reason::Refilling => Refusal::Refilling,
        Reason::Stopping => Refusal::Stopping,
        Reason::Invalid | Reason::Unspecified => Refusal::Invalid,
    }
}
