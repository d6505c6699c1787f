//! A comparison whose peer is the test: what it asks in which order, and what it makes of answers that are not friendly.

mod support;

use bytes::Bytes;
use dynamo_merkle::{self as merkle, Covered, Entry, Key, LeafDiff, LeafRead, PeerError, Shape};
use dynamo_transfer::{
    Answer, Ask, Comparison, ComparisonEffect, ComparisonEffects, ComparisonSettings, Ended, MergeRefusal, Outcome,
    Page, Purpose, Question, Record, Refused, Reply, StoreFailed, Stored,
};
use proptest::{collection::vec, option, prelude::*};
use support::{EPOCH, PARTITION, Store, bits, hash, key, union};

fn shape() -> Shape {
    Shape::new(1).expect("a depth in range")
}

fn settings() -> ComparisonSettings {
    ComparisonSettings { fetch_keys: 3, fetch_bytes: 200, in_flight: 2, ..ComparisonSettings::new(hash, shape()) }
}

/// The asking side, with a store that works.
struct Asking {
    comparison: Comparison,
    store: Store,
    questions: Vec<Question>,
    merges: Vec<(u32, Vec<Record>)>,
    reads: Vec<(u32, Vec<Key>)>,
    hungry: bool,
    outcome: Option<Outcome>,
}

impl Asking {
    fn new(keys: usize, purpose: Purpose, granted: u64) -> Asking {
        Asking::with(settings(), keys, purpose, granted)
    }

    fn with(settings: ComparisonSettings, keys: usize, purpose: Purpose, granted: u64) -> Asking {
        let mut store = Store::new(shape(), union);
        (0..keys).for_each(|number| store.merge(&key(number), &bits(number, 1)));
        let comparison = Comparison::new(9, PARTITION, EPOCH, purpose, settings);
        let (questions, merges, reads) = (Vec::new(), Vec::new(), Vec::new());
        let mut asking = Asking { comparison, store, questions, merges, reads, hungry: false, outcome: None };
        asking.told(|comparison, _, effects| comparison.grant(granted, 0, effects));
        asking.told(|comparison, store, effects| comparison.start(&store.tree, 0, effects));
        asking
    }

    fn told(&mut self, input: impl FnOnce(&mut Comparison, &Store, &mut ComparisonEffects)) {
        let mut effects = ComparisonEffects::new();
        input(&mut self.comparison, &self.store, &mut effects);
        for effect in effects {
            match effect {
                ComparisonEffect::Ask(question) => self.questions.push(question),
                ComparisonEffect::ReadLeaf(read) => self.leaf(&read),
                ComparisonEffect::ReadRecords { ticket, keys, .. } => self.reads.push((ticket, keys)),
                ComparisonEffect::Merge { ticket, records } => self.merges.push((ticket, records)),
                ComparisonEffect::Hungry => self.hungry = true,
                ComparisonEffect::Finished(outcome) => self.outcome = Some(outcome),
            }
        }
    }

    fn leaf(&mut self, read: &LeafRead) {
        let of_leaf = self.store.states.iter().filter(|(key, _)| shape().leaf_of(hash(key)) == read.leaf);
        let entries = of_leaf.map(|(key, set)| Entry { key: key.clone(), digest: hash(set) }).collect();
        self.told(|comparison, _, effects| comparison.on_leaf(read.ticket, Ok((entries, true)), 0, effects));
    }

    /// Answers the oldest question.
    fn reply(&mut self, reply: Reply) {
        let Question { call, .. } = self.questions.remove(0);
        let answer = Answer { call, epoch: EPOCH, sealed: false, whole: true, reply };
        self.told(|comparison, store, effects| comparison.on_reply(answer, &store.tree, 0, effects));
    }

    fn merged(&mut self, merged: Result<(), MergeRefusal>) {
        let (ticket, records) = self.merges.remove(0);
        records.iter().for_each(|record| self.store.merge(&record.key, &record.set));
        self.told(|comparison, store, effects| comparison.on_merged(ticket, merged, &store.tree, 0, effects));
    }

    fn read(&mut self, states: Result<Vec<Stored>, StoreFailed>) {
        let (ticket, _) = self.reads.remove(0);
        self.told(|comparison, store, effects| comparison.on_records(ticket, states, &store.tree, 0, effects));
    }

