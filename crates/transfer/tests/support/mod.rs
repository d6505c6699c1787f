//! Two replicas with stores in memory, one of which compares with the other; what happens next is anybody's choice.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bytes::Bytes;
use dynamo_merkle::{self as merkle, Call, Entry, Key, LeafRead, Shape, Tree};
use dynamo_ring::NodeId;
use dynamo_transfer::{
    Answer, Answering, AnsweringEffect, AnsweringEffects, AnsweringSettings, Ask, Comparison, ComparisonEffect,
    ComparisonEffects, ComparisonSettings, Ended, MergeRefusal, Outcome, Page, PartitionView, Purpose, Question,
    Record, Reply, Stored,
};

pub const PARTITION: u16 = 7;
pub const EPOCH: u64 = 3;
pub const PEER: NodeId = NodeId(1);

/// FNV-1a, and a mix, so that any of its bits will do.
pub fn hash(key: &[u8]) -> u64 {
    let hash =
        key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash: u64 = hash ^ (hash >> 32);
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

pub fn key(number: usize) -> Key {
    format!("user:{number:04}").into_bytes().into()
}

/// A join of two encoded states.
pub type Join = fn(&[u8], &[u8]) -> Bytes;

/// Union of sets of bits; the length says nothing.
pub fn union(one: &[u8], other: &[u8]) -> Bytes {
    let length = one.len().max(other.len());
    let byte = |set: &[u8], at: usize| set.get(at).copied().unwrap_or(0);
    (0..length).map(|at| byte(one, at) | byte(other, at)).collect()
}

/// A set of bits that takes more bytes for some keys than for others.
pub fn bits(number: usize, state: u32) -> Bytes {
    let mut set = state.to_be_bytes().to_vec();
    set.resize(4 + number * 7 % 40, 0);
    set.into()
}

/// The largest record that [`key`] and [`bits`] make.
pub const RECORD_BYTES_MAX: u64 = 9 + 44;

/// A replica's states of the partition, and their tree.
#[derive(Clone)]
pub struct Store {
    pub tree: Tree,
    pub states: BTreeMap<Key, Bytes>,
    /// Keys whose records cannot be read.
    pub damaged: BTreeSet<Key>,
    join: Join,
}

impl Store {
    pub fn new(shape: Shape, join: Join) -> Store {
        Store { tree: Tree::new(shape), states: BTreeMap::new(), damaged: BTreeSet::new(), join }
    }

    pub fn merge(&mut self, key: &Key, set: &[u8]) {
        let digest = |set: &Bytes| hash(set);
        let before = self.states.get(key);
        let after = before.map_or_else(|| Bytes::copy_from_slice(set), |before| (self.join)(before, set));
        self.tree.apply(hash(key), before.map(digest), Some(digest(&after)));
        self.states.insert(key.clone(), after);
    }

    /// Whether it has all that the other one had of every key.
    pub fn dominates(&self, states: &BTreeMap<Key, Bytes>) -> bool {
        let known = |(key, set): (&Key, &Bytes)| self.states.get(key).is_some_and(|own| (self.join)(own, set) == *own);
        states.iter().all(known)
    }

    pub fn leaf(&self, read: &LeafRead) -> (Vec<Entry>, bool) {
        let of_leaf = self.states.iter().filter(|(key, _)| self.tree.shape().leaf_of(hash(key)) == read.leaf);
        let beyond = of_leaf.filter(|(key, _)| read.after.as_ref().is_none_or(|after| *key > after));
        let mut entries: Vec<Entry> = beyond.map(|(key, set)| Entry { key: key.clone(), digest: hash(set) }).collect();
        let end = entries.len() <= read.entries_max;
        entries.truncate(read.entries_max);
        (entries, end)
    }

    /// As many as are wanted, or fewer, or (which is no fault) more.
    pub fn records(&self, keys: &[Key], few: bool) -> Vec<Stored> {
        let stored = |key: &Key| match self.states.get(key) {
            _ if self.damaged.contains(key) => Stored::Damaged,
            Some(set) => Stored::State { set: set.clone(), digest: hash(set) },
            None => Stored::Absent,
        };
        keys.iter().map(stored).take(if few { 1 } else { usize::MAX }).collect()
    }

    pub fn page(&self, after: Option<&Key>, few: bool) -> Page {
        let mut page = Page::default();
        let mut beyond = self.states.iter().filter(|(key, _)| after.is_none_or(|after| *key > after));
        for (key, set) in beyond.by_ref().take(if few { 1 } else { 9 }) {
            match self.damaged.contains(key) {
                true => page.damaged += 1,
                false => page.records.push(Record { key: key.clone(), set: set.clone(), digest: hash(set) }),
            }
            page.go_on = Some(key.clone());
        }
        if beyond.next().is_none() {
            page.go_on = None;
        }
        page
    }

    fn take(&mut self, records: &[Record]) -> Result<(), MergeRefusal> {
        let (bad, good): (Vec<_>, Vec<_>) = records.iter().partition(|record| self.damaged.contains(&record.key));
        good.iter().for_each(|record| self.merge(&record.key, &record.set));
        if bad.is_empty() { Ok(()) } else { Err(MergeRefusal::Some { keys: bad.len() as u32 }) }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Question(Bytes),
    Answer(Bytes),
    Asking(ComparisonEffect),
    Answering(AnsweringEffect),
}

/// Short, for the inputs of tests that failed.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "depth {}:", self.tree.shape().depth())?;
        let state = |set: &Bytes| set.iter().take(4).fold(0u32, |state, &byte| state << 8 | u32::from(byte));
        self.states.iter().try_for_each(|(key, set)| write!(f, " {}={}", key.escape_ascii(), state(set)))
    }
}

