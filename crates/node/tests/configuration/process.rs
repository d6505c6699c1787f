//! The process: what it says and its exit code when it can't start, and when it is told to stop.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

const ONE_MEMBER: &str = "cluster.members=[{name: '7', zone: z, address: \"127.0.0.1:1\"}]";

/// A node alone in its cluster, which keeps nothing but its identity.
fn node(dir: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dynamo-node"));
    command.env_clear().args(["--set", ONE_MEMBER, "--set", "cluster.replication=1", "--set", "storage.engine=memory"]);
    command.args(["--set", "tls.mode=plaintext", "--name", "7", "--data-dir"]).arg(dir);
    command.args(["--peer-listen", "localhost:0", "--http-listen", "127.0.0.1:0"]);
    // The last of a flag's occurrences would be refused: what is to be another is given once.
    if !more.contains(&"--client-listen") {
        command.args(["--client-listen", "127.0.0.1:0"]);
    }
    command.args(more);
    command
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Starts a node and waits until it says that it is ready.
fn start(dir: &Path) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = node(dir, &[]).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(" ready ") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it was ready");
    }
    (child, log)
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
}

#[test]
fn a_failed_start_is_told_in_one_line_whatever_the_format_and_the_filter() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for level in ["info", "off", "dynamo_gossip=debug"] {
        for format in ["text", "json"] {
            let flags = ["--client-listen", &taken, "--log-level", level, "--log-format", format];
            let (code, out, err) = run(&mut node(dir.path(), &flags));
            assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
            assert_eq!(err.lines().count(), 1, "{err}");
            assert!(err.contains(&format!("node.client_listen: can't listen on {taken}")), "{err}");
            if format == "json" {
                let line: serde_yaml::Value = serde_yaml::from_str(&err).unwrap();
                assert!(line["level"] == "ERROR" && line["fields"]["message"].is_string(), "{err}");
            }
        }
    }
}

#[test]
fn a_wrong_configuration_is_exit_code_2_and_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.yaml");
    std::fs::write(&file, "cluster: {name: [").unwrap();
    let absent = dir.path().join("absent.yaml").display().to_string();
    for (flags, says) in [
        (vec!["--log-level", "inof"], "log.level: \"inof\""),
        (vec!["--zone", "elsewhere"], "node.zone: "),
        (vec!["--set", "node.nmae=7"], "did you mean node.name?"),
        (vec!["--set", "nothing"], "expected section.key=value"),
        (vec!["--config", &absent], "absent.yaml can't be read"),
        (vec!["--config", file.to_str().unwrap()], "line 1"),
        (vec!["--colour"], "--colour"),
    ] {
        for mode in ["--check", "--print-config"] {
            let (code, out, err) = run(node(dir.path(), &flags).arg(mode));
            assert_eq!((code, out.as_str()), (Some(2), ""), "{flags:?}: {err}");
            assert!(err.starts_with("error: ") && err.contains(says), "{flags:?}: {err}");
        }
    }
    let (code, _, err) = run(node(dir.path(), &["--check"]).env("DYNAMO_NODE__LOG__LEVEL", not_text()));
    assert!(code == Some(2) && err.contains("DYNAMO_NODE__LOG__LEVEL: its value is not UTF-8 text"), "{err}");
}

fn not_text() -> std::ffi::OsString {
    std::os::unix::ffi::OsStringExt::from_vec(vec![b'a', 0xff])
}

#[test]
fn a_right_configuration_is_checked_and_printed_without_its_secret() {
    let dir = tempfile::tempdir().unwrap();
    let mut check = node(dir.path(), &["--check", "--set", "cluster.name=12"]);
    // Other programs' variables are none of ours, text or not.
    check.env("DYNAMO_NODE__NODE__ZONE", "z").env("OTHER", not_text());
    assert_eq!(run(&mut check), (Some(0), String::new(), String::new()));
    let (code, out, err) = run(node(dir.path(), &["--print-config"]).env("DYNAMO_NODE__CLUSTER__SECRET", "123456"));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("name: '7'") && out.contains("(hidden)") && !out.contains("123456"), "{out}");
}

#[test]
fn what_is_printed_says_what_was_taken_by_the_limits_and_is_a_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--print-config", "--set", "storage.cache_mib=48"];
    let (code, out, err) = run(&mut node(dir.path(), &flags));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let taken = ["storage.memtable_mib", "storage.readers", "runtime.threads"];
    for key in taken {
        let line = out.lines().find(|line| line.starts_with(&format!("# {key}: "))).unwrap_or_else(|| panic!("{out}"));
        assert!(line.contains("was not set; "), "{line}");
    }
    assert!(!out.contains("# storage.cache_mib") && out.contains("cache_mib: 48"), "{out}");
    let file = dir.path().join("printed.yaml");
    std::fs::write(&file, out).unwrap();
    let (code, _, err) = run(&mut node(dir.path(), &["--check", "--config", file.to_str().unwrap()]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
}

#[test]
fn a_node_that_is_not_there_can_not_be_asked_to_hand_over() {
    let dir = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut prestop = Command::new(env!("CARGO_BIN_EXE_dynamo-node"));
    prestop.env_clear().args(["prestop", "--name", "7", "--set", ONE_MEMBER, "--set", "cluster.replication=1"]);
    prestop.args(["--set", "tls.mode=plaintext"]);
    prestop.args(["--http-listen", &free, "--data-dir"]).arg(dir.path());
    let (code, out, err) = run(&mut prestop);
    assert!(code == Some(1) && out.is_empty() && err.contains("no node could be asked on node.http_listen"), "{err}");
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing was put there");
}

#[test]
fn either_signal_stops_a_node_in_order() {
    for number in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, log) = start(dir.path());
        signal(&child, number);
        let rest: Vec<String> = log.lines().map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:?}");
        assert!(rest.iter().any(|line| line.contains("stopped")), "{rest:?}");
    }
}

#[test]
fn a_second_process_on_the_same_directory_is_refused_and_leaves_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, _log) = start(dir.path());
    let identity = || std::fs::read_to_string(dir.path().join("identity.yaml")).unwrap();
    let before = identity();
    let (code, _, err) = run(&mut node(dir.path(), &[]));
    assert!(code == Some(1) && err.contains("in use by another process"), "{err}");
    assert_eq!(identity(), before);
    signal(&first, Signal::TERM);
    assert_eq!(first.wait().unwrap().code(), Some(0));
    let (mut again, _log) = start(dir.path());
    assert_ne!(identity(), before);
    signal(&again, Signal::TERM);
    assert_eq!(again.wait().unwrap().code(), Some(0));
}
