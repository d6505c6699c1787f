//! Writes of which the course is told step by step (§4.5, 4.6).

use dynamo_quorum::{Candidate, Durability, NodeState, Put, PutEffect, PutEffects, PutSettings, Refusal};
use dynamo_ring::NodeId;

use PutEffect::{Acknowledge, Finished, KeepHint};

const HOME: bool = true;

fn node(index: u128, home: bool, state: NodeState) -> Candidate {
    Candidate { node: NodeId(index), home, state, latency_us: 0 }
}

fn homes(states: [NodeState; 3]) -> Vec<Candidate> {
    states.into_iter().zip(0..).map(|(state, index)| node(index, HOME, state)).collect()
}

fn settings(sloppy: bool, durability: Durability) -> PutSettings {
    PutSettings { w: 2, sloppy, durability, replica_timeout_us: 100, deadline_us: 1_000 }
}

fn send(to: u128, hint_for: Option<u128>, sync: bool) -> PutEffect {
    PutEffect::Send { to: NodeId(to), hint_for: hint_for.map(NodeId), sync }
}

fn taken(effects: &mut PutEffects) -> Vec<PutEffect> {
    effects.drain(..).collect()
}

const UP: NodeState = NodeState::Up;
const SLOPPY: bool = true;
const STRICT: bool = false;

#[test]
fn a_write_goes_on_after_its_acknowledgement_until_a_silent_home_has_a_hint() {
    let mut candidates = homes([UP; 3]);
    candidates.push(node(3, !HOME, UP));
    let mut put = Put::new(NodeId(0), &candidates, settings(SLOPPY, Durability::AllDurable), true, 0).unwrap();
    assert!(put.local_hint().is_none() && put.local_sync());
    let mut effects = PutEffects::new();
    put.start(0, &mut effects);
    assert_eq!(taken(&mut effects), [send(1, None, true), send(2, None, true)]);
    put.on_ack(NodeId(1), true, 10, &mut effects);
    put.on_ack(NodeId(0), true, 11, &mut effects);
    assert_eq!(taken(&mut effects), [Acknowledge { acks: 2, hinted: 0 }]);
    assert_eq!(put.next_time(), Some(100));
    put.on_time(100, &mut effects);
    assert_eq!(taken(&mut effects), [send(3, Some(2), true)]);
    put.on_refusal(NodeId(3), Refusal::HintsFull, 110, &mut effects);
    assert_eq!(taken(&mut effects), [KeepHint { hint_for: NodeId(2) }, Finished]);
}

#[test]
fn a_home_whose_disk_is_full_gets_a_hint_at_once() {
    let mut candidates = homes([UP, NodeState::ReadOnly, UP]);
    candidates.extend([node(3, !HOME, NodeState::ReadOnly), node(4, !HOME, UP)]);
    let mut put = Put::new(NodeId(0), &candidates, settings(SLOPPY, Durability::Buffered), true, 0).unwrap();
    let mut effects = PutEffects::new();
    put.start(0, &mut effects);
    assert_eq!(taken(&mut effects), [send(2, None, false), send(4, Some(1), false)]);
}

#[test]
fn a_coordinator_that_is_no_home_stands_for_one_only_when_one_is_absent() {
    let me = NodeId(9);
    let all_up = Put::new(me, &homes([UP; 3]), settings(SLOPPY, Durability::AllDurable), true, 0).unwrap();
    assert_eq!(all_up.local_hint(), Some(NodeId(2)));
    let mut put = all_up;
    let mut effects = PutEffects::new();
    put.start(0, &mut effects);
    effects.clear();
    put.on_ack(me, true, 1, &mut effects);
    put.on_ack(NodeId(0), true, 1, &mut effects);
    assert!(effects.is_empty(), "one home and a spare copy are not two of the key's three: {effects:?}");
    put.on_refusal(NodeId(2), Refusal::Unreachable, 2, &mut effects);
    assert_eq!(taken(&mut effects), [Acknowledge { acks: 2, hinted: 1 }], "now it stands for the third");

    let all_down = homes([NodeState::Down; 3]);
    let one_node = PutSettings { w: 1, ..settings(SLOPPY, Durability::AllDurable) };
    let mut put = Put::new(me, &all_down, one_node, true, 0).unwrap();
    assert_eq!(put.local_hint(), Some(NodeId(0)));
    put.start(0, &mut effects);
    assert_eq!(taken(&mut effects), [KeepHint { hint_for: NodeId(1) }, KeepHint { hint_for: NodeId(2) }]);
    put.on_ack(me, true, 1, &mut effects);
    assert_eq!(taken(&mut effects), [Acknowledge { acks: 1, hinted: 1 }, Finished]);
}

#[test]
fn another_is_asked_to_sync_when_the_durable_copy_fails() {
    let mut put = Put::new(NodeId(0), &homes([UP; 3]), settings(STRICT, Durability::OneDurable), true, 0).unwrap();
    assert!(put.local_sync());
    let mut effects = PutEffects::new();
    put.start(0, &mut effects);
    assert_eq!(taken(&mut effects), [send(1, None, false), send(2, None, false)]);
    put.on_ack(NodeId(1), false, 1, &mut effects);
    put.on_ack(NodeId(2), false, 1, &mut effects);
    assert!(effects.is_empty(), "two have it, neither durably");
    put.on_refusal(NodeId(0), Refusal::DiskFull, 2, &mut effects);
    assert_eq!(taken(&mut effects), [send(1, None, true)]);
    put.on_ack(NodeId(1), true, 3, &mut effects);
    assert_eq!(taken(&mut effects), [Acknowledge { acks: 2, hinted: 0 }, Finished]);
}

