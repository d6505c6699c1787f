//! Reads of which the course is told step by step (§4.5, 4.6, 5).

use bytes::Bytes;
use dynamo_quorum::{Candidate, Get, GetEffect, GetEffects, GetSettings, NodeState, Refusal};
use dynamo_ring::NodeId;
use dynamo_version::{Mode, SiblingSet};

fn node(index: u128, home: bool, state: NodeState, latency_us: u32) -> Candidate {
    Candidate { node: NodeId(index), home, state, latency_us }
}

fn settings(r: u8, sloppy: bool) -> GetSettings {
    let mode = Mode::Siblings;
    GetSettings { r, sloppy, mode, hedge_after_us: 40, replica_timeout_us: 100, deadline_us: 1_000 }
}

fn ask(to: u128, digest: bool) -> GetEffect {
    GetEffect::Ask { to: NodeId(to), digest }
}

fn taken(effects: &mut GetEffects) -> Vec<GetEffect> {
    effects.drain(..).collect()
}

#[test]
fn the_fastest_are_asked_first_and_a_hedge_never_leaves_the_homes() {
    let up = NodeState::Up;
    let candidates = [node(0, true, up, 90), node(1, true, up, 10), node(2, true, up, 50), node(3, false, up, 1)];
    let mut get = Get::new(NodeId(9), &candidates, settings(2, true), 0).unwrap();
    let mut effects = GetEffects::new();
    get.start(0, &mut effects);
    assert_eq!(taken(&mut effects), [ask(1, false), ask(2, true)]);
    assert_eq!(get.next_time(), Some(40));
    get.on_time(40, &mut effects);
    assert_eq!(taken(&mut effects), [ask(0, false)], "whole, for no state has come in");

    let mut all = Get::new(NodeId(9), &candidates, settings(3, true), 0).unwrap();
    all.start(0, &mut effects);
    effects.clear();
    all.on_time(40, &mut effects);
    assert!(effects.is_empty(), "a slow home is not traded for a fallback: {effects:?}");
}

#[test]
fn a_fallback_stands_in_for_an_absent_home_unless_the_read_is_strict() {
    let candidates = [
        node(0, true, NodeState::ReadOnly, 0),
        node(1, true, NodeState::Down, 0),
        node(2, true, NodeState::Down, 0),
        node(3, false, NodeState::Up, 0),
    ];
    let reason = Get::new(NodeId(0), &candidates, settings(2, false), 0).unwrap_err();
    assert_eq!((reason.homes_alive, reason.begun), (1, false));
    let mut get = Get::new(NodeId(0), &candidates, settings(2, true), 0).unwrap();
    let mut effects = GetEffects::new();
    get.start(0, &mut effects);
    assert_eq!(taken(&mut effects), [ask(0, false), ask(3, true)]);
}

#[test]
fn a_damaged_record_is_not_an_empty_one() {
    let candidates = [node(0, true, NodeState::Up, 0), node(1, true, NodeState::Up, 1)];
    let mut get = Get::new(NodeId(0), &candidates, settings(2, true), 0).unwrap();
    let mut effects = GetEffects::new();
    get.start(0, &mut effects);
    effects.clear();
    get.on_digest(NodeId(1), 0, 1, &mut effects);
    get.on_refusal(NodeId(0), Refusal::Corrupt, 1, &mut effects);
    assert!(matches!(&effects[..], [GetEffect::Fail(reason), GetEffect::Finished] if reason.acked == 1));
}

#[test]
fn a_home_that_is_named_twice_is_one() {
    let up = NodeState::Up;
    let candidates = [node(0, true, up, 0), node(0, true, up, 0), node(1, false, up, 0)];
    let reason = Get::new(NodeId(9), &candidates, settings(2, true), 0).unwrap_err();
    assert_eq!((reason.homes, reason.homes_alive), (1, 1));
}

#[test]
fn a_first_answer_that_turns_out_to_be_no_state_is_not_joined() {
    let candidates = [0, 1, 2].map(|index| node(index, true, NodeState::Up, 0));
    let mut get = Get::new(NodeId(0), &candidates, settings(2, true), 0).unwrap();
    let mut effects = GetEffects::new();
    get.start(0, &mut effects);
    assert_eq!(taken(&mut effects), [ask(0, false), ask(1, true)]);
    // Its digest fits: only decoding shows that it is nonsense, and it is not decoded while nothing differs from it.
    let nonsense = Bytes::from_static(b"nonsense");
    let digest = SiblingSet::digest(&nonsense);
    get.on_state(NodeId(0), Some((nonsense, digest)), 1, &mut effects);
    let state = SiblingSet::new().encode();
    let digest = SiblingSet::digest(&state);
    get.on_digest(NodeId(1), digest, 2, &mut effects);
    assert_eq!(taken(&mut effects), [ask(1, false)]);
    get.on_state(NodeId(1), Some((state.clone(), digest)), 3, &mut effects);
    assert_eq!(taken(&mut effects), [ask(2, true)], "another answer in the place of the first");
    get.on_digest(NodeId(2), digest, 4, &mut effects);
    let [GetEffect::Answer(answer), GetEffect::Finished] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((answer.found.clone().map(|found| found.encoded), answer.answers), (Some(state), 2));
}

