//! Who can't serve, and whom the ring can do without (R and W of every range).

use std::collections::BTreeSet;

use crate::{
    names::PodId,
    observed::{Observed, RingView},
};

/// Members that can't serve now: they do not answer, are being filled, or their pod is not there or not ready.
pub fn absent(observed: &Observed) -> BTreeSet<PodId> {
    let Some(ring) = &observed.ring else { return BTreeSet::new() };
    ring.members.keys().filter(|pod| !serves(observed, pod)).cloned().collect()
}

/// Whether a node serves as far as both Kubernetes and the ring know. Before there is a ring nobody does.
pub fn serves(observed: &Observed, pod: &PodId) -> bool {
    let whole = observed.node(pod).is_some_and(|node| node.up && node.refilling == 0);
    whole && observed.pods.get(pod).is_some_and(|pod| pod.ready && !pod.deleting)
}

/// How many of a range's homes have to serve. A bucket that needs every replica would never let anybody restart: each
/// restart interrupts it, one home at a time.
fn needed(ring: &RingView, homes: usize) -> usize {
    (ring.quorum as usize).min(homes.saturating_sub(1))
}

/// Whether every range keeps its quorum without these.
pub fn keeps(ring: &RingView, absent: &BTreeSet<PodId>) -> bool {
    let serving = |homes: &Vec<PodId>| homes.iter().filter(|pod| !absent.contains(*pod)).count();
    ring.homes.iter().all(|homes| serving(homes) >= needed(ring, homes.len()))
}

/// Whether everything that was acknowledged is elsewhere too, wherever a node is a home: enough other homes are there and
/// whole.
pub fn has_sources_without(ring: &RingView, pod: &PodId) -> bool {
    let whole =
        |other: &&PodId| *other != pod && ring.nodes.get(*other).is_some_and(|node| node.up && node.refilling == 0);
    let homes = ring.homes.iter().filter(|homes| homes.contains(pod));
    homes.map(|homes| (homes.len(), homes.iter().filter(whole).count())).all(|(all, whole)| {
        // Of a range with fewer homes than that, all others have to be whole, and there has to be one.
        whole >= (ring.sources as usize).min(all.saturating_sub(1)).max(1)
    })
}
