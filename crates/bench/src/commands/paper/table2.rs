//! Table 2 (§6.4): clients that know the ring and go to a home of the key, beside clients that ask any node, as they do behind a load
//! balancer. Such a node sends a write on to a home (a read it gathers itself).

use anyhow::Result;
use dynamo_client::Routing;
use plotters::prelude::SeriesLabelPosition;
use serde::{Deserialize, Serialize};

use super::{
    Output, Results,
    measured::{COLUMNS, Latencies, Measured, Rate},
};
use crate::{
    paper::published::TABLE2,
    plots::{self, Curve, Frame},
    show,
    stores::ours::Settings,
    workload::tally::Tally,
};

/// Client- against server-driven coordination, at a constant rate of requests (loads real nodes)
#[derive(Debug, Clone, clap::Args)]
pub struct Command {
    #[command(flatten)]
    pub measured: Measured,
    #[command(flatten)]
    pub rate: Rate,
    /// More than three, which are all of them homes of every key
    #[arg(long, default_value_t = 6, value_name = "N", value_parser = clap::value_parser!(u32).range(4..=60))]
    pub nodes: u32,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `table2`
    pub figure: String,
    /// `client` or `server`
    pub coordination: String,
    /// When a write was acknowledged.
    pub durability: String,
    /// Of the cluster.
    pub nodes: u32,
    /// Of each value.
    pub value_bytes: u32,
    /// Of all requests.
    pub read_percent: u32,
    /// That were there before.
    pub keys: u64,
    /// Requests that were to come in a second.
    pub offered_per_s: u32,
    /// Counted from 1.
    pub round: u32,
    /// Requests that were due.
    pub due: u64,
    /// Counted from when a request was due.
    #[serde(flatten)]
    pub latencies: Latencies,
    /// CPU of all servers together.
    pub server_us_per_op: f64,
    /// Requests that failed, and reads that found nothing.
    pub errors: u64,
    /// Requests that were given up: they stand with the reads.
    pub unanswered: u64,
}

/// In the order in which the paper has them.
const KINDS: [(&str, Routing); 2] = [("server", Routing::Server), ("client", Routing::Coordinator)];

impl Command {
    /// Measures, draws and keeps it.
    pub async fn run(&self, output: &Output) -> Result<Results> {
        let settings = |(_, routing)| Settings { routing, nodes: self.nodes as usize, ..self.measured.settings() };
        let mut session = self.measured.session(output, KINDS.map(settings)).await?;
        let (mut rows, mut wholes) = (Vec::new(), [Tally::default(), Tally::default()]);
        for round in 0..self.measured.rounds {
            for turn in 0..KINDS.len() {
                let store = (turn + round as usize) % KINDS.len();
                let rate = f64::from(self.rate.per_s);
                let arrived = session.open(store, self.measured.cell(1), round, rate, 1).await?;
                wholes[store].add(&arrived.tally);
                rows.push(Row {
                    figure: "table2".to_owned(),
                    coordination: KINDS[store].0.to_owned(),
                    durability: session.stores[store].label().durability.clone(),
                    nodes: self.nodes,
                    value_bytes: self.measured.value_bytes,
                    read_percent: self.measured.reads,
                    keys: self.measured.keys,
                    offered_per_s: self.rate.per_s,
                    round: round + 1,
                    due: arrived.due,
                    latencies: Latencies::of(&arrived.tally),
                    server_us_per_op: (arrived.usage.server_us_per_op * 10.0).round() / 10.0,
                    errors: arrived.tally.errors(),
                    unanswered: arrived.unanswered,
                });
            }
        }
        session.end().await?;
        draw(output, &wholes)?;
        Results::keep(output, &rows, text(&rows, &wholes))
    }
}

/// All rounds together, the paper's below.
fn text(rows: &[Row], wholes: &[Tally; 2]) -> String {
    let found = wholes.each_ref().map(Latencies::of);
    let errors = |kind: &str| {
        let of = rows.iter().filter(|row| row.coordination == kind);
        of.map(|row| row.errors + row.unanswered).sum::<u64>().to_string()
    };
    let mut lines = Vec::new();
    for (place, (kind, _)) in KINDS.into_iter().enumerate() {
        for (whose, latencies, errors) in
            [("ours", found[place], errors(kind)), ("paper", TABLE2[place], "-".to_owned())]
        {
            lines.push(
                [vec![format!("{kind}-driven"), whose.to_owned()], latencies.columns().to_vec(), vec![errors]].concat(),
            );
        }
    }
    for (whose, [server, client]) in [("ours", found), ("paper", TABLE2)] {
        let quotient = |of: fn(&Latencies) -> f64| format!("{:.2}", of(&server) / of(&client));
        let quotients = [
            quotient(|of| of.read_mean_ms),
            quotient(|of| of.read_p999_ms),
            quotient(|of| of.write_mean_ms),
            quotient(|of| of.write_p999_ms),
        ];
        lines.push(
            [vec!["server/client".to_owned(), whose.to_owned()], quotients.to_vec(), vec!["-".to_owned()]].concat(),
        );
    }
    show::table(&format!("COORDINATION|WHOSE|{COLUMNS}|ERRORS"), lines.into_iter())
        + "\nLatency counts from when a request was due. What compares with the paper is the quotient\n"
}

/// Means stand in the table; this is where they come from.
fn draw(output: &Output, wholes: &[Tally; 2]) -> Result<()> {
    let mut curves = Vec::new();
    for (place, (kind, _)) in KINDS.into_iter().enumerate() {
        for (what, latencies, paper_ms) in [
            ("reads", &wholes[place].reads, TABLE2[place].read_p999_ms),
            ("writes", &wholes[place].writes, TABLE2[place].write_p999_ms),
        ] {
            let (colour, name) = (curves.len() / 2, format!("{what}, {kind}-driven"));
            curves.push(Curve { name: name.clone(), points: plots::nines(latencies), colour, dashed: false });
            let points = vec![(3.0, paper_ms)];
            curves.push(Curve { name: format!("{name}, the paper"), points, colour, dashed: true });
        }
    }
    let frame = Frame {
        title: "Client- against server-driven coordination (table 2)",
        across: "quantile",
        up: "latency, ms",
        legend: SeriesLabelPosition::UpperLeft,
    };
    plots::logarithmic(&output.plot("table2"), frame, plots::furthest(&curves), &curves, plots::quantile_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Answer;

    fn tally(read_us: u64, write_us: u64) -> Tally {
        let mut tally = Tally::default();
        tally.count(&Ok(Answer::Read), read_us);
        tally.count(&Ok(Answer::Written), write_us);
        tally
    }

    #[test]
    fn the_table_has_ours_the_papers_and_both_quotients() {
        let text = text(&[], &[tally(3000, 8000), tally(1000, 4000)]);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["server-driven", "ours", "3.00", "3.00", "8.00", "8.00", "0"], "{text}");
        assert_eq!(lines[2], ["server-driven", "paper", "3.90", "68.90", "4.02", "68.50", "-"], "{text}");
        assert_eq!(lines[4], ["client-driven", "paper", "1.55", "30.40", "1.90", "30.40", "-"], "{text}");
        assert_eq!(lines[5], ["server/client", "ours", "3.00", "3.00", "2.00", "2.00", "-"], "{text}");
        assert_eq!(lines[6], ["server/client", "paper", "2.52", "2.27", "2.12", "2.25", "-"], "{text}");
    }
}
