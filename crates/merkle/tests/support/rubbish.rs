//! Messages of all kinds, most of them nonsense.
#![allow(dead_code, reason = "each test file uses a part")]

use dynamo_merkle::{
    Answer, Ask, Call, Covered, Entry, FANOUT, Key, LeafDiff, LeafPage, Message, NodeSums, Reason, Reply, Request,
    Roots, RootsAnswer, Shape,
};
use proptest::{collection::vec, option, prelude::*};

/// Numbers of all lengths, small ones often.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0u64..20, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn number32() -> impl Strategy<Value = u32> {
    number().prop_map(|number| number as u32)
}

fn key() -> impl Strategy<Value = Key> {
    let bytes = prop_oneof![8 => vec(0u8..4, 1..4), 1 => vec(any::<u8>(), 0..3), 1 => Just(vec![1; 300])];
    bytes.prop_map(Key::from)
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = (key(), number()).prop_map(|(key, digest)| Entry { key, digest });
    (vec(entry, 0..6), any::<bool>()).prop_map(|(mut entries, sorted)| {
        if sorted {
            entries.sort_by(|one, other| one.key.cmp(&other.key));
            entries.dedup_by(|one, other| one.key == other.key);
        }
        entries
    })
}

fn node() -> impl Strategy<Value = NodeSums> {
    (0u8..4, number32(), vec(number(), FANOUT)).prop_map(|(level, index, sums)| NodeSums {
        level,
        index,
        sums: sums.try_into().expect("sixteen"),
    })
}

fn page() -> impl Strategy<Value = LeafPage> {
    (number32(), option::of(key()), entries(), any::<bool>()).prop_map(|(leaf, after, entries, end)| LeafPage {
        leaf,
        after,
        entries,
        end,
    })
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![vec(node(), 0..4).prop_map(Ask::Nodes), vec(page(), 0..4).prop_map(Ask::Pages)]
}

pub fn diff() -> impl Strategy<Value = LeafDiff> {
    let covered = prop_oneof![3 => Just(Covered::Whole), 1 => key().prop_map(Covered::UpTo)];
    (vec(number32(), 0..4), vec((number32(), number()), 0..4), entries(), covered)
        .prop_map(|(missing, differing, extra, covered)| LeafDiff { missing, differing, extra, covered })
}

pub fn answer() -> impl Strategy<Value = Answer> {
    let reason = prop_oneof![Just(Reason::Epoch), Just(Reason::Shape), Just(Reason::Busy), Just(Reason::Failed)];
    prop_oneof![
        vec(any::<u16>(), 0..4).prop_map(Answer::Nodes),
        vec(diff(), 0..4).prop_map(Answer::Pages),
        (number(), reason).prop_map(|(epoch, reason)| Answer::Refused { epoch, reason }),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    (any::<u16>(), number32(), number32()).prop_map(|(partition, exchange, step)| Call { partition, exchange, step })
}

pub fn request() -> impl Strategy<Value = Request> {
    (call(), number(), 1u8..=5, ask()).prop_map(|(call, epoch, depth, ask)| Request {
        call,
        epoch,
        shape: Shape::new(depth).expect("a depth in range"),
        ask,
    })
}

pub fn message() -> impl Strategy<Value = Message> {
    let roots = (number32(), number(), vec((any::<u16>(), number()), 0..5))
        .prop_map(|(round, epoch, roots)| Message::Roots(Roots { round, epoch, roots }));
    let partitions = || vec(0u16..20, 0..5);
    let answer_to_roots =
        (number32(), number(), partitions(), partitions()).prop_map(|(round, epoch, differing, refused)| {
            Message::RootsAnswer(RootsAnswer { round, epoch, differing, refused }) //
        });
    let reply = (call(), answer()).prop_map(|(call, answer)| Message::Reply(Reply { call, answer }));
    prop_oneof![1 => roots, 1 => answer_to_roots, 3 => request().prop_map(Message::Request), 3 => reply]
}
