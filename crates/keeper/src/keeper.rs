//! The machine itself: what comes in, to whom it belongs, and what has to be done next.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use dynamo_merkle::Tree;
use dynamo_ring::{NodeId, charter::Charter, register::Value};
use dynamo_transfer::{
    AnsweringSettings, Class, ComparisonSettings, Schedule, ScheduleSettings, SliceSettings, Slices,
};

use crate::{
    adopt::{Learning, Refused},
    collect::{self, Collecting},
    doubt::{DOUBT_REQUEST, Doubt},
    effect::{ChangeError, Effect, Effects, StoreAsk},
    fill::Fill,
    jobs::{JobEffect, Jobs, Owner},
    leftovers::Leftover,
    message::{Answer, Question},
    recall::Recall,
    registry::{self, Registry, RegistryEffect, Write},
    report::{FillReport, Report},
    scrub::Scrub,
    step::Step,
    steward::{StepProgress, Steward},
    trouble,
    yielding::Waiting,
};

/// Where it is kept which partitions are whole here.
pub const WHOLE_KEY: &str = "whole";

/// How a keeper behaves.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Comparisons that this node begins.
    pub comparison: ComparisonSettings,
    /// Those that it answers.
    pub answering: AnsweringSettings,
    /// Comparisons at once.
    pub jobs_max: usize,
    /// With one peer.
    pub jobs_per_peer_max: usize,
    /// How eagerly homes compare.
    pub schedule: ScheduleSettings,
    /// How much may be moved behind the requests.
    pub slices: SliceSettings,
    /// Records that are deleted at once of a partition that was given away.
    pub forget_max: usize,
    /// How often those who take part in a step are asked, microseconds.
    pub ask_us: u64,
    /// The same while they are sealed.
    pub ask_sealed_us: u64,
    /// How often tombstones are collected at most, microseconds; 0: never.
    pub collect_every_us: u64,
}

/// This node's trees, to be read for a moment.
pub trait Trees {
    /// Gives the tree of a partition to `read`, once.
    fn with(&self, partition: u16, read: &mut dyn FnMut(&Tree));
}

/// Reads a tree.
pub fn with_tree<T>(trees: &dyn Trees, partition: u16, read: impl FnOnce(&Tree) -> T) -> T {
    let (mut read, mut result) = (Some(read), None);
    trees.with(partition, &mut |tree| {
        if let Some(read) = read.take() {
            result = Some(read(tree));
        }
    });
    result.expect("a tree is given once")
}

/// What a disk holds of the keeper's.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Of the register.
    pub register: registry::Kept,
    /// Under [`WHOLE_KEY`].
    pub whole: Option<Bytes>,
    /// By partition: the oldest epoch that the store takes.
    pub fences: Vec<u64>,
}

/// What the driver knows and the keeper does not.
pub struct Situation<'a> {
    /// Microseconds from any beginning; never goes back.
    pub now: u64,
    /// Any number, another each time.
    pub random: u64,
    /// This node's trees.
    pub trees: &'a dyn Trees,
}

/// Whose a disk operation is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ticket {
    Registry(Write),
    LearntFence,
    LearntValue,
    Sealed(u64, Vec<u16>),
    Whole,
    Fenced,
    Scrubbed,
    Marks,
    Clear,
    Lots,
    Job(Owner),
    Forgot(u16),
    Round(collect::Step),
}

/// Whose a question is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Vote,
    Attest,
    Newer,
    Report,
    Compare(u32),
    Roots,
    Recall,
    Round,
    Held(u64),
    Collect,
}

/// Requests of the keeper's own, beside administrators'.
pub(crate) const OWN_REQUEST: u64 = u64::MAX;

/// Under this name this node asks itself for its vote: nobody has a link to himself.
const OWN_CALL: u64 = u64::MAX;

