//! `dynamo ring`: shows the ring, and changes it (§4.9).

mod apply;
mod cancel;
mod plan;
mod show;
mod status;

use clap::{Args, Subcommand};

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  dynamo ring
  dynamo ring --key cart:alice              # its partition, preference list and fallbacks
  dynamo ring -o json
  dynamo ring plan --join node-6            # what would move, and how long it would take
  dynamo ring apply --join node-6 --leave node-1
  dynamo ring status --watch
  dynamo ring cancel";

/// Shows the ring, or where a key lives; plans and makes changes of it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Command {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    show: show::Show,
}

#[derive(Debug, Subcommand)]
enum Action {
    Plan(plan::Command),
    Apply(apply::Command),
    Cancel(cancel::Command),
    Status(status::Command),
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        match self.action {
            None => self.show.run().await,
            Some(Action::Plan(command)) => command.run().await,
            Some(Action::Apply(command)) => command.run().await,
            Some(Action::Cancel(command)) => command.run().await,
            Some(Action::Status(command)) => command.run().await,
        }
    }
}
