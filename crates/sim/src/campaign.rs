//! Many runs, several at a time: one thread a run, and a run knows nothing of the others.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    coverage::Coverage,
    history::Violation,
    plan::Plan,
    run::{Telling, Variant, run},
    scenario::Scenario,
};

/// Which runs.
#[derive(Clone, Copy)]
pub struct Campaign {
    /// Seeds from here.
    pub first: u64,
    /// To here, which is none of them.
    pub end: u64,
    /// One scenario; None: each seed its own in turn.
    pub scenario: Option<&'static Scenario>,
    /// Runs at a time.
    pub jobs: usize,
    /// No new run begins after so long.
    pub time_max: Option<Duration>,
    /// A rule that is broken on purpose.
    pub variant: Option<Variant>,
    /// No new run begins after a failure.
    pub stop_at_failure: bool,
}

/// A run that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What was composed for it.
    pub plan: Plan,
    /// What was found.
    pub violation: Violation,
}

/// What came of them.
#[derive(Debug, Default)]
pub struct Tally {
    /// Runs in which nothing was found.
    pub passed: u64,
    /// The others, by seed.
    pub failures: Vec<Failure>,
    /// Virtual time of all, microseconds.
    pub virtual_us: u64,
    /// Events of all.
    pub events: u64,
    /// Writes that were acknowledged, and reads that were answered.
    pub acknowledged: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Branches that were taken.
    pub coverage: Coverage,
}

impl Campaign {
    /// The plan that a seed runs.
    pub fn plan(&self, seed: u64) -> Plan {
        self.scenario.unwrap_or_else(|| Scenario::of_seed(seed)).plan(seed)
    }

    /// Runs them; `done` hears after each how many have passed and failed.
    pub fn go(&self, done: impl Fn(u64, u64) + Sync) -> Tally {
        let (next, stop) = (AtomicU64::new(self.first), AtomicBool::new(false));
        let tally = Mutex::new(Tally::default());
        let began = Instant::now();
        let worker = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                let late = self.time_max.is_some_and(|most| began.elapsed() >= most);
                if seed >= self.end || late || stop.load(Ordering::Relaxed) {
                    return;
                }
                let failed = self.one(seed, &tally);
                if failed && self.stop_at_failure {
                    stop.store(true, Ordering::Relaxed);
                }
                let tally = tally.lock();
                done(tally.passed, tally.failures.len() as u64);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(worker);
            }
        });
        let mut tally = tally.into_inner();
        tally.failures.sort_by_key(|failure| failure.seed);
        tally
    }

    /// Runs one, and adds it; a run that panics has failed. True if it failed.
    fn one(&self, seed: u64, tally: &Mutex<Tally>) -> bool {
        let plan = self.plan(seed);
        let outcome = std::panic::catch_unwind(|| run(&plan, Telling::No, self.variant));
        let mut tally = tally.lock();
        let violation = match outcome {
            Ok(report) => {
                tally.virtual_us += report.virtual_us;
                tally.events += report.events;
                tally.acknowledged += report.acknowledged;
                tally.reads += report.reads;
                tally.coverage.merge(&report.coverage);
                report.violation
            }
            Err(panic) => Some(Violation::new("panic", None, words_of(&*panic))),
        };
        match violation {
            None => tally.passed += 1,
            Some(violation) => {
                tally.failures.push(Failure { seed, plan, violation });
                return true;
            }
        }
        false
    }
}

/// What a panic said.
pub(crate) fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").to_owned()
}
