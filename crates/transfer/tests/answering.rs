//! The side that is asked: what it refuses, what it bounds, and that rubbish does it no harm.

mod support;

use bytes::Bytes;
use dynamo_merkle::{self as merkle, Call, Entry, Key, LeafPage, NodeSums, PeerError, Shape, Tree};
use dynamo_ring::NodeId;
use dynamo_transfer::{
    Answer, Answering, AnsweringEffect, AnsweringEffects, AnsweringSettings, Ask, MergeRefusal, Page, PartitionView,
    Question, Record, Refused, Reply, StoreFailed, Stored,
};
use proptest::{collection::vec, option, prelude::*};
use support::{EPOCH, PARTITION, Store, bits, hash, key, union};

const SETTINGS: AnsweringSettings = AnsweringSettings {
    exchange: merkle::Settings {
        hash,
        nodes_max: 64,
        entries_max: 1_024,
        keys_bytes_max: 65_536,
        requests_max: 100,
        reply_timeout_us: 1,
    },
    jobs_max: 4,
    jobs_per_peer_max: 3,
    bytes_max: 100,
};

fn shape() -> Shape {
    Shape::new(1).expect("a depth in range")
}

fn store() -> Store {
    let mut store = Store::new(shape(), union);
    (0..20).for_each(|number| store.merge(&key(number), &bits(number, 1)));
    store
}

fn view(tree: &Tree) -> PartitionView<'_> {
    PartitionView { epoch: EPOCH, sealed: false, whole: true, tree: Some(tree) }
}

fn question(ask: Ask) -> Question {
    Question { call: Call { partition: PARTITION, exchange: 2, step: 3 }, epoch: EPOCH, ask }
}

fn fetch() -> Question {
    question(Ask::Fetch { keys: vec![key(1), key(2)], bytes_max: 1_000 })
}

fn push() -> Question {
    let set = bits(1, 1);
    question(Ask::Push(vec![Record { key: key(1), digest: hash(&set), set }]))
}

fn nodes() -> Question {
    let nodes = vec![NodeSums { level: 0, index: 0, sums: [0; 16] }];
    question(Ask::Tree { shape: shape(), ask: merkle::Ask::Nodes(nodes) })
}

fn pages() -> Question {
    let pages = vec![LeafPage { leaf: 0, after: None, entries: vec![], end: true }];
    question(Ask::Tree { shape: shape(), ask: merkle::Ask::Pages(pages) })
}

fn page() -> Question {
    question(Ask::Page { after: Some(key(3)), bytes_max: 1_000 })
}

fn ask(answering: &mut Answering, peer: u128, question: Question, view: PartitionView<'_>) -> AnsweringEffects {
    let mut effects = AnsweringEffects::new();
    answering.on_question(NodeId(peer), 8, question, view, &mut effects).expect("an honest peer");
    effects
}

