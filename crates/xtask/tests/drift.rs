//! What is made from code stands in the repository as it is made.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn xtask(arguments: &[&str], root: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments);
    if let Some(root) = root {
        command.arg("--root").arg(root);
    }
    command.output().unwrap()
}

fn complaints(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn nothing_in_the_repository_differs_from_what_is_made() {
    let output = xtask(&["check"], None);
    assert!(output.status.success(), "{}", complaints(&output));
}

#[test]
fn what_is_generated_is_found_good_until_somebody_changes_it() {
    let root = tempfile::tempdir().unwrap();
    let before = xtask(&["check"], Some(root.path()));
    assert!(!before.status.success(), "an empty folder is found good");

    assert!(xtask(&["generate"], Some(root.path())).status.success());
    assert!(xtask(&["check"], Some(root.path())).status.success());
    let again = xtask(&["generate"], Some(root.path()));
    assert!(again.stdout.is_empty(), "what is as it should be is written again");

    let file = root.path().join("crds/dynamoclusters.dynamo-k8s.io.yaml");
    let edited = fs::read_to_string(&file).unwrap().replace("maximum: 1000", "maximum: 2000");
    fs::write(&file, edited + "# by hand\n").unwrap();
    let changed = xtask(&["check"], Some(root.path()));
    let complaints = complaints(&changed);
    assert!(!changed.status.success());
    assert!(complaints.contains("dynamoclusters") && complaints.contains("xtask -- generate"), "{complaints}");
    assert!(!complaints.contains("kustomization"), "{complaints}");
}
