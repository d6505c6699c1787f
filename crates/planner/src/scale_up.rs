//! StatefulSets that are there and large enough: as many pods as are wanted, and never fewer than the ring has nodes.
//!
//! More pods disturb nobody, so this takes no turn. What must not happen is that a pod comes up on a disk that is being
//! taken away, or on one that left the ring before its node was told to empty it.

use std::collections::BTreeMap;

use crate::{
    action::{Action, PARKED, Plan},
    names::PodId,
    observed::{Mark, Observed, RingView, SetView},
    restarts,
    turn::Work,
    wanted::Wanted,
    why::Why,
    zones::Shape,
};

/// Plans it.
pub fn plan(wanted: &Wanted, observed: &Observed, shape: &Shape, plan: &mut Plan) {
    let retired = retired(observed);
    // While no node answers it is not known who left: nobody is told otherwise by that.
    if observed.ring.as_ref().is_some_and(|ring| is_to_be_told(observed, shape, ring, &retired)) {
        plan.act(Action::Retire(retired));
    }
    for set in shape.sets(observed) {
        match observed.sets.get(&set) {
            Some(view) => keep(wanted, observed, shape, (&set, view), plan),
            None => create(wanted, observed, shape, &set, plan),
        }
    }
}

/// The lives whose disks are to be emptied if their pods come back. It is told by the claims and by the register, so that no
/// crash forgets one.
fn retired(observed: &Observed) -> BTreeMap<PodId, u64> {
    let left = observed.claims.iter().filter_map(|(pod, claim)| match claim.mark {
        Some(Mark::Left { incarnation, .. }) if !claim.deleting => Some((pod, incarnation)),
        _ => None,
    });
    // Who still hands over may hold the only copy of a hint: it keeps its disk, whatever it is by then.
    let released = |ring: &RingView, pod: &PodId| !ring.leavers.contains(pod);
    let gone = observed.ring.iter().flat_map(|ring| {
        let lives = ring.gone.iter().map(|(pod, life)| (pod, *life));
        lives.filter(move |(pod, _)| released(ring, pod))
    });
    let mut retired = BTreeMap::new();
    for (pod, life) in left.chain(gone.filter(|(pod, _)| observed.claims.contains_key(*pod))) {
        let last = retired.entry(pod.clone()).or_insert(life);
        *last = life.max(*last);
    }
    retired
}

/// Whether nodes are to be told of lives that they were not told of: of all that leave together once the last of them has left, but
/// at once where a pod is wanted again. What nobody needs to be told any more goes with the next such write: a later disk of
/// that pod has a later life, which no earlier one concerns.
fn is_to_be_told(observed: &Observed, shape: &Shape, ring: &RingView, retired: &BTreeMap<PodId, u64>) -> bool {
    let lacks = |(pod, life): &(&PodId, &u64)| observed.retired.get(*pod).is_none_or(|told| told < *life);
    let mut lacking = retired.iter().filter(lacks).peekable();
    lacking.peek().is_some() && (ring.leavers.is_empty() || lacking.any(|(pod, _)| shape.wants(pod)))
}

/// So many pods the ring needs: its members, and those who join, leave, or still hand over.
pub fn floor(observed: &Observed, set: &str) -> u32 {
    let Some(ring) = &observed.ring else { return 0 };
    let moving = ring.change.iter().flat_map(|change| change.joins.iter().chain(&change.leaves));
    let pods = ring.members.keys().chain(moving).chain(&ring.leavers);
    above(pods.filter(|pod| pod.set == set))
}

fn above<'a>(pods: impl Iterator<Item = &'a PodId>) -> u32 {
    pods.map(|pod| pod.ordinal + 1).max().unwrap_or(0)
}

/// So many pods Kubernetes knows disks of that did not leave.
fn with_disks(observed: &Observed, set: &str) -> u32 {
    above(observed.claims_of(set).filter(|(_, claim)| claim.mark.is_none() && !claim.deleting).map(|(pod, _)| pod))
}

