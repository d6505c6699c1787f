//! Kubernetes events: what a person would ask about at 3 a.m., each told once.
//!
//! What the operator does is told when it was done; what it sees, when the status turns. Both are transitions, so a state that
//! lasts is no stream of events; a transition that comes back within some minutes counts up on the event that is there.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use dynamo_crd::{
    DynamoCluster, DynamoClusterStatus,
    status::{ConditionKind, DiskState, NodeState, NodeStatus, RotationPhase},
};
use dynamo_planner::{Action, certificates::Step, turn::Work};
use k8s_openapi::{
    api::events::v1::{Event, EventSeries},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

/// How long an event counts up before there is another.
const SERIES: Duration = Duration::from_secs(600);
/// So many are remembered.
const REMEMBERED_MAX: usize = 1024;
/// As long as Kubernetes takes a note.
const NOTE_MAX: usize = 1024;

/// Something to be told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    /// Somebody should look.
    pub warning: bool,
    /// In one CamelCase word.
    pub reason: String,
    /// A sentence.
    pub note: String,
}

impl Told {
    fn normal(reason: &str, note: impl Into<String>) -> Told {
        Told { warning: false, reason: reason.to_owned(), note: note.into() }
    }

    fn warning(reason: &str, note: impl Into<String>) -> Told {
        Told { warning: true, ..Told::normal(reason, note) }
    }
}

/// Of what was done; None: nobody asks about it, or what follows from it is told.
pub fn of_action(action: &Action) -> Option<Told> {
    let reason = match action {
        Action::CreateFounders(_) => "Founded",
        Action::CreateSet { .. } | Action::RaiseSet { .. } => "ScalingUp",
        Action::ShrinkSet { .. } => "ScaledDown",
        Action::DeleteSet { orphan: true, .. } | Action::GrowClaim { .. } => "GrowingVolumes",
        Action::DeleteSet { .. } => "ZoneRemoved",
        Action::SetTemplate { .. } => "TemplateChanged",
        Action::DeletePod { .. } => "PodRestarted",
        Action::DeleteClaim { .. } => "DiskDeleted",
        Action::ChangeRing { .. } => "RingChange",
        Action::CancelChange { .. } => "RingChangeCancelled",
        Action::Certificates(Step::Make | Step::Trust(_) | Step::Sign(_) | Step::Distrust(_)) => "CertificateAuthority",
        Action::TakeTurn { turn, .. } => match &turn.work {
            Work::Restart { .. } => "Restarting",
            Work::Replace { .. } => "ReplacingDisk",
            Work::Ring | Work::Shrink { .. } => return None,
        },
        _ => return None,
    };
    Some(Told::normal(reason, action.to_string()))
}

/// Of a bucket that was created.
pub fn of_bucket(name: &str) -> Told {
    Told::normal("BucketCreated", format!("bucket {name} was created"))
}

/// Of what has turned between two statuses. The first status of a cluster is no turn.
pub fn of_status(before: &DynamoClusterStatus, after: &DynamoClusterStatus) -> Vec<Told> {
    let mut told = Vec::new();
    told.extend(turned(before, after, ConditionKind::Available, "Available", "Unavailable", false));
    told.extend(turned(before, after, ConditionKind::DataSafe, "DataSafe", "DataAtRisk", false));
    told.extend(turned(before, after, ConditionKind::Degraded, "Degraded", "Recovered", true));
    told.extend(ring(before, after));
    for node in &after.nodes {
        if let Some(former) = before.nodes.iter().find(|former| former.name == node.name) {
            told.extend(of_node(former, node));
        }
    }
    told.extend(waits(before, after));
    told.extend(certificates(before, after));
    told
}

/// A condition that turned; one that is bad when it holds also when its reason did.
fn turned(
    before: &DynamoClusterStatus,
    after: &DynamoClusterStatus,
    kind: ConditionKind,
    holds: &str,
    fails: &str,
    bad: bool,
) -> Option<Told> {
    let (former, now) = (before.condition(kind)?, after.condition(kind)?);
    let is = now.status == "True";
    if former.status == now.status && !(bad && is && former.reason != now.reason) {
        return None;
    }
    let reason = if is { holds } else { fails };
    Some(if is == bad { Told::warning(reason, &now.message) } else { Told::normal(reason, &now.message) })
}

fn ring(before: &DynamoClusterStatus, after: &DynamoClusterStatus) -> Option<Told> {
    let (former, now) = (before.ring.as_ref()?, after.ring.as_ref()?);
    let ended = former.change.as_ref().filter(|_| now.change.is_none());
    if let Some(change) = ended {
        let note = if change.cancelled { "was taken back" } else { "is done" };
        return Some(Told::normal("RingSettled", format!("{} {note}: epoch {}", change.what, now.epoch)));
    }
    let (change, blocked) = (now.change.as_ref()?, former.change.as_ref().map(|change| !change.waits_for.is_empty()));
    let why = change.waits_for.first().filter(|_| blocked != Some(true))?;
    Some(Told::warning("RingChangeBlocked", format!("{} does not go on: {why}", change.what)))
}

