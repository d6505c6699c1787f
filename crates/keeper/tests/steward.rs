//! When a step is sealed, turned and let go, from reports made by hand.

use std::collections::BTreeSet;

use dynamo_keeper::fill::Fill;
use dynamo_keeper::report::{FillReport, Report};
use dynamo_keeper::step::{Affected, Step};
use dynamo_keeper::steward::{Decision, Steward};
use dynamo_ring::NodeId;
use dynamo_transfer::Ended;

const S: u64 = 1_000_000;

/// One partition goes from node 3 to node 4; N is 3, and two old homes are needed.
fn step() -> Step {
    let old = vec![NodeId(1), NodeId(2), NodeId(3)];
    let affected = Affected { partition: 5, sources: old.clone(), old, gained: vec![NodeId(4)], accept_loss: false };
    Step { version: 9, epoch: 1, affected: vec![affected] }
}

fn nodes(ids: &[u128]) -> Vec<NodeId> {
    ids.iter().map(|id| NodeId(*id)).collect()
}

fn alive(ids: &[u128]) -> BTreeSet<NodeId> {
    nodes(ids).into_iter().collect()
}

/// Old homes say that they are whole and have not sealed.
fn says(steward: &mut Steward, version: u64, ids: &[u128]) {
    for id in ids {
        steward.on_report(NodeId(*id), Report { version, ..Report::default() });
    }
}

fn seals(steward: &mut Steward, ids: &[u128]) {
    for id in ids {
        steward.on_report(NodeId(*id), Report { version: 9, sealed: true, ..Report::default() });
    }
}

fn fills(steward: &mut Steward, caught_up: &[u128], complete: &[u128]) {
    let fill = FillReport { partition: 5, caught_up: nodes(caught_up), complete: nodes(complete) };
    steward.on_report(NodeId(4), Report { version: 9, fills: vec![fill], ..Report::default() });
}

#[test]
fn it_seals_only_when_the_gaining_node_has_caught_up_with_all_that_answer() {
    let (mut steward, step) = (Steward::default(), step());
    assert_eq!(steward.decide(&step, 2, &alive(&[1, 2, 3, 4]), S), Decision::Wait);
    fills(&mut steward, &[1, 2], &[]);
    says(&mut steward, 9, &[1, 3]);
    assert_eq!(steward.decide(&step, 2, &alive(&[1, 2, 3, 4]), S), Decision::Wait);
    assert_eq!(steward.decide(&step, 2, &alive(&[1, 2, 4]), S), Decision::Wait, "2 has not said that it is whole");
    says(&mut steward, 9, &[2]);
    assert_eq!(steward.decide(&step, 2, &alive(&[1, 2, 4]), S), Decision::Seal);
    // One old home is too few, whatever it has given.
    assert_eq!(steward.decide(&step, 2, &alive(&[1, 4]), S), Decision::Wait);
    fills(&mut steward, &[1, 2, 3], &[]);
    assert_eq!(steward.decide(&step, 2, &alive(&[1, 2, 3, 4]), S), Decision::Seal);
}

#[test]
fn it_turns_only_when_what_was_sealed_was_copied_to_its_end() {
    let (mut steward, step) = (Steward::default(), step());
    let all = alive(&[1, 2, 3, 4]);
    fills(&mut steward, &[1, 2, 3], &[]);
    seals(&mut steward, &[1, 2, 3]);
    assert_eq!(steward.decide(&step, 2, &all, S), Decision::Seal);
    fills(&mut steward, &[1, 2, 3], &[1]);
    assert_eq!(steward.decide(&step, 2, &all, S + 2), Decision::Seal);
    // Enough, but one that answers may still follow: it is waited for.
    fills(&mut steward, &[1, 2, 3], &[1, 2]);
    assert_eq!(steward.decide(&step, 2, &all, S + 3), Decision::Seal);
    assert_eq!(steward.decide(&step, 2, &all, 3 * S), Decision::Turn);
    fills(&mut steward, &[1, 2, 3], &[1, 2, 3]);
    assert_eq!(steward.decide(&step, 2, &all, S + 4), Decision::Turn);
}

#[test]
fn what_an_unsealed_home_gave_does_not_count() {
    let (mut steward, step) = (Steward::default(), step());
    fills(&mut steward, &[1, 2, 3], &[1, 2, 3]);
    seals(&mut steward, &[1]);
    assert_eq!(steward.decide(&step, 2, &alive(&[1, 2, 3, 4]), 5 * S), Decision::Seal);
    // Three are needed where a bucket reads one and writes three.
    seals(&mut steward, &[1, 2]);
    assert_eq!(steward.decide(&step, 3, &alive(&[1, 2, 4]), 5 * S), Decision::Seal);
    assert_eq!(steward.decide(&step, 2, &alive(&[1, 2, 4]), 5 * S), Decision::Turn);
}