fn create(wanted: &Wanted, observed: &Observed, shape: &Shape, set: &str, plan: &mut Plan) {
    let zone = shape.zone(set).map(|zone| zone.name.clone());
    let zone = zone.unwrap_or_else(|| set.strip_prefix(&format!("{}-", wanted.cluster)).unwrap_or(set).to_owned());
    let there = above(observed.pods_of(set).map(|(pod, _)| pod));
    let mut replicas = floor(observed, set).max(there).max(with_disks(observed, set));
    if observed.ring.is_none() && replicas == 0 {
        replicas = observed.founders.as_ref().and_then(|founders| founders.zones.get(&zone)).copied().unwrap_or(0);
    }
    if replicas == 0 && shape.count(set) == 0 {
        return;
    }
    plan.act(Action::CreateSet {
        set: set.to_owned(),
        zone,
        replicas,
        template: wanted.template.clone(),
        storage_bytes: shape.zone(set).map_or(wanted.storage.size_bytes, |zone| zone.storage_bytes),
    });
}

fn keep(wanted: &Wanted, observed: &Observed, shape: &Shape, set: (&String, &SetView), plan: &mut Plan) {
    let (name, view) = set;
    if view.template != wanted.template {
        plan.act(Action::SetTemplate {
            set: name.clone(),
            template: wanted.template.clone(),
            version: view.version.clone(),
        });
        return;
    }
    let to = reachable(observed, shape, set, plan);
    if to > view.replicas {
        plan.act(Action::RaiseSet { set: name.clone(), to, version: view.version.clone() });
        return;
    }
    let empty = view.replicas == 0 && observed.pods_of(name).next().is_none();
    let unneeded = observed.ring.as_ref().is_some_and(|ring| ring.confirmed) && floor(observed, name) == 0;
    if shape.zone(name).is_none() && empty && unneeded {
        plan.act(Action::DeleteSet {
            set: name.clone(),
            uid: view.uid.clone(),
            version: view.version.clone(),
            orphan: false,
        });
    } else if view.partition != PARKED && is_to_be_parked(wanted, observed, set) {
        plan.act(Action::ParkPartition { set: name.clone(), version: view.version.clone() });
    }
}

/// Everybody is new; or the controller may restart somebody whose turn it is not.
fn is_to_be_parked(wanted: &Wanted, observed: &Observed, (set, view): (&String, &SetView)) -> bool {
    let new = observed.pods_of(set).all(|(_, pod)| pod.template == wanted.template && !pod.deleting);
    let restarting = observed.turn.turn.iter().any(|turn| matches!(turn.work, Work::Restart { .. }));
    (view.rolled && new) || (!restarting && restarts::is_loose(observed, set, view))
}

/// How many pods a StatefulSet may have now, of those that it is to have.
fn reachable(observed: &Observed, shape: &Shape, (set, view): (&String, &SetView), plan: &mut Plan) -> u32 {
    if observed.ring.is_none() {
        // Whoever scaled it by hand did not ask the ring.
        return view.replicas.max(with_disks(observed, set));
    }
    let (least, target) = (floor(observed, set), shape.count(set));
    let mut to = view.replicas.max(least);
    let shrinks = |work: &Work| matches!(work, Work::Shrink { pods } if pods.iter().any(|pod| pod.set == *set));
    if target > to && observed.turn.turn.as_ref().is_some_and(|turn| shrinks(&turn.work)) {
        plan.wait(Why::DiskGoes { pod: PodId::new(set, to) });
        return to;
    }
    while to < target {
        let pod = PodId::new(set, to);
        if !may_come(observed, &pod) {
            plan.wait(Why::DiskGoes { pod });
            break;
        }
        to += 1;
    }
    to
}

/// Whether a pod may be there once more, as its disk goes.
fn may_come(observed: &Observed, pod: &PodId) -> bool {
    let Some(claim) = observed.claims.get(pod) else { return true };
    if claim.deleting {
        return false;
    }
    let left = match claim.mark {
        None | Some(Mark::NeverJoined) => 0,
        Some(Mark::Left { incarnation, kept: true }) => incarnation,
        Some(Mark::Left { .. } | Mark::Lost) => return false,
    };
    let gone = observed.ring.as_ref().and_then(|ring| ring.gone.get(pod)).copied().unwrap_or(0);
    observed.retired.get(pod).copied().unwrap_or(0) >= left.max(gone)
}
