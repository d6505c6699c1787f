//! Figures 4 and 5 (§6, §6.1): latencies over time at a given load; and writes that wait for the disk beside writes that do not.
//!
//! The paper shows a day or a month in which the load goes up and down. Here the load is constant, so that what goes up and down is the
//! store's own doing.

use anyhow::Result;
use plotters::prelude::SeriesLabelPosition;
use serde::{Deserialize, Serialize};

use super::{
    Output, Results,
    measured::{COLUMNS, Latencies, Measured, Rate},
};
use crate::{
    commands::session::Session,
    paper::published::FIG5_FACTOR,
    plots::{self, Curve, Frame},
    show,
    stores::ours::{Durability, Settings},
    workload::{
        open::{Arrived, Slice},
        tally::Tally,
    },
};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// Means and 99.9th percentiles of reads and writes.
    Fig4,
    /// 99.9th percentiles of writes, direct and buffered.
    Fig5,
}

/// Latencies over time, at a constant rate of requests (loads three nodes)
#[derive(Debug, Clone, clap::Args)]
pub struct Command {
    #[command(flatten)]
    pub measured: Measured,
    #[command(flatten)]
    pub rate: Rate,
    /// Seconds that are one point of the plot, about
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub every: u64,
}

/// A part of a run, or the whole of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `fig4` or `fig5`
    pub figure: String,
    /// When a write was acknowledged.
    pub durability: String,
    /// Of the cluster.
    pub nodes: usize,
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
    /// Of the round.
    pub from_s: f64,
    /// Of the round.
    pub to_s: f64,
    /// Requests that were due.
    pub due: u64,
    /// Counted from when a request was due.
    #[serde(flatten)]
    pub latencies: Latencies,
    /// Requests that failed, and reads that found nothing.
    pub errors: u64,
    /// Requests that were given up: they stand with the reads.
    pub unanswered: u64,
}

/// All of one durability, in the order of time.
struct Series {
    durability: &'static str,
    rows: Vec<Row>,
    whole: Tally,
}

impl Command {
    /// Measures, draws and keeps it.
    pub async fn run(&self, output: &Output, figure: Figure) -> Result<Results> {
        let durabilities = match figure {
            Figure::Fig4 => vec![Durability::Fsync],
            Figure::Fig5 => vec![Durability::Fsync, Durability::Interval],
        };
        let settings = |&durability: &Durability| Settings { durability, ..self.measured.settings() };
        let mut session = self.measured.session(output, durabilities.iter().map(settings)).await?;
        let series = |durability: &Durability| Series {
            durability: durability.name(),
            rows: Vec::new(),
            whole: Tally::default(),
        };
        let mut all: Vec<Series> = durabilities.iter().map(series).collect();
        for round in 0..self.measured.rounds {
            for turn in 0..all.len() {
                let store = (turn + round as usize) % all.len();
                self.turn(&mut session, figure, round, store, &mut all[store]).await?;
            }
        }
        session.end().await?;
        self.draw(output, figure, &all)?;
        let rows: Vec<&Row> = all.iter().flat_map(|series| &series.rows).collect();
        Results::keep(output, &rows, text(figure, &all))
    }

    async fn turn(
        &self,
        session: &mut Session,
        figure: Figure,
        round: u32,
        store: usize,
        series: &mut Series,
    ) -> Result<()> {
        let slices = self.measured.seconds.div_ceil(self.every) as u32;
        let rate = f64::from(self.rate.per_s);
        let arrived = session.open(store, self.measured.cell(1), round, rate, slices).await?;
        series.rows.extend(self.rows(figure, series.durability, round, &arrived));
        series.whole.add(&arrived.tally);
        Ok(())
    }

    fn rows(&self, figure: Figure, durability: &str, round: u32, arrived: &Arrived) -> Vec<Row> {
        let each = self.measured.seconds as f64 / arrived.slices.len() as f64;
        let row = |(number, slice): (usize, &Slice)| Row {
            figure: figure.name().to_owned(),
            durability: durability.to_owned(),
            nodes: self.measured.settings().nodes,
            value_bytes: self.measured.value_bytes,
            read_percent: self.measured.reads,
            keys: self.measured.keys,
            offered_per_s: self.rate.per_s,
            round: round + 1,
            from_s: each * number as f64,
            to_s: each * (number + 1) as f64,
            due: slice.due,
            latencies: Latencies::of(&slice.tally),
            errors: slice.tally.errors(),
            unanswered: slice.unanswered,
        };
        arrived.slices.iter().enumerate().map(row).collect()
    }

