//! The encoding is canonical, and decoding takes nothing else, whatever bytes come.

#[path = "support/rubbish.rs"]
mod rubbish;

use dynamo_merkle::{
    Answer, Ask, Call, Covered, DecodeError, Entry, FORMAT, Key, LeafDiff, LeafPage, Message, NodeSums, Reason, Reply,
    Request, Roots, RootsAnswer, Shape,
};
use proptest::{collection, prelude::*, sample::Index};

const CALL: Call = Call { partition: 300, exchange: 2, step: 1 };

/// What is decoded encodes to the same bytes.
fn takes_only_canonical(bytes: &[u8]) {
    let Ok(message) = Message::decode(bytes) else { return };
    assert_eq!(message.encode(), bytes, "{message:?}");
}

fn entries(keys: &[&str]) -> Vec<Entry> {
    keys.iter().map(|key| Entry { key: key.as_bytes().into(), digest: 0x0102_0304_0506_0708 }).collect()
}

fn page() -> LeafPage {
    let entries = entries(&["apple", "apples", "apricot", "b"]);
    LeafPage { leaf: 200, after: Some(Key::from(*b"app")), entries, end: true }
}

fn diff() -> LeafDiff {
    let covered = Covered::UpTo(Key::from(*b"b"));
    LeafDiff { missing: vec![0, 2], differing: vec![(1, 9), (3, 8)], extra: entries(&["a", "ab"]), covered }
}

fn request(ask: Ask) -> Message {
    Message::Request(Request { call: CALL, epoch: 400, shape: Shape::default(), ask })
}

fn reply(answer: Answer) -> Message {
    Message::Reply(Reply { call: CALL, answer })
}

/// One of each kind.
fn samples() -> Vec<Message> {
    let mut sums = [0; 16];
    (sums[1], sums[15]) = (7, u64::MAX);
    let last = LeafPage { end: false, after: None, ..page() };
    vec![
        Message::Roots(Roots { round: 1, epoch: 400, roots: vec![(0, 5), (1, 6), (300, 7)] }),
        Message::RootsAnswer(RootsAnswer { round: 1, epoch: 400, differing: vec![0, 9], refused: vec![65_535] }),
        request(Ask::Nodes(vec![NodeSums { level: 1, index: 15, sums }])),
        request(Ask::Pages(vec![page(), last])),
        reply(Answer::Nodes(vec![0, 0x8001])),
        reply(Answer::Pages(vec![LeafDiff { covered: Covered::Whole, ..diff() }, diff()])),
        reply(Answer::Refused { epoch: 401, reason: Reason::Shape }),
    ]
}

