//! One node's disk fills up: writes go on elsewhere, reads go on everywhere, and the node catches up when space returns.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::cluster::{Cluster, DYNAMO};

const MIB: u64 = 1 << 20;

/// node-1's folder on a file system of 300 MiB, in a namespace of the cluster's own.
fn on_a_small_disk(dir: &Path) -> Command {
    let script = "mkdir -p \"$0/nodes/node-1\" && mount -t tmpfs -o size=300m tmpfs \"$0/nodes/node-1\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script]).arg(dir).arg(DYNAMO);
    command
}

fn namespaces_work() -> bool {
    Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status().is_ok_and(|s| s.success())
}

fn disk_of_node_1(cluster: &Cluster) -> String {
    let status = cluster.json(&["status"]);
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["id"] == "node-1").unwrap()["disk"].as_str().unwrap().to_owned()
}

#[test]
fn a_node_whose_disk_is_full_refuses_writes_serves_reads_and_catches_up() {
    if !namespaces_work() {
        let required = std::env::var("DYNAMO_REQUIRE_REAL_DISK").is_ok_and(|value| value == "1");
        assert!(!required, "no small file system can be mounted here");
        println!("NOT RUN: no small file system can be mounted here");
        return;
    }
    let flags = ["--zones", "3", "--set", "storage.reserve_mib=32"];
    let cluster = Cluster::start_prepared(3, &flags, on_a_small_disk);
    cluster.ok(&["bucket", "create", "strict", "-r", "1", "-w", "3", "--strict"]);
    cluster.ok(&["put", "before", "v"]);
    cluster.ok(&["put", "before", "v", "--bucket", "strict"]);

    // The test is not in the cluster's namespace: it reaches the small disk through the node's process.
    let inside = PathBuf::from(format!("/proc/{}/root", cluster.pid("node-1")));
    let ballast = inside.join(cluster.dir().strip_prefix("/").unwrap()).join("nodes/node-1/ballast");
    fill(&ballast);
    cluster.until("the disk is seen to be full", || disk_of_node_1(&cluster) == "full");
    let node_1 = cluster.endpoint.clone();
    assert_eq!(cluster.ok(&["get", "before", "--endpoint", &node_1]).trim_end(), "v");
    cluster.ok(&["put", "meanwhile", "w", "--endpoint", &node_1]);
    let refused = cluster.run(&["put", "meanwhile", "w", "--bucket", "strict"]);
    let says = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{says}");
    assert!(says.contains("disk"), "{says}");

    std::fs::remove_file(&ballast).unwrap();
    cluster.until("the space is seen", || disk_of_node_1(&cluster) == "ok");
    cluster.until("a write to all three is taken", || {
        cluster.run(&["put", "after", "x", "--bucket", "strict"]).status.success()
    });
    cluster.until_hints_drained();
    cluster.kill("node-2");
    cluster.kill("node-3");
    cluster.until("node-1 has what it missed", || {
        let read = cluster.run(&["get", "meanwhile", "-r", "1", "--endpoint", &node_1]);
        read.status.success() && read.stdout.starts_with(b"w")
    });
}

/// Leaves 8 MiB, less than the reserve.
fn fill(ballast: &Path) {
    let disk = rustix::fs::statvfs(ballast.parent().unwrap()).unwrap();
    let free = disk.f_bavail * disk.f_frsize;
    std::fs::write(ballast, vec![0; usize::try_from(free - 8 * MIB).unwrap()]).unwrap();
}
