//! Drives the keeper (§4.7, 4.9): the simulator's `node/src/keeping/`. What it asks of the engine is in `keeper_store`.

use std::{collections::BTreeMap, sync::Arc};

use dynamo_keeper::{
    Answer, Effect, Effects, Found, Keeper, Kept, Question, Settings, Situation, Started, Trees, registry,
};
use dynamo_keeping::{KEYS, Task, meta_key};
use dynamo_merkle::Tree;
use dynamo_ring::{
    NodeId, Partition,
    charter::Charter,
    register::{self, Ask, Request},
};
use dynamo_storage::{Outcome, Read};
use dynamo_transfer::{AnsweringSettings, ComparisonSettings, ScheduleSettings, SliceSettings};

use super::{Node, Outlived, store::Store};
use crate::{
    coverage::cover,
    known_bad::KnownBad,
    message::{Class, ReplicaAsk, ReplicaReply, ReplicaRequest, Reply},
    operator::{MARK as MARK_OF_OPERATORS, News},
    world::{Kernel, NodeEvent, Shape, id_of, index_of, say},
};

/// How often the keeper is told the time, microseconds.
const TICK_US: u64 = 100_000;
/// The same while there is something to do.
const TICK_BUSY_US: u64 = 20_000;
/// A question that is not answered so long counts as lost, microseconds.
const LOST_US: u64 = 5_000_000;
/// How often it is told how the foreground fares, microseconds.
const SAMPLE_US: u64 = 1_000_000;
/// Set in the numbers of its requests, which share the background links with handoff's.
pub const MARK: u64 = 1 << 63;

/// A keeper, and what is under way for it.
pub struct Keeping {
    pub(super) keeper: Keeper,
    /// Questions of peers that are not answered yet: the stream, its generation, the request's number.
    places: BTreeMap<u64, (u16, u32, u64)>,
    next_place: u64,
    /// This node's own, by number.
    asked: BTreeMap<u64, Asked>,
    /// Answered before the step in which they were asked had ended: there is no link.
    unsent: Vec<u64>,
    pub(super) tasks: BTreeMap<u64, Task>,
    /// The newest epoch that a fence was asked for.
    pub(super) fenced: u64,
    next_sample_us: u64,
    /// The node's names for versions: its life's, and the one that stands in for it.
    names: (u64, u64),
    /// Its life began with nothing on the disk.
    empty: bool,
    /// What its disk turned out to be.
    pub(super) outlived: Option<Outlived>,
}

/// Which start of a disk it is.
pub struct Start {
    pub incarnation: u64,
    pub generation: u64,
    /// Drawn by lot.
    pub stand_in: u64,
    /// What was found on the disk.
    pub found: u64,
    /// Its life begins with it.
    pub born: bool,
    /// There was nothing.
    pub empty: bool,
}

/// A question that is not answered yet.
struct Asked {
    to: u8,
    since: u64,
    /// What counts as the answer if none comes.
    silence: Option<Answer>,
}

/// The engine's trees.
struct LocalTrees<'a> {
    store: &'a Store,
    known_bad: Option<KnownBad>,
}

impl Trees for LocalTrees<'_> {
    fn with(&self, partition: u16, read: &mut dyn FnMut(&Tree)) {
        if self.known_bad == Some(KnownBad::TreesMissKeys) {
            return read(&self.store.tree_without_some(Partition(partition)));
        }
        self.store.with_tree(Partition(partition), read);
    }
}