#[test]
fn a_strict_write_fails_as_soon_as_too_few_homes_are_left_and_says_who_has_it() {
    let mut candidates = homes([UP; 3]);
    candidates.push(node(3, !HOME, UP));
    let mut put = Put::new(NodeId(0), &candidates, settings(STRICT, Durability::AllDurable), true, 0).unwrap();
    let mut effects = PutEffects::new();
    put.start(0, &mut effects);
    put.on_ack(NodeId(0), true, 1, &mut effects);
    put.on_refusal(NodeId(1), Refusal::Unreachable, 1, &mut effects);
    put.on_ack(NodeId(3), true, 1, &mut effects);
    effects.clear();
    put.on_refusal(NodeId(2), Refusal::Sealed, 2, &mut effects);
    let effects = taken(&mut effects);
    let failure = effects.iter().find_map(|effect| match effect {
        PutEffect::Fail(reason) => Some(reason),
        _ => None,
    });
    let reason = failure.expect("told at once");
    assert_eq!((reason.acked, reason.holding, reason.timed_out), (1, 2, false));
    assert_eq!(
        reason.to_string(),
        "the write needs 2 home replicas and 1 acknowledged it (3 of the key's 3 homes were alive, 1 unreachable, \
         1 sealed for a newer ring); 2 replicas have it, so it may become visible later; fetch the ring and retry"
    );
    assert_eq!(effects.last(), Some(&Finished));
}

#[test]
fn nothing_acknowledged_is_missed_silently_when_time_is_up() {
    let timeouts = PutSettings { replica_timeout_us: 5_000, ..settings(SLOPPY, Durability::AllDurable) };
    let mut put = Put::new(NodeId(0), &homes([UP; 3]), timeouts, true, 0).unwrap();
    let mut effects = PutEffects::new();
    put.start(0, &mut effects);
    put.on_ack(NodeId(0), true, 1, &mut effects);
    put.on_ack(NodeId(2), true, 1, &mut effects);
    effects.clear();
    put.on_time(put.next_time().unwrap(), &mut effects);
    assert_eq!(taken(&mut effects), [KeepHint { hint_for: NodeId(1) }, Finished]);
}

#[test]
fn a_coordinator_that_is_slow_itself_keeps_no_hint_for_itself() {
    let mut put = Put::new(NodeId(0), &homes([UP; 3]), settings(SLOPPY, Durability::AllDurable), true, 0).unwrap();
    let mut effects = PutEffects::new();
    put.start(0, &mut effects);
    put.on_ack(NodeId(1), true, 1, &mut effects);
    put.on_ack(NodeId(2), true, 1, &mut effects);
    effects.clear();
    // Its own sync takes longer than a replica may, and there is no fallback: it has its copy all the same.
    put.on_time(100, &mut effects);
    assert_eq!(taken(&mut effects), [Finished]);
}

#[test]
fn another_attempt_at_a_version_sends_it_to_its_maker_as_well_and_never_denies_it() {
    let up = NodeState::Up;
    // The coordinator, node 0, is a home under the newer ring, too.
    let mut put = Put::again(NodeId(0), &homes([up; 3]), settings(false, Durability::AllDurable), 1, 0).unwrap();
    assert_eq!((put.local_hint(), put.local_sync()), (None, true));
    let mut effects = PutEffects::new();
    put.start(0, &mut effects);
    assert_eq!(taken(&mut effects)[..3], [send(0, None, true), send(1, None, true), send(2, None, true)]);
    // It is one no more: then it is nobody's home, and gets nothing of its own accord.
    let mut put = Put::again(NodeId(9), &homes([up; 3]), settings(false, Durability::AllDurable), 1, 0).unwrap();
    put.start(0, &mut effects);
    assert!(taken(&mut effects).iter().all(|effect| !matches!(effect, PutEffect::Send { to: NodeId(9), .. })));
    put.on_refusal(NodeId(0), Refusal::Unreachable, 1, &mut effects);
    put.on_refusal(NodeId(1), Refusal::Unreachable, 1, &mut effects);
    let refused = |effects: &[PutEffect]| match effects {
        [.., PutEffect::Fail(reason), PutEffect::Finished] => *reason,
        others => panic!("{others:?}"),
    };
    let reason = refused(&taken(&mut effects));
    assert_eq!((reason.begun, reason.holding), (true, 1));
    // Too few are alive to begin at all: an earlier attempt had begun all the same.
    let down = NodeState::Down;
    let walk = homes([up, down, down]);
    let reason = Put::again(NodeId(0), &walk, settings(false, Durability::AllDurable), 0, 0).unwrap_err();
    assert!(reason.begun && !reason.to_string().contains("nothing was written"), "{reason}");
}
