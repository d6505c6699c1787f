//! Two replicas with stores in memory, and an exchange between them that goes one event at a time.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use dynamo_merkle::{
    Answer, Ask, Cursor, Difference, Effect, Effects, Ending, Entry, Initiator, Key, LeafRead, Message, PeerError,
    Reply, Request, Responder, ResponderEffect, ResponderEffects, Roots, Settings, Shape, Tree,
};

/// FNV-1a: plain, and the same everywhere. Its first bits hardly feel the last bytes of a key: they are mixed.
pub fn hash(key: &[u8]) -> u64 {
    let hash =
        key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// A state is a set of bits, and their union is the join.
pub fn digest(state: u32) -> u64 {
    u64::from(state) + 1
}

pub fn key(number: usize) -> Key {
    format!("user:{number:06}").into_bytes().into()
}

/// A replica's keys of a partition, in order of leaves and keys, and their tree.
#[derive(Clone, PartialEq, Eq)]
pub struct Store {
    pub tree: Tree,
    states: BTreeMap<(u32, Key), u32>,
}

impl Store {
    pub fn new(shape: Shape) -> Store {
        Store { tree: Tree::new(shape), states: BTreeMap::new() }
    }

    pub fn with(shape: Shape, keys: impl IntoIterator<Item = (Key, u32)>) -> Store {
        let mut store = Store::new(shape);
        keys.into_iter().for_each(|(key, state)| store.merge(&key, state));
        store
    }

    fn place(&self, key: &Key) -> (u32, Key) {
        (self.tree.shape().leaf_of(hash(key)), key.clone())
    }

    pub fn merge(&mut self, key: &Key, state: u32) {
        let place = self.place(key);
        let before = self.states.get(&place).copied();
        let after = before.unwrap_or(0) | state;
        self.tree.apply(hash(key), before.map(digest), Some(digest(after)));
        self.states.insert(place, after);
    }

    pub fn remove(&mut self, key: &Key) {
        if let Some(before) = self.states.remove(&self.place(key)) {
            self.tree.apply(hash(key), Some(digest(before)), None);
        }
    }

    pub fn state(&self, key: &Key) -> Option<u32> {
        self.states.get(&self.place(key)).copied()
    }

    pub fn len(&self) -> usize {
        self.states.len()
    }

    pub fn states(&self) -> BTreeMap<Key, u32> {
        self.states.iter().map(|((_, key), &state)| (key.clone(), state)).collect()
    }

    pub fn page(&self, read: &LeafRead) -> (Vec<Entry>, bool) {
        assert!(read.entries_max > 0 && read.bytes_max > 0, "{read:?}");
        let from = (read.leaf, read.after.clone().unwrap_or_default());
        let of_leaf = self.states.range(from..).take_while(|((leaf, _), _)| *leaf == read.leaf);
        let beyond = of_leaf.filter(|((_, key), _)| read.after.as_ref().is_none_or(|after| key > after));
        let entry = |((_, key), &state): (&(u32, Key), &u32)| Entry { key: key.clone(), digest: digest(state) };
        let mut page: Vec<Entry> = beyond.map(entry).take(read.entries_max + 1).collect();
        let end = page.len() <= read.entries_max;
        page.truncate(read.entries_max);
        (page, end)
    }
}

/// Short, for the inputs of tests that failed.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "depth {}:", self.tree.shape().depth())?;
        self.states.iter().try_for_each(|((_, key), state)| write!(f, " {}={state}", key.escape_ascii()))
    }
}

/// What a plain comparison of all keys finds.
pub fn plain_diff(mine: &Store, theirs: &Store) -> Vec<Difference> {
    let (mine, theirs) = (mine.states(), theirs.states());
    let mut keys: Vec<&Key> = mine.keys().chain(theirs.keys()).collect();
    keys.sort();
    keys.dedup();
    let difference = |key: &Key| Difference {
        key: key.clone(),
        mine: mine.get(key).copied().map(digest),
        theirs: theirs.get(key).copied().map(digest),
    };
    keys.into_iter().map(difference).filter(|found| found.mine != found.theirs).collect()
}

