//! Questions and answers survive the wire, one spelling each; rubbish is refused and never panics.

use bytes::Bytes;
use dynamo_merkle::{self as merkle, Call, FANOUT, Key, NodeSums, Shape};
use dynamo_transfer::{Answer, Ask, DecodeError, FORMAT, Page, Question, Record, Refused, Reply, Stored};
use proptest::{collection::vec, option, prelude::*};

fn key() -> impl Strategy<Value = Key> {
    vec(any::<u8>(), 1..9).prop_map(Key::from)
}

fn set() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn record() -> impl Strategy<Value = Record> {
    (key(), set(), any::<u64>()).prop_map(|(key, set, digest)| Record { key, set, digest })
}

fn call() -> impl Strategy<Value = Call> {
    (any::<u16>(), any::<u32>(), any::<u32>()).prop_map(|(partition, exchange, step)| Call {
        partition,
        exchange,
        step,
    })
}

fn question() -> impl Strategy<Value = Question> {
    let node =
        (0u8..3, 0u32..99, any::<u64>()).prop_map(|(level, index, sum)| NodeSums { level, index, sums: [sum; FANOUT] });
    let tree = vec(node, 0..3).prop_map(|nodes| Ask::Tree { shape: Shape::default(), ask: merkle::Ask::Nodes(nodes) });
    let fetch = (vec(key(), 0..5), any::<u32>()).prop_map(|(keys, bytes_max)| Ask::Fetch { keys, bytes_max });
    let page = (option::of(key()), any::<u32>()).prop_map(|(after, bytes_max)| Ask::Page { after, bytes_max });
    let ask = prop_oneof![tree, fetch, vec(record(), 0..5).prop_map(Ask::Push), page];
    (call(), any::<u64>(), ask).prop_map(|(call, epoch, ask)| Question { call, epoch, ask })
}

fn stored() -> impl Strategy<Value = Stored> {
    let state = (set(), any::<u64>()).prop_map(|(set, digest)| Stored::State { set, digest });
    prop_oneof![state, Just(Stored::Absent), Just(Stored::Damaged)]
}

