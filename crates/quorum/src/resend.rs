//! What a coordinator may send of a write that has its version and met a turn of the ring half done (§4.9).
//!
//! A second version beside the first could come back as a sibling of what somebody wrote over the first: so the very write
//! is sent again, and nothing is minted. What is sent again must not bring back what was deleted and collected in between,
//! for which the ring turns once without new homes (docs/PROTOCOL.md).

use bytes::Bytes;
use dynamo_ring::NodeId;
use dynamo_version::{Dot, SiblingSet};
use smallvec::SmallVec;

/// What another attempt may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resend {
    /// The set as it was made: no tombstone can have been collected since.
    AsMade,
    /// What this home's own record has now, if it still knows the version ([`Resend::knows`]).
    FromRecord,
    /// Nothing: this node can't know whether the version was written over, deleted and collected.
    Nothing,
}

impl Resend {
    /// Tombstones are collected behind a turn that leaves all homes as they are, and a set that is sent under an epoch is
    /// refused after the next such turn. So it may be sent on within its epoch, and across one turn that changed homes.
    /// `made` and `now` are an epoch and the key's homes under it.
    pub fn of(made: (u64, &[NodeId]), now: (u64, &[NodeId]), me: NodeId) -> Resend {
        let sorted = |homes: &[NodeId]| {
            let mut homes: SmallVec<[NodeId; 4]> = homes.into();
            homes.sort();
            homes
        };
        let ((epoch, before), (present, after)) = (made, now);
        let moved = sorted(before) != sorted(after);
        if present == epoch || (present == epoch + 1 && moved) {
            Resend::AsMade
        } else if after.contains(&me) && before.contains(&me) {
            Resend::FromRecord
        } else {
            Resend::Nothing
        }
    }

    /// Whether an encoded set knows a write: it has the version, or what was written over it.
    pub fn knows(set: &Bytes, dot: Option<Dot>) -> bool {
        let set = SiblingSet::decode(set.clone());
        set.is_ok_and(|set| dot.is_none_or(|dot| set.causality().covers(&dot)))
    }
}
