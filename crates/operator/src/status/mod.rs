//! What people see of a cluster: its status, made of what was seen and what the planner says.
//!
//! As coarse as it can be, so that a settled cluster is never written to: a figure that changes all the time is a metric. It
//! is written where it differs from what stands there, and nowhere else.
//!
//! Where things are: `nodes` what is said of each node, `steps` the plan, `conditions`, `certificates` how far a rotation is, `hindered` why pods
//! do not come.

mod certificates;
mod conditions;
pub mod hindered;
mod nodes;
mod steps;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use dynamo_crd::{
    DynamoCluster, DynamoClusterStatus, GROUP, VERSION, names,
    status::{DiskState, RingChange, RingStatus, ZoneStatus},
};
use dynamo_planner::{ChangeView, Observed, Plan, PodId, Wanted, Why};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::render::ZonePlace;

/// What is known of a node beside what the planner needs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeFacts {
    /// Its id in the ring.
    pub id: Option<String>,
    /// Whether some reach it and others do not.
    pub suspect: bool,
    /// Partitions that it owns.
    pub tokens: u32,
    /// What it says of its disk.
    pub disk: DiskState,
    /// How full its volume is.
    pub disk_used_percent: Option<u32>,
    /// The image that its pod runs.
    pub image: Option<String>,
    /// When its certificate ends, in seconds.
    pub certificate_until_s: Option<u64>,
}

/// The change of the ring that is under way, as far as people want to know.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChangeFacts {
    /// How many steps it has.
    pub steps: u32,
    /// How many of them are done.
    pub steps_done: u32,
}

/// What hinders the operator and is no matter of the planner's: a right that is missing, an object that belongs to somebody
/// else, a bucket that is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In one CamelCase word.
    pub reason: String,
    /// What happened and what to do.
    pub message: String,
}

/// Of what the status is made.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The resource, with the status that stands.
    pub cluster: &'a DynamoCluster,
    /// What the nodes call their cluster; None: it is not founded yet.
    pub cluster_name: Option<&'a str>,
    /// What is wanted.
    pub wanted: &'a Wanted,
    /// What was seen.
    pub observed: &'a Observed,
    /// What the planner says.
    pub plan: &'a Plan,
    /// The zones.
    pub zones: &'a [ZonePlace],
    /// Of each node.
    pub nodes: &'a BTreeMap<PodId, NodeFacts>,
    /// Of the change of the ring.
    pub change: Option<&'a ChangeFacts>,
    /// What else hinders.
    pub troubles: &'a [Trouble],
    /// What hinders pods.
    pub hindered: &'a [Trouble],
    /// The buckets of the spec that are there; None: nobody was asked.
    pub buckets: Option<&'a BTreeSet<String>>,
    /// The wall clock, in seconds.
    pub wall_s: u64,
}

/// What is to stand in the resource's status.
pub fn status(told: &Told<'_>) -> DynamoClusterStatus {
    let before = told.cluster.status.clone().unwrap_or_default();
    let nodes = nodes::nodes(told);
    let image = nodes::common_image(&nodes).or(before.image.clone());
    let name = told.cluster.name_any();
    let buckets = told.buckets.map(|found| found.iter().cloned().collect());
    DynamoClusterStatus {
        observed_generation: told.cluster.metadata.generation,
        summary: summary(told),
        conditions: conditions::conditions(told, &before.conditions),
        replicas: number(told.observed.pods.len()),
        ready_replicas: number(nodes::serving(&nodes)),
        selector: names::selector_text(&name),
        version: image.as_deref().and_then(tag_of).or(before.version.clone()),
        image,
        template: Some(told.wanted.template.clone()),
        cluster_name: told.cluster_name.map(str::to_owned).or(before.cluster_name.clone()),
        balance: nodes::balance(told),
        ring: ring(told).or(before.ring.clone()),
        zones: zones(told, &nodes),
        // An empty one would be applied as null where steps stood before, which the API server refuses.
        plan: Some(steps::plan(told)).filter(|plan| !plan.steps.is_empty()),
        tls: certificates::tls(told),
        buckets: buckets.unwrap_or(before.buckets),
        nodes,
    }
}

