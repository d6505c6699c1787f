//! `dynamo-bench paper`: the paper's own experiments (§6), beside its numbers. One file an experiment.
//!
//! Figures 6 and 8 are computed from the ring alone: the same seed gives the same numbers on any machine. The others load real nodes.

mod all;
mod fig6;
mod fig8;
mod measured;
mod over_time;
mod table2;
mod versions;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

pub use self::measured::Latencies;
use self::over_time::Figure;
use crate::{
    rows::append,
    show::{self, Format},
};

const EXAMPLES: &str = "\
Examples:
  dynamo-bench paper fig8
  dynamo-bench paper fig6 --skew 0.5,0.9 -o json
  dynamo-bench paper all
  dynamo-bench paper fig5 --rate 3000 --seconds 600

Appends rows to OUT/paper.jsonl, and draws OUT/paper-EXPERIMENT.svg.";

/// The paper's own experiments (§6), beside its numbers
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    #[command(subcommand)]
    experiment: Experiment,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Experiment {
    /// Latencies of reads and writes over time, at a constant rate of requests (loads three nodes)
    Fig4(over_time::Command),
    /// Writes that wait for the disk beside writes that do not, over time (loads three nodes)
    Fig5(over_time::Command),
    Fig6(fig6::Command),
    Fig8(fig8::Command),
    Table2(table2::Command),
    Versions(versions::Command),
    All(all::Command),
}

/// Where it goes, and for whom.
#[derive(Debug, Clone, Args)]
pub struct Output {
    /// Folder of the rows, which are appended, and of the plots
    #[arg(long, global = true, default_value = "docs/bench", value_name = "DIR")]
    out: PathBuf,
    /// For people, or the rows for programs
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
}

impl Output {
    fn plot(&self, experiment: &str) -> PathBuf {
        self.out.join(format!("paper-{experiment}.svg"))
    }
}

/// What experiments came to.
#[derive(Debug, Default)]
struct Results {
    rows: Vec<Value>,
    text: String,
}

impl Results {
    /// Of rows, which are kept with this.
    fn keep(output: &Output, rows: &[impl Serialize], text: String) -> Result<Self> {
        rows.iter().try_for_each(|row| append(&output.out.join("paper.jsonl"), row))?;
        let rows = rows.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        Ok(Self { rows, text })
    }

    fn print(&self, format: Format) -> Result<()> {
        match format {
            Format::Json => show::print(&serde_json::to_string_pretty(&self.rows)?),
            Format::Text => show::print(&self.text),
        }
    }
}

impl Command {
    /// Runs it to its end.
    ///
    /// # Errors
    /// A file can't be written, or a node failed.
    pub async fn run(self) -> Result<()> {
        let format = self.output.output;
        self.experiment.run(self.output).await?.print(format)
    }
}

impl Experiment {
    async fn run(self, output: Output) -> Result<Results> {
        match self {
            Self::Fig4(command) => command.run(&output, Figure::Fig4).await,
            Self::Fig5(command) => command.run(&output, Figure::Fig5).await,
            Self::Fig6(command) => computed(move || command.run(&output)).await,
            Self::Fig8(command) => computed(move || command.run(&output)).await,
            Self::Table2(command) => command.run(&output).await,
            Self::Versions(command) => command.run(&output).await,
            Self::All(command) => command.run(&output).await,
        }
    }
}

/// On a thread of its own, so that Ctrl-C ends it.
async fn computed(compute: impl FnOnce() -> Result<Results> + Send + 'static) -> Result<Results> {
    tokio::task::spawn_blocking(compute).await?
}
