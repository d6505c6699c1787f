//! What is printed: tables for people, JSON for programs.

use std::io::{self, Write};

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::{
    medians::{Median, Ratio, medians, ratios},
    rows::{OpenRow, Row},
};

/// For whom the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and sentences
    Text,
    /// The rows, as one JSON document
    Json,
}

/// Writes to standard output. Whoever reads may have gone away, and that is no failure.
///
/// # Errors
/// It can't be written.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The medians of these runs, the ratios, and what the others promise.
pub fn compared(rows: &[Row], promises: &[&str]) -> String {
    let medians = medians(rows);
    let mut text = median_table(&medians);
    let ratios = ratios(&medians);
    if !ratios.is_empty() {
        text += "\nOurs divided by theirs, of the medians: more operations are better, less of all else\n\n";
        text += &ratio_table(&ratios);
    }
    if !promises.is_empty() {
        text += "\ndynamo: quorum reads; fsync: a write is on the disks of W nodes when it is acknowledged; interval: in buffers, synced every 100 ms\n";
        promises.iter().for_each(|line| text += &format!("{line}\n"));
    }
    text
}

fn median_table(medians: &[Median]) -> String {
    let header = "VALUE B|READS %|CLIENTS|STORE|DURABILITY|OPS/S|LEAST-MOST|P50 MS|P99 MS|P99.9 MS|SERVER US/OP|RSS MIB|ERRORS|RUNS";
    let line = |Median { row, runs, spread }: &Median| {
        vec![
            row.value_bytes.to_string(),
            row.read_percent.to_string(),
            row.clients.to_string(),
            row.store.clone(),
            row.durability.clone(),
            format!("{:.0}", row.ops_per_s),
            format!("{:.0}-{:.0}", spread.0, spread.1),
            format!("{:.2}", row.p50_ms),
            format!("{:.2}", row.p99_ms),
            format!("{:.2}", row.p999_ms),
            format!("{:.1}", row.server_us_per_op),
            format!("{:.0}", row.rss_mib),
            row.errors.to_string(),
            runs.to_string(),
        ]
    };
    table(header, medians.iter().map(line))
}

fn ratio_table(ratios: &[Ratio]) -> String {
    let line = |ratio: &Ratio| {
        vec![
            ratio.value_bytes.to_string(),
            ratio.read_percent.to_string(),
            ratio.clients.to_string(),
            ratio.ours.clone(),
            ratio.theirs.clone(),
            format!("{:.2}", ratio.ops_per_s),
            ratio.ops_bar.map_or("-".to_owned(), |bar| format!("{bar}")),
            format!("{:.2}", ratio.p99),
            format!("{:.2}", ratio.p999),
            format!("{:.2}", ratio.server_us_per_op),
            format!("{:.3}", ratio.rss),
        ]
    };
    table("VALUE B|READS %|CLIENTS|OURS|THEIRS|OPS|BAR|P99|P99.9|SERVER CPU|RSS", ratios.iter().map(line))
}

/// Runs in an open loop, each for itself.
pub fn open(rows: &[OpenRow]) -> String {
    let header = "VALUE B|READS %|STORE|DURABILITY|OFFERED/S|% OF ITS MOST|P50 MS|P99 MS|P99.9 MS|P99.99 MS|MAX MS|SERVER US/OP|ERRORS|UNANSWERED";
    let line = |row: &OpenRow| {
        vec![
            row.value_bytes.to_string(),
            row.read_percent.to_string(),
            row.store.clone(),
            row.durability.clone(),
            format!("{:.0}", row.offered_per_s),
            row.percent_of_maximum.map_or("-".to_owned(), |percent| percent.to_string()),
            format!("{:.2}", row.p50_ms),
            format!("{:.2}", row.p99_ms),
            format!("{:.2}", row.p999_ms),
            format!("{:.2}", row.p9999_ms),
            format!("{:.2}", row.max_ms),
            format!("{:.1}", row.server_us_per_op),
            row.errors.to_string(),
            row.unanswered.to_string(),
        ]
    };
    table(header, rows.iter().map(line)) + "\nLatency counts from when a request was due, not from when it was sent\n"
}

/// Without frames, so that `awk` reads it too. Columns of words stand left, those of numbers right.
pub fn table(header: &str, lines: impl Iterator<Item = Vec<String>>) -> String {
    let header: Vec<&str> = header.split('|').collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(&header);
    table.add_rows(lines);
    for (index, name) in header.iter().enumerate() {
        let column = table.column_mut(index).expect("it has a header");
        column.set_padding((0, 2));
        if !["STORE", "DURABILITY", "OURS", "THEIRS", "COORDINATION", "WHOSE", "WHAT"].contains(name) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string().lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medians::tests::rows;

    #[test]
    fn the_table_has_medians_ratios_bars_and_what_the_others_promise() {
        let text = compared(&rows(), &["cassandra periodic: weaker"]);
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let first = "1024 50 32 dynamo fsync 15000 10000-20000 1.00 7.50 15.00 75.0 300 2 2";
        assert_eq!(words[1], first.split(' ').collect::<Vec<_>>(), "{text}");
        let ratio = "1024 50 32 dynamo fsync cassandra periodic 5.00 5 0.22 0.22 0.23 0.050";
        assert!(words.contains(&ratio.split(' ').collect()), "{text}");
        let tls = "1024 50 32 dynamo-tls fsync dynamo fsync 0.80 0.85 1.11 1.11 1.11 20.000";
        assert!(words.contains(&tls.split(' ').collect()), "{text}");
        assert!(text.contains("cassandra periodic: weaker") && text.contains("quorum reads"), "{text}");
    }

    #[test]
    fn ours_alone_have_no_ratios_and_no_promises_of_others() {
        let ours: Vec<Row> = rows().into_iter().filter(|row| row.store == "dynamo").collect();
        let text = compared(&ours, &[]);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(!text.contains("divided"), "{text}");
    }

    #[test]
    fn numbers_stand_right_so_that_they_can_be_compared() {
        let text = median_table(&medians(&rows()));
        let ends: Vec<usize> = text.lines().map(str::len).collect();
        assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
    }
}