/// What a node does behind the requests.
pub struct Keeper {
    pub(crate) me: NodeId,
    pub(crate) incarnation: u64,
    pub(crate) settings: Settings,
    pub(crate) registry: Registry,
    pub(crate) recall: Recall,
    pub(crate) doubt: Doubt,
    pub(crate) learning: Option<Learning>,
    pub(crate) refused: Refused,
    pub(crate) step: Option<Step>,
    pub(crate) sealing: bool,
    /// Partitions that this node has sealed for the settled epoch, durably.
    pub(crate) sealed: BTreeSet<u16>,
    pub(crate) fills: BTreeMap<u16, Fill>,
    pub(crate) refills: BTreeMap<u16, Fill>,
    pub(crate) whole: Vec<bool>,
    /// What is said in its place while it is not known whether this disk is an old copy.
    not_whole: Vec<bool>,
    pub(crate) leftovers: BTreeMap<u16, Leftover>,
    pub(crate) jobs: Jobs,
    pub(crate) steward: Steward,
    pub(crate) reachable: BTreeSet<NodeId>,
    /// Which version of the register others have, as gossip says.
    pub(crate) versions: BTreeMap<NodeId, u64>,
    /// max(R, N - R + 1), the largest over the buckets.
    pub(crate) needed: usize,
    pub(crate) next_ask: u64,
    /// The highest epoch that this node has raised a fence for, and since when that has been ahead of its ring.
    pub(crate) fenced_to: u64,
    pub(crate) ahead_since: Option<u64>,
    pub(crate) next_pull: u64,
    pub(crate) fetched: u64,
    /// The newest value is of this node's own making: it tells the others.
    pub(crate) made: bool,
    next_admit: u64,
    pub(crate) next_look: u64,
    pub(crate) watched_until: u64,
    pub(crate) schedule: Schedule,
    pub(crate) slices: Slices,
    pub(crate) waiting: Waiting,
    pub(crate) scrub: Scrub,
    pub(crate) collecting: Collecting,
    pub(crate) tickets: BTreeMap<u64, Ticket>,
    pub(crate) asked: BTreeMap<u64, (NodeId, Asked)>,
    next_number: u64,
}

impl Keeper {
    /// With what the disk holds. `first` is the charter that the configuration makes.
    ///
    /// # Errors
    /// What the disk holds can't be used, in words.
    pub fn new(
        me: NodeId,
        incarnation: u64,
        first: &Charter,
        kept: &Kept,
        settings: Settings,
        (now, random): (u64, u64),
    ) -> Result<Keeper, String> {
        let registry = Registry::new(me, incarnation, first, &kept.register)?;
        let charter = registry.charter().clone();
        let partitions = charter.ring().partitions().get() as usize;
        let epoch = charter.ring().epoch();
        let whole = kept.whole.as_deref().and_then(|bytes| decode_whole(bytes, incarnation, partitions));
        let sealed = (0..).zip(&kept.fences).filter(|(_, fence)| **fence > epoch).map(|(partition, _)| partition);
        let mut keeper = Keeper {
            me,
            incarnation,
            settings,
            learning: None,
            refused: Refused::default(),
            step: None,
            sealing: false,
            sealed: sealed.collect(),
            fills: BTreeMap::new(),
            refills: BTreeMap::new(),
            whole: whole.unwrap_or_else(|| vec![false; partitions]),
            not_whole: vec![false; partitions],
            recall: Recall::default(),
            doubt: Doubt::default(),
            leftovers: BTreeMap::new(),
            jobs: Jobs::new(settings.comparison, settings.answering, random as u32),
            steward: Steward::default(),
            reachable: BTreeSet::new(),
            versions: BTreeMap::new(),
            needed: usize::from(charter.ring().n()) / 2 + 1,
            next_ask: 0,
            fenced_to: kept.fences.iter().copied().max().unwrap_or(0),
            ahead_since: None,
            next_pull: 0,
            fetched: 0,
            made: false,
            next_admit: 0,
            next_look: 0,
            watched_until: 0,
            schedule: Schedule::new(me, settings.schedule, now, random),
            slices: Slices::new(settings.slices, now),
            waiting: Waiting::default(),
            scrub: Scrub::default(),
            collecting: Collecting::new(random, now.saturating_add(settings.collect_every_us)),
            tickets: BTreeMap::new(),
            asked: BTreeMap::new(),
            // Answers to questions of an earlier run must not be taken for answers to this run's.
            next_number: random >> 1,
            registry,
        };
        keeper.look_at_step();
        keeper.schedule_ring(now);
        Ok(keeper)
    }

    /// The register's version that is known here.
    pub fn version(&self) -> u64 {
        self.registry.known().version()
    }

