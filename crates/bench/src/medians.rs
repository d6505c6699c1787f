//! Medians over the runs of a cell, and how ours stand to the others: quotients of medians.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{cell::Cell, rows::Row, stores::Label};

/// A cell of one store.
#[derive(Debug, Clone, PartialEq)]
pub struct Median {
    /// Each figure is the median of the runs', but for errors, which are all runs'.
    pub row: Row,
    /// How many runs.
    pub runs: usize,
    /// The least and the most operations a second.
    pub spread: (f64, f64),
}

/// Ours beside another one in a cell. Each figure is ours divided by theirs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratio {
    /// Which cell.
    pub value_bytes: usize,
    /// Which cell.
    pub read_percent: u32,
    /// Which cell.
    pub clients: usize,
    /// What of ours.
    pub ours: String,
    /// Beside whom.
    pub theirs: String,
    /// More is better.
    pub ops_per_s: f64,
    /// Less is better.
    pub p99: f64,
    /// Less is better.
    pub p999: f64,
    /// Less is better.
    pub server_us_per_op: f64,
    /// Less is better.
    pub rss: f64,
    /// What the operations are meant to be at the least.
    pub ops_bar: Option<f64>,
}

/// In the order of the rows' first runs.
pub fn medians(rows: &[Row]) -> Vec<Median> {
    let mut order: Vec<(Cell, Label)> = Vec::new();
    let mut runs: BTreeMap<(Cell, Label), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let of = runs.entry((row.cell(), row.label())).or_default();
        if of.is_empty() {
            order.push((row.cell(), row.label()));
        }
        of.push(row);
    }
    let mut medians: Vec<Median> = order.iter().map(|key| of(&runs[key])).collect();
    // Stable: stores stay in their order within a cell.
    let cells: Vec<Cell> = order.iter().map(|(cell, _)| *cell).collect();
    medians.sort_by_key(|median| cells.iter().position(|cell| *cell == median.row.cell()));
    medians
}

fn of(runs: &[&Row]) -> Median {
    let of = |figure: fn(&Row) -> f64| median(runs.iter().map(|row| figure(row)));
    let row = Row {
        ops_per_s: of(|row| row.ops_per_s),
        p50_ms: of(|row| row.p50_ms),
        p99_ms: of(|row| row.p99_ms),
        p999_ms: of(|row| row.p999_ms),
        server_us_per_op: of(|row| row.server_us_per_op),
        rss_mib: of(|row| row.rss_mib),
        errors: runs.iter().map(|row| row.errors).sum(),
        ..runs[0].clone()
    };
    let rates = || runs.iter().map(|row| row.ops_per_s);
    let spread = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
    Median { row, runs: runs.len(), spread }
}

/// Of an even number: the mean of the middle two.
pub fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => f64::NAN,
        length => f64::midpoint(numbers[(length - 1) / 2], numbers[length / 2]),
    }
}

/// Ours beside each peer, cell by cell; and ours with TLS beside ours without.
pub fn ratios(medians: &[Median]) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    for ours in medians.iter().filter(|median| is_ours(&median.row)) {
        let beside = |theirs: &&Median| theirs.row.cell() == ours.row.cell() && is_beside(&ours.row, &theirs.row);
        ratios.extend(medians.iter().filter(beside).map(|theirs| ratio(&ours.row, &theirs.row)));
    }
    ratios
}

/// Whether it is this project's.
pub fn is_ours(row: &Row) -> bool {
    row.store.starts_with("dynamo")
}

fn is_beside(ours: &Row, theirs: &Row) -> bool {
    match is_ours(theirs) {
        false => ours.store == "dynamo",
        true => ours.store == "dynamo-tls" && theirs.store == "dynamo" && ours.durability == theirs.durability,
    }
}

fn ratio(ours: &Row, theirs: &Row) -> Ratio {
    Ratio {
        value_bytes: ours.value_bytes,
        read_percent: ours.read_percent,
        clients: ours.clients,
        ours: ours.label().to_string(),
        theirs: theirs.label().to_string(),
        ops_per_s: ours.ops_per_s / theirs.ops_per_s,
        p99: ours.p99_ms / theirs.p99_ms,
        p999: ours.p999_ms / theirs.p999_ms,
        server_us_per_op: ours.server_us_per_op / theirs.server_us_per_op,
        rss: ours.rss_mib / theirs.rss_mib,
        ops_bar: bar(ours, theirs),
    }
}