    /// The peer says that in each leaf with keys of this node it has all of them otherwise, or none.
    fn all_differ(&mut self, theirs: Option<u64>) {
        self.reply(Reply::Tree(merkle::Answer::Nodes(vec![u16::MAX])));
        let Some(Question { ask: Ask::Tree { ask: merkle::Ask::Pages(pages), .. }, .. }) = self.questions.first()
        else {
            panic!("{:?}", self.questions);
        };
        let diff = |page: &merkle::LeafPage| {
            let positions = 0..page.entries.len() as u32;
            let (missing, differing) = match theirs {
                None => (positions.collect(), vec![]),
                Some(digest) => (vec![], positions.map(|position| (position, digest)).collect()),
            };
            LeafDiff { missing, differing, extra: vec![], covered: Covered::Whole }
        };
        let diffs = pages.iter().map(diff).collect();
        self.reply(Reply::Tree(merkle::Answer::Pages(diffs)));
    }

    fn ended(&self) -> Option<Ended> {
        self.outcome.map(|outcome| outcome.ended)
    }
}

fn state(set: &'static [u8]) -> Stored {
    Stored::State { set: Bytes::from_static(set), digest: hash(set) }
}

fn record(number: usize) -> Record {
    let set = bits(number, 1);
    Record { key: key(number), digest: hash(&set), set }
}

fn page(numbers: impl IntoIterator<Item = usize>, go_on: Option<Key>) -> Reply {
    Reply::Page(Page { records: numbers.into_iter().map(record).collect(), damaged: 0, go_on })
}

#[test]
fn who_has_nothing_takes_pages_first_and_the_exchange_closes_the_gap() {
    for purpose in [Purpose::Pull, Purpose::Both] {
        let mut asking = Asking::new(0, purpose, 10_000);
        assert_eq!(asking.questions[0].ask, Ask::Page { after: None, bytes_max: 200 });
        asking.reply(page([1, 3], Some(key(4))));
        // The next is asked for while the first is being merged, and then no more than fit in memory.
        assert_eq!(asking.questions[0].ask, Ask::Page { after: Some(key(4)), bytes_max: 200 });
        asking.reply(page([5], Some(key(5))));
        assert_eq!((asking.questions.len(), asking.merges.len()), (0, 2));
        asking.merged(Ok(()));
        assert_eq!(asking.comparison.bulk_position(), Some(&key(4)));
        assert_eq!(asking.questions[0].ask, Ask::Page { after: Some(key(5)), bytes_max: 200 });
        asking.reply(page([], None));
        assert!(asking.questions.is_empty(), "not before all is merged");
        asking.merged(Ok(()));
        assert!(matches!(asking.questions[0].ask, Ask::Tree { .. }));
        asking.reply(Reply::Tree(merkle::Answer::Nodes(vec![0])));
        assert_eq!(asking.ended(), Some(Ended::Complete { sealed: false, whole: true, equal: false }));
        assert_eq!(asking.comparison.moved().fetched, 3);
    }
    let asking = Asking::new(0, Purpose::Push, 10_000);
    assert!(matches!(asking.questions[0].ask, Ask::Tree { .. }), "who only sends needs no pages");
    let asking = Asking::new(1, Purpose::Pull, 10_000);
    assert!(matches!(asking.questions[0].ask, Ask::Tree { .. }), "who has something compares");
}

#[test]
fn pages_merged_out_of_order_do_not_move_the_position_over_a_gap() {
    let mut asking = Asking::new(0, Purpose::Pull, 10_000);
    asking.reply(page([1], Some(key(1))));
    asking.reply(page([2], Some(key(2))));
    asking.merges.reverse();
    asking.merged(Ok(()));
    assert_eq!(asking.comparison.bulk_position(), None);
    asking.merged(Ok(()));
    assert_eq!(asking.comparison.bulk_position(), Some(&key(2)));
    asking.told(|comparison, _, effects| comparison.on_lost(effects));
    assert_eq!(asking.comparison.bulk_position(), Some(&key(2)), "for the next one");
}

