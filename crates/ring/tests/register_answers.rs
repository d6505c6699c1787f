//! Single attempts at the register, by hand: when too few answer, when others were first, and when an answer is none.

mod register_cluster;

use dynamo_ring::register::{
    Accepted, Acceptor, AcceptorEffect, Answer, Ask, Outcome, Proposer, ProposerEffect, Reply, Voter,
};
use register_cluster::{Cluster, ballot, change, chosen, first, voter, voters};

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
    let accepts = cluster.asked.iter().filter(|request| request.ask != Ask::Prepare);
    assert!(
        accepts.clone().count() == 2 && accepts.clone().all(|request| request.to != voter(1)),
        "it refused already"
    );
}

#[test]
fn of_several_that_outbid_an_attempt_it_names_the_last() {
    for order in [[8, 6], [6, 8]] {
        let (mut cluster, first) = (Cluster::new(), first(1..=3));
        for (id, counter) in (1..=2).zip(order) {
            cluster.silence((1..=3).filter(|other| *other != id));
            cluster.run(Proposer::read(ballot(counter, 2), first.clone()));
        }
        cluster.silence([]);
        let outcome = cluster.run(change(ballot(3, 1), &first, 1..=3, "second"));
        assert_eq!(outcome, Outcome::Preempted { by: ballot(8, 2) });
    }
}

#[test]
fn an_attempt_waits_for_those_who_may_know_newer_voters() {
    let (mut cluster, first) = (Cluster::new(), first(1..=3));
    let second = chosen(cluster.run(change(ballot(1, 1), &first, [3, 4, 5], "second")));
    let third = chosen(cluster.run(change(ballot(2, 1), &second, [3, 4, 5], "third")));
    for id in 1..=2 {
        cluster.nodes.remove(&voter(id));
        let wiped = Voter { incarnation: 2, ..voter(id) };
        cluster.nodes.insert(wiped, Acceptor::new(wiped, None));
    }
    // Those of the first voters that answer first are no more, and that is a majority.
    assert_eq!(cluster.run(Proposer::read(ballot(3, 2), first)), Outcome::Chosen(third));
}

#[test]
fn answers_that_make_no_sense_do_nothing() {
    let (me, first) = (ballot(5, 1), first(1..=3));
    let other = first.next(voters(1..=3), b"other".to_vec()).expect("a value");
    let accepted_under = |ballot| Answer::Promised { accepted: Some(Accepted { ballot, value: other.clone() }) };
    let (mut effects, mut proposer) = (Vec::new(), change(me, &first, 1..=3, "mine"));
    proposer.start(&mut effects);
    effects.clear();
    for from in voters(1..=9) {
        for answer in [
            Answer::Accepted,
            Answer::Refused { promised: me },
            Answer::Refused { promised: ballot(4, 9) },
            Answer::Elsewhere { me: from },
            accepted_under(me),
            accepted_under(ballot(6, 1)),
        ] {
            proposer.on_reply(Reply { from, ballot: me, answer }, &mut effects);
        }
        proposer.on_reply(Reply { from, ballot: ballot(4, 1), answer: Answer::Accepted }, &mut effects);
    }
    assert_eq!(effects, []);
    proposer.resend(&mut effects);
    assert_eq!(effects.len(), 3, "nobody answered");
}

/// Such a report can't be: whoever promised after the known value was chosen tells of it, or of a later one.
#[test]
fn a_report_against_what_is_chosen_is_not_built_upon() {
    let (mut cluster, first) = (Cluster::new(), first(1..=3));
    let known = first.next(voters(1..=3), b"known".to_vec()).expect("a value");
    cluster.forget(2..=3);
    cluster.run(change(ballot(1, 1), &first, 1..=3, "other"));
    let outcome = cluster.run(change(ballot(2, 2), &known, 1..=3, "mine"));
    assert!(matches!(outcome, Outcome::NoMajority { .. }), "{outcome:?}");
    assert_eq!(cluster.accepts_sent(), 0);
}

/// A request that came twice is refused the second time when another attempt was in between.
#[test]
fn who_accepted_does_not_take_it_back() {
    let (me, first) = (ballot(1, 1), first(1..=3));
    let (mut effects, mut mine) = (Vec::new(), change(me, &first, 1..=3, "mine"));
    mine.start(&mut effects);
    effects.clear();
    for from in voters(1..=2) {
        mine.on_reply(Reply { from, ballot: me, answer: Answer::Promised { accepted: None } }, &mut effects);
    }
    effects.clear();
    for (from, answer) in [
        (voter(1), Answer::Accepted),
        (voter(1), Answer::Refused { promised: ballot(2, 2) }),
        (voter(3), Answer::Accepted),
    ] {
        mine.on_reply(Reply { from, ballot: me, answer }, &mut effects);
    }
    assert!(matches!(effects[..], [ProposerEffect::Finished(Outcome::Chosen(_))]), "{effects:?}");
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