/// Whether canonical encoding can say it: lists that ascend, and no empty keys.
fn is_sorted(message: &Message) -> bool {
    let entries = |entries: &[Entry]| {
        entries.is_sorted_by(|one, next| one.key < next.key) && entries.iter().all(|entry| !entry.key.is_empty())
    };
    let ascend = |list: &[u16]| list.is_sorted_by(|one, next| one < next);
    match message {
        Message::Roots(roots) => roots.roots.is_sorted_by(|one, next| one.0 < next.0),
        Message::RootsAnswer(answer) => ascend(&answer.differing) && ascend(&answer.refused),
        Message::Request(Request { ask: Ask::Pages(pages), .. }) => {
            pages.iter().all(|page| entries(&page.entries) && page.after.as_ref().is_none_or(|after| !after.is_empty()))
        }
        Message::Reply(Reply { answer: Answer::Pages(diffs), .. }) => diffs.iter().all(|diff| {
            entries(&diff.extra)
                && diff.missing.is_sorted_by(|one, next| one < next)
                && diff.differing.is_sorted_by(|one, next| one.0 < next.0)
                && diff.covered != Covered::UpTo(Key::from([]))
        }),
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn messages_come_back_and_those_out_of_order_do_not(message in rubbish::message()) {
        let bytes = message.encode();
        takes_only_canonical(&bytes);
        let decoded = Message::decode(&bytes);
        prop_assert_eq!(decoded.as_ref() == Ok(&message), is_sorted(&message), "{:?}", decoded);
    }

    #[test]
    fn changed_bytes_never_panic_and_are_canonical_or_refused(
        message in rubbish::message(),
        changes in collection::vec((any::<Index>(), any::<u8>()), 1..4),
        cut in any::<Index>(),
    ) {
        let mut bytes = message.encode();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        takes_only_canonical(&bytes);
        takes_only_canonical(&bytes[..cut.index(bytes.len())]);
    }
}

#[test]
fn arbitrary_bytes_never_panic_and_are_canonical_or_refused() {
    bolero::check!().with_iterations(50_000).for_each(|bytes: &[u8]| {
        takes_only_canonical(bytes);
        takes_only_canonical(&[&[FORMAT], bytes].concat());
        for kind in 1..=7 {
            takes_only_canonical(&[&[FORMAT, kind], bytes].concat());
            takes_only_canonical(&[&[FORMAT, kind, 1, 2, 3, 4, 3], bytes].concat());
        }
    });
}

#[test]
fn each_single_byte_changed_is_canonical_or_refused() {
    for good in samples().iter().map(Message::encode) {
        for at in 0..good.len() {
            for value in 0..=u8::MAX {
                let mut bytes = good.clone();
                bytes[at] = value;
                takes_only_canonical(&bytes);
            }
        }
    }
}

#[test]
fn cut_and_prolonged_encodings_are_refused() {
    for message in samples() {
        let good = message.encode();
        assert_eq!(Message::decode(&good), Ok(message));
        for length in 0..good.len() {
            assert!(Message::decode(&good[..length]).is_err(), "{length} of {} bytes", good.len());
        }
        assert_eq!(Message::decode(&[&good[..], &[0]].concat()), Err(DecodeError::TrailingBytes));
    }
}

#[test]
fn a_newer_format_is_told_as_such() {
    for message in samples() {
        let mut bytes = message.encode();
        bytes[0] = FORMAT + 1;
        assert_eq!(Message::decode(&bytes), Err(DecodeError::NewerFormat { found: FORMAT + 1 }));
    }
}

/// Written down, so that a change of the format does not slip in.
#[test]
fn a_page_is_encoded_as_in_format_1() {
    let digest = [1, 2, 3, 4, 5, 6, 7, 8];
    let expected = [
        &[1, 4, 0xac, 0x02, 2, 1, 0x90, 0x03, 3, 1, 0xc8, 0x01][..],
        &[3, b'a', b'p', b'p'],
        &[4, 0, 5, b'a', b'p', b'p', b'l', b'e'],
        &digest,
        &[5, 1, b's'],
        &digest,
        &[2, 5, b'r', b'i', b'c', b'o', b't'],
        &digest,
        &[0, 1, b'b'],
        &digest,
        &[1],
    ];
    assert_eq!(request(Ask::Pages(vec![page()])).encode(), expected.concat());
}

#[test]
fn a_reply_is_encoded_as_in_format_1() {
    let digest = [1, 2, 3, 4, 5, 6, 7, 8];
    let expected = [
        &[1, 6, 0xac, 0x02, 2, 1, 1][..],
        &[2, 0, 1],
        &[2, 1, 0, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0, 0, 0, 0, 0, 8],
        &[2, 0, 1, b'a'],
        &digest,
        &[1, 1, b'b'],
        &digest,
        &[1, b'b'],
    ];
    assert_eq!(reply(Answer::Pages(vec![diff()])).encode(), expected.concat());
}

/// Common beginnings travel once: 12 bytes of message claim 60,000 bytes of memory, if one lets them.
#[test]
fn a_small_message_does_not_become_large_in_memory() {
    let long = vec![b'x'; 60_000];
    let keys = (0..100u32).map(|number| [&long[..], &number.to_be_bytes()].concat());
    let entries: Vec<Entry> = keys.map(|key| Entry { key: key.into(), digest: 1 }).collect();
    let bytes = request(Ask::Pages(vec![LeafPage { leaf: 0, after: None, entries, end: true }])).encode();
    assert!(bytes.len() < 64_000);
    assert_eq!(Message::decode(&bytes), Err(DecodeError::TooMuch));
}

#[test]
fn more_than_a_message_may_have_is_refused() {
    let short = |count: u32| (0..count).map(|key| Entry { key: key.to_be_bytes().into(), digest: 1 }).collect();
    let pages = |count: usize, entries: u32| {
        let page = LeafPage { leaf: 0, after: None, entries: short(entries), end: true };
        Message::decode(&request(Ask::Pages(vec![page; count])).encode()).map(|_| ())
    };
    assert_eq!((pages(256, 1), pages(1, 8_192)), (Ok(()), Ok(())));
    assert_eq!((pages(257, 1), pages(2, 4_097)), (Err(DecodeError::TooMuch), Err(DecodeError::TooMuch)));
    let masks = |count| Message::decode(&reply(Answer::Nodes(vec![1; count])).encode()).map(|_| ());
    assert_eq!((masks(256), masks(257)), (Ok(()), Err(DecodeError::TooMuch)));
    let nodes = vec![NodeSums { level: 0, index: 0, sums: [1; 16] }; 257];
    assert_eq!(Message::decode(&request(Ask::Nodes(nodes)).encode()), Err(DecodeError::TooMuch));
    let missing = |count| reply(Answer::Pages(vec![LeafDiff { missing: (0..count).collect(), ..diff() }]));
    assert!(Message::decode(&missing(8_192).encode()).is_ok());
    assert_eq!(Message::decode(&missing(8_193).encode()), Err(DecodeError::TooMuch));
    let covered = |length| Covered::UpTo(vec![1; length].into());
    let diff = |length| reply(Answer::Pages(vec![LeafDiff { covered: covered(length), ..diff() }]));
    assert!(Message::decode(&diff(65_535).encode()).is_ok());
    assert_eq!(Message::decode(&diff(65_536).encode()), Err(DecodeError::TooMuch));
}

#[test]
fn numbers_have_one_spelling_and_no_more_than_their_bits() {
    let refused = |epoch: &[u8]| Message::decode(&[&[FORMAT, 7, 1, 1, 1], epoch, &[0]].concat());
    let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    assert!(refused(&largest).is_ok() && refused(&[0x80, 1]).is_ok());
    let beyond = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 3];
    let longer = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0];
    for bad in [&beyond[..], &longer, &[0x80, 0], &[0x81, 0x80, 0]] {
        assert!(matches!(refused(bad), Err(DecodeError::NotCanonical(_))), "{bad:?}");
    }
    assert!(Message::decode(&[FORMAT, 7, 0xff, 0xff, 3, 1, 1, 1, 0]).is_ok());
    assert!(Message::decode(&[FORMAT, 7, 0x80, 0x80, 4, 1, 1, 1, 0]).is_err(), "a partition of 17 bits");
    assert!(Message::decode(&[FORMAT, 7, 1, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 1, 0]).is_err(), "an exchange of 33");
}

#[test]
fn counts_that_cannot_be_true_are_refused_before_anything_is_allocated() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    for kind in 1..=6 {
        for head in [&[1, 1][..], &[1, 1, 1], &[1, 1, 1, 1, 3], &[1, 1, 1, 1, 3, 1, 1, 0]] {
            let bytes = [&[FORMAT, kind], head, &huge].concat();
            assert!(Message::decode(&bytes).is_err(), "{bytes:?}");
        }
    }
}
