//! What keepers say to each other: what is written can be read, and whatever else comes is refused without harm.

use bytes::Bytes;
use dynamo_keeper::collect::{Item, Items, RoundAsk, RoundReply, Stage};
use dynamo_keeper::{Answer, Mark, Question, Report, Started, report::FillReport};
use dynamo_ring::NodeId;
use dynamo_ring::register::{self, Ballot, Value, Voter};
use dynamo_transfer::{RootsQuestion, RootsReply};

fn voter(id: u128) -> Voter {
    Voter { id: NodeId(id), incarnation: 7 }
}

fn value() -> Value {
    Value::first(vec![voter(1), voter(2)], b"charter".to_vec()).unwrap().next(vec![voter(1)], vec![]).unwrap()
}

fn report() -> Report {
    let fill = FillReport { partition: 9, caught_up: vec![NodeId(1), NodeId(2)], complete: vec![NodeId(2)] };
    let fills = vec![fill.clone(), FillReport { partition: 10, complete: vec![], ..fill }];
    let blocked = "the disk is full".to_owned();
    let lacking = vec![9, 300];
    Report { version: 3, incarnation: 4, sealed: true, lacking, fills, bytes: 5, leftovers: 6, refilling: 7, blocked }
}

fn items() -> Items {
    let item = |key: &'static [u8], digest| Item { key: Bytes::from_static(key), digest };
    Items { version: 3, partition: 4, items: vec![item(b"one", 5), item(b"", u64::MAX)] }
}

fn reply() -> RoundReply {
    let (stage, partitions) = (Stage::Passed, [0, u16::MAX].into());
    RoundReply { round: 1, version: 2, stage, boot: 3, done: true, found: 4, more: false, partitions }
}

fn questions() -> Vec<Question> {
    let ballot = Ballot { counter: 3, proposer: voter(1) };
    let vote = |ask| Question::Vote(register::Request { to: voter(2), ballot, ask });
    vec![
        vote(register::Ask::Prepare),
        vote(register::Ask::Accept(value())),
        vote(register::Ask::Look { newer_than: u64::MAX }),
        Question::Attest { incarnation: u64::MAX },
        Question::Recall(Started { life: 1, generation: u64::MAX, lot: 3, found: 4, durable: 5 }),
        Question::Pull { version: 9 },
        Question::Tell(value()),
        Question::Report { version: 1 },
        Question::Seal { version: 2 },
        Question::Roots(RootsQuestion::Digest { round: 1, epoch: 2, digest: 3 }),
        Question::Round(RoundAsk { round: 7, version: 8, stage: Stage::Collect, partitions: [3, 700].into() }),
        Question::Round(RoundAsk { round: 7, version: 8, stage: Stage::Open, partitions: [].into() }),
        Question::Held(items()),
        Question::Collect(items()),
    ]
}

fn answers() -> Vec<Answer> {
    let ballot = Ballot { counter: 3, proposer: voter(1) };
    let vote = |answer| Answer::Vote(register::Reply { from: voter(2), ballot, answer });
    let accepted = register::Accepted { ballot, value: value() };
    vec![
        vote(register::Answer::Promised { accepted: None }),
        vote(register::Answer::Promised { accepted: Some(accepted.clone()) }),
        vote(register::Answer::Seen { accepted: None }),
        vote(register::Answer::Seen { accepted: Some(accepted) }),
        vote(register::Answer::Accepted),
        vote(register::Answer::Refused { promised: ballot }),
        vote(register::Answer::Elsewhere { me: voter(9) }),
        Answer::Attested { incarnation: 3 },
        Answer::Newer(None),
        Answer::Newer(Some(value())),
        Answer::Report(report()),
        Answer::Report(Report::default()),
        Answer::Roots(RootsReply::Digest { round: 1, epoch: 2, same: true }),
        Answer::Recalled { mark: None, newest_life: 4 },
        Answer::Recalled { mark: Some(Mark { generation: 1, lot: 2, durable: 3 }), newest_life: 4 },
        Answer::Round(reply()),
        Answer::Round(RoundReply { done: false, more: true, partitions: [].into(), ..reply() }),
        Answer::Collected { changed: 9 },
        Answer::Unable,
    ]
}

#[test]
fn what_is_written_can_be_read() {
    for question in questions() {
        assert_eq!(Question::decode(&question.encode().into()), Ok(question));
    }
    for answer in answers() {
        assert_eq!(Answer::decode(&answer.encode().into()), Ok(answer));
    }
}

#[test]
fn what_is_cut_short_or_goes_on_is_refused() {
    let questions = questions().into_iter().map(|question| question.encode());
    for bytes in questions {
        for length in 0..bytes.len() {
            assert!(Question::decode(&Bytes::copy_from_slice(&bytes[..length])).is_err(), "{bytes:?} cut at {length}");
        }
        assert!(Question::decode(&[&bytes[..], &[0]].concat().into()).is_err(), "{bytes:?} and more");
    }
    for answer in answers() {
        let bytes = answer.encode();
        for length in 0..bytes.len() {
            // One with nothing newer is the kind alone.
            let cut = Answer::decode(&Bytes::copy_from_slice(&bytes[..length]));
            assert!(cut.is_err() || cut == Ok(Answer::Newer(None)), "{answer:?} cut at {length}");
        }
        assert!(Answer::decode(&[&bytes[..], &[0]].concat().into()).is_err(), "{answer:?} and more");
    }
}

/// The answers are as many as the list is long: cut at its end it is a shorter list, which its asker refuses.
#[test]
fn what_a_home_has_can_be_read() {
    let held = Answer::Held { version: 5, same: vec![true, false, true] };
    let bytes = held.encode();
    assert_eq!(Answer::decode(&bytes.clone().into()), Ok(held));
    assert!((0..9).all(|length| Answer::decode(&Bytes::copy_from_slice(&bytes[..length])).is_err()));
    assert!(Answer::decode(&[&bytes[..], &[2]].concat().into()).is_err());
}

#[test]
fn arbitrary_bytes_never_panic() {
    bolero::check!().with_iterations(20_000).for_each(|bytes: &[u8]| {
        for kind in 0..14 {
            let bytes = Bytes::from([&[kind], bytes].concat());
            let _ = (Question::decode(&bytes), Answer::decode(&bytes));
        }
    });
}
