//! `dynamo ring plan`: what a change would do.

use std::path::PathBuf;

use clap::Args;
use dynamo_wire::v1::PlanRequest;

use crate::{
    args,
    change::{edits, edits::Edits, file, meant::Meant, preview},
    failure::Failure,
    output,
};

const EXAMPLES: &str = "\
Examples:
  dynamo ring plan --join node-6 --join node-7:2
  dynamo ring plan --leave node-1
  dynamo ring plan --replace node-2=node-8     # node-2 is down for good, node-8 is no member
  dynamo ring plan --weight node-3=2 --out plan.yaml
  dynamo ring apply --plan plan.yaml

All edits together are one change. Nothing is changed by a plan. TOKENS and REPLICAS are before->after; FAIR is the \
replicas that a node would have after it if shares were exactly as the weights.";

/// Shows what a change of the ring would do, without making it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    #[command(flatten)]
    edits: Edits,
    #[command(flatten)]
    meant: Meant,
    /// Keep the edits and the version that they were planned on in this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    endpoint: args::Endpoint,
    #[command(flatten)]
    output: args::Output,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        let edits = self.edits.list();
        if edits.is_empty() {
            return Err(Failure::usage("say what is to change, for example --join node-6. Nothing was changed"));
        }
        let (meant, Meant { allow_fewer_than_n, accept_loss }) = (self.meant, self.meant);
        let request = PlanRequest { edits: edits.clone(), allow_fewer_than_n, accept_loss };
        let plan = self.endpoint.connect().await?.ring_changes().plan(request).await?;
        let flags = edits::flags(&edits);
        if let Some(path) = &self.out {
            file::write(path, &file::Kept { version: plan.version, meant, edits })?;
        }
        if self.output.json() {
            return output::document(&preview::document(&plan));
        }
        preview::print(&plan)?;
        match &self.out {
            Some(path) => output::line(format!("\nKept. Apply it with\n  dynamo ring apply --plan {}", path.display())),
            None if plan.blocked_by.is_empty() => {
                output::line(format!("\nApply it with\n  dynamo ring apply {flags}{}", meant.flags()))
            }
            None => Ok(()),
        }
    }
}
