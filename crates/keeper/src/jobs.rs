//! Comparisons under way, and those that peers have with this node: which question, answer and disk operation is whose.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dynamo_merkle::LeafRead;
use dynamo_ring::NodeId;
use dynamo_transfer::{
    Answering, AnsweringEffect, AnsweringEffects, AnsweringSettings, Class, Comparison, ComparisonEffect,
    ComparisonEffects, ComparisonSettings, Ended, MergeRefusal, Outcome, PartitionView, Purpose, Question, StoreFailed,
};

use crate::{
    effect::{StoreAsk, StoreDone},
    keeper::{Trees, with_tree},
};

/// Why two replicas are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// A step gives the partition to this node.
    Fill,
    /// This node's disk was emptied.
    Refill,
    /// This node is no home of it any more.
    Leftover,
    /// Homes compare all the time.
    AntiEntropy,
}

impl Why {
    /// Out of which share it moves bytes.
    pub fn class(self) -> Class {
        if self == Why::AntiEntropy { Class::AntiEntropy } else { Class::Transfers }
    }
}

/// A comparison that this node has with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Of which partition.
    pub partition: u16,
    /// With whom.
    pub peer: NodeId,
    /// What for.
    pub purpose: Purpose,
    /// Why.
    pub why: Why,
}

/// What kind of disk operation it is: each kind has tickets of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A leaf's keys.
    Leaf,
    /// States.
    Records,
    /// A page.
    Page,
    /// A merge.
    Merge,
}

/// Whose a disk operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A comparison's, with its own ticket.
    Asking(u32, Kind, u32),
    /// The answering side's.
    Answering(Kind, u32),
}

/// What has to be done for the comparisons.
#[derive(Debug, Clone, PartialEq)]
pub enum JobEffect {
    /// Ask the peer; the answer is for comparison `job`.
    Ask {
        /// Whom.
        to: NodeId,
        /// Which comparison.
        job: u32,
        /// The question.
        question: Question,
    },
    /// Answer a peer.
    Answer {
        /// The driver's name for the question.
        call: u64,
        /// The answer.
        answer: dynamo_transfer::Answer,
    },
    /// Do this with the store.
    Store {
        /// Whose it is.
        owner: Owner,
        /// What.
        what: StoreAsk,
    },
    /// A comparison has ended.
    Ended {
        /// Which.
        job: Job,
        /// How.
        outcome: Outcome,
        /// Bytes that it was granted and has not moved.
        left: u64,
    },
}

struct Running {
    job: Job,
    epoch: u64,
    comparison: Comparison,
    hungry: bool,
}

/// All comparisons of a node.
pub struct Jobs {
    settings: ComparisonSettings,
    running: BTreeMap<u32, Running>,
    next: u32,
    answering: Answering,
}

