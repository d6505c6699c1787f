//! `dynamo local replace-node`: a node begins anew with an empty disk, and is filled from the other replicas.

use clap::Args;
use dynamo_client::{Client, Config, Routing};
use dynamo_wire::v1::ProgressResponse;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Duration;

use super::{Dir, members::connect};
use crate::{
    change::{preview::counted, watch},
    failure::Failure,
    local::{
        control::{self, Reply, Request},
        layout::Layout,
    },
    output,
};

const EXAMPLES: &str = "\
Examples:
  dynamo local replace-node node-2

As when a machine is lost with its disk, and another takes its name. The directory that the node had is kept under another \
name. The others have to be up and full. If the command is interrupted, the same command goes on where it was.";

/// So long news of the node are waited for at the others, at most.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

const BAR: &str = "{spinner} {prefix}\n  [{bar:40}] {pos} of {len} partitions";

/// Has a node of the running cluster begin anew with an empty disk
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    /// node-1 and so on
    id: String,
    #[command(flatten)]
    dir: Dir,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        let layout = Layout::existing(&self.dir.dir)?;
        let id = self.id;
        // One that is unfinished is not full, of course.
        if let Reply::Done(_) = control::ask_any(&layout, &Request::Find(id.clone())).await? {
            check_others(&connect(&layout, &id).await?, &id).await?;
        }
        let row = control::ask(&layout, &Request::Replace(id.clone())).await?;
        output::line(format!("{id} serves with an empty disk: pid {}, {}. Now it is filled.", row.pid, row.endpoint))?;
        // The node itself: the others may not have heard yet that it came with an empty disk.
        let mut config = Config { tls: layout.caller(), ..Config::new(vec![row.endpoint]) };
        config.routing = Routing::Server;
        let itself = Client::connect(config).await?;
        let partitions = filled(&itself, &id, &layout).await?;
        seen_full(&connect(&layout, &id).await?, &id, itself.ring_changes().progress().await?.version).await;
        control::ask(&layout, &Request::Refilled(id.clone())).await?;
        output::line(match partitions {
            0 => format!("{id} is full."),
            partitions => format!("{id} is full: it has its part of {partitions} partitions again."),
        })
    }
}

/// With one node down and another empty, what only those two had would be lost.
async fn check_others(client: &Client, id: &str) -> Result<(), Failure> {
    let refuse = |why: String| Err(Failure::unavailable(format!("nothing was changed: {why}")));
    // Members only: one that has left is on its way down, and has handed over what it had.
    let ring = client.describe_ring().await?;
    let is_member = ring.members.iter().any(|node| node.name == id);
    if is_member && (ring.replicas == 1 || ring.members.len() == 1) {
        return refuse(format!(
            "no other node has what {id} has (N is {}, and the ring has {}), so there is nothing to fill it from. To begin \
             with no data at all, stop the cluster and use another --dir",
            ring.replicas,
            counted(ring.members.len() as u32, "node"),
        ));
    }
    let missing: Vec<&str> = ring
        .members
        .iter()
        .filter(|node| node.name != id && node.state != "up")
        .map(|node| node.name.as_str())
        .collect();
    if !missing.is_empty() {
        return refuse(format!(
            "{} not up, and may hold the only copy of something. Bring it back first",
            are(&missing)
        ));
    }
    let progress = client.ring_changes().progress().await?;
    if let Some(change) = progress.change {
        return refuse(format!(
            "the ring is changing ({}). Try again when it is settled: `dynamo ring status --watch`",
            change.what
        ));
    }
    if progress.refilling > 0 {
        return refuse(format!(
            "a node is being filled still. Try again when `dynamo ring status` says nothing of it. If that does not end \
             because {id} is missing, take it out with `dynamo node remove {id}` and `dynamo local remove-node {id}`, and \
             add another"
        ));
    }
    Ok(())
}

fn are(names: &[&str]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

/// Waits until the node is full; says how many partitions it was seen to lack.
async fn filled(client: &Client, id: &str, layout: &Layout) -> Result<u64, Failure> {
    let style = ProgressStyle::with_template(BAR).expect("the template is valid").progress_chars("=> ");
    // Draws on a terminal only.
    let bar = ProgressBar::new(0).with_style(style).with_prefix(format!("{id} is filled from the other replicas"));
    bar.enable_steady_tick(Duration::from_millis(100));
    let mut most = 0;
    let seen = watch::poll(client, |answer| {
        let refilling = u64::from(answer.ok()?.refilling);
        most = most.max(refilling);
        bar.set_length(most);
        bar.set_position(most - refilling);
        (refilling == 0).then_some(())
    })
    .await;
    bar.finish_and_clear();
    if seen?.is_none() {
        let dir = layout.given().display();
        eprintln!(
            "\nStopped waiting. It is filled all the same; go on waiting with\n  dynamo local replace-node {id} --dir {dir}"
        );
        return Err(Failure::Silent(crate::failure::Exit::Unavailable));
    }
    Ok(most)
}

/// Gives the others a moment to hear that it is full, so that `dynamo ring status` does not say otherwise. That it is full
/// does not depend on it.
async fn seen_full(others: &Client, id: &str, version: u64) {
    let heard = |answer: &ProgressResponse| {
        answer.version >= version && answer.refilling == 0 && !answer.behind.iter().any(|node| node == id)
    };
    let hearing = watch::poll(others, |answer| answer.is_ok_and(heard).then_some(()));
    let _ = tokio::time::timeout(HEARD_WITHIN, hearing).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_the_bar_is_valid() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }
}