/// What is to stand there where it could not be found out how the cluster is: what was known, and why no more is.
pub fn failed(cluster: &DynamoCluster, trouble: &Trouble, wall_s: u64) -> DynamoClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
    status.summary = cut(&trouble.message, 256);
    status.selector = names::selector_text(&cluster.name_any());
    conditions::degrade(cluster, &mut status.conditions, trouble, wall_s);
    status
}

/// Writes the status where it is another than what stands there; whether it did.
///
/// # Errors
/// The API server refuses.
pub async fn patch(
    client: &kube::Client,
    cluster: &DynamoCluster,
    status: &DynamoClusterStatus,
) -> Result<bool, kube::Error> {
    if cluster.status.as_ref() == Some(status) {
        return Ok(false);
    }
    let clusters: Api<DynamoCluster> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let name = cluster.name_any();
    let document = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "DynamoCluster",
        // Of another resource by this name nothing is known.
        "metadata": { "name": name, "uid": cluster.uid() },
        "status": status,
    });
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    clusters.patch_status(&name, &params, &Patch::Apply(document)).await?;
    Ok(true)
}

/// A second of the wall clock, as Kubernetes writes it.
fn time(wall_s: u64) -> Time {
    let second = i64::try_from(wall_s).unwrap_or(i64::MAX);
    Time(Timestamp::from_second(second).unwrap_or(Timestamp::MAX))
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// At most so many characters: more is refused by the resource's definition.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{kept}…")
}

/// What follows the colon of an image.
fn tag_of(image: &str) -> Option<String> {
    let last = image.rsplit('/').next()?;
    let (name, _) = last.split_once('@').unwrap_or((last, ""));
    name.split_once(':').map(|(_, tag)| tag.to_owned())
}

fn summary(told: &Told<'_>) -> String {
    let trouble = told.troubles.first().map(|trouble| trouble.message.clone());
    let asks = told.plan.waits.iter().find(|why| why.wants_a_person()).map(Why::to_string);
    let waits = told.plan.waits.iter().find(|why| !why.is_notice()).map(Why::to_string);
    let turn = told.observed.turn.turn.as_ref().map(|turn| turn.work.in_words());
    let change = told.observed.ring.as_ref().and_then(|ring| ring.change.as_ref()).map(ChangeView::in_words);
    let hindered = told.hindered.first().map(|trouble| trouble.message.clone());
    let text = trouble.or(asks).or(hindered).or(waits).or(turn).or(change).unwrap_or_else(|| {
        match told.plan.actions.is_empty() {
            true => "settled".to_owned(),
            false => "writing what is wanted".to_owned(),
        }
    });
    cut(&text, 256)
}

fn ring(told: &Told<'_>) -> Option<RingStatus> {
    let ring = told.observed.ring.as_ref()?;
    let change = ring.change.as_ref().map(|change| {
        let facts = told.change.cloned().unwrap_or_default();
        RingChange {
            what: cut(&change.in_words(), 1024),
            cancelled: change.cancelled,
            steps: facts.steps,
            steps_done: coarse(facts.steps_done, facts.steps),
            waits_for: change.blocked_by.iter().take(8).map(|why| cut(why, 512)).collect(),
        }
    });
    Some(RingStatus { epoch: ring.epoch, members: number(ring.members.len()), change })
}

/// In steps of a tenth, so that a change of the ring is some writes and not one for each partition; the end is the end.
fn coarse(done: u32, of: u32) -> u32 {
    let step = of.div_ceil(10).max(1);
    if done >= of { of } else { done / step * step }
}

fn zones(told: &Told<'_>, nodes: &[dynamo_crd::status::NodeStatus]) -> Vec<ZoneStatus> {
    let counts = told.cluster.spec.nodes_by_zone(told.zones.len().max(1));
    let zone = |(place, replicas): (&ZonePlace, u32)| ZoneStatus {
        name: place.name.clone(),
        node_label_value: place.label_value.clone().unwrap_or_default(),
        replicas,
        ready_replicas: number(nodes::serving(nodes.iter().filter(|node| node.zone == place.name))),
    };
    told.zones.iter().zip(counts).map(zone).collect()
}
