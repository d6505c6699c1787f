//! Nodes that join, leave, lose their disks and are replaced, while clients read and write.

use super::load::Load;
use crate::nodes::{Nodes, zone};

/// Writes that have to be taken after a change, so that it was not the change's end that nobody could use.
const AFTER: usize = 200;

fn five() -> Vec<&'static str> {
    vec!["node-1", "node-2", "node-3", "node-4", "node-5"]
}

fn finish(nodes: &Nodes, load: Load) {
    load.go_on(AFTER);
    load.end(nodes);
}

#[test]
fn two_nodes_join_under_load() {
    let nodes = Nodes::start(5);
    let load = Load::begin(&nodes);
    nodes.add("node-6", &zone(6));
    nodes.add("node-7", &zone(7));
    let before = load.writes();
    nodes.change_to(&[five(), vec!["node-6", "node-7"]].concat());
    assert!(load.writes() > before, "no write was taken while the nodes joined");
    finish(&nodes, load);
}

#[test]
fn two_nodes_leave_under_load_and_are_switched_off() {
    let nodes = Nodes::start(5);
    let load = Load::begin(&nodes);
    let before = load.writes();
    nodes.change_to(&["node-3", "node-4", "node-5"]);
    assert!(load.writes() > before, "no write was taken while the nodes left");
    for gone in ["node-1", "node-2"] {
        nodes.until_may_be_switched_off(gone);
        nodes.kill(gone);
    }
    finish(&nodes, load);
}

#[test]
fn a_node_that_lost_its_disk_is_filled_again_under_load() {
    let nodes = Nodes::start(5);
    let load = Load::begin(&nodes);
    nodes.kill("node-3");
    nodes.wipe("node-3");
    load.go_on(AFTER);
    nodes.restart("node-3");
    nodes.until_settled();
    // Another may be lost now: what only these two had would be missed.
    nodes.kill("node-1");
    nodes.wipe("node-1");
    nodes.restart("node-1");
    finish(&nodes, load);
}

#[test]
fn a_node_that_is_dead_is_replaced_by_another_under_load() {
    let nodes = Nodes::start(5);
    let load = Load::begin(&nodes);
    nodes.add("node-8", &zone(2));
    nodes.kill("node-2");
    nodes.until("node-2 is replaced", || {
        nodes.run(&["node", "replace", "node-2", "--with", "node-8", "--yes"]).status.success()
    });
    assert_eq!(nodes.members().unwrap(), ["node-1", "node-3", "node-4", "node-5", "node-8"]);
    finish(&nodes, load);
}

/// What only these two had would be lost: somebody has to say that it may be.
#[test]
fn two_that_are_dead_are_removed_only_by_who_accepts_a_loss() {
    let nodes = Nodes::start(5);
    // A change, so that the members know each other's disks: the three that are left have to vote.
    nodes.ok(&["ring", "apply", "--weight", "node-1=2", "--yes"]);
    nodes.kill("node-4");
    nodes.kill("node-5");
    let both = ["node", "remove", "node-4", "node-5", "--yes"];
    nodes.until("both are known to be down", || {
        let refused = String::from_utf8_lossy(&nodes.run(&both).stderr).into_owned();
        let why = ["without node-4 and node-5 too few homes are left", "nothing was changed", "--accept-loss"];
        why.iter().all(|why| refused.contains(why))
    });
    assert_eq!(nodes.members().unwrap().len(), 5);
    let accepted = nodes.ok(&[&both[..], &["--accept-loss"]].concat());
    assert!(accepted.contains("a loss is accepted"), "{accepted}");
    assert_eq!(nodes.members().unwrap(), ["node-1", "node-2", "node-3"]);
    nodes.until_settled();
}

#[test]
fn a_node_that_is_dead_is_removed_under_load() {
    let nodes = Nodes::start(5);
    let load = Load::begin(&nodes);
    nodes.kill("node-5");
    nodes.until("node-5 is removed", || nodes.run(&["node", "remove", "node-5", "--yes"]).status.success());
    assert_eq!(nodes.members().unwrap(), ["node-1", "node-2", "node-3", "node-4"]);
    finish(&nodes, load);
}
