//! Figure 6 (§6.2): which part of the nodes is out of balance, against the rate of requests.
//!
//! The paper counts requests of half an hour each, by day and by night. Here so many requests are drawn by the popularity of keys, once for
//! each rate and sample; what a rate is in seconds does not matter to it, only how many requests are counted together.

use anyhow::Result;
use plotters::prelude::SeriesLabelPosition;
use serde::{Deserialize, Serialize};

use super::{Output, Results};
use crate::{
    paper::{
        imbalance::{Asked, out_of_balance, partitions},
        popularity::Popularity,
        published::FIG6_PERCENT,
        strategies::ring,
    },
    plots::{self, Curve, Frame},
    show,
    workload::draw::Draws,
};

const N: u8 = 3;
/// Requests at a node, on average: each is twice the one before.
const RATES: std::ops::Range<u32> = 0..8;
const LEAST: u64 = 100;

/// Part of the nodes that is out of balance, by the rate of requests (computed)
#[derive(Debug, Clone, clap::Args)]
pub struct Command {
    /// Of the requests
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Nodes, in three zones
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=1000))]
    pub nodes: u16,
    /// Equal partitions of the ring: a power of two, no fewer than nodes
    #[arg(long, default_value_t = 1024, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub partitions: u32,
    /// Keys that are asked for
    #[arg(long, default_value_t = 1_000_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub keys: u64,
    /// The key of rank k is asked for as often as 1/k^SKEW
    #[arg(long, value_delimiter = ',', default_value = "0,0.5,0.7,0.8", value_name = "SKEW,...", value_parser = skew)]
    pub skew: Vec<f64>,
    /// Samples of each rate
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub samples: u32,
}

/// A skew of the command line.
///
/// # Errors
/// It is none.
pub fn skew(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(skew) if (0.0..=5.0).contains(&skew) => Ok(skew),
        _ => Err(format!("{text:?} is no skew: 0 (all keys alike) to 5")),
    }
}

/// One skew at one rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// `fig6`
    pub figure: String,
    /// How many there are.
    pub nodes: u16,
    /// Of the ring.
    pub partitions: u32,
    /// N
    pub n: u8,
    /// How many are asked for.
    pub keys: u64,
    /// How unevenly.
    pub skew: f64,
    /// Percent of all requests that are for the most popular key.
    pub most_popular_percent: f64,
    /// That are counted together, on average.
    pub requests_per_node: u64,
    /// Percent of nodes, the mean of all samples.
    pub out_of_balance_percent: f64,
    /// How many samples.
    pub samples: u32,
    /// Of the requests.
    pub seed: u64,
}

impl Command {
    /// Computes, draws and keeps it.
    pub fn run(&self, output: &Output) -> Result<Results> {
        let rows = self.rows()?;
        draw(output, &rows, &self.title())?;
        Results::keep(output, &rows, text(&rows))
    }

    fn rows(&self) -> Result<Vec<Row>> {
        let ring = ring(self.nodes, self.partitions, N)?;
        let partitions = partitions(&ring, self.keys);
        let mut rows = Vec::new();
        for &skew in &self.skew {
            let popularity = Popularity::new(self.keys, skew);
            let asked = Asked::new(&ring, &popularity, &partitions);
            for requests_per_node in RATES.map(|doubled| LEAST << doubled) {
                // Each is one at each of its homes.
                let requests = requests_per_node * u64::from(self.nodes) / ring.homes() as u64;
                let sample = |number: u32| {
                    let mut draws = Draws::new((self.seed << 32) + u64::from(number));
                    out_of_balance(&asked.loads(&mut draws, requests))
                };
                let mean = (0..self.samples).map(sample).sum::<f64>() / f64::from(self.samples);
                rows.push(Row {
                    figure: "fig6".to_owned(),
                    nodes: self.nodes,
                    partitions: self.partitions,
                    n: N,
                    keys: self.keys,
                    skew,
                    most_popular_percent: (popularity.most() * 1e6).round() / 1e4,
                    requests_per_node,
                    out_of_balance_percent: (mean * 1000.0).round() / 10.0,
                    samples: self.samples,
                    seed: self.seed,
                });
            }
        }
        Ok(rows)
    }

    fn title(&self) -> String {
        format!(
            "Nodes out of balance (figure 6): {} nodes, {} partitions, {} keys",
            self.nodes, self.partitions, self.keys
        )
    }
}

