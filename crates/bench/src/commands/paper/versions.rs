//! Section 6.3: how many versions a read returns, while many write at once.
//!
//! The paper counts a day of shopping carts. Here editors read, think and write as fast as they can: how often two of them meet at one
//! key is the skew's doing, and their number's.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use plotters::prelude::SeriesLabelPosition;
use serde::{Deserialize, Serialize};

use super::{Output, Results, fig6::skew, measured::Measured};
use crate::{
    commands::session::Session,
    drivers::Connected,
    paper::{
        editors::{self, Counts, Editing, VERSIONS},
        popularity::Popularity,
        published::VERSIONS_PERCENT,
    },
    plots::{self, Curve, Frame},
    show,
    usage::Snapshot,
};

/// How many versions reads return, with concurrent writers (loads three nodes)
#[derive(Debug, Clone, clap::Args)]
pub struct Command {
    #[command(flatten)]
    pub measured: Measured,
    /// Clients that read a key and write it again, at once
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub editors: u32,
    /// The key of rank k is asked for as often as 1/k^SKEW; each is a run
    #[arg(long, value_delimiter = ',', default_value = "0,0.9", value_name = "SKEW,...", value_parser = skew)]
    pub skew: Vec<f64>,
    /// Milliseconds between what is read and the write after it
    #[arg(long, default_value_t = 5, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub think_ms: u64,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// `versions`
    pub figure: String,
    /// When a write was acknowledged.
    pub durability: String,
    /// Of the cluster.
    pub nodes: usize,
    /// Of each value.
    pub value_bytes: u32,
    /// Turns of the editors that only read.
    pub read_percent: u32,
    /// That were there before.
    pub keys: u64,
    /// How unevenly they are asked for.
    pub skew: f64,
    /// At once.
    pub editors: u32,
    /// Between a read and its write.
    pub think_ms: u64,
    /// Counted from 1.
    pub round: u32,
    /// Measured.
    pub seconds: u64,
    /// Reads that found one version, two, and so on; ten or more stand last.
    pub reads_by_versions: [u64; VERSIONS],
    /// Writes after which their coordinator had one version, two, and so on.
    pub writes_by_versions: [u64; VERSIONS],
    /// Most versions that any read or write told.
    pub versions_most: usize,
    /// Requests that failed, and reads that found nothing.
    pub errors: u64,
}

impl Command {
    /// Measures, draws and keeps it.
    pub async fn run(&self, output: &Output) -> Result<Results> {
        let mut session = self.measured.session(output, [self.measured.settings()]).await?;
        let mut rows = Vec::new();
        for round in 0..self.measured.rounds {
            for &skew in &self.skew {
                let counts = self.edit(&mut session, round, skew).await?;
                rows.push(self.row(session.stores[0].label().durability.clone(), round, skew, counts));
            }
        }
        session.end().await?;
        draw(output, &rows)?;
        Results::keep(output, &rows, text(&rows))
    }

    async fn edit(&self, session: &mut Session, round: u32, skew: f64) -> Result<Counts> {
        let load = session.flags().load(self.measured.cell(self.editors as usize));
        let mut tries = 1;
        loop {
            let asking = session.ready(0, load, round, &format!("{} editors, skew {skew}", self.editors)).await?;
            let Connected::Ours(store) = &asking.driver else { unreachable!("its cluster is ours") };
            let editing = Arc::new(Editing {
                store: store.clone(),
                ledger: asking.ledger.clone(),
                values: asking.values.clone(),
                popularity: Popularity::new(self.measured.keys, skew),
                read_percent: self.measured.reads,
                think: Duration::from_millis(self.think_ms),
            });
            let (editors, seed) = (self.editors as usize, u64::from(round) * 2);
            editors::run(editing.clone(), editors, session.flags().warmup(round), seed).await?;
            let pids = session.stores[0].pids();
            let before = Snapshot::take(&pids);
            let counts = editors::run(editing, editors, Duration::from_secs(self.measured.seconds), seed + 1).await?;
            let usage = Snapshot::take(&pids).since(&before, counts.all_reads());
            session.tell_errors(0, counts.example.as_deref());
            session.crash(0, load).await?;
            if !session.disturbed_again(0, &usage, &mut tries) {
                return Ok(counts);
            }
        }
    }

    fn row(&self, durability: String, round: u32, skew: f64, counts: Counts) -> Row {
        Row {
            figure: "versions".to_owned(),
            durability,
            nodes: self.measured.settings().nodes,
            value_bytes: self.measured.value_bytes,
            read_percent: self.measured.reads,
            keys: self.measured.keys,
            skew,
            editors: self.editors,
            think_ms: self.think_ms,
            round: round + 1,
            seconds: self.measured.seconds,
            reads_by_versions: counts.reads,
            writes_by_versions: counts.writes,
            versions_most: counts.most,
            errors: counts.errors,
        }
    }
}

