//! A comparison of one partition with one peer, after which what is missing was fetched, or sent, or both (§4.7, 4.9).
//!
//! A partition's move to a new home, anti-entropy between homes, refilling a wiped disk and handing over what a former
//! home still has are all this. Trees say what is missing, so one that was interrupted anywhere just begins again and moves
//! only the rest. Where this node has nothing at all it first takes the partition page by page (`bulk.rs`).
//!
//! *What is under way:* one step down the tree, or up to `in_flight` fetches and pushes (`moves.rs`), or one page while those
//! before it are merged. So `in_flight` times `fetch_bytes` are in memory, one record each more, and the differences that
//! one reply can name.
//!
//! *Pace:* steps down the tree cost nothing. Keys and states are only moved within what [`Comparison::grant`] gave; when
//! that is used up there is one [`ComparisonEffect::Hungry`]. One record more may come on top, and is paid off first.
//!
//! *What it does not do:* look into states, find out who is up, try again. It ends at the first sign of trouble.

mod asker;
mod bulk;
mod moves;

use dynamo_merkle::{self as merkle, Call, Cursor, Ending, Entry, Initiator, Key, LeafRead, PeerError, Shape, Tree};
use smallvec::SmallVec;

use crate::question::{Answer, Ask, MergeRefusal, Question, Record, Refused, Reply, StoreFailed, Stored};
use asker::Asker;
use bulk::Bulk;
use moves::Moves;

/// Bounds of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct ComparisonSettings {
    /// The exchange's, of which `reply_timeout_us` is not used. Its `requests_max` bounds the steps down the tree, and the
    /// pages of a bulk copy as well.
    pub exchange: merkle::Settings,
    /// The shape of this node's trees.
    pub shape: Shape,
    /// Keys that are fetched or pushed at once; 1 to [`merkle::ENTRIES_MAX`].
    pub fetch_keys: usize,
    /// Bytes of keys and states that are fetched or pushed at once, or that a page has; one record more may come on top.
    /// At least 1.
    pub fetch_bytes: u32,
    /// Fetches and pushes at once, and pages that are being merged; at least 1.
    pub in_flight: usize,
    /// Silence of the peer to any question, microseconds, after which the comparison ends.
    pub reply_timeout_us: u64,
}

impl ComparisonSettings {
    /// 64 keys or 1 MiB at once, four times; a million steps; ten seconds of silence.
    pub fn new(hash: merkle::KeyHash, shape: Shape) -> ComparisonSettings {
        ComparisonSettings {
            exchange: merkle::Settings { requests_max: 1_000_000, ..merkle::Settings::new(hash) },
            shape,
            fetch_keys: 64,
            fetch_bytes: 1 << 20,
            in_flight: 4,
            reply_timeout_us: 10_000_000,
        }
    }

    fn clamped(self) -> ComparisonSettings {
        ComparisonSettings {
            exchange: merkle::Settings { reply_timeout_us: self.reply_timeout_us, ..self.exchange },
            fetch_keys: self.fetch_keys.clamp(1, merkle::ENTRIES_MAX),
            fetch_bytes: self.fetch_bytes.max(1),
            in_flight: self.in_flight.max(1),
            ..self
        }
    }
}

/// What a comparison is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To have all that the peer has.
    Pull,
    /// That the peer has all that this node has.
    Push,
    /// Both.
    Both,
}

/// What the driver of the asking side has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ComparisonEffect {
    /// Send a question to the peer; its answer goes to [`Comparison::on_reply`].
    Ask(Question),
    /// Read keys of a leaf: [`Comparison::on_leaf`].
    ReadLeaf(LeafRead),
    /// Read this node's own states of these keys, to be pushed: [`Comparison::on_records`].
    ReadRecords {
        /// Comes back with the states.
        ticket: u32,
        /// Which keys.
        keys: Vec<Key>,
        /// No further state is needed once there are so many bytes; the first is in any case.
        bytes_max: u32,
    },
    /// Check each record as one that comes with a write, merge them all durably, then call [`Comparison::on_merged`].
    Merge {
        /// Comes back when it is done.
        ticket: u32,
        /// What the peer has.
        records: Vec<Record>,
    },
    /// There is something to move, and no budget left: [`Comparison::grant`] some. Said once, until it was granted.
    Hungry,
    /// Always the last one: the machine may be dropped. What was read or is being merged need not be reported any more.
    Finished(Outcome),
}

