//! What can't be done to a ring: each is refused with why and what to do, and the ring stays as it is.

use std::process::Output;

use bytes::Bytes;
use dynamo_wire::{
    PEER_PROTOCOL,
    v1::{
        GossipDelta, GossipEnvelope, GossipMessage, GossipNode, GossipVersion, gossip_client::GossipClient,
        gossip_message,
    },
};
use serde_json::json;

use crate::nodes::{Nodes, zone};

/// Refused, and not by a crash: with all of these words.
fn refused(output: &Output, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it was done: {}", String::from_utf8_lossy(&output.stdout));
    says(&stderr, words);
}

fn says(text: &str, words: &[&str]) {
    assert!(!text.contains("panicked"), "{text}");
    words.iter().for_each(|word| assert!(text.contains(word), "{text:?} does not say {word:?}"));
}

/// The register's version.
fn version(nodes: &Nodes) -> u64 {
    nodes.json(&["ring", "status"]).unwrap()["version"].as_u64().unwrap()
}

/// Until the members have heard of a node that was just started.
fn until_known(nodes: &Nodes, name: &str) {
    nodes.until("a new node is heard of", || nodes.run(&["ring", "plan", "--join", name]).status.success());
}

#[test]
fn who_is_a_member_can_not_join_and_who_is_unknown_can_not_either() {
    let nodes = Nodes::start(3);
    let before = version(&nodes);
    refused(&nodes.run(&["node", "join", "node-1", "--yes"]), &["node-1 is a member", "nothing was changed"]);
    nodes.add("node-4", "zone-a");
    until_known(&nodes, "node-4");
    refused(&nodes.run(&["node", "join", "node-4", "node-4", "--yes"]), &["node-4", "twice"]);
    refused(&nodes.run(&["node", "join", "nobody", "--yes"]), &["no node \"nobody\" is known", "cluster.seeds"]);
    nodes.kill("node-4");
    nodes.until("node-4 is known to be down", || !nodes.run(&["ring", "plan", "--join", "node-4"]).status.success());
    refused(&nodes.run(&["node", "join", "node-4", "--yes"]), &["node-4 does not answer", "start it"]);
    assert_eq!(version(&nodes), before);
}

#[test]
fn a_node_of_another_cluster_is_never_heard_of() {
    let nodes = Nodes::start(3);
    nodes.add_of("stranger", "zone-a", "theirs");
    nodes.until("the stranger says why", || {
        let log = nodes.log("stranger");
        log.contains("another cluster") || log.contains("cluster \"ours\"")
    });
    let words = ["no node \"stranger\" is known", "this cluster's name", "nothing was changed"];
    refused(&nodes.run(&["node", "join", "stranger", "--yes"]), &words);
}

#[test]
fn a_node_whose_first_ring_is_another_one_is_told_so_and_exchanges_nothing() {
    let nodes = Nodes::start(3);
    nodes.kill("node-3");
    nodes.wipe("node-3");
    nodes.restart_with("node-3", &["--set", "cluster.partitions=32"]);
    for name in ["node-1", "node-3"] {
        nodes.until("both sides say why", || nodes.log(name).contains("different rings of epoch 1"));
    }
    assert!(nodes.log("node-3").contains("cluster.partitions differ"));
    // The one that was put right is one of them again.
    nodes.kill("node-3");
    nodes.wipe("node-3");
    nodes.restart("node-3");
    nodes.until("all three take a write", || nodes.run(&["put", "k", "v", "-w", "3"]).status.success());
}

/// A node of a version to come says of itself what it is, as gossip brings it.
async fn hear_of_newer(member: String, name: &str) {
    let id = Bytes::from_static(&[9; 16]);
    let node = GossipNode {
        id: id.clone(),
        version: Some(GossipVersion { generation: 1, number: 1 }),
        name: name.to_owned(),
        zone: zone(1),
        weight: 1,
        phase: 1,
        protocol: dynamo_wire::PEER_PROTOCOL + 1,
        ..GossipNode::default()
    };
    let delta = GossipDelta { nodes: vec![node], digest: None };
    let message = GossipMessage { message: Some(gossip_message::Message::Delta(delta)) };
    let (cluster, from_address) = ("ours".to_owned(), String::new());
    let envelope =
        GossipEnvelope { cluster, from: id, from_address, message: Some(message), ..GossipEnvelope::default() };
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{member}")).unwrap().connect_lazy();
    GossipClient::new(channel).tell(envelope).await.unwrap();
}

