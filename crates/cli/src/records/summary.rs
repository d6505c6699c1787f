//! How far a `load` or `verify` is, which records failed, and the summary at its end.

use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::{failure::Exit, failure::Failure, output};

/// Shared by the reader and all workers.
#[derive(Clone)]
pub struct Progress(Arc<Inner>);

struct Inner {
    bar: ProgressBar,
    records: AtomicU64,
    failures: AtomicU64,
    started: Instant,
}

/// The counts at the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Records written, or found as they should be.
    pub records: u64,
    /// Records that were not, and lines that are no record.
    pub failures: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Progress {
    /// A bar on a terminal, nothing elsewhere. `bytes`: the input's length, where known.
    pub fn new(bytes: Option<u64>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::hidden();
        }
        let style = |template: &str| ProgressStyle::with_template(template).expect("the template is checked by a test");
        let bar = match bytes {
            Some(bytes) => ProgressBar::new(bytes).with_style(style(WITH_LENGTH)),
            None => ProgressBar::new_spinner().with_style(style(WITHOUT_LENGTH)),
        };
        Self::with(bar)
    }

    /// Draws nothing.
    pub fn hidden() -> Self {
        Self::with(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()))
    }

    fn with(bar: ProgressBar) -> Self {
        let (records, failures) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Inner { bar, records, failures, started: Instant::now() }))
    }

    /// So much of the input was read.
    pub fn position(&self, bytes: u64) {
        self.0.bar.set_position(bytes);
    }

    /// A record was written or found.
    pub fn done(&self) {
        let records = self.0.records.fetch_add(1, Ordering::Relaxed) + 1;
        if records.is_multiple_of(256) && !self.0.bar.is_hidden() {
            let rate = records as f64 / self.0.started.elapsed().as_secs_f64();
            self.0.bar.set_message(format!("{records} records, {rate:.0}/s"));
        }
    }

    /// A record or a line failed; says so at once.
    pub fn failed(&self, line: u64, problem: &str) {
        self.0.failures.fetch_add(1, Ordering::Relaxed);
        self.0.bar.suspend(|| eprintln!("line {line}: {problem}"));
    }

    /// Takes the bar away and counts up.
    pub fn finish(&self) -> Summary {
        self.0.bar.finish_and_clear();
        Summary {
            records: self.0.records.load(Ordering::Relaxed),
            failures: self.0.failures.load(Ordering::Relaxed),
            seconds: self.0.started.elapsed().as_secs_f64(),
        }
    }
}

const WITH_LENGTH: &str = "{bar:30} {percent}% {msg} {binary_bytes_per_sec}, {eta} left";
const WITHOUT_LENGTH: &str = "{spinner} {binary_bytes} {msg} {elapsed}";

impl Summary {
    fn document(&self) -> Value {
        json!({
            "records": self.records,
            "failures": self.failures,
            "seconds": self.seconds,
            "records_per_s": self.records as f64 / self.seconds.max(1e-9),
        })
    }

    /// Prints it; fails where anything did.
    pub fn print(&self, verb: &str, json: bool) -> Result<(), Failure> {
        if json {
            output::document(&self.document())?;
        } else {
            output::line(format!(
                "{} records {verb}, {} failures, {:.1} s, {:.0} records/s",
                self.records,
                self.failures,
                self.seconds,
                self.records as f64 / self.seconds.max(1e-9)
            ))?;
        }
        if self.failures == 0 { Ok(()) } else { Err(Failure::Silent(Exit::NotFound)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_of_the_bars_are_valid() {
        assert!(ProgressStyle::with_template(WITH_LENGTH).is_ok());
        assert!(ProgressStyle::with_template(WITHOUT_LENGTH).is_ok());
    }

    #[test]
    fn the_summary_counts_and_its_document_has_the_rate() {
        let progress = Progress::hidden();
        progress.done();
        progress.done();
        progress.failed(3, "missing");
        let summary = progress.finish();
        assert_eq!((summary.records, summary.failures), (2, 1));
        let document = Summary { records: 10, failures: 0, seconds: 2.0 }.document();
        assert_eq!(document, json!({"records": 10, "failures": 0, "seconds": 2.0, "records_per_s": 5.0}));
    }
}
