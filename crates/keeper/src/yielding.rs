//! Background work yields to the requests (§6.5): what this node moves for itself, and what it reads and merges for others,
//! comes out of one rate. The other side's controller does not see this node's clients, so each looks after its own.

use std::collections::{BTreeSet, VecDeque};

use dynamo_ring::NodeId;
use dynamo_transfer::{Answer as Compared, Ask, Class, PartitionView, Question, Refused, Reply, SliceState, Watch};

use crate::{
    effect::{Effect, Effects},
    jobs::Why,
    keeper::{Keeper, Situation},
    message::Answer,
};

/// Questions of others that wait for their turn; beyond that they are refused, and asked again later.
const HELD_MAX: usize = 256;
/// How long one waits, microseconds: well below what makes the one who asks give it up.
const HELD_US: u64 = 3_500_000;
/// Least and greatest piece that a comparison is granted at once, bytes.
const PIECE_BYTES: (u64, u64) = (16 << 10, 32 << 10);

/// A question that waits for its turn.
#[derive(Debug)]
struct Held {
    since: u64,
    from: NodeId,
    call: u64,
    question: Question,
}

/// Questions that wait, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Waiting(VecDeque<Held>);

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Keeper {
    /// How the foreground fares (§6.5): its 99th percentile since the last call, microseconds; None: there were no requests.
    pub fn on_foreground(&mut self, p99_us: Option<u64>, now: u64) {
        self.slices.on_sample(p99_us, None, now);
    }

    /// What the next call of [`Keeper::on_foreground`] is waited for.
    pub fn foreground_watch(&self) -> Watch {
        self.slices.watch()
    }

    /// So many bytes of hints were delivered since the last call, and there are more. Returns how many may be in a second.
    pub fn hints_moved(&mut self, bytes: u64, now: u64) -> u64 {
        self.slices.paced(Class::Hints, bytes, now)
    }

    /// What background work may do at present, and does.
    pub fn slices(&self, now: u64) -> SliceState {
        self.slices.state(now)
    }

    /// Lets hungry comparisons move what their class may. What the old homes are sealed for does not wait: clients do.
    pub(crate) fn grant(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        let hungry = self.jobs.hungry();
        if hungry.is_empty() {
            return;
        }
        // A small part of a second's: most partitions are small, and one must not hold up all others while it is answered.
        let piece = (self.slices.state(at.now).rate_bytes_per_s / 32).clamp(PIECE_BYTES.0, PIECE_BYTES.1);
        let mut out = Vec::new();
        for (job, why) in hungry {
            let urgent = self.sealing && why == Why::Fill;
            if urgent {
                self.slices.owe(why.class(), piece, at.now);
            }
            if urgent || self.slices.take(why.class(), piece, at.now) {
                self.jobs.grant(job, piece, at.now, &mut out);
            }
        }
        self.job_effects(out, at, effects);
    }

    /// A peer compares a partition with this node's.
    pub(crate) fn compared(
        &mut self,
        from: NodeId,
        call: u64,
        question: Question,
        at: &Situation<'_>,
        effects: &mut Effects,
    ) {
        let partition = question.call.partition;
        let moves = !matches!(question.ask, Ask::Tree { .. });
        let urgent = self.sealed.contains(&partition);
        // Steps down the tree cost next to nothing, and say nothing of what is wanted. Else nobody goes before those that wait
        // for the same share.
        let free = !moves || urgent;
        let class = self.class_of(partition);
        let first = || self.waiting.0.iter().all(|held| self.class_of(held.question.call.partition) != class);
        if free || (first() && self.slices.take(class, 0, at.now)) {
            self.answer_comparison(from, call, question, at, effects);
        } else if self.waiting.0.len() < HELD_MAX {
            self.waiting.0.push_back(Held { since: at.now, from, call, question });
        } else {
            self.busy(call, &question, effects);
        }
    }

    /// Answers what has waited, as far as it may.
    pub(crate) fn answer_waiting(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        let mut place = 0;
        // The classes that have had their part: who waits for another is not held up behind them.
        let mut spent = BTreeSet::new();
        while let Some(held) = self.waiting.0.get(place) {
            let (partition, class) = (held.question.call.partition, self.class_of(held.question.call.partition));
            let late = at.now.saturating_sub(held.since) > HELD_US;
            let goes =
                self.sealed.contains(&partition) || !spent.contains(&class) && self.slices.take(class, 0, at.now);
            if !late && !goes {
                spent.insert(class);
                place += 1;
                continue;
            }
            let Some(Held { from, call, question, .. }) = self.waiting.0.remove(place) else { return };
            if goes {
                self.answer_comparison(from, call, question, at, effects);
            } else {
                self.busy(call, &question, effects);
            }
        }
    }

    /// What was read for a peer counts like this node's own; what it pushed was counted when it came.
    pub(crate) fn moved_for_peer(&mut self, answer: &Compared, now: u64) {
        let bytes: u64 = match &answer.reply {
            Reply::Fetched(found) => found.iter().map(|stored| stored.set_bytes()).sum(),
            Reply::Page(page) => page.records.iter().map(|record| record.bytes()).sum(),
            Reply::Tree(_) | Reply::Pushed { .. } | Reply::Refused(_) => 0,
        };
        if bytes > 0 {
            self.slices.owe(self.class_of(answer.call.partition), bytes, now);
        }
    }

    fn answer_comparison(
        &mut self,
        from: NodeId,
        call: u64,
        question: Question,
        at: &Situation<'_>,
        effects: &mut Effects,
    ) {
        let ring = self.charter().ring();
        let partition = question.call.partition;
        let known = u32::from(partition) < ring.partitions().get();
        // What somebody brings who is outside may be older than what was collected since he was in.
        let brings = matches!(question.ask, Ask::Push(_));
        let taken = !brings || self.charter().takes_from(from);
        let home = known && taken && ring.is_home(dynamo_ring::Partition(partition), self.me);
        let (epoch, sealed) = (ring.epoch(), self.gives_all(partition));
        let whole = self.whole().get(usize::from(partition)).is_some_and(|whole| *whole);
        if let Ask::Push(records) = &question.ask {
            let bytes = records.iter().map(|record| record.bytes()).sum();
            self.slices.owe(self.class_of(partition), bytes, at.now);
        }
        let mut out = Vec::new();
        if home {
            let (jobs, mut question) = (&mut self.jobs, Some(question));
            at.trees.with(partition, &mut |tree| {
                if let Some(question) = question.take() {
                    let view = PartitionView { epoch, sealed, whole, tree: Some(tree) };
                    jobs.on_question(from, call, question, view, &mut out);
                }
            });
        } else {
            let view = PartitionView { epoch, sealed, whole, tree: None };
            self.jobs.on_question(from, call, question, view, &mut out);
        }
        self.job_effects(out, at, effects);
    }

    fn busy(&self, call: u64, question: &Question, effects: &mut Effects) {
        let epoch = self.charter().ring().epoch();
        let reply = Reply::Refused(Refused::Busy);
        let answer = Answer::Compare(Compared { call: question.call, epoch, sealed: false, whole: false, reply });
        effects.push(Effect::Answer { call, answer });
    }

    /// Out of whose share a peer's question is answered: why it asks it does not say.
    fn class_of(&self, partition: u16) -> Class {
        let moving = self.step.iter().flat_map(|step| &step.affected).any(|affected| affected.partition == partition);
        if moving { Class::Transfers } else { Class::AntiEntropy }
    }
}
