//! Single attempts at the register, by hand: who is asked what, and how each ends.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_ring::{
    NodeId,
    register::{
        Acceptor, AcceptorEffect, Ask, Ballot, Change, Outcome, Proposer, ProposerEffect, RegisterError, Request,
        Value, Voter,
    },
};

fn voter(id: u128) -> Voter {
    Voter { id: NodeId(id), incarnation: 1 }
}

fn voters(ids: impl IntoIterator<Item = u128>) -> Vec<Voter> {
    ids.into_iter().map(voter).collect()
}

fn first(ids: impl IntoIterator<Item = u128>) -> Value {
    Value::first(voters(ids), b"first".to_vec()).expect("a value")
}

fn ballot(counter: u64, id: u128) -> Ballot {
    Ballot { counter, proposer: voter(id) }
}

fn change(ballot: Ballot, known: &Value, ids: impl IntoIterator<Item = u128>, payload: &str) -> Proposer {
    let change = Change { expected_version: known.version(), voters: voters(ids), payload: payload.into() };
    Proposer::change(ballot, known.clone(), change).expect("a change")
}

/// Nodes 1 to 9 with disks that are done at once.
struct Cluster {
    nodes: BTreeMap<Voter, Acceptor>,
    /// Who does not hear.
    deaf: BTreeSet<Voter>,
    /// Who hears no accept.
    forgetful: BTreeSet<Voter>,
    /// What was asked in the attempt.
    asked: Vec<Request>,
}

impl Cluster {
    fn new() -> Cluster {
        let nodes = (1..=9).map(|id| (voter(id), Acceptor::new(voter(id), None))).collect();
        Cluster { nodes, deaf: BTreeSet::new(), forgetful: BTreeSet::new(), asked: Vec::new() }
    }

    /// Runs an attempt until nothing is under way, and gives it up if it goes on.
    fn run(&mut self, mut proposer: Proposer) -> Outcome {
        let mut effects = Vec::new();
        self.asked.clear();
        proposer.start(&mut effects);
        let mut gave_up = false;
        loop {
            for effect in std::mem::take(&mut effects) {
                match effect {
                    ProposerEffect::Finished(outcome) => return outcome,
                    ProposerEffect::Send(request) => {
                        self.asked.push(request.clone());
                        if let Some(reply) = self.ask(request) {
                            proposer.on_reply(reply, &mut effects);
                        }
                    }
                }
            }
            if effects.is_empty() {
                assert!(!std::mem::replace(&mut gave_up, true), "it goes on when it was given up");
                proposer.give_up(&mut effects);
            }
        }
    }

    fn ask(&mut self, request: Request) -> Option<dynamo_ring::register::Reply> {
        let to = request.to;
        let lost = matches!(request.ask, Ask::Accept(_)) && self.forgetful.contains(&to);
        let node = self.nodes.iter_mut().find(|(voter, _)| voter.id == to.id).map(|(_, node)| node)?;
        if lost || self.deaf.contains(&to) {
            return None;
        }
        let (mut effects, mut replies) = (Vec::new(), Vec::new());
        node.on_request(0, request, &mut effects);
        while let Some(effect) = effects.pop() {
            match effect {
                AcceptorEffect::Persist { ticket, .. } => node.on_persisted(ticket, &mut effects),
                AcceptorEffect::Reply { reply, .. } => replies.push(reply),
                AcceptorEffect::Minted(_) => {}
            }
        }
        replies.pop()
    }

    fn accepts_sent(&self) -> usize {
        self.asked.iter().filter(|request| matches!(request.ask, Ask::Accept(_))).count()
    }

    /// Of these nodes, those that accept nothing for now.
    fn forget(&mut self, ids: impl IntoIterator<Item = u128>) {
        self.forgetful = voters(ids).into_iter().collect();
    }

    fn silence(&mut self, ids: impl IntoIterator<Item = u128>) {
        self.deaf = voters(ids).into_iter().collect();
    }
}

fn chosen(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Chosen(value) => value,
        other => panic!("{other:?}"),
    }
}

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

#[test]
fn a_change_needs_majorities_of_the_previous_voters_and_of_the_new_ones() {
    for (silent, answered) in [(vec![1, 2], 1), (vec![4, 5], 1), (vec![4, 5, 6], 0), (vec![1, 2, 3], 0)] {
        let (mut cluster, first) = (Cluster::new(), first(1..=3));
        cluster.silence(silent);
        let outcome = cluster.run(change(ballot(1, 1), &first, 4..=6, "moved"));
        assert_eq!(outcome, Outcome::NoMajority { answered, needed: 2, of: 3 });
        assert_eq!(cluster.accepts_sent(), 0);
    }
    for deaf_later in [1..=2, 4..=5] {
        let (mut cluster, first) = (Cluster::new(), first(1..=3));
        cluster.forget(deaf_later);
        let outcome = cluster.run(change(ballot(1, 1), &first, 4..=6, "moved"));
        assert!(matches!(outcome, Outcome::Unknown { by: None, .. }), "{outcome:?}");
    }
}

