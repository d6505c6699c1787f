//! Data directories that are copied behind a node's back: put back later, or started beside the original.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{cluster::Cluster, http};

fn node_dir(cluster: &Cluster, node: &str) -> PathBuf {
    cluster.dir().join("nodes").join(node)
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

fn life(cluster: &Cluster, node: &str) -> String {
    let text = fs::read_to_string(node_dir(cluster, node).join("data/identity.yaml")).unwrap();
    text.lines().find(|line| line.starts_with("incarnation:")).unwrap().to_owned()
}

fn log(cluster: &Cluster, node: &str) -> String {
    fs::read_to_string(node_dir(cluster, node).join("log")).unwrap()
}

fn put_all(cluster: &Cluster, keys: impl Iterator<Item = usize>, value: &str) {
    for key in keys {
        cluster.ok(&["put", &format!("k{key}"), value, "--bucket", "strict"]);
    }
}

fn reads_all(cluster: &Cluster, keys: impl Iterator<Item = usize>, value: &str) {
    for key in keys {
        let read = cluster.ok(&["get", &format!("k{key}"), "--bucket", "strict"]);
        assert_eq!(read.trim_end(), value, "k{key}");
    }
}

/// As the node itself says: the others may not have heard yet.
fn is_whole(cluster: &Cluster, node: &str) -> bool {
    let described = cluster.described();
    let row = described["nodes"].as_array().unwrap().iter().find(|row| row["id"] == node).unwrap();
    let endpoint = row["endpoint"].as_str().unwrap();
    let output = cluster.run(&["ring", "status", "--endpoint", endpoint, "-o", "json"]);
    let said = serde_json::from_slice::<serde_json::Value>(&output.stdout);
    output.status.success() && said.is_ok_and(|said| said["refilling"] == 0)
}

#[test]
fn a_disk_that_is_put_back_to_an_old_copy_says_so_and_goes_on_as_a_new_one() {
    let cluster = Cluster::start(3, &["--zones", "3"]);
    cluster.ok(&["bucket", "create", "strict", "--strict", "-r", "2", "-w", "2"]);
    put_all(&cluster, 0..20, "old");
    cluster.kill("node-2");
    let (data, kept) = (node_dir(&cluster, "node-2").join("data"), cluster.dir().join("copy"));
    copy(&data, &kept);
    let before = life(&cluster, "node-2");
    cluster.restart("node-2");
    cluster.until("it is whole again", || is_whole(&cluster, "node-2"));
    assert_eq!(life(&cluster, "node-2"), before, "an ordinary restart is the same life");
    // Acknowledged by node-1 and node-2 alone.
    cluster.kill("node-3");
    put_all(&cluster, 20..50, "new");
    cluster.kill("node-2");
    fs::remove_dir_all(&data).unwrap();
    copy(&kept, &data);
    cluster.restart("node-2");
    cluster.restart("node-3");
    cluster.until("it takes a new life", || life(&cluster, "node-2") != before);
    cluster.until("it is filled", || is_whole(&cluster, "node-2"));
    let said = log(&cluster, "node-2");
    assert!(said.contains("this disk is an old copy") && said.contains("goes on as a new disk"), "{said}");
    assert!(!log(&cluster, "node-1").contains("old copy") && !log(&cluster, "node-3").contains("old copy"));
    reads_all(&cluster, 0..20, "old");
    reads_all(&cluster, 20..50, "new");
    // It has it all itself: node-1, that had it as well, is not asked.
    cluster.kill("node-1");
    reads_all(&cluster, 0..20, "old");
    reads_all(&cluster, 20..50, "new");
}

/// A gauge of a node's; 0 where it has none yet, or does not answer.
fn gauge(cluster: &Cluster, node: &str, name: &str) -> u64 {
    let described = cluster.described();
    let row = described["nodes"].as_array().unwrap().iter().find(|row| row["id"] == node).unwrap();
    let (host, port) = row["endpoint"].as_str().unwrap().split_once(':').unwrap();
    http::gauge(&format!("{host}:{}", port.parse::<u16>().unwrap() + 2000), name)
}

#[test]
fn a_disk_that_is_put_back_to_before_what_was_collected_does_not_bring_it_back() {
    let cluster = Cluster::start(3, &["--zones", "3", "--set", "tombstones.collect_every_s=2"]);
    cluster.ok(&["bucket", "create", "strict", "--strict", "-r", "2", "-w", "2"]);
    let names = || ["node-1", "node-2", "node-3"].into_iter();
    let collected = || names().map(|node| gauge(&cluster, node, "dynamo_tombstones_collected")).sum::<u64>();
    put_all(&cluster, 0..30, "here");
    cluster.kill("node-2");
    let (data, kept) = (node_dir(&cluster, "node-2").join("data"), cluster.dir().join("copy"));
    copy(&data, &kept);
    cluster.restart("node-2");
    cluster.until("it is whole again", || is_whole(&cluster, "node-2"));
    for key in 0..20 {
        cluster.ok(&["delete", &format!("k{key}"), "--bucket", "strict"]);
    }
    cluster.until("the tombstones are gone everywhere", || collected() >= 60);
    // Its copy has neither them nor a word of them.
    let before = life(&cluster, "node-2");
    cluster.kill("node-2");
    fs::remove_dir_all(&data).unwrap();
    copy(&kept, &data);
    cluster.restart("node-2");
    cluster.until("it says what became of it", || log(&cluster, "node-2").contains("it was emptied, and goes on"));
    cluster.until("it is filled", || is_whole(&cluster, "node-2"));
    assert_ne!(life(&cluster, "node-2"), before);
    assert!(!data.join("store.discarded").exists());
    let gone = || {
        for key in 0..20 {
            let output = cluster.run(&["get", &format!("k{key}"), "--bucket", "strict"]);
            assert!(!output.status.success() && output.stdout.is_empty(), "k{key} is back: {output:?}");
        }
        reads_all(&cluster, 20..30, "here");
    };
    gone();
    // Whatever it has itself: one of the others is not asked.
    cluster.kill("node-1");
    gone();
}

#[test]
fn a_copy_that_is_started_beside_the_original_is_refused() {
    let cluster = Cluster::start(3, &["--zones", "3"]);
    cluster.ok(&["put", "k", "v"]);
    cluster.kill("node-2");
    let (ours, theirs) = (node_dir(&cluster, "node-2"), cluster.dir().join("copy"));
    copy(&ours.join("data"), &theirs);
    let before = life(&cluster, "node-2");
    cluster.restart("node-2");
    let config = ours.join("node.yaml");
    let args = ["node", "--config", config.to_str().unwrap()];
    let data_dir = format!("--data-dir={}", theirs.display());
    let elsewhere = [
        data_dir.as_str(),
        "--set=node.client_listen=127.0.0.1:0",
        "--set=node.peer_listen=127.0.0.1:0",
        "--set=node.http_listen=127.0.0.1:0",
        "--set=node.advertise_peer=127.0.0.1:9",
    ];
    let output = cluster.run(&[&args[..], &elsewhere[..]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("node-2 is alive at") && said.contains("of the same name"), "{said}");
    assert_eq!(life(&cluster, "node-2"), before, "the original goes on as it was");
    assert_eq!(cluster.ok(&["get", "k"]).trim_end(), "v");
}