#[test]
fn reports_of_another_version_say_nothing() {
    let (mut steward, step) = (Steward::default(), step());
    let old = |report| Report { version: 8, ..report };
    let fill = FillReport { partition: 5, caught_up: nodes(&[1, 2, 3]), complete: nodes(&[1, 2, 3]) };
    steward.on_report(NodeId(4), old(Report { fills: vec![fill], ..Report::default() }));
    for id in 1..=3 {
        steward.on_report(NodeId(id), old(Report { sealed: true, ..Report::default() }));
    }
    assert_eq!(steward.decide(&step, 2, &alive(&[1, 2, 3, 4]), S), Decision::Wait);
}

#[test]
fn homes_that_are_sealed_for_too_long_serve_again_and_the_step_is_tried_later() {
    let (mut steward, step) = (Steward::default(), step());
    let all = alive(&[1, 2, 3, 4]);
    fills(&mut steward, &[1, 2, 3], &[]);
    seals(&mut steward, &[1, 2, 3]);
    assert_eq!(steward.decide(&step, 2, &all, S), Decision::Seal);
    assert_eq!(steward.decide(&step, 2, &all, 10 * S), Decision::Unseal);
    // The same step under the version after it: caught up again, but it waits a while.
    let again = Step { version: 10, epoch: 2, ..step };
    let fill = FillReport { partition: 5, caught_up: nodes(&[1, 2, 3]), complete: vec![] };
    steward.on_report(NodeId(4), Report { version: 10, fills: vec![fill], ..Report::default() });
    says(&mut steward, 10, &[1, 2, 3]);
    assert_eq!(steward.decide(&again, 2, &all, 11 * S), Decision::Wait);
    assert_eq!(steward.decide(&again, 2, &all, 16 * S), Decision::Seal);
}

#[test]
fn a_home_that_is_lost_is_not_waited_for() {
    let mut step = step();
    step.affected[0].sources = nodes(&[1, 2]);
    let mut steward = Steward::default();
    fills(&mut steward, &[1, 2], &[1, 2]);
    seals(&mut steward, &[1, 2]);
    assert_eq!(steward.decide(&step, 2, &alive(&[1, 2, 4]), S), Decision::Turn);
    assert_eq!(steward.decide(&step, 3, &alive(&[1, 2, 4]), S), Decision::Turn);
}

fn lacks(steward: &mut Steward, id: u128) {
    let lacking = vec![5];
    steward.on_report(NodeId(id), Report { version: 9, sealed: true, lacking, ..Report::default() });
}

#[test]
fn a_home_that_is_not_whole_is_not_counted() {
    let (mut steward, step) = (Steward::default(), step());
    // Two of three are enough, and two are whole.
    fills(&mut steward, &[1, 2, 3], &[]);
    seals(&mut steward, &[1, 2]);
    lacks(&mut steward, 3);
    assert_eq!(steward.decide(&step, 2, &alive(&[1, 2, 3, 4]), S), Decision::Seal);
    fills(&mut steward, &[1, 2, 3], &[1, 2]);
    assert_eq!(steward.decide(&step, 2, &alive(&[1, 2, 3, 4]), S), Decision::Turn, "it is not waited for either");
    // One of these is down: the other is not enough, sealed or not.
    assert_eq!(steward.progress(&step, 2, &alive(&[2, 3, 4]), |id| id.0.to_string()).blocked_by, ["1 does not answer"]);
    let (mut steward, mut step) = (Steward::default(), step);
    step.affected[0].sources = nodes(&[2, 3]);
    fills(&mut steward, &[2, 3], &[]);
    says(&mut steward, 9, &[2]);
    steward.on_report(NodeId(3), Report { version: 9, lacking: vec![5], ..Report::default() });
    assert_eq!(steward.decide(&step, 2, &alive(&[2, 3, 4]), S), Decision::Wait);
    let blocked = steward.progress(&step, 2, &alive(&[2, 3, 4]), |id| id.0.to_string()).blocked_by;
    assert!(blocked[0].starts_with("waiting for 3, which is being refilled; "), "{blocked:?}");
    step.affected[0].accept_loss = true;
    assert_eq!(steward.decide(&step, 2, &alive(&[2, 3, 4]), S), Decision::Seal);
    assert!(steward.progress(&step, 2, &alive(&[2, 3, 4]), |id| id.0.to_string()).blocked_by.is_empty());
}

#[test]
fn two_lost_homes_of_three_are_too_many_unless_a_loss_is_accepted() {
    let (mut steward, mut step) = (Steward::default(), step());
    step.affected[0].sources = nodes(&[1]);
    fills(&mut steward, &[1], &[1]);
    seals(&mut steward, &[1]);
    assert_ne!(steward.decide(&step, 2, &alive(&[1, 4]), S), Decision::Turn);
    let blocked = steward.progress(&step, 2, &alive(&[1, 4]), |id| id.0.to_string()).blocked_by;
    assert!(blocked[0].starts_with("1 of the 2 homes are left that must be read of partition 5; "), "{blocked:?}");
    step.affected[0].accept_loss = true;
    assert_eq!(steward.decide(&step, 2, &alive(&[1, 4]), S), Decision::Turn);
}

