//! The command line: one file a command.

mod bench;
mod bucket;
mod cart;
mod completion;
mod delete;
mod get;
mod load;
mod local;
mod put;
mod ring;
mod status;
mod verify;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  dynamo local                        # five nodes in three zones, until Ctrl-C
  dynamo put greeting hello           # prints the context of the write
  dynamo get greeting
  dynamo cart add alice book
  dynamo status

Exit codes:
  0  done, or found
  1  not found; or a load or verify with failures
  2  wrong usage: flags, a bad key, context or bucket
  3  not enough replicas, nobody reached, timed out";

/// A Dynamo cluster on a laptop, and everything a person does with one
#[derive(Debug, Parser)]
#[command(name = "dynamo", version, after_help = EXAMPLES, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Local(local::Command),
    Put(put::Command),
    Get(get::Command),
    Delete(delete::Command),
    Bucket(bucket::Command),
    Ring(ring::Command),
    Status(status::Command),
    Load(load::Command),
    Verify(verify::Command),
    Cart(cart::Command),
    Bench(bench::Command),
    Completion(completion::Command),
    /// Runs one storage node, as `dynamo-node` does
    #[command(hide = true, disable_help_flag = true)]
    Node {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

impl Cli {
    /// Runs the command to its end.
    pub fn run(self) -> ExitCode {
        // A node makes its own runtime, by its configuration.
        if let Command::Node { args } = self.command {
            return dynamo_node::cli::main_with(args);
        }
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return Failure::unavailable(format!("can't start threads: {error}")).report(),
        };
        let ended = runtime.block_on(self.dispatch());
        // Somebody may still sit in a read of standard input, which nothing can interrupt.
        runtime.shutdown_background();
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        }
    }

    async fn dispatch(self) -> Result<(), Failure> {
        match self.command {
            Command::Local(command) => command.run().await,
            Command::Put(command) => command.run().await,
            Command::Get(command) => command.run().await,
            Command::Delete(command) => command.run().await,
            Command::Bucket(command) => command.run().await,
            Command::Ring(command) => command.run().await,
            Command::Status(command) => command.run().await,
            Command::Load(command) => command.run().await,
            Command::Verify(command) => command.run().await,
            Command::Cart(command) => command.run().await,
            Command::Bench(command) => command.run().await,
            Command::Completion(command) => command.run(),
            Command::Node { .. } => unreachable!("run() takes it before there is a runtime"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn node_passes_every_flag_on() {
        let cli = Cli::parse_from(["dynamo", "node", "--config", "x.yaml", "--exit-with-stdin", "--help"]);
        let Command::Node { args } = cli.command else { panic!("not a node") };
        assert_eq!(args, ["--config", "x.yaml", "--exit-with-stdin", "--help"]);
    }

    #[test]
    fn a_value_may_begin_with_a_hyphen() {
        assert!(Cli::try_parse_from(["dynamo", "put", "temperature", "-5"]).is_ok());
        assert!(Cli::try_parse_from(["dynamo", "put", "k", "v", "-w", "2"]).is_ok());
    }
}
