//! Disks of nodes that left, which come back: refused, or emptied where the configuration says so (`node.retired`).

use crate::nodes::{Nodes, zone};

/// A cluster of three that node-4 has left; its disk is still there, and the life that it had.
fn one_has_left() -> (Nodes, u64) {
    let nodes = Nodes::start(4);
    (0..20).for_each(|number| drop(nodes.ok(&["put", &format!("key-{number}"), "v"])));
    nodes.ok(&["node", "leave", "node-4", "--yes"]);
    nodes.until_may_be_switched_off("node-4");
    let receipt = nodes.json(&["node", "receipt", "node-4"]).unwrap();
    let life = nodes.life("node-4");
    assert_eq!((receipt["incarnation"].as_u64(), receipt["left"].as_bool()), (Some(life), Some(true)), "{receipt}");
    nodes.kill("node-4");
    (nodes, life)
}

fn reads_all(nodes: &Nodes, keys: usize) {
    for number in 0..keys {
        assert_eq!(nodes.ok(&["get", &format!("key-{number}")]).trim_end(), "v");
    }
}

#[test]
fn a_disk_that_left_comes_back_as_a_new_node_once_it_is_told_to_be_empty() {
    let (nodes, left) = one_has_left();
    (20..40).for_each(|number| drop(nodes.ok(&["put", &format!("key-{number}"), "v"])));
    let told = format!("set node.retired to {left},");
    assert!(nodes.refuses_to_start("node-4").contains(&told), "{}", nodes.log("node-4"));
    // Another life's number is none of its business.
    nodes.launch_with("node-4", &["--set", &format!("node.retired={}", left - 1)]);
    assert!(nodes.has_ended("node-4").contains(&told));
    assert_eq!(nodes.life("node-4"), left);

    let retired = format!("node.retired={left}");
    nodes.restart_with("node-4", &["--set", &retired]);
    let life = nodes.life("node-4");
    assert!(life > left, "{life} is not after {left}");
    assert!(nodes.log("node-4").contains("left its cluster in an earlier life"), "{}", nodes.log("node-4"));
    nodes.change_to(&["node-1", "node-2", "node-3", "node-4"]);
    reads_all(&nodes, 40);

    // The setting stays where it is: the new life is not touched by it.
    nodes.kill("node-4");
    nodes.restart_with("node-4", &["--set", &retired]);
    nodes.until_settled();
    assert_eq!(nodes.life("node-4"), life);
    assert_eq!(nodes.log("node-4").matches("it was emptied").count(), 1);
    reads_all(&nodes, 40);
}

#[test]
fn a_shared_configuration_names_the_lives_of_several_nodes() {
    let (nodes, left) = one_has_left();
    let shared = format!("cluster.retired=[{{name: node-4, life: {left}}}, {{name: node-9, life: 4}}]");
    let member = nodes.life("node-1");
    nodes.kill("node-1");
    nodes.restart_with("node-1", &["--set", &shared]);
    nodes.restart_with("node-4", &["--set", &shared]);
    assert!(nodes.life("node-1") == member && nodes.life("node-4") > left);
    nodes.change_to(&["node-1", "node-2", "node-3", "node-4"]);
    reads_all(&nodes, 20);
}

#[test]
fn a_new_disk_is_above_the_life_that_is_retired_whatever_its_clock_says() {
    let nodes = Nodes::start(3);
    // Seen at a time that is yet to come.
    let retired = 1 << 50;
    nodes.add_with("node-4", &zone(4), &["--set", &format!("node.retired={retired}")]);
    assert_eq!(nodes.life("node-4"), retired + 1);
    nodes.change_to(&["node-1", "node-2", "node-3", "node-4"]);
}