    /// The charter that requests go by.
    pub fn charter(&self) -> &Arc<Charter> {
        self.registry.charter()
    }

    /// The newest value known to be chosen.
    pub fn known(&self) -> &Value {
        self.registry.known()
    }

    /// By partition: whether this node has all that it acknowledged in any life, and knows it.
    pub fn whole(&self) -> &[bool] {
        if self.recall.known() { &self.whole } else { &self.not_whole }
    }

    /// The same as the disk has it, whether or not others have said yet that it is no old copy of itself.
    pub fn whole_if_newest(&self) -> &[bool] {
        &self.whole
    }

    /// Homes that are not filled yet.
    pub fn refilling(&self) -> usize {
        self.refills.len()
    }

    /// Partitions of which this node has records and is no home.
    pub fn leftovers(&self) -> usize {
        self.leftovers.len()
    }

    /// Whether this node's disk gives a vote.
    pub fn votes(&self) -> bool {
        self.registry.votes()
    }

    /// Where the step under way stands, as far as it was asked for: `None` without one.
    pub fn progress(&self, name: impl Fn(NodeId) -> String) -> Option<StepProgress> {
        let step = self.step.as_ref()?;
        Some(self.steward.progress(step, self.needed, &self.alive(), name))
    }

    /// Whether there is something to do: it is to be told the time more often then.
    pub fn is_busy(&self) -> bool {
        let filling = self.step.is_some() || !self.refills.is_empty() || !self.leftovers.is_empty();
        let deciding = self.registry.is_changing() || self.registry.is_looked_at() || self.learning.is_some();
        filling || deciding || !self.jobs.is_empty() || !self.waiting.is_empty() || self.collecting.is_busy()
    }

    /// Somebody looks at the step: those who take part are asked until then, also if another node drives it.
    pub fn watch(&mut self, until: u64) {
        self.watched_until = self.watched_until.max(until);
    }

    /// This node goes by an older ring than another.
    pub fn pull_from(&mut self, from: NodeId, effects: &mut Effects) {
        let version = self.version();
        if !self.is_asked(from, Asked::Newer) {
            self.ask(from, Asked::Newer, Question::Pull { version }, effects);
        }
    }

    /// Another node goes by an older ring than this one.
    pub fn tell_to(&mut self, to: NodeId, effects: &mut Effects) {
        let value = self.known().clone();
        if !self.is_asked(to, Asked::Newer) {
            self.ask(to, Asked::Newer, Question::Tell(value), effects);
        }
    }

    /// Asks for a change: `charter` is to be the register's value after version `expected`. [`Effect::Done`] tells what came
    /// of it.
    pub fn change(&mut self, request: u64, expected: u64, charter: Charter, at: &Situation<'_>, effects: &mut Effects) {
        let begins = charter.change().is_some_and(|change| change.id > expected);
        let charter = match charter.clone().with_lives(|id| self.recall.newest_life(id)) {
            Ok(charter) => charter,
            Err(error) if begins => {
                let result = Err(ChangeError::Refused(error.to_string()));
                return effects.push(Effect::Done { request, result });
            }
            // It has begun already: its end must not hang on what is remembered here.
            Err(_) => charter,
        };
        let mut out = Vec::new();
        self.registry.change(request, expected, charter, at.now, &mut out);
        self.registered(out, at, effects);
    }

    /// Asks whether the ring that this node goes by is the newest; [`Effect::Looked`] tells within some two seconds.
    pub fn look(&mut self, request: u64, at: &Situation<'_>, effects: &mut Effects) {
        let mut out = Vec::new();
        self.registry.look(request, at.now, &mut out);
        self.registered(out, at, effects);
    }

    /// Who answers now, and how many old homes a step needs: max(R, N - R + 1), the largest over the buckets.
    pub fn on_reachable(
        &mut self,
        reachable: BTreeSet<NodeId>,
        needed: usize,
        at: &Situation<'_>,
        effects: &mut Effects,
    ) {
        self.needed = needed.max(1);
        for id in self.reachable.symmetric_difference(&reachable) {
            self.schedule.set_up(*id, reachable.contains(id));
        }
        self.reachable = reachable;
        let mut out = Vec::new();
        self.jobs.on_reachable(&self.reachable, &mut out);
        self.job_effects(out, at, effects);
    }

