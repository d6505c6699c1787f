//! What a failed attempt at one node means for the next: whether the same request may go to another node.
//!
//! A write is sent again only when it is known that nobody has begun it. One that may have happened is not: written
//! twice it is two versions, of which the second can bring back, or hide, what somebody wrote between the two.

use dynamo_wire::v1::{ErrorCode, session_request::Request, session_response::Response};
use tokio::time::Instant;

use crate::error::{Code, Error};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    Put,
    Delete,
}

impl Kind {
    pub(crate) fn of(request: &Request) -> Self {
        match request {
            Request::Get(_) => Self::Get,
            Request::Put(_) => Self::Put,
            Request::Delete(_) => Self::Delete,
        }
    }

    /// Whether it changes nothing, and so may be asked as often as one likes.
    pub(crate) fn reads(self) -> bool {
        self == Self::Get
    }

    /// Whether this is an answer to what was asked, be it a refusal.
    pub(crate) fn is_answered_by(self, response: &Response) -> bool {
        match response {
            Response::Get(_) => self == Self::Get,
            Response::Put(_) => self == Self::Put,
            Response::Delete(_) => self == Self::Delete,
            Response::Failure(_) => true,
        }
    }

    /// What became of the data when a node may have begun the request.
    fn fate(self) -> &'static str {
        if self.reads() {
            "nothing was changed; try again"
        } else {
            "the write may or may not have happened; read the key before you write it again"
        }
    }
}

/// How long one attempt may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Until then the request has to be on its way, or another node gets it.
    pub(crate) to_send: Instant,
    /// Until then it has to be answered.
    pub(crate) to_answer: Instant,
}

/// Who may get the request after this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another node, whatever the request: nothing was begun.
    Elsewhere,
    /// Another node, if it only reads: this one may have begun it.
    IfRead,
    /// One other node, whatever the request: this one reaches too few, and has begun nothing. It may have just come back, or be
    /// cut off itself.
    OneOther,
    /// One other node, if it only reads: this one was able to answer, and its answer is bad news.
    SecondOpinion,
    /// Nobody: all would say the same.
    Nobody,
}

/// A failed attempt.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    pub(crate) next: Next,
    /// Whether the node is to be left alone for a while.
    pub(crate) avoid: bool,
}

impl Failed {
    /// The request did not leave this process.
    pub(crate) fn unsent(error: Error) -> Self {
        Self { error, next: Next::Elsewhere, avoid: true }
    }

    /// The connection ended while the request waited in the queue.
    pub(crate) fn closed_before(node: &str, why: &str) -> Self {
        let message =
            format!("{node} was lost before the request was sent ({why}): nothing was read or written; try again");
        Self::unsent(Error::new(Code::Unreachable, message))
    }

    /// The connection takes nothing.
    pub(crate) fn stalled(node: &str) -> Self {
        let message = format!(
            "{node} takes no more requests (those before this one are not read): nothing was read or written; try again later"
        );
        Self::unsent(Error::new(Code::Overloaded, message))
    }

    /// The connection ended after the request was sent.
    pub(crate) fn lost(node: &str, why: &str, kind: Kind) -> Self {
        let message = format!("{node} was lost before it answered ({why}): {}", kind.fate());
        Self { error: Error::new(Code::CoordinatorLost, message), next: Next::IfRead, avoid: true }
    }

    /// No answer to a request that was sent.
    pub(crate) fn silent(node: &str, kind: Kind) -> Self {
        let message = format!("{node} did not answer in time: {}", kind.fate());
        Self { error: Error::new(Code::Timeout, message), next: Next::IfRead, avoid: true }
    }

    /// An answer to something else.
    pub(crate) fn nonsense(node: &str, kind: Kind) -> Self {
        let message =
            format!("{node} answered something that was not asked (is it of another version?): {}", kind.fate());
        Self { error: Error::new(Code::Internal, message), next: Next::SecondOpinion, avoid: false }
    }

    /// The node's own words, and its code for them. What may be written it calls by another name than what it never began.
    pub(crate) fn answered(code: i32, message: String) -> Self {
        let begun_nothing = ErrorCode::try_from(code) == Ok(ErrorCode::NotEnoughReplicas);
        let failed = Self::refused(Error::from_code(code, message));
        if begun_nothing { Self { next: Next::OneOther, ..failed } } else { failed }
    }

    /// What was said in the node's name.
    pub(crate) fn refused(error: Error) -> Self {
        let (next, avoid) = match error.code {
            Code::NotReady | Code::Overloaded | Code::DiskFull | Code::Unreachable => (Next::Elsewhere, true),
            // One node may lag behind where certificates are being replaced.
            Code::BadEndpoint | Code::Untrusted => (Next::Elsewhere, true),
            // Not the answering node was lost, but the one to which it had sent the write on.
            Code::CoordinatorLost | Code::Timeout => (Next::IfRead, false),
            Code::NotEnoughReplicas | Code::NoMajority | Code::Internal => (Next::SecondOpinion, false),
            Code::InvalidArgument
            | Code::UnknownBucket
            | Code::BadContext
            | Code::TooManySiblings
            | Code::BucketConflict
            | Code::NotAllowed
            | Code::BadCredentials
            | Code::RingConflict
            | Code::UnknownNode => (Next::Nobody, false),
        };
        Self { error, next, avoid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: [Code; 20] = [
        Code::InvalidArgument,
        Code::UnknownBucket,
        Code::BadContext,
        Code::NotEnoughReplicas,
        Code::DiskFull,
        Code::Overloaded,
        Code::TooManySiblings,
        Code::NotReady,
        Code::BucketConflict,
        Code::CoordinatorLost,
        Code::Internal,
        Code::Unreachable,
        Code::BadEndpoint,
        Code::Timeout,
        Code::RingConflict,
        Code::UnknownNode,
        Code::NoMajority,
        Code::NotAllowed,
        Code::BadCredentials,
        Code::Untrusted,
    ];

    #[test]
    fn no_write_that_may_have_happened_goes_to_another_node() {
        for code in CODES {
            let failed = Failed::refused(Error::new(code, "no"));
            assert!(!(failed.error.may_have_happened() && failed.next == Next::Elsewhere), "{code:?}");
        }
        for failed in [
            Failed::lost("a:1", "reset", Kind::Put),
            Failed::silent("a:1", Kind::Put),
            Failed::nonsense("a:1", Kind::Put),
        ] {
            assert!(failed.error.may_have_happened());
            assert_ne!(failed.next, Next::Elsewhere);
            assert!(failed.error.message.contains("may or may not have happened"), "{}", failed.error);
        }
    }

    #[test]
    fn who_reaches_too_few_and_began_nothing_is_not_the_only_one_asked() {
        let next = |code: ErrorCode| Failed::answered(code as i32, "no".to_owned()).next;
        assert_eq!(next(ErrorCode::NotEnoughReplicas), Next::OneOther);
        assert_eq!(next(ErrorCode::MayBeWritten), Next::SecondOpinion);
        assert_eq!(next(ErrorCode::TooManySiblings), Next::Nobody);
        // A code of a newer version says nothing of what was begun.
        assert_eq!(Failed::answered(4711, "no".to_owned()).next, Next::SecondOpinion);
    }

    #[test]
    fn what_another_try_can_not_mend_is_not_tried_again() {
        for code in CODES {
            let failed = Failed::refused(Error::new(code, "no"));
            assert!(!(failed.error.is_transient() && failed.next == Next::Nobody), "{code:?}");
        }
    }
}
