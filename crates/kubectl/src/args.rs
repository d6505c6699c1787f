//! The command line.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo status                    # the only DynamoCluster of the current namespace
  kubectl dynamo -n shop -c carts why      # what it waits for, and what to do
  kubectl dynamo put greeting hello
  kubectl dynamo get greeting
  kubectl dynamo restart
  kubectl dynamo replace carts-a-1         # gives it an empty disk, filled from the other replicas

Exit codes:
  0  done, or found
  1  there is no such cluster, node or key
  2  wrong usage
  3  Kubernetes or the nodes can't be reached, or refuse";

/// What a person asks of a DynamoCluster
#[derive(Debug, Parser)]
#[command(name = "kubectl-dynamo", bin_name = "kubectl dynamo", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster.
#[derive(Debug, Clone, Default, Args)]
pub struct TargetArgs {
    /// Namespace of the DynamoCluster [default: that of the context]
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// Name of the DynamoCluster [default: the only one of the namespace]
    #[arg(short, long, global = true, env = "DYNAMO_CLUSTER", value_name = "NAME")]
    pub cluster: Option<String>,
    /// Context of the kubeconfig [default: the current one]
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// The kubeconfig [default: as kubectl finds it]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// For whom the output is.
#[derive(Debug, Clone, Copy, Args)]
pub struct Output {
    /// For people or for programs
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

impl Output {
    /// Whether a program reads it.
    pub fn json(self) -> bool {
        self.output == Format::Json
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// Tables and sentences
    #[default]
    Text,
    /// One JSON document
    Json,
}

/// Whether somebody was asked.
#[derive(Debug, Clone, Copy, Args)]
pub struct Sure {
    /// Don't ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// How the cluster is: conditions, nodes and what goes on
    Status(Output),
    /// What the operator does next, step by step
    Plan(Output),
    /// What does not go on, why, and what to do
    Why(Output),
    /// Restarts all nodes, a safe set at a time
    Restart {
        /// Let the restart that waits go on, one node at a time, though keys lose their quorum by it
        #[arg(long)]
        anyway: bool,
        #[command(flatten)]
        sure: Sure,
    },
    /// Gives nodes empty disks, filled from the other replicas: for disks that are lost or broken
    Replace {
        /// The nodes, which are called as their pods
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        #[command(flatten)]
        sure: Sure,
    },
    /// Moves all nodes off a machine of Kubernetes, which is to be cordoned first: each gets an empty disk elsewhere
    Drain {
        /// The machine
        machine: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// Takes back what was asked by replace, drain and restart --anyway, as far as it has not begun
    Cancel,
    /// New keys and certificates for all nodes, of a new authority, in steps and without a restart
    Rotate {
        /// It is the authority that is to go (today both are done alike)
        #[arg(long)]
        authority: bool,
        #[command(flatten)]
        sure: Sure,
    },
    /// Lets the operator do nothing that stops a pod or moves data, until resume
    Pause {
        /// Let it do nothing at all but say what it would do (`kubectl dynamo plan`)
        #[arg(long)]
        plan_only: bool,
    },
    /// Lets the operator work again after pause
    Resume,
    /// Forwards a port of this machine to the nodes, until Ctrl-C
    Forward {
        /// The port here; 0 for any that is free
        #[arg(short, long, default_value_t = 7400)]
        port: u16,
    },
    /// The ring as the nodes see it (`dynamo ring`); changes of it are the operator's
    #[command(disable_help_flag = true)]
    Ring {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// The nodes as they see each other (`dynamo status`)
    #[command(disable_help_flag = true)]
    Nodes {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Reads a key (`dynamo get`)
    #[command(disable_help_flag = true)]
    Get {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Writes a value (`dynamo put`)
    #[command(disable_help_flag = true)]
    Put {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Deletes a key (`dynamo delete`)
    #[command(disable_help_flag = true)]
    Delete {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Buckets (`dynamo bucket`)
    #[command(disable_help_flag = true)]
    Bucket {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Measures, through the forwarded port (`dynamo bench`)
    #[command(disable_help_flag = true)]
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Prints a completion script for a shell
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// Flags of the cluster that take a value.
const WITH_VALUE: [&str; 6] = ["-n", "--namespace", "-c", "--cluster", "--context", "--kubeconfig"];
/// Commands of `dynamo`: what stands after them is its own, also where it is called as a flag here.
const PASSED: [&str; 7] = ["ring", "nodes", "get", "put", "delete", "bucket", "bench"];

impl Cli {
    /// From a command line.
    ///
    /// # Errors
    /// As clap has it.
    pub fn of(line: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let mut line: Vec<OsString> = line.into_iter().collect();
        let passed = line.split_off(own(&line));
        let mut cli = Cli::try_parse_from(line)?;
        match &mut cli.command {
            Command::Ring { arguments }
            | Command::Nodes { arguments }
            | Command::Get { arguments }
            | Command::Put { arguments }
            | Command::Delete { arguments }
            | Command::Bucket { arguments }
            | Command::Bench { arguments } => *arguments = passed,
            _ => {}
        }
        Ok(cli)
    }
}

/// How many words of a command line are for this program.
fn own(line: &[OsString]) -> usize {
    let mut at = 1;
    while let Some(word) = line.get(at).and_then(|word| word.to_str()) {
        at += 1;
        if WITH_VALUE.contains(&word) {
            at += 1;
        } else if !word.starts_with('-') {
            return if PASSED.contains(&word) { at } else { line.len() };
        }
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn arguments(line: &str) -> Vec<OsString> {
        match Cli::of(line.split(' ').map(OsString::from)).unwrap().command {
            Command::Get { arguments } | Command::Put { arguments } | Command::Ring { arguments } => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_of_the_cluster_come_before_and_those_of_dynamo_after_its_command() {
        assert_eq!(arguments("kubectl-dynamo -n shop get k -o json"), ["k", "-o", "json"]);
        assert_eq!(arguments("kubectl-dynamo get --help"), ["--help"]);
        assert_eq!(arguments("kubectl-dynamo put --context abc k v"), ["--context", "abc", "k", "v"]);
        assert_eq!(arguments("kubectl-dynamo ring status --watch"), ["status", "--watch"]);
        assert!(arguments("kubectl-dynamo ring").is_empty());
        assert_eq!(arguments("kubectl-dynamo --context=here -c get put k -- -v"), ["k", "--", "-v"]);
        let cli = Cli::of("kubectl-dynamo status -n shop -c carts".split(' ').map(OsString::from)).unwrap();
        assert_eq!((cli.target.namespace.as_deref(), cli.target.cluster.as_deref()), (Some("shop"), Some("carts")));
    }
}
