//! Many runs, with a line of progress, and what is said at their end.

use std::{
    thread::available_parallelism,
    time::{Duration, Instant},
};

use dynamo_sim::{Campaign, shrink};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Args, Output, report};

/// Failures that are made smaller; the others are named.
const SHRUNK_MAX: usize = 3;
const SEEDS: (u64, u64) = (0, 1000);

/// Runs them; true if nothing was found.
pub fn run(args: &Args) -> Result<bool, String> {
    let (first, end) = args.seeds.unwrap_or(SEEDS);
    let campaign = Campaign {
        first,
        end,
        scenario: args.scenario()?,
        jobs: args.jobs.or_else(|| available_parallelism().ok().map(Into::into)).unwrap_or(1),
        time_max: args.max_seconds.map(Duration::from_secs),
        variant: args.variant(),
        stop_at_failure: false,
    };
    let bar = ProgressBar::new(end - first);
    let style = "{wide_bar} {pos}/{len} seeds, {msg}, {elapsed} ({eta} left)";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is right"));
    bar.set_message("0 failed");
    // A run that panics is reported with its seed: the panic's own words come with that.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let tally = campaign.go(|passed, failed| {
        bar.set_position(passed + failed);
        bar.set_message(format!("{failed} failed"));
    });
    let took = began.elapsed();
    bar.finish_and_clear();
    let shrunk: Vec<_> = tally
        .failures
        .iter()
        .take(SHRUNK_MAX)
        .map(|failure| shrink(&failure.plan, &failure.violation, campaign.variant, args.shrink_runs))
        .collect();
    std::panic::set_hook(hook);
    let missing = if args.require_coverage { tally.coverage.missing() } else { Vec::new() };
    match args.output {
        Output::Text => report::many(&campaign, &tally, &shrunk, took),
        Output::Json => report::many_json(&campaign, &tally, &shrunk, took),
    }
    if args.coverage {
        report::coverage(&tally.coverage);
    }
    for branch in &missing {
        eprintln!("never taken: {branch}");
    }
    Ok(tally.failures.is_empty() && missing.is_empty())
}