/// Effects in the order in which they have to be carried out.
pub type ComparisonEffects = SmallVec<[ComparisonEffect; 4]>;

/// How a comparison went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// What it moved.
    pub moved: Moved,
}

/// What a comparison moved so far. Bytes are of keys and states.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moved {
    /// Keys that were merged here durably.
    pub fetched: u64,
    /// Their bytes.
    pub fetched_bytes: u64,
    /// Keys that the peer merged durably.
    pub pushed: u64,
    /// Their bytes.
    pub pushed_bytes: u64,
    /// Questions of any kind.
    pub requests: u32,
}

/// How a comparison ended. Whatever it was, what was merged stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The whole tree was compared. All that was asked for was merged here durably, all that was to be sent was
    /// acknowledged there.
    Complete {
        /// The peer had sealed the partition for this epoch throughout: every answer said so, the first one included. So
        /// what a complete pull brought is all that it will ever apply in this epoch.
        sealed: bool,
        /// Each answer said that the peer had all that it ever acknowledged.
        whole: bool,
        /// Nothing differed at all.
        equal: bool,
    },
    /// The whole tree was compared, but some keys could not be had here or there (damaged, refused).
    Partial {
        /// So many, at least one.
        keys: u64,
    },
    /// The peer refused.
    Refused {
        /// Its epoch. A greater one than this node's means that there is a newer ring to be had.
        epoch: u64,
        /// Why.
        reason: Refused,
    },
    /// The peer did not answer in time.
    Silent,
    /// The peer cannot be reached.
    Unreachable,
    /// This node's own ring turned, or this node has sealed the partition and something was to be merged here.
    Outdated,
    /// This node's own store failed, or its disk is full.
    Failed,
    /// It took more steps or pages than the settings allow.
    TooLong,
    /// The peer sent what cannot be: break off the connection.
    Broken(PeerError),
}

#[derive(Debug)]
enum Phase {
    New { resume: Option<Key> },
    Bulk(Bulk),
    Exchange,
    Finished,
}

/// Compares a partition with a peer's, and moves what differs.
///
/// ```
/// use dynamo_merkle::{Shape, Tree};
/// use dynamo_ring::NodeId;
/// use dynamo_transfer::{
///     Answering, AnsweringEffect, AnsweringEffects, AnsweringSettings, Comparison, ComparisonEffect, ComparisonEffects,
///     ComparisonSettings, Ended, PartitionView, Purpose,
/// };
///
/// // This node and its peer have the same key, so a step down the tree is all it takes.
/// let hash = |key: &[u8]| key.iter().fold(0, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
/// let settings = ComparisonSettings::new(hash, Shape::default());
/// let mut mine = Tree::new(Shape::default());
/// mine.apply(hash(b"cart/17"), None, Some(5));
/// let theirs = mine.clone();
///
/// let mut comparison = Comparison::new(1, 7, 3, Purpose::Both, settings);
/// let mut effects = ComparisonEffects::new();
/// comparison.start(&mine, 0, &mut effects);
/// let Some(ComparisonEffect::Ask(question)) = effects.pop() else { panic!("a question to the peer") };
///
/// let exchange = settings.exchange;
/// let bounds = AnsweringSettings { exchange, jobs_max: 64, jobs_per_peer_max: 8, bytes_max: 1 << 20 };
/// let mut answering = Answering::new(bounds);
/// let mut answers = AnsweringEffects::new();
/// let view = PartitionView { epoch: 3, sealed: true, whole: true, tree: Some(&theirs) };
/// answering.on_question(NodeId(2), 0, question, view, &mut answers)?;
/// let Some(AnsweringEffect::Reply { answer, .. }) = answers.pop() else { panic!("its answer") };
///
/// comparison.on_reply(answer, &mine, 10, &mut effects);
/// let Some(ComparisonEffect::Finished(outcome)) = effects.pop() else { panic!("the end") };
/// assert_eq!(outcome.ended, Ended::Complete { sealed: true, whole: true, equal: true });
/// # Ok::<(), dynamo_merkle::PeerError>(())
/// ```
#[derive(Debug)]
pub struct Comparison {
    asker: Asker,
    purpose: Purpose,
    phase: Phase,
    initiator: Initiator,
    /// The step down the tree that is waited for.
    step: Option<u32>,
    /// The initiator waits until what it found was moved.
    settling: bool,
    moves: Moves,
    hungry: bool,
    /// Records that the bulk copy could not have. The exchange finds them again, mostly.
    bulk_lost: u64,
    /// Where the bulk copy was when the comparison ended in it.
    interrupted_at: Option<Key>,
    sealed: bool,
    whole: bool,
    equal: bool,
}

