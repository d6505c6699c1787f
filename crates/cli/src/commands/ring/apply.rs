//! `dynamo ring apply`: makes a change of the ring, and waits for it.

use std::path::PathBuf;

use clap::Args;

use crate::{
    args,
    change::{
        confirm::Question,
        edits::Edits,
        file,
        flow::{self, Change, How},
        meant::Meant,
    },
    failure::Failure,
    output,
};

const EXAMPLES: &str = "\
Examples:
  dynamo ring apply --join node-6
  dynamo ring apply --join node-6 --leave node-1 --yes
  dynamo ring apply --plan plan.yaml --no-wait

The plan is shown and asked about first (--yes: not asked; needed where there is no terminal). The change then goes on by \
itself, whatever becomes of this command: Ctrl-C stops the waiting only. One change is under way at a time.

Exit code 0 means that the ring is settled (with --no-wait: that the change has begun).";

/// Makes a change of the ring
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    #[command(flatten)]
    edits: Edits,
    /// What `dynamo ring plan --out` kept; refused when the ring has changed since
    #[arg(long, value_name = "FILE", conflicts_with_all = ["Edits", "Meant"])]
    plan: Option<PathBuf>,
    #[command(flatten)]
    meant: Meant,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    endpoint: args::Endpoint,
    #[command(flatten)]
    output: args::Output,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        let change = self.change()?;
        let client = self.endpoint.connect().await?;
        let made = flow::make(&client, change, &self.how, self.output.json()).await?;
        if self.output.json() { output::document(&made.document()) } else { Ok(()) }
    }

    fn change(&self) -> Result<Change, Failure> {
        let question = Question::Apply;
        if let Some(path) = &self.plan {
            let file::Kept { version, meant, edits } = file::read(path)?;
            return Ok(Change { edits, meant, planned: Some(version), question });
        }
        let edits = self.edits.list();
        if edits.is_empty() {
            return Err(Failure::usage("say what is to change, for example --join node-6. Nothing was changed"));
        }
        Ok(Change { edits, meant: self.meant, planned: None, question })
    }
}
