//! `dynamo ring status`: the change under way, or that the ring is settled.

use clap::Args;
use dynamo_client::Client;
use dynamo_wire::v1::{ProgressResponse, RingChange};
use serde_json::{Value, json};

use crate::{
    args,
    change::{
        preview::counted,
        tracker,
        watch::{self, Waited},
    },
    failure::{Exit, Failure},
    output,
};

const EXAMPLES: &str = "\
Examples:
  dynamo ring status
  dynamo ring status --watch                # until the ring is settled, or Ctrl-C
  dynamo ring status -o json | jq .settled";

/// Shows how far a change of the ring is
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    /// Keep showing it until the ring is settled
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    endpoint: args::Endpoint,
    #[command(flatten)]
    output: args::Output,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.endpoint.connect().await?;
        match (self.watch, self.output.json()) {
            (true, true) => return watch_documents(&client).await,
            (true, false) => {
                // Ctrl-C is how one leaves, and no news.
                if let Waited::Stopped = watch::until_over(&client, 0).await? {
                    return Err(Failure::Silent(Exit::Unavailable));
                }
            }
            (false, _) => {}
        }
        let progress = client.ring_changes().progress().await?;
        if self.output.json() { output::document(&document(&progress)) } else { output::line(text(&progress)) }
    }
}

/// One document a line, whenever something is different.
async fn watch_documents(client: &Client) -> Result<(), Failure> {
    let mut last = None;
    let seen = watch::poll(client, |answer| {
        let Ok(answer) = answer else { return None };
        if last.as_ref() != Some(answer) {
            last = Some(answer.clone());
            if let Err(failure) = output::document(&document(answer)) {
                return Some(Err(failure));
            }
        }
        answer.change.is_none().then_some(Ok(()))
    });
    seen.await?.unwrap_or(Err(Failure::Silent(Exit::Unavailable)))
}

fn text(progress: &ProgressResponse) -> String {
    let mut lines = match &progress.change {
        None => vec![format!("The ring is settled at epoch {}, version {}.", progress.epoch, progress.version)],
        Some(change) => under_way(progress, change),
    };
    if !progress.behind.is_empty() {
        lines.push(format!("Not heard of epoch {} yet: {}.", progress.epoch, progress.behind.join(", ")));
    }
    if progress.leftovers > 0 {
        let partitions = counted(progress.leftovers, "partition");
        lines.push(format!("{partitions} to be handed over and dropped, by nodes that are no home any more."));
    }
    if progress.refilling > 0 {
        let homes = counted(progress.refilling, "home");
        lines.push(format!("{homes} to be filled, of nodes that came with an empty disk."));
    }
    if !progress.collecting_waits_for.is_empty() {
        lines
            .push(format!(
                "Tombstones stay while these are waited for: {}. Start those that are down; one that has left and will never \
                 return is given up with `dynamo node remove`.",
                progress.collecting_waits_for.join(", ")
            ));
    }
    lines.join("\n")
}

fn under_way(progress: &ProgressResponse, change: &RingChange) -> Vec<String> {
    let step = (change.steps_done + 1).min(change.steps.max(1));
    let mut lines = vec![
        format!(
            "Change {}: {} (epoch {}, version {})",
            change.change,
            tracker::what(change),
            progress.epoch,
            progress.version
        ),
        format!(
            "  step {step} of {}, {}: {} of {}, {} received in this step; about {} in all",
            change.steps.max(1),
            change.phase,
            change.copies_done,
            counted(change.copies, "copy"),
            output::bytes_for_people(change.bytes_moved),
            output::bytes_for_people(change.bytes_expected)
        ),
    ];
    lines.extend(change.blocked_by.iter().map(|why| format!("  waits: {why}")));
    lines
}

fn document(progress: &ProgressResponse) -> Value {
    let change = progress.change.as_ref().map(|change| {
        json!({
            "change": change.change, "what": change.what, "cancelled": change.cancelled,
            "steps": change.steps, "steps_done": change.steps_done, "phase": change.phase,
            "copies": change.copies, "copies_done": change.copies_done,
            "bytes_moved": change.bytes_moved, "bytes_expected": change.bytes_expected,
            "blocked_by": change.blocked_by, "accept_loss": change.accept_loss,
        })
    });
    json!({
        "settled": change.is_none(), "version": progress.version, "epoch": progress.epoch, "change": change,
        "behind": progress.behind, "leftovers": progress.leftovers, "refilling": progress.refilling,
        "collecting_waits_for": progress.collecting_waits_for,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settled_ring_says_what_is_left_to_do_and_nothing_where_there_is_nothing() {
        let settled = ProgressResponse { version: 9, epoch: 4, ..ProgressResponse::default() };
        assert_eq!(text(&settled), "The ring is settled at epoch 4, version 9.");
        let trailing = ProgressResponse { behind: vec!["a".into(), "b".into()], leftovers: 1, refilling: 2, ..settled };
        let trailing = ProgressResponse { collecting_waits_for: vec!["c".into()], ..trailing };
        let text = text(&trailing);
        for says in [
            "Not heard of epoch 4 yet: a, b.",
            "1 partition to be handed over",
            "2 homes to be filled",
            "waited for: c. Start",
        ] {
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn a_change_says_what_it_is_where_it_is_and_what_it_waits_for() {
        let change = RingChange {
            change: 8,
            what: "node-6 joins".into(),
            steps: 2,
            steps_done: 1,
            phase: "copying".into(),
            copies: 40,
            copies_done: 12,
            blocked_by: vec!["node-3 is down".into()],
            ..RingChange::default()
        };
        let progress = ProgressResponse { version: 9, epoch: 4, change: Some(change), ..ProgressResponse::default() };
        let text = text(&progress);
        for says in
            ["Change 8: node-6 joins (epoch 4", "step 2 of 2, copying: 12 of 40 copies", "waits: node-3 is down"]
        {
            assert!(text.contains(says), "{text}");
        }
        assert_eq!(
            (document(&progress)["settled"].as_bool(), document(&progress)["change"]["copies"].as_u64()),
            (Some(false), Some(40))
        );
    }
}