/// What this project means to reach, at the least.
fn bar(ours: &Row, theirs: &Row) -> Option<f64> {
    match (ours.durability.as_str(), theirs.store.as_str(), theirs.durability.as_str()) {
        (_, "dynamo", _) => Some(0.85),
        ("fsync", "cassandra", "periodic") => Some(5.0),
        ("interval", "cassandra", "periodic") => Some(6.0),
        ("fsync", "cassandra", "batch") => Some(9.0),
        ("fsync", "etcd", _) if ours.read_percent == 50 => Some(4.0),
        ("fsync", "etcd", _) if ours.read_percent == 95 => Some(3.0),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two of ours, three of a peer, in one cell; one of each in another.
    pub fn rows() -> Vec<Row> {
        let row = |store: &str, durability: &str, read_percent, ops_per_s: f64| Row {
            store: store.to_owned(),
            durability: durability.to_owned(),
            value_bytes: 1024,
            read_percent,
            clients: 32,
            ops_per_s,
            p50_ms: 1.0,
            p99_ms: 100_000.0 / ops_per_s,
            p999_ms: 200_000.0 / ops_per_s,
            server_us_per_op: 1_000_000.0 / ops_per_s,
            rss_mib: if store == "dynamo" { 300.0 } else { 6000.0 },
            errors: 1,
        };
        vec![
            row("dynamo", "fsync", 50, 10_000.0),
            row("cassandra", "periodic", 50, 2_000.0),
            row("dynamo", "fsync", 95, 30_000.0),
            row("cassandra", "periodic", 95, 6_000.0),
            row("dynamo", "fsync", 50, 20_000.0),
            row("cassandra", "periodic", 50, 9_000.0),
            row("cassandra", "periodic", 50, 3_000.0),
            row("dynamo-tls", "fsync", 50, 12_000.0),
        ]
    }

    #[test]
    fn a_median_is_the_middle_run_or_the_mean_of_the_middle_two() {
        let medians = medians(&rows());
        let names: Vec<String> =
            medians.iter().map(|median| format!("{} {}", median.row.store, median.row.read_percent)).collect();
        assert_eq!(names, ["dynamo 50", "cassandra 50", "dynamo-tls 50", "dynamo 95", "cassandra 95"]);
        assert_eq!((medians[0].row.ops_per_s, medians[0].runs, medians[0].row.errors), (15_000.0, 2, 2));
        assert_eq!((medians[1].row.ops_per_s, medians[1].spread), (3_000.0, (2_000.0, 9_000.0)));
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn ratios_are_ours_over_theirs_in_the_same_cell() {
        let ratios = ratios(&medians(&rows()));
        let told: Vec<(&str, &str, u32)> =
            ratios.iter().map(|ratio| (&ratio.ours[..], &ratio.theirs[..], ratio.read_percent)).collect();
        let expected = [
            ("dynamo fsync", "cassandra periodic", 50),
            ("dynamo-tls fsync", "dynamo fsync", 50),
            ("dynamo fsync", "cassandra periodic", 95),
        ];
        assert_eq!(told, expected);
        let first = &ratios[0];
        assert_eq!((first.ops_per_s, first.rss, first.ops_bar), (5.0, 0.05, Some(5.0)));
        // Medians of each figure, not the figures of the middle run: 7.5 ms over 33.3 ms.
        assert!((first.p99 - 0.225).abs() < 1e-9 && (first.p999 - 0.225).abs() < 1e-9, "{first:?}");
        assert!((ratios[1].ops_per_s - 0.8).abs() < 1e-9 && ratios[1].ops_bar == Some(0.85));
    }

    #[test]
    fn bars_follow_what_both_promise() {
        let rows = rows();
        let bar_of = |ours: &str, store: &str, durability: &str, read_percent| {
            let ours = Row { durability: ours.to_owned(), read_percent, ..rows[0].clone() };
            let theirs = Row { store: store.to_owned(), durability: durability.to_owned(), ..rows[1].clone() };
            bar(&ours, &theirs)
        };
        assert_eq!(bar_of("interval", "cassandra", "periodic", 50), Some(6.0));
        assert_eq!(bar_of("fsync", "cassandra", "batch", 95), Some(9.0));
        assert_eq!(bar_of("fsync", "etcd", "fsync", 50), Some(4.0));
        assert_eq!(bar_of("fsync", "etcd", "fsync", 95), Some(3.0));
        assert_eq!(bar_of("interval", "cassandra", "batch", 50), None, "ours promise less");
        assert_eq!(bar_of("fsync", "etcd-serializable", "fsync", 50), None);
    }
}