/// Of all homes everything is needed where R or W is 1, and yet one may be replaced that is down for good.
#[test]
fn one_lost_home_is_allowed_and_a_second_only_where_enough_are_left() {
    let cases = [
        (2, 3, 0, 2),
        (2, 3, 1, 2),
        (3, 3, 0, 3),
        (3, 3, 1, 2),
        (3, 3, 2, 2),
        (3, 5, 2, 3),
        (5, 5, 2, 4),
        (1, 1, 1, 1),
    ];
    for (needed, homes, lost, wanted) in cases {
        assert_eq!(
            dynamo_keeper::step::sources_needed(needed, homes, lost),
            wanted,
            "{needed} of {homes}, {lost} lost"
        );
    }
}

#[test]
fn where_nobody_gains_it_is_enough_that_the_old_homes_sealed() {
    let mut step = step();
    step.affected[0].gained.clear();
    let mut steward = Steward::default();
    assert_eq!(steward.decide(&step, 2, &alive(&[1, 2, 3]), S), Decision::Seal);
    seals(&mut steward, &[1, 2, 3]);
    assert_eq!(steward.decide(&step, 2, &alive(&[1, 2, 3]), S), Decision::Turn);
}

/// The question whether all was had may overtake a seal that is on the way to the source's disk.
#[test]
fn a_source_that_has_not_sealed_yet_is_compared_again_soon() {
    let (mut fill, source, both) = (Fill::new(5, nodes(&[1])), NodeId(1), alive(&[1]));
    let compared = |fill: &mut Fill, sealed, now| {
        assert_eq!(fill.next(true, &both, now), [source]);
        fill.begun(source);
        fill.ended(source, Ended::Complete { sealed, whole: true, equal: true }, now);
    };
    fill.sealing();
    compared(&mut fill, false, S);
    compared(&mut fill, false, S + S / 20);
    compared(&mut fill, true, S + S / 10);
    assert!(fill.next(true, &both, 100 * S).is_empty());
    assert_eq!(fill.complete(), [source]);
}

#[test]
fn who_has_not_reported_is_named_only_when_it_is_late_and_who_does_not_answer_at_once() {
    let (mut steward, step) = (Steward::default(), step());
    let all = alive(&[1, 2, 3, 4]);
    let blocked = |steward: &Steward, alive: &BTreeSet<NodeId>| {
        steward.progress(&step, 2, alive, |id| id.0.to_string()).blocked_by
    };
    steward.decide(&step, 2, &all, S);
    assert!(blocked(&steward, &all).is_empty());
    assert_eq!(blocked(&steward, &alive(&[1, 3, 4])), ["2 does not answer"]);
    seals(&mut steward, &[1, 2, 3]);
    steward.decide(&step, 2, &all, 5 * S);
    assert_eq!(blocked(&steward, &all), ["4 has not reported yet"]);
    let next = Step { version: 10, ..step.clone() };
    assert!(steward.progress(&next, 2, &all, |id| id.0.to_string()).blocked_by.is_empty(), "it has only begun");
}

#[test]
fn a_copy_that_fails_again_and_again_is_told_and_what_failed_once_is_not() {
    let mut fill = Fill::new(5, nodes(&[1, 2]));
    for failures in 1..=4 {
        assert_eq!(fill.trouble(), None, "after {failures} failures");
        fill.begun(NodeId(2));
        fill.ended(NodeId(2), Ended::Silent, S);
    }
    assert_eq!(fill.trouble(), Some((NodeId(2), Ended::Silent)));
    fill.begun(NodeId(1));
    fill.ended(NodeId(1), Ended::Complete { sealed: false, whole: true, equal: true }, S);
    assert_eq!(fill.trouble(), None);
}

#[test]
fn an_emptied_home_goes_by_those_who_lost_nothing_or_by_all_there_are() {
    let complete = |whole| Ended::Complete { sealed: false, whole, equal: true };
    let others = || [NodeId(1), NodeId(2), NodeId(3), NodeId(4)];
    // Of N = 5, three are needed: W = 3 met one of any three.
    let mut fill = Fill::new(7, others());
    fill.ended(NodeId(1), complete(true), S);
    fill.ended(NodeId(2), complete(true), S);
    fill.ended(NodeId(3), complete(false), S);
    assert!(!fill.is_refilled(3), "node 3 was emptied too: what node 4 alone has would be missed");
    fill.ended(NodeId(3), complete(true), 2 * S);
    assert!(fill.is_refilled(3), "it is whole by now");
    // A new cluster, or one that was emptied whole: nobody has more than this.
    let mut fill = Fill::new(7, others());
    for other in others() {
        assert!(!fill.is_refilled(3));
        fill.ended(other, complete(false), S);
    }
    assert!(fill.is_refilled(3));
}
