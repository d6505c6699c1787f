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
