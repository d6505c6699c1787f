//! Rolling restarts: one pod first, then the largest set that the ring can do without.
//!
//! A StatefulSet makes pods anew from its highest number down to its partition, so that what may restart in a zone is
//! always its upper end; and a pod below the partition that restarts by itself comes back as it was. Lowering the
//! partition lets the StatefulSet's controller restart what is above it, one by one and without asking: so it is only
//! lowered over pods that may all be away at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    action::{Action, Plan},
    memory::{Fact, Memory},
    names::{PodId, Uid},
    observed::{Observed, PodView, RingView, SetView},
    quorum,
    turn::{Turn, Work},
    wanted::Wanted,
    why::Why,
};

/// How long a turn waits for the pods that it restarted. After that others may have theirs, and no healthy pod is restarted
/// as long as one that was is not ready.
const PATIENCE_S: u64 = 300;
/// How long it waits for pods that are stopping and answer nobody: where a machine is off they stop for ever.
const STOPPING_S: u64 = 120;

/// Who is to restart next.
pub fn next(wanted: &Wanted, observed: &Observed, plan: &mut Plan) -> Option<Work> {
    // Until each StatefulSet is seen to have the template, its pods would come back from another one.
    if observed.sets.values().any(|set| set.template != wanted.template) {
        return None;
    }
    let outdated: Vec<Vec<&PodId>> = observed.sets.keys().map(|set| outdated(wanted, observed, set)).collect();
    if outdated.iter().all(Vec::is_empty) {
        return None;
    }
    let sets = observed.sets.values().map(|view| view.rolled);
    let broken: BTreeSet<PodId> =
        outdated.iter().zip(sets).flat_map(|(zone, rolled)| broken(observed, zone, rolled)).cloned().collect();
    let chosen = if broken.is_empty() { healthy(wanted, observed, &outdated, plan) } else { broken };
    if chosen.is_empty() {
        remake(wanted, observed, plan);
    }
    let uid = |pod: PodId| observed.pods.get(&pod).map(|view| (pod.clone(), view.uid.clone()));
    let pods: BTreeMap<PodId, Uid> = chosen.into_iter().filter_map(uid).collect();
    (!pods.is_empty()).then(|| Work::Restart { pods, template: wanted.template.clone() })
}

/// The pods of a StatefulSet that were made from another template, highest first.
fn outdated<'a>(wanted: &Wanted, observed: &'a Observed, set: &str) -> Vec<&'a PodId> {
    let old = |pod: &PodView| pod.template != wanted.template && !pod.deleting;
    observed.pods_of(set).rev().filter(|(_, pod)| old(pod)).map(|(id, _)| id).collect()
}

/// Those that may restart whatever else is broken: from the top as far as they serve nobody; all of them where each pod
/// comes back from the present template wherever it stands.
fn broken<'a>(observed: &Observed, outdated: &[&'a PodId], rolled: bool) -> Vec<&'a PodId> {
    let (all, first_well) = (outdated.iter().copied(), outdated.iter().position(|pod| !is_broken(observed, pod)));
    match (rolled, first_well) {
        (true, _) => all.filter(|pod| is_broken(observed, pod)).collect(),
        (false, well) => all.take(well.unwrap_or(outdated.len())).collect(),
    }
}

/// A pod came back from a revision that nobody wants any more, which only it has; it stands below healthy ones that may not be
/// away because of it. A StatefulSet that is made anew, its pods left as they are, knows no revision but the present one, so
/// that this pod alone restarts from it.
fn remake(wanted: &Wanted, observed: &Observed, plan: &mut Plan) {
    let serving: BTreeSet<&String> =
        observed.pods.iter().filter(|(pod, _)| !is_broken(observed, pod)).map(|(_, view)| &view.template).collect();
    let astray = |set: &String| {
        let mut old = outdated(wanted, observed, set).into_iter();
        old.any(|pod| is_broken(observed, pod) && !serving.contains(&observed.pods[pod].template))
    };
    for (set, view) in observed.sets.iter().filter(|(set, view)| !view.rolled && astray(set)) {
        if !plan.touches(set) {
            let (set, uid, version) = (set.clone(), view.uid.clone(), view.version.clone());
            plan.act(Action::DeleteSet { set, uid, version, orphan: true });
        }
    }
}

/// One that serves nobody: restarting it costs nothing, so that a corrected spec gets through whatever is broken. Where no
/// node answers, only Kubernetes' word is to be had.
fn is_broken(observed: &Observed, pod: &PodId) -> bool {
    let unready = observed.pods.get(pod).is_none_or(|pod| !pod.ready);
    let down = observed.node(pod).is_none_or(|node| !node.up);
    unready && (down || observed.ring.is_none())
}