#[test]
fn a_node_that_sends_a_digest_for_a_state_is_not_asked_for_ever() {
    let mut get = Get::new(NodeId(0), &[node(0, true, NodeState::Up, 0)], settings(1, true), 0).unwrap();
    let mut effects = GetEffects::new();
    get.start(0, &mut effects);
    effects.clear();
    get.on_digest(NodeId(0), 5, 1, &mut effects);
    let [GetEffect::Fail(reason), GetEffect::Finished] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(reason.refusals.count(Refusal::Invalid), 1);
}

#[test]
fn fallbacks_that_know_nothing_do_not_outrun_the_one_home_that_is_alive() {
    let candidates: Vec<Candidate> = [
        (1, true, NodeState::Up),
        (2, true, NodeState::Down),
        (3, true, NodeState::Down),
        (4, false, NodeState::Up),
        (5, false, NodeState::Up),
    ]
    .into_iter()
    .map(|(node, home, state)| Candidate { node: NodeId(node), home, state, latency_us: 0 })
    .collect();
    let settings = GetSettings {
        r: 2,
        sloppy: true,
        mode: dynamo_version::Mode::Siblings,
        hedge_after_us: 10,
        replica_timeout_us: 1_000,
        deadline_us: 10_000,
    };
    let mut get = Get::new(NodeId(4), &candidates, settings, 0).unwrap();
    let mut effects = GetEffects::new();
    get.start(0, &mut effects);
    get.on_time(10, &mut effects);
    get.on_state(NodeId(4), None, 20, &mut effects);
    get.on_state(NodeId(5), None, 20, &mut effects);
    assert!(!effects.iter().any(|effect| matches!(effect, GetEffect::Answer(_))), "{effects:?}");
    // Nor when time is up while it may still answer.
    let patient = GetSettings { replica_timeout_us: settings.deadline_us, ..settings };
    let mut late = Get::new(NodeId(4), &candidates, patient, 0).unwrap();
    let mut failed = GetEffects::new();
    late.start(0, &mut failed);
    late.on_time(10, &mut failed);
    late.on_state(NodeId(4), None, 20, &mut failed);
    late.on_state(NodeId(5), None, 20, &mut failed);
    late.on_time(settings.deadline_us, &mut failed);
    let Some(GetEffect::Fail(reason)) = failed.iter().rev().nth(1) else { panic!("{failed:?}") };
    assert_eq!(
        reason.to_string(),
        "the read got answers of 2 replicas, but a home that is alive did not give its own in time (1 of the key's 3 \
         homes were alive, time was up); nothing was changed; retry when more nodes are up"
    );
    // It stays silent: then the fallbacks stand for it too.
    get.on_time(1_000, &mut effects);
    assert!(effects.iter().any(|effect| matches!(effect, GetEffect::Answer(_))), "{effects:?}");
}

#[test]
fn a_home_that_is_being_filled_is_passed_over_and_without_enough_others_the_read_ends_at_once() {
    let up = NodeState::Up;
    let candidates = [node(0, true, up, 0), node(1, true, up, 1), node(2, true, up, 2), node(3, false, up, 0)];
    let mut get = Get::new(NodeId(9), &candidates, settings(2, false), 0).unwrap();
    let mut effects = GetEffects::new();
    get.start(0, &mut effects);
    assert_eq!(taken(&mut effects), [ask(0, false), ask(1, true)]);
    get.on_refusal(NodeId(1), Refusal::Refilling, 1, &mut effects);
    assert_eq!(taken(&mut effects), [ask(2, true)], "the next home, and no fallback");
    get.on_refusal(NodeId(2), Refusal::Refilling, 2, &mut effects);
    let [GetEffect::Fail(reason), GetEffect::Finished] = &taken(&mut effects)[..] else { panic!("it goes on") };
    assert_eq!((reason.refusals.count(Refusal::Refilling), reason.timed_out), (2, false));
    let said = reason.to_string();
    assert!(said.contains("2 being filled") && said.contains("when the homes that are being filled"), "{said}");
}
