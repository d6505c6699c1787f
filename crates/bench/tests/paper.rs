//! `dynamo-bench paper` as a person runs it: what is computed whole, what loads real nodes for a moment. What is measured is no figure here.

mod ports;

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
fn all_of_them_load_real_nodes_crash_them_and_keep_and_draw_what_they_counted() {
    let out = tempfile::tempdir().unwrap();
    let few = "--seconds 2 --warmup 0 --keys 500 --check-keys 400 --value-bytes 100 --rate 100 --busy -o json";
    let nodes = format!("--port {} --dir {}", ports::free(6), env!("CARGO_TARGET_TMPDIR"));
    let output = paper(&format!("all {few} {nodes}"), out.path());
    let rows = rows(&output);
    let of = |figure: &str| rows.iter().filter(|row| row["figure"] == figure).collect::<Vec<_>>();
    let counts = ["fig4", "fig5", "fig6", "fig8", "table2", "versions"].map(|figure| of(figure).len());
    assert_eq!(counts, [1, 2, 32, 40, 2, 2]);
    assert_eq!(kept(out.path()), rows);
    for row in [of("fig4"), of("fig5"), of("table2")].concat() {
        assert_eq!(
            (row["due"].as_u64(), row["errors"].as_u64(), row["unanswered"].as_u64()),
            (Some(200), Some(0), Some(0))
        );
        for what in ["read", "write"] {
            let [mean, p999] = ["mean", "p999"].map(|figure| row[format!("{what}_{figure}_ms")].as_f64().unwrap());
            assert!(mean > 0.0 && mean <= p999, "{row}");
        }
    }
    let of_each = |figure, key: &str| of(figure).iter().map(|row| row[key].to_string()).collect::<Vec<_>>();
    assert_eq!(of_each("fig5", "durability"), ["\"fsync\"", "\"interval\""]);
    assert_eq!(of_each("table2", "coordination"), ["\"server\"", "\"client\""]);
    assert_eq!(of_each("versions", "skew"), ["0.0", "0.9"]);
    for row in of("versions") {
        let [reads, writes] = ["reads", "writes"].map(|what| row[format!("{what}_by_versions")][0].as_u64().unwrap());
        assert!(reads > 0 && writes > 0 && row["errors"] == 0 && row["versions_most"].as_u64() >= Some(1), "{row}");
    }
    for (experiment, drawn) in [
        ("fig4", "writes, 99.9 %"),
        ("fig5", "buffered (interval)"),
        ("table2", "reads, server-driven, the paper"),
        ("versions", "skew 0.9"),
    ] {
        assert!(plot(out.path(), experiment).contains(drawn), "{experiment}");
    }
    let checked = stderr(&output).matches("400 keys have what was acknowledged, after kill -9").count();
    assert_eq!(checked, 7, "one for each run: {}", stderr(&output));
}

#[test]
fn a_store_that_keeps_nothing_is_found_out_by_editors_too() {
    let out = tempfile::tempdir().unwrap();
    let nodes = format!("--port {} --dir {}", ports::free(3), env!("CARGO_TARGET_TMPDIR"));
    let few = "--seconds 1 --warmup 0 --keys 200 --skew 0 --busy --set storage.engine=memory";
    let output = paper(&format!("versions {few} {nodes}"), out.path());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("LOST acknowledged writes"), "{}", stderr(&output));
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
        ("fig4 --rate 0", 2, "--rate"),
        ("fig4 --skew 1", 2, "--skew"),
        ("fig5 --every 0", 2, "--every"),
        ("fig5 --reads 100", 2, "--reads"),
        ("table2 --nodes 3", 2, "--nodes"),
        ("versions --editors 0", 2, "--editors"),
        ("versions --value-bytes 8", 2, "--value-bytes"),
        ("all --samples 3", 2, "--samples"),
        ("fig6 --partitions 100", 1, "100"),
        ("fig6 --nodes 100 --partitions 64", 1, "64"),
    ] {
        let output = paper(arguments, out.path());
        assert_eq!(output.status.code(), Some(code), "{arguments}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{arguments}: {}", stderr(&output));
    }
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}