impl Jobs {
    /// None yet. `first` makes this run's comparisons differ in name from those before a restart.
    pub fn new(settings: ComparisonSettings, answering: AnsweringSettings, first: u32) -> Jobs {
        Jobs { settings, running: BTreeMap::new(), next: first, answering: Answering::new(answering) }
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// How many with a peer.
    pub fn with_peer(&self, peer: NodeId) -> usize {
        self.running.values().filter(|running| running.job.peer == peer).count()
    }

    /// Whether this partition is being compared with this peer.
    pub fn has(&self, partition: u16, peer: NodeId) -> bool {
        self.running.values().any(|running| (running.job.partition, running.job.peer) == (partition, peer))
    }

    /// Bytes that the comparisons under way have received.
    pub fn fetched_bytes(&self) -> u64 {
        self.running.values().map(|running| running.comparison.moved().fetched_bytes).sum()
    }

    /// Begins one.
    pub fn begin(&mut self, job: Job, epoch: u64, trees: &dyn Trees, now: u64, effects: &mut Vec<JobEffect>) {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let mut comparison = Comparison::new(id, job.partition, epoch, job.purpose, self.settings);
        let mut out = ComparisonEffects::new();
        with_tree(trees, job.partition, |tree| comparison.start(tree, now, &mut out));
        self.running.insert(id, Running { job, epoch, comparison, hungry: false });
        self.carry_out(id, out, effects);
    }

    /// Comparisons that have something to move and may not, the most urgent first: grant each some, by [`Jobs::grant`].
    pub fn hungry(&self) -> Vec<(u32, Why)> {
        let mut hungry: Vec<(u32, Why)> = self
            .running
            .iter()
            .filter(|(_, running)| running.hungry)
            .map(|(id, running)| (*id, running.job.why))
            .collect();
        hungry.sort_by_key(|(id, why)| (*why, *id));
        hungry
    }

    /// A comparison may move so many bytes more.
    pub fn grant(&mut self, id: u32, bytes: u64, now: u64, effects: &mut Vec<JobEffect>) {
        self.step(id, effects, |running, out| {
            running.hungry = false;
            running.comparison.grant(bytes, now, out);
        });
    }

    /// A peer's answer to a comparison's question; None: there will be none.
    pub fn on_answer(
        &mut self,
        id: u32,
        answer: Option<dynamo_transfer::Answer>,
        trees: &dyn Trees,
        now: u64,
        effects: &mut Vec<JobEffect>,
    ) {
        self.step(id, effects, |running, out| match answer {
            Some(answer) => {
                with_tree(trees, running.job.partition, |tree| {
                    running.comparison.on_reply(answer.clone(), tree, now, out)
                });
            }
            None => running.comparison.on_lost(out),
        });
    }

    /// A peer's question, and the partition as it is here.
    pub fn on_question(
        &mut self,
        from: NodeId,
        call: u64,
        question: Question,
        view: PartitionView<'_>,
        effects: &mut Vec<JobEffect>,
    ) {
        let mut out = AnsweringEffects::new();
        let (epoch, sealed, whole, asked) = (view.epoch, view.sealed, view.whole, question.call);
        if self.answering.on_question(from, call, question, view, &mut out).is_err() {
            // What makes no sense is not done; the asking side gives up the comparison.
            let reply = dynamo_transfer::Reply::Refused(dynamo_transfer::Refused::Failed);
            let answer = dynamo_transfer::Answer { call: asked, epoch, sealed, whole, reply };
            effects.push(JobEffect::Answer { call, answer });
        }
        answered(out, effects);
    }

    /// The store has done what was asked for `owner`.
    pub fn on_stored(
        &mut self,
        owner: Owner,
        done: StoreDone,
        trees: &dyn Trees,
        now: u64,
        effects: &mut Vec<JobEffect>,
    ) {
        match owner {
            Owner::Asking(id, kind, ticket) => self.step(id, effects, |running, out| {
                let comparison = &mut running.comparison;
                with_tree(trees, running.job.partition, |tree| match (kind, done.clone()) {
                    (Kind::Leaf, StoreDone::Leaf { entries, end }) => {
                        comparison.on_leaf(ticket, Ok((entries, end)), now, out);
                    }
                    (Kind::Leaf, _) => comparison.on_leaf(ticket, Err(StoreFailed), now, out),
                    (Kind::Records, StoreDone::Records(states)) => {
                        comparison.on_records(ticket, Ok(states), tree, now, out);
                    }
                    (Kind::Records | Kind::Page, _) => comparison.on_records(ticket, Err(StoreFailed), tree, now, out),
                    (Kind::Merge, StoreDone::Merged(merged)) => comparison.on_merged(ticket, merged, tree, now, out),
                    (Kind::Merge, _) => comparison.on_merged(ticket, Err(MergeRefusal::Failed), tree, now, out),
                });
            }),
            Owner::Answering(kind, ticket) => {
                let mut out = AnsweringEffects::new();
                let answering = &mut self.answering;
                match (kind, done) {
                    (Kind::Leaf, StoreDone::Leaf { entries, end }) => {
                        answering.on_leaf(ticket, Ok((entries, end)), &mut out);
                    }
                    (Kind::Leaf, _) => answering.on_leaf(ticket, Err(StoreFailed), &mut out),
                    (Kind::Records, StoreDone::Records(states)) => answering.on_records(ticket, Ok(states), &mut out),
                    (Kind::Records, _) => answering.on_records(ticket, Err(StoreFailed), &mut out),
                    (Kind::Page, StoreDone::Page(page)) => answering.on_page(ticket, Ok(page), &mut out),
                    (Kind::Page, _) => answering.on_page(ticket, Err(StoreFailed), &mut out),
                    (Kind::Merge, StoreDone::Merged(merged)) => answering.on_merged(ticket, merged, &mut out),
                    (Kind::Merge, _) => answering.on_merged(ticket, Err(MergeRefusal::Failed), &mut out),
                }
                answered(out, effects);
            }
        }
    }

    /// The ring turned: comparisons of an older epoch end.
    pub fn on_epoch(&mut self, epoch: u64, effects: &mut Vec<JobEffect>) {
        for id in self.ids() {
            self.step(id, effects, |running, out| running.comparison.on_epoch(epoch, out));
        }
    }

    /// Nodes that can't be reached any more.
    pub fn on_reachable(&mut self, reachable: &BTreeSet<NodeId>, effects: &mut Vec<JobEffect>) {
        for id in self.ids() {
            self.step(id, effects, |running, out| {
                if !reachable.contains(&running.job.peer) {
                    running.comparison.on_lost(out);
                }
            });
        }
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: u64, effects: &mut Vec<JobEffect>) {
        for id in self.ids() {
            self.step(id, effects, |running, out| running.comparison.on_time(now, out));
        }
    }

    fn ids(&self) -> Vec<u32> {
        self.running.keys().copied().collect()
    }

    fn step(&mut self, id: u32, effects: &mut Vec<JobEffect>, step: impl FnOnce(&mut Running, &mut ComparisonEffects)) {
        let Some(running) = self.running.get_mut(&id) else { return };
        let mut out = ComparisonEffects::new();
        step(running, &mut out);
        self.carry_out(id, out, effects);
    }

    fn carry_out(&mut self, id: u32, out: ComparisonEffects, effects: &mut Vec<JobEffect>) {
        for effect in out {
            let Some(running) = self.running.get_mut(&id) else { return };
            let Job { partition, peer, .. } = running.job;
            match effect {
                ComparisonEffect::Ask(question) => effects.push(JobEffect::Ask { to: peer, job: id, question }),
                ComparisonEffect::ReadLeaf(read) => {
                    let owner = Owner::Asking(id, Kind::Leaf, read.ticket);
                    effects.push(JobEffect::Store { owner, what: leaf(partition, read) });
                }
                ComparisonEffect::ReadRecords { ticket, keys, bytes_max } => {
                    let keys = keys.into_iter().map(|key| Bytes::from(key.into_vec())).collect();
                    let what = StoreAsk::Records { partition, keys, bytes_max: bytes_max as usize };
                    effects.push(JobEffect::Store { owner: Owner::Asking(id, Kind::Records, ticket), what });
                }
                ComparisonEffect::Merge { ticket, records } => {
                    let epoch = running.epoch;
                    let what = StoreAsk::Merge { partition, epoch, records };
                    effects.push(JobEffect::Store { owner: Owner::Asking(id, Kind::Merge, ticket), what });
                }
                ComparisonEffect::Hungry => running.hungry = true,
                ComparisonEffect::Finished(outcome) => {
                    let (job, left) = (running.job, running.comparison.budget_left());
                    self.running.remove(&id);
                    effects.push(JobEffect::Ended { job, outcome, left });
                }
            }
        }
    }
}

/// Whether a comparison that ended so may be begun again at once.
pub fn is_trouble(ended: Ended) -> bool {
    !matches!(ended, Ended::Complete { .. } | Ended::Outdated | Ended::Refused { .. })
}

fn answered(out: AnsweringEffects, effects: &mut Vec<JobEffect>) {
    for effect in out {
        effects.push(match effect {
            AnsweringEffect::Reply { call_id, answer, .. } => JobEffect::Answer { call: call_id, answer },
            AnsweringEffect::ReadLeaf { partition, read } => {
                JobEffect::Store { owner: Owner::Answering(Kind::Leaf, read.ticket), what: leaf(partition, read) }
            }
            AnsweringEffect::ReadRecords { ticket, partition, keys, bytes_max } => {
                let keys = keys.into_iter().map(|key| Bytes::from(key.into_vec())).collect();
                let what = StoreAsk::Records { partition, keys, bytes_max: bytes_max as usize };
                JobEffect::Store { owner: Owner::Answering(Kind::Records, ticket), what }
            }
            AnsweringEffect::ReadPage { ticket, partition, after, bytes_max } => {
                let after = after.map(|key| Bytes::from(key.into_vec()));
                let what = StoreAsk::Page { partition, after, bytes_max: bytes_max as usize };
                JobEffect::Store { owner: Owner::Answering(Kind::Page, ticket), what }
            }
            AnsweringEffect::Merge { ticket, partition, epoch, records } => {
                let what = StoreAsk::Merge { partition, epoch, records };
                JobEffect::Store { owner: Owner::Answering(Kind::Merge, ticket), what }
            }
        });
    }
}

fn leaf(partition: u16, read: LeafRead) -> StoreAsk {
    let LeafRead { leaf, after, entries_max, bytes_max, .. } = read;
    StoreAsk::Leaf { partition, leaf, after: after.map(|key| Bytes::from(key.into_vec())), entries_max, bytes_max }
}
