//! Changes that are not made, or of which nobody knows: what is said, and that nothing was sent.

use tonic::Status;

use crate::{Ended, fake, fake::Fake, run};

fn nothing_sent(fake: &Fake) -> bool {
    fake.with(|state| state.applied.is_empty())
}

#[test]
fn where_there_is_no_terminal_to_ask_on_nothing_is_changed() {
    let fake = fake();
    for line in ["ring apply --join node-4", "node remove node-2", "node leave node-1"] {
        let Ended { code, err, .. } = run(&fake, line);
        assert_eq!(code, 2, "{line}: {err}");
        assert!(err.contains("nothing was changed") && err.contains("--yes"), "{err}");
    }
    assert!(nothing_sent(&fake));
}

#[test]
fn what_is_in_the_way_stops_a_change_before_it_is_sent() {
    let fake = fake();
    fake.with(|state| state.plan.blocked_by = vec!["node-3 is down".into()]);
    let Ended { code, err, .. } = run(&fake, "ring apply --join node-4 --yes");
    assert_eq!((code, nothing_sent(&fake)), (3, true));
    assert!(err.contains("nothing was changed") && err.contains("- node-3 is down"), "{err}");
}

#[test]
fn the_cluster_s_sentence_is_told_with_the_code_that_fits_it() {
    let fake = fake();
    for (status, exit) in [
        (Status::invalid_argument("node-4 joins and leaves"), 2),
        (Status::not_found("no node has the name \"ghost\""), 1),
        (Status::failed_precondition("another change is under way"), 3),
        (Status::unavailable("no majority of the members answers"), 3),
    ] {
        fake.with(|state| state.refuses = Some(status.clone()));
        let Ended { code, err, .. } = run(&fake, "ring apply --join ghost --yes");
        assert_eq!((code, err), (exit, format!("error: {}\n", status.message())));
    }
    assert!(nothing_sent(&fake));
}

#[test]
fn a_plan_of_a_ring_that_has_changed_since_is_not_applied() {
    let fake = fake();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plan.yaml");
    let path = path.to_str().unwrap();
    run(&fake, &format!("ring plan --join node-4 --out {path}"));
    fake.with(|state| state.version = 20);
    let Ended { code, err, .. } = run(&fake, &format!("ring apply --plan {path} --yes"));
    assert_eq!((code, nothing_sent(&fake)), (3, true));
    assert!(err.contains("made on version 12") && err.contains("has version 20 now"), "{err}");
}

#[test]
fn a_change_whose_answer_was_lost_is_told_with_what_became_of_it() {
    let fake = fake();
    fake.with(|state| state.loses_answers = true);
    let Ended { code, err, .. } = run(&fake, "ring apply --join node-4 --yes");
    assert_eq!((code, fake.with(|state| state.applied.len())), (3, 1));
    assert!(
        err.contains("may or may not have begun") && err.contains("Change 13 is under way (node-4 joins)"),
        "{err}"
    );
    assert!(err.contains("`dynamo ring status`"), "{err}");
}

#[test]
fn a_change_that_somebody_takes_back_did_not_succeed() {
    let fake = fake();
    fake.with(|state| {
        let last = state.course.last_mut().unwrap();
        last.cancelled = true;
    });
    let Ended { code, err, .. } = run(&fake, "ring apply --join node-4 --yes");
    assert_eq!(code, 3);
    assert!(err.contains("change 13 was taken back"), "{err}");
}

#[test]
fn no_edits_and_a_file_that_is_no_plan_are_wrong_usage() {
    let fake = fake();
    for (line, says) in [
        ("ring plan", "--join node-6"),
        ("ring apply --yes", "--join node-6"),
        ("ring apply --plan /nowhere/plan.yaml --yes", "can't be read"),
        ("ring plan --join node-4:much", "no weight"),
        ("node join --yes", "NODE[:WEIGHT]"),
    ] {
        let Ended { code, err, .. } = run(&fake, line);
        assert!(code == 2 && err.contains(says), "{line}: {err}");
    }
    assert!(nothing_sent(&fake));
}
