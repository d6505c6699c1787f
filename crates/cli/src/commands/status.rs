//! `dynamo status`: the cluster as one of its nodes sees it (§4.8.3: failure detection is local).

use clap::Args;
use dynamo_wire::v1;
use serde_json::{Value, json};

use crate::{args, failure::Failure, output};

const EXAMPLES: &str = "\
Examples:
  dynamo status
  dynamo status --endpoint 127.0.0.1:7402          # as the third node sees it
  dynamo status -o json | jq '[.nodes[].hints] | add'

Each node judges by itself which others are up: two nodes may disagree for some seconds.";

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
        let status = self.endpoint.connect().await?.status().await?;
        if self.output.json() {
            return output::document(&document(&status));
        }
        output::line(format!(
            "Cluster {}, ring epoch {}, as {} sees it",
            status.cluster, status.ring_epoch, status.asked
        ))?;
        let rows = status.nodes.iter().map(row).collect();
        let header = ["ID", "ZONE", "STATE", "KEYS", "HINTS", "DISK", "EPOCH", "ENDPOINT"];
        output::print_table(&output::table(&header, &["KEYS", "HINTS", "EPOCH"], rows))
    }
}

fn row(node: &v1::NodeStatus) -> Vec<String> {
    let disk = format!("{} ({})", node.disk, output::bytes_for_people(node.disk_bytes));
    vec![
        node.name.clone(),
        node.zone.clone(),
        node.state.clone(),
        node.keys.to_string(),
        node.hints.to_string(),
        disk,
        node.ring_epoch.to_string(),
        node.client_address.clone(),
    ]
}

fn document(status: &v1::StatusResponse) -> Value {
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
        let document = document(&status);
        assert_eq!(document["nodes"][0]["id"], "node-1");
        assert_eq!(document["nodes"][0]["node_id"], "uuid");
        assert_eq!(document["nodes"][0]["hints"], 7);
    }
}
