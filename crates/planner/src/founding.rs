//! The first ring's members: decided once, kept in an object of its own, never worked out again.
//!
//! Every node makes the first ring out of its configuration, so that two that were told different members would found two
//! clusters. The present spec says nothing about who the founders were.

use crate::{
    action::{Action, Plan},
    observed::{Founders, Observed},
    why::Why,
    zones::Shape,
};

/// Whether the cluster is founded, as far as that is this operator's affair.
pub fn is_founded(observed: &Observed, shape: &Shape, plan: &mut Plan) -> bool {
    if observed.founders.is_some() {
        return true;
    }
    if !observed.claims.is_empty() || !observed.pods.is_empty() {
        plan.wait(Why::FoundersLost);
        return false;
    }
    let zones = shape.zones.iter().filter(|zone| zone.count > 0);
    plan.act(Action::CreateFounders(Founders { zones: zones.map(|zone| (zone.name.clone(), zone.count)).collect() }));
    false
}

/// The zones of the founders while none of them has ever started, as no disk shows one: they are needed whatever the spec says
/// by now. The first ring is theirs, and it is by the ring that they leave. (To write the record anew instead would let two
/// operators found two clusters, one by each record.)
pub fn unborn(observed: &Observed) -> impl Iterator<Item = &String> {
    let unborn = observed.ring.is_none() && observed.claims.is_empty() && observed.pods.is_empty();
    let founders = observed.founders.iter().filter(move |_| unborn);
    founders.flat_map(|founders| founders.zones.keys())
}
