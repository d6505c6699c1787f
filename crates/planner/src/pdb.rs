//! The disruption budget: whether anybody else may take a pod away just now.

use crate::{
    action::{Action, Plan},
    observed::Observed,
    quorum,
    turn::Work,
    wanted::Wanted,
    why::Why,
};

/// One pod, whichever it is, as long as each range keeps its quorum without it and no hint waits to be delivered; or none.
/// Pods that are not ready may always be evicted (`unhealthyPodEvictionPolicy: AlwaysAllow`), so that no broken node holds a
/// drain up.
pub fn plan(wanted: &Wanted, observed: &Observed, plan: &mut Plan) {
    let held = held(observed, work(wanted, observed, plan));
    let allowed = u32::from(held.is_none());
    if let Some(because) = held {
        plan.wait(Why::EvictionsHeld { because });
    }
    if observed.budget != Some(allowed) {
        plan.act(Action::SetBudget(allowed));
    }
}

/// What is being done, or begins with this plan: between two turns that follow each other nobody is let in for a moment.
fn work<'a>(wanted: &Wanted, observed: &'a Observed, plan: &'a Plan) -> Option<&'a Work> {
    let begins = |action: &'a Action| match action {
        Action::TakeTurn { turn, .. } => Some(&turn.work),
        _ => None,
    };
    let withheld = wanted.maintenance.plan_only || wanted.maintenance.paused;
    let next = plan.actions.iter().find_map(begins).filter(|_| !withheld);
    observed.turn.turn.as_ref().map(|turn| &turn.work).or(next)
}

/// Why nobody may be evicted.
fn held(observed: &Observed, work: Option<&Work>) -> Option<&'static str> {
    let Some(ring) = &observed.ring else { return Some("no node answers") };
    match work {
        None | Some(Work::Ring) => {}
        Some(Work::Restart { .. }) => return Some("pods are being restarted"),
        Some(Work::Shrink { .. }) => return Some("pods that left are being taken away"),
        Some(Work::Replace { .. }) => return Some("a disk is being replaced"),
    }
    if ring.nodes.values().any(|node| node.up && node.hints > 0) {
        return Some("hints are not delivered yet");
    }
    let absent = quorum::absent(observed);
    let mut serving = ring.members.keys().filter(|pod| !absent.contains(*pod));
    let breaks = serving.any(|pod| {
        let mut away = absent.clone();
        away.insert(pod.clone());
        !quorum::keeps(ring, &away)
    });
    breaks.then_some("a range would lose its quorum by it")
}
