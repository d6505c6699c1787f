//! What a plan looks like: per node and zone before and after, what moves, what is in the way.

use dynamo_wire::v1::{PlanResponse, PlannedNode};
use serde_json::{Value, json};

use crate::{failure::Failure, output};

/// All of it, for `dynamo ring plan`.
pub fn print(plan: &PlanResponse) -> Result<(), Failure> {
    output::line(format!(
        "Planned on version {} of the ring, epoch {}: {} partitions, {} replicas of each",
        plan.version, plan.epoch, plan.partitions, plan.n
    ))?;
    output::line("")?;
    print_nodes(plan.nodes.iter())?;
    output::line("")?;
    let zones = plan.zones.iter().map(|zone| {
        vec![
            zone.name.clone(),
            turned(zone.tokens_before, zone.tokens_after),
            turned(zone.replicas_before, zone.replicas_after),
        ]
    });
    output::print_table(&output::table(&["ZONE", "TOKENS", "REPLICAS"], &["TOKENS", "REPLICAS"], zones.collect()))?;
    print_sums(plan)
}

/// What changes, for somebody who is about to apply it.
pub fn print_summary(plan: &PlanResponse) -> Result<(), Failure> {
    let mut changed = plan.nodes.iter().filter(|node| node.change != "stays" || differs(node)).peekable();
    if changed.peek().is_some() {
        print_nodes(changed)?;
    }
    print_sums(plan)
}

/// For programs.
pub fn document(plan: &PlanResponse) -> Value {
    let nodes: Vec<Value> = plan.nodes.iter().map(node_document).collect();
    let zones: Vec<Value> = plan
        .zones
        .iter()
        .map(|zone| {
            json!({
                "zone": zone.name,
                "tokens_before": zone.tokens_before, "tokens_after": zone.tokens_after,
                "replicas_before": zone.replicas_before, "replicas_after": zone.replicas_after,
            })
        })
        .collect();
    json!({
        "version": plan.version, "epoch": plan.epoch, "n": plan.n, "partitions": plan.partitions,
        "tokens_moved": plan.tokens_moved, "replicas_moved": plan.replicas_moved,
        "replicas_least": plan.replicas_least, "bytes_moved": plan.bytes_moved, "seconds": plan.seconds,
        "seconds_at_most": plan.seconds_at_most,
        "steps": plan.steps, "skips": plan.skips, "blocked_by": plan.blocked_by, "warnings": plan.warnings,
        "nodes": nodes, "zones": zones,
    })
}

fn node_document(node: &PlannedNode) -> Value {
    json!({
        "id": node.name, "zone": node.zone, "weight": node.weight, "change": node.change,
        "tokens_before": node.tokens_before, "tokens_after": node.tokens_after,
        "replicas_before": node.replicas_before, "replicas_after": node.replicas_after,
        "fair_after": node.fair_after, "bytes": node.bytes,
    })
}

fn print_nodes<'a>(nodes: impl Iterator<Item = &'a PlannedNode>) -> Result<(), Failure> {
    let rows = nodes.map(|node| {
        vec![
            node.name.clone(),
            node.zone.clone(),
            node.change.clone(),
            node.weight.to_string(),
            turned(node.tokens_before, node.tokens_after),
            turned(node.replicas_before, node.replicas_after),
            format!("{:.1}", node.fair_after),
            output::bytes_for_people(node.bytes),
        ]
    });
    let header = ["NODE", "ZONE", "CHANGE", "WEIGHT", "TOKENS", "REPLICAS", "FAIR", "STORED"];
    let right = ["WEIGHT", "TOKENS", "REPLICAS", "FAIR", "STORED"];
    output::print_table(&output::table(&header, &right, rows.collect()))
}

fn print_sums(plan: &PlanResponse) -> Result<(), Failure> {
    output::line(format!("\n{}", sums(plan)))?;
    for warning in &plan.warnings {
        output::line(format!("Note: {warning}"))?;
    }
    if !plan.blocked_by.is_empty() {
        output::line(blocked(&plan.blocked_by))?;
    }
    Ok(())
}