/// One comparison, and all that is under way.
pub struct World {
    pub mine: Store,
    pub theirs: Store,
    pub sealed: bool,
    pub their_epoch: u64,
    pub comparison: Comparison,
    pub settings: ComparisonSettings,
    pub answering: Answering,
    pub now: u64,
    pub outcome: Option<Outcome>,
    /// Nobody writes: then no push is in vain.
    pub quiet: bool,
    /// What a hungry comparison is given at once.
    pub grant_bytes: u64,
    pub granted_bytes: u64,
    /// Bytes of keys and states that travelled, to this node and from it.
    pub travelled_bytes: u64,
    pub all_answers_sealed: bool,
    pub answers: usize,
    pub hungry: bool,
    waited_for: BTreeSet<(bool, u32)>,
    events: Vec<Event>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let World { mine, theirs, settings, grant_bytes, .. } = self;
        write!(f, "mine {mine:?}; theirs {theirs:?}; {settings:?}, grants of {grant_bytes}")
    }
}

impl World {
    pub fn new(mine: Store, theirs: Store, settings: ComparisonSettings) -> World {
        let answering = AnsweringSettings {
            exchange: settings.exchange,
            jobs_max: 100,
            jobs_per_peer_max: 100,
            bytes_max: settings.fetch_bytes,
        };
        World {
            mine,
            theirs,
            sealed: false,
            their_epoch: EPOCH,
            comparison: Comparison::new(0, PARTITION, EPOCH, Purpose::Both, settings),
            settings,
            answering: Answering::new(answering),
            now: 0,
            outcome: None,
            quiet: true,
            grant_bytes: 1 << 20,
            granted_bytes: 0,
            travelled_bytes: 0,
            all_answers_sealed: true,
            answers: 0,
            hungry: false,
            waited_for: BTreeSet::new(),
            events: Vec::new(),
        }
    }

    /// Begins another comparison; what was under way on the wire and of the one before is lost, or (what the stores were
    /// told to merge, and had begun with) not.
    pub fn begin(&mut self, id: u32, purpose: Purpose, resume: Option<Key>, merges_survive: bool) {
        for event in std::mem::take(&mut self.events) {
            match event {
                Event::Asking(ComparisonEffect::Merge { records, .. }) if merges_survive => {
                    let _ = self.mine.take(&records);
                }
                Event::Answering(AnsweringEffect::Merge { records, .. }) if merges_survive => {
                    let _ = self.theirs.take(&records);
                }
                _ => {}
            }
        }
        self.answering.on_lost(PEER);
        assert_eq!(self.answering.jobs(), 0);
        self.comparison = Comparison::new(id, PARTITION, EPOCH, purpose, self.settings);
        if let Some(after) = resume {
            self.comparison.resume_bulk(after);
        }
        (self.outcome, self.hungry, self.granted_bytes, self.travelled_bytes) = (None, false, 0, 0);
        (self.all_answers_sealed, self.answers) = (true, 0);
        self.waited_for.clear();
        self.ask(|comparison, tree, now, effects| comparison.start(tree, now, effects));
    }

