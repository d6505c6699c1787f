//! `dynamo-bench compare`: all stores in each cell in turn, round by round, in a closed loop.

use anyhow::Result;
use hdrhistogram::Histogram;

use super::session::{Flags, Session};
use crate::{
    cell::{Cell, Cells},
    plots,
    rows::{Row, append},
    show::{self, Format},
    stores::Label,
    workload::tally::latencies,
};

const EXAMPLES: &str = "\
Examples:
  dynamo-bench compare                                       # ours alone
  DYNAMO_PEERS=../peers dynamo-bench compare --peers cassandra,etcd
  DYNAMO_PEERS=../peers dynamo-bench compare --peers cassandra-batch --durability fsync
  dynamo-bench compare --tls --cells quick --rounds 5

Appends a row a run to OUT/compare.jsonl, and draws OUT/compare-throughput.svg and OUT/compare-quantiles.svg of this run.";

/// Throughput and latency of so many clients, beside other stores
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    /// Which combinations: `all` (1024 and 100 bytes, 50 and 95 % reads, 32 and 128 clients), `quick`, or a list
    #[arg(long, default_value = "all", value_name = "VALUE:READS:CLIENTS,...")]
    cells: Cells,
    #[command(flatten)]
    flags: Flags,
}

/// Latencies of all runs of a cell.
type Latencies = Vec<((Cell, Label), Histogram<u64>)>;

impl Command {
    /// Runs it to its end.
    ///
    /// # Errors
    /// A store failed, or lost what it had acknowledged. The rows until then are kept.
    pub async fn run(self) -> Result<()> {
        let mut session = self.flags.session()?;
        let (mut rows, mut histograms) = (Vec::new(), Latencies::new());
        for cells in self.cells.0.chunk_by(|one, next| one.value_bytes == next.value_bytes) {
            session.fill(cells[0].value_bytes).await?;
            for round in 0..session.flags().rounds {
                for &cell in cells {
                    turns(&mut session, cell, round, &mut rows, &mut histograms).await?;
                }
            }
        }
        let (out, output) = (session.flags().out.clone(), session.flags().output);
        plots::throughput(&out.join("compare-throughput.svg"), &rows)?;
        plots::quantiles(&out.join("compare-quantiles.svg"), "Latency by quantile, closed loop", &named(histograms))?;
        let promises = session.promises();
        session.end().await?;
        match output {
            Format::Json => show::print(&serde_json::to_string_pretty(&rows)?),
            Format::Text => show::print(&show::compared(&rows, &promises)),
        }
    }
}

/// Each store once. Who begins goes round, so that none always follows the same one.
async fn turns(
    session: &mut Session,
    cell: Cell,
    round: u32,
    rows: &mut Vec<Row>,
    histograms: &mut Latencies,
) -> Result<()> {
    for turn in 0..session.stores.len() {
        let store = (turn + round as usize) % session.stores.len();
        let outcome = session.closed(store, cell, round).await?;
        let label = session.stores[store].label().clone();
        let row = Row::of(&label, cell, &outcome);
        append(&session.flags().out.join("compare.jsonl"), &row)?;
        session.say(format!(
            "round {}: {label}, {cell}: {:.0} operations/s, p99 {:.2} ms, {:.0} us of server CPU each, {} errors",
            round + 1,
            row.ops_per_s,
            row.p99_ms,
            row.server_us_per_op,
            row.errors
        ));
        rows.push(row);
        let key = (cell, label);
        match histograms.iter_mut().find(|(known, _)| *known == key) {
            Some((_, histogram)) => histogram.add(outcome.tally.all())?,
            None => histograms.push((key, outcome.tally.all())),
        }
    }
    Ok(())
}

/// The plot shows the first cell: eight of them for each store could not be told from each other.
fn named(histograms: Latencies) -> Vec<(String, Histogram<u64>)> {
    let first = histograms.first().map(|((cell, _), _)| *cell);
    let shown = histograms.into_iter().filter(|((cell, _), _)| Some(*cell) == first);
    let mut named: Vec<_> = shown.map(|((cell, label), latencies)| (format!("{label}, {cell}"), latencies)).collect();
    named.sort_by(|one, other| one.0.cmp(&other.0));
    if named.is_empty() { vec![("nothing".to_owned(), latencies())] } else { named }
}
