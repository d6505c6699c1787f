//! `dynamo ring cancel`: takes the change back that is under way.

use clap::Args;
use dynamo_wire::v1::CancelRequest;
use serde_json::json;

use crate::{
    args,
    change::{
        preview::counted,
        watch::{self, Waited},
    },
    failure::Failure,
    output,
};

const EXAMPLES: &str = "\
Examples:
  dynamo ring cancel
  dynamo ring cancel --wait       # until what has moved is home again";

/// Takes the change back that is under way
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    /// Come back when the ring is settled
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    endpoint: args::Endpoint,
    #[command(flatten)]
    output: args::Output,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.endpoint.connect().await?;
        // By its number where that is known: another that began meanwhile must not be meant.
        let under_way = client.ring_changes().progress().await?.change;
        let number = under_way.as_ref().map_or(0, |change| change.change);
        let cancelled = client.ring_changes().cancel(CancelRequest { change: number }).await?;
        let what = under_way.map(|change| format!(" ({})", change.what)).unwrap_or_default();
        if !self.output.json() {
            let how = match cancelled.steps {
                0 => "it is over".to_owned(),
                steps => format!("{} go back home", counted(steps, "step")),
            };
            output::line(format!("Change {}{what} is taken back: {how}.", cancelled.change))?;
        }
        let epoch = if self.wait { Some(settled(&client, cancelled.change).await?) } else { None };
        if self.output.json() {
            let document = json!({
                "change": cancelled.change, "steps": cancelled.steps, "settled": epoch.is_some(), "epoch": epoch,
            });
            return output::document(&document);
        }
        match epoch {
            Some(epoch) => output::line(format!("The ring is settled at epoch {epoch}.")),
            None => Ok(()),
        }
    }
}

async fn settled(client: &dynamo_client::Client, change: u64) -> Result<u64, Failure> {
    match watch::until_over(client, change).await? {
        Waited::Over(over) => Ok(over.epoch),
        Waited::Stopped => Err(watch::stopped()),
    }
}
