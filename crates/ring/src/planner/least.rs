//! How few replicas a change can move.
//!
//! In a balanced ring each node holds its fair share, rounded to a whole replica. So a node that holds less than its share
//! rounded down gains at least what it lacks, and one that holds more than its share rounded up, or leaves, loses at least
//! what is too much; and what is lost by some is gained by others, for there are as many replicas afterwards as there are
//! homes. The larger of the two is needed, whatever the walks look like.
//!
//! Where every preference list takes a set number of nodes of each zone (as with N zones), no zone can make up for another,
//! and the bound holds zone by zone; otherwise, and when the zones change, it holds for the ring as a whole.
//!
//! A planner may move less: it leaves a node where it is as long as that is within a token of its share.

use std::collections::BTreeMap;

use super::{fair::Fair, shape::Shape};

/// Replicas of one zone, or all.
#[derive(Default)]
struct Sum {
    lacked: f64,
    surplus: f64,
    held: f64,
    fair: f64,
}

/// The fewest replicas that have to be gained. `held`: by node, replicas before; `as_before`: whether the zones are, and
/// lists took as many nodes of each.
pub fn least(shape: &Shape, fair: &Fair, held: &[i64], as_before: bool) -> usize {
    let apart = as_before && shape.rounds > 0 && shape.extra == 0;
    let mut sums: BTreeMap<usize, Sum> = BTreeMap::new();
    for (node, (share, held)) in fair.nodes.iter().zip(held).enumerate() {
        let held = *held as f64;
        let zone = if apart { usize::from(shape.zone[node]) } else { 0 };
        let sum = sums.entry(zone).or_default();
        sum.lacked += ((share + 1e-6).floor() - held).max(0.0);
        sum.surplus += (held - (share - 1e-6).ceil()).max(0.0);
        sum.held += held;
        sum.fair += share;
    }
    sums.values().map(|sum| sum.lacked.max(sum.fair.round() - sum.held + sum.surplus) as usize).sum()
}