/// Which healthy pods may restart, or why none may.
fn healthy(wanted: &Wanted, observed: &Observed, outdated: &[Vec<&PodId>], plan: &mut Plan) -> BTreeSet<PodId> {
    let none = BTreeSet::new();
    let Some(ring) = observed.ring.as_ref().filter(|ring| ring.confirmed) else {
        return none;
    };
    let updated = || observed.pods.iter().filter(|(_, view)| view.template == wanted.template);
    let unready: Vec<PodId> =
        updated().filter(|(pod, _)| !is_well(observed, ring, pod)).map(|(pod, _)| pod.clone()).collect();
    if !unready.is_empty() {
        plan.wait(Why::UpdatedNotReady { pods: unready });
        return none;
    }
    let absent = quorum::absent(observed);
    if let Some(why) = gate(ring, &absent) {
        plan.wait(why);
        return forced(wanted, outdated);
    }
    let chosen = match updated().next() {
        None => first(ring, &absent, outdated),
        Some(_) => largest(ring, &absent, outdated),
    };
    if let (true, Some(pod)) = (chosen.is_empty(), outdated.iter().flatten().next()) {
        plan.wait(Why::RestartWouldBreakQuorum { pod: (*pod).clone(), down: absent.into_iter().collect() });
        return forced(wanted, outdated);
    }
    chosen
}

/// A member has to serve; one that has not joined yet has to be ready.
fn is_well(observed: &Observed, ring: &RingView, pod: &PodId) -> bool {
    let ready = observed.pods.get(pod).is_some_and(|pod| pod.ready && !pod.deleting);
    ready && (!ring.members.contains_key(pod) || quorum::serves(observed, pod))
}

/// What no healthy pod restarts before.
fn gate(ring: &RingView, absent: &BTreeSet<PodId>) -> Option<Why> {
    if let Some(change) = &ring.change {
        return Some(Why::ChangeUnderWay { id: change.id, what: "restarting" });
    }
    let named = |pods: Vec<&PodId>| pods.into_iter().cloned().collect::<Vec<PodId>>();
    let refilling: Vec<&PodId> = ring.nodes.iter().filter(|(_, node)| node.refilling > 0).map(|(pod, _)| pod).collect();
    let refilling: Vec<&PodId> = refilling.into_iter().filter(|pod| ring.members.contains_key(*pod)).collect();
    if !refilling.is_empty() {
        return Some(Why::Refilling { pods: named(refilling) });
    }
    if !ring.behind.is_empty() {
        return Some(Why::NodesBehind { pods: named(ring.behind.iter().collect()) });
    }
    let hints: u64 = ring.nodes.values().filter(|node| node.up).map(|node| node.hints).sum();
    // Hints for who is down can't be delivered, and may be waiting for this very restart.
    (hints > 0 && absent.is_empty()).then_some(Why::HintsUndelivered { hints })
}

/// Where a person insists: one pod.
fn forced(wanted: &Wanted, outdated: &[Vec<&PodId>]) -> BTreeSet<PodId> {
    let insists = wanted.maintenance.restart_anyway.as_ref() == Some(&wanted.template);
    outdated.iter().flatten().take(usize::from(insists)).copied().cloned().collect()
}

/// The first pod with a template goes alone, and has to be ready before any other does.
fn first(ring: &RingView, absent: &BTreeSet<PodId>, outdated: &[Vec<&PodId>]) -> BTreeSet<PodId> {
    let mut alone = outdated.iter().filter_map(|zone| zone.first()).map(|pod| BTreeSet::from([(*pod).clone()]));
    alone.find(|pod| quorum::keeps(ring, &(absent | pod))).unwrap_or_default()
}

/// The largest of the sets that begin in each zone and take from the others what the ring can do without as well. Where there is a
/// range that only one node serves, each restart interrupts what its node has: one at a time, so that the rest is served.
fn largest(ring: &RingView, absent: &BTreeSet<PodId>, outdated: &[Vec<&PodId>]) -> BTreeSet<PodId> {
    if ring.homes.iter().any(|homes| homes.len() == 1) {
        return first(ring, absent, outdated);
    }
    let mut best = BTreeSet::new();
    for start in 0..outdated.len() {
        let (mut away, mut chosen) = (absent.clone(), BTreeSet::new());
        for zone in outdated[start..].iter().chain(&outdated[..start]) {
            for pod in zone {
                away.insert((*pod).clone());
                if !quorum::keeps(ring, &away) {
                    if !absent.contains(*pod) {
                        away.remove(*pod);
                    }
                    break;
                }
                chosen.insert((*pod).clone());
            }
        }
        if chosen.len() > best.len() {
            best = chosen;
        }
    }
    best
}

/// The pods of a turn that still are what they were.
fn remaining<'a>(observed: &Observed, pods: &'a BTreeMap<PodId, Uid>) -> Vec<(&'a PodId, &'a Uid)> {
    let same = |(pod, uid): &(&PodId, &Uid)| observed.pods.get(*pod).is_some_and(|view| view.uid == **uid);
    pods.iter().filter(same).collect()
}