    /// Records that were found damaged since the start, and passes over everything that were completed.
    pub fn scrubbing(&self) -> (u64, u64) {
        (self.scrub.damaged, self.scrub.passes)
    }

    pub(crate) fn slices_take(&mut self, class: Class, bytes: u64, now: u64) -> bool {
        self.slices.take(class, bytes, now)
    }

    pub(crate) fn slices_give_back(&mut self, class: Class, bytes: u64) {
        self.slices.give_back(class, bytes);
    }

    /// For how long the two homes of some partition have not been known to be equal, at the longest, microseconds.
    pub fn stalest_us(&self, now: u64) -> u64 {
        self.schedule.stalest().map_or(0, |(_, _, since)| now.saturating_sub(since))
    }

    /// Gossip says which version of the register a node has.
    pub fn on_version(&mut self, of: NodeId, version: u64) {
        self.versions.insert(of, version);
    }

    /// Time has passed; to be called some ten times a second, or more often while a change is under way.
    pub fn on_time(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        let mut out = Vec::new();
        self.registry.on_time(at.now, at.random, &mut out);
        self.registered(out, at, effects);
        self.recall_on(at, effects);
        self.doubt_on(at, effects);
        let mut out = Vec::new();
        self.jobs.on_time(at.now, &mut out);
        self.job_effects(out, at, effects);
        self.learn_again(at, effects);
        self.pull(at, effects);
        self.compare_homes(at, effects);
        self.scrub_on(at, effects);
        self.look_for_leftovers(at);
        self.look_at_lonely(effects);
        self.ask_to_be_admitted(at, effects);
        self.ask_to_be_released(at, effects);
        self.look_ahead_of_the_ring(at, effects);
        self.advance(at, effects);
    }

    /// A disk that was emptied has a vote again once its node is whole.
    fn ask_to_be_admitted(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        const EVERY_US: u64 = 2_000_000;
        let ready = self.refills.is_empty() && self.charter().change().is_none() && !self.registry.is_changing();
        let Some(life) = self.registry.to_admit().filter(|_| ready && at.now >= self.next_admit) else { return };
        self.next_admit = at.now.saturating_add(EVERY_US);
        if let Ok(charter) = self.charter().admit(self.me, self.registry.first_life(), life) {
            self.change(OWN_REQUEST, self.version(), charter, at, effects);
        }
    }

    /// This node's part in the step under way.
    pub fn report(&self) -> Report {
        let fill = |fill: &Fill| FillReport {
            partition: fill.partition,
            caught_up: fill.caught_up(),
            complete: fill.complete(),
        };
        let homes = || self.step.iter().flat_map(|step| step.of_home(self.me));
        let mut mine = homes().peekable();
        let lacks = |partition: &u16| !self.whole()[usize::from(*partition)];
        Report {
            version: self.version(),
            incarnation: self.incarnation,
            sealed: self.recall.known()
                && mine.peek().is_some()
                && mine.all(|affected| self.sealed.contains(&affected.partition)),
            lacking: homes().map(|affected| affected.partition).filter(lacks).collect(),
            fills: self.fills.values().map(fill).collect(),
            bytes: self.fetched,
            leftovers: self.leftovers.len() as u32,
            refilling: self.refills.len() as u32,
            blocked: self.trouble(),
        }
    }

    fn trouble(&self) -> String {
        let trouble =
            self.fills.values().find_map(|fill| fill.trouble().map(|(peer, ended)| (fill.partition, peer, ended)));
        trouble.map_or_else(String::new, |(partition, peer, ended)| {
            let name =
                self.charter().ring().member(peer).map_or_else(|| peer.to_string(), |member| member.name.clone());
            let why = trouble::words(&name, ended);
            format!("partition {partition} could not be copied on the last attempt: {why}; it is tried again")
        })
    }

    /// Goes on with whatever can go on.
    pub(crate) fn advance(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        self.drive_step(at, effects);
        self.begin_jobs(at, effects);
        self.let_go(at, effects);
        self.collect_on(at, effects);
        self.answer_waiting(at, effects);
        self.grant(at, effects);
    }

