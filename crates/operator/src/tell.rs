//! What is told of a cluster after each look: its status, events of what has turned and of what was done, and metrics.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_crd::{DynamoCluster, status::DiskState};
use dynamo_planner::{Plan, PodId};
use dynamo_wire::v1::{ViewChange, ViewNode};

use crate::{
    act::{ActError, Done, Dropped},
    buckets,
    context::Context,
    events, metrics,
    observe::Seen,
    status::{self, ChangeFacts, NodeFacts, Told, Trouble},
};

/// Of a cluster that was looked at, with what was done.
///
/// # Errors
/// The status could not be written.
pub async fn looked(
    context: &Context,
    cluster: &DynamoCluster,
    (seen, plan): (&Seen, &Plan),
    done: &Done,
) -> Result<(), kube::Error> {
    metrics::seen(cluster, &seen.observed, plan);
    let mut troubles: Vec<Trouble> = done.dropped.iter().filter_map(refused).collect();
    troubles.extend(done.not_hastened.iter().map(not_hastened));
    let mut told: Vec<events::Told> = done.actions.iter().filter_map(events::of_action).collect();
    let mut there: Option<BTreeSet<String>> = None;
    if seen.observed.ring.is_some() && !buckets::is_settled(cluster) {
        let nodes = context.rings.nodes(crate::context::id_of(cluster), seen.targets.clone(), seen.security.clone());
        if let Some(kept) = buckets::keep(cluster, &nodes.channels()).await {
            told.extend(kept.created.iter().map(|name| events::of_bucket(name)));
            troubles.extend(kept.troubles);
            there = Some(kept.there);
        }
    }
    let nodes = nodes(seen);
    let change = seen.ring.as_ref().and_then(|heard| heard.view.change.as_ref()).map(change);
    let wall_s = context.clock.now_s();
    let classes = context.caches.classes.all();
    let hindered = status::hindered::hindered(&seen.objects.pods, &seen.objects.claims, classes.as_ref(), wall_s);
    let status = status::status(&Told {
        cluster,
        cluster_name: Some(&seen.name),
        wanted: &seen.wanted,
        observed: &seen.observed,
        plan,
        zones: &seen.zones,
        nodes: &nodes,
        change: change.as_ref(),
        troubles: &troubles,
        hindered: &hindered,
        buckets: there.as_ref(),
        wall_s,
    });
    finish(context, cluster, &status, told).await
}

/// What the nodes refuse they refuse until something changes: that is told. Whatever else was not done is tried anew.
fn refused(dropped: &Dropped) -> Option<Trouble> {
    let Dropped::Refused(why) = dropped else { return None };
    let message = format!("the nodes refused a change of the ring: {why}; nothing was changed, and it is asked again");
    Some(Trouble { reason: "RingChangeRefused".to_owned(), message })
}

/// Nothing waits for it but the nodes' new certificates, and these for a minute or two.
fn not_hastened(error: &ActError) -> Trouble {
    let message = format!("{error}; nodes load new certificates when their kubelets next look");
    Trouble { reason: error.reason().to_owned(), message }
}

/// Of one of which it could not be found out how it is.
///
/// # Errors
/// The status could not be written.
pub async fn failed(context: &Context, cluster: &DynamoCluster, trouble: &Trouble) -> Result<(), kube::Error> {
    let status = status::failed(cluster, trouble, context.clock.now_s());
    finish(context, cluster, &status, vec![]).await
}

/// Events go out once what they are about is written: else each try would tell them again.
async fn finish(
    context: &Context,
    cluster: &DynamoCluster,
    status: &dynamo_crd::DynamoClusterStatus,
    mut told: Vec<events::Told>,
) -> Result<(), kube::Error> {
    let written = status::patch(&context.client, cluster, status).await;
    if let Some(before) = cluster.status.as_ref().filter(|_| written.is_ok()) {
        told.extend(events::of_status(before, status));
    }
    context.recorder.send(cluster, told).await;
    written.map(drop)
}

fn nodes(seen: &Seen) -> BTreeMap<PodId, NodeFacts> {
    let mut facts: BTreeMap<PodId, NodeFacts> = BTreeMap::new();
    for node in seen.ring.iter().flat_map(|heard| &heard.view.nodes) {
        if let Ok(pod) = node.name.parse() {
            facts.insert(pod, of_node(node));
        }
    }
    for (pod, object) in &seen.objects.pods {
        let containers = object.spec.iter().flat_map(|spec| &spec.containers);
        let image = containers.filter_map(|container| container.image.clone()).next();
        facts.entry(pod.clone()).or_default().image = image;
    }
    facts
}

fn of_node(node: &ViewNode) -> NodeFacts {
    let size = node.disk_bytes + node.disk_free_bytes;
    let used = (size > 0).then(|| u32::try_from(node.disk_bytes * 100 / size).unwrap_or(100));
    NodeFacts {
        id: Some(node.id.clone()),
        tokens: node.tokens,
        certificate_until_s: Some(node.certificate_until_s).filter(|end| *end > 0),
        suspect: node.state == "suspect",
        disk: match node.disk.as_str() {
            "full" => DiskState::Full,
            "failing" => DiskState::Failing,
            _ => DiskState::Ok,
        },
        disk_used_percent: used,
        ..NodeFacts::default()
    }
}

fn change(change: &ViewChange) -> ChangeFacts {
    let told = change.change.clone().unwrap_or_default();
    ChangeFacts { steps: told.steps, steps_done: told.steps_done }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_some_do_not_reach_is_a_suspect() {
        let of = |state: &str| of_node(&ViewNode { state: state.to_owned(), ..ViewNode::default() }).suspect;
        assert_eq!(["up", "suspect", "down"].map(of), [false, true, false]);
    }
}
