//! `dynamo-bench paper` as a person runs it: what is computed whole, what loads real nodes for a moment. What is measured is no figure here.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn paper(arguments: &str, out: &Path) -> Output {
    let arguments = arguments.split(' ');
    let mut command = Command::new(env!("CARGO_BIN_EXE_dynamo-bench"));
    command.arg("paper").args(arguments).arg("--out").arg(out).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn rows(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn kept(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("paper.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn plot(out: &Path, experiment: &str) -> String {
    fs::read_to_string(out.join(format!("paper-{experiment}.svg"))).unwrap()
}

#[test]
fn what_is_computed_is_the_same_again_kept_and_drawn_beside_the_papers_numbers() {
    let few = "--keys 5000 --nodes 20 --partitions 64 --skew 0,0.8 --samples 2";
    for (experiment, more, count, drawn) in [
        ("fig8", "--samples 2", 40, ["strategy 2, the paper&apos;s figure", "this project&apos;s planner"]),
        ("fig6", few, 16, ["the paper at its peak&apos;s load", "skew 0.8"]),
    ] {
        let out = tempfile::tempdir().unwrap();
        let once = rows(&paper(&format!("{experiment} {more} --seed 7 -o json"), out.path()));
        let plotted = plot(out.path(), experiment);
        let again = rows(&paper(&format!("{experiment} {more} --seed 7 -o json"), out.path()));
        assert_eq!((once.len(), &once), (count, &again));
        assert!(once.iter().all(|row| row["figure"] == experiment));
        assert_eq!(kept(out.path()), [once, again].concat(), "appended");
        assert_eq!(plotted, plot(out.path(), experiment));
        for part in drawn {
            assert!(plotted.contains(part), "{part} is not in {experiment}");
        }
    }
}

#[test]
fn wrong_usage_starts_nothing_and_says_what_is_wrong() {
    let out = tempfile::tempdir().unwrap();
    for (arguments, code, says) in [
        ("fig7", 2, "fig7"),
        ("fig8 --samples 0", 2, "--samples"),
        ("fig8 --keys 5", 2, "--keys"),
        ("fig6 --skew 0.5,many", 2, "no skew"),
        ("fig6 --skew=-1", 2, "no skew"),
        ("fig6 --nodes 2", 2, "--nodes"),
        ("fig6 --partitions 100", 1, "100"),
        ("fig6 --nodes 100 --partitions 64", 1, "64"),
    ] {
        let output = paper(arguments, out.path());
        assert_eq!(output.status.code(), Some(code), "{arguments}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{arguments}: {}", stderr(&output));
    }
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}