#[test]
fn a_bulk_copy_that_was_interrupted_goes_on_with_the_page_after() {
    let mut comparison = Comparison::new(9, PARTITION, EPOCH, Purpose::Pull, settings());
    let mut store = Store::new(shape(), union);
    store.merge(&key(1), &bits(1, 1));
    let mut effects = ComparisonEffects::new();
    comparison.resume_bulk(key(1));
    comparison.grant(1_000, 0, &mut effects);
    comparison.start(&store.tree, 0, &mut effects);
    let [ComparisonEffect::Ask(Question { ask, .. })] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(*ask, Ask::Page { after: Some(key(1)), bytes_max: 200 });
    assert_eq!(comparison.bulk_position(), Some(&key(1)));
}

#[test]
fn pages_that_cannot_be_end_it() {
    let broken = |reply: Reply| {
        let mut asking = Asking::new(0, Purpose::Pull, 10_000);
        asking.reply(page([5], Some(key(5))));
        asking.reply(reply);
        asking.ended()
    };
    assert_eq!(broken(page([6, 7], Some(key(7)))), None);
    for bad in [page([7, 6], None), page([6, 6], None), page([5, 6], None), page([4], None)] {
        assert_eq!(broken(bad), Some(Ended::Broken(PeerError::Unsorted)));
    }
    for bad in [page([], Some(key(5))), page([], Some(key(4))), page([6, 8], Some(key(7)))] {
        assert_eq!(broken(bad), Some(Ended::Broken(PeerError::Contradiction)));
    }
    assert_eq!(broken(page(6..20, None)), Some(Ended::Broken(PeerError::TooMuch)));
}

/// Its tree may well not know of it any more: then the exchange finds nothing.
#[test]
fn what_was_damaged_in_a_page_makes_it_partial() {
    let mut asking = Asking::new(0, Purpose::Pull, 10_000);
    asking.reply(Reply::Page(Page { records: vec![record(1)], damaged: 2, go_on: None }));
    asking.merged(Ok(()));
    asking.reply(Reply::Tree(merkle::Answer::Nodes(vec![0])));
    assert_eq!(asking.ended(), Some(Ended::Partial { keys: 2 }));
}

#[test]
fn a_peer_that_invents_pages_without_end_is_left() {
    let mut settings = settings();
    settings.exchange.requests_max = 20;
    let mut asking = Asking::with(settings, 0, Purpose::Pull, 1 << 40);
    for number in 0..20 {
        assert_eq!(asking.ended(), None);
        asking.reply(page([], Some(key(number))));
    }
    assert_eq!(asking.ended(), Some(Ended::TooLong));
}

#[test]
fn fetched_states_that_were_not_asked_for_end_it() {
    let broken = |states: Vec<Stored>| {
        let mut asking = Asking::new(2, Purpose::Pull, 10_000);
        asking.all_differ(Some(1));
        assert!(matches!(&asking.questions[0].ask, Ask::Fetch { keys, .. } if keys.len() == 2));
        asking.reply(Reply::Fetched(states));
        asking.ended()
    };
    assert_eq!(broken(vec![state(b"a"), state(b"b")]), None);
    assert_eq!(broken(vec![]), Some(Ended::Broken(PeerError::Contradiction)));
    assert_eq!(broken(vec![Stored::Absent; 3]), Some(Ended::Broken(PeerError::Contradiction)));
    assert_eq!(broken(vec![state(&[7; 300]), state(b"b")]), Some(Ended::Broken(PeerError::TooMuch)));
}

#[test]
fn what_did_not_fit_is_asked_for_again_and_nothing_else() {
    let mut asking = Asking::new(3, Purpose::Pull, 10_000);
    asking.all_differ(Some(1));
    let Ask::Fetch { keys, .. } = asking.questions[0].ask.clone() else { panic!("{:?}", asking.questions) };
    asking.reply(Reply::Fetched(vec![state(b"a")]));
    assert_eq!(asking.questions[0].ask, Ask::Fetch { keys: keys[1..].to_vec(), bytes_max: 200 });
    assert_eq!(asking.merges[0].1[0].key, keys[0]);
    asking.reply(Reply::Fetched(vec![Stored::Absent, Stored::Absent]));
    asking.merged(Ok(()));
    assert_eq!(asking.ended(), Some(Ended::Complete { sealed: false, whole: true, equal: false }));
}

