//! A register's values and voters' states come back from their bytes; what is damaged, or none, is refused and never
//! panics.

use dynamo_ring::{
    NodeId,
    register::{Acceptor, AcceptorEffect, Ask, Ballot, REGISTER_FORMAT, RegisterError, Request, State, Value, Voter},
};
use md5::{Digest, Md5};
use proptest::{collection, prelude::*, sample::Index};

fn voter() -> impl Strategy<Value = Voter> {
    (any::<u128>(), any::<u64>()).prop_map(|(id, incarnation)| Voter { id: NodeId(id), incarnation })
}

fn voters() -> impl Strategy<Value = Vec<Voter>> {
    collection::btree_map(any::<u128>(), any::<u64>(), 1..9)
        .prop_map(|voters| voters.into_iter().map(|(id, incarnation)| Voter { id: NodeId(id), incarnation }).collect())
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    collection::vec(any::<u8>(), 0..300)
}

fn value() -> impl Strategy<Value = Value> {
    (voters(), payload(), collection::vec((voters(), payload()), 0..3)).prop_map(|(first, payload, changes)| {
        let first = Value::first(first, payload).expect("a value");
        changes.into_iter().fold(first, |value, (voters, payload)| value.next(voters, payload).expect("a value"))
    })
}

/// The newest state that a voter wants on its disk after having been asked.
fn state_after(me: Voter, counter: u64, asks: Vec<Ask>) -> State {
    let mut voter = Acceptor::new(me, None);
    let mut effects = Vec::new();
    for (ask, counter) in asks.into_iter().zip(counter..) {
        voter.on_request(0, Request { to: me, ballot: Ballot { counter, proposer: me }, ask }, &mut effects);
    }
    voter.mint(None, &mut effects).expect("a ballot");
    let states = effects.into_iter().rev().find_map(|effect| match effect {
        AcceptorEffect::Persist { state, .. } => Some(state),
        _ => None,
    });
    states.expect("the minted ballot's")
}

fn state() -> impl Strategy<Value = State> {
    let ask = prop_oneof![Just(Ask::Prepare), value().prop_map(Ask::Accept)];
    (voter(), 1..1000_u64, collection::vec(ask, 0..3)).prop_map(|(me, counter, asks)| state_after(me, counter, asks))
}

fn sample_value() -> Value {
    let voter = |id| Voter { id: NodeId(id), incarnation: 7 };
    let first = Value::first(vec![voter(1), voter(2)], b"one".to_vec()).expect("a value");
    first.next(vec![voter(2), voter(3)], b"two".to_vec()).expect("a value")
}

fn sample_state() -> State {
    state_after(Voter { id: NodeId(9), incarnation: 3 }, 4, vec![Ask::Accept(sample_value()), Ask::Prepare])
}

/// The bytes with a check that fits, so that what stands behind it is reached.
fn checked(body: &[u8]) -> Vec<u8> {
    let sum: [u8; 16] = Md5::digest(body).into();
    [body, &sum[..8]].concat()
}

/// What is taken keeps its bytes, and no bytes are both a value and a state.
fn takes_only_its_own(bytes: &[u8]) {
    let (value, state) = (Value::decode(bytes), State::decode(bytes));
    assert!(value.is_err() || state.is_err());
    if let Ok(value) = value {
        assert_eq!(value.encode(), bytes);
        assert!(!value.voters().is_empty());
        assert_eq!(value.previous_voters().is_empty(), value.version() == 1);
    }
    if let Ok(state) = state {
        assert_eq!(state.encode(), bytes);
        assert!(state.accepted().is_none_or(|accepted| accepted.ballot <= state.promised()));
    }
}

proptest! {
    #[test]
    fn values_come_back(value in value()) {
        prop_assert_eq!(Value::decode(&value.encode()), Ok(value));
    }

    #[test]
    fn states_come_back(state in state()) {
        prop_assert_eq!(State::decode(&state.encode()), Ok(state));
    }

    #[test]
    fn the_order_in_which_voters_are_named_does_not_matter(voters in voters(), payload in payload(), turn: Index) {
        let mut others = voters.clone();
        others.rotate_left(turn.index(voters.len()));
        let encode = |voters| Value::first(voters, payload.clone()).expect("a value").encode();
        prop_assert_eq!(encode(voters), encode(others));
    }

    #[test]
    fn damage_is_noticed(at: Index, bit in 0..8_u8, length: Index) {
        let (value, state) = (sample_value().encode(), sample_state().encode());
        for good in [value, state] {
            let mut bytes = good.clone();
            bytes[at.index(good.len())] ^= 1 << bit;
            for bad in [&bytes[..], &good[..length.index(good.len())]] {
                prop_assert!(Value::decode(bad).is_err() && State::decode(bad).is_err());
            }
        }
    }
}

#[test]
fn each_byte_changed_under_a_fitting_check_never_panics() {
    for good in [sample_value().encode(), sample_state().encode()] {
        for at in 0..good.len() - 8 {
            for value in 0..=u8::MAX {
                let mut body = good[..good.len() - 8].to_vec();
                body[at] = value;
                takes_only_its_own(&checked(&body));
            }
            takes_only_its_own(&checked(&good[..at]));
        }
    }
}

#[test]
fn arbitrary_bytes_never_panic() {
    bolero::check!().with_iterations(20_000).for_each(|bytes: &[u8]| {
        takes_only_its_own(bytes);
        for kind in *b"VS" {
            takes_only_its_own(&checked(&[&[kind, REGISTER_FORMAT], bytes].concat()));
        }
    });
}

#[test]
fn a_newer_format_is_told_as_such() {
    let newer = RegisterError::NewerFormat { found: REGISTER_FORMAT + 1, known: REGISTER_FORMAT };
    let mut value = sample_value().encode();
    value[1] += 1;
    assert_eq!(Value::decode(&value), Err(newer.clone()));
    let mut state = sample_state().encode();
    state[1] += 1;
    assert_eq!(State::decode(&state), Err(newer));
}

#[test]
fn what_makes_no_value_is_refused() {
    let voter = |id, incarnation| Voter { id: NodeId(id), incarnation };
    assert_eq!(Value::first(vec![], vec![]), Err(RegisterError::NoVoters));
    let twice = vec![voter(1, 1), voter(2, 1), voter(1, 2)];
    assert_eq!(Value::first(twice, vec![]), Err(RegisterError::VoterTwice(NodeId(1))));
    let crowd = (0..=u128::from(u16::MAX)).map(|id| voter(id, 1)).collect();
    assert_eq!(Value::first(crowd, vec![]), Err(RegisterError::TooManyVoters(65_536)));
    let long = vec![0; dynamo_ring::register::PAYLOAD_BYTES_MAX + 1];
    assert_eq!(Value::first(vec![voter(1, 1)], long), Err(RegisterError::PayloadTooLong(8_388_609)));
}
