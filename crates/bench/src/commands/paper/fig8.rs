//! Figure 8 (§6.2): how evenly the three strategies spread load, against the membership metadata that each node keeps for it.

use anyhow::Result;
use plotters::prelude::SeriesLabelPosition;
use serde::{Deserialize, Serialize};

use super::{Output, Results};
use crate::{
    paper::{
        published,
        strategies::{Layout, by_token, by_token_equal_parts, ours, shuffled},
    },
    plots::{self, Curve, Frame},
    show,
    workload::draw::Draws,
};

/// S and N, as the paper has them.
const NODES: u16 = 30;
const N: u8 = 3;
/// Partitions of strategy 2, which the paper does not tell: its last points fall as they do with so many.
const PARTITIONS: u32 = 1024;

/// Load balancing efficiency of the three ways to partition, by the size of the membership metadata (computed)
#[derive(Debug, Clone, clap::Args)]
pub struct Command {
    /// Of the random tokens
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Rings of each size, each with its own tokens
    #[arg(long, default_value_t = 25, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub samples: u32,
}

/// One strategy at one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// `fig8`
    pub figure: String,
    /// `1`, `2`, `3`: the paper's; `ours`: strategy 3 by this project's planner.
    pub strategy: String,
    /// S
    pub nodes: u16,
    /// N
    pub n: u8,
    /// Tokens that a node has to know: T times S, or Q.
    pub metadata_units: u32,
    /// Equal partitions; none in strategy 1.
    pub partitions: Option<u32>,
    /// Mean load over the largest: the mean of all rings.
    pub efficiency: f64,
    /// The worst ring's.
    pub least: f64,
    /// The best ring's.
    pub most: f64,
    /// How many rings.
    pub samples: u32,
    /// Of their tokens.
    pub seed: u64,
    /// What the paper has there.
    pub paper: Option<f64>,
}

impl Command {
    /// Computes, draws and keeps it.
    pub fn run(&self, output: &Output) -> Result<Results> {
        let rows = self.rows()?;
        draw(output, &rows)?;
        Results::keep(output, &rows, text(&rows))
    }

    fn rows(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for (units, paper) in published::FIG8 {
            let tokens = units / u32::from(NODES);
            let n = usize::from(N);
            let row = |strategy: usize, partitions, make: &dyn Fn(&mut Draws) -> Layout| Row {
                paper: Some(paper[strategy - 1]),
                ..self.row(strategy.to_string(), units, partitions, self.samples, make)
            };
            rows.push(row(1, None, &|draws| by_token(draws, NODES, tokens, n)));
            rows.push(row(2, Some(PARTITIONS), &|draws| by_token_equal_parts(draws, NODES, tokens, PARTITIONS, n)));
            rows.push(row(3, Some(units), &|draws| shuffled(draws, NODES, units, n)));
            // Ours are powers of two, and no chance is in them.
            let partitions = units.next_power_of_two();
            let layout = ours(NODES, partitions, N)?;
            rows.push(self.row("ours".to_owned(), partitions, Some(partitions), 1, &|_| layout.clone()));
        }
        Ok(rows)
    }