#[test]
fn a_state_that_the_peer_was_seen_to_have_is_not_sent_back() {
    let mut asking = Asking::new(1, Purpose::Both, 10_000);
    asking.all_differ(Some(1));
    // The peer has written since its tree was read: what it has is told by the fetch.
    asking.reply(Reply::Fetched(vec![state(b"newest")]));
    asking.merged(Ok(()));
    assert_eq!(asking.reads[0].1, [key(0)]);
    asking.read(Ok(vec![state(b"newest")]));
    assert_eq!(asking.ended(), Some(Ended::Complete { sealed: false, whole: true, equal: false }));
    assert_eq!(asking.comparison.moved().pushed, 0);
}

#[test]
fn a_key_that_the_peer_lost_meanwhile_is_sent() {
    let mut asking = Asking::new(1, Purpose::Both, 10_000);
    asking.all_differ(Some(hash(b"same")));
    asking.reply(Reply::Fetched(vec![Stored::Absent]));
    // This node came to have meanwhile what the peer had, and has no more.
    asking.read(Ok(vec![state(b"same")]));
    assert!(matches!(&asking.questions[0].ask, Ask::Push(records) if records[0].digest == hash(b"same")));
}

#[test]
fn a_damaged_record_that_the_push_does_not_heal_is_counted_once() {
    let ended = |refused: u32| {
        let mut asking = Asking::new(1, Purpose::Both, 10_000);
        asking.all_differ(Some(1));
        asking.reply(Reply::Fetched(vec![Stored::Damaged]));
        asking.read(Ok(vec![state(b"own")]));
        asking.reply(Reply::Pushed { refused });
        asking.ended()
    };
    // Healed or not, its own part was not had.
    assert_eq!(ended(0), Some(Ended::Partial { keys: 1 }));
    assert_eq!(ended(1), Some(Ended::Partial { keys: 1 }));
    assert_eq!(ended(2), Some(Ended::Broken(PeerError::Contradiction)));
}

#[test]
fn what_this_or_the_other_store_does_not_take_makes_it_partial() {
    let mut asking = Asking::new(3, Purpose::Pull, 10_000);
    asking.all_differ(Some(1));
    asking.reply(Reply::Fetched(vec![state(b"a"), state(b"b"), state(b"c")]));
    asking.merged(Err(MergeRefusal::Some { keys: 2 }));
    assert_eq!(asking.ended(), Some(Ended::Partial { keys: 2 }));
    assert_eq!(asking.comparison.moved().fetched, 1);

    let mut asking = Asking::new(3, Purpose::Push, 10_000);
    asking.all_differ(None);
    asking.read(Ok(vec![state(b"a"), Stored::Damaged, state(b"c")]));
    asking.reply(Reply::Pushed { refused: 1 });
    assert_eq!(asking.ended(), Some(Ended::Partial { keys: 2 }));
    assert_eq!(asking.comparison.moved().pushed, 1);

    let mut asking = Asking::new(0, Purpose::Pull, 10_000);
    asking.reply(page([1, 2], None));
    asking.merged(Err(MergeRefusal::Some { keys: 1 }));
    asking.reply(Reply::Tree(merkle::Answer::Nodes(vec![0])));
    assert_eq!(asking.ended(), Some(Ended::Partial { keys: 1 }));
}

#[test]
fn a_store_that_fails_or_a_ring_that_turns_here_ends_it() {
    let ended = |refusal: MergeRefusal| {
        let mut asking = Asking::new(1, Purpose::Pull, 10_000);
        asking.all_differ(Some(1));
        asking.reply(Reply::Fetched(vec![state(b"a")]));
        asking.merged(Err(refusal));
        asking.ended()
    };
    assert_eq!(ended(MergeRefusal::Failed), Some(Ended::Failed));
    assert_eq!(ended(MergeRefusal::DiskFull), Some(Ended::Failed));
    assert_eq!(ended(MergeRefusal::Sealed), Some(Ended::Outdated));
    assert_eq!(ended(MergeRefusal::Outdated { epoch: 4 }), Some(Ended::Outdated));

    let mut asking = Asking::new(1, Purpose::Push, 10_000);
    asking.all_differ(None);
    asking.read(Err(StoreFailed));
    assert_eq!(asking.ended(), Some(Ended::Failed));

    let mut asking = Asking::new(1, Purpose::Push, 10_000);
    asking.told(|comparison, _, effects| comparison.on_epoch(EPOCH, effects));
    assert_eq!(asking.ended(), None);
    asking.told(|comparison, _, effects| comparison.on_epoch(EPOCH + 1, effects));
    assert_eq!(asking.ended(), Some(Ended::Outdated));

    let mut asking = Asking::new(1, Purpose::Push, 10_000);
    asking.told(|comparison, _, effects| comparison.on_lost(effects));
    assert_eq!(asking.ended(), Some(Ended::Unreachable));
}

