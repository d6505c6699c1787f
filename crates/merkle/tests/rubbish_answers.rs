//! A peer may answer anything: it gets an error or is ignored, nothing panics, grows without bound or goes on for ever.

#[path = "support/rubbish.rs"]
mod rubbish;
mod support;

use dynamo_merkle::{
    Answer, Ask, Call, Covered, Cursor, ENTRIES_MAX, Effect, Effects, Ending, Entry, Initiator, KEYS_BYTES_MAX, Key,
    LeafDiff, LeafPage, PeerError, Reply, Request, Settings, Shape,
};
use proptest::{collection, prelude::*, sample::Index};
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

/// An initiator, and what it has asked.
struct Asking {
    initiator: Initiator,
    store: Store,
    request: Option<Request>,
    ending: Option<Ending>,
    found: usize,
}

impl Asking {
    fn new(store: Store, settings: Settings) -> Asking {
        let initiator = Initiator::new(7, 3, 1, store.tree.shape(), settings, Cursor::default());
        let mut asking = Asking { initiator, store, request: None, ending: None, found: 0 };
        let mut effects = Effects::new();
        asking.initiator.start(&asking.store.tree, 0, &mut effects);
        asking.see(effects);
        asking
    }

    /// Reads, and settles without merging, until it sends or ends.
    fn see(&mut self, effects: Effects) {
        let mut more = Effects::new();
        let mut settled = false;
        for effect in effects {
            match effect {
                Effect::Send(request) => self.request = Some(request),
                Effect::Finished(ending) => self.ending = Some(ending),
                Effect::ReadLeaf(read) => {
                    let (page, end) = self.store.page(&read);
                    self.initiator.on_leaf_page(read.ticket, page, end, 0, &mut more);
                }
                Effect::Want(found) | Effect::Offer(found) => {
                    assert!(found.len() <= ENTRIES_MAX);
                    self.found += found.len();
                    settled = true;
                }
            }
        }
        if settled {
            self.initiator.on_settled(&self.store.tree, 0, &mut more);
        }
        if !more.is_empty() {
            self.see(more);
        }
    }

    fn reply(&mut self, answer: Answer) -> Result<(), PeerError> {
        let call = self.request.take().expect("has asked").call;
        self.raw(Reply { call, answer })
    }

    fn raw(&mut self, reply: Reply) -> Result<(), PeerError> {
        let mut effects = Effects::new();
        let told = self.initiator.on_reply(reply, &self.store.tree, 0, &mut effects);
        if told.is_err() {
            assert!(effects.is_empty() && self.initiator.is_finished());
        }
        self.see(effects);
        told
    }

    /// Until pages were asked for; here all leaves in one request.
    fn pages(store: Store) -> (Asking, Vec<LeafPage>) {
        let mut asking = Asking::new(store, Settings::new(hash));
        asking.reply(Answer::Nodes(vec![0xffff])).expect("it may be so");
        let Some(Request { ask: Ask::Pages(pages), .. }) = &asking.request else { panic!("{:?}", asking.request) };
        let pages = pages.clone();
        (asking, pages)
    }
}

fn nothing() -> LeafDiff {
    LeafDiff { missing: vec![], differing: vec![], extra: vec![], covered: Covered::Whole }
}

fn entry(key: Key) -> Entry {
    Entry { key, digest: 5 }
}

/// What the initiator says to an answer about the first page, which has some ten keys.
fn told(diff: impl FnOnce(&LeafPage) -> LeafDiff) -> Result<(), PeerError> {
    let (mut asking, pages) = Asking::pages(numbered(0..160));
    assert_eq!((pages.len(), pages[0].leaf, pages[0].end), (16, 0, true));
    assert!(pages[0].entries.len() > 4);
    let diff = diff(&pages[0]);
    asking.reply(Answer::Pages(vec![diff]))
}

#[test]
fn answers_about_a_page_that_cannot_be_are_named() {
    assert_eq!(told(|_| nothing()), Ok(()));
    assert_eq!(told(|_| LeafDiff { missing: vec![1, 3], differing: vec![(2, 9)], ..nothing() }), Ok(()));
    let cases: [(PeerError, LeafDiff); 7] = [
        (PeerError::Unsorted, LeafDiff { missing: vec![3, 1], ..nothing() }),
        (PeerError::Unsorted, LeafDiff { missing: vec![1, 1], ..nothing() }),
        (PeerError::Unsorted, LeafDiff { differing: vec![(2, 9), (2, 8)], ..nothing() }),
        (PeerError::OutOfRange, LeafDiff { missing: vec![u32::MAX], ..nothing() }),
        (PeerError::OutOfRange, LeafDiff { differing: vec![(1_000, 9)], ..nothing() }),
        (PeerError::Contradiction, LeafDiff { missing: vec![1], differing: vec![(1, 9)], ..nothing() }),
        (PeerError::ForeignKey, LeafDiff { extra: vec![entry(Key::from([]))], ..nothing() }),
    ];
    for (error, diff) in cases {
        assert_eq!(told(|_| diff.clone()), Err(error), "{diff:?}");
    }
}

