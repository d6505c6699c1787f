//! Conditions: the planner's, and what hinders the operator; each with the time since when it is so.

use dynamo_crd::{DynamoCluster, status::ConditionKind};
use dynamo_planner::conditions as planned;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Told, Trouble, cut, time};

/// As long as Kubernetes takes a message.
const MESSAGE_MAX: usize = 1024;
/// The planner's reason where nodes do not serve and nobody is asked for anything.
const NODES_ABSENT: &str = "NodesAbsent";

/// Says of conditions that stand that something hinders; what they say of the rest stays as old as it is.
pub(super) fn degrade(cluster: &DynamoCluster, conditions: &mut Vec<Condition>, trouble: &Trouble, wall_s: u64) {
    let kind = ConditionKind::Degraded.as_str();
    let former = conditions.iter().position(|condition| condition.type_ == kind).map(|index| conditions.remove(index));
    let since = former.filter(|former| former.status == "True").map(|former| former.last_transition_time);
    conditions.push(Condition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: trouble.reason.clone(),
        message: cut(&trouble.message, MESSAGE_MAX),
        observed_generation: cluster.metadata.generation,
        last_transition_time: since.unwrap_or_else(|| time(wall_s)),
    });
    let place = |condition: &Condition| ConditionKind::ALL.iter().position(|kind| kind.as_str() == condition.type_);
    conditions.sort_by_key(place);
}

pub(super) fn conditions(told: &Told<'_>, before: &[Condition]) -> Vec<Condition> {
    let mut found = planned(told.observed, told.plan);
    for condition in found.iter_mut().filter(|condition| condition.kind == ConditionKind::Degraded.as_str()) {
        // That nodes do not serve says less than why their pods do not come; what a person is asked for by the planner says more.
        let asks = condition.holds && condition.reason != NODES_ABSENT;
        if !asks {
            put_before(condition, told.hindered);
        } else if !told.hindered.is_empty() {
            condition.message = format!("{}; {}", condition.message, words(told.hindered));
        }
        put_before(condition, told.troubles);
    }
    let condition = |condition: dynamo_planner::Condition| {
        let status = if condition.holds { "True" } else { "False" };
        let former = before.iter().find(|former| former.type_ == condition.kind && former.status == status);
        Condition {
            type_: condition.kind.to_owned(),
            status: status.to_owned(),
            reason: condition.reason,
            message: cut(&condition.message, MESSAGE_MAX),
            observed_generation: told.cluster.metadata.generation,
            last_transition_time: former
                .map_or_else(|| time(told.wall_s), |former| former.last_transition_time.clone()),
        }
    };
    found.into_iter().map(condition).collect()
}

/// The planner's condition, with this before what it says.
fn put_before(condition: &mut dynamo_planner::Condition, troubles: &[Trouble]) {
    let Some(trouble) = troubles.first() else { return };
    let mut message = words(troubles);
    if condition.holds {
        message = format!("{message}; {}", condition.message);
    }
    (condition.holds, condition.reason, condition.message) = (true, trouble.reason.clone(), message);
}

fn words(troubles: &[Trouble]) -> String {
    troubles.iter().map(|trouble| trouble.message.as_str()).collect::<Vec<_>>().join("; ")
}
