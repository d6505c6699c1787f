//! One change from its plan to its end, the same for every command that makes one.

use std::time::Duration;

use clap::Args;
use dynamo_client::{Client, Code};
use dynamo_wire::v1::{ApplyRequest, ApplyResponse, PlanRequest, PlanResponse, RingEdit};
use serde_json::{Value, json};

use super::{
    confirm::{self, Question},
    meant::Meant,
    preview,
    tracker::Over,
    watch::{self, Waited},
};
use crate::{failure::Failure, output};

/// How a change is made.
#[derive(Debug, Clone, Args)]
pub struct How {
    /// Come back when the ring is settled (the default)
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Come back when the change has begun
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
}

impl How {
    /// Without a question, to the end.
    pub fn at_once() -> Self {
        Self { wait: true, no_wait: false, yes: true }
    }

    /// Whether to come back only when the ring is settled.
    pub fn waits(&self) -> bool {
        !self.no_wait
    }
}

/// What is to be done.
pub struct Change {
    /// The edits.
    pub edits: Vec<RingEdit>,
    /// What it takes away is meant.
    pub meant: Meant,
    /// Refused unless the ring has this version still.
    pub planned: Option<u64>,
    /// What is asked beforehand.
    pub question: Question,
}

/// What was done.
#[derive(Debug)]
pub struct Made {
    /// Names the change; 0: there was nothing to do.
    pub change: u64,
    /// In how many steps.
    pub steps: u32,
    /// How it ended, if that was waited for.
    pub over: Option<Over>,
}

/// How often a change is planned on a ring that changes meanwhile, before its user is told.
const ROUNDS: u32 = 5;

/// Plans, shows, asks, applies, waits. Prints for people unless `json`.
///
/// # Errors
/// It can't be applied, nobody agreed to it, it was taken back, or somebody stopped waiting.
pub async fn make(client: &Client, change: Change, how: &How, json: bool) -> Result<Made, Failure> {
    let applied = apply(client, &change, how, json).await?;
    let mut made = Made { change: applied.change, steps: applied.steps, over: None };
    if made.change > 0 && how.waits() {
        made.over = Some(wait_for(client, made.change).await?);
    }
    if !json {
        made.print()?;
    }
    Ok(made)
}

/// The register's version also moves by what moves no data (a node's new life, a vote that is noted): a change that nobody looked
/// at, or that does what was agreed to, is planned on the new version instead of being thrown back at its user.
async fn apply(client: &Client, change: &Change, how: &How, json: bool) -> Result<ApplyResponse, Failure> {
    let mut plan = planned(client, change).await?;
    agree(change, &plan, how, json)?;
    let mut rounds = 1..ROUNDS;
    loop {
        let Meant { allow_fewer_than_n, accept_loss } = change.meant;
        let request =
            ApplyRequest { edits: change.edits.clone(), version: plan.version, allow_fewer_than_n, accept_loss };
        match client.ring_changes().apply(request).await {
            Err(error) if error.code == Code::RingConflict && rounds.next().is_some() => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let next = planned(client, change).await?;
                if next.version == plan.version {
                    return Err(error.into());
                }
                if !does_the_same(&plan, &next) {
                    agree(change, &next, how, json)?;
                }
                plan = next;
            }
            answered => return Ok(answered?),
        }
    }
}

fn agree(change: &Change, plan: &PlanResponse, how: &How, json: bool) -> Result<(), Failure> {
    if !json {
        preview::print_summary(&PlanResponse { blocked_by: Vec::new(), ..plan.clone() })?;
    }
    if !plan.blocked_by.is_empty() {
        return Err(Failure::unavailable(format!("nothing was changed. {}", preview::blocked(&plan.blocked_by))));
    }
    confirm::ask(&change.question, how.yes)
}

async fn planned(client: &Client, change: &Change) -> Result<PlanResponse, Failure> {
    let Meant { allow_fewer_than_n, accept_loss } = change.meant;
    let request = PlanRequest { edits: change.edits.clone(), allow_fewer_than_n, accept_loss };
    let plan = client.ring_changes().plan(request).await?;
    check_version(&plan, change.planned)?;
    Ok(plan)
}

/// Whether who agreed to the one agreed to the other: all but when it was made, and what it is estimated to take.
fn does_the_same(agreed: &PlanResponse, plan: &PlanResponse) -> bool {
    let bare = |plan: &PlanResponse| PlanResponse {
        version: 0,
        bytes_moved: 0,
        seconds: 0,
        seconds_at_most: 0,
        ..plan.clone()
    };
    bare(agreed) == bare(plan)
}

fn check_version(plan: &PlanResponse, planned: Option<u64>) -> Result<(), Failure> {
    match planned {
        Some(planned) if planned != plan.version => Err(Failure::unavailable(format!(
            "nothing was changed: the plan was made on version {planned} of the ring, and it has version {} now. Plan it \
             again, and look at what is different",
            plan.version
        ))),
        _ => Ok(()),
    }
}

/// Waits for the end of a change that somebody wants to succeed.
///
/// # Errors
/// It was taken back, or somebody stopped waiting.
pub async fn wait_for(client: &Client, change: u64) -> Result<Over, Failure> {
    match watch::until_over(client, change).await? {
        Waited::Stopped => Err(watch::stopped()),
        Waited::Over(over) if over.was_cancelled => Err(Failure::unavailable(format!(
            "change {change} was taken back while it was under way; the ring has epoch {}. See `dynamo ring`",
            over.epoch
        ))),
        Waited::Over(over) => Ok(over),
    }
}

impl Made {
    /// For programs.
    pub fn document(&self) -> Value {
        let epoch = self.over.as_ref().map(|over| over.epoch);
        json!({ "change": self.change, "steps": self.steps, "settled": self.change == 0 || epoch.is_some(), "epoch": epoch })
    }

    fn print(&self) -> Result<(), Failure> {
        output::line(match (&self.over, self.change) {
            (_, 0) => "The ring is so already: nothing was changed.".to_owned(),
            (None, change) => format!(
                "Change {change} has begun, {}. It goes on by itself: `dynamo ring status --watch` shows how far it is, \
                 `dynamo ring cancel` takes it back",
                preview::counted(self.steps, "step")
            ),
            (Some(Over { epoch, followed_by: None, .. }), change) => {
                format!("Change {change} is done: the ring is settled at epoch {epoch}.")
            }
            (Some(Over { epoch, followed_by: Some(next), .. }), change) => {
                format!("Change {change} is done, epoch {epoch}; another is under way: {next}.")
            }
        })
    }
}
