//! What the resource's status says.

use std::io::{self, Write};

use dynamo_crd::{
    DynamoCluster, DynamoClusterStatus,
    status::{PlannedStep, RotationPhase, StepState},
};
use kube::ResourceExt;
use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;

pub fn status(cluster: &DynamoCluster, as_json: bool) -> Result<(), Failure> {
    let status = known(cluster)?;
    if as_json {
        let (name, namespace) = (cluster.name_any(), cluster.namespace());
        return document(&json!({ "name": name, "namespace": namespace, "status": status }));
    }
    print(&status_text(cluster, &status))
}

pub fn plan(cluster: &DynamoCluster, as_json: bool) -> Result<(), Failure> {
    let plan = known(cluster)?.plan.unwrap_or_default();
    if as_json {
        return document(&plan);
    }
    print(&(note(cluster) + &plan_text(&plan.steps)))
}

pub fn why(cluster: &DynamoCluster, as_json: bool) -> Result<(), Failure> {
    let status = known(cluster)?;
    let steps: Vec<PlannedStep> = status.plan.clone().unwrap_or_default().steps;
    let waits: Vec<PlannedStep> = steps.into_iter().filter(|step| !step.waits_for.is_empty()).collect();
    if as_json {
        let bad: Vec<_> =
            status.conditions.iter().filter(|condition| is_bad(&condition.type_, &condition.status)).collect();
        return document(&json!({ "conditions": bad, "waits": waits }));
    }
    print(&(note(cluster) + &why_text(&status, &waits)))
}

fn known(cluster: &DynamoCluster) -> Result<DynamoClusterStatus, Failure> {
    cluster.status.clone().ok_or_else(|| {
        let name = cluster.name_any();
        Failure::Unavailable(format!(
            "no operator has looked at {name} yet: is one running, and does it tend this namespace?"
        ))
    })
}

/// What was edited last is not in what follows.
fn note(cluster: &DynamoCluster) -> String {
    let seen = cluster.status.as_ref().and_then(|status| status.observed_generation);
    match (cluster.metadata.generation, seen) {
        (Some(now), Some(seen)) if seen < now => {
            "note: the operator has not acted on the latest change of the spec yet\n\n".to_owned()
        }
        _ => String::new(),
    }
}

/// Whether a person should look at a condition.
fn is_bad(kind: &str, status: &str) -> bool {
    let bad_when = if matches!(kind, "Degraded" | "Progressing") { "True" } else { "False" };
    status == bad_when && kind != "Progressing"
}

fn status_text(cluster: &DynamoCluster, status: &DynamoClusterStatus) -> String {
    let mut text = note(cluster);
    let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let epoch = status.ring.as_ref().map_or("-".to_owned(), |ring| ring.epoch.to_string());
    text += &format!("{}: {}\n", cluster.name_any(), status.summary);
    text += &format!(
        "{} of {} nodes serve, {} wanted; ring epoch {epoch}, balance {}, version {}\n\n",
        status.ready_replicas,
        status.replicas,
        cluster.spec.replicas,
        or(&status.balance),
        or(&status.version)
    );
    let conditions = status.conditions.iter().map(|condition| {
        let marker = if is_bad(&condition.type_, &condition.status) { "!" } else { "" };
        let kind = format!("{}{marker}", condition.type_);
        vec![kind, condition.status.clone(), condition.reason.clone(), condition.message.clone()]
    });
    text += &table(&["CONDITION", "STATUS", "REASON", "MESSAGE"], conditions.collect());
    text.push('\n');
    let nodes = status.nodes.iter().map(|node| {
        let used = node.disk_used_percent.map_or("-".to_owned(), |percent| format!("{percent}%"));
        vec![
            node.name.clone(),
            node.zone.clone(),
            format!("{:?}", node.state),
            or(&node.kubernetes_node),
            node.tokens.to_string(),
            node.hints_about.to_string(),
            node.receiving.to_string(),
            format!("{:?} {used}", node.disk),
        ]
    });
    let header = ["NODE", "ZONE", "STATE", "MACHINE", "TOKENS", "HINTS", "FILLING", "DISK"];
    text += &table(&header, nodes.collect());
    if let Some(tls) = status.tls.as_ref().filter(|tls| tls.phase != RotationPhase::Settled) {
        text += &format!(
            "\nthe certificate authority is being changed ({:?}); behind: {}\n",
            tls.phase,
            tls.behind.join(", ")
        );
    }
    let steps = status.plan.clone().unwrap_or_default().steps;
    if !steps.is_empty() {
        text += &format!("\n{}", plan_text(&steps));
    }
    text
}