#[test]
fn keys_that_a_peer_claims_to_have_must_be_possible() {
    let extra = |keys: Vec<Key>| LeafDiff { extra: keys.into_iter().map(entry).collect(), ..nothing() };
    let (one, other) = (key_of_leaf_0(500), key_of_leaf_0(900));
    assert_eq!(told(|_| extra(vec![one.clone(), other.clone()])), Ok(()));
    assert_eq!(told(|_| extra(vec![other.clone(), one.clone()])), Err(PeerError::Unsorted));
    assert_eq!(told(|_| extra(vec![one.clone(), one.clone()])), Err(PeerError::Unsorted));
    assert_eq!(told(|page| extra(vec![page.entries[2].key.clone()])), Err(PeerError::Contradiction));
    let foreign = (0..).map(key).find(|key| shape(1).leaf_of(hash(key)) == 1).expect("one in sixteen");
    assert_eq!(told(|_| extra(vec![foreign])), Err(PeerError::ForeignKey));
    let same = |page: &LeafPage| LeafDiff { differing: vec![(0, page.entries[0].digest)], ..nothing() };
    assert_eq!(told(same), Err(PeerError::Contradiction));
    let long = |last: u32| -> Key { [vec![0xff; 65_600], last.to_be_bytes().to_vec()].concat().into() };
    let long = (0..).map(long).find(|key| shape(1).leaf_of(hash(key)) == 0).expect("one in sixteen");
    assert_eq!(told(|_| extra(vec![long])), Err(PeerError::ForeignKey));
}

#[test]
fn more_keys_than_a_message_may_have_are_refused() {
    let of_leaf = |range: std::ops::Range<u32>, length: usize| -> Vec<Entry> {
        let keys = range.map(|number| [&number.to_be_bytes()[..], &vec![0; length]].concat());
        keys.filter(|key| shape(1).leaf_of(hash(key)) == 0).map(|key| entry(key.into())).collect()
    };
    let many = of_leaf(0..150_000, 0);
    assert!(many.len() > ENTRIES_MAX);
    assert_eq!(told(|_| LeafDiff { extra: many, ..nothing() }), Err(PeerError::TooMuch));
    let large = of_leaf(0..400, 60_000);
    assert!(large.len() * 60_000 > KEYS_BYTES_MAX);
    assert_eq!(told(|_| LeafDiff { extra: large, ..nothing() }), Err(PeerError::TooMuch));
}

#[test]
fn an_answer_covers_what_was_asked_and_moves_on() {
    let up_to = |key: &Key| Covered::UpTo(key.clone());
    assert_eq!(told(|page| LeafDiff { covered: up_to(&page.entries[1].key), ..nothing() }), Ok(()));
    let beyond = |page: &LeafPage| LeafDiff { missing: vec![2], covered: up_to(&page.entries[1].key), ..nothing() };
    assert_eq!(told(beyond), Err(PeerError::Contradiction));
    let beyond = |page: &LeafPage| LeafDiff { differing: vec![(2, 9)], ..beyond(page) };
    assert_eq!(told(|page| LeafDiff { missing: vec![], ..beyond(page) }), Err(PeerError::Contradiction));
    let beyond = |page: &LeafPage| LeafDiff { extra: vec![entry(key_of_leaf_0(900))], ..beyond(page) };
    let beyond = |page: &LeafPage| LeafDiff { missing: vec![], differing: vec![], ..beyond(page) };
    assert_eq!(told(beyond), Err(PeerError::Contradiction));
    assert_eq!(told(|_| LeafDiff { covered: Covered::UpTo(Key::from([])), ..nothing() }), Err(PeerError::ForeignKey));
}