/// The one reply.
fn reply(effects: &AnsweringEffects) -> &Answer {
    let [AnsweringEffect::Reply { call_id: 8, answer, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    answer
}

#[test]
fn another_epoch_is_refused_and_told_of_this_one() {
    let store = store();
    for asked in [EPOCH - 1, EPOCH + 1] {
        for question in [fetch(), push(), nodes(), pages(), page()] {
            let question = Question { epoch: asked, ..question };
            let effects = ask(&mut Answering::new(SETTINGS), 1, question.clone(), view(&store.tree));
            let expected = Answer {
                call: question.call,
                epoch: EPOCH,
                sealed: false,
                whole: true,
                reply: Reply::Refused(Refused::Epoch),
            };
            assert_eq!(*reply(&effects), expected);
        }
    }
}

#[test]
fn a_partition_that_is_not_served_to_the_peer_is_refused() {
    for question in [fetch(), push(), nodes(), pages(), page()] {
        let view = PartitionView { epoch: EPOCH, sealed: false, whole: true, tree: None };
        let effects = ask(&mut Answering::new(SETTINGS), 1, question, view);
        assert_eq!(reply(&effects).reply, Reply::Refused(Refused::NotServed));
    }
}

#[test]
fn a_sealed_partition_is_read_but_takes_nothing() {
    let store = store();
    let sealed = PartitionView { sealed: true, ..view(&store.tree) };
    let effects = ask(&mut Answering::new(SETTINGS), 1, push(), sealed);
    assert_eq!(reply(&effects).reply, Reply::Refused(Refused::Sealed));
    let effects = ask(&mut Answering::new(SETTINGS), 1, nodes(), sealed);
    assert!(reply(&effects).sealed && matches!(reply(&effects).reply, Reply::Tree(_)));
    for question in [fetch(), pages(), page()] {
        let effects = ask(&mut Answering::new(SETTINGS), 1, question, sealed);
        assert!(!matches!(effects[0], AnsweringEffect::Reply { .. }), "{effects:?}");
    }
}

/// What is read afterwards may hold a write that was applied before the seal; a seal that came meanwhile proves nothing of
/// what was read before.
#[test]
fn an_answer_tells_of_the_seal_as_it_was_when_the_question_came() {
    let store = store();
    for sealed in [false, true] {
        let mut answering = Answering::new(SETTINGS);
        ask(&mut answering, 1, fetch(), PartitionView { sealed, ..view(&store.tree) });
        ask(&mut answering, 2, nodes(), PartitionView { sealed: true, ..view(&store.tree) });
        let mut effects = AnsweringEffects::new();
        answering.on_records(1, Ok(vec![Stored::Absent]), &mut effects);
        assert_eq!((reply(&effects).sealed, &reply(&effects).reply), (sealed, &Reply::Fetched(vec![Stored::Absent])));
    }
}

#[test]
fn questions_that_wait_for_the_store_are_bounded_in_all_and_for_each_peer() {
    let store = store();
    let mut answering = Answering::new(SETTINGS);
    for question in [fetch(), pages(), page()] {
        ask(&mut answering, 1, question, view(&store.tree));
    }
    for question in [fetch(), push(), pages(), page()] {
        let effects = ask(&mut answering, 1, question, view(&store.tree));
        assert_eq!(reply(&effects).reply, Reply::Refused(Refused::Busy));
    }
    assert!(matches!(reply(&ask(&mut answering, 1, nodes(), view(&store.tree))).reply, Reply::Tree(_)));
    assert!(matches!(ask(&mut answering, 2, push(), view(&store.tree))[0], AnsweringEffect::Merge { .. }));
    let effects = ask(&mut answering, 3, fetch(), view(&store.tree));
    assert_eq!(reply(&effects).reply, Reply::Refused(Refused::Busy));
    assert_eq!(answering.jobs(), 4);

    answering.on_lost(NodeId(1));
    assert_eq!(answering.jobs(), 1);
    let mut effects = AnsweringEffects::new();
    answering.on_records(1, Ok(vec![Stored::Absent]), &mut effects);
    assert!(effects.is_empty(), "nobody is there to hear it");
    answering.on_merged(4, Ok(()), &mut effects);
    assert_eq!((&reply(&effects).reply, answering.jobs()), (&Reply::Pushed { refused: 0 }, 0));
    answering.on_merged(4, Ok(()), &mut effects);
    assert_eq!(effects.len(), 1, "a job is done once");
}

#[test]
fn a_refused_merge_tells_why() {
    let store = store();
    let told = |merged: Result<(), MergeRefusal>| {
        let (mut answering, mut effects) = (Answering::new(SETTINGS), AnsweringEffects::new());
        ask(&mut answering, 1, push(), view(&store.tree));
        answering.on_merged(1, merged, &mut effects);
        let Answer { epoch, reply, .. } = reply(&effects).clone();
        (epoch, reply)
    };
    assert_eq!(told(Ok(())), (EPOCH, Reply::Pushed { refused: 0 }));
    assert_eq!(told(Err(MergeRefusal::Some { keys: 1 })), (EPOCH, Reply::Pushed { refused: 1 }));
    assert_eq!(told(Err(MergeRefusal::Sealed)), (EPOCH, Reply::Refused(Refused::Sealed)));
    assert_eq!(told(Err(MergeRefusal::Outdated { epoch: 9 })), (9, Reply::Refused(Refused::Epoch)));
    assert_eq!(told(Err(MergeRefusal::DiskFull)), (EPOCH, Reply::Refused(Refused::DiskFull)));
    assert_eq!(told(Err(MergeRefusal::Failed)), (EPOCH, Reply::Refused(Refused::Failed)));
}

#[test]
fn a_store_that_cannot_be_read_is_told_as_such() {
    let store = store();
    let mut answering = Answering::new(SETTINGS);
    for question in [fetch(), pages(), page()] {
        ask(&mut answering, 1, question, view(&store.tree));
    }
    for ticket in 1..=3 {
        let mut effects = AnsweringEffects::new();
        answering.on_records(ticket, Err(StoreFailed), &mut effects);
        answering.on_leaf(ticket, Err(StoreFailed), &mut effects);
        answering.on_page(ticket, Err(StoreFailed), &mut effects);
        assert_eq!(reply(&effects).reply, Reply::Refused(Refused::Failed));
    }
    assert_eq!(answering.jobs(), 0);
}

#[test]
fn no_answer_is_larger_than_was_asked_for_or_than_this_node_allows() {
    let store = store();
    let large = || Stored::State { set: Bytes::from(vec![7; 60]), digest: 1 };
    let (mut answering, mut effects) = (Answering::new(SETTINGS), AnsweringEffects::new());
    let asked = question(Ask::Fetch { keys: (0..4).map(key).collect(), bytes_max: u32::MAX });
    ask(&mut answering, 1, asked, view(&store.tree));
    answering.on_records(1, Ok(vec![large(), large(), large()]), &mut effects);
    assert_eq!(reply(&effects).reply, Reply::Fetched(vec![large(), large()]));

    let record = |number: usize| Record { key: key(number), set: Bytes::from(vec![7; 60]), digest: 1 };
    let (mut answering, mut effects) = (Answering::new(SETTINGS), AnsweringEffects::new());
    let asked = question(Ask::Page { after: None, bytes_max: 10 });
    ask(&mut answering, 1, asked, view(&store.tree));
    let page = Page { records: (0..4).map(record).collect(), damaged: 0, go_on: None };
    answering.on_page(1, Ok(page), &mut effects);
    let cut = Page { records: vec![record(0)], damaged: 0, go_on: Some(key(0)) };
    assert_eq!(reply(&effects).reply, Reply::Page(cut));
}

#[test]
fn an_answer_has_at_least_one_state_and_none_begins_at_its_bound() {
    let store = store();
    let fetched = |bytes_max: u32| {
        let (mut answering, mut effects) = (Answering::new(SETTINGS), AnsweringEffects::new());
        ask(&mut answering, 1, question(Ask::Fetch { keys: vec![key(1), key(2)], bytes_max }), view(&store.tree));
        let state = Stored::State { set: Bytes::from(vec![7; 11]), digest: 1 };
        answering.on_records(1, Ok(vec![state.clone(), state]), &mut effects);
        let Reply::Fetched(states) = &reply(&effects).reply else { panic!("{effects:?}") };
        states.len()
    };
    // 9 bytes of key, 11 of state.
    assert_eq!((fetched(0), fetched(1), fetched(20), fetched(21)), (1, 1, 1, 2));
}

#[test]
fn a_step_over_a_tree_of_another_shape_is_refused() {
    let tree = Tree::new(Shape::new(2).expect("a depth in range"));
    for question in [nodes(), pages()] {
        let effects = ask(&mut Answering::new(SETTINGS), 1, question, view(&tree));
        assert_eq!(reply(&effects).reply, Reply::Refused(Refused::Shape));
    }
}

#[test]
fn questions_that_cannot_be_are_errors_and_leave_nothing() {
    let store = store();
    let mut answering = Answering::new(SETTINGS);
    let mut told = |ask: Ask| {
        let mut effects = AnsweringEffects::new();
        let told = answering.on_question(NodeId(1), 8, question(ask), view(&store.tree), &mut effects);
        assert_eq!((effects.len(), answering.jobs()), (0, 0));
        told
    };
    let fetch = |count: usize| Ask::Fetch { keys: vec![key(1); count], bytes_max: 1 };
    assert_eq!(told(fetch(0)), Err(PeerError::TooMuch));
    assert_eq!(told(fetch(merkle::ENTRIES_MAX + 1)), Err(PeerError::TooMuch));
    let tree = |ask| Ask::Tree { shape: shape(), ask };
    let node = NodeSums { level: 3, index: 0, sums: [0; 16] };
    assert_eq!(told(tree(merkle::Ask::Nodes(vec![node]))), Err(PeerError::OutOfRange));
    assert_eq!(told(tree(merkle::Ask::Pages(vec![]))), Err(PeerError::Contradiction));
}

/// Anything, some of which may well be asked.
fn rubbish() -> impl Strategy<Value = Ask> {
    let entry = (0usize..30, any::<u64>()).prop_map(|(number, digest)| Entry { key: key(number), digest });
    let page = (0u32..18, option::of((0usize..30).prop_map(key)), vec(entry, 0..2), any::<bool>());
    let page = page.prop_map(|(leaf, after, entries, end)| LeafPage { leaf, after, entries, end });
    let node = (0u8..2, 0u32..2).prop_map(|(level, index)| NodeSums { level, index, sums: [1; 16] });
    let tree = prop_oneof![vec(node, 0..2).prop_map(merkle::Ask::Nodes), vec(page, 0..3).prop_map(merkle::Ask::Pages)];
    let keys = vec((0usize..30).prop_map(key), 0..4);
    let record = |key: Key| Record { key, set: Bytes::new(), digest: 0 };
    prop_oneof![
        tree.prop_map(|ask| Ask::Tree { shape: shape(), ask }),
        (keys.clone(), any::<u32>()).prop_map(|(keys, bytes_max)| Ask::Fetch { keys, bytes_max }),
        keys.prop_map(move |keys| Ask::Push(keys.into_iter().map(record).collect())),
        (option::of((0usize..30).prop_map(key)), any::<u32>())
            .prop_map(|(after, bytes_max)| Ask::Page { after, bytes_max }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn each_question_gets_one_answer_or_is_an_error(asks in vec(rubbish(), 1..20)) {
        let (store, mut answering) = (store(), Answering::new(SETTINGS));
        for ask in asks {
            let mut pending = AnsweringEffects::new();
            let told = answering.on_question(NodeId(1), 8, question(ask), view(&store.tree), &mut pending);
            let mut replies = 0;
            while let Some(effect) = pending.pop() {
                match effect {
                    AnsweringEffect::Reply { .. } => replies += 1,
                    AnsweringEffect::ReadLeaf { read, .. } => answering.on_leaf(read.ticket, Ok(store.leaf(&read)), &mut pending),
                    AnsweringEffect::ReadRecords { ticket, keys, .. } => {
                        answering.on_records(ticket, Ok(store.records(&keys, false)), &mut pending);
                    }
                    AnsweringEffect::ReadPage { ticket, after, .. } => {
                        answering.on_page(ticket, Ok(store.page(after.as_ref(), false)), &mut pending);
                    }
                    AnsweringEffect::Merge { ticket, .. } => answering.on_merged(ticket, Ok(()), &mut pending),
                }
            }
            prop_assert_eq!((replies, answering.jobs()), (usize::from(told.is_ok()), 0));
        }
    }
}
