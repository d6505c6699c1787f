//! Some 60,000 real records are loaded while nodes are killed; nothing fails, nothing is lost.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Map, Value};

use crate::cluster::Cluster;

/// A stanza's fields; a line that begins with a blank continues the field before it.
fn fields(stanza: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in stanza.lines() {
        match (line.strip_prefix(' '), line.split_once(':'), fields.last_mut()) {
            (Some(more), _, Some((_, text))) => {
                text.push('\n');
                text.push_str(more);
            }
            (None, Some((name, text)), _) => fields.push((name.to_owned(), text.trim().to_owned())),
            _ => {}
        }
    }
    fields
}

/// The machine's package index as JSON lines, one record a package; returns how many. Elsewhere than on Debian the same
/// number of records is made up, and it is said so; with DYNAMO_REQUIRE_REAL_INPUT that is a failure.
pub fn write_records(path: &Path) -> usize {
    let dumped =
        Command::new("apt-cache").arg("dumpavail").output().ok().filter(|output| output.stdout.len() > 1 << 20);
    let mut out = BufWriter::new(File::create(path).unwrap());
    let Some(dumped) = dumped else {
        assert!(
            std::env::var_os("DYNAMO_REQUIRE_REAL_INPUT").is_none(),
            "no package index: run apt-get update (apt-cache dumpavail printed nothing)"
        );
        eprintln!("NOTE: no Debian package index on this machine: the records are made up");
        for n in 0..60_000 {
            writeln!(out, r#"{{"Package":"made-up-{n}","Description":"{}é 漢字 {n}"}}"#, "words ".repeat(n % 300))
                .unwrap();
        }
        return 60_000;
    };
    let text = String::from_utf8_lossy(&dumped.stdout);
    let mut seen = BTreeSet::new();
    for stanza in text.split("\n\n") {
        let record = fields(stanza);
        let mut record: Map<String, Value> = record.into_iter().map(|(name, text)| (name, text.into())).collect();
        let Some(name) = record.get("Package").and_then(Value::as_str) else { continue };
        let version = record.get("Version").and_then(Value::as_str).unwrap_or_default();
        let id = format!("{name}={version}");
        if seen.insert(id.clone()) {
            record.insert("id".to_owned(), id.into());
            writeln!(out, "{}", Value::Object(record)).unwrap();
        }
    }
    seen.len()
}

#[test]
fn nodes_are_killed_while_real_records_are_loaded_and_every_one_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("packages.jsonl");
    let records = write_records(&file);
    assert!(records > 1000, "only {records} records");
    let file = file.to_str().unwrap();
    let cluster = Cluster::start(5, &["--zones", "3"]);

    let mut load = cluster
        .command(&["load", file, "--key-field", "id", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stored = || {
        cluster.json(&["status"])["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["keys"].as_u64().unwrap())
            .sum::<u64>()
    };
    cluster.until("a part is loaded", || load.try_wait().unwrap().is_some() || stored() > records as u64 / 4);
    cluster.kill("node-2");
    cluster.until("more is loaded", || load.try_wait().unwrap().is_some() || stored() > records as u64 / 2);
    cluster.kill("node-3");
    assert!(load.try_wait().unwrap().is_none(), "the load was over before the second node was killed");
    let output = load.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (summary["records"].as_u64(), summary["failures"].as_u64()),
        (Some(records as u64), Some(0)),
        "{summary}"
    );

    cluster.restart("node-2");
    cluster.restart("node-3");
    cluster.until_hints_drained();
    cluster.kill("node-1");
    cluster.kill("node-5");
    std::thread::sleep(Duration::from_millis(300));
    let verified = cluster.json(&["verify", file, "--key-field", "id"]);
    assert_eq!(
        (verified["records"].as_u64(), verified["failures"].as_u64()),
        (Some(records as u64), Some(0)),
        "{verified}"
    );
}