#[test]
fn a_refusal_ends_it_and_so_does_an_answer_of_another_epoch() {
    let mut asking = Asking::new(1, Purpose::Pull, 10_000);
    asking.reply(Reply::Refused(Refused::Busy));
    assert_eq!(asking.ended(), Some(Ended::Refused { epoch: EPOCH, reason: Refused::Busy }));

    let mut asking = Asking::new(1, Purpose::Pull, 10_000);
    let call = asking.questions[0].call;
    let reply = Reply::Tree(merkle::Answer::Nodes(vec![0]));
    let answer = Answer { call, epoch: EPOCH + 1, sealed: true, whole: true, reply };
    asking.told(|comparison, store, effects| comparison.on_reply(answer, &store.tree, 0, effects));
    assert_eq!(asking.ended(), Some(Ended::Refused { epoch: EPOCH + 1, reason: Refused::Epoch }));
}

#[test]
fn answers_to_another_comparison_and_answers_that_come_twice_are_ignored() {
    let mut asking = Asking::new(1, Purpose::Pull, 10_000);
    let call = asking.questions[0].call;
    for stale in [merkle::Call { exchange: 8, ..call }, merkle::Call { partition: 8, ..call }] {
        let answer =
            Answer { call: stale, epoch: EPOCH, sealed: false, whole: true, reply: Reply::Refused(Refused::Busy) };
        asking.told(|comparison, store, effects| comparison.on_reply(answer, &store.tree, 0, effects));
    }
    assert_eq!(asking.ended(), None);
    asking.all_differ(Some(1));
    // The first step's answer again, while the fetch is waited for; and a fetch's that was answered.
    asking.questions.insert(0, Question { call, ..asking.questions[0].clone() });
    asking.reply(Reply::Tree(merkle::Answer::Nodes(vec![0])));
    let fetch = asking.questions[0].clone();
    asking.reply(Reply::Fetched(vec![state(b"a")]));
    asking.questions.insert(0, fetch);
    asking.reply(Reply::Fetched(vec![Stored::Damaged]));
    assert_eq!((asking.ended(), asking.merges.len()), (None, 1));
    asking.merged(Ok(()));
    assert_eq!(asking.ended(), Some(Ended::Complete { sealed: false, whole: true, equal: false }));
}

#[test]
fn it_moves_within_what_was_granted_and_says_once_that_it_is_hungry() {
    let mut asking = Asking::new(9, Purpose::Pull, 0);
    asking.all_differ(Some(1));
    assert!(asking.hungry && asking.questions.is_empty());
    asking.hungry = false;
    // 24 bytes are for the first alone; the second unit waits.
    asking.told(|comparison, _, effects| comparison.grant(24, 0, effects));
    assert!(matches!(asking.questions[..], [Question { ask: Ask::Fetch { bytes_max: 24, .. }, .. }]));
    assert!(asking.hungry);
    asking.hungry = false;
    // 9 bytes of key and 10 of state were taken: 5 are left for the next.
    asking.reply(Reply::Fetched(vec![state(&[7; 10])]));
    assert!(matches!(asking.questions[..], [Question { ask: Ask::Fetch { bytes_max: 5, .. }, .. }]));
    assert!(!asking.hungry, "said already");
    asking.reply(Reply::Fetched(vec![state(&[7; 10])]));
    assert!(asking.questions.is_empty());
    // 14 bytes too many are paid off first.
    asking.told(|comparison, _, effects| comparison.grant(14, 0, effects));
    assert_eq!(asking.comparison.budget_left(), 0);
    assert!(!asking.hungry, "both slots are taken");
    asking.merged(Ok(()));
    assert!(asking.hungry && asking.questions.is_empty());
    asking.told(|comparison, _, effects| comparison.grant(20, 0, effects));
    assert!(matches!(asking.questions[..], [Question { ask: Ask::Fetch { bytes_max: 20, .. }, .. }]));
    asking.reply(Reply::Fetched(vec![Stored::Absent]));
    // A key alone weighs, too, and what was not used is there again.
    assert!(matches!(asking.questions[..], [Question { ask: Ask::Fetch { bytes_max: 11, .. }, .. }]));
}

