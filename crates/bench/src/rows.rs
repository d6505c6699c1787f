//! What is kept of a run: a row, a line of JSON in a file that is appended to.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    cell::Cell,
    stores::Label,
    workload::{closed::Outcome, open::Arrived, tally::quantile_ms},
};

/// A run in a closed loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Which store.
    pub store: String,
    /// When it acknowledges a write.
    pub durability: String,
    /// Of each value.
    pub value_bytes: usize,
    /// 0 to 100.
    pub read_percent: u32,
    /// How many asked at once.
    pub clients: usize,
    /// Answered as they should be.
    pub ops_per_s: f64,
    /// Of reads and writes alike.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// The same.
    pub p999_ms: f64,
    /// CPU of all servers together.
    pub server_us_per_op: f64,
    /// Of all servers together, at the end.
    pub rss_mib: f64,
    /// Requests that failed, and reads that found nothing.
    pub errors: u64,
}

impl Row {
    /// Of a run.
    pub fn of(label: &Label, cell: Cell, outcome: &Outcome) -> Self {
        let latencies = outcome.tally.all();
        Self {
            store: label.store.clone(),
            durability: label.durability.clone(),
            value_bytes: cell.value_bytes,
            read_percent: cell.read_percent,
            clients: cell.clients,
            ops_per_s: rounded(outcome.rate()),
            p50_ms: quantile_ms(&latencies, 0.5),
            p99_ms: quantile_ms(&latencies, 0.99),
            p999_ms: quantile_ms(&latencies, 0.999),
            server_us_per_op: rounded(outcome.usage.server_us_per_op),
            rss_mib: rounded(outcome.usage.rss_mib),
            errors: outcome.tally.errors(),
        }
    }

    /// Which combination.
    pub fn cell(&self) -> Cell {
        Cell { value_bytes: self.value_bytes, read_percent: self.read_percent, clients: self.clients }
    }

    /// Which store.
    pub fn label(&self) -> Label {
        Label { store: self.store.clone(), durability: self.durability.clone() }
    }
}

/// A run in an open loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenRow {
    /// Which store.
    pub store: String,
    /// When it acknowledges a write.
    pub durability: String,
    /// Of each value.
    pub value_bytes: usize,
    /// 0 to 100.
    pub read_percent: u32,
    /// Requests that were to come in a second.
    pub offered_per_s: f64,
    /// What that is of the store's own maximum; none where the rate was given.
    pub percent_of_maximum: Option<u32>,
    /// Requests that were due.
    pub due: u64,
    /// Counted from when the request was due.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// The same.
    pub p999_ms: f64,
    /// The same.
    pub p9999_ms: f64,
    /// The same.
    pub max_ms: f64,
    /// CPU of all servers together.
    pub server_us_per_op: f64,
    /// Of all servers together, at the end.
    pub rss_mib: f64,
    /// Requests that failed, and reads that found nothing. They are in no quantile.
    pub errors: u64,
    /// Requests that were given up. They are in the quantiles, with the time that they were waited for at the least.
    pub unanswered: u64,
}

impl OpenRow {
    /// Of a run.
    pub fn of(
        label: &Label,
        cell: Cell,
        offered_per_s: f64,
        percent_of_maximum: Option<u32>,
        arrived: &Arrived,
    ) -> Self {
        let latencies = arrived.tally.all();
        Self {
            store: label.store.clone(),
            durability: label.durability.clone(),
            value_bytes: cell.value_bytes,
            read_percent: cell.read_percent,
            offered_per_s: rounded(offered_per_s),
            percent_of_maximum,
            due: arrived.due,
            p50_ms: quantile_ms(&latencies, 0.5),
            p99_ms: quantile_ms(&latencies, 0.99),
            p999_ms: quantile_ms(&latencies, 0.999),
            p9999_ms: quantile_ms(&latencies, 0.9999),
            max_ms: latencies.max() as f64 / 1000.0,
            server_us_per_op: rounded(arrived.usage.server_us_per_op),
            rss_mib: rounded(arrived.usage.rss_mib),
            errors: arrived.tally.errors(),
            unanswered: arrived.unanswered,
        }
    }