impl Keeping {
    /// A keeper with what the disk holds.
    pub fn open(
        me: u8,
        start: Start,
        shape: &Shape,
        store: &Store,
        time: (u64, u64),
        known_bad: Option<KnownBad>,
    ) -> Result<Self, dynamo_storage::StoreError> {
        let get = |key: &str| match store.read(&Read::Meta { key: meta_key(key) })? {
            Outcome::Meta(value) => Ok(value),
            _ => unreachable!("meta is answered with meta"),
        };
        let Start { incarnation, generation, stand_in, found, born, empty } = start;
        let [state, known, lives, whole, starts, clear, lots] = KEYS.map(get);
        let (starts, clear, lots, first) = (starts?, clear?, lots?, Charter::first(shape.ring.clone()));
        let fences = shape.ring.partitions().iter().map(|partition| store.fence(partition)).collect();
        let kept =
            Kept { register: registry::Kept { state: state?, known: known?, lives: lives? }, whole: whole?, fences };
        let strange = |error: String| -> ! { panic!("a simulated disk holds what no node wrote: {error}") };
        let mut keeper = Keeper::new(id_of(me), incarnation, &first, &kept, settings(store, shape), time)
            .unwrap_or_else(|error| strange(error));
        // A disk that was emptied unnoticed is no news to others either.
        if known_bad != Some(KnownBad::IdentityReused) {
            let started = Started { life: incarnation, generation, lot: stand_in, found, durable: found };
            let (starts, clear, lots) = (starts.as_ref(), clear.as_ref(), lots.as_ref());
            let found = Found { born, empty, starts, clear, lots };
            keeper.started(started, found, time.0).unwrap_or_else(|error| strange(error));
        }
        Ok(Self {
            keeper,
            places: BTreeMap::new(),
            next_place: 0,
            asked: BTreeMap::new(),
            unsent: Vec::new(),
            tasks: BTreeMap::new(),
            fenced: 0,
            next_sample_us: 0,
            names: (incarnation, stand_in),
            empty,
            outlived: None,
        })
    }
}

/// The node's, with its defaults.
fn settings(store: &Store, shape: &Shape) -> Settings {
    let cluster = &shape.plan.cluster;
    let shape = store.with_tree(Partition(0), Tree::shape);
    let comparison = ComparisonSettings::new(dynamo_storage::tree_hash, shape);
    let answering =
        AnsweringSettings { exchange: comparison.exchange, jobs_max: 256, jobs_per_peer_max: 64, bytes_max: 2 << 20 };
    Settings {
        comparison,
        answering,
        jobs_max: 8,
        jobs_per_peer_max: 4,
        schedule: ScheduleSettings {
            interval_us: 1_000_000,
            parallel: 4,
            reply_timeout_us: LOST_US,
            backoff_min_us: 500_000,
            backoff_max_us: 60_000_000,
        },
        slices: SliceSettings {
            p99_target_us: 50_000,
            bearable_percent: 125,
            window_us: 1_000_000,
            rate_min_bytes_per_s: 1 << 20,
            rate_max_bytes_per_s: 128 << 20,
            increase_bytes_per_s: 4 << 20,
            decrease_to_percent: 50,
            busy_permille_max: 1000,
            burst_bytes: 2 << 20,
            weights: [4, 4, 2, 1, 1],
        },
        forget_max: 64,
        ask_us: 200_000,
        ask_sealed_us: 20_000,
        collect_every_us: u64::from(cluster.collect_every_ms) * 1000,
    }
}

/// Known-bad variants alone: who says nothing to a proposer agrees with it.
fn consent(question: &Question) -> Option<Answer> {
    let Question::Vote(Request { to, ballot, ask }) = question else { return None };
    let answer = match ask {
        Ask::Prepare => register::Answer::Promised { accepted: None },
        Ask::Accept(_) => register::Answer::Accepted,
        Ask::Look { .. } => return None,
    };
    Some(Answer::Vote(register::Reply { from: *to, ballot: *ballot, answer }))
}

impl Node {
    /// Time passes for the keeper.
    pub(super) fn keeper_time(&mut self, kernel: &mut Kernel) {
        let now = kernel.clock_us();
        let late = self.keeping.asked.iter().filter(|(_, asked)| asked.since + LOST_US < now);
        let late: Vec<u64> = late.map(|(call, _)| *call).collect();
        for call in late {
            cover!("keeper.answer_late");
            self.keeper_answered(call, None, kernel);
        }
        let (reachable, needed, durable) = (self.background_open(), self.needed(), self.store.durable());
        self.drive_keeper(kernel, |keeper, at, effects| {
            keeper.on_durable(durable);
            keeper.on_reachable(reachable, needed, at, effects);
            keeper.on_time(at, effects);
        });
        if now >= self.keeping.next_sample_us {
            self.keeping.next_sample_us = now + SAMPLE_US;
            self.keeping.keeper.on_foreground(None, now);
        }
        let (leftovers, refilling) = (self.keeping.keeper.leftovers() as u32, self.keeping.keeper.refilling() as u32);
        self.gossip.set_self(|info| (info.leftovers, info.refilling) = (leftovers, refilling));
        let after = if self.keeping.keeper.is_busy() { TICK_BUSY_US } else { TICK_US };
        kernel.node_after(after, self.me, self.life, NodeEvent::KeeperTick);
    }