#[test]
fn what_is_pushed_costs_as_much_as_what_is_fetched() {
    let mut asking = Asking::new(2, Purpose::Push, 100);
    asking.all_differ(None);
    asking.read(Ok(vec![state(&[7; 10]), state(&[7; 20])]));
    assert_eq!(asking.comparison.budget_left(), 100 - 2 * 9 - 30);
    asking.reply(Reply::Pushed { refused: 0 });
    assert_eq!(asking.comparison.moved().pushed_bytes, 48);
}

/// Anything, some of which may well be an answer.
fn reply() -> impl Strategy<Value = Reply> {
    let set = || vec(any::<u8>(), 0..20).prop_map(Bytes::from);
    let stored = prop_oneof![
        (set(), any::<u64>()).prop_map(|(set, digest)| Stored::State { set, digest }),
        Just(Stored::Absent),
        Just(Stored::Damaged)
    ];
    let record =
        (0usize..20, set(), any::<u64>()).prop_map(|(number, set, digest)| Record { key: key(number), set, digest });
    let page = (vec(record, 0..3), 0u32..2, option::of((0usize..30).prop_map(key)));
    let diff = (vec(0u32..3, 0..2), vec((0u32..3, any::<u64>()), 0..2), option::of(0usize..20));
    let diff = diff.prop_map(|(missing, differing, extra)| {
        let extra = extra.map(|number| Entry { key: key(number), digest: 5 }).into_iter().collect();
        LeafDiff { missing, differing, extra, covered: Covered::Whole }
    });
    prop_oneof![
        3 => any::<u16>().prop_map(|mask| Reply::Tree(merkle::Answer::Nodes(vec![mask]))),
        3 => vec(diff, 1..3).prop_map(|diffs| Reply::Tree(merkle::Answer::Pages(diffs))),
        4 => vec(stored, 0..4).prop_map(Reply::Fetched),
        2 => (0u32..3).prop_map(|refused| Reply::Pushed { refused }),
        4 => page.prop_map(|(records, damaged, go_on)| Reply::Page(Page { records, damaged, go_on })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_a_peer_answers_it_neither_panics_nor_asks_too_much(replies in vec(reply(), 1..60), keys in 0usize..12) {
        let mut asking = Asking::new(keys, Purpose::Both, 1 << 20);
        for reply in replies {
            while !asking.merges.is_empty() {
                asking.merged(Ok(()));
            }
            while let Some((_, keys)) = asking.reads.first() {
                let set_of = |key: &Key| asking.store.states.get(key).cloned();
                let state = |set: Bytes| Stored::State { digest: hash(&set), set };
                let states = keys.iter().map(|key| set_of(key).map_or(Stored::Absent, state)).collect();
                asking.read(Ok(states));
            }
            if asking.questions.is_empty() {
                break;
            }
            prop_assert!(asking.questions.len() <= 2 && asking.merges.len() <= 2);
            let fits = matches!(
                (&asking.questions[0].ask, &reply),
                (Ask::Tree { .. }, Reply::Tree(_))
                    | (Ask::Fetch { .. }, Reply::Fetched(_))
                    | (Ask::Push(_), Reply::Pushed { .. })
                    | (Ask::Page { .. }, Reply::Page(_))
            );
            if fits {
                asking.reply(reply);
            }
        }
        let waits = !asking.questions.is_empty() || !asking.merges.is_empty() || !asking.reads.is_empty();
        prop_assert!(asking.comparison.is_finished() || waits);
        prop_assert_eq!(asking.comparison.is_finished(), asking.outcome.is_some());
    }
}
