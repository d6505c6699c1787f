//! A disk that is lost, or given up: the pod gets an empty one at its own number, and is filled from the other replicas.
//!
//! A node's name in the ring is its pod's, so an emptied disk needs no change of the ring: it begins another life, is
//! filled, and has a vote again once it is whole. What has to be decided is only that the old disk will not be needed.

use crate::{
    action::{Action, Plan},
    memory::{Fact, Memory},
    names::PodId,
    observed::{ChangeView, Observed, RingView},
    quorum,
    receipt::Cleared,
    restarts,
    turn::{Turn, Work},
    wanted::Wanted,
    why::Why,
    zones::Shape,
};

/// How long the new disk may take to show up.
const PATIENCE_S: u64 = 600;

/// Whether a pod's disk is gone for good: it has none, Kubernetes says that it is lost, somebody deleted its claim (so that it
/// goes with the next restart), a person gives it up, or it is tied to a machine that has been gone for long enough. A machine that is only not ready may come back.
///
/// # Errors
/// It is going to be, in so many seconds.
pub fn is_lost(wanted: &Wanted, observed: &Observed, memory: &Memory, pod: &PodId) -> Result<bool, Why> {
    let Some(claim) = observed.claims.get(pod) else { return Ok(true) };
    if claim.lost || claim.deleting || wanted.maintenance.replace.get(pod) == Some(&claim.uid) {
        return Ok(true);
    }
    if has_left(observed, pod) {
        return Ok(true);
    }
    let Some(host) = claim.pinned_to.as_ref().filter(|host| observed.is_gone(host)) else { return Ok(false) };
    let gone_s = memory.age(&Fact::HostGone(host.clone()), observed.now_s);
    if gone_s >= wanted.replace_after_s {
        return Ok(true);
    }
    let (pod, host, left_s) = (pod.clone(), host.clone(), wanted.replace_after_s - gone_s);
    Err(Why::MachineGone { pod, host, left_s })
}

/// A node that runs on a disk which left the ring, where it is wanted again: it would be emptied at its next start, and is no
/// use before.
fn has_left(observed: &Observed, pod: &PodId) -> bool {
    let Some(ring) = observed.ring.as_ref().filter(|ring| ring.confirmed && !ring.concerns(pod)) else { return false };
    ring.nodes.get(pod).is_some_and(|node| node.up && ring.is_gone(pod, node.incarnation))
}

/// The next disk to give up.
pub fn next(
    wanted: &Wanted,
    observed: &Observed,
    memory: &Memory,
    shape: &Shape,
    ring: &RingView,
    plan: &mut Plan,
) -> Option<Work> {
    for (pod, claim) in &observed.claims {
        // A disk that goes by itself, as nobody runs on it, needs nothing.
        let runs = observed.pods.get(pod).is_some_and(|pod| !pod.deleting);
        if !shape.wants(pod) || (claim.deleting && !runs) {
            continue;
        }
        match is_lost(wanted, observed, memory, pod) {
            Ok(false) => {}
            Err(why) => plan.wait(why),
            Ok(true) => match check(observed, ring, pod) {
                Ok(()) => {
                    let incarnation = ring.nodes.get(pod).map_or(0, |node| node.incarnation);
                    return Some(Work::Replace { pod: pod.clone(), claim: claim.uid.clone(), incarnation });
                }
                Err(why) => plan.wait(why),
            },
        }
    }
    None
}

/// That the others have everything, and answer without it.
fn check(observed: &Observed, ring: &RingView, pod: &PodId) -> Result<(), Why> {
    may_start_anew(ring, pod)?;
    if !quorum::has_sources_without(ring, pod) {
        return Err(Why::OnlyCopies { pod: pod.clone() });
    }
    let mut absent = quorum::absent(observed);
    absent.insert(pod.clone());
    if quorum::keeps(ring, &absent) { Ok(()) } else { Err(Why::ReplacementWouldBreakQuorum { pod: pod.clone() }) }
}

/// Who joins is no home yet, and nobody relies on its disk; but where the change goes on it may be one a moment later. Who hands
/// over may have the only copy of a hint, and is waited for as long as it answers.
fn may_start_anew(ring: &RingView, pod: &PodId) -> Result<(), Why> {
    if ring.leavers.contains(pod) && ring.nodes.get(pod).is_some_and(|node| node.up) {
        return Err(Why::HandsOver { pod: pod.clone() });
    }
    let goes_on = |change: &&ChangeView| change.blocked_by.is_empty() && change.joins.contains(pod);
    match ring.change.as_ref().filter(goes_on) {
        Some(change) => Err(Why::ChangeUnderWay { id: change.id, what: "an empty disk for who joins" }),
        None => Ok(()),
    }
}

/// The turn's actions. The disk goes first: while its pod is there it is only being deleted, and the pod that comes next
/// finds none.
pub fn act(
    (wanted, observed, memory): (&Wanted, &Observed, &Memory),
    ring: &RingView,
    (turn, pod): (&Turn, &PodId),
    plan: &mut Plan,
) {
    let Work::Replace { claim: old, .. } = &turn.work else { return };
    let Some(claim) = observed.claims.get(pod).filter(|claim| claim.uid == *old) else { return };
    // Somebody else's turn left a partition lowered: it is being parked.
    if observed.sets.iter().any(|(set, view)| restarts::is_loose(observed, set, view)) {
        return;
    }
    let under = turn.id;
    if let Err(why) = check(observed, ring, pod) {
        plan.wait(why);
        return;
    }
    if !is_lost(wanted, observed, memory, pod).is_ok_and(|lost| lost) {
        return;
    }
    if !claim.deleting {
        let (uid, version) = (claim.uid.clone(), claim.version.clone());
        plan.act(Action::DeleteClaim { pod: pod.clone(), uid, version, cleared: Cleared::given_up(pod), under });
    }
    if let Some(view) = observed.pods.get(pod).filter(|pod| !pod.deleting) {
        plan.act(Action::DeletePod { pod: pod.clone(), uid: view.uid.clone(), under });
    }
}

/// Whether the turn is over: the ring knows the pod by another life, or there is nothing to give up any more. Being filled
/// takes no turn: a node that is not whole counts as absent.
pub fn is_over((wanted, observed, memory): (&Wanted, &Observed, &Memory), turn: &Turn) -> bool {
    let Work::Replace { pod, claim: old, incarnation } = &turn.work else { return true };
    match observed.claims.get(pod) {
        Some(claim) if claim.uid == *old => {
            let lost = is_lost(wanted, observed, memory, pod).is_ok_and(|lost| lost);
            let late = memory.age(&Fact::Turn(turn.id), observed.now_s) > PATIENCE_S;
            // What may not be done now is not waited for in a turn; nor a pod on a machine that does not answer.
            !lost || late || observed.ring.as_ref().is_none_or(|ring| check(observed, ring, pod).is_err())
        }
        _ => {
            let new = observed.node(pod).is_some_and(|node| node.up && node.incarnation != *incarnation);
            new || memory.age(&Fact::Turn(turn.id), observed.now_s) > PATIENCE_S
        }
    }
}
