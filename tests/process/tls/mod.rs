//! TLS between real processes: who gets in, who does not, and what happens when certificates, authorities and tokens change
//! while the cluster is at work (docs/SECURITY.md).

mod local;
mod pki;
mod rotation;
mod signer;
mod strangers;
mod tokens;

use std::process::Output;

use crate::nodes::Nodes;

/// The command has failed with this code, and says so.
fn refused(output: &Output, code: i32, says: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(says), "{stderr:?} does not say {says:?}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// What the first node's status says is wrong with a node's certificate or tokens.
fn problem_of(nodes: &Nodes, name: &str) -> Option<String> {
    let status = nodes.json(&["status", "--endpoint", &nodes.endpoint("node-1")])?;
    let rows = status["nodes"].as_array().unwrap();
    let row = rows.iter().find(|row| row["id"] == name)?;
    Some(row["certificate_problem"].as_str().unwrap().to_owned())
}

/// The command has failed, with whatever code.
fn fails(output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !stderr.contains("panicked") && !stderr.is_empty(), "{output:?}");
}