    /// Lets one thing happen, or lets the time go by when nothing else can; false when it is over.
    pub fn step(&mut self, choice: usize) -> bool {
        if self.outcome.is_some() {
            return false;
        }
        if self.hungry && (self.events.is_empty() || choice % 5 == 4) {
            self.grant();
            return true;
        }
        if self.events.is_empty() {
            self.now = self.comparison.next_time().expect("waits for nothing, and is not over");
            self.ask(|comparison, _, now, effects| comparison.on_time(now, effects));
            return true;
        }
        let event = self.events.swap_remove(choice % self.events.len());
        self.happen(event, choice % 7 == 6);
        true
    }

    /// A message (never a report of the store) comes twice.
    pub fn double(&mut self, choice: usize) {
        let messages = self.events.iter().filter(|event| matches!(event, Event::Question(_) | Event::Answer(_)));
        let messages: Vec<Event> = messages.cloned().collect();
        if !messages.is_empty() {
            self.events.push(messages[choice % messages.len()].clone());
        }
    }

    /// A message is lost.
    pub fn lose(&mut self, choice: usize) {
        let is_message = |event: &Event| matches!(event, Event::Question(_) | Event::Answer(_));
        if let Some(at) = (0..self.events.len()).filter(|&at| is_message(&self.events[at])).nth(choice % 3) {
            self.events.swap_remove(at);
        }
    }

    pub fn run(&mut self, choices: &[usize]) -> Outcome {
        let mut choices = choices.iter().cycle();
        for _ in 0..self.steps_max() {
            if !self.step(*choices.next().expect("some")) {
                break;
            }
        }
        self.outcome.expect("it ends")
    }

    /// Each key costs a few steps at each node, however small messages are; and so does each node of the tree.
    pub fn steps_max(&self) -> usize {
        2_000 + 200 * (self.mine.states.len() + self.theirs.states.len())
    }

    pub fn ended(&self) -> Option<Ended> {
        self.outcome.map(|outcome| outcome.ended)
    }

    fn grant(&mut self) {
        let bytes = self.grant_bytes;
        self.granted_bytes += bytes;
        self.hungry = false;
        self.ask(|comparison, _, now, effects| comparison.grant(bytes, now, effects));
    }

    fn happen(&mut self, event: Event, few: bool) {
        match event {
            Event::Question(bytes) => {
                let question = Question::decode(&bytes).expect("was one");
                let tree = Some(&self.theirs.tree);
                let view = PartitionView { epoch: self.their_epoch, sealed: self.sealed, whole: true, tree };
                let mut effects = AnsweringEffects::new();
                self.answering.on_question(PEER, 5, question, view, &mut effects).expect("an honest peer");
                self.answer(effects);
            }
            Event::Answer(bytes) => self.on_answer(Answer::decode(&bytes).expect("was one")),
            Event::Asking(effect) => self.asking(effect, few),
            Event::Answering(effect) => self.answering(effect, few),
        }
    }

    fn on_answer(&mut self, answer: Answer) {
        let tree = matches!(answer.reply, Reply::Tree(_));
        if self.waited_for.remove(&(tree, answer.call.step)) {
            self.answers += 1;
            self.all_answers_sealed &= answer.sealed;
            self.travelled_bytes += bytes_of(&answer.reply);
            let slots = self.settings.in_flight as u64;
            assert!(self.travelled_bytes <= self.granted_bytes + slots * RECORD_BYTES_MAX, "more than was granted");
        }
        self.ask(|comparison, tree, now, effects| comparison.on_reply(answer, tree, now, effects));
    }

    fn asking(&mut self, effect: ComparisonEffect, few: bool) {
        match effect {
            ComparisonEffect::ReadLeaf(read) => {
                let page = self.mine.leaf(&read);
                self.ask(|comparison, _, now, effects| comparison.on_leaf(read.ticket, Ok(page), now, effects));
            }
            ComparisonEffect::ReadRecords { ticket, keys, .. } => {
                let states = self.mine.records(&keys, few);
                self.ask(|comparison, tree, now, effects| {
                    comparison.on_records(ticket, Ok(states), tree, now, effects)
                });
            }
            ComparisonEffect::Merge { ticket, records } => {
                let merged = self.mine.take(&records);
                self.ask(|comparison, tree, now, effects| comparison.on_merged(ticket, merged, tree, now, effects));
            }
            ComparisonEffect::Ask(_) | ComparisonEffect::Hungry | ComparisonEffect::Finished(_) => unreachable!("seen"),
        }
    }