    pub(crate) fn registered(&mut self, mut out: Vec<RegistryEffect>, at: &Situation<'_>, effects: &mut Effects) {
        let mut next = 0;
        while next < out.len() {
            let effect = out[next].clone();
            next += 1;
            match effect {
                RegistryEffect::Vote(request) if request.to.id == self.me => {
                    self.registry.on_vote(OWN_CALL, request, &mut out);
                }
                RegistryEffect::Voted { call: OWN_CALL, reply } => {
                    self.registry.on_voted(reply, at.now, at.random, &mut out);
                }
                RegistryEffect::Vote(request) => self.ask(request.to.id, Asked::Vote, Question::Vote(request), effects),
                RegistryEffect::Voted { call, reply } => {
                    effects.push(Effect::Answer { call, answer: Answer::Vote(reply) });
                }
                RegistryEffect::Attest(to) => {
                    let question = Question::Attest { incarnation: self.incarnation };
                    self.ask(to, Asked::Attest, question, effects);
                }
                RegistryEffect::Attested { call, incarnation } => {
                    effects.push(Effect::Answer { call, answer: Answer::Attested { incarnation } });
                }
                RegistryEffect::Put { write, key, value } => {
                    self.store(Ticket::Registry(write), StoreAsk::Put { key, value }, effects);
                }
                RegistryEffect::Looked { request, result } => effects.push(Effect::Looked { request, result }),
                RegistryEffect::Learnt(value) => self.learn(value, at, effects),
                RegistryEffect::Done { request, result } => {
                    self.made |= result.is_ok();
                    match (request, result) {
                        (OWN_REQUEST, _) | (DOUBT_REQUEST, Err(_)) => {}
                        (DOUBT_REQUEST, Ok(version)) => self.doubt.is_newest(version),
                        (request, result) => effects.push(Effect::Done { request, result }),
                    }
                }
            }
        }
    }

    pub(crate) fn job_effects(&mut self, out: Vec<JobEffect>, at: &Situation<'_>, effects: &mut Effects) {
        for effect in out {
            match effect {
                JobEffect::Ask { to, job, question } => {
                    self.ask(to, Asked::Compare(job), Question::Compare(question), effects);
                }
                JobEffect::Answer { call, answer } => {
                    self.moved_for_peer(&answer, at.now);
                    effects.push(Effect::Answer { call, answer: Answer::Compare(answer) });
                }
                JobEffect::Store { owner, what } => self.store(Ticket::Job(owner), what, effects),
                JobEffect::Ended { job, outcome, left } => {
                    self.slices.give_back(job.why.class(), left);
                    self.job_ended(job, outcome, at, effects);
                }
            }
        }
    }

    pub(crate) fn ask(&mut self, to: NodeId, asked: Asked, question: Question, effects: &mut Effects) {
        self.next_number += 1;
        self.asked.insert(self.next_number, (to, asked));
        effects.push(Effect::Ask { to, call: self.next_number, question });
    }

    pub(crate) fn is_asked(&self, to: NodeId, what: Asked) -> bool {
        self.asked.values().any(|asked| *asked == (to, what))
    }

    pub(crate) fn store(&mut self, owner: Ticket, what: StoreAsk, effects: &mut Effects) {
        self.next_number += 1;
        self.tickets.insert(self.next_number, owner);
        effects.push(Effect::Store { ticket: self.next_number, what });
    }

    pub(crate) fn is_sealing(&self) -> bool {
        self.tickets.values().any(|ticket| matches!(ticket, Ticket::Sealed(..)))
    }

    /// Those that answer, this node included.
    pub(crate) fn alive(&self) -> BTreeSet<NodeId> {
        let mut alive = self.reachable.clone();
        alive.insert(self.me);
        alive
    }
}

/// `incarnation u64 | a bit per partition`.
pub(crate) fn encode_whole(incarnation: u64, whole: &[bool]) -> Bytes {
    let mut out = incarnation.to_be_bytes().to_vec();
    out.extend(whole.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))));
    out.into()
}

/// None: it is another life's, or none. Then nothing is whole.
fn decode_whole(bytes: &[u8], incarnation: u64, partitions: usize) -> Option<Vec<bool>> {
    let (life, bits) = bytes.split_first_chunk::<8>()?;
    if u64::from_be_bytes(*life) != incarnation || bits.len() != partitions.div_ceil(8) {
        return None;
    }
    Some((0..partitions).map(|at| bits[at / 8] >> (at % 8) & 1 == 1).collect())
}
