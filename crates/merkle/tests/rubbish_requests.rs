//! A peer may ask anything: it gets an error or a bounded answer, nothing panics.

#[path = "support/rubbish.rs"]
mod rubbish;
mod support;

use dynamo_merkle::{
    Answer, Ask, Call, Entry, Key, LeafPage, NODES_MAX, NodeSums, PeerError, Reason, Reply, Request, Responder,
    ResponderEffect, ResponderEffects, Settings, Shape,
};
use proptest::{collection, prelude::*};
use support::{Store, hash, key};

fn shape(depth: u8) -> Shape {
    Shape::new(depth).expect("a depth in range")
}

fn numbered(keys: std::ops::Range<usize>) -> Store {
    Store::with(shape(1), keys.map(|number| (key(number), 1)))
}

/// The first key of leaf 0 from a number on.
fn key_of_leaf_0(from: usize) -> Key {
    (from..).map(key).find(|key| shape(1).leaf_of(hash(key)) == 0).expect("one in sixteen")
}

fn entry(key: Key) -> Entry {
    Entry { key, digest: 5 }
}

fn request(ask: Ask) -> Request {
    Request { call: Call { partition: 7, exchange: 3, step: 0 }, epoch: 1, shape: shape(1), ask }
}

fn page(leaf: u32, keys: &[Key], end: bool) -> LeafPage {
    LeafPage { leaf, after: None, entries: keys.iter().cloned().map(entry).collect(), end }
}

fn asked(request: Request) -> Result<ResponderEffects, PeerError> {
    let (mut responder, mut effects) = (Responder::new(Settings::new(hash)), ResponderEffects::new());
    responder.on_request(request, 1, Some(&numbered(0..160).tree), &mut effects).map(|()| effects)
}

#[test]
fn requests_that_cannot_be_are_named() {
    let (one, other) = (key_of_leaf_0(500), key_of_leaf_0(900));
    let both = [one.clone(), other.clone()];
    assert!(asked(request(Ask::Pages(vec![page(0, &both, true), page(1, &[], true)]))).is_ok());
    let node = |level, index| NodeSums { level, index, sums: [1; 16] };
    let after = LeafPage { after: Some(one.clone()), ..page(0, &both, true) };
    let cases = [
        (PeerError::OutOfRange, Ask::Nodes(vec![node(1, 0)])),
        (PeerError::OutOfRange, Ask::Nodes(vec![node(0, 0), node(0, 1)])),
        (PeerError::OutOfRange, Ask::Nodes(vec![node(255, u32::MAX)])),
        (PeerError::TooMuch, Ask::Nodes(vec![node(0, 0); NODES_MAX + 1])),
        (PeerError::OutOfRange, Ask::Pages(vec![page(16, &[], true)])),
        (PeerError::OutOfRange, Ask::Pages(vec![page(u32::MAX, &[], true)])),
        (PeerError::Unsorted, Ask::Pages(vec![page(0, &[other.clone(), one.clone()], true)])),
        (PeerError::Unsorted, Ask::Pages(vec![page(0, &[one.clone(), one.clone()], true)])),
        (PeerError::Unsorted, Ask::Pages(vec![after])),
        (PeerError::ForeignKey, Ask::Pages(vec![page(1, &both, true)])),
        (PeerError::Contradiction, Ask::Pages(vec![])),
        (PeerError::Contradiction, Ask::Pages(vec![page(0, &[], false)])),
        (PeerError::Contradiction, Ask::Pages(vec![page(0, &both, false), page(1, &[], true)])),
        (PeerError::TooMuch, Ask::Pages(vec![page(0, &[], true); NODES_MAX + 1])),
    ];
    for (error, ask) in cases {
        assert_eq!(asked(request(ask.clone())), Err(error), "{ask:?}");
    }
}

#[test]
fn other_epochs_shapes_and_partitions_are_refused() {
    let refused = |request: Request, tree: bool| {
        let (mut responder, mut effects) = (Responder::new(Settings::new(hash)), ResponderEffects::new());
        let store = numbered(0..9);
        responder.on_request(request, 1, tree.then_some(&store.tree), &mut effects).expect("no error");
        match &effects[0] {
            ResponderEffect::Send(Reply { answer: Answer::Refused { epoch: 1, reason }, .. }) => Some(*reason),
            _ => None,
        }
    };
    let ask = || request(Ask::Pages(vec![page(0, &[], true)]));
    assert_eq!(refused(ask(), true), None);
    assert_eq!(refused(ask(), false), Some(Reason::Epoch));
    assert_eq!(refused(Request { epoch: 0, ..ask() }, true), Some(Reason::Epoch));
    assert_eq!(refused(Request { epoch: 2, ..ask() }, true), Some(Reason::Epoch));
    assert_eq!(refused(Request { shape: shape(2), ..ask() }, true), Some(Reason::Shape));
}