fn answer() -> impl Strategy<Value = Answer> {
    let page = (vec(record(), 0..5), any::<u32>(), option::of(key()));
    let refused = [
        Refused::Epoch,
        Refused::NotServed,
        Refused::Sealed,
        Refused::Shape,
        Refused::Busy,
        Refused::DiskFull,
        Refused::Failed,
    ];
    let reply = prop_oneof![
        vec(any::<u16>(), 0..5).prop_map(|masks| Reply::Tree(merkle::Answer::Nodes(masks))),
        vec(stored(), 0..5).prop_map(Reply::Fetched),
        any::<u32>().prop_map(|refused| Reply::Pushed { refused }),
        page.prop_map(|(records, damaged, go_on)| Reply::Page(Page { records, damaged, go_on })),
        proptest::sample::select(refused.to_vec()).prop_map(Reply::Refused),
    ];
    (call(), any::<u64>(), any::<[bool; 2]>(), reply).prop_map(|(call, epoch, [sealed, whole], reply)| Answer {
        call,
        epoch,
        sealed,
        whole,
        reply,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn questions_come_back_as_they_were(question in question()) {
        let bytes = Bytes::from(question.encode());
        prop_assert_eq!(Question::decode(&bytes), Ok(question));
        for cut in 0..bytes.len() {
            prop_assert!(Question::decode(&bytes.slice(..cut)).is_err());
        }
    }

    #[test]
    fn answers_come_back_as_they_were(answer in answer()) {
        let bytes = Bytes::from(answer.encode());
        prop_assert_eq!(Answer::decode(&bytes), Ok(answer));
        for cut in 0..bytes.len() {
            prop_assert!(Answer::decode(&bytes.slice(..cut)).is_err());
        }
    }

    #[test]
    fn damage_is_refused_or_another_message_in_its_one_spelling(
        question in question(),
        answer in answer(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let damaged = |mut bytes: Vec<u8>| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            Bytes::from(bytes)
        };
        check(&damaged(question.encode()));
        check(&damaged(answer.encode()));
    }
}

fn check(bytes: &Bytes) {
    if let Ok(question) = Question::decode(bytes) {
        assert_eq!(question.encode(), *bytes);
    }
    if let Ok(answer) = Answer::decode(bytes) {
        assert_eq!(answer.encode(), *bytes);
    }
}

#[test]
fn arbitrary_bytes_never_panic_and_have_one_spelling() {
    bolero::check!().with_iterations(20_000).for_each(|bytes: &[u8]| {
        check(&Bytes::copy_from_slice(bytes));
        // Most arbitrary bytes fail at the first; these go on to the fields.
        for kind in 1..=9 {
            check(&Bytes::from([&[FORMAT, kind], bytes].concat()));
        }
    });
}

#[test]
fn states_are_not_copied_out_of_the_message() {
    let call = Call { partition: 1, exchange: 2, step: 3 };
    let set = Bytes::from(vec![7; 1_000]);
    let record = Record { key: Key::from([1]), set, digest: 9 };
    let bytes = Bytes::from(Question { call, epoch: 4, ask: Ask::Push(vec![record]) }.encode());
    let Ok(Question { ask: Ask::Push(records), .. }) = Question::decode(&bytes) else { panic!("was a push") };
    assert!(bytes.as_ptr_range().contains(&records[0].set.as_ptr()));
}

#[test]
fn counts_that_cannot_be_true_are_refused() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    for kind in 2..=9 {
        for head in [&[1, 1, 1, 1][..], &[1, 1, 1, 1, 1], &[1, 1, 1, 1, 1, 0], &[1, 1, 1, 1, 1, 0, 0]] {
            let bytes = Bytes::from([&[FORMAT, kind], head, &huge].concat());
            assert!(Question::decode(&bytes).is_err(), "{bytes:?}");
            assert!(Answer::decode(&bytes).is_err(), "{bytes:?}");
        }
    }
}

#[test]
fn a_newer_format_is_told_as_such() {
    let bytes = Bytes::from_static(&[FORMAT + 1, 2]);
    assert_eq!(Question::decode(&bytes), Err(DecodeError::NewerFormat { found: FORMAT + 1 }));
    assert_eq!(Answer::decode(&bytes), Err(DecodeError::NewerFormat { found: FORMAT + 1 }));
}

/// Written down, so that a change of the format does not slip in.
#[test]
fn format_1_is_as_it_was() {
    let call = Call { partition: 300, exchange: 2, step: 1 };
    let digest = [1, 2, 3, 4, 5, 6, 7, 8];
    let record =
        Record { key: Key::from(*b"k"), set: Bytes::from_static(b"state"), digest: u64::from_be_bytes(digest) };
    let record_bytes = [&[1, b'k', 5][..], b"state", &digest].concat();
    let name = [0xac, 2, 2, 1];
    let push = Question { call, epoch: 400, ask: Ask::Push(vec![record.clone()]) };
    assert_eq!(push.encode(), [&[1, 3][..], &name, &[0x90, 3, 1], &record_bytes].concat());
    let fetch = Question { call, epoch: 9, ask: Ask::Fetch { keys: vec![Key::from(*b"k")], bytes_max: 5 } };
    assert_eq!(fetch.encode(), [&[1, 2][..], &name, &[9, 5, 1, 1, b'k']].concat());
    let page = Question { call, epoch: 9, ask: Ask::Page { after: None, bytes_max: 5 } };
    assert_eq!(page.encode(), [&[1, 4][..], &name, &[9, 5, 0]].concat());
    let page = Reply::Page(Page { records: vec![record], damaged: 3, go_on: Some(Key::from(*b"l")) });
    let answer = |reply| Answer { call, epoch: 9, sealed: true, whole: false, reply }.encode();
    assert_eq!(answer(page), [&[1, 8, 9, 1][..], &name, &[3, 1, b'l', 1], &record_bytes].concat());
    let fetched = Reply::Fetched(vec![Stored::Absent, Stored::Damaged]);
    assert_eq!(answer(fetched), [&[1, 6, 9, 1][..], &name, &[2, 0, 1]].concat());
    assert_eq!(answer(Reply::Refused(Refused::Sealed)), [&[1, 9, 9, 1][..], &name, &[2]].concat());
    assert_eq!(answer(Reply::Pushed { refused: 2 }), [&[1, 7, 9, 1][..], &name, &[2]].concat());
}
