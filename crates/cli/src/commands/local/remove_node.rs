//! `dynamo local remove-node`: a node leaves the ring, hands over what it has, and is stopped.

use clap::Args;
use dynamo_client::Client;
use dynamo_wire::v1::{LeaveEdit, RingEdit, ring_edit::Edit};

use super::{
    Dir,
    members::{connect, is_member},
};
use crate::{
    change::{
        confirm::Question,
        flow::{self, Change, How},
        meant::Meant,
        receipt,
    },
    failure::{Exit, Failure},
    local::{
        control::{self, Reply, Request},
        layout::Layout,
    },
    output,
};

const EXAMPLES: &str = "\
Examples:
  dynamo local remove-node node-1

The node has to run: it hands over all that it has. It is stopped once its receipt says that it may be; its directory is \
kept under another name. If the command is interrupted, the same command goes on where it was.";

/// Has a node of the running cluster leave the ring, and stops it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    /// node-1 and so on
    id: String,
    /// Accept fewer nodes, or fewer zones, than N
    #[arg(long)]
    allow_fewer_than_n: bool,
    #[command(flatten)]
    dir: Dir,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        let layout = Layout::existing(&self.dir.dir)?;
        let id = self.id;
        let found = control::ask_any(&layout, &Request::Find(id.clone())).await?;
        if let Reply::Left(kept) = found {
            return output::line(format!("{id} has left before; its files are in {kept}"));
        }
        let client = connect(&layout, &id).await?;
        let is_member = is_member(&client, &id).await?;
        if is_member {
            let edits = vec![RingEdit { edit: Some(Edit::Leave(LeaveEdit { node: id.clone() })) }];
            let meant = Meant { allow_fewer_than_n: self.allow_fewer_than_n, ..Meant::default() };
            let change = Change { edits, meant, planned: None, question: Question::Apply };
            flow::make(&client, change, &How::at_once(), false).await?;
        }
        // Of one that is no member nothing is expected any more: it never was one, has said that it holds nothing, or was
        // taken out as lost. It may not even run. Unless the register waits for its word: tombstones are kept until then.
        if is_member || client.ring_changes().progress().await?.collecting_waits_for.contains(&id) {
            check_receipt(&client, &id, &layout).await?;
        }
        match control::ask_any(&layout, &Request::Remove(id.clone())).await? {
            Reply::Left(kept) => output::line(format!("{id} was stopped; its files are kept in {kept}")),
            other => {
                Err(Failure::unavailable(format!("`dynamo local` answered {other:?} when {id} was to be removed")))
            }
        }
    }
}

async fn check_receipt(client: &Client, id: &str, layout: &Layout) -> Result<(), Failure> {
    let receipt = receipt::wait_for(client, id).await?;
    output::line(receipt::text(&receipt))?;
    if receipt.complete {
        return Ok(());
    }
    let dir = layout.given().display();
    eprintln!(
        "It was not stopped. Go on later with\n  dynamo local remove-node {id} --dir {dir}\nIf it can't be started any more, \
         what it may hold for others is given up first, with\n  dynamo node remove {id}"
    );
    Err(Failure::Silent(Exit::NotFound))
}