/// One line for each rate, one column for each skew.
fn text(rows: &[Row]) -> String {
    let by_skew: Vec<&[Row]> = rows.chunk_by(|one, next| one.skew == next.skew).collect();
    let columns: Vec<String> = by_skew.iter().map(|rows| format!("|SKEW {}", rows[0].skew)).collect();
    let line = |at: usize| {
        let mut line = vec![by_skew[0][at].requests_per_node.to_string()];
        line.extend(by_skew.iter().map(|rows| format!("{:.1} %", rows[at].out_of_balance_percent)));
        line
    };
    let (low, high) = FIG6_PERCENT;
    show::table(&format!("REQUESTS A NODE{}", columns.concat()), (0..RATES.len()).map(line))
        + &format!(
            "\nNodes whose load is more than 15 % off the mean. The paper: {low} % at an eighth of its peak's load, {high} % at the peak\n"
        )
}

fn draw(output: &Output, rows: &[Row], title: &str) -> Result<()> {
    let across = |requests: u64| (requests as f64 / LEAST as f64).log2();
    let by_skew = rows.chunk_by(|one, next| one.skew == next.skew).enumerate();
    let mut curves: Vec<Curve> = by_skew
        .map(|(colour, rows)| Curve {
            name: format!("skew {}: the first key gets {:.2} % of all", rows[0].skew, rows[0].most_popular_percent),
            points: rows.iter().map(|row| (across(row.requests_per_node), row.out_of_balance_percent)).collect(),
            colour,
            dashed: false,
        })
        .collect();
    let furthest = plots::furthest(&curves);
    let (low, high) = FIG6_PERCENT;
    for (percent, when) in [(low, "an eighth of its peak's load"), (high, "its peak's load")] {
        let points = vec![(0.0, percent), (furthest, percent)];
        curves.push(Curve { name: format!("the paper at {when}"), points, colour: 6, dashed: true });
    }
    let frame = Frame {
        title,
        across: "requests that are counted together, at a node",
        up: "nodes more than 15 % off the mean, percent",
        legend: SeriesLabelPosition::UpperRight,
    };
    let requests = |at: f64| if at.fract() == 0.0 { format!("{}", LEAST as f64 * at.exp2()) } else { String::new() };
    let highest = rows.iter().map(|row| row.out_of_balance_percent).fold(low, f64::max);
    plots::linear(&output.plot("fig6"), frame, (furthest, 1.2 * highest), &curves, requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(seed: u64) -> Command {
        Command { seed, nodes: 30, partitions: 256, keys: 20_000, skew: vec![0.0, 0.5, 0.9], samples: 2 }
    }

    #[test]
    fn the_seed_alone_decides() {
        assert_eq!(command(1).rows().unwrap(), command(1).rows().unwrap());
        assert_ne!(command(1).rows().unwrap(), command(2).rows().unwrap());
    }

    #[test]
    fn fewer_nodes_are_out_of_balance_at_more_requests_and_more_of_them_when_few_keys_are_popular() {
        let rows = command(1).rows().unwrap();
        let percent = |skew, at: u64| {
            let row = rows.iter().find(|row| row.skew == skew && row.requests_per_node == LEAST << at).unwrap();
            row.out_of_balance_percent
        };
        assert!(percent(0.0, 0) > percent(0.0, 7) && percent(0.5, 0) > percent(0.5, 7), "{rows:#?}");
        assert!(percent(0.9, 7) > percent(0.5, 7), "{rows:#?}");
    }

    #[test]
    fn the_table_has_a_line_a_rate_and_a_column_a_skew() {
        let text = text(&command(1).rows().unwrap());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("SKEW 0") && lines[0].contains("SKEW 0.9"), "{text}");
        assert!(lines[8].trim_start().starts_with("12800 ") && lines[8].matches('%').count() == 3, "{text}");
        assert!(text.contains("The paper: 20 %"), "{text}");
    }

    #[test]
    fn numbers_that_make_no_ring_are_refused() {
        assert!(Command { partitions: 100, ..command(1) }.rows().is_err());
        assert!(Command { partitions: 16, ..command(1) }.rows().is_err());
        assert_eq!(skew("0.9"), Ok(0.9));
        for text in ["", "-1", "9", "NaN", "much"] {
            assert!(skew(text).unwrap_err().contains("no skew"), "{text}");
        }
    }
}