    /// Which store.
    pub fn label(&self) -> Label {
        Label { store: self.store.clone(), durability: self.durability.clone() }
    }
}

/// To a tenth: more digits say nothing.
fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Appends a row to a file, which is made where it is missing, with its folder.
///
/// # Errors
/// It can't be written.
pub fn append(path: &Path, row: &impl Serialize) -> Result<()> {
    let write = || -> std::io::Result<()> {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut file = File::options().create(true).append(true).open(path)?;
        let line = serde_json::to_string(row).expect("plain data can be written") + "\n";
        file.write_all(line.as_bytes())
    };
    write().with_context(|| format!("the row can't be appended to {}", path.display()))
}

/// All rows of a file.
///
/// # Errors
/// It can't be read, or a line is no row.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    let row = |(number, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}, line {}: no row", path.display(), number + 1))
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        usage::Usage,
        workload::{Answer, tally::Tally},
    };

    fn label() -> Label {
        Label { store: "dynamo".to_owned(), durability: "fsync".to_owned() }
    }

    fn usage() -> Usage {
        Usage {
            server_us_per_op: 123.456,
            client_us_per_op: 1.0,
            server_percent: 1.0,
            other_percent: 0.0,
            rss_mib: 77.77,
        }
    }

    fn tally() -> Tally {
        let mut tally = Tally::default();
        (1..=1000).for_each(|ms| tally.count(&Ok(Answer::Read), ms * 1000));
        (1..=1000).for_each(|ms| tally.count(&Ok(Answer::Written), ms * 1000));
        tally.count(&Ok(Answer::Missing), 1);
        tally
    }

    #[test]
    fn a_row_has_the_fields_that_are_promised_and_comes_back_from_its_file() {
        let outcome = Outcome { tally: tally(), usage: usage(), measured: Duration::from_secs(20) };
        let cell = Cell { value_bytes: 1024, read_percent: 50, clients: 32 };
        let row = Row::of(&label(), cell, &outcome);
        assert_eq!((row.ops_per_s, row.errors, row.server_us_per_op, row.rss_mib), (100.0, 1, 123.5, 77.8));
        let near = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.002, "{found}");
        near(row.p50_ms, 500.0);
        near(row.p99_ms, 990.0);
        near(row.p999_ms, 999.0);
        let text = serde_json::to_value(&row).unwrap();
        let fields: Vec<&String> = text.as_object().unwrap().keys().collect();
        let promised = "store durability value_bytes read_percent clients ops_per_s p50_ms p99_ms p999_ms server_us_per_op rss_mib errors";
        assert_eq!(fields, promised.split(' ').collect::<Vec<_>>());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.jsonl");
        append(&path, &row).unwrap();
        append(&path, &row).unwrap();
        assert_eq!(read::<Row>(&path).unwrap(), [row.clone(), row]);
        fs::write(&path, "{}\n").unwrap();
        assert!(format!("{:#}", read::<Row>(&path).unwrap_err()).contains("b.jsonl, line 1"));
    }

    #[test]
    fn a_row_of_an_open_loop_says_what_was_due_and_what_was_never_answered() {
        let arrived = Arrived { tally: tally(), due: 2004, unanswered: 3, slices: Vec::new(), usage: usage() };
        let cell = Cell { value_bytes: 100, read_percent: 95, clients: 128 };
        let row = OpenRow::of(&label(), cell, 5000.04, Some(80), &arrived);
        assert_eq!((row.offered_per_s, row.due, row.unanswered, row.errors), (5000.0, 2004, 3, 1));
        assert!((row.p9999_ms / 1000.0 - 1.0).abs() < 0.002 && row.max_ms >= 999.0, "{row:?}");
    }
}