/// An honest initiator has at most the first page begin within its leaf.
#[test]
fn pages_that_begin_within_their_leaves_are_answered_in_their_ranges() {
    let store = numbered(0..160);
    let keys_of =
        |leaf: u32| -> Vec<Key> { (0..160).map(key).filter(|key| shape(1).leaf_of(hash(key)) == leaf).collect() };
    let pages: Vec<LeafPage> =
        (0..3).map(|leaf| LeafPage { after: Some(keys_of(leaf)[2].clone()), ..page(leaf, &[], true) }).collect();
    let diffs = |entries_max: usize| {
        let mut responder = Responder::new(Settings { entries_max, ..Settings::new(hash) });
        let mut effects = ResponderEffects::new();
        responder.on_request(request(Ask::Pages(pages.clone())), 1, Some(&store.tree), &mut effects).expect("as asked");
        while let Some(ResponderEffect::ReadLeaf(read)) = effects.first().cloned() {
            effects.clear();
            let (page, end) = store.page(&read);
            responder.on_leaf_page(read.ticket, page, end, &mut effects);
        }
        let Some(ResponderEffect::Send(Reply { answer: Answer::Pages(diffs), .. })) = effects.pop() else {
            panic!("replies")
        };
        diffs
    };
    let all = diffs(1_000);
    for (leaf, diff) in (0..3).zip(&all) {
        assert!(diff.extra.iter().map(|entry| &entry.key).eq(&keys_of(leaf)[3..]), "leaf {leaf}");
    }
    // Full at the end of a leaf: the next one is not begun, so nothing is said of it.
    assert_eq!(diffs(all[0].extra.len()), all[..1]);
    assert_eq!(diffs(all[0].extra.len() + all[1].extra.len()), all[..2]);
}

#[test]
fn a_second_request_before_the_reply_is_refused_and_another_exchange_displaces_the_first() {
    let (store, mut effects) = (numbered(0..160), ResponderEffects::new());
    let mut responder = Responder::new(Settings::new(hash));
    let ask = |exchange| {
        let request = request(Ask::Pages(vec![page(0, &[], true)]));
        Request { call: Call { exchange, ..request.call }, ..request }
    };
    let mut on_request = |responder: &mut Responder, exchange| {
        let told = responder.on_request(ask(exchange), 1, Some(&store.tree), &mut effects);
        (told, effects.pop())
    };
    let (_, first) = on_request(&mut responder, 3);
    let (_, second) = on_request(&mut responder, 4);
    let (Some(ResponderEffect::ReadLeaf(first)), Some(ResponderEffect::ReadLeaf(second))) = (first, second) else {
        panic!("reads")
    };
    let mut effects = ResponderEffects::new();
    let (entries, end) = store.page(&first);
    responder.on_leaf_page(first.ticket, entries.clone(), end, &mut effects);
    assert!(effects.is_empty());
    responder.on_leaf_page(second.ticket, entries, end, &mut effects);
    let [ResponderEffect::Send(reply)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(reply.call.exchange, 4);
    effects.clear();
    responder.on_request(ask(5), 1, Some(&store.tree), &mut effects).expect("it may be so");
    let impatient = responder.on_request(ask(5), 1, Some(&store.tree), &mut effects);
    assert_eq!((impatient, responder.is_idle()), (Err(PeerError::Impatient), true));
}
#[test]
fn a_store_that_cannot_be_read_is_a_refusal() {
    let (store, call) = (numbered(0..9), Call { partition: 7, exchange: 3, step: 0 });
    let (mut responder, mut effects) = (Responder::new(Settings::new(hash)), ResponderEffects::new());
    let request = request(Ask::Pages(vec![page(0, &[], true)]));
    responder.on_request(request, 1, Some(&store.tree), &mut effects).expect("honest");
    let ResponderEffect::ReadLeaf(read) = effects.remove(0) else { panic!("reads") };
    responder.on_leaf_failed(read.ticket + 1, 1, &mut effects);
    responder.on_leaf_page(read.ticket + 1, vec![], true, &mut effects);
    assert!(effects.is_empty() && !responder.is_idle());
    responder.on_leaf_failed(read.ticket, 1, &mut effects);
    let answer = Answer::Refused { epoch: 1, reason: Reason::Failed };
    assert_eq!(effects.to_vec(), [ResponderEffect::Send(Reply { call, answer })]);
}

#[test]
#[should_panic(expected = "out of order")]
fn a_store_that_gives_keys_out_of_order_is_a_broken_invariant() {
    let (store, mut effects) = (numbered(0..160), ResponderEffects::new());
    let mut responder = Responder::new(Settings::new(hash));
    let request = request(Ask::Pages(vec![page(0, &[], true)]));
    responder.on_request(request, 1, Some(&store.tree), &mut effects).expect("it may be so");
    let ResponderEffect::ReadLeaf(read) = &effects[0] else { panic!("reads") };
    let (mut entries, end) = store.page(read);
    entries.reverse();
    responder.on_leaf_page(read.ticket, entries, end, &mut ResponderEffects::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn arbitrary_requests_are_answered_refused_or_errors(requests in collection::vec(rubbish::request(), 1..10)) {
        let store = numbered(0..40);
        let mut responder = Responder::new(Settings { entries_max: 3, ..Settings::new(hash) });
        for mut request in requests {
            (request.epoch, request.shape) = (1, shape(1));
            let mut effects = ResponderEffects::new();
            let told = responder.on_request(request, 1, Some(&store.tree), &mut effects);
            prop_assert_eq!(told.is_err(), effects.is_empty());
            let mut reads = 0;
            while let Some(ResponderEffect::ReadLeaf(read)) = effects.pop() {
                let (page, end) = store.page(&read);
                responder.on_leaf_page(read.ticket, page, end, &mut effects);
                reads += 1;
            }
            prop_assert!(reads < 100 && responder.is_idle());
        }
    }
}
