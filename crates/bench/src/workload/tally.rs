//! What came of a run's requests.

use hdrhistogram::Histogram;

use super::Answer;

/// Two minutes, in microseconds.
const LATENCY_MAX_US: u64 = 120_000_000;

/// Latencies in microseconds to three digits, and what failed.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Of reads.
    pub reads: Histogram<u64>,
    /// Of writes.
    pub writes: Histogram<u64>,
    /// Requests that failed.
    pub failed: u64,
    /// Reads that found nothing, or something of another length.
    pub missing: u64,
    /// One error, to show.
    pub example: Option<String>,
}

/// An empty histogram of latencies.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("the bounds are valid")
}

impl Default for Tally {
    fn default() -> Self {
        Self { reads: latencies(), writes: latencies(), failed: 0, missing: 0, example: None }
    }
}

impl Tally {
    /// Counts one request. What took longer than can be told took the longest that can be.
    pub fn count(&mut self, ended: &anyhow::Result<Answer>, latency_us: u64) {
        match ended {
            Ok(Answer::Read) => self.reads.saturating_record(latency_us.max(1)),
            Ok(Answer::Written) => self.writes.saturating_record(latency_us.max(1)),
            Ok(Answer::Missing) => self.missing += 1,
            Err(error) => {
                self.failed += 1;
                self.example.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }

    /// Takes another client's in.
    pub fn add(&mut self, other: &Self) {
        self.reads.add(&other.reads).expect("same bounds");
        self.writes.add(&other.writes).expect("same bounds");
        self.failed += other.failed;
        self.missing += other.missing;
        self.example = self.example.take().or_else(|| other.example.clone());
    }

    /// Reads and writes alike.
    pub fn all(&self) -> Histogram<u64> {
        let mut all = self.reads.clone();
        all.add(&self.writes).expect("same bounds");
        all
    }

    /// Requests that were answered as they should be.
    pub fn operations(&self) -> u64 {
        self.reads.len() + self.writes.len()
    }

    /// Requests that were not.
    pub fn errors(&self) -> u64 {
        self.failed + self.missing
    }
}

/// A quantile in milliseconds.
pub fn quantile_ms(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_of_nothing_and_a_failure_are_errors_and_no_latencies() {
        let mut tally = Tally::default();
        tally.count(&Ok(Answer::Read), 1500);
        tally.count(&Ok(Answer::Written), 2500);
        tally.count(&Ok(Answer::Missing), 1);
        tally.count(&Err(anyhow::anyhow!("refused")), 1);
        let mut sum = Tally::default();
        sum.add(&tally);
        sum.add(&tally);
        assert_eq!((sum.operations(), sum.errors(), sum.failed, sum.missing), (4, 4, 2, 2));
        assert_eq!((sum.reads.len(), sum.writes.len()), (2, 2));
        assert_eq!(sum.example.as_deref(), Some("refused"));
        assert_eq!((quantile_ms(&sum.all(), 0.5), quantile_ms(&sum.reads, 0.5)), (1.5, 1.5));
    }

    #[test]
    fn what_takes_too_long_to_tell_is_no_panic_and_not_forgotten() {
        let mut tally = Tally::default();
        tally.count(&Ok(Answer::Read), u64::MAX);
        tally.count(&Ok(Answer::Read), 0);
        assert_eq!(tally.reads.len(), 2);
        assert!(quantile_ms(&tally.reads, 1.0) >= 120_000.0);
    }
}
