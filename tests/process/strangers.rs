//! Data and contexts that are not this node's, or not of this version: refused with a reason, and left as they are.

use std::{
    fs,
    path::PathBuf,
    process::Output,
    thread::sleep,
    time::{Duration, Instant},
};

use dynamo_version::text;

use crate::cluster::Cluster;

fn refused(output: &Output, code: i32, says: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(says), "{stderr:?} does not say {says:?}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// A node of the cluster that was killed, started by hand with its own configuration.
fn start(cluster: &Cluster, config: &str, more: &[&str]) -> Output {
    let args: Vec<&str> = ["node", "--config", config].iter().chain(more).copied().collect();
    cluster.run(&args)
}

fn node_dir(cluster: &Cluster, node: &str) -> PathBuf {
    cluster.dir().join("nodes").join(node)
}

#[test]
fn a_data_directory_of_another_node_or_of_a_newer_version_or_damaged_is_not_touched() {
    let cluster = Cluster::start(3, &["--zones", "3"]);
    // It is node-2 that has to have it: two of three would be enough to acknowledge it.
    cluster.ok(&["put", "k", "v", "-w", "3"]);
    cluster.kill("node-2");
    let ours = node_dir(&cluster, "node-2");
    let config = ours.join("node.yaml");
    let config = config.to_str().unwrap();
    let data = node_dir(&cluster, "node-2").join("data");
    let identity = data.join("identity.yaml");
    let before = fs::read_to_string(&identity).unwrap();

    let neighbour = node_dir(&cluster, "node-1").join("data");
    let theirs = format!("--data-dir={}", neighbour.display());
    refused(&start(&cluster, config, &[&theirs]), 1, "in use");
    cluster.kill("node-1");
    // A killed process holds its locks until the system has taken it apart.
    let freed = Instant::now() + Duration::from_secs(20);
    let mut output = start(&cluster, config, &[&theirs]);
    while String::from_utf8_lossy(&output.stderr).contains("in use") && Instant::now() < freed {
        sleep(Duration::from_millis(100));
        output = start(&cluster, config, &[&theirs]);
    }
    refused(&output, 1, "holds the data of node \"node-1\"");
    cluster.restart("node-1");
    refused(&start(&cluster, config, &["--set", "cluster.name=elsewhere"]), 1, "holds the data of node");

    fs::write(&identity, before.replace("format: 1", "format: 9")).unwrap();
    refused(&start(&cluster, config, &[]), 1, "newer version");
    fs::write(&identity, &before[..before.len() / 2]).unwrap();
    refused(&start(&cluster, config, &[]), 1, "damaged");
    fs::remove_file(&identity).unwrap();
    refused(&start(&cluster, config, &[]), 1, "identity.yaml");
    fs::write(&identity, &before).unwrap();

    let format = data.join("store/FORMAT");
    let known = fs::read_to_string(&format).unwrap();
    fs::write(&format, "dynamo storage 99\n").unwrap();
    refused(&start(&cluster, config, &[]), 1, "99");
    fs::write(&format, known).unwrap();

    cluster.restart("node-2");
    cluster.kill("node-1");
    cluster.kill("node-3");
    cluster.until("the data is as it was", || {
        let read = cluster.run(&["get", "k", "-r", "1"]);
        read.status.success() && read.stdout.starts_with(b"v")
    });
}

#[test]
fn a_context_of_another_cluster_or_of_a_newer_format_writes_nothing() {
    let cluster = Cluster::start(1, &["--zones", "1", "--replication", "1"]);
    let other = Cluster::start(1, &["--zones", "1", "--replication", "1", "--set", "cluster.name=elsewhere"]);
    let context = cluster.ok(&["put", "k", "v"]);
    let stranger = other.ok(&["put", "k", "v"]);
    refused(&cluster.run(&["put", "k", "w", "--context", stranger.trim()]), 2, "another cluster");
    refused(&cluster.run(&["delete", "k", "--context", stranger.trim()]), 2, "another cluster");

    let mut newer = text::decode(context.trim()).unwrap();
    newer[0] = 200;
    refused(&cluster.run(&["put", "k", "w", "--context", &text::encode(&newer)]), 2, "format 200");
    let cut = text::decode(context.trim()).unwrap();
    refused(&cluster.run(&["put", "k", "w", "--context", &text::encode(&cut[..cut.len() - 3])]), 2, "damaged");
    assert_eq!(cluster.ok(&["get", "k"]).trim_end(), "v");
}
