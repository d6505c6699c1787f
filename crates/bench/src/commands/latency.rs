//! `dynamo-bench latency`: requests at a constant rate, and what each of them waits from when it was due.

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;

use super::session::{Flags, Session};
use crate::{
    cell::{Cell, Cells},
    plots,
    rows::{OpenRow, append},
    show::{self, Format},
};

const EXAMPLES: &str = "\
Examples:
  dynamo-bench latency                                       # ours, at half and at 80 % of what they can do
  DYNAMO_PEERS=../peers dynamo-bench latency --peers cassandra --rate 5000

Appends a row a run to OUT/latency.jsonl, and draws OUT/latency-quantiles.svg of this run.";

/// Latency at a constant rate of arrivals (open loop), corrected for coordinated omission
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    /// Size of values, share of reads, and clients that find out the most a store can do
    #[arg(long, default_value = "1024:50:128", value_name = "VALUE:READS:CLIENTS")]
    cell: Cells,
    /// Arrivals, in percent of each store's own maximum, which is measured first
    #[arg(long, value_delimiter = ',', default_value = "50,80", value_name = "PERCENT,...",
          value_parser = clap::value_parser!(u32).range(1..=200))]
    percent: Vec<u32>,
    /// Arrivals a second, the same for all stores, in place of a share
    #[arg(long, value_delimiter = ',', conflicts_with = "percent", value_name = "N,...",
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: Vec<u32>,
    #[command(flatten)]
    flags: Flags,
}

/// How much is offered.
#[derive(Debug, Clone, Copy)]
enum Rate {
    Percent(u32),
    Fixed(u32),
}

impl Command {
    /// Runs it to its end.
    ///
    /// # Errors
    /// A store failed, or lost what it had acknowledged. The rows until then are kept.
    pub async fn run(self) -> Result<()> {
        let [cell] = self.cell.0[..] else { anyhow::bail!("--cell: one combination, as in 1024:50:128") };
        let rates: Vec<Rate> = match self.rate.is_empty() {
            true => self.percent.into_iter().map(Rate::Percent).collect(),
            false => self.rate.into_iter().map(Rate::Fixed).collect(),
        };
        let mut session = self.flags.session()?;
        session.fill(cell.value_bytes).await?;
        let maxima = if self_needs_maxima(&rates) { maxima(&mut session, cell).await? } else { Vec::new() };
        let (mut rows, mut histograms) = (Vec::new(), Vec::new());
        for round in 0..session.flags().rounds {
            for &rate in &rates {
                for turn in 0..session.stores.len() {
                    let store = (turn + round as usize) % session.stores.len();
                    let (offered, percent) = match rate {
                        Rate::Fixed(rate) => (f64::from(rate), None),
                        Rate::Percent(percent) => (maxima[store] * f64::from(percent) / 100.0, Some(percent)),
                    };
                    let (row, latencies) = run(&mut session, store, cell, round, (offered, percent)).await?;
                    remember(&mut histograms, &row, latencies);
                    rows.push(row);
                }
            }
        }
        finish(session, &rows, &histograms).await
    }
}

fn self_needs_maxima(rates: &[Rate]) -> bool {
    rates.iter().any(|rate| matches!(rate, Rate::Percent(_)))
}

/// What each store does in a closed loop.
async fn maxima(session: &mut Session, cell: Cell) -> Result<Vec<f64>> {
    let mut maxima = Vec::new();
    for store in 0..session.stores.len() {
        let most = session.closed(store, cell, 0).await?.rate();
        let label = session.stores[store].label();
        session.say(format!("{label}, {cell}: {most:.0} operations/s at the most"));
        ensure!(most >= 1.0, "{label} answered nothing: there is no share of that");
        maxima.push(most);
    }
    Ok(maxima)
}

async fn run(
    session: &mut Session,
    store: usize,
    cell: Cell,
    round: u32,
    (offered, percent): (f64, Option<u32>),
) -> Result<(OpenRow, Histogram<u64>)> {
    let arrived = session.open(store, cell, round, offered, 1).await?;
    let label = session.stores[store].label().clone();
    let row = OpenRow::of(&label, cell, offered, percent, &arrived);
    append(&session.flags().out.join("latency.jsonl"), &row)?;
    session.say(format!(
        "round {}: {label}, {offered:.0} requests/s: p50 {:.2}, p99 {:.2}, p99.9 {:.2}, p99.99 {:.2} ms, {} errors",
        round + 1,
        row.p50_ms,
        row.p99_ms,
        row.p999_ms,
        row.p9999_ms,
        row.errors
    ));
    Ok((row, arrived.tally.all()))
}

/// All rounds of one load are one curve.
fn remember(histograms: &mut Vec<(String, Histogram<u64>)>, row: &OpenRow, latencies: Histogram<u64>) {
    let name = match row.percent_of_maximum {
        Some(percent) => format!("{} at {percent} %", row.label()),
        None => format!("{} at {:.0}/s", row.label(), row.offered_per_s),
    };
    match histograms.iter_mut().find(|(known, _)| *known == name) {
        Some((_, histogram)) => histogram.add(latencies).expect("same bounds"),
        None => histograms.push((name, latencies)),
    }
}

async fn finish(session: Session, rows: &[OpenRow], histograms: &[(String, Histogram<u64>)]) -> Result<()> {
    let (out, output) = (session.flags().out.clone(), session.flags().output);
    plots::quantiles(&out.join("latency-quantiles.svg"), "Latency by quantile, open loop", histograms)?;
    session.end().await?;
    match output {
        Format::Json => show::print(&serde_json::to_string_pretty(rows)?),
        Format::Text => show::print(&show::open(rows)),
    }
}
