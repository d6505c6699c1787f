//! `dynamo completion`: tab completion for shells.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{failure::Failure, output};

const EXAMPLES: &str = "\
Examples:
  source <(dynamo completion bash)
  dynamo completion zsh > ~/.zfunc/_dynamo";

/// Prints a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "dynamo", &mut script);
        output::raw(&script)
    }
}
