//! All homes of a key are down: others take the write for them, and each gets it when it returns (§4.6).

use crate::cluster::Cluster;

fn homes(cluster: &Cluster, key: &str) -> Vec<String> {
    let ring = cluster.json(&["ring", "--key", key]);
    let list = ring["preference_list"].as_array().unwrap_or_else(|| panic!("{ring}"));
    list.iter().map(|node| node["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_write_that_only_fallbacks_could_take_reaches_every_home() {
    let cluster = Cluster::start(5, &["--zones", "3"]);
    let nodes: Vec<String> = (1..=5).map(|node| format!("node-{node}")).collect();
    let homes = homes(&cluster, "k");
    assert_eq!(homes.len(), 3);
    let (dead, alive): (Vec<_>, Vec<_>) = nodes.iter().partition(|node| homes.contains(node));
    dead.iter().for_each(|node| cluster.kill(node));
    cluster.until("the others take the write", || cluster.run(&["put", "k", "v"]).status.success());
    dead.iter().for_each(|node| cluster.restart(node));
    cluster.until_hints_drained();
    alive.iter().for_each(|node| cluster.kill(node));
    for last in &dead {
        let gone: Vec<_> = dead.iter().filter(|node| node != &last).collect();
        gone.iter().for_each(|node| cluster.kill(node));
        cluster.until("a home has it by itself", || {
            let read = cluster.run(&["get", "k", "-r", "1"]);
            read.status.success() && read.stdout.starts_with(b"v")
        });
        gone.iter().for_each(|node| cluster.restart(node));
    }
}
