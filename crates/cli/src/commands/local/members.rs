//! What adding, removing and replacing a local node have in common: the running cluster as `cluster.json` has it, and who
//! is a member.

use std::{fs, time::Duration};

use dynamo_client::{Client, Config};
use serde::Deserialize;

use crate::{
    change::watch::{self, Waited},
    failure::Failure,
    local::{control::Row, layout::Layout},
};

/// Between two looks.
pub const EVERY: Duration = Duration::from_millis(300);

#[derive(Deserialize)]
struct ClusterFile {
    nodes: Vec<Row>,
}

/// A client of the cluster that runs in the directory. The node that it is about is asked last.
///
/// # Errors
/// None runs there, or none answers.
pub async fn connect(layout: &Layout, about: &str) -> Result<Client, Failure> {
    let path = layout.cluster_file();
    let read = || -> std::io::Result<ClusterFile> { Ok(serde_json::from_str(&fs::read_to_string(&path)?)?) };
    let file = read().map_err(|error| Failure::file(format!("can't read {}", path.display()), &error))?;
    let (last, mut nodes): (Vec<Row>, Vec<Row>) = file.nodes.into_iter().partition(|row| row.id == about);
    nodes.extend(last);
    let endpoints = nodes.into_iter().map(|row| row.endpoint).collect();
    Ok(Client::connect(Config { tls: layout.caller(), ..Config::new(endpoints) }).await?)
}

/// Whether the ring has this member, once no change is under way: that may be the very one that is to be made, begun by
/// the same command before it was interrupted.
///
/// # Errors
/// No node answers, or somebody stopped waiting.
pub async fn is_member(client: &Client, id: &str) -> Result<bool, Failure> {
    if client.ring_changes().progress().await?.change.is_some() {
        eprintln!("A change of the ring is under way: waiting for it.");
        if let Waited::Stopped = watch::until_over(client, 0).await? {
            return Err(watch::stopped());
        }
    }
    Ok(client.describe_ring().await?.members.iter().any(|member| member.name == id))
}