/// What an exchange did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub requests: usize,
    pub replies: usize,
    pub request_bytes: usize,
    pub reply_bytes: usize,
    pub largest: usize,
    pub reads: usize,
    /// Keys in requests.
    pub entries: usize,
    pub wanted: Vec<Difference>,
    pub offered: Vec<Difference>,
    pub ending: Option<Ending>,
}

impl Report {
    pub fn bytes(&self) -> usize {
        self.request_bytes + self.reply_bytes
    }

    /// All that was found, in order of keys.
    pub fn found(&self) -> Vec<Difference> {
        let mut found: Vec<Difference> = self.wanted.iter().chain(&self.offered).cloned().collect();
        found.sort_by(|one, other| one.key.cmp(&other.key));
        found.dedup();
        found
    }
}

enum Event {
    Asking(Effect),
    Answering(ResponderEffect),
    Request(Vec<u8>),
    Reply(Vec<u8>),
    Settled,
}

/// An exchange that is under way.
pub struct Exchange {
    pub initiator: Initiator,
    pub responder: Responder,
    pub report: Report,
    pub settings: Settings,
    /// The responder's epoch; the initiator's is 1.
    pub their_epoch: u64,
    /// Whether what is found is merged.
    pub repair: bool,
    /// Keys that the stores give at once, whatever is asked; the end of a leaf is then an empty page.
    pub page_max: usize,
    events: VecDeque<Event>,
}

impl Exchange {
    pub fn new(number: u32, settings: Settings, from: Cursor, mine: &Store) -> Exchange {
        let mut exchange = Exchange {
            initiator: Initiator::new(7, number, 1, mine.tree.shape(), settings, from),
            responder: Responder::new(settings),
            report: Report::default(),
            settings,
            their_epoch: 1,
            repair: true,
            page_max: usize::MAX,
            events: VecDeque::new(),
        };
        exchange.ask(|initiator, effects| initiator.start(&mine.tree, 0, effects));
        exchange
    }

    /// Carries out one effect or delivers one message; false when nothing is left.
    pub fn step(&mut self, mine: &mut Store, theirs: &mut Store) -> bool {
        assert!(self.events.len() <= 2, "more under way than one message and what was found");
        match self.events.pop_front() {
            None => return false,
            Some(Event::Asking(effect)) => self.asking(effect, mine, theirs),
            Some(Event::Answering(ResponderEffect::Send(reply))) => {
                self.check_reply(&reply);
                let bytes = self.travel(&Message::Reply(reply));
                self.report.replies += 1;
                self.report.reply_bytes += bytes.len();
                self.events.push_back(Event::Reply(bytes));
            }
            Some(Event::Answering(ResponderEffect::ReadLeaf(read))) => {
                self.report.reads += 1;
                let (page, end) = self.page(theirs, &read);
                self.answer(|responder, effects| responder.on_leaf_page(read.ticket, page, end, effects));
            }
            Some(Event::Request(bytes)) => {
                let Ok(Message::Request(request)) = Message::decode(&bytes) else { panic!("was a request") };
                let epoch = self.their_epoch;
                self.answer(|responder, effects| {
                    responder.on_request(request, epoch, Some(&theirs.tree), effects).expect("an honest peer");
                });
            }
            Some(Event::Reply(bytes)) => {
                let Ok(Message::Reply(reply)) = Message::decode(&bytes) else { panic!("was a reply") };
                self.ask(|initiator, effects| {
                    initiator.on_reply(reply, &mine.tree, 0, effects).expect("an honest peer");
                });
            }
            Some(Event::Settled) => self.ask(|initiator, effects| initiator.on_settled(&mine.tree, 0, effects)),
        }
        true
    }

    pub fn run(mut self, mine: &mut Store, theirs: &mut Store) -> Report {
        while self.step(mine, theirs) {}
        assert!(self.report.ending.is_some() && self.initiator.is_finished() && self.responder.is_idle());
        self.report
    }

