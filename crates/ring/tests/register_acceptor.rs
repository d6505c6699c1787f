//! A voter: what it says, when it says it, and what it remembers.

use dynamo_ring::{
    NodeId,
    register::{Accepted, Acceptor, AcceptorEffect, Answer, Ask, Ballot, Reply, Request, State, Value, Voter},
};

const ME: Voter = Voter { id: NodeId(1), incarnation: 5 };

fn ballot(counter: u64) -> Ballot {
    Ballot { counter, proposer: Voter { id: NodeId(2), incarnation: 1 } }
}

fn value(payload: &str) -> Value {
    Value::first(vec![ME], payload.into()).expect("a value")
}

fn ask(voter: &mut Acceptor, counter: u64, ask: Ask) -> Vec<AcceptorEffect> {
    let mut effects = Vec::new();
    voter.on_request(counter, Request { to: ME, ballot: ballot(counter), ask }, &mut effects);
    effects
}

fn persisted(voter: &mut Acceptor, ticket: u64) -> Vec<AcceptorEffect> {
    let mut effects = Vec::new();
    voter.on_persisted(ticket, &mut effects);
    effects
}

fn reply(counter: u64, answer: Answer) -> AcceptorEffect {
    AcceptorEffect::Reply { call: counter, reply: Reply { from: ME, ballot: ballot(counter), answer } }
}