/// The turn's actions: the partition first, and the pods once it is seen to be there, or they would come back as they were.
pub fn act((wanted, observed, memory): (&Wanted, &Observed, &Memory), turn: &Turn, plan: &mut Plan) {
    let Work::Restart { pods, .. } = &turn.work else { return };
    let left = remaining(observed, pods);
    let done = is_done((wanted, observed, memory), turn);
    // No StatefulSet's controller is to go on by itself once the turn is over, nor with pods that it is not for.
    let others = |set: &String, view: &SetView| loose(observed, set, view).any(|pod| done || !pods.contains_key(pod));
    let to_park: Vec<_> = observed.sets.iter().filter(|(set, view)| others(set, view)).collect();
    if done || !to_park.is_empty() {
        for (set, view) in to_park {
            if plan.touches(set) {
                continue;
            }
            plan.act(Action::ParkPartition { set: set.clone(), version: view.version.clone() });
        }
        return;
    }
    for (set, view) in &observed.sets {
        let Some(lowest) = left.iter().filter(|(pod, _)| pod.set == *set).map(|(pod, _)| pod.ordinal).min() else {
            continue;
        };
        if view.template != wanted.template || plan.touches(set) {
            continue;
        }
        let mut above = outdated(wanted, observed, set).into_iter().filter(|pod| pod.ordinal >= lowest);
        let others_go_too = above.any(|pod| !pods.contains_key(pod));
        if others_go_too && !view.rolled {
            continue;
        }
        if view.partition > lowest && !view.rolled {
            let (set, version) = (set.clone(), view.version.clone());
            plan.act(Action::LowerPartition { set, to: lowest, version, under: turn.id });
            continue;
        }
        for (pod, uid) in left.iter().filter(|(pod, _)| pod.set == *set) {
            if observed.pods.get(*pod).is_some_and(|view| !view.deleting) {
                plan.act(Action::DeletePod { pod: (*pod).clone(), uid: (*uid).clone(), under: turn.id });
            }
        }
    }
}

/// The pods that a StatefulSet's controller may restart just now.
fn loose<'a>(observed: &'a Observed, set: &str, view: &SetView) -> impl Iterator<Item = &'a PodId> {
    let old = move |(pod, of): &(&PodId, &PodView)| pod.ordinal >= view.partition && of.template != view.template;
    observed.pods_of(set).filter(old).map(|(pod, _)| pod)
}

/// Whether a StatefulSet's controller may restart somebody just now.
pub fn is_loose(observed: &Observed, set: &str, view: &SetView) -> bool {
    loose(observed, set, view).next().is_some()
}

fn stops(observed: &Observed, pod: &PodId) -> bool {
    observed.pods.get(pod).is_some_and(|view| view.deleting)
}

/// Whether those that are left may still be away all at once.
fn may_be_away(wanted: &Wanted, observed: &Observed, left: &[(&PodId, &Uid)]) -> bool {
    // Whoever is stopping already is away, whatever is decided; it has to come back from the new template.
    let mut healthy =
        left.iter().map(|(pod, _)| *pod).filter(|pod| !is_broken(observed, pod) && !stops(observed, pod)).peekable();
    if healthy.peek().is_none() || wanted.maintenance.restart_anyway.as_ref() == Some(&wanted.template) {
        return true;
    }
    let mut away = quorum::absent(observed);
    away.extend(healthy.cloned());
    observed.ring.as_ref().is_some_and(|ring| ring.confirmed && quorum::keeps(ring, &away))
}

/// Whether the turn's work is done: all are back, or have had their time; or another template is wanted; or those that are
/// left may not be away any more.
fn is_done((wanted, observed, memory): (&Wanted, &Observed, &Memory), turn: &Turn) -> bool {
    let Work::Restart { pods, template } = &turn.work else { return true };
    if *template != wanted.template || memory.age(&Fact::Turn(turn.id), observed.now_s) > PATIENCE_S {
        return true;
    }
    let left = remaining(observed, pods);
    if !left.is_empty() {
        let is_off = |(pod, _): &(&PodId, &Uid)| stops(observed, pod) && observed.node(pod).is_none_or(|node| !node.up);
        let off = memory.age(&Fact::Turn(turn.id), observed.now_s) > STOPPING_S && left.iter().all(is_off);
        return off || !may_be_away(wanted, observed, &left);
    }
    let back = |pod: &PodId| {
        let gone = observed.sets.get(&pod.set).is_none_or(|set| pod.ordinal >= set.replicas);
        gone || observed.ring.as_ref().is_some_and(|ring| is_well(observed, ring, pod))
    };
    pods.keys().all(back)
}

/// Whether the turn is over: its work is done, and no StatefulSet's controller goes on with it.
pub fn is_over(inputs: (&Wanted, &Observed, &Memory), turn: &Turn) -> bool {
    let (_, observed, _) = inputs;
    is_done(inputs, turn) && !observed.sets.iter().any(|(set, view)| is_loose(observed, set, view))
}
