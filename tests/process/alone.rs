//! One node of three that reaches nobody. Kubernetes sends a pod no traffic, and finds no address for it, until it is ready: a
//! cluster whose nodes waited for one another would never come back.

use serde_json::json;

use crate::{http, nodes::Nodes};

#[test]
fn a_node_that_reaches_nobody_is_ready_all_the_same_on_a_new_disk_and_on_its_own() {
    let nodes = Nodes::put_down_only(3);
    nodes.restart("node-1");
    // It can't do what takes two of three, and says so to whoever asks for that alone.
    let refused = nodes.run(&["put", "k", "v"]);
    assert_eq!(refused.status.code(), Some(3), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(nodes.is_ready("node-1"));

    nodes.restart("node-2");
    nodes.restart("node-3");
    nodes.until_settled();
    nodes.ok(&["put", "k", "v", "-w", "3"]);
    let all = ["node-1", "node-2", "node-3"];
    all.iter().for_each(|node| nodes.kill(node));
    nodes.restart("node-1");
    assert!(nodes.ok(&["get", "k", "-r", "1"]).starts_with('v'));
    assert!(!nodes.run(&["get", "k"]).status.success(), "two are down");
    assert!(nodes.is_ready("node-1"));
}

#[test]
fn a_node_that_nobody_answers_yet_takes_no_requests_before_somebody_does() {
    // However long the cluster waits for others, this one does not wait long for itself: else no machine would be quick enough
    // for what follows.
    let gossip = json!({ "interval_ms": 100, "down_after_ms": 86_400_000 });
    let nodes = Nodes::put_down_with(3, &json!({ "gossip": gossip, "timeouts": { "connect_ms": 100 } }));
    nodes.launch_with("node-1", &[]);
    nodes.until("node-1 sees that it is alone", || nodes.log("node-1").contains("nobody answers this node yet"));
    let asked = |path: &str| http::get(&nodes.http_address("node-1"), path).unwrap();
    assert!(asked("/healthz").starts_with("HTTP/1.1 200"), "the process answers");
    let ready = asked("/readyz");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.ends_with("starting\n"), "{ready}");
    let log = nodes.log("node-1");
    assert!(!log.contains("dynamo_node::server: ready"), "others serve its clients better: {log}");
    nodes.restart("node-2");
    nodes.until("node-1 is ready", || nodes.is_ready("node-1"));
    nodes.ok(&["put", "k", "v"]);
}