/// The state that it wants on the disk, and nothing said.
fn only_persist(effects: Vec<AcceptorEffect>) -> (u64, State) {
    match <[AcceptorEffect; 1]>::try_from(effects) {
        Ok([AcceptorEffect::Persist { ticket, state }]) => (ticket, state),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_said_before_the_disk_has_it() {
    let mut voter = Acceptor::new(ME, None);
    let (first, _) = only_persist(ask(&mut voter, 1, Ask::Prepare));
    let (second, state) = only_persist(ask(&mut voter, 1, Ask::Accept(value("a"))));
    assert_eq!(ask(&mut voter, 1, Ask::Prepare), [], "what it tells is not on the disk yet");
    let promised = reply(1, Answer::Promised { accepted: None });
    assert_eq!(persisted(&mut voter, first), [promised]);
    let accepted = Accepted { ballot: ballot(1), value: value("a") };
    assert_eq!(state.accepted(), Some(&accepted));
    let again = reply(1, Answer::Promised { accepted: Some(accepted) });
    assert_eq!(persisted(&mut voter, second), [reply(1, Answer::Accepted), again.clone()]);
    assert_eq!(ask(&mut voter, 1, Ask::Prepare), [again], "there is nothing to write");
}

#[test]
fn a_later_write_stands_for_the_earlier_ones() {
    let mut voter = Acceptor::new(ME, None);
    only_persist(ask(&mut voter, 1, Ask::Prepare));
    let (last, _) = only_persist(ask(&mut voter, 2, Ask::Prepare));
    assert_eq!(persisted(&mut voter, last).len(), 2);
    assert_eq!(persisted(&mut voter, last + 7), [], "a write that was never asked for");
    let (third, _) = only_persist(ask(&mut voter, 3, Ask::Prepare));
    only_persist(ask(&mut voter, 4, Ask::Prepare));
    assert_eq!(persisted(&mut voter, third), [reply(3, Answer::Promised { accepted: None })]);
}

#[test]
fn what_was_told_survives_a_crash() {
    let mut voter = Acceptor::new(ME, None);
    ask(&mut voter, 4, Ask::Accept(value("a")));
    let (_, state) = only_persist(ask(&mut voter, 6, Ask::Prepare));
    let state = State::decode(&state.encode()).expect("its own state");
    let mut voter = Acceptor::new(ME, Some(state));
    assert_eq!(ask(&mut voter, 5, Ask::Prepare), [reply(5, Answer::Refused { promised: ballot(6) })]);
    assert_eq!(ask(&mut voter, 5, Ask::Accept(value("b"))), [reply(5, Answer::Refused { promised: ballot(6) })]);
    let accepted = Some(Accepted { ballot: ballot(4), value: value("a") });
    assert_eq!(ask(&mut voter, 6, Ask::Prepare), [reply(6, Answer::Promised { accepted })]);
}

/// It did not promise, but it may be among those that accept.
#[test]
fn an_accepted_attempt_is_promised_too() {
    let mut voter = Acceptor::new(ME, None);
    let (ticket, state) = only_persist(ask(&mut voter, 4, Ask::Accept(value("a"))));
    assert_eq!(state.promised(), ballot(4));
    persisted(&mut voter, ticket);
    assert_eq!(ask(&mut voter, 3, Ask::Prepare), [reply(3, Answer::Refused { promised: ballot(4) })]);
    assert_eq!(ask(&mut voter, 4, Ask::Accept(value("a"))), [reply(4, Answer::Accepted)]);
    let second = ask(&mut voter, 4, Ask::Accept(value("b")));
    assert_eq!(second, [reply(4, Answer::Refused { promised: ballot(4) })], "a ballot stands for one value");
}

#[test]
fn another_life_of_the_disk_does_not_answer_for_this_one() {
    let mut voter = Acceptor::new(ME, None);
    for to in [Voter { incarnation: 4, ..ME }, Voter { id: NodeId(3), ..ME }] {
        let mut effects = Vec::new();
        voter.on_request(1, Request { to, ballot: ballot(1), ask: Ask::Prepare }, &mut effects);
        let reply = Reply { from: to, ballot: ballot(1), answer: Answer::Elsewhere { me: ME } };
        assert_eq!(effects, [AcceptorEffect::Reply { call: 1, reply }]);
    }
    assert_eq!(voter.state().promised(), Ballot::NONE);
}

#[test]
fn the_state_of_another_life_is_not_taken_over() {
    let mut before = Acceptor::new(ME, None);
    let (_, state) = only_persist(ask(&mut before, 4, Ask::Accept(value("a"))));
    let now = Voter { incarnation: 6, ..ME };
    let voter = Acceptor::new(now, Some(state));
    assert_eq!((voter.state().me(), voter.state().accepted()), (now, None));
}

#[test]
fn ballots_are_told_once_they_are_on_the_disk_and_never_come_twice() {
    let mut voter = Acceptor::new(ME, None);
    let mut effects = Vec::new();
    voter.mint(None, &mut effects).expect("a ballot");
    let (_, state) = only_persist(effects);
    // A crash: the disk has the ballot, the proposer never heard of it.
    let mut voter = Acceptor::new(ME, Some(state));
    let mut effects = Vec::new();
    voter.mint(None, &mut effects).expect("a ballot");
    let (ticket, _) = only_persist(effects);
    let second = Ballot { counter: 2, proposer: ME };
    assert_eq!(persisted(&mut voter, ticket), [AcceptorEffect::Minted(second)]);
    ask(&mut voter, 9, Ask::Prepare);
    let mut effects = Vec::new();
    voter.mint(Some(ballot(7)), &mut effects).expect("a ballot");
    voter.on_persisted(u64::MAX, &mut effects);
    let third = Ballot { counter: 10, proposer: ME };
    assert_eq!(effects.last(), Some(&AcceptorEffect::Minted(third)), "above what is promised here, and what was told");
}

/// One such message would else be the last that the register ever takes.
#[test]
fn a_ballot_far_ahead_of_all_others_is_not_taken() {
    let mut voter = Acceptor::new(ME, None);
    for counter in [u64::MAX, 1 << 60, (1 << 40) + 1, 0] {
        assert_eq!(ask(&mut voter, counter, Ask::Prepare), []);
    }
    let mut effects = Vec::new();
    voter.mint(Some(ballot(u64::MAX)), &mut effects).expect("a ballot");
    voter.on_persisted(1, &mut effects);
    let Some(AcceptorEffect::Minted(minted)) = effects.pop() else { panic!("not minted") };
    let mut other = Acceptor::new(ME, None);
    only_persist(ask(&mut other, minted.counter, Ask::Prepare));
}

#[test]
fn answers_that_wait_for_a_slow_disk_are_bounded() {
    let mut voter = Acceptor::new(ME, None);
    let mut last = 0;
    for counter in 1..=Acceptor::WAITING_MAX as u64 {
        (last, _) = only_persist(ask(&mut voter, counter, Ask::Prepare));
    }
    assert_eq!(ask(&mut voter, 5000, Ask::Prepare), []);
    assert_eq!(persisted(&mut voter, last).len(), Acceptor::WAITING_MAX);
    only_persist(ask(&mut voter, 5000, Ask::Prepare));
}
