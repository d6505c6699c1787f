//! Volumes that grow while they are in use.
//!
//! A claim can be asked for more; a StatefulSet's claim template can't be changed. So the claims are asked first, and then
//! the StatefulSet is deleted with its pods orphaned, and made anew. A crash in between leaves pods without a
//! StatefulSet, and the next plan makes one for them.

use crate::{
    action::{Action, Plan},
    names::PodId,
    observed::Observed,
    wanted::Wanted,
    why::Why,
    zones::Shape,
};

/// Plans it.
pub fn plan(wanted: &Wanted, observed: &Observed, shape: &Shape, plan: &mut Plan) {
    let size = |pod: &PodId| shape.zone(&pod.set).map_or(0, |zone| zone.storage_bytes);
    let small: Vec<_> = observed
        .claims
        .iter()
        .filter(|(pod, claim)| shape.wants(pod) && !claim.deleting && claim.size_bytes < size(pod))
        .collect();
    if !small.is_empty() {
        if observed.expandable == Some(false) {
            plan.wait(Why::VolumesCannotGrow);
            return;
        }
        plan.wait(Why::VolumesGrow { pods: small.iter().map(|(pod, _)| (*pod).clone()).collect() });
        for (pod, claim) in small {
            let (to_bytes, pod, version) = (size(pod), pod.clone(), claim.version.clone());
            plan.act(Action::GrowClaim { pod, version, to_bytes });
        }
        return;
    }
    remake(wanted, observed, shape, plan);
}

/// While a StatefulSet is not there, what it knew of its earlier template is lost: so nothing is rolled meanwhile.
fn remake(wanted: &Wanted, observed: &Observed, shape: &Shape, plan: &mut Plan) {
    let size = |set: &String| shape.zone(set).map_or(0, |zone| zone.storage_bytes);
    let small = observed.sets.iter().filter(|(set, view)| view.storage_bytes < size(set));
    for (set, view) in small {
        let pods = observed.pods_of(set);
        let old = pods.filter(|(_, pod)| pod.template != wanted.template || pod.deleting).count();
        let quiet = view.rolled && old == 0 && view.template == wanted.template && observed.turn.turn.is_none();
        if !quiet {
            plan.wait(Why::GrowthWaitsForRollout { set: set.clone() });
        } else if !plan.touches(set) {
            let (set, uid, version) = (set.clone(), view.uid.clone(), view.version.clone());
            plan.act(Action::DeleteSet { set, uid, version, orphan: true });
        }
    }
}