#[test]
fn a_page_within_a_leaf_is_covered_no_further_than_it_goes_and_no_less_than_a_key() {
    let settings = Settings { entries_max: 2, ..Settings::new(hash) };
    let ask = || {
        let mut asking = Asking::new(numbered(0..160), settings);
        asking.reply(Answer::Nodes(vec![1])).expect("it may be so");
        asking.reply(Answer::Pages(vec![nothing()])).expect("it may be so");
        let Some(Request { ask: Ask::Pages(pages), .. }) = &asking.request else { panic!("{:?}", asking.request) };
        assert!(pages.len() == 1 && !pages[0].end && pages[0].after.is_some());
        let page = pages[0].clone();
        (asking, page)
    };
    let (mut asking, page) = ask();
    let covered = Covered::UpTo(page.after.clone().expect("just seen"));
    assert_eq!(asking.reply(Answer::Pages(vec![LeafDiff { covered, ..nothing() }])), Err(PeerError::Unsorted));
    let (mut asking, _) = ask();
    let covered = Covered::UpTo(key_of_leaf_0(900));
    assert_eq!(asking.reply(Answer::Pages(vec![LeafDiff { covered, ..nothing() }])), Err(PeerError::Contradiction));
    let (mut asking, _) = ask();
    let extra = vec![entry(key_of_leaf_0(900))];
    assert_eq!(asking.reply(Answer::Pages(vec![LeafDiff { extra, ..nothing() }])), Err(PeerError::Contradiction));
}

#[test]
fn answers_to_something_else_are_errors_and_those_to_another_exchange_are_ignored() {
    let first = || Asking::new(numbered(0..160), Settings::new(hash));
    assert_eq!(first().reply(Answer::Pages(vec![nothing()])), Err(PeerError::NotAsked));
    assert_eq!(first().reply(Answer::Nodes(vec![])), Err(PeerError::Contradiction));
    assert_eq!(first().reply(Answer::Nodes(vec![1, 1])), Err(PeerError::Contradiction));
    assert_eq!(Asking::pages(numbered(0..160)).0.reply(Answer::Nodes(vec![1])), Err(PeerError::NotAsked));
    assert_eq!(Asking::pages(numbered(0..160)).0.reply(Answer::Pages(vec![])), Err(PeerError::Contradiction));
    let too_many = Answer::Pages(vec![nothing(); 17]);
    assert_eq!(Asking::pages(numbered(0..160)).0.reply(too_many), Err(PeerError::Contradiction));
    let covered = Covered::UpTo(key_of_leaf_0(500));
    let partial_first = Answer::Pages(vec![LeafDiff { covered, ..nothing() }, nothing()]);
    assert_eq!(Asking::pages(numbered(0..160)).0.reply(partial_first), Err(PeerError::Contradiction));

    let mut asking = first();
    let call = asking.request.as_ref().expect("has asked").call;
    for stale in [Call { exchange: 2, ..call }, Call { partition: 8, ..call }] {
        assert_eq!(asking.raw(Reply { call: stale, answer: Answer::Pages(vec![]) }), Ok(()));
    }
    assert!(!asking.initiator.is_finished());
    let early = Reply { call: Call { step: 1, ..call }, answer: Answer::Nodes(vec![0]) };
    assert_eq!(asking.raw(early), Err(PeerError::NotAsked));
}

#[test]
fn a_reply_while_nothing_is_asked_is_an_error() {
    let mut initiator = Initiator::new(7, 3, 1, shape(1), Settings::new(hash), Cursor::default());
    let reply = Reply { call: Call { partition: 7, exchange: 3, step: 0 }, answer: Answer::Nodes(vec![1]) };
    let mut effects = Effects::new();
    let told = initiator.on_reply(reply, &numbered(0..9).tree, 0, &mut effects);
    assert_eq!((told, effects.len(), initiator.is_finished()), (Err(PeerError::NotAsked), 0, true));
}

#[test]
fn a_peer_that_invents_keys_without_end_is_left() {
    let settings = Settings { requests_max: 50, ..Settings::new(hash) };
    let mut asking = Asking::new(numbered(0..0), settings);
    asking.reply(Answer::Nodes(vec![1])).expect("it may be so");
    let mut last = 0;
    while asking.request.is_some() {
        last = (last + 1..).find(|&number| shape(1).leaf_of(hash(&key(number))) == 0).expect("one in sixteen");
        let diff = LeafDiff { extra: vec![entry(key(last))], covered: Covered::UpTo(key(last)), ..nothing() };
        asking.reply(Answer::Pages(vec![diff])).expect("it may be so");
    }
    assert_eq!((asking.ending, asking.found), (Some(Ending::Paused), 49));
    assert_eq!(asking.initiator.cursor(), &Cursor { leaf: 0, after: Some(key(last)) });
}

#[test]
fn a_store_that_cannot_be_read_ends_it() {
    let store = numbered(0..9);
    let mut initiator = Initiator::new(7, 3, 1, shape(1), Settings::new(hash), Cursor::default());
    let (mut effects, call) = (Effects::new(), Call { partition: 7, exchange: 3, step: 0 });
    initiator.start(&store.tree, 0, &mut effects);
    effects.clear();
    initiator.on_reply(Reply { call, answer: Answer::Nodes(vec![1]) }, &store.tree, 0, &mut effects).expect("honest");
    let Effect::ReadLeaf(read) = effects.remove(0) else { panic!("reads") };
    initiator.on_leaf_failed(read.ticket + 1, &mut effects);
    initiator.on_leaf_page(read.ticket + 1, vec![], true, 0, &mut effects);
    assert!(effects.is_empty());
    initiator.on_leaf_failed(read.ticket, &mut effects);
    assert_eq!(effects.to_vec(), [Effect::Finished(Ending::Failed)]);
}

