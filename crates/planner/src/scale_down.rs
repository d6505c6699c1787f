//! Fewer pods: each zone's highest numbers, each with its receipt, then its disk as the policy says.
//!
//! The receipt is written to the claim before the pod goes, since nobody can be asked after that: an operator that
//! crashes in between, or one that is installed anew, reads it there.

use crate::{
    action::{Action, Plan},
    memory::{Fact, Memory},
    names::PodId,
    observed::{ClaimView, Mark, Observed, SetView},
    receipt::{Cleared, clear},
    scale_up::floor,
    turn::{Turn, Work},
    wanted::{Reclaim, Wanted},
    why::Why,
    zones::Shape,
};

/// How long a turn waits for pods to be gone: those on a machine that does not answer may stay for hours.
const PATIENCE_S: u64 = 120;

/// Which pods and disks can go now.
pub fn next(wanted: &Wanted, observed: &Observed, shape: &Shape, plan: &mut Plan) -> Option<Work> {
    let mut pods = Vec::new();
    for (set, view) in &observed.sets {
        for ordinal in (shape.count(set).max(floor(observed, set))..view.replicas).rev() {
            match clear(wanted, observed, &PodId::new(set, ordinal)) {
                Ok(cleared) => pods.push(cleared.pod().clone()),
                Err(why) => {
                    plan.wait(why);
                    break;
                }
            }
        }
        if floor(observed, set) > shape.count(set) {
            tell(wanted, observed, shape, set, plan);
        }
    }
    let disks = observed.claims.iter().filter(|(pod, claim)| {
        is_past(observed, shape, pod)
            && !observed.pods.contains_key(*pod)
            && (is_unmarked(shape, pod, claim) || is_deletable(wanted, shape, pod, claim))
            && clear(wanted, observed, pod).is_ok()
    });
    pods.extend(disks.map(|(pod, _)| pod.clone()));
    (!pods.is_empty()).then(|| Work::Shrink { pods: pods.into_iter().collect() })
}

/// What those still lack that are to go.
fn tell(wanted: &Wanted, observed: &Observed, shape: &Shape, set: &str, plan: &mut Plan) {
    for ordinal in shape.count(set)..floor(observed, set) {
        if let Err(why) = clear(wanted, observed, &PodId::new(set, ordinal)) {
            plan.wait(why);
        }
    }
}

/// Whether a number is above those that its StatefulSet has. One that is missing may be on its way back.
fn is_past(observed: &Observed, shape: &Shape, pod: &PodId) -> bool {
    match observed.sets.get(&pod.set) {
        Some(view) => pod.ordinal >= view.replicas,
        None => shape.zone(&pod.set).is_none(),
    }
}

/// A disk of which it was not written down yet that nobody needs it.
fn is_unmarked(shape: &Shape, pod: &PodId, claim: &ClaimView) -> bool {
    claim.mark.is_none() && !claim.deleting && !shape.wants(pod)
}

/// A disk that goes: as the policy says, or said when it left; and one that could not come back is never kept where its pod is
/// wanted.
fn is_deletable(wanted: &Wanted, shape: &Shape, pod: &PodId, claim: &ClaimView) -> bool {
    let delete = wanted.storage.on_scale_down == Reclaim::Delete;
    !claim.deleting
        && match claim.mark {
            None => false,
            Some(Mark::Left { kept, .. }) => !kept,
            Some(Mark::NeverJoined) => delete && !shape.wants(pod),
            Some(Mark::Lost) => delete || shape.wants(pod),
        }
}

/// The turn's actions. Everything is looked at once more: a pod that is wanted again, or that has no receipt any more, stays.
pub fn act(wanted: &Wanted, observed: &Observed, shape: &Shape, turn: &Turn, plan: &mut Plan) {
    let Work::Shrink { pods } = &turn.work else { return };
    for (set, view) in &observed.sets {
        let mut going = Vec::new();
        for pod in (0..view.replicas).rev().map(|ordinal| PodId::new(set, ordinal)) {
            match clear(wanted, observed, &pod) {
                Ok(cleared) if pods.contains(&pod) && !shape.wants(&pod) => going.push(cleared),
                _ => break,
            }
        }
        shrink(observed, (set, view), going, turn.id, plan);
    }
    for pod in pods.iter().filter(|pod| is_past(observed, shape, pod) && !observed.pods.contains_key(*pod)) {
        let (Some(claim), Ok(cleared)) = (observed.claims.get(pod), clear(wanted, observed, pod)) else { continue };
        if is_unmarked(shape, pod, claim) {
            mark(claim, &cleared, turn.id, plan);
        } else if is_deletable(wanted, shape, pod, claim) {
            let (pod, uid, version) = (pod.clone(), claim.uid.clone(), claim.version.clone());
            plan.act(Action::DeleteClaim { pod, uid, version, cleared, under: turn.id });
        }
    }
}

fn shrink(observed: &Observed, (set, view): (&String, &SetView), cleared: Vec<Cleared>, under: u64, plan: &mut Plan) {
    let Some(lowest) = cleared.last().map(|cleared| cleared.pod().ordinal) else { return };
    let mut marked = true;
    for cleared in &cleared {
        if let Some(claim) = observed.claims.get(cleared.pod()).filter(|claim| claim.mark != Some(cleared.mark())) {
            mark(claim, cleared, under, plan);
            marked = false;
        }
    }
    if marked && !plan.touches(set) {
        let (set, version) = (set.clone(), view.version.clone());
        plan.act(Action::ShrinkSet { set, to: lowest, version, cleared, under });
    }
}

fn mark(claim: &ClaimView, cleared: &Cleared, under: u64, plan: &mut Plan) {
    let (pod, version) = (cleared.pod().clone(), claim.version.clone());
    plan.act(Action::MarkClaim { pod, version, mark: Some(cleared.mark()), under: Some(under) });
}

/// Whether the turn is over: nothing is left to do, and the pods are gone, or have been going for long.
pub fn is_over(
    wanted: &Wanted,
    observed: &Observed,
    memory: &Memory,
    shape: &Shape,
    turn: &Turn,
    plan: &mut Plan,
) -> bool {
    let Work::Shrink { pods } = &turn.work else { return true };
    let mut left = Plan::default();
    act(wanted, observed, shape, turn, &mut left);
    if !left.actions.is_empty() {
        return false;
    }
    let going = |pod: &&PodId| is_past(observed, shape, pod) && observed.pods.contains_key(*pod);
    let going: Vec<PodId> = pods.iter().filter(going).cloned().collect();
    if going.is_empty() {
        return true;
    }
    plan.wait(Why::PodsGo { pods: going });
    memory.age(&Fact::Turn(turn.id), observed.now_s) > PATIENCE_S
}
