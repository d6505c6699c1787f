//! What is said of each node: those that have a pod, and those that the ring knows.

use std::collections::BTreeSet;

use dynamo_crd::status::{NodeState, NodeStatus};
use dynamo_planner::{PodId, RingView};

use super::{NodeFacts, Told, cut};

/// At most so many are listed.
const LISTED_MAX: usize = 2000;
/// In steps of so many percent.
const PERCENT_STEP: u32 = 5;

pub(super) fn nodes(told: &Told<'_>) -> Vec<NodeStatus> {
    let ring = told.observed.ring.as_ref();
    let mut pods: BTreeSet<&PodId> = told.observed.pods.keys().collect();
    if let Some(ring) = ring {
        pods.extend(ring.members.keys().chain(&ring.leavers));
    }
    pods.into_iter().take(LISTED_MAX).map(|pod| node(told, pod)).collect()
}

fn node(told: &Told<'_>, pod: &PodId) -> NodeStatus {
    let nothing = NodeFacts::default();
    let facts = told.nodes.get(pod).unwrap_or(&nothing);
    let view = told.observed.node(pod);
    let host = told.observed.pods.get(pod).and_then(|view| view.host.clone());
    NodeStatus {
        name: pod.to_string(),
        id: facts.id.clone(),
        zone: zone(told, pod),
        kubernetes_node: host,
        state: state(told, pod, facts),
        tokens: facts.tokens,
        incarnation: view.map(|view| view.incarnation).filter(|life| *life > 0),
        hints_about: view.map(|view| NodeStatus::about(view.hints)).unwrap_or_default(),
        receiving: view.map(|view| view.refilling).map(coarse).unwrap_or_default(),
        disk: facts.disk,
        disk_used_percent: facts
            .disk_used_percent
            .map(|percent| percent.min(100).div_ceil(PERCENT_STEP) * PERCENT_STEP),
        image: facts.image.as_deref().map(|image| cut(image, 512)),
    }
}

/// A number that falls all the time: rounded up to a power of two, so that it is 0 only at the end.
fn coarse(count: u32) -> u32 {
    if count == 0 { 0 } else { count.checked_next_power_of_two().unwrap_or(u32::MAX) }
}

fn zone(told: &Told<'_>, pod: &PodId) -> String {
    let set = told.observed.sets.get(&pod.set).map(|set| set.zone.clone());
    let named = || {
        let prefix = format!("{}-", told.wanted.cluster);
        pod.set.strip_prefix(&prefix).unwrap_or(&pod.set).to_owned()
    };
    set.unwrap_or_else(named)
}

fn state(told: &Told<'_>, pod: &PodId, facts: &NodeFacts) -> NodeState {
    let Some(ring) = &told.observed.ring else { return NodeState::Starting };
    let view = told.observed.node(pod);
    let (moves, up) = (moves(ring, pod), view.is_some_and(|view| view.up));
    let gone = view.is_some_and(|view| view.incarnation > 0 && ring.is_gone(pod, view.incarnation));
    match moves {
        Some(state) if up => state,
        // The planner counts neither as up: whom some do not reach it does not rely on.
        _ if ring.members.contains_key(pod) && facts.suspect => NodeState::Suspect,
        _ if ring.members.contains_key(pod) && !up => NodeState::Down,
        _ if ring.members.contains_key(pod) => NodeState::Serving,
        Some(NodeState::Leaving) => NodeState::Down,
        _ if gone => NodeState::Left,
        _ => NodeState::Starting,
    }
}

fn moves(ring: &RingView, pod: &PodId) -> Option<NodeState> {
    if ring.leavers.contains(pod) {
        return Some(NodeState::Leaving);
    }
    let change = ring.change.as_ref()?;
    let joins = change.joins.contains(pod).then_some(NodeState::Joining);
    joins.or(change.leaves.contains(pod).then_some(NodeState::Leaving))
}

/// How many of them serve: also those that take part in a change do, and none that some do not reach.
pub(super) fn serving<'a>(nodes: impl IntoIterator<Item = &'a NodeStatus>) -> usize {
    let serves = |node: &&NodeStatus| matches!(node.state, NodeState::Serving | NodeState::Leaving);
    nodes.into_iter().filter(serves).count()
}

/// The image that all of them run; None: they run different ones, or it is not known.
pub(super) fn common_image(nodes: &[NodeStatus]) -> Option<String> {
    let running = nodes.iter().filter(|node| node.image.is_some() || node.kubernetes_node.is_some());
    let images: BTreeSet<_> = running.map(|node| node.image.clone()).collect();
    if images.len() == 1 { images.into_iter().next().flatten() } else { None }
}

/// The load of the most loaded member, against its weight, in parts of the mean.
pub(super) fn balance(told: &Told<'_>) -> Option<String> {
    let ring = told.observed.ring.as_ref()?;
    let of = |(pod, weight): (&PodId, &u32)| {
        let tokens = told.nodes.get(pod).map_or(0, |facts| facts.tokens);
        (f64::from(tokens), f64::from((*weight).max(1)))
    };
    let shares: Vec<(f64, f64)> = ring.members.iter().map(of).collect();
    let (tokens, weights) = shares.iter().fold((0.0, 0.0), |sum, share| (sum.0 + share.0, sum.1 + share.1));
    let most = shares.iter().map(|(tokens, weight)| tokens / weight).fold(0.0, f64::max);
    (tokens > 0.0).then(|| format!("{:.2}", most / (tokens / weights)))
}