fn sums(plan: &PlanResponse) -> String {
    if plan.steps == 0 && plan.tokens_moved == 0 && plan.replicas_moved == 0 {
        return "Nothing moves.".to_owned();
    }
    let least = match plan.replicas_least {
        least if least == plan.replicas_moved => "the least possible".to_owned(),
        least if least > plan.replicas_moved => format!("{least} would make it even to the last one"),
        least => format!("{least} is the least possible"),
    };
    let skips = match plan.skips {
        0 => String::new(),
        skips => {
            format!("\nAfterwards the walk of {} passes over a node to spread zones.", counted(skips, "partition"))
        }
    };
    format!(
        "{} change hands; {} of partitions are made ({least}).\nAbout {} move in {}: {}.{skips}",
        counted(plan.tokens_moved, "token"),
        counted(plan.replicas_moved, "copy"),
        output::bytes_for_people(plan.bytes_moved),
        counted(plan.steps, "step"),
        expected_time(plan)
    )
}

/// Requests come first: how long it takes depends on them.
fn expected_time(plan: &PlanResponse) -> String {
    let (least, most) = (time_for_people(plan.seconds), time_for_people(plan.seconds_at_most));
    if plan.seconds_at_most <= plan.seconds || least == most {
        return format!("about {least}");
    }
    format!("about {least} without requests, up to {most} if they become slow by it")
}

/// Why a plan can't be applied now.
pub fn blocked(sentences: &[String]) -> String {
    let sentences = sentences.iter().map(|sentence| format!("\n  - {sentence}"));
    format!("It can't be applied now:{}", sentences.collect::<String>())
}

/// One word of a table, whether it changes or not.
fn turned(before: u32, after: u32) -> String {
    if before == after { after.to_string() } else { format!("{before}->{after}") }
}

fn differs(node: &PlannedNode) -> bool {
    (node.tokens_before, node.replicas_before) != (node.tokens_after, node.replicas_after)
}

/// "1 step", "2 steps", "3 copies".
pub fn counted(count: u32, one: &str) -> String {
    match (count, one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {one}s"),
    }
}

/// A time that need not be exact.
pub fn time_for_people(seconds: u64) -> String {
    match seconds {
        0 => "a moment".to_owned(),
        1..90 => format!("{seconds} s"),
        90..5400 => format!("{} min", (seconds + 30) / 60),
        5400..172_800 => format!("{} h", (seconds + 1800) / 3600),
        _ => format!("{} days", (seconds + 43_200) / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well_at_the_borders() {
        let shown: Vec<String> =
            [0, 1, 89, 90, 5399, 5400, 172_799, 172_800].into_iter().map(time_for_people).collect();
        assert_eq!(shown, ["a moment", "1 s", "89 s", "2 min", "90 min", "2 h", "48 h", "2 days"]);
    }

    #[test]
    fn one_is_not_counted_like_many() {
        assert_eq!([counted(1, "copy"), counted(2, "copy"), counted(1, "step")], ["1 copy", "2 copies", "1 step"]);
        assert_eq!(counted(0, "token"), "0 tokens");
    }

    #[test]
    fn the_sums_say_how_far_the_plan_is_from_the_least() {
        let plan =
            PlanResponse { steps: 1, tokens_moved: 3, replicas_moved: 9, replicas_least: 9, ..Default::default() };
        assert!(sums(&plan).contains("9 copies of partitions are made (the least possible)"));
        let more = PlanResponse { replicas_least: 7, ..plan };
        assert!(sums(&more).contains("(7 is the least possible)"));
        // A node within a token of its share is left as it is.
        let fewer = PlanResponse { replicas_least: 11, ..more };
        assert!(sums(&fewer).contains("(11 would make it even to the last one)"));
        assert_eq!(sums(&PlanResponse::default()), "Nothing moves.");
    }
}