/// Percent of all, one version first.
fn percent(counts: &[u64; VERSIONS]) -> [f64; VERSIONS] {
    let all = counts.iter().sum::<u64>().max(1) as f64;
    counts.map(|count| 100.0 * count as f64 / all)
}

/// The paper's four, and what is beyond.
fn columns(percent: &[f64]) -> Vec<String> {
    // Not a sum, which is -0 of none.
    let beyond = percent.iter().skip(VERSIONS_PERCENT.len()).fold(0.0, |sum, percent| sum + percent);
    percent[..VERSIONS_PERCENT.len()].iter().chain([&beyond]).map(|percent| format!("{percent:.5}")).collect()
}

fn text(rows: &[Row]) -> String {
    let line = |row: &Row, what: &str, counts: &[u64; VERSIONS]| {
        let mut line = vec![what.to_owned(), row.skew.to_string(), counts.iter().sum::<u64>().to_string()];
        line.extend(columns(&percent(counts)));
        line.extend([row.versions_most.to_string(), row.errors.to_string()]);
        line
    };
    let both = |row: &Row| [line(row, "reads", &row.reads_by_versions), line(row, "writes", &row.writes_by_versions)];
    let mut lines: Vec<Vec<String>> = rows.iter().flat_map(both).collect();
    let mut paper = vec!["the paper's reads".to_owned(), "-".to_owned(), "-".to_owned()];
    paper.extend(columns(&VERSIONS_PERCENT));
    paper.extend(["-".to_owned(), "-".to_owned()]);
    lines.push(paper);
    show::table("WHAT|SKEW|REQUESTS|1 VERSION %|2 %|3 %|4 %|MORE %|MOST|ERRORS", lines.into_iter())
        + "\nVersions that a read returned, and that the coordinator had after a write\n"
}

/// All rounds of a skew are one curve. No read with so many versions is no point: 0 has no place in decades.
fn draw(output: &Output, rows: &[Row]) -> Result<()> {
    let mut skews: Vec<f64> = Vec::new();
    rows.iter().for_each(|row| {
        if !skews.contains(&row.skew) {
            skews.push(row.skew)
        }
    });
    let points = |percent: &[f64]| {
        let at = (1..).map(f64::from).zip(percent.iter().copied());
        at.filter(|point| point.1 > 0.0).collect::<Vec<_>>()
    };
    let curve = |(colour, skew): (usize, &f64)| {
        let mut counts = [0; VERSIONS];
        for row in rows.iter().filter(|row| row.skew == *skew) {
            counts.iter_mut().zip(row.reads_by_versions).for_each(|(count, more)| *count += more);
        }
        Curve { name: format!("skew {skew}"), points: points(&percent(&counts)), colour, dashed: false }
    };
    let mut curves: Vec<Curve> = skews.iter().enumerate().map(curve).collect();
    let colour = curves.len();
    curves.push(Curve { name: "the paper".to_owned(), points: points(&VERSIONS_PERCENT), colour, dashed: true });
    let frame = Frame {
        title: "Versions that a read returns (section 6.3)",
        across: "versions",
        up: "reads, percent",
        legend: SeriesLabelPosition::UpperRight,
    };
    let whole = |x: f64| if x.fract() == 0.0 { format!("{x}") } else { String::new() };
    plots::logarithmic(&output.plot("versions"), frame, 0.5 + plots::furthest(&curves), &curves, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_fractions_of_reads_and_writes_and_the_papers_below() {
        let mut row = Row {
            figure: "versions".to_owned(),
            durability: "fsync".to_owned(),
            nodes: 3,
            value_bytes: 100,
            read_percent: 50,
            keys: 10,
            skew: 0.9,
            editors: 4,
            think_ms: 1,
            round: 1,
            seconds: 1,
            reads_by_versions: [0; VERSIONS],
            writes_by_versions: [0; VERSIONS],
            versions_most: 7,
            errors: 0,
        };
        row.reads_by_versions[..2].copy_from_slice(&[999, 1]);
        row.writes_by_versions[..7].copy_from_slice(&[3, 0, 0, 0, 0, 0, 1]);
        let text = text(&[row]);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let zero = "0.00000";
        assert_eq!(lines[1], ["reads", "0.9", "1000", "99.90000", "0.10000", zero, zero, zero, "7", "0"], "{text}");
        assert_eq!(lines[2], ["writes", "0.9", "4", "75.00000", zero, zero, zero, "25.00000", "7", "0"], "{text}");
        let paper = ["the", "paper's", "reads", "-", "-", "99.94000", "0.00057", "0.00047", "0.00009", zero, "-", "-"];
        assert_eq!(lines[3], paper, "{text}");
    }
}