    fn answering(&mut self, effect: AnsweringEffect, few: bool) {
        let mut effects = AnsweringEffects::new();
        match effect {
            AnsweringEffect::ReadLeaf { read, .. } => {
                self.answering.on_leaf(read.ticket, Ok(self.theirs.leaf(&read)), &mut effects);
            }
            AnsweringEffect::ReadRecords { ticket, keys, .. } => {
                self.answering.on_records(ticket, Ok(self.theirs.records(&keys, few)), &mut effects);
            }
            AnsweringEffect::ReadPage { ticket, after, .. } => {
                self.answering.on_page(ticket, Ok(self.theirs.page(after.as_ref(), few)), &mut effects);
            }
            AnsweringEffect::Merge { ticket, records, .. } => {
                self.answering.on_merged(ticket, self.theirs.take(&records), &mut effects);
            }
            AnsweringEffect::Reply { .. } => unreachable!("seen"),
        }
        self.answer(effects);
    }

    fn ask(&mut self, input: impl FnOnce(&mut Comparison, &Tree, u64, &mut ComparisonEffects)) {
        let mut effects = ComparisonEffects::new();
        let over = self.comparison.is_finished();
        input(&mut self.comparison, &self.mine.tree, self.now, &mut effects);
        assert!(!over || effects.is_empty(), "effects after the end");
        for effect in effects {
            assert!(self.outcome.is_none(), "an effect after the last");
            match effect {
                ComparisonEffect::Ask(question) => {
                    self.check_question(&question);
                    self.events.push(Event::Question(question.encode().into()));
                }
                ComparisonEffect::Hungry => {
                    assert!(!self.hungry, "said once, until it is granted something");
                    self.hungry = true;
                }
                ComparisonEffect::Finished(outcome) => self.outcome = Some(outcome),
                effect => self.events.push(Event::Asking(effect)),
            }
        }
        self.check_bounds();
    }

    fn answer(&mut self, effects: AnsweringEffects) {
        for effect in effects {
            match effect {
                AnsweringEffect::Reply { peer, call_id, answer } => {
                    assert_eq!((peer, call_id), (PEER, 5));
                    self.events.push(Event::Answer(answer.encode().into()));
                }
                effect => self.events.push(Event::Answering(effect)),
            }
        }
    }

    fn check_question(&mut self, Question { call, epoch, ask }: &Question) {
        let Call { partition, step, .. } = *call;
        assert_eq!((partition, *epoch), (PARTITION, EPOCH));
        assert!(self.waited_for.insert((matches!(ask, Ask::Tree { .. }), step)), "another name for each question");
        match ask {
            Ask::Fetch { keys, bytes_max } => {
                assert!(
                    (1..=self.settings.fetch_keys).contains(&keys.len()) && *bytes_max <= self.settings.fetch_bytes
                );
            }
            Ask::Push(records) => {
                assert!((1..=self.settings.fetch_keys).contains(&records.len()));
                let bytes: u64 = records.iter().map(Record::bytes).sum();
                assert!(bytes < u64::from(self.settings.fetch_bytes) + RECORD_BYTES_MAX);
                self.travelled_bytes += bytes;
                let slots = self.settings.in_flight as u64;
                assert!(self.travelled_bytes <= self.granted_bytes + slots * RECORD_BYTES_MAX, "more than was granted");
                let known = |record: &Record| self.theirs.states.get(&record.key) == Some(&record.set);
                assert!(!self.quiet || !records.iter().any(known), "sent what the peer has");
            }
            Ask::Page { bytes_max, .. } => assert!(*bytes_max <= self.settings.fetch_bytes),
            Ask::Tree { ask: merkle::Ask::Nodes(_) | merkle::Ask::Pages(_), .. } => {}
        }
    }

    fn check_bounds(&self) {
        assert!(self.waited_for.len() <= self.settings.in_flight, "more questions than are allowed at once");
        let held = self.events.iter().map(|event| match event {
            Event::Asking(ComparisonEffect::Merge { records, .. }) => records.iter().map(Record::bytes).sum(),
            _ => 0,
        });
        let bytes_max = u64::from(self.settings.fetch_bytes) + RECORD_BYTES_MAX;
        assert!(held.sum::<u64>() < self.settings.in_flight as u64 * bytes_max, "more in memory than is allowed");
    }
}

fn bytes_of(reply: &Reply) -> u64 {
    match reply {
        Reply::Fetched(states) => states.iter().map(Stored::set_bytes).sum(),
        Reply::Page(page) => page.records.iter().map(Record::bytes).sum(),
        Reply::Tree(_) | Reply::Pushed { .. } | Reply::Refused(_) => 0,
    }
}