    /// Rounds follow each other from left to right.
    fn draw(&self, output: &Output, figure: Figure, all: &[Series]) -> Result<()> {
        let curve = |colour: usize, name: String, series: &Series, of: fn(&Latencies) -> f64| {
            let at =
                |row: &Row| f64::from(row.round - 1) * self.measured.seconds as f64 + (row.from_s + row.to_s) / 2.0;
            let points = series.rows.iter().map(|row| (at(row), of(&row.latencies))).filter(|point| point.1 > 0.0);
            Curve { name, points: points.collect(), colour, dashed: false }
        };
        let curves: Vec<Curve> = match figure {
            Figure::Fig4 => vec![
                curve(0, "reads, mean".to_owned(), &all[0], |found| found.read_mean_ms),
                curve(1, "writes, mean".to_owned(), &all[0], |found| found.write_mean_ms),
                curve(2, "reads, 99.9 %".to_owned(), &all[0], |found| found.read_p999_ms),
                curve(3, "writes, 99.9 %".to_owned(), &all[0], |found| found.write_p999_ms),
            ],
            Figure::Fig5 => all
                .iter()
                .enumerate()
                .map(|(colour, series)| {
                    curve(colour, format!("writes, {}, 99.9 %", kind(series)), series, |found| found.write_p999_ms)
                })
                .collect(),
        };
        let frame = Frame {
            title: figure.title(),
            across: "seconds",
            up: "latency, ms",
            legend: SeriesLabelPosition::UpperLeft,
        };
        plots::logarithmic(&output.plot(figure.name()), frame, plots::furthest(&curves), &curves, |x| format!("{x:.0}"))
    }
}

impl Figure {
    fn name(self) -> &'static str {
        match self {
            Self::Fig4 => "fig4",
            Self::Fig5 => "fig5",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Fig4 => "Latencies over time (figure 4)",
            Self::Fig5 => "Writes that wait for the disk, and that do not (figure 5)",
        }
    }
}

fn kind(series: &Series) -> &'static str {
    if series.durability == Durability::Interval.name() { "buffered (interval)" } else { "direct (fsync)" }
}

fn text(figure: Figure, all: &[Series]) -> String {
    let line = |row: &Row| {
        let mut line = vec![row.durability.clone(), row.round.to_string(), format!("{:.0}", row.from_s)];
        line.extend(row.latencies.columns());
        line.extend([row.errors.to_string(), row.unanswered.to_string()]);
        line
    };
    let header = format!("DURABILITY|ROUND|FROM S|{COLUMNS}|ERRORS|UNANSWERED");
    let mut text = show::table(&header, all.iter().flat_map(|series| &series.rows).map(line));
    text += "\nAll of it:\n\n";
    let whole = |series: &Series| [vec![series.durability.to_owned()], Latencies::of(&series.whole).columns().to_vec()];
    text += &show::table(&format!("DURABILITY|{COLUMNS}"), all.iter().map(|series| whole(series).concat()));
    match (figure, all) {
        (Figure::Fig5, [direct, buffered]) => {
            let (direct, buffered) = (Latencies::of(&direct.whole), Latencies::of(&buffered.whole));
            let factor = direct.write_p999_ms / buffered.write_p999_ms;
            let (told, least, most) = FIG5_FACTOR;
            text += &format!(
                "\nDirect writes' 99.9 % are {factor:.1} times those of buffered ones; the paper: {told} times by its text, {least} to {most} by its plot\n"
            );
        }
        _ => text += "\nLatency counts from when a request was due\n",
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Answer;

    fn series(durability: &'static str, write_us: u64) -> Series {
        let mut whole = Tally::default();
        whole.count(&Ok(Answer::Read), 1000);
        whole.count(&Ok(Answer::Written), write_us);
        let row = |part: u32| Row {
            figure: "fig5".to_owned(),
            durability: durability.to_owned(),
            nodes: 3,
            value_bytes: 100,
            read_percent: 50,
            keys: 10,
            offered_per_s: 100,
            round: 1,
            from_s: 10.0 * f64::from(part),
            to_s: 10.0 * f64::from(part + 1),
            due: 2,
            latencies: Latencies::of(&whole),
            errors: 0,
            unanswered: 0,
        };
        Series { durability, rows: (0..3).map(row).collect(), whole }
    }

    #[test]
    fn the_table_has_a_line_a_part_and_says_what_buffering_brings_beside_the_paper() {
        let all = [series("fsync", 8000), series("interval", 2000)];
        let text = text(Figure::Fig5, &all);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[2], ["fsync", "1", "10", "1.00", "1.00", "8.00", "8.00", "0", "0"], "{text}");
        assert_eq!(lines[6][..3], ["interval", "1", "20"], "{text}");
        assert!(text.contains("are 4.0 times") && text.contains("5 times by its text"), "{text}");
        assert!(!super::text(Figure::Fig4, &all[..1]).contains("buffered"));
    }

    #[test]
    fn a_row_is_flat_and_comes_back() {
        let row = series("fsync", 8000).rows.remove(0);
        let text = serde_json::to_string(&row).unwrap();
        assert!(text.contains("\"write_p999_ms\":"), "{text}");
        assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), row);
    }
}