impl Comparison {
    /// A comparison that has not begun. `id` must not be that of another one of this partition on the same connection.
    pub fn new(id: u32, partition: u16, epoch: u64, purpose: Purpose, settings: ComparisonSettings) -> Comparison {
        let settings = settings.clamped();
        let call = Call { partition, exchange: id, step: 0 };
        Comparison {
            initiator: Initiator::new(partition, id, epoch, settings.shape, settings.exchange, Cursor::default()),
            asker: Asker::new(call, epoch, settings),
            purpose,
            phase: Phase::New { resume: None },
            step: None,
            settling: false,
            moves: Moves::default(),
            hungry: false,
            bulk_lost: 0,
            interrupted_at: None,
            sealed: true,
            whole: true,
            equal: true,
        }
    }

    /// Goes on with a bulk copy of this peer's partition that was interrupted: see [`Comparison::bulk_position`]. To be
    /// called before [`Comparison::start`].
    pub fn resume_bulk(&mut self, after: Key) {
        if let Phase::New { resume } = &mut self.phase {
            *resume = Some(after);
        }
    }

    /// Begins. The tree, here and below, is this node's as it is now; its shape must be that of the settings.
    pub fn start(&mut self, tree: &Tree, now: u64, effects: &mut ComparisonEffects) {
        let Phase::New { resume } = &mut self.phase else { return };
        let resume = resume.take();
        if self.purpose != Purpose::Push && (resume.is_some() || tree.root() == 0) {
            self.phase = Phase::Bulk(Bulk::new(resume));
        } else {
            self.begin_exchange(tree, now, effects);
        }
        self.advance(tree, now, effects);
    }

    /// More bytes may be moved.
    pub fn grant(&mut self, bytes: u64, now: u64, effects: &mut ComparisonEffects) {
        self.asker.budget.grant(bytes);
        self.hungry = false;
        self.fill(now, effects);
    }

    /// What was granted and is not used up: after the end, it can be given back.
    pub fn budget_left(&self) -> u64 {
        self.asker.budget.left()
    }

    /// What was moved so far.
    pub fn moved(&self) -> Moved {
        self.asker.moved
    }

    /// All keys up to this one were copied in bulk and are durable here: while that is being done, and if it ended then.
    pub fn bulk_position(&self) -> Option<&Key> {
        if let Phase::Bulk(bulk) = &self.phase { bulk.merged_up_to() } else { self.interrupted_at.as_ref() }
    }

