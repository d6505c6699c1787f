//! What is written down is what our types take, key by key: a slip in `manifests/examples`, and a key that an older version
//! stored and this one does not know, would be dropped in silence.

use std::{fs, path::PathBuf};

use dynamo_crd::{DynamoCluster, GROUP, VERSION};
use serde::Deserialize;
use serde_json::Value;

/// The documents of all files in a folder, with their file's name.
fn documents(folder: &str) -> Vec<(String, Value)> {
    let mut found = vec![];
    for file in fs::read_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
        let file = file.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        for document in serde_yaml::Deserializer::from_str(&text) {
            found.push((file.display().to_string(), Value::deserialize(document).unwrap()));
        }
    }
    found
}

/// The keys of `written` that are not in `understood`, with their paths.
fn lost(path: &str, written: &Value, understood: &Value, found: &mut Vec<String>) {
    match (written, understood) {
        (Value::Object(written), Value::Object(understood)) => {
            for (key, value) in written {
                match understood.get(key) {
                    Some(other) => lost(&format!("{path}.{key}"), value, other, found),
                    None => found.push(format!("{path}.{key}")),
                }
            }
        }
        (Value::Array(written), Value::Array(understood)) => {
            for (at, (value, other)) in written.iter().zip(understood).enumerate() {
                lost(&format!("{path}[{at}]"), value, other, found);
            }
        }
        (written, understood) if written != understood => found.push(format!("{path}: {written} became {understood}")),
        _ => {}
    }
}

/// Fails if a cluster of this folder has a key that is not understood; returns how many clusters there are.
fn understand(folder: &str) -> usize {
    let clusters = documents(folder).into_iter().filter(|(_, document)| document["kind"] == "DynamoCluster");
    let understood = clusters.map(|(file, written)| {
        assert_eq!(written["apiVersion"], format!("{GROUP}/{VERSION}"), "{file}");
        let typed: DynamoCluster =
            serde_json::from_value(written.clone()).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut found = vec![];
        lost("", &written, &serde_json::to_value(typed).unwrap(), &mut found);
        assert!(found.is_empty(), "{file}: {found:?}");
    });
    understood.count()
}

#[test]
fn examples_say_nothing_that_is_not_understood() {
    let clusters = understand("../../manifests/examples");
    assert!(clusters >= 4, "only {clusters} examples were found");
}

#[test]
fn what_older_versions_stored_is_still_understood() {
    assert!(understand("tests/stored") >= 1);
}

#[test]
fn a_slip_in_an_example_would_be_seen() {
    let written = serde_json::json!({ "metadata": { "name": "x" }, "spec": { "replcas": 3 } });
    let typed: DynamoCluster = serde_json::from_value(serde_json::json!({
        "apiVersion": "dynamo-k8s.io/v1alpha1", "kind": "DynamoCluster",
        "metadata": written["metadata"], "spec": written["spec"],
    }))
    .unwrap();
    let mut found = vec![];
    lost("", &written, &serde_json::to_value(typed).unwrap(), &mut found);
    assert_eq!(found, [".spec.replcas"]);
}
