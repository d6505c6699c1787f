//! Why a copy did not succeed, in words for people.

use dynamo_transfer::{Ended, Refused};

/// How a comparison with `peer` ended that brought not everything.
pub fn words(peer: &str, ended: Ended) -> String {
    match ended {
        Ended::Complete { .. } => "nothing is wrong".to_owned(),
        Ended::Partial { keys } => format!("{keys} of its keys are damaged at {peer} or could not be stored here"),
        Ended::Refused { reason, .. } => format!("{peer} {}", refused(reason)),
        Ended::Silent => format!("{peer} did not answer in time"),
        Ended::Unreachable => format!("{peer} can't be reached"),
        Ended::Outdated => "the ring turned meanwhile".to_owned(),
        Ended::Failed => "this node's disk failed or is full".to_owned(),
        Ended::TooLong => "it took too many questions".to_owned(),
        Ended::Broken(_) => format!("{peer} answered what can't be understood"),
    }
}

fn refused(reason: Refused) -> &'static str {
    match reason {
        Refused::Epoch => "goes by another epoch",
        Refused::NotServed => "does not serve it to this node",
        Refused::Sealed => "has sealed it",
        Refused::Shape => "has a hash tree of another shape",
        Refused::Busy => "has too much to do",
        Refused::DiskFull => "has a full disk",
        Refused::Failed => "could not read its store",
    }
}
