//! The command line: one file a command.

mod bench;
mod bucket;
mod cart;
mod completion;
mod delete;
mod get;
mod load;
mod local;
mod node;
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
  dynamo local add-node               # and `dynamo ring status --watch` in another terminal

Exit codes:
  0  done, or found
  1  not found; a load or verify with failures; a node that must not be switched off yet
  2  wrong usage: flags, a bad key, context or bucket
  3  not enough replicas, nobody reached, timed out; a change of the ring that is not possible now";

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
    Node(node::Command),
    Status(status::Command),
    Load(load::Command),
    Verify(verify::Command),
    Cart(cart::Command),
    Bench(bench::Command),
    Completion(completion::Command),
}

/// `dynamo node --config FILE ...`: the arguments of one storage node, which runs as `dynamo-node` does. That is how
/// `dynamo local` starts its nodes; a node makes its own runtime, by its configuration.
pub fn storage_node(args: impl Iterator<Item = OsString>) -> Option<Vec<OsString>> {
    let args: Vec<OsString> = args.collect();
    let (command, rest) = args.split_first()?;
    let flag = rest.first()?.to_str()?;
    let is_ours = ["--help", "--version"].contains(&flag);
    let is_the_nodes = (flag.starts_with("--") && !is_ours) || flag == "prestop";
    (command == "node" && is_the_nodes).then(|| rest.to_vec())
}

impl Cli {
    /// Runs the command to its end.
    pub fn run(self) -> ExitCode {
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
            Command::Node(command) => command.run().await,
            Command::Status(command) => command.run().await,
            Command::Load(command) => command.run().await,
            Command::Verify(command) => command.run().await,
            Command::Cart(command) => command.run().await,
            Command::Bench(command) => command.run().await,
            Command::Completion(command) => command.run(),
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

    fn helps(command: &clap::Command, found: &mut Vec<String>) {
        found.extend(command.get_after_help().map(ToString::to_string));
        command.get_subcommands().for_each(|command| helps(command, found));
    }

    /// clap breaks lines at 100 columns: a longer example, or a paragraph that was broken by hand, would look torn.
    #[test]
    fn examples_fit_their_lines_and_paragraphs_are_broken_by_nobody_else() {
        let mut found = Vec::new();
        helps(&Cli::command(), &mut found);
        assert!(found.len() > 15);
        for help in found {
            let lines: Vec<&str> = help.lines().collect();
            let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
            for pair in lines.windows(2) {
                assert!(!(is_prose(pair[0]) && is_prose(pair[1])), "broken by hand:\n{help}");
            }
            for line in lines.into_iter().filter(|line| line.starts_with(' ')) {
                assert!(line.len() <= 100, "{line}");
            }
        }
    }

    #[test]
    fn a_storage_node_gets_every_flag_and_the_other_commands_theirs() {
        let storage_node = |line: &str| storage_node(line.split(' ').map(OsString::from));
        let args = storage_node("node --config x.yaml --exit-with-stdin --help").unwrap();
        assert_eq!(args, ["--config", "x.yaml", "--exit-with-stdin", "--help"]);
        assert_eq!(storage_node("node prestop --config x.yaml").unwrap(), ["prestop", "--config", "x.yaml"]);
        for line in ["node", "node --help", "node --version", "node join a --yes", "ring --key x", "get node"] {
            assert_eq!(storage_node(line), None, "{line}");
        }
        assert!(Cli::try_parse_from("dynamo node join a b:2 --yes --no-wait".split(' ')).is_ok());
    }

    #[test]
    fn the_ring_is_shown_or_changed_but_not_both() {
        assert!(Cli::try_parse_from("dynamo ring --key x -o json".split(' ')).is_ok());
        assert!(Cli::try_parse_from("dynamo ring --key x plan --join a".split(' ')).is_err());
        assert!(Cli::try_parse_from("dynamo ring apply --plan f --join a".split(' ')).is_err());
        assert!(Cli::try_parse_from("dynamo ring apply --plan f --yes".split(' ')).is_ok());
        assert!(Cli::try_parse_from("dynamo ring apply --join a --wait --no-wait".split(' ')).is_ok());
    }

    #[test]
    fn a_value_may_be_a_negative_number() {
        assert!(Cli::try_parse_from(["dynamo", "put", "temperature", "-5"]).is_ok());
        assert!(Cli::try_parse_from(["dynamo", "put", "k", "v", "-w", "2"]).is_ok());
    }
}
