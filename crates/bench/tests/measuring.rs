//! The program as a person runs it, for a moment, against real nodes of ours. What it measures is no figure here; that it measures,
//! counts, and sees a loss is.

mod ports;

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// A short run of ours, whoever else uses the machine; `more` are further flags.
fn bench(command: &str, out: &Path, more: &[&str]) -> Output {
    let port = ports::free(3).to_string();
    let shared = "--durability fsync --rounds 1 --seconds 1 --warmup 0 --keys 2000 --check-keys 1500 --busy -o json";
    Command::new(env!("CARGO_BIN_EXE_dynamo-bench"))
        .arg(command)
        .args(shared.split(' '))
        .args(["--port", &port, "--dir", env!("CARGO_TARGET_TMPDIR")])
        .arg("--out")
        .arg(out)
        .args(more)
        .env_remove("DYNAMO_PEERS")
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn rows(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn kept(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn ours_are_measured_with_and_without_tls_crashed_looked_through_and_kept() {
    let out = tempfile::tempdir().unwrap();
    let output = bench("compare", out.path(), &["--cells", "256:50:4", "--tls"]);
    let rows = rows(&output);
    let stores: Vec<&str> = rows.iter().map(|row| row["store"].as_str().unwrap()).collect();
    assert_eq!(stores, ["dynamo", "dynamo-tls"]);
    for row in &rows {
        assert!(row["ops_per_s"].as_f64().unwrap() > 1.0 && row["errors"] == 0, "{row}");
        assert!(row["server_us_per_op"].as_f64().unwrap() > 0.0 && row["rss_mib"].as_f64().unwrap() > 5.0, "{row}");
        assert!(row["p50_ms"].as_f64().unwrap() <= row["p999_ms"].as_f64().unwrap(), "{row}");
    }
    assert_eq!(kept(&out.path().join("compare.jsonl")), rows);
    for plot in ["compare-throughput.svg", "compare-quantiles.svg"] {
        assert!(std::fs::read_to_string(out.path().join(plot)).unwrap().contains("dynamo-tls fsync"));
    }
    let checked = stderr(&output).matches("1500 keys have what was acknowledged, after kill -9").count();
    assert_eq!(checked, 2, "{}", stderr(&output));

    let table = Command::new(env!("CARGO_BIN_EXE_dynamo-bench"))
        .arg("table")
        .arg(out.path().join("compare.jsonl"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&table.stdout);
    assert!(table.status.success() && text.contains("dynamo-tls fsync") && text.contains("0.85"), "{text}");
}

#[test]
fn a_store_that_keeps_nothing_is_found_out() {
    let out = tempfile::tempdir().unwrap();
    let output = bench("compare", out.path(), &["--cells", "256:50:4", "--set", "storage.engine=memory"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("LOST acknowledged writes"), "{}", stderr(&output));
}

#[test]
fn requests_at_a_constant_rate_are_all_accounted_for() {
    let out = tempfile::tempdir().unwrap();
    let output = bench("latency", out.path(), &["--cell", "256:50:4", "--rate", "300"]);
    let rows = rows(&output);
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(
        (row["due"].as_u64(), row["errors"].as_u64(), row["unanswered"].as_u64()),
        (Some(300), Some(0), Some(0))
    );
    assert!(row["p50_ms"].as_f64().unwrap() <= row["p9999_ms"].as_f64().unwrap(), "{row}");
    assert_eq!(kept(&out.path().join("latency.jsonl")), rows);
    assert!(out.path().join("latency-quantiles.svg").exists());
}

#[test]
fn wrong_usage_starts_nothing_and_says_what_is_wrong() {
    let out = tempfile::tempdir().unwrap();
    for (command, more, code, says) in [
        ("compare", &["--cells", "1024:50"][..], 2, "no cell"),
        ("compare", &["--cells", "1:50:1"], 2, "1 bytes"),
        ("compare", &["--peers", "mongo"], 2, "mongo"),
        ("compare", &["--peers", "etcd"], 1, "DYNAMO_PEERS is not set"),
        ("compare", &["--peers", "cassandra,cassandra-batch"], 1, "same addresses"),
        ("latency", &["--percent", "0"], 2, "--percent"),
        ("latency", &["--percent", "50", "--rate", "10"], 2, "--rate"),
        ("latency", &["--cell", "1024:50:1,100:50:1"], 1, "one combination"),
    ] {
        let output = bench(command, out.path(), more);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{more:?}: {}", stderr(&output));
    }
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
}