    fn row(
        &self,
        strategy: String,
        metadata_units: u32,
        partitions: Option<u32>,
        samples: u32,
        make: &dyn Fn(&mut Draws) -> Layout,
    ) -> Row {
        let sample = |number: u32| make(&mut Draws::new((self.seed << 32) + u64::from(number))).efficiency();
        let found: Vec<f64> = (0..samples).map(sample).collect();
        Row {
            figure: "fig8".to_owned(),
            strategy,
            nodes: NODES,
            n: N,
            metadata_units,
            partitions,
            efficiency: rounded(found.iter().sum::<f64>() / f64::from(samples)),
            least: rounded(found.iter().copied().fold(f64::INFINITY, f64::min)),
            most: rounded(found.iter().copied().fold(0.0, f64::max)),
            samples,
            seed: self.seed,
            paper: None,
        }
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// One line for each size: each strategy's, and the paper's behind it.
fn text(rows: &[Row]) -> String {
    let cell = |row: &Row| {
        let paper = row.paper.map(|paper| format!("{paper:.2}"));
        [Some(format!("{:.3}", row.efficiency)), paper].into_iter().flatten().collect::<Vec<_>>()
    };
    let line = |size: &[Row]| {
        let mut line = vec![size[0].metadata_units.to_string()];
        line.extend(size[..3].iter().flat_map(cell));
        line.push(size[3].metadata_units.to_string());
        line.extend(cell(&size[3]));
        line
    };
    show::table("UNITS|STRATEGY 1|PAPER|STRATEGY 2|PAPER|STRATEGY 3|PAPER|UNITS|OURS", rows.chunks(4).map(line))
        + "\nMean load over the largest; units are tokens that a node has to know. Ours: strategy 3 by this project's planner\n"
}

fn draw(output: &Output, rows: &[Row]) -> Result<()> {
    let least = published::FIG8[0].0;
    let across = |units: u32| (f64::from(units) / f64::from(least)).log2();
    let curve = |colour: usize, strategy: &str, dashed: bool| {
        let of = rows.iter().filter(|row| row.strategy == strategy);
        let point = |row: &Row| {
            let up = if dashed { row.paper? } else { row.efficiency };
            Some((across(row.metadata_units), up))
        };
        let name = match (strategy, dashed) {
            ("ours", _) => "strategy 3, this project's planner".to_owned(),
            (strategy, true) => format!("strategy {strategy}, the paper's figure"),
            (strategy, false) => format!("strategy {strategy}"),
        };
        Curve { name, points: of.filter_map(point).collect(), colour, dashed }
    };
    let mut curves = Vec::new();
    for (colour, strategy) in ["1", "2", "3"].into_iter().enumerate() {
        curves.extend([curve(colour, strategy, false), curve(colour, strategy, true)]);
    }
    curves.push(curve(3, "ours", false));
    let frame = Frame {
        title: "Load balancing efficiency by strategy (figure 8): 30 nodes, N = 3",
        across: "membership metadata of a node, tokens",
        up: "mean load over the largest",
        legend: SeriesLabelPosition::LowerRight,
    };
    let units = |at: f64| if at.fract() == 0.0 { format!("{}", f64::from(least) * at.exp2()) } else { String::new() };
    plots::linear(&output.plot("fig8"), frame, (plots::furthest(&curves), 1.05), &curves, units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        Command { seed: 1, samples: 4 }.rows().unwrap()
    }

    #[test]
    fn the_models_come_to_what_the_paper_found() {
        for row in (Command { seed: 1, samples: 20 }).rows().unwrap() {
            let Some(paper) = row.paper else { continue };
            assert!((row.efficiency - paper).abs() < 0.05, "{row:?}");
        }
    }

    /// Of some tokens that can not be dealt evenly one is much.
    #[test]
    fn ours_spread_load_better_than_any_other_from_sixteen_tokens_a_node_on() {
        for size in rows().chunks(4) {
            let [others @ .., ours] = size else { panic!("{size:?}") };
            let better = |row: &Row| row.efficiency < ours.efficiency;
            assert!(others[..2].iter().all(better), "{size:#?}");
            assert!(ours.metadata_units < 16 * u32::from(NODES) || better(&others[2]), "{size:#?}");
        }
    }

    /// Why ours are behind where a node has but a few tokens.
    #[test]
    fn of_ours_no_node_stores_more_than_n_partitions_beyond_its_share() {
        for (nodes, partitions) in [(30, 64), (30, 256), (30, 4096), (24, 64), (32, 64), (97, 512)] {
            let share = f64::from(partitions) * f64::from(N) / f64::from(nodes);
            let most = share / ours(nodes, partitions, N).unwrap().efficiency();
            assert!(most <= share + f64::from(N) + 1e-9, "{nodes} nodes, {partitions} partitions: {most} of {share}");
        }
    }

    #[test]
    fn the_seed_alone_decides() {
        let rows = |seed| Command { seed, samples: 2 }.rows().unwrap();
        assert_eq!(rows(3), rows(3));
        assert_ne!(rows(3), rows(4));
    }

    #[test]
    fn the_table_has_a_line_a_size_and_the_papers_numbers_beside_ours() {
        let text = text(&rows());
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1].len(), 9, "{text}");
        assert_eq!(
            (lines[1][0], lines[1][2], lines[1][4], lines[1][6], lines[1][7]),
            ("60", "0.52", "0.53", "0.86", "64")
        );
        assert_eq!((lines[10][0], lines[10][6], lines[10][7]), ("30720", "0.99", "32768"), "{text}");
    }

    #[test]
    fn the_page_has_what_the_command_comes_to() {
        let page = include_str!("../../../../../docs/PAPER.md").replace(',', "");
        let short = |number: String| number.trim_start_matches('0').to_owned();
        for size in (Command { seed: 1, samples: 25 }).rows().unwrap().chunks(4) {
            let mut line = format!("| {} |", size[0].metadata_units);
            for row in &size[..3] {
                let (ours, paper) = (format!("{:.3}", row.efficiency), format!("{:.2}", row.paper.unwrap()));
                line += &format!(" {} | {} |", short(ours), short(paper));
            }
            line += &format!(" {} | {} |", size[3].metadata_units, short(format!("{:.3}", size[3].efficiency)));
            assert!(page.contains(&line), "docs/PAPER.md has not {line}");
        }
    }
}