fn of_node(former: &NodeStatus, node: &NodeStatus) -> Vec<Told> {
    let mut told = Vec::new();
    let name = &node.name;
    match (former.state, node.state) {
        (before, NodeState::Down) if before != NodeState::Down => {
            told.push(Told::warning("NodeDown", format!("nobody reaches {name}: others stand in for it")));
        }
        (before, NodeState::Suspect) if ![NodeState::Down, NodeState::Suspect].contains(&before) => {
            told.push(Told::warning("NodeSuspect", format!("some nodes do not reach {name}: it is not relied on")));
        }
        (NodeState::Down | NodeState::Suspect, NodeState::Serving) => {
            told.push(Told::normal("NodeBack", format!("{name} serves again")));
        }
        (NodeState::Joining, NodeState::Serving) => {
            told.push(Told::normal("NodeJoined", format!("{name} has joined")));
        }
        (NodeState::Leaving, NodeState::Left) => {
            told.push(Told::normal("NodeLeft", format!("{name} has left: all it had is on other nodes")));
        }
        _ => {}
    }
    match (former.disk, node.disk) {
        (before, DiskState::Full) if before != DiskState::Full => told.push(Told::warning(
            "DiskFull",
            format!("the volume of {name} is full: it refuses writes and goes on reading; raise spec.storage.size"),
        )),
        (before, DiskState::Failing) if before != DiskState::Failing => told.push(Told::warning(
            "DiskFailing",
            format!("the volume of {name} fails: `kubectl dynamo replace {name}` gives it an empty one, filled from the others"),
        )),
        (DiskState::Full | DiskState::Failing, DiskState::Ok) => {
            told.push(Told::normal("DiskOk", format!("the volume of {name} takes writes again")));
        }
        _ => {}
    }
    told
}

/// What waits now and did not: a step's sentences, as the plan has them.
fn waits(before: &DynamoClusterStatus, after: &DynamoClusterStatus) -> Vec<Told> {
    let steps = |status: &DynamoClusterStatus| -> BTreeMap<String, Vec<String>> {
        let plan = status.plan.clone().unwrap_or_default();
        plan.steps.into_iter().map(|step| (step.what, step.waits_for)).collect()
    };
    let former = steps(before);
    let is_new = |(what, waits): (String, Vec<String>)| {
        let first = waits.first()?.clone();
        // The same step waits on: for what exactly stands in status.
        let waited = former.get(&what).is_some_and(|waits| !waits.is_empty());
        (!waited).then(|| Told::normal("Waiting", format!("{what}: {first}")))
    };
    steps(after).into_iter().filter_map(is_new).collect()
}

fn certificates(before: &DynamoClusterStatus, after: &DynamoClusterStatus) -> Option<Told> {
    let (former, now) = (before.tls.as_ref()?.phase, after.tls.as_ref()?.phase);
    let ended = former != RotationPhase::Settled && now == RotationPhase::Settled;
    ended.then(|| Told::normal("CertificateAuthority", "all nodes trust the new certificate authority alone"))
}

/// Sends events.
pub struct Recorder {
    client: kube::Client,
    instance: String,
    sent: Mutex<BTreeMap<(String, Told), Sent>>,
}

#[derive(Debug, Clone)]
struct Sent {
    name: String,
    count: i32,
    at: Timestamp,
}

impl Recorder {
    /// `instance` is this operator among its replicas.
    pub fn new(client: kube::Client, instance: &str) -> Recorder {
        Recorder { client, instance: instance.to_owned(), sent: Mutex::default() }
    }

    /// Sends them. One that can't be sent is told in the log, and nothing waits for it.
    pub async fn send(&self, cluster: &DynamoCluster, told: impl IntoIterator<Item = Told>) {
        for told in told {
            tracing::info!(
                namespace = cluster.namespace(),
                cluster = cluster.name_any(),
                reason = told.reason,
                "{}",
                told.note
            );
            if let Err(error) = self.send_one(cluster, &told).await {
                tracing::warn!("an event was not sent: {error}");
            }
        }
    }

    async fn send_one(&self, cluster: &DynamoCluster, told: &Told) -> Result<(), kube::Error> {
        let namespace = cluster.namespace().unwrap_or_default();
        let events: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let (key, now) = ((cluster.uid().unwrap_or_default(), told.clone()), Timestamp::now());
        let former = self.sent.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let recent = former.filter(|former| now.duration_since(former.at).unsigned_abs() < SERIES);
        let sent = match recent {
            Some(former) => {
                let count = former.count + 1;
                let series = EventSeries { count, last_observed_time: MicroTime(now) };
                let patch = Patch::Merge(json!({ "series": series }));
                events.patch(&former.name, &PatchParams::default(), &patch).await?;
                Sent { count, ..former }
            }
            None => {
                let event = self.event(cluster, told, now);
                events.create(&PostParams::default(), &event).await?;
                Sent { name: event.name_any(), count: 1, at: now }
            }
        };
        let mut all = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key, sent);
        if all.len() > REMEMBERED_MAX {
            all.retain(|_, sent| now.duration_since(sent.at).unsigned_abs() < SERIES);
        }
        Ok(())
    }

    fn event(&self, cluster: &DynamoCluster, told: &Told, now: Timestamp) -> Event {
        Event {
            action: Some(told.reason.clone()),
            event_time: Some(MicroTime(now)),
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", cluster.name_any(), now.as_nanosecond())),
                namespace: cluster.namespace(),
                ..ObjectMeta::default()
            },
            note: Some(told.note.chars().take(NOTE_MAX).collect()),
            reason: Some(told.reason.clone()),
            regarding: Some(cluster.object_ref(&())),
            reporting_controller: Some("dynamo-k8s.io/operator".to_owned()),
            reporting_instance: Some(self.instance.chars().take(128).collect()),
            type_: Some(if told.warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        }
    }
}

#[cfg(test)]
mod tests;