    /// max(R, N - R + 1), the largest over the buckets.
    pub(super) fn needed(&self) -> usize {
        let n = self.view.ring().n();
        let of = |r: u8| usize::from(r.max(n.saturating_sub(r) + 1));
        let known = self.shape.buckets.iter().zip(&self.buckets).filter(|(_, known)| **known);
        known.map(|(bucket, _)| of(bucket.r)).max().unwrap_or(0).max(of(n / 2 + 1))
    }

    /// A peer asks.
    pub(super) fn keeper_asked(&mut self, from: u8, place: (u16, u32, u64), question: Question, kernel: &mut Kernel) {
        self.keeping.next_place += 1;
        let call = self.keeping.next_place;
        self.keeping.places.insert(call, place);
        self.drive_keeper(kernel, |keeper, at, effects| keeper.on_question(id_of(from), call, question, at, effects));
    }

    /// A peer has answered.
    pub(super) fn keeper_replied(&mut self, reply: ReplicaReply, kernel: &mut Kernel) {
        let answer = match reply.reply {
            Reply::Keep(answer) => Some(*answer),
            _ => None,
        };
        self.keeper_answered(reply.id & !MARK, answer, kernel);
    }

    /// No answers of this peer will come to what was asked so far.
    pub(super) fn keeper_lost(&mut self, peer: u8, kernel: &mut Kernel) {
        let lost = self.keeping.asked.iter().filter(|(_, asked)| asked.to == peer);
        let lost: Vec<u64> = lost.map(|(call, _)| *call).collect();
        for call in lost {
            self.keeper_answered(call, None, kernel);
        }
    }

    fn keeper_answered(&mut self, call: u64, answer: Option<Answer>, kernel: &mut Kernel) {
        if let Some(Asked { silence, .. }) = self.keeping.asked.remove(&call) {
            let answer = answer.or(silence);
            self.drive_keeper(kernel, |keeper, at, effects| keeper.on_answer(call, answer, at, effects));
        }
    }

    /// This peer goes by a newer ring than this node.
    pub(super) fn pull_ring_from(&mut self, from: u8, kernel: &mut Kernel) {
        cover!("ring.heard_of_newer");
        self.drive_keeper(kernel, |keeper, _, effects| keeper.pull_from(id_of(from), effects));
    }

    /// This peer goes by an older ring.
    pub(super) fn tell_ring_to(&mut self, peer: u8, kernel: &mut Kernel) {
        cover!("ring.told_who_is_behind");
        self.drive_keeper(kernel, |keeper, _, effects| keeper.tell_to(id_of(peer), effects));
    }