    /// Whether there was [`ComparisonEffect::Finished`].
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished)
    }

    /// The peer's answer. One to another comparison, or that was not waited for any more, is ignored.
    pub fn on_reply(&mut self, answer: Answer, tree: &Tree, now: u64, effects: &mut ComparisonEffects) {
        let Answer { call, epoch, sealed, whole, reply } = answer;
        let own = self.asker.call();
        if self.is_finished() || (call.partition, call.exchange) != (own.partition, own.exchange) {
            return;
        }
        self.sealed &= sealed;
        self.whole &= whole;
        let told = match reply {
            Reply::Refused(reason) => return self.finish(Ended::Refused { epoch, reason }, effects),
            _ if epoch != self.asker.epoch => {
                return self.finish(Ended::Refused { epoch, reason: Refused::Epoch }, effects);
            }
            Reply::Tree(answer) => self.on_tree(call, answer, tree, now, effects),
            Reply::Fetched(states) => self.moves.on_fetched(call.step, states, &mut self.asker, effects),
            Reply::Pushed { refused } => self.moves.on_pushed(call.step, refused, &mut self.asker),
            Reply::Page(page) => match &mut self.phase {
                Phase::Bulk(bulk) => bulk.on_page(call.step, page, &mut self.asker, effects).map(|found| {
                    self.equal &= !found;
                }),
                _ => Ok(()),
            },
        };
        match told {
            Ok(()) => self.advance(tree, now, effects),
            Err(error) => self.finish(Ended::Broken(error), effects),
        }
    }

    /// The answer to [`ComparisonEffect::ReadLeaf`]: keys in order, and whether the leaf has no more.
    pub fn on_leaf(
        &mut self,
        ticket: u32,
        page: Result<(Vec<Entry>, bool), StoreFailed>,
        now: u64,
        effects: &mut ComparisonEffects,
    ) {
        if self.is_finished() {
            return;
        }
        let mut told = merkle::Effects::new();
        match page {
            Ok((entries, end)) => self.initiator.on_leaf_page(ticket, entries, end, now, &mut told),
            Err(StoreFailed) => self.initiator.on_leaf_failed(ticket, &mut told),
        }
        self.drive(told, effects);
    }

    /// The answer to [`ComparisonEffect::ReadRecords`]: the states of the first, or first few, of the keys, at least one.
    pub fn on_records(
        &mut self,
        ticket: u32,
        states: Result<Vec<Stored>, StoreFailed>,
        tree: &Tree,
        now: u64,
        effects: &mut ComparisonEffects,
    ) {
        if self.is_finished() {
            return;
        }
        match states {
            Ok(states) => {
                self.moves.on_records(ticket, states, &mut self.asker, now, effects);
                self.advance(tree, now, effects);
            }
            Err(StoreFailed) => self.finish(Ended::Failed, effects),
        }
    }

    /// The answer to [`ComparisonEffect::Merge`]: all is durable here, or not.
    pub fn on_merged(
        &mut self,
        ticket: u32,
        merged: Result<(), MergeRefusal>,
        tree: &Tree,
        now: u64,
        effects: &mut ComparisonEffects,
    ) {
        let refused = match merged {
            _ if self.is_finished() => return,
            Ok(()) => 0,
            Err(MergeRefusal::Some { keys }) => keys,
            Err(MergeRefusal::Sealed | MergeRefusal::Outdated { .. }) => return self.finish(Ended::Outdated, effects),
            Err(MergeRefusal::DiskFull | MergeRefusal::Failed) => return self.finish(Ended::Failed, effects),
        };
        match &mut self.phase {
            Phase::Bulk(bulk) => bulk.on_merged(ticket, refused, &mut self.asker),
            _ => self.moves.on_merged(ticket, refused, &mut self.asker),
        }
        self.advance(tree, now, effects);
    }

    /// The peer cannot be reached, or the connection that carried the questions broke.
    pub fn on_lost(&mut self, effects: &mut ComparisonEffects) {
        self.finish(Ended::Unreachable, effects);
    }

    /// This node has a ring of this epoch. Another than the comparison's ends it.
    pub fn on_epoch(&mut self, epoch: u64, effects: &mut ComparisonEffects) {
        if epoch != self.asker.epoch {
            self.finish(Ended::Outdated, effects);
        }
    }

    /// Time has passed; see [`Comparison::next_time`]. Too early a call does nothing.
    pub fn on_time(&mut self, now: u64, effects: &mut ComparisonEffects) {
        if self.next_time().is_some_and(|due| due <= now) {
            self.finish(Ended::Silent, effects);
        }
    }

    /// When [`Comparison::on_time`] has to be called next; None while not waiting for the peer.
    pub fn next_time(&self) -> Option<u64> {
        match &self.phase {
            Phase::New { .. } | Phase::Finished => None,
            Phase::Bulk(bulk) => bulk.next_time(),
            Phase::Exchange => self.initiator.next_time().into_iter().chain(self.moves.next_time()).min(),
        }
    }

    fn on_tree(
        &mut self,
        call: Call,
        answer: merkle::Answer,
        tree: &Tree,
        now: u64,
        effects: &mut ComparisonEffects,
    ) -> Result<(), PeerError> {
        // What comes late or twice is no error.
        if self.step.take_if(|step| *step == call.step).is_none() {
            return Ok(());
        }
        let mut told = merkle::Effects::new();
        self.initiator.on_reply(merkle::Reply { call, answer }, tree, now, &mut told)?;
        self.drive(told, effects);
        Ok(())
    }

    fn begin_exchange(&mut self, tree: &Tree, now: u64, effects: &mut ComparisonEffects) {
        self.phase = Phase::Exchange;
        let mut told = merkle::Effects::new();
        self.initiator.start(tree, now, &mut told);
        self.drive(told, effects);
    }

    /// Carries out what the initiator wants.
    fn drive(&mut self, told: merkle::Effects, effects: &mut ComparisonEffects) {
        let (mut want, mut offer) = (Vec::new(), Vec::new());
        for effect in told {
            match effect {
                merkle::Effect::Send(merkle::Request { call, epoch, shape, ask }) => {
                    self.step = Some(call.step);
                    self.asker.send(Question { call, epoch, ask: Ask::Tree { shape, ask } }, effects);
                }
                merkle::Effect::ReadLeaf(read) => effects.push(ComparisonEffect::ReadLeaf(read)),
                merkle::Effect::Want(found) => want = found,
                merkle::Effect::Offer(found) => offer = found,
                merkle::Effect::Finished(ending) => return self.finish(self.ended(ending), effects),
            }
        }
        if want.is_empty() && offer.is_empty() {
            return;
        }
        (self.settling, self.equal) = (true, false);
        match self.purpose {
            Purpose::Pull => offer.clear(),
            Purpose::Push => want.clear(),
            Purpose::Both => {}
        }
        self.moves.add(want, offer);
    }

    fn ended(&self, ending: Ending) -> Ended {
        // The exchange meets again what the copy could not have, unless it became whole meanwhile.
        match (ending, self.moves.lost.max(self.bulk_lost)) {
            (Ending::Complete, 0) => Ended::Complete { sealed: self.sealed, whole: self.whole, equal: self.equal },
            (Ending::Complete, keys) => Ended::Partial { keys },
            (Ending::Paused, _) => Ended::TooLong,
            (Ending::Outdated, _) => Ended::Outdated,
            (Ending::Silent, _) => Ended::Silent,
            (Ending::Failed, _) => Ended::Failed,
            (Ending::Refused { .. }, _) => unreachable!("refusals are not handed to the exchange"),
        }
    }

    /// Goes on as far as it can.
    fn advance(&mut self, tree: &Tree, now: u64, effects: &mut ComparisonEffects) {
        self.fill(now, effects);
        if let Phase::Bulk(bulk) = &self.phase
            && bulk.is_done()
        {
            self.bulk_lost = bulk.lost;
            self.begin_exchange(tree, now, effects);
        }
        while self.settling && self.moves.is_idle() && !self.is_finished() {
            self.settling = false;
            let mut told = merkle::Effects::new();
            self.initiator.on_settled(tree, now, &mut told);
            self.drive(told, effects);
            self.fill(now, effects);
        }
    }

    /// Asks for and sends what slots and budget allow.
    fn fill(&mut self, now: u64, effects: &mut ComparisonEffects) {
        let wants_budget = match &mut self.phase {
            Phase::Bulk(_) if self.asker.moved.requests >= self.asker.settings.exchange.requests_max => {
                return self.finish(Ended::TooLong, effects);
            }
            Phase::Bulk(bulk) => bulk.advance(&mut self.asker, now, effects),
            Phase::Exchange => self.moves.advance(&mut self.asker, now, effects),
            Phase::New { .. } | Phase::Finished => false,
        };
        if wants_budget && !self.hungry {
            self.hungry = true;
            effects.push(ComparisonEffect::Hungry);
        }
    }

    fn finish(&mut self, ended: Ended, effects: &mut ComparisonEffects) {
        if !self.is_finished() {
            self.interrupted_at = self.bulk_position().cloned();
            self.phase = Phase::Finished;
            self.moves = Moves::default();
            effects.push(ComparisonEffect::Finished(Outcome { ended, moved: self.asker.moved }));
        }
    }
}
