//! The receipt: why a pod may go for good, or a disk.
//!
//! *Invariant:* a [`Cleared`] is made here only, and no action that takes a pod or a disk away can be made without one.

use crate::{
    names::PodId,
    observed::{Mark, Observed},
    wanted::{Reclaim, Wanted},
    why::Why,
};

/// That nobody needs a pod and its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    pod: PodId,
    mark: Mark,
}

impl Cleared {
    /// Whose.
    pub fn pod(&self) -> &PodId {
        &self.pod
    }

    /// How it is known; it is written to the claim before the pod goes, since nobody can be asked after that.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// A disk that is given up while its node stays a member: replacement has seen that the others have everything.
    pub(crate) fn given_up(pod: &PodId) -> Cleared {
        Cleared { pod: pod.clone(), mark: Mark::Lost }
    }
}

/// Whether a node may go: the ring, as a majority knows it, has nothing to do with it, and it says itself that it holds
/// nothing. One that does not answer owes nothing once the register does not count it among those who hand over.
///
/// # Errors
/// What is missing.
pub fn clear(wanted: &Wanted, observed: &Observed, pod: &PodId) -> Result<Cleared, Why> {
    let ring = observed.ring.as_ref().ok_or(Why::NoNodeAnswers)?;
    if !ring.confirmed {
        return Err(Why::RingNotConfirmed);
    }
    if ring.leavers.contains(pod) {
        return Err(Why::HandsOver { pod: pod.clone() });
    }
    if ring.concerns(pod) {
        return Err(Why::StillMember { pod: pod.clone() });
    }
    let cleared = |mark| Ok(Cleared { pod: pod.clone(), mark });
    if !ring.nodes.get(pod).is_some_and(|node| node.up) {
        return cleared(silent(wanted, observed, pod));
    }
    match observed.receipts.get(pod) {
        Some(receipt) if receipt.complete => {
            let (incarnation, kept) = (receipt.incarnation, wanted.storage.on_scale_down == Reclaim::Retain);
            cleared(if ring.is_gone(pod, incarnation) { Mark::Left { incarnation, kept } } else { Mark::NeverJoined })
        }
        Some(receipt) => Err(Why::NoReceipt { pod: pod.clone(), missing: receipt.missing.clone() }),
        None => Err(Why::NoReceipt { pod: pod.clone(), missing: vec!["it was not asked yet".to_owned()] }),
    }
}

/// What is known of the disk of one that does not answer: what was written down, or that it is lost, or else nothing: the ring
/// has not heard of it.
fn silent(wanted: &Wanted, observed: &Observed, pod: &PodId) -> Mark {
    let Some(claim) = observed.claims.get(pod) else { return Mark::NeverJoined };
    let given_up = wanted.maintenance.replace.get(pod) == Some(&claim.uid);
    let gone = claim.pinned_to.as_ref().is_some_and(|host| observed.is_gone(host));
    let lost = given_up || gone || claim.lost;
    claim.mark.unwrap_or(if lost { Mark::Lost } else { Mark::NeverJoined })
}
