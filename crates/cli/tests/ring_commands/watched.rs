//! Waiting: what is said meanwhile, and what Ctrl-C ends.

use std::{
    io::{BufRead, BufReader, Read},
    process::Command,
};

use dynamo_wire::v1::RingChange;

use crate::{Ended, command, fake, fake::at, json, ok, run};

#[test]
fn without_a_terminal_each_turn_is_a_line_and_none_is_said_twice() {
    let fake = fake();
    fake.with(|state| {
        let waits = RingChange { blocked_by: vec!["node-3 is down".into()], ..at(1, 0) };
        state.course = vec![at(0, 0), at(0, 20), waits.clone(), waits, at(1, 1)];
    });
    let Ended { code, err, .. } = run(&fake, "ring apply --join node-4 --yes");
    let lines: Vec<&str> = err.lines().collect();
    let step = |number: u32| format!("node-4 joins: step {number} of 2, copying");
    assert_eq!((code, lines), (0, vec![step(1).as_str(), &step(2), "  waits: node-3 is down", &step(2)]), "{err}");
}

#[test]
fn ctrl_c_ends_the_waiting_and_not_the_change() {
    let fake = fake();
    fake.with(|state| state.course = vec![at(0, 0); 10_000]);
    let mut child = command(&fake, "ring apply --join node-4 --yes").spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    err.read_line(&mut line).unwrap();
    assert!(line.contains("step 1 of 2"), "{line}");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    err.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert!(rest.contains("The change goes on by itself") && rest.contains("dynamo ring cancel"), "{rest}");
    assert!(fake.with(|state| state.cancelled.is_empty()));
}

#[test]
fn watching_ends_when_the_ring_is_settled() {
    let fake = fake();
    ok(&fake, "ring apply --join node-4 --yes --no-wait");
    assert_eq!(ok(&fake, "ring status --watch"), "The ring is settled at epoch 10, version 14.\n");
    assert_eq!(json(&fake, "ring status --watch")["settled"], true);
    ok(&fake, "ring status -w");
}

#[test]
fn a_program_that_watches_gets_a_document_a_line() {
    let fake = fake();
    ok(&fake, "ring apply --join node-4 --yes --no-wait");
    let out = ok(&fake, "ring status --watch -o json");
    let settled: Vec<bool> = out.lines().map(|line| line.contains(r#""settled":true"#)).collect();
    assert_eq!(settled, [false, false, false, false, true], "{out}");
}
