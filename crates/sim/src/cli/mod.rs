//! Flags, and what each of them does.

mod many;
mod one;
mod report;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};
use dynamo_sim::{Scenario, Variant};

/// Simulates whole clusters, and checks what their clients saw. The same seed gives the same run.
#[derive(Debug, Parser)]
#[command(name = "dynamo-sim", version, max_term_width = 100)]
pub struct Args {
    /// Runs the seeds from A up to, but not with, B.
    #[arg(long, value_name = "A..B", value_parser = range, conflicts_with_all = ["seed", "replay", "list"])]
    seeds: Option<(u64, u64)>,
    /// Runs one seed.
    #[arg(long, value_name = "N", conflicts_with_all = ["replay", "list"])]
    seed: Option<u64>,
    /// Runs what was kept in a file.
    #[arg(long, value_name = "FILE", conflicts_with = "list")]
    replay: Option<PathBuf>,
    /// Names the scenarios.
    #[arg(long)]
    list: bool,
    /// Runs this scenario; without it each seed has its own, in turn.
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// With --seed or --replay: tells the run line by line.
    #[arg(long)]
    trace: bool,
    /// With --seed or --replay: writes the composed run to a file, to be changed and replayed.
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// Prints how often each rare branch was taken.
    #[arg(long)]
    coverage: bool,
    /// Fails when a branch was never taken.
    #[arg(long)]
    require_coverage: bool,
    /// Runs at a time; without it as many as there are cores.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Begins no new run after so long.
    #[arg(long, value_name = "S")]
    max_seconds: Option<u64>,
    /// Runs that may be spent on making each of the first failures smaller.
    #[arg(long, value_name = "N", default_value_t = 400)]
    shrink_runs: u32,
    /// How results are written.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Breaks a rule of the protocol on purpose, to see that it is noticed.
    #[cfg(feature = "known-bad")]
    #[arg(long, value_name = "NAME", value_parser = variant)]
    known_bad: Option<Variant>,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

impl Args {
    fn scenario(&self) -> Result<Option<&'static Scenario>, String> {
        let named = |name: &String| {
            Scenario::named(name).ok_or_else(|| format!("there is no scenario {name:?}: --list names them all"))
        };
        self.scenario.as_ref().map(named).transpose()
    }

    #[cfg(feature = "known-bad")]
    fn variant(&self) -> Option<Variant> {
        self.known_bad
    }

    #[cfg(not(feature = "known-bad"))]
    fn variant(&self) -> Option<Variant> {
        None
    }
}

#[cfg(feature = "known-bad")]
fn variant(name: &str) -> Result<Variant, String> {
    let names = || Variant::all().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    Variant::all().find(|(known, _)| *known == name).map(|(_, variant)| variant).ok_or_else(names)
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let parse = |part: &str| part.parse::<u64>().ok();
    let ends = text.split_once("..").and_then(|(first, end)| Some((parse(first)?, parse(end)?)));
    ends.filter(|(first, end)| first < end).ok_or_else(|| "seeds are given as 0..1000".into())
}

/// Does what was asked for; the exit code is 1 for a failed run, and 2 for a wrong flag.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = if args.list {
        report::scenarios();
        Ok(true)
    } else if args.seed.is_some() || args.replay.is_some() {
        one::run(&args)
    } else {
        many::run(&args)
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}