    pub(super) fn drive_keeper(
        &mut self,
        kernel: &mut Kernel,
        step: impl FnOnce(&mut Keeper, &Situation<'_>, &mut Effects),
    ) {
        let mut effects = Effects::new();
        self.step_keeper(kernel, &mut effects, step);
        self.carry_out_keeper(effects, kernel);
        // Those without a link: each is an answer of its own, which may ask again.
        while let Some(call) = self.keeping.unsent.pop() {
            if let Some(Asked { silence, .. }) = self.keeping.asked.remove(&call) {
                let mut effects = Effects::new();
                self.step_keeper(kernel, &mut effects, |keeper, at, effects| {
                    keeper.on_answer(call, silence, at, effects);
                });
                self.carry_out_keeper(effects, kernel);
            }
        }
        self.look_at_line(kernel);
    }

    /// Versions are minted under the life's own name only while it is known that no other disk has it.
    pub(super) fn look_at_line(&mut self, kernel: &mut Kernel) {
        let keeper = &self.keeping.keeper;
        let (life, stand_in) = self.keeping.names;
        self.store.set_incarnation(if keeper.mints() { life } else { stand_in });
        let outlived = match keeper.superseded() {
            Some(superseded) => Outlived::Copy(*superseded),
            None if keeper.is_to_be_emptied() => Outlived::Collected,
            None => return,
        };
        if self.keeping.outlived.replace(outlived).is_none() {
            kernel.node_after(0, self.me, self.life, NodeEvent::Outlived);
        }
    }

    /// That its disk is beyond doubt is kept.
    pub(super) fn note_clear(&self, kernel: &mut Kernel) {
        if !self.keeping.empty {
            cover!("doubt.over");
            say!(kernel, "node-{}'s disk is beyond doubt", self.me);
        }
    }

    /// A disk in doubt serves nobody whose ring is newer.
    pub(super) fn is_too_old_for(&self, epoch: u64) -> bool {
        epoch > self.epoch() && self.keeping.keeper.in_doubt()
    }

    fn step_keeper(
        &mut self,
        kernel: &Kernel,
        effects: &mut Effects,
        step: impl FnOnce(&mut Keeper, &Situation<'_>, &mut Effects),
    ) {
        let trees = LocalTrees { store: &self.store, known_bad: kernel.known_bad };
        let at = Situation { now: kernel.clock_us(), random: self.chance.next(), trees: &trees };
        step(&mut self.keeping.keeper, &at, effects);
    }

    fn carry_out_keeper(&mut self, effects: Effects, kernel: &mut Kernel) {
        for effect in effects {
            match effect {
                Effect::Ask { to, call, question } => self.ask_keeper(to, call, question, kernel),
                Effect::Answer { call, answer } => {
                    if matches!(&answer, Answer::Report(report) if !report.lacking.is_empty()) {
                        cover!("ring.waits_for_whole");
                    }
                    if let Some((stream, generation, id)) = self.keeping.places.remove(&call) {
                        let reply = ReplicaReply { id, reply: Reply::Keep(Box::new(answer)) };
                        kernel.send_reply(stream, generation, reply, 0);
                    }
                }
                Effect::Store { ticket, what } => self.keeper_stores(ticket, what, kernel),
                Effect::Adopt { version, charter } => self.adopt(version, charter, kernel),
                Effect::Whole(whole) => {
                    if whole.iter().zip(&*self.whole).any(|(now, before)| *now && !*before) {
                        cover!("keeper.whole");
                        if self.emptied {
                            cover!("keeper.refilled");
                        }
                    }
                    self.whole = whole;
                }
                Effect::Looked { request, result } if request & MARK_OF_OPERATORS != 0 => {
                    self.tell_operator(request, result.is_ok(), kernel);
                }
                Effect::Looked { request, result } => kernel.looked(request, self.me, result),
                Effect::Done { request, result } if request & MARK_OF_OPERATORS != 0 => {
                    say!(kernel, "node-{} tells an operator what came of a change: {result:?}", self.me);
                    kernel.news.push(News::Changed { request, made: result.is_ok() });
                }
                Effect::Done { request, result } => kernel.edit_done(request, self.me, result),
            }
        }
    }

    fn ask_keeper(&mut self, to: NodeId, call: u64, question: Question, kernel: &mut Kernel) {
        let peer = index_of(to);
        self.note_question(peer, &question, kernel);
        let forked = kernel.known_bad == Some(KnownBad::TwoRegisters);
        let silence = if forked { consent(&question) } else { None };
        self.keeping.asked.insert(call, Asked { to: peer, since: kernel.clock_us(), silence });
        let request =
            ReplicaRequest { id: call | MARK, epoch: self.view.epoch(), ask: ReplicaAsk::Keep(Box::new(question)) };
        if self.send(peer, Class::Background, request, kernel).is_err() {
            self.keeping.unsent.push(call);
        }
    }

    fn note_question(&self, peer: u8, question: &Question, kernel: &mut Kernel) {
        match question {
            Question::Seal { .. } => {
                cover!("ring.seal_asked");
                say!(kernel, "node-{} asks node-{peer} to seal", self.me);
            }
            Question::Compare(question) => {
                cover!("keeper.compared");
                say!(kernel, "node-{} compares partition {} with node-{peer}", self.me, question.call.partition);
            }
            Question::Vote(_) => say!(kernel, "node-{} asks node-{peer} for its vote", self.me),
            _ => {}
        }
    }

    /// Requests go by another charter from now on.
    fn adopt(&mut self, version: u64, charter: Arc<Charter>, kernel: &mut Kernel) {
        let before = self.view.clone();
        self.view = kernel.view_of(version, &charter);
        let epoch = self.view.epoch();
        say!(kernel, "node-{} goes by version {version} of the ring's register, epoch {epoch}", self.me);
        if !before.is_member(self.me) && self.view.is_member(self.me) {
            cover!("ring.joined");
        }
        if before.is_member(self.me) && !self.view.is_member(self.me) {
            cover!("ring.left");
        }
        self.ring_changed(epoch, version, kernel);
        self.look_for_gone(kernel);
    }

    /// Whether strict reads of a partition can be answered here.
    pub(super) fn is_whole(&self, partition: Partition) -> bool {
        self.whole.get(usize::from(partition.0)).copied().unwrap_or(false)
    }
}
