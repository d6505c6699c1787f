//! `dynamo node`: one node's way into the ring and out of it (§4.9). Each command is one change of the ring.

use clap::{Args, Subcommand};
use dynamo_client::Client;
use dynamo_wire::v1::{ReceiptResponse, ReplaceEdit, RingEdit, ring_edit::Edit};
use serde_json::json;

use crate::{
    args,
    change::{
        confirm::Question,
        edits,
        flow::{self, Change, How, Made},
        meant::Meant,
        receipt,
    },
    failure::{Exit, Failure},
    output,
};

const EXAMPLES: &str = "\
Examples:
  dynamo node join node-6              # it runs, and has found the others through its seeds
  dynamo node join node-6 node-7:2     # one change, node-7 with weight 2
  dynamo node leave node-1             # it is up, and hands over what it has
  dynamo node replace node-2 --with node-8
  dynamo node remove node-3            # it will never return: filled from the other replicas
  dynamo node remove node-3 node-4 --accept-loss    # what only these two had is lost
  dynamo node receipt node-1 && echo node-1 may be switched off

A change is shown and asked about first (--yes: not asked), and goes on by itself once it has begun: Ctrl-C stops the \
waiting only. `dynamo ring plan` shows more of it beforehand, `dynamo ring cancel` takes it back.";

/// Brings nodes into the ring and out of it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Gives nodes that run, and are no members, their part of the ring
    #[command(after_help = EXAMPLES)]
    Join {
        /// Their names; with a weight in place of their own
        #[arg(required = true, value_name = "NODE[:WEIGHT]")]
        nodes: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Has members that are up hand over all that they have
    #[command(after_help = EXAMPLES)]
    Leave {
        /// Their names
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Has a node that is no member take the place of a member that is down
    #[command(after_help = EXAMPLES)]
    Replace {
        /// The member that is down
        #[arg(value_name = "OLD")]
        node: String,
        /// The node that takes its place
        #[arg(long, value_name = "NEW")]
        with: String,
        #[command(flatten)]
        common: Common,
    },
    /// Takes members out that will never return
    #[command(after_help = EXAMPLES)]
    Remove {
        /// Their names
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Says whether a node may be switched off for good: exit code 0 only then
    #[command(after_help = EXAMPLES)]
    Receipt {
        /// Its name
        node: String,
        #[command(flatten)]
        endpoint: args::Endpoint,
        #[command(flatten)]
        output: args::Output,
    },
}

#[derive(Debug, Args)]
struct Common {
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
        match self.action {
            Action::Join { nodes, common } => common.finish(edits::each(&nodes, edits::join)?, Question::Apply).await,
            Action::Leave { nodes, common } => common.leave(&nodes).await,
            Action::Replace { node, with, common } => {
                let edit = RingEdit { edit: Some(Edit::Replace(ReplaceEdit { node, with })) };
                common.finish(vec![edit], Question::Apply).await
            }
            Action::Remove { nodes, common } => {
                let edits = edits::each(&nodes, edits::remove)?;
                common.finish(edits, Question::Names(nodes)).await
            }
            Action::Receipt { node, endpoint, output } => {
                let receipt = endpoint.connect().await?.ring_changes().receipt(&node).await?;
                if output.json() {
                    output::document(&receipt::document(&receipt))?;
                } else {
                    output::line(receipt::text(&receipt))?;
                }
                succeeded(&[receipt])
            }
        }
    }
}

impl Common {
    async fn make(&self, client: &Client, edits: Vec<RingEdit>, question: Question) -> Result<Made, Failure> {
        let change = Change { edits, meant: self.meant, planned: None, question };
        flow::make(client, change, &self.how, self.output.json()).await
    }

    async fn finish(&self, edits: Vec<RingEdit>, question: Question) -> Result<(), Failure> {
        let client = self.endpoint.connect().await?;
        let made = self.make(&client, edits, question).await?;
        if self.output.json() { output::document(&made.document()) } else { Ok(()) }
    }

    /// Ends with the receipts, since that is what one wants to know before the nodes are switched off.
    async fn leave(&self, nodes: &[String]) -> Result<(), Failure> {
        let client = self.endpoint.connect().await?;
        let made = self.make(&client, edits::each(nodes, edits::leave)?, Question::Apply).await?;
        let mut receipts = Vec::new();
        if self.how.waits() {
            for node in nodes {
                receipts.push(receipt::wait_for(&client, node).await?);
            }
        }
        if self.output.json() {
            let mut document = made.document();
            document["receipts"] = json!(receipts.iter().map(receipt::document).collect::<Vec<_>>());
            output::document(&document)?;
        } else {
            receipts.iter().try_for_each(|receipt| output::line(receipt::text(receipt)))?;
        }
        succeeded(&receipts)
    }
}

fn succeeded(receipts: &[ReceiptResponse]) -> Result<(), Failure> {
    if receipts.iter().all(|receipt| receipt.complete) { Ok(()) } else { Err(Failure::Silent(Exit::NotFound)) }
}
