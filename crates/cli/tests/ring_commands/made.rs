//! Changes that are made: what is sent, and what is said at the end.

use dynamo_wire::v1::{
    JoinEdit, LeaveEdit, PlanResponse, RemoveEdit, ReplaceEdit, RingEdit,
    ring_edit::Edit::{self, Join, Leave, Remove, Replace},
};

use crate::{
    Ended, fake,
    fake::{CHANGE, Fake, VERSION, receipt},
    json, ok, run,
};

fn applied(fake: &Fake) -> Vec<Edit> {
    let applied = fake.with(|state| state.applied.clone());
    let [request] = applied.as_slice() else { panic!("{applied:?}") };
    assert_eq!(request.version, VERSION);
    request.edits.iter().map(|RingEdit { edit }| edit.clone().unwrap()).collect()
}

#[test]
fn a_change_is_applied_on_the_version_that_was_planned_and_waited_for() {
    let fake = fake();
    let out = ok(&fake, "ring apply --join node-4:2 --leave node-1 --yes");
    let edits = [Join(JoinEdit { node: "node-4".into(), weight: 2 }), Leave(LeaveEdit { node: "node-1".into() })];
    assert_eq!(applied(&fake), edits);
    assert!(out.contains("joins") && !out.contains("node-2"), "only what changes: {out}");
    assert!(out.ends_with("Change 13 is done: the ring is settled at epoch 10.\n"), "{out}");
    assert!(fake.with(|state| state.ahead.is_empty()));
}

#[test]
fn a_change_is_planned_again_on_a_register_that_moved_on_in_between() {
    let fake = fake();
    fake.with(|state| state.moves_on = 2);
    let out = ok(&fake, "ring apply --join node-4 --yes --no-wait");
    assert_eq!(fake.with(|state| state.applied.iter().map(|made| made.version).collect::<Vec<_>>()), [VERSION + 2]);
    assert_eq!(out.matches("joins").count(), 1, "the same plan is shown once: {out}");
}

#[test]
fn a_plan_that_became_another_one_is_shown_and_one_that_became_impossible_is_not_applied() {
    let fake = fake();
    let plan = fake.with(|state| state.plan.clone());
    let other = PlanResponse { steps: plan.steps + 1, ..plan.clone() };
    fake.with(|state| (state.moves_on, state.moves_on_to) = (1, Some(other)));
    let out = ok(&fake, "ring apply --join node-4 --yes --no-wait");
    assert_eq!((out.matches("joins").count(), fake.with(|state| state.applied.len())), (2, 1), "{out}");
    let blocked = PlanResponse { blocked_by: vec!["node-4 is down".into()], ..plan };
    fake.with(|state| (state.moves_on, state.moves_on_to) = (1, Some(blocked)));
    let Ended { code, err, .. } = run(&fake, "ring apply --join node-4 --yes --no-wait");
    assert_eq!((code, fake.with(|state| state.applied.len())), (3, 1));
    assert!(err.contains("nothing was changed") && err.contains("node-4 is down"), "{err}");
}

#[test]
fn who_does_not_wait_comes_back_while_it_goes_on() {
    let fake = fake();
    let out = ok(&fake, "ring apply --join node-4 --yes --no-wait");
    assert!(out.contains("Change 13 has begun, 2 steps") && out.contains("dynamo ring cancel"), "{out}");
    assert_eq!(fake.with(|state| state.ahead.len()), 4);
}

#[test]
fn a_program_gets_one_document_at_the_end() {
    let fake = fake();
    let made = json(&fake, "ring apply --join node-4 --yes");
    assert_eq!(
        (made["change"].as_u64(), made["settled"].as_bool(), made["epoch"].as_u64()),
        (Some(CHANGE), Some(true), Some(10))
    );
}

#[test]
fn a_ring_that_is_so_already_is_said_to_be() {
    let fake = fake();
    fake.with(|state| state.course.clear());
    assert!(
        ok(&fake, "ring apply --weight node-1=1 --yes").ends_with("The ring is so already: nothing was changed.\n")
    );
}

#[test]
fn a_plan_that_was_kept_is_applied_as_it_was() {
    let fake = fake();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plan.yaml");
    let path = path.to_str().unwrap();
    let out = ok(&fake, &format!("ring plan --replace node-2=node-4 --allow-fewer-than-n --accept-loss --out {path}"));
    assert!(out.contains(&format!("dynamo ring apply --plan {path}")), "{out}");
    ok(&fake, &format!("ring apply --plan {path} --yes"));
    assert_eq!(applied(&fake), [Replace(ReplaceEdit { node: "node-2".into(), with: "node-4".into() })]);
    assert!(fake.with(|state| state.applied[0].allow_fewer_than_n && state.planned[1].allow_fewer_than_n));
    assert!(fake.with(|state| state.applied[0].accept_loss && state.planned[1].accept_loss));
}

#[test]
fn a_loss_is_accepted_only_by_who_says_so() {
    let fake = fake();
    ok(&fake, "node remove node-2 --yes");
    ok(&fake, "node remove node-2 node-3 --accept-loss --yes");
    assert_eq!(fake.with(|state| state.applied.iter().map(|made| made.accept_loss).collect::<Vec<_>>()), [false, true]);
    let out = ok(&fake, "ring plan --remove node-2 --accept-loss");
    assert!(out.contains("dynamo ring apply --remove node-2 --accept-loss"), "{out}");
}

#[test]
fn each_command_of_a_node_is_one_change() {
    let edit = |line: &str| {
        let fake = fake();
        ok(&fake, &format!("{line} --yes"));
        applied(&fake)
    };
    assert_eq!(edit("node join node-4 node-5:3").len(), 2);
    assert_eq!(
        edit("node replace node-2 --with node-4"),
        [Replace(ReplaceEdit { node: "node-2".into(), with: "node-4".into() })]
    );
    assert_eq!(edit("node remove node-2"), [Remove(RemoveEdit { node: "node-2".into() })]);
}

#[test]
fn leaving_ends_with_the_receipt_once_it_is_complete() {
    let fake = fake();
    fake.with(|state| state.receipts = vec![receipt(false), receipt(true)]);
    let out = ok(&fake, "node leave node-1 --yes");
    assert!(out.contains("is settled at epoch 10") && out.contains("node-1 may be switched off for good"), "{out}");
    let made = json(&crate::fake(), "node leave node-1 --yes");
    assert_eq!((made["settled"].as_bool(), made["receipts"][0]["complete"].as_bool()), (Some(true), Some(true)));
    let out = ok(&crate::fake(), "node leave node-1 --yes --no-wait");
    assert!(!out.contains("switched off"), "{out}");
}

#[test]
fn a_change_is_taken_back_by_its_number_and_waited_for_if_asked() {
    let fake = fake();
    ok(&fake, "ring apply --join node-4 --yes --no-wait");
    let out = ok(&fake, "ring cancel --wait");
    assert!(out.starts_with("Change 13 (node-4 joins) is taken back: 1 step go"), "{out}");
    assert!(out.ends_with("The ring is settled at epoch 10.\n"), "{out}");
    assert_eq!(fake.with(|state| state.cancelled[0].change), CHANGE);
    let ended = run(&fake, "ring cancel");
    assert_eq!((ended.code, ended.err.contains("no change is under way")), (3, true), "{}", ended.err);
}