#[test]
fn a_silent_peer_is_left() {
    let mut asking = Asking::new(numbered(0..9), Settings { reply_timeout_us: 1_000, ..Settings::new(hash) });
    let mut effects = Effects::new();
    assert_eq!(asking.initiator.next_time(), Some(1_000));
    asking.initiator.on_time(999, &mut effects);
    assert!(effects.is_empty());
    asking.initiator.on_time(1_000, &mut effects);
    assert_eq!((effects.to_vec(), asking.initiator.next_time()), (vec![Effect::Finished(Ending::Silent)], None));
    // What comes too late does no harm.
    assert_eq!(asking.reply(Answer::Nodes(vec![1])), Ok(()));
}

#[test]
fn a_ring_that_turns_here_ends_it() {
    let mut asking = Asking::new(numbered(0..9), Settings::new(hash));
    let mut effects = Effects::new();
    asking.initiator.on_epoch(1, &mut effects);
    assert!(effects.is_empty());
    asking.initiator.on_epoch(2, &mut effects);
    asking.initiator.on_epoch(3, &mut effects);
    assert_eq!(effects.to_vec(), [Effect::Finished(Ending::Outdated)]);
}

/// A lie about one page that may well pass: positions that exist, keys of the leaf.
fn lie(page: &LeafPage, choices: &[Index], last: bool) -> LeafDiff {
    let mut diff = nothing();
    for (position, entry) in page.entries.iter().enumerate() {
        match choices[position % choices.len()].index(4) {
            0 => diff.missing.push(position as u32),
            1 => diff.differing.push((position as u32, entry.digest + 1)),
            _ => {}
        }
    }
    let range_end = page.entries.last().filter(|_| !page.end).map(|entry| &entry.key);
    let inside = |key: &Key| {
        let free = page.entries.binary_search_by(|entry| entry.key.cmp(key)).is_err();
        let within = page.after.as_ref().is_none_or(|after| key > after) && range_end.is_none_or(|end| key < end);
        free && within && shape(1).leaf_of(hash(key)) == page.leaf
    };
    diff.extra = (0..200).map(key).filter(inside).map(entry).take(choices[0].index(9)).collect();
    if let Some(entry) = diff.extra.last().filter(|_| last && choices[0].index(2) == 1) {
        let cut = |position: u32| page.entries[position as usize].key <= entry.key;
        diff.missing.retain(|&position| cut(position));
        diff.differing.retain(|&(position, _)| cut(position));
        diff.covered = Covered::UpTo(entry.key.clone());
    }
    diff
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// And none of its lies is taken for an error: the other tests' honest peers are not the only ones that pass.
    #[test]
    fn a_peer_that_lies_plausibly_does_not_keep_it_for_ever(
        choices in collection::vec(any::<Index>(), 1..30),
        entries_max in 1usize..40,
    ) {
        let settings = Settings { entries_max, requests_max: 1_000, ..Settings::new(hash) };
        let mut asking = Asking::new(numbered(50..150), settings);
        let mut replies = 0;
        while let Some(request) = &asking.request {
            let choices = [&choices[replies % choices.len()..], &choices[..]].concat();
            let answer = match &request.ask {
                Ask::Nodes(_) => Answer::Nodes(vec![0xffff]),
                Ask::Pages(pages) => {
                    let count = choices[0].index(pages.len()) + 1;
                    Answer::Pages((0..count).map(|at| lie(&pages[at], &choices, at + 1 == count)).collect())
                }
            };
            let told = asking.reply(answer.clone());
            prop_assert_eq!(told, Ok(()), "{:?}", answer);
            replies += 1;
        }
        prop_assert_eq!(asking.ending, Some(Ending::Complete));
        prop_assert!(replies <= 1 + 16 + 200 + 100 / entries_max, "{} replies", replies);
    }

    #[test]
    fn arbitrary_answers_end_it_or_are_plausible(answers in collection::vec(rubbish::answer(), 1..20)) {
        for store in [numbered(0..40), numbered(0..0)] {
            let mut asking = Asking::new(store, Settings { requests_max: 100, ..Settings::new(hash) });
            let mut answers = answers.iter().cycle();
            while asking.request.is_some() && asking.reply(answers.next().expect("cycles").clone()).is_ok() {}
            prop_assert!(asking.initiator.is_finished() && asking.initiator.next_time().is_none());
        }
    }
}