#[test]
fn a_node_of_a_newer_protocol_version_does_not_join() {
    let nodes = Nodes::start(3);
    let before = version(&nodes);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for member in ["node-1", "node-2", "node-3"] {
        runtime.block_on(hear_of_newer(nodes.peer_address(member), "node-9"));
    }
    let (newer, ours) =
        (format!("node-9 speaks version {}", PEER_PROTOCOL + 1), format!("speaks version {PEER_PROTOCOL}"));
    let words = [&newer, &ours, "nothing was changed", "upgrade the members first"];
    refused(&nodes.run(&["node", "join", "node-9", "--yes"]), &words);
    assert_eq!(version(&nodes), before);
}

#[test]
fn a_second_node_of_the_same_name_is_refused_while_the_first_is_there() {
    let nodes = Nodes::start(3);
    nodes.ok(&["put", "k", "v"]);
    for cloned in [false, true] {
        let output = nodes.run_namesake("node-2", cloned);
        let text = [output.stdout, output.stderr].concat();
        says(&String::from_utf8_lossy(&text), &["node-2", "is alive", "node.name"]);
        assert!(!output.status.success());
    }
    nodes.until_settled();
    assert_eq!(nodes.ok(&["get", "k"]).trim_end(), "v");
}

#[test]
fn a_copy_of_another_nodes_disk_is_no_disk_to_join_with() {
    let nodes = Nodes::start(3);
    nodes.kill("node-2");
    nodes.add_clone("node-4", "node-2");
    nodes.restart("node-2");
    let words = ["holds the data of node \"node-2\"", "this is node \"node-4\"", "its own node.data_dir"];
    says(&nodes.refuses_to_start("node-4"), &words);
    refused(&nodes.run(&["node", "join", "node-4", "--yes"]), &["no node \"node-4\" is known"]);
}

#[test]
fn fewer_zones_than_replicas_have_to_be_meant() {
    let nodes = Nodes::start(5);
    let before = version(&nodes);
    // It is the only one of its zone.
    refused(&nodes.run(&["node", "leave", "node-3", "--yes"]), &["2 zones", "3 replicas", "--allow-fewer-than-n"]);
    assert_eq!(version(&nodes), before);
    nodes.ok(&["ring", "plan", "--leave", "node-3", "--allow-fewer-than-n"]);
}

#[test]
fn fewer_nodes_than_replicas_have_to_be_meant() {
    let nodes = Nodes::start(3);
    let before = version(&nodes);
    refused(&nodes.run(&["node", "leave", "node-3", "--yes"]), &["2 nodes", "3 replicas", "--allow-fewer-than-n"]);
    refused(&nodes.run(&["ring", "plan", "--leave", "node-1"]), &["--allow-fewer-than-n"]);
    assert_eq!(version(&nodes), before);
    nodes.ok(&["put", "k", "v"]);
    nodes.ok(&["node", "leave", "node-3", "--yes", "--allow-fewer-than-n"]);
    nodes.kill("node-3");
    assert_eq!(nodes.members().unwrap(), ["node-1", "node-2"]);
    assert_eq!(nodes.ok(&["get", "k"]).trim_end(), "v");
}

#[test]
fn a_plan_that_is_older_than_the_ring_is_refused() {
    let nodes = Nodes::start(3);
    nodes.add("node-4", &zone(4));
    nodes.add("node-5", &zone(5));
    until_known(&nodes, "node-4");
    until_known(&nodes, "node-5");
    let dir = tempfile::tempdir().unwrap();
    let plan = dir.path().join("plan.yaml");
    let plan = plan.to_str().unwrap();
    nodes.ok(&["ring", "plan", "--join", "node-4", "--out", plan]);
    nodes.ok(&["ring", "apply", "--join", "node-5", "--yes"]);
    refused(
        &nodes.run(&["ring", "apply", "--plan", plan, "--yes"]),
        &["the plan was made on version", "nothing was changed", "Plan it again"],
    );
    assert_eq!(nodes.members().unwrap(), ["node-1", "node-2", "node-3", "node-5"]);
}

