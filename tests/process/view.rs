//! `RingAdmin.View`: what the operator sees of the ring and its nodes.

use dynamo_client::{Client, Config};
use dynamo_ring::NodeId;
use dynamo_wire::v1::{ViewNode, ViewResponse};

use crate::{
    http,
    nodes::{Nodes, zone},
};

fn view(nodes: &Nodes, by: &str, confirm: bool) -> ViewResponse {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect(Config::new(vec![nodes.endpoint(by)])).await.unwrap();
        client.ring_changes().view(confirm).await.unwrap()
    })
}

fn node<'a>(view: &'a ViewResponse, name: &str) -> &'a ViewNode {
    view.nodes.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no {name} in {view:?}"))
}

#[test]
fn the_ring_its_nodes_and_those_who_left_are_in_one_confirmed_answer() {
    let nodes = Nodes::start(4);
    nodes.ok(&["bucket", "create", "all", "-r", "3", "-w", "1"]);
    nodes.add("node-5", &zone(5));
    nodes.until("it is heard of", || view(&nodes, "node-1", false).nodes.len() == 5);
    nodes.ok(&["node", "leave", "node-4", "--yes"]);
    nodes.until_may_be_switched_off("node-4");
    let left = nodes.life("node-4");
    for by in ["node-1", "node-2", "node-4", "node-5"] {
        nodes.until("the bucket is known", || view(&nodes, by, false).quorum == 3);
        nodes.until("a majority confirms it", || view(&nodes, by, true).confirmed);
        let seen = view(&nodes, by, true);
        assert_eq!((seen.asked.as_str(), seen.cluster.as_str(), seen.n, seen.partitions), (by, "ours", 3, 64));
        assert_eq!((seen.quorum, seen.sources), (3, 3));
        assert!(seen.change.is_none());
        let members: Vec<&str> = seen.nodes.iter().filter(|node| node.member).map(|node| node.name.as_str()).collect();
        assert_eq!(members, ["node-1", "node-2", "node-3"]);
        // Three members and N = 3: each range is with all of them.
        let mut homes: Vec<Vec<u32>> = seen.homes.iter().map(|homes| homes.nodes.clone()).collect();
        homes.iter_mut().for_each(|homes| homes.sort());
        assert!(!homes.is_empty() && homes.iter().all(|homes| *homes == [0, 1, 2]), "{homes:?}");
        let gone: Vec<(&str, u64)> = seen.gone.iter().map(|gone| (gone.name.as_str(), gone.incarnation)).collect();
        assert_eq!(gone, [("node-4", left)]);
        assert_eq!(seen.gone[0].id, NodeId::initial("ours", "node-4").to_string());
        let one = node(&seen, "node-1");
        assert_eq!((one.incarnation, one.refilling, one.disk.as_str()), (nodes.life("node-1"), 0, "ok"));
        assert!(!node(&seen, "node-5").member && node(&seen, "node-5").state == "up");
        assert!(!node(&seen, "node-4").leaver);
    }
}

#[test]
fn who_reaches_no_majority_says_so_and_what_it_knows() {
    let nodes = Nodes::start(3);
    // A founder that dies before the others have noted its disk leaves no majority of those who have been noted.
    let votes = |name: &&str| http::gauge(&nodes.http_address(name), "dynamo_ring_votes") == 1;
    nodes.until("all founders vote", || ["node-1", "node-2", "node-3"].iter().all(votes));
    nodes.kill("node-2");
    nodes.until("two of three are a majority", || view(&nodes, "node-1", true).confirmed);
    nodes.kill("node-3");
    let seen = view(&nodes, "node-1", true);
    assert!(!seen.confirmed && seen.unconfirmed.starts_with("1 of 3 members answered"), "{}", seen.unconfirmed);
    assert_eq!(seen.nodes.iter().filter(|node| node.member).count(), 3);
    nodes.until("they are known to be down", || node(&view(&nodes, "node-1", false), "node-3").state == "down");
    nodes.restart("node-3");
    nodes.until("it is confirmed again", || view(&nodes, "node-1", true).confirmed);
}

#[test]
fn a_change_names_who_comes_who_goes_and_who_takes_whose_place() {
    let rate = serde_json::json!({ "rate_min_bytes_per_s": 64 << 10, "rate_max_bytes_per_s": 64 << 10 });
    let nodes = Nodes::start_with(4, &serde_json::json!({ "background": rate }));
    (0..80).for_each(|number| drop(nodes.ok(&["put", &format!("key-{number}"), &"x".repeat(100_000)])));
    nodes.add("node-5", &zone(4));
    nodes.until("it is heard of", || nodes.run(&["ring", "plan", "--join", "node-5"]).status.success());
    nodes.kill("node-4");
    let replace = ["node", "replace", "node-4", "--with", "node-5", "--yes", "--no-wait"];
    nodes.until("node-4 is known to be down", || nodes.run(&replace).status.success());
    let seen = view(&nodes, "node-1", true);
    let change = seen.change.clone().expect("it goes on for a while");
    assert_eq!((change.joins, change.leaves), (vec!["node-5".to_owned()], vec!["node-4".to_owned()]));
    assert!(change.removes.is_empty());
    let replaces: Vec<_> = change.replaces.iter().map(|pair| (pair.node.as_str(), pair.with.as_str())).collect();
    assert_eq!(replaces, [("node-4", "node-5")]);
    let progress = change.change.expect("how far it is");
    assert!(progress.change > 0 && progress.steps > 0 && progress.what.contains("node-4 is replaced"), "{progress:?}");
    assert!(node(&seen, "node-4").member && !node(&seen, "node-5").leaver);
    nodes.ok(&["ring", "cancel"]);
    nodes.until("it is taken back", || view(&nodes, "node-1", true).change.is_none());
    let seen = view(&nodes, "node-1", true);
    assert!(node(&seen, "node-4").member && !node(&seen, "node-5").member);
}
