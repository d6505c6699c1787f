//! `dynamo local --tls`: a cluster with an authority of its own, and the profile with which its owner reaches it.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt};

use super::fails;
use crate::cluster::Cluster;

#[test]
fn a_local_cluster_has_its_own_authority_and_lets_in_who_reads_its_directory() {
    let cluster = Cluster::start(3, &["--zones", "3", "--tls"]);
    let dir = cluster.dir();
    let profile = dir.join("profile.json");
    let run = |args: &[&str]| cluster.run(&[args, &["--profile", profile.to_str().unwrap()]].concat());
    let ok = |args: &[&str]| {
        let output = run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    ok(&["put", "k", "v"]);
    fails(&cluster.run(&["get", "k"]));
    ok(&["bucket", "create", "b"]);
    for secret in ["ca.key", "owner.pem", "node-1.pem"] {
        let mode = std::fs::metadata(dir.join("tls").join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }

    cluster.kill("node-2");
    cluster.restart("node-2");
    cluster.ok(&["local", "add-node", "--dir", dir.to_str().unwrap()]);
    assert_eq!(ok(&["get", "k"]).trim_end(), "v");
    let status: serde_json::Value = serde_json::from_str(&ok(&["status", "-o", "json"])).unwrap();
    let rows = status["nodes"].as_array().unwrap();
    let shown: BTreeSet<&str> = rows.iter().map(|row| row["certificate"].as_str().unwrap()).collect();
    assert!(rows.len() == 4 && shown.len() == 4 && !shown.contains(""), "{status}");
    let signed: BTreeSet<&str> = rows.iter().map(|row| row["certificate_signed_by"].as_str().unwrap()).collect();
    assert_eq!(signed.len(), 1, "{status}");
}
