//! What a plan, a status and a receipt look like.

use crate::{
    fake,
    fake::{CHANGE, VERSION, at, receipt},
    json, ok, run,
};

#[test]
fn a_plan_shows_every_node_and_zone_before_and_after_and_changes_nothing() {
    let fake = fake();
    let out = ok(&fake, "ring plan --join node-4");
    for says in ["node-1", "22->16", "66->48", "zone-a", "22->27", "joins", "(38 is the least possible)"] {
        assert!(out.contains(says), "{says}: {out}");
    }
    for says in [
        "About 80.0 MiB move in 2 steps: about 2 min without requests, up to 15 min if they become slow by it",
        "Note: zone-c has one node only.",
        "version 12",
    ] {
        assert!(out.contains(says), "{says}: {out}");
    }
    assert!(out.ends_with("dynamo ring apply --join node-4\n"), "{out}");
    assert!(fake.with(|state| state.applied.is_empty()));
}

#[test]
fn a_plan_for_programs_has_all_of_it() {
    let fake = fake();
    fake.with(|state| state.plan.blocked_by = vec!["node-3 is down".into()]);
    let plan = json(&fake, "ring plan --weight node-1=2 --zone node-1=zone-b");
    assert_eq!((plan["version"].as_u64(), plan["replicas_least"].as_u64()), (Some(VERSION), Some(38)));
    assert_eq!(
        (plan["nodes"][3]["change"].as_str(), plan["nodes"][3]["tokens_after"].as_u64()),
        (Some("joins"), Some(11))
    );
    assert_eq!(
        (plan["zones"][0]["tokens_before"].as_u64(), plan["blocked_by"][0].as_str()),
        (Some(22), Some("node-3 is down"))
    );
    assert_eq!(fake.with(|state| state.planned[0].edits.len()), 1, "weight and zone of one node are one edit");
}

#[test]
fn what_is_in_the_way_is_shown_and_no_command_that_would_fail_is_offered() {
    let fake = fake();
    fake.with(|state| state.plan.blocked_by = vec!["node-3 is down".into(), "node-4 has a full disk".into()]);
    let out = ok(&fake, "ring plan --join node-4");
    assert!(out.ends_with("It can't be applied now:\n  - node-3 is down\n  - node-4 has a full disk\n"), "{out}");
}

#[test]
fn the_status_is_the_change_under_way_or_that_the_ring_is_settled() {
    let fake = fake();
    assert_eq!(ok(&fake, "ring status"), "The ring is settled at epoch 9, version 12.\n");
    assert_eq!(json(&fake, "ring status")["settled"], true);
    fake.with(|state| state.ahead = vec![at(1, 12), at(1, 13), at(1, 14)]);
    let out = ok(&fake, "ring status");
    assert!(out.contains("Change 13: node-4 joins") && out.contains("step 2 of 2, copying: 12 of 40 copies"), "{out}");
    let status = json(&fake, "ring status");
    assert_eq!((status["settled"].as_bool(), status["change"]["change"].as_u64()), (Some(false), Some(CHANGE)));
    assert_eq!(status["change"]["copies_done"], 13);
}

#[test]
fn a_receipt_succeeds_only_if_it_is_complete() {
    let fake = fake();
    assert!(ok(&fake, "node receipt node-1").starts_with("node-1 may be switched off for good"));
    fake.with(|state| state.receipts = vec![receipt(false)]);
    let ended = run(&fake, "node receipt node-1");
    assert_eq!(ended.code, 1);
    assert!(ended.out.contains("must not be switched off") && ended.out.contains("17 hints wait for node-3"));
    let ended = run(&fake, "node receipt node-1 -o json");
    assert_eq!((ended.code, ended.out.contains(r#""complete":false"#)), (1, true));
    let ended = run(&fake, "node receipt ghost");
    assert_eq!((ended.code, ended.err.contains("there are node-1, node-2")), (1, true));
}
