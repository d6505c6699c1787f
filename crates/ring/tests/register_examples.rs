//! Single attempts at the register, by hand: what they make of what they find.

mod register_cluster;

use dynamo_ring::register::{Change, Outcome, Proposer, RegisterError};
use register_cluster::{Cluster, ballot, change, chosen, first, voters};

#[test]
fn a_change_is_one_version_more() {
    let (mut cluster, first) = (Cluster::new(), first(1..=3));
    let second = chosen(cluster.run(change(ballot(1, 1), &first, 1..=3, "second")));
    assert_eq!((second.version(), second.payload(), second.voters()), (2, &b"second"[..], &voters(1..=3)[..]));
    assert!(second.is_newer(&first) && !first.is_newer(&second) && !second.is_newer(&second));
}

#[test]
fn of_two_changes_of_one_version_the_later_is_outdated() {
    let (mut cluster, first) = (Cluster::new(), first(1..=3));
    let second = chosen(cluster.run(change(ballot(1, 1), &first, 1..=3, "second")));
    let late = cluster.run(change(ballot(2, 2), &first, 1..=3, "another"));
    assert_eq!(late, Outcome::Outdated { current: second });
}

#[test]
fn a_change_of_a_version_known_to_be_old_is_refused_without_asking() {
    let (mut cluster, first) = (Cluster::new(), first(1..=3));
    let second = chosen(cluster.run(change(ballot(1, 1), &first, 1..=3, "second")));
    let old = Change { expected_version: 1, voters: voters(1..=3), payload: b"another".to_vec() };
    let outcome = cluster.run(Proposer::change(ballot(2, 2), second.clone(), old).expect("a change"));
    assert_eq!(outcome, Outcome::Outdated { current: second });
    assert!(cluster.asked.is_empty());
}

#[test]
fn a_change_of_a_version_that_is_not_known_is_refused() {
    let ahead = Change { expected_version: 2, voters: voters(1..=3), payload: vec![] };
    let refusal = Proposer::change(ballot(1, 1), first(1..=3), ahead).expect_err("not known");
    assert_eq!(refusal, RegisterError::VersionAhead { expected: 2, known: 1 });
}

#[test]
fn a_half_accepted_value_is_finished_first() {
    let (mut cluster, first) = (Cluster::new(), first(1..=3));
    cluster.forget(2..=3);
    let half = cluster.run(change(ballot(1, 1), &first, 1..=3, "half"));
    let Outcome::Unknown { value: half, by: None } = half else { panic!("{half:?}") };
    cluster.forget([]);
    let other = cluster.run(change(ballot(2, 2), &first, 1..=3, "other"));
    assert_eq!(other, Outcome::Outdated { current: half.clone() });
    assert!(cluster.accepts_sent() > 0);
    assert_eq!(cluster.run(Proposer::read(ballot(3, 3), first)), Outcome::Chosen(half));
    assert_eq!(cluster.accepts_sent(), 0, "its voters said already that it is chosen");
}

#[test]
fn a_half_accepted_value_that_a_majority_never_saw_may_be_forgotten() {
    let (mut cluster, first) = (Cluster::new(), first(1..=3));
    cluster.forget(2..=3);
    cluster.run(change(ballot(1, 1), &first, 1..=3, "half"));
    cluster.forget([]);
    cluster.silence([1]);
    let other = chosen(cluster.run(change(ballot(2, 2), &first, 1..=3, "other")));
    cluster.silence([]);
    let again = cluster.run(change(ballot(3, 1), &first, 1..=3, "half"));
    assert_eq!(again, Outcome::Outdated { current: other });
}

/// The first heard has an old half-accepted value, the majority is there with it, and the next has the newer one.
#[test]
fn of_two_half_accepted_values_the_later_is_finished() {
    let (mut cluster, first) = (Cluster::new(), first(1..=5));
    cluster.forget(2..=5);
    cluster.run(change(ballot(1, 1), &first, 1..=5, "early"));
    cluster.silence([1]);
    cluster.forget([3, 4, 5]);
    let late = cluster.run(change(ballot(2, 2), &first, 1..=5, "late"));
    let Outcome::Unknown { value: late, .. } = late else { panic!("{late:?}") };
    cluster.silence([4, 5]);
    cluster.forget([]);
    assert_eq!(cluster.run(Proposer::read(ballot(3, 3), first)), Outcome::Chosen(late));
}

#[test]
fn a_change_tried_again_after_its_value_was_made_is_told_so() {
    let (mut cluster, first) = (Cluster::new(), first(1..=3));
    cluster.forget(2..=3);
    cluster.run(change(ballot(1, 1), &first, 1..=3, "mine"));
    cluster.forget([]);
    let made = chosen(cluster.run(Proposer::read(ballot(2, 2), first.clone())));
    assert_eq!(chosen(cluster.run(change(ballot(3, 1), &first, 1..=3, "mine"))), made);
    // The same when gossip was faster.
    let mine = Change { expected_version: 1, voters: voters(1..=3), payload: b"mine".to_vec() };
    let gossiped = Proposer::change(ballot(4, 1), made.clone(), mine).expect("a change");
    assert_eq!(chosen(cluster.run(gossiped)), made);
    assert!(cluster.asked.is_empty());
}

#[test]
fn a_read_of_what_is_known_proposes_nothing() {
    let (mut cluster, first) = (Cluster::new(), first(1..=3));
    assert_eq!(cluster.run(Proposer::read(ballot(1, 1), first.clone())), Outcome::Chosen(first.clone()));
    assert_eq!((cluster.asked.len(), cluster.accepts_sent()), (3, 0));
    let second = chosen(cluster.run(change(ballot(2, 1), &first, 1..=3, "second")));
    assert_eq!(cluster.run(Proposer::read(ballot(3, 2), second.clone())), Outcome::Chosen(second));
    assert_eq!((cluster.asked.len(), cluster.accepts_sent()), (3, 0));
}

#[test]
fn a_proposer_several_changes_behind_follows_the_voters() {
    let (mut cluster, first) = (Cluster::new(), first(1..=3));
    let mut newest = first.clone();
    for (counter, ids) in [(1, 2..=4), (2, 4..=6), (3, 7..=9)] {
        newest = chosen(cluster.run(change(ballot(counter, 1), &newest, ids, "moved")));
    }
    assert_eq!(cluster.run(Proposer::read(ballot(4, 2), first.clone())), Outcome::Chosen(newest.clone()));
    let late = cluster.run(change(ballot(5, 2), &first, 1..=3, "late"));
    assert_eq!(late, Outcome::Outdated { current: newest });
}

#[test]
fn one_voter_alone_can_be_replaced() {
    let (mut cluster, first) = (Cluster::new(), first([1]));
    let second = chosen(cluster.run(change(ballot(1, 3), &first, [2], "second")));
    cluster.silence([1]);
    let third = chosen(cluster.run(change(ballot(2, 3), &second, [2], "third")));
    assert_eq!(third.version(), 3);
}

/// It accepted what the previous voters chose, and not yet what came after.
#[test]
fn a_voter_that_is_behind_leads_nobody_back() {
    let (mut cluster, first) = (Cluster::new(), first(1..=3));
    let second = chosen(cluster.run(change(ballot(1, 1), &first, 1..=4, "second")));
    cluster.forget([4]);
    let third = chosen(cluster.run(change(ballot(2, 1), &second, 4..=6, "third")));
    assert_eq!(cluster.run(Proposer::read(ballot(3, 2), third.clone())), Outcome::Chosen(third));
    assert_eq!(cluster.asked.len(), 3);
}