#[test]
fn half_of_an_even_number_is_no_majority() {
    let (mut cluster, first) = (Cluster::new(), first(1..=4));
    cluster.silence(1..=2);
    let outcome = cluster.run(change(ballot(1, 1), &first, 1..=4, "second"));
    assert_eq!(outcome, Outcome::NoMajority { answered: 2, needed: 3, of: 4 });
}

#[test]
fn an_attempt_whose_voters_are_gone_does_not_wait() {
    let (mut cluster, first) = (Cluster::new(), first(1..=3));
    for id in 1..=3 {
        cluster.nodes.remove(&voter(id));
        let wiped = Voter { incarnation: 2, ..voter(id) };
        cluster.nodes.insert(wiped, Acceptor::new(wiped, None));
    }
    let (mut effects, mut proposer) = (Vec::new(), Proposer::read(ballot(1, 9), first));
    proposer.start(&mut effects);
    let requests = std::mem::take(&mut effects);
    for effect in requests {
        let ProposerEffect::Send(request) = effect else { panic!("{effect:?}") };
        let reply = cluster.ask(request).expect("an answer");
        proposer.on_reply(reply, &mut effects);
    }
    let gone = Outcome::NoMajority { answered: 0, needed: 2, of: 3 };
    assert_eq!(effects, [ProposerEffect::Finished(gone)]);
}

#[test]
fn an_attempt_that_is_outbid_says_by_whom() {
    let (mut cluster, first) = (Cluster::new(), first(1..=3));
    chosen(cluster.run(Proposer::read(ballot(7, 2), first.clone())));
    let outcome = cluster.run(change(ballot(3, 1), &first, 1..=3, "second"));
    assert_eq!(outcome, Outcome::Preempted { by: ballot(7, 2) });
    let mut me = Acceptor::new(voter(9), None);
    let mut effects = Vec::new();
    me.mint(Some(ballot(7, 2)), &mut effects).expect("a ballot");
    me.on_persisted(1, &mut effects);
    let Some(AcceptorEffect::Minted(next)) = effects.pop() else { panic!("not minted") };
    chosen(cluster.run(change(next, &first, 1..=3, "second")));
}

#[test]
fn one_refusal_does_not_end_an_attempt_that_has_a_majority_without_it() {
    let (mut cluster, first) = (Cluster::new(), first(1..=3));
    cluster.silence(2..=3);
    cluster.run(Proposer::read(ballot(7, 2), first.clone()));
    cluster.silence([]);
    chosen(cluster.run(change(ballot(3, 1), &first, 1..=3, "second")));
}

#[test]
fn what_was_sent_to_be_accepted_and_then_outbid_is_unknown() {
    let (mut cluster, first) = (Cluster::new(), first(1..=3));
    let (mut effects, mut mine) = (Vec::new(), change(ballot(1, 1), &first, 1..=3, "mine"));
    mine.start(&mut effects);
    for effect in std::mem::take(&mut effects) {
        let ProposerEffect::Send(request) = effect else { panic!("{effect:?}") };
        let reply = cluster.ask(request).expect("a promise");
        mine.on_reply(reply, &mut effects);
    }
    chosen(cluster.run(Proposer::read(ballot(2, 2), first)));
    for effect in std::mem::take(&mut effects) {
        let ProposerEffect::Send(request) = effect else { panic!("{effect:?}") };
        let reply = cluster.ask(request).expect("a refusal");
        mine.on_reply(reply, &mut effects);
    }
    let [ProposerEffect::Finished(Outcome::Unknown { by, .. })] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(*by, Some(ballot(2, 2)));
}

#[test]
fn only_those_that_did_not_answer_are_asked_again() {
    let (mut cluster, first) = (Cluster::new(), first(1..=5));
    let (mut effects, mut proposer) = (Vec::new(), Proposer::read(ballot(1, 1), first));
    proposer.start(&mut effects);
    let ProposerEffect::Send(request) = effects[1].clone() else { panic!("not sent") };
    let reply = cluster.ask(request).expect("a promise");
    effects.clear();
    proposer.on_reply(reply.clone(), &mut effects);
    proposer.on_reply(reply, &mut effects);
    assert_eq!(effects, [], "an answer that came twice is one");
    proposer.resend(&mut effects);
    let again: Vec<Voter> = effects
        .iter()
        .map(|effect| match effect {
            ProposerEffect::Send(request) => request.to,
            ProposerEffect::Finished(outcome) => panic!("{outcome:?}"),
        })
        .collect();
    assert_eq!(again, voters([1, 3, 4, 5]));
}
