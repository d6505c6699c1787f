//! `dynamo local add-node`: another node, which joins the ring.

use clap::Args;
use dynamo_client::{Client, Code};
use dynamo_wire::v1::{JoinEdit, PlanRequest, RingEdit, ring_edit::Edit};
use indicatif::ProgressBar;
use tokio::time::{Duration, Instant, sleep};

use super::{
    Dir,
    members::{EVERY, connect, is_member},
};
use crate::{
    change::{
        confirm::Question,
        flow::{self, Change, How},
        meant::Meant,
        preview, watch,
    },
    failure::Failure,
    local::{
        control::{self, Request},
        layout::Layout,
    },
    output,
};

const EXAMPLES: &str = "\
Examples:
  dynamo local add-node                         # the next zone in turn
  dynamo local add-node --zone zone-b --weight 2

The node gets the next number and the next free ports. The command ends when it has its part of the ring. If it is \
interrupted, the same command goes on where it was.";

/// So long news of a new node take to reach the others, at most.
const HEARD_WITHIN: Duration = Duration::from_secs(60);
/// So long the node that is asked may lag behind the one that said that the change is over.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// Starts another node of the running cluster, and has it join the ring
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    /// Its zone [default: zones go round]
    #[arg(long)]
    zone: Option<String>,
    /// Its share of the load, against the others' [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    weight: Option<u32>,
    #[command(flatten)]
    dir: Dir,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        let layout = Layout::existing(&self.dir.dir)?;
        let row = control::ask(&layout, &Request::Add { zone: self.zone, weight: self.weight }).await?;
        output::line(format!(
            "{} serves in {}: pid {}, {}. Now it joins the ring.",
            row.id, row.zone, row.pid, row.endpoint
        ))?;
        let client = connect(&layout, &row.id).await?;
        if !is_member(&client, &row.id).await? {
            let edits = vec![RingEdit { edit: Some(Edit::Join(JoinEdit { node: row.id.clone(), weight: 0 })) }];
            until_heard_of(&client, &row.id, &edits).await?;
            let change = Change { edits, meant: Meant::default(), planned: None, question: Question::Apply };
            flow::make(&client, change, &How::at_once(), false).await?;
            check_member(&client, &row.id).await?;
        }
        let row = control::ask(&layout, &Request::Joined(row.id)).await?;
        output::line(format!("{} is a member of the ring.", row.id))
    }
}

/// A change that was taken back quickly may have been over before it was seen to be taken back.
async fn check_member(client: &Client, id: &str) -> Result<(), Failure> {
    let until = Instant::now() + SEEN_WITHIN;
    while !is_member(client, id).await? {
        if Instant::now() >= until {
            return Err(Failure::unavailable(format!(
                "the change is over, and {id} is no member: it was taken back. {id} runs still; run the same command again, \
                 or take it away with `dynamo local remove-node {id}`"
            )));
        }
        sleep(EVERY).await;
    }
    Ok(())
}

/// One whose join was taken back may never join with the disk that it has.
fn with_way_out(failure: Failure, id: &str) -> Failure {
    match failure {
        Failure::Told(exit, message) => Failure::Told(
            exit,
            format!(
                "{message}\n{id} runs still, and holds no data of the ring: run the same command again, or take it away with \
                 `dynamo local remove-node {id}` and add another"
            ),
        ),
        other => other,
    }
}

/// The members hear of a new node from each other, which takes a moment.
async fn until_heard_of(client: &Client, id: &str, edits: &[RingEdit]) -> Result<(), Failure> {
    let until = Instant::now() + HEARD_WITHIN;
    // Draws on a terminal only.
    let spinner = ProgressBar::new_spinner().with_message(format!("waiting until the members have heard of {id}"));
    spinner.enable_steady_tick(Duration::from_millis(100));
    let waiting = async {
        loop {
            let request = PlanRequest { edits: edits.to_vec(), ..PlanRequest::default() };
            let not_yet = match client.ring_changes().plan(request).await {
                Ok(plan) if plan.blocked_by.is_empty() => return Ok(()),
                Ok(plan) => {
                    Failure::unavailable(format!("{id} has not joined. {}", preview::blocked(&plan.blocked_by)))
                }
                Err(error) if matches!(error.code, Code::UnknownNode | Code::RingConflict | Code::NoMajority) => {
                    error.into()
                }
                Err(error) => return Err(error.into()),
            };
            if Instant::now() >= until {
                return Err(with_way_out(not_yet, id));
            }
            sleep(EVERY).await;
        }
    };
    let ended = tokio::select! {
        ended = waiting => ended,
        _ = tokio::signal::ctrl_c() => Err(watch::stopped_before(id)),
    };
    spinner.finish_and_clear();
    ended
}