fn plan_text(steps: &[PlannedStep]) -> String {
    if steps.is_empty() {
        return "nothing is to be done: everything is as it is wanted\n".to_owned();
    }
    let mut text = String::new();
    for (number, step) in steps.iter().enumerate() {
        let state = match step.state {
            StepState::UnderWay => "under way",
            StepState::Blocked => "waits",
            StepState::Later => "later",
        };
        text += &format!("{}. {} ({state})\n", number + 1, step.what);
        text.extend(step.waits_for.iter().map(|why| format!("   - {why}\n")));
    }
    text
}

fn why_text(status: &DynamoClusterStatus, waits: &[PlannedStep]) -> String {
    let mut text = String::new();
    for condition in status.conditions.iter().filter(|condition| is_bad(&condition.type_, &condition.status)) {
        text += &format!("{} is {}: {}\n", condition.type_, condition.status, condition.message);
    }
    for step in waits {
        text += &format!("{} waits:\n", step.what);
        text.extend(step.waits_for.iter().map(|why| format!("  - {why}\n")));
    }
    if text.is_empty() { format!("nothing waits: {}\n", status.summary) } else { text }
}

/// Columns as wide as what is in them; the last one runs on.
fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let header = header.iter().map(|name| (*name).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn print(text: &str) -> Result<(), Failure> {
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}

fn document(document: &impl Serialize) -> Result<(), Failure> {
    print(&format!("{}\n", serde_json::to_string_pretty(document).expect("plain data can be written")))
}

#[cfg(test)]
mod tests {
    use dynamo_crd::{DynamoClusterSpec, status::PlanStatus};

    use super::*;

    fn step(what: &str, state: StepState, waits: &[&str]) -> PlannedStep {
        let waits_for = waits.iter().map(|why| (*why).to_owned()).collect();
        PlannedStep { what: what.to_owned(), state, waits_for }
    }

    #[test]
    fn a_plan_is_numbered_with_what_each_step_waits_for() {
        let steps = [
            step("changing the ring", StepState::UnderWay, &[]),
            step("restart nodes", StepState::Blocked, &["up to 10 hints are not delivered yet"]),
        ];
        let expected =
            "1. changing the ring (under way)\n2. restart nodes (waits)\n   - up to 10 hints are not delivered yet\n";
        assert_eq!(plan_text(&steps), expected);
        assert!(plan_text(&[]).contains("nothing is to be done"));
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = vec![vec!["a-long-name".to_owned(), "1".to_owned()], vec!["b".to_owned(), "two words".to_owned()]];
        assert_eq!(table(&["NODE", "X"], rows), "NODE         X\na-long-name  1\nb            two words\n");
    }

    #[test]
    fn a_spec_that_the_operator_has_not_seen_is_told_before_anything_else() {
        let mut cluster = DynamoCluster::new("shop", DynamoClusterSpec::default());
        assert!(matches!(known(&cluster), Err(Failure::Unavailable(_))));
        cluster.metadata.generation = Some(4);
        let plan = Some(PlanStatus { steps: vec![step("restart nodes", StepState::Blocked, &["why"])] });
        let status = DynamoClusterStatus { observed_generation: Some(3), plan, ..DynamoClusterStatus::default() };
        cluster.status = Some(status.clone());
        assert!(status_text(&cluster, &status).starts_with("note: the operator has not acted"));
        assert!(status_text(&cluster, &status).ends_with("1. restart nodes (waits)\n   - why\n"));
        cluster.status.as_mut().unwrap().observed_generation = Some(4);
        assert_eq!(note(&cluster), "");
    }
}
