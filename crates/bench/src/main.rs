//! `dynamo-bench`: the store beside its peers, loaded by the same code in one run. What the paper measures (§6) is latency at the
//! 99.9th percentile, and so does this.
//!
//! Where things are: `commands` what can be asked for; `workload` the load, which knows no store; `drivers` the stores as it sees
//! them; `stores` who starts, crashes and stops them; `usage` what they took of the machine; `rows`, `medians`, `show` and `plots`
//! what comes of it; `paper` what the paper's own experiments need beside these. It measures on one machine and decides nothing about
//! data. Linux only: it reads /proc.

mod cell;
mod commands;
mod drivers;
mod medians;
mod paper;
mod plots;
mod rows;
mod show;
mod stores;
mod usage;
mod workload;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

/// The nodes run in this binary too, as those of `dynamo local` run in `dynamo`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the store beside its peers, on this machine
#[derive(Debug, Parser)]
#[command(name = "dynamo-bench", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compare(commands::compare::Command),
    Latency(commands::latency::Command),
    Paper(commands::paper::Command),
    Table(commands::table::Command),
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // One storage node, as `dynamo-node` is: it makes its own runtime.
    if args.next().is_some_and(|command| command == "node") {
        return dynamo_node::cli::main_with(args);
    }
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&error.into()),
    };
    match runtime.block_on(cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

impl Cli {
    /// Runs the command to its end. Ctrl-C drops it, and with it all that it has started.
    async fn run(self) -> Result<()> {
        let command = async {
            match self.command {
                Command::Compare(command) => command.run().await,
                Command::Latency(command) => command.run().await,
                Command::Paper(command) => command.run().await,
                Command::Table(command) => command.run(),
            }
        };
        tokio::select! {
            ended = command => ended,
            _ = tokio::signal::ctrl_c() => bail!("stopped; the rows until now are kept"),
        }
    }
}