#[test]
fn who_is_alive_is_neither_removed_nor_replaced_and_who_is_dead_does_not_leave() {
    let nodes = Nodes::start(4);
    let before = version(&nodes);
    nodes.add("node-5", &zone(4));
    until_known(&nodes, "node-5");
    refused(&nodes.run(&["node", "remove", "node-4", "--yes"]), &["node-4 is alive", "dynamo node leave node-4"]);
    let replace = ["node", "replace", "node-4", "--with", "node-5", "--yes"];
    refused(&nodes.run(&replace), &["node-4 is alive", "stop it first"]);
    nodes.kill("node-4");
    nodes.until("node-4 is known to be down", || !nodes.run(&["ring", "plan", "--leave", "node-4"]).status.success());
    refused(&nodes.run(&["node", "leave", "node-4", "--yes"]), &["node-4 is down", "dynamo node remove"]);
    assert_eq!(version(&nodes), before);
}

#[test]
fn one_change_is_under_way_at_a_time_and_can_be_taken_back() {
    let rate = json!({ "rate_min_bytes_per_s": 128 << 10, "rate_max_bytes_per_s": 128 << 10 });
    let nodes = Nodes::start_with(3, &json!({ "background": rate }));
    nodes.add("node-4", &zone(4));
    nodes.add("node-5", &zone(5));
    until_known(&nodes, "node-4");
    until_known(&nodes, "node-5");
    // More than moves at this rate while the test lasts; each node may move 2 MiB beforehand.
    (0..80).for_each(|number| drop(nodes.ok(&["put", &format!("key-{number}"), &"x".repeat(120_000)])));
    nodes.ok(&["ring", "apply", "--join", "node-4", "--yes", "--no-wait"]);
    let other = nodes.run(&["ring", "apply", "--join", "node-5", "--yes"]);
    refused(&other, &["under way", "node-4 joins", "nothing was changed", "dynamo ring cancel"]);
    refused(&nodes.run(&["node", "leave", "node-1", "--yes"]), &["--allow-fewer-than-n"]);
    let waits = nodes.ok(&["ring", "status"]);
    assert!(waits.contains("node-4 joins"), "{waits}");
    nodes.ok(&["ring", "cancel", "--wait"]);
    nodes.until_settled();
    assert_eq!(nodes.members().unwrap(), ["node-1", "node-2", "node-3"]);
    refused(&nodes.run(&["ring", "cancel"]), &["no change", "under way"]);
    nodes.ok(&["ring", "apply", "--join", "node-5", "--yes", "--no-wait"]);
}

#[test]
fn who_left_does_not_come_back_with_the_disk_that_it_had() {
    let nodes = Nodes::start(4);
    nodes.ok(&["node", "leave", "node-4", "--yes"]);
    let again = nodes.run(&["node", "join", "node-4", "--yes"]);
    refused(&again, &["node-4 left", "nothing was changed", "empty data directory"]);
    nodes.kill("node-4");
    says(&nodes.refuses_to_start("node-4"), &["left its cluster", "nothing was changed", "empty node.data_dir"]);
    nodes.wipe("node-4");
    nodes.restart("node-4");
    nodes.change_to(&["node-1", "node-2", "node-3", "node-4"]);
}

#[test]
fn who_was_removed_while_it_was_dead_does_not_come_back_with_the_disk_that_it_had() {
    let nodes = Nodes::start(4);
    nodes.kill("node-4");
    nodes.until("node-4 is removed", || nodes.run(&["node", "remove", "node-4", "--yes"]).status.success());
    nodes.restart("node-4");
    nodes.until("node-4 is refused for what it has", || {
        let output = nodes.run(&["node", "join", "node-4", "--yes"]);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).contains("node-4 left this cluster")
    });
    nodes.until_may_be_switched_off("node-4");
    nodes.kill("node-4");
    says(&nodes.refuses_to_start("node-4"), &["was removed", "empty node.data_dir"]);
}
