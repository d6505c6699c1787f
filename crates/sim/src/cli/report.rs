//! What is printed.

use std::time::Duration;

use dynamo_sim::{Campaign, Plan, Report, Scenario, Shrunk, Tally, Telling, coverage::Coverage};
use serde_json::json;

/// Lines of a failing run's trace that are shown; all of them come with --replay --trace.
const LINES_SHOWN: usize = 60;

/// The scenarios and what each is for.
pub fn scenarios() {
    for Scenario { name, about, .. } in Scenario::all() {
        println!("{name:<14} {about}");
    }
}

/// How often each branch was taken.
pub fn coverage(coverage: &Coverage) {
    println!("\n{:>12}  branch", "taken");
    for (name, meaning, count) in coverage.table() {
        println!("{count:>12}  {name:<28} {meaning}");
    }
}

/// One run.
pub fn one(plan: &Plan, report: &Report) {
    println!(
        "seed {} ({}): {:.1} s of virtual time, {} events, {} writes acknowledged, {} reads answered, fingerprint {:016x}",
        plan.seed,
        plan.scenario,
        report.virtual_us as f64 / 1e6,
        report.events,
        report.acknowledged,
        report.reads,
        report.fingerprint
    );
    match &report.violation {
        None => println!("passed"),
        Some(violation) => println!("FAILED: {violation}"),
    }
}

/// One run, for programs.
pub fn one_json(plan: &Plan, report: &Report) {
    let document = json!({
        "seed": plan.seed,
        "scenario": plan.scenario,
        "virtual_us": report.virtual_us,
        "events": report.events,
        "acknowledged": report.acknowledged,
        "reads": report.reads,
        "fingerprint": format!("{:016x}", report.fingerprint),
        "violation": report.violation,
    });
    println!("{document}");
}

fn speed(tally: &Tally, took: Duration, jobs: usize) -> (f64, f64) {
    let all = tally.virtual_us as f64 / 1e6 / took.as_secs_f64().max(1e-9);
    (all, all / jobs.max(1) as f64)
}

/// Many runs.
pub fn many(campaign: &Campaign, tally: &Tally, shrunk: &[Shrunk], took: Duration) {
    for (failure, small) in tally.failures.iter().zip(shrunk) {
        println!("seed {} ({}) FAILED: {}", failure.seed, failure.plan.scenario, failure.violation);
        println!(
            "  smaller after {} runs: {} faults, {} operations, {} ms: {}",
            small.runs,
            small.plan.faults.len(),
            small.plan.operations(),
            small.plan.run_ms,
            small.violation
        );
        let lines = lines_of(&small.plan, campaign);
        let skipped = lines.len().saturating_sub(LINES_SHOWN);
        println!("  the end of it ({skipped} lines before):");
        lines[skipped..].iter().for_each(|line| println!("    {line}"));
        println!("  to be kept as a file, and replayed with --replay FILE --trace:");
        small.plan.to_yaml().lines().for_each(|line| println!("    {line}"));
    }
    for failure in tally.failures.iter().skip(shrunk.len()) {
        println!("seed {} ({}) FAILED: {}", failure.seed, failure.plan.scenario, failure.violation);
    }
    let (all, each) = speed(tally, took, campaign.jobs);
    println!(
        "seeds {}..{}: {} writes acknowledged, {} reads answered, {} events; {all:.0} virtual seconds a second ({each:.0} on each of {} threads)",
        campaign.first, campaign.end, tally.acknowledged, tally.reads, tally.events, campaign.jobs
    );
    println!("{} passed, {} failed", tally.passed, tally.failures.len());
}

/// A run that panics has no lines to show.
fn lines_of(plan: &Plan, campaign: &Campaign) -> Vec<String> {
    let run = || dynamo_sim::run(plan, Telling::Kept, campaign.variant).lines;
    std::panic::catch_unwind(run).unwrap_or_default()
}

/// Many runs, for programs.
pub fn many_json(campaign: &Campaign, tally: &Tally, shrunk: &[Shrunk], took: Duration) {
    let failures: Vec<_> = tally
        .failures
        .iter()
        .enumerate()
        .map(|(at, failure)| {
            json!({
                "seed": failure.seed,
                "scenario": failure.plan.scenario,
                "violation": failure.violation,
                "smaller": shrunk.get(at).map(|small| &small.plan),
            })
        })
        .collect();
    let coverage: serde_json::Map<_, _> =
        tally.coverage.table().map(|(name, _, count)| (name.to_owned(), json!(count))).collect();
    let document = json!({
        "seeds": [campaign.first, campaign.end],
        "passed": tally.passed,
        "failed": tally.failures.len(),
        "failures": failures,
        "virtual_seconds_per_second": speed(tally, took, campaign.jobs).0,
        "threads": campaign.jobs,
        "coverage": coverage,
    });
    println!("{document}");
}