    fn asking(&mut self, effect: Effect, mine: &mut Store, theirs: &mut Store) {
        match effect {
            Effect::Send(request) => {
                self.check_request(&request);
                let bytes = self.travel(&Message::Request(request));
                self.report.requests += 1;
                self.report.request_bytes += bytes.len();
                self.events.push_back(Event::Request(bytes));
            }
            Effect::ReadLeaf(read) => {
                self.report.reads += 1;
                let (page, end) = self.page(mine, &read);
                self.ask(|initiator, effects| initiator.on_leaf_page(read.ticket, page, end, 0, effects));
            }
            Effect::Want(found) => {
                for difference in found.iter().filter(|_| self.repair) {
                    if let Some(state) = theirs.state(&difference.key) {
                        mine.merge(&difference.key, state);
                    }
                }
                self.report.wanted.extend(found);
                self.settled_unless_more_comes();
            }
            Effect::Offer(found) => {
                for difference in found.iter().filter(|_| self.repair) {
                    if let Some(state) = mine.state(&difference.key) {
                        theirs.merge(&difference.key, state);
                    }
                }
                self.report.offered.extend(found);
                self.settled_unless_more_comes();
            }
            Effect::Finished(ending) => self.report.ending = Some(ending),
        }
    }

    fn page(&self, store: &Store, read: &LeafRead) -> (Vec<Entry>, bool) {
        let (mut page, end) = store.page(read);
        page.truncate(self.page_max);
        (page, end && self.page_max == usize::MAX)
    }

    fn settled_unless_more_comes(&mut self) {
        if self.events.is_empty() {
            self.events.push_back(Event::Settled);
        }
    }

    fn ask(&mut self, input: impl FnOnce(&mut Initiator, &mut Effects)) {
        let mut effects = Effects::new();
        input(&mut self.initiator, &mut effects);
        self.events.extend(effects.into_iter().map(Event::Asking));
    }

    fn answer(&mut self, input: impl FnOnce(&mut Responder, &mut ResponderEffects)) {
        let mut effects = ResponderEffects::new();
        input(&mut self.responder, &mut effects);
        self.events.extend(effects.into_iter().map(Event::Answering));
    }

    /// Over the wire and back, with the bound that the settings make.
    fn travel(&mut self, message: &Message) -> Vec<u8> {
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes).as_ref(), Ok(message));
        self.report.largest = self.report.largest.max(bytes.len());
        bytes
    }

    fn check_request(&mut self, request: &Request) {
        match &request.ask {
            Ask::Nodes(nodes) => assert!(nodes.len() <= self.settings.nodes_max),
            Ask::Pages(pages) => {
                assert!(pages.len() <= self.settings.nodes_max);
                self.report.entries += self.check_entries(pages.iter().flat_map(|page| &page.entries));
            }
        }
    }

    fn check_reply(&self, reply: &Reply) {
        if let Answer::Pages(diffs) = &reply.answer {
            self.check_entries(diffs.iter().flat_map(|diff| &diff.extra));
        }
    }

    fn check_entries<'a>(&self, entries: impl Iterator<Item = &'a Entry> + Clone) -> usize {
        let bytes: usize = entries.clone().map(|entry| entry.key.len()).sum();
        let longest = entries.clone().map(|entry| entry.key.len()).max().unwrap_or(0);
        assert!(bytes < self.settings.keys_bytes_max + longest.max(1));
        let count = entries.count();
        assert!(count <= self.settings.entries_max);
        count
    }
}

/// A whole exchange that merges what it finds.
pub fn exchange(mine: &mut Store, theirs: &mut Store, settings: Settings) -> Report {
    Exchange::new(0, settings, Cursor::default(), mine).run(mine, theirs)
}

/// Compares the roots of stores, as partitions 0, 1, .. Returns those that differ, and the bytes there and back.
pub fn compare_roots(mine: &[Store], theirs: &[Store]) -> Result<(Vec<u16>, usize, usize), PeerError> {
    let roots = mine.iter().enumerate().map(|(partition, store)| (partition as u16, store.tree.root())).collect();
    let asked = Roots { round: 1, epoch: 1, roots };
    let answer = asked.answer(1, |partition| theirs.get(usize::from(partition)).map(|store| store.tree.root()));
    let differing = answer.differing_of(&asked)?.to_vec();
    let there = Message::Roots(asked).encode().len();
    Ok((differing, there, Message::RootsAnswer(answer).encode().len()))
}
