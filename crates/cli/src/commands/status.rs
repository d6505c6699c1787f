//! `dynamo status`: the cluster as one of its nodes sees it (§4.8.3: failure detection is local).

use std::{collections::BTreeSet, time::Duration};

use clap::Args;
use dynamo_client::{Client, Config};
use dynamo_wire::v1;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{args, failure::Failure, output};

const EXAMPLES: &str = "\
Examples:
  dynamo status
  dynamo status --endpoint 127.0.0.1:7402          # as the third node sees it
  dynamo status -o json | jq '[.nodes[].hints] | add'

Each node judges by itself which others are up: two nodes may disagree for some seconds. Figures are each node's own; \
those of a node that can't be asked are the last that gossip carried, marked ~ (\"live\": false). DISK is what the records \
take; a node whose disk is full or failing refuses writes, and serves reads, until that is mended: no restart is needed.";

/// A node that is up says its figures at once; nobody wants to wait longer for one that hangs.
const PATIENCE: Duration = Duration::from_secs(2);

/// Shows the nodes as the asked one sees them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    #[command(flatten)]
    endpoint: args::Endpoint,
    #[command(flatten)]
    output: args::Output,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        let config = self.endpoint.config()?;
        let mut status = self.endpoint.connect().await?.status().await?;
        let live = freshen(&mut status, &config).await;
        if self.output.json() {
            return output::document(&document(&status, &live));
        }
        output::line(format!(
            "Cluster {}, ring epoch {}, as {} sees it",
            status.cluster, status.ring_epoch, status.asked
        ))?;
        let rows = status.nodes.iter().map(|node| row(node, live.contains(&node.id))).collect();
        let header = ["ID", "ZONE", "STATE", "KEYS", "HINTS", "DISK", "EPOCH", "ENDPOINT"];
        output::print_table(&output::table(&header, &["KEYS", "HINTS", "EPOCH"], rows))?;
        for node in status.nodes.iter().filter(|node| !node.certificate_problem.is_empty()) {
            output::line(format!("{}: {}", node.name, node.certificate_problem))?;
        }
        Ok(())
    }
}

/// Has each node say its own figures: what the asked one has of them is as old as gossip's last round. Its judgement of
/// their state stays. Returns the ids of those whose figures are their own.
async fn freshen(status: &mut v1::StatusResponse, config: &Config) -> BTreeSet<String> {
    let asked = status.asked.clone();
    let mut questions = JoinSet::new();
    for node in status.nodes.iter().filter(|node| node.name != asked && node.state != "down") {
        let id = node.id.clone();
        let config = Config { endpoints: vec![node.client_address.clone()], ..config.clone() };
        questions.spawn(async move { tokio::time::timeout(PATIENCE, own_figures(id, config)).await.ok().flatten() });
    }
    let mut live: BTreeSet<String> =
        status.nodes.iter().filter(|node| node.name == asked).map(|node| node.id.clone()).collect();
    while let Some(answer) = questions.join_next().await {
        let Ok(Some(own)) = answer else { continue };
        let Some(node) = status.nodes.iter_mut().find(|node| node.id == own.id) else { continue };
        live.insert(own.id.clone());
        let (state, last_heard_ms) = (std::mem::take(&mut node.state), node.last_heard_ms);
        *node = v1::NodeStatus { state, last_heard_ms, ..own };
    }
    live
}

async fn own_figures(id: String, config: Config) -> Option<v1::NodeStatus> {
    let client = Client::connect(config).await.ok()?;
    client.status().await.ok()?.nodes.into_iter().find(|node| node.id == id)
}

fn row(node: &v1::NodeStatus, live: bool) -> Vec<String> {
    let figure = |value: u64| format!("{}{value}", if live { "" } else { "~" });
    let bytes = output::bytes_for_people;
    let disk = match node.disk.as_str() {
        "ok" => format!("ok ({})", bytes(node.disk_bytes)),
        other => format!("{other} ({}, {} free)", bytes(node.disk_bytes), bytes(node.disk_free_bytes)),
    };
    vec![
        node.name.clone(),
        node.zone.clone(),
        node.state.clone(),
        figure(node.keys),
        figure(node.hints),
        disk,
        node.ring_epoch.to_string(),
        node.client_address.clone(),
    ]
}

fn document(status: &v1::StatusResponse, live: &BTreeSet<String>) -> Value {
    let nodes: Vec<Value> = status
        .nodes
        .iter()
        .map(|node| {
            json!({
                "id": node.name,
                "node_id": node.id,
                "zone": node.zone,
                "state": node.state,
                "keys": node.keys,
                "tombstones": node.tombstones,
                "hints": node.hints,
                "disk": node.disk,
                "disk_bytes": node.disk_bytes,
                "disk_free_bytes": node.disk_free_bytes,
                "ring_epoch": node.ring_epoch,
                "endpoint": node.client_address,
                "last_heard_ms": node.last_heard_ms,
                "incarnation": node.incarnation,
                "certificate": node.certificate,
                "certificate_until_s": node.certificate_until_s,
                "certificate_signed_by": node.certificate_signed_by,
                "trusted": node.trusted,
                "certificate_problem": node.certificate_problem,
                "peer_protocol": node.peer_protocol,
                "refilling": node.refilling,
                "leftovers": node.leftovers,
                "live": live.contains(&node.id),
            })
        })
        .collect();
    json!({ "cluster": status.cluster, "asked": status.asked, "ring_epoch": status.ring_epoch, "nodes": nodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_find_the_name_as_id_and_the_uuid_beside_it() {
        let node = v1::NodeStatus { id: "uuid".into(), name: "node-1".into(), hints: 7, ..Default::default() };
        let status = v1::StatusResponse { cluster: "local".into(), nodes: vec![node], ..Default::default() };
        let document = document(&status, &BTreeSet::from(["uuid".to_owned()]));
        assert_eq!(document["nodes"][0]["id"], "node-1");
        assert_eq!(document["nodes"][0]["node_id"], "uuid");
        assert_eq!(document["nodes"][0]["hints"], 7);
        assert_eq!(document["nodes"][0]["live"], true);
    }

    #[test]
    fn a_disk_that_is_not_well_says_how_much_is_free() {
        let full =
            v1::NodeStatus { disk: "full".into(), disk_bytes: 2048, disk_free_bytes: 1024, ..Default::default() };
        assert_eq!(row(&full, true)[5], "full (2.0 KiB, 1.0 KiB free)");
        assert_eq!(row(&v1::NodeStatus { disk: "ok".into(), ..full }, true)[5], "ok (2.0 KiB)");
    }

    #[test]
    fn figures_that_gossip_carried_are_marked() {
        let node = v1::NodeStatus { keys: 12, ..Default::default() };
        assert_eq!((&row(&node, true)[3], &row(&node, false)[3]), (&"12".to_owned(), &"~12".to_owned()));
    }
}
