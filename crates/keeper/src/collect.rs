//! Collecting tombstones, and the names of actors who are gone, on proof (§4.4): a deleted key never comes back.
//!
//! A *round*: one member calls it (`collect/caller.rs`) and asks all members, stage by stage. The owner of each token finds what is
//! spent in its partition and asks the other homes whether they have exactly that (`collect/owner.rs`). All members say for keys of
//! which partitions they hold nothing for others. Then the register turns the epoch, with the same owners: who goes by it
//! takes nothing older any more, neither as a home nor as a hint. When all go by it and have held nothing in between, no
//! state older than what the homes agreed on is left anywhere, and the owners have the homes remove it, whenever they get
//! to it. The proof is in docs/PROTOCOL.md.
//!
//! Nothing that anybody says here is kept: a member that was started again is another process, and the round is void.

mod caller;
mod message;
mod owner;

use std::collections::{BTreeMap, BTreeSet};

use dynamo_merkle::Tree;
use dynamo_ring::{NodeId, Partition};

pub use self::message::{Item, Items, RoundAsk, RoundReply, Stage};
pub(crate) use self::message::{decode_same, encode_same};
use self::{
    caller::Caller,
    owner::{Listing, Sweep},
};
use crate::{
    effect::{Effects, StoreAsk, StoreDone},
    keeper::{Asked, Keeper, OWN_REQUEST, Situation, Ticket, with_tree},
    message::Answer,
};

/// How often a node that left asks to be released, microseconds.
const RELEASE_US: u64 = 1_000_000;

/// Whose a disk operation is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// An owner's page.
    Page(u64),
    /// Another home's question: its call, the version, the partition, the digests.
    Held { call: u64, version: u64, partition: u16, digests: Vec<u64> },
    /// The first look at the hints of a round.
    Promise(u64),
    /// The second.
    Passed(u64),
    /// What was removed here; for whom.
    Removed(Option<u64>),
    /// Whether this node, which left, holds hints.
    Release,
}

/// What was done since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Rounds that this node called and that came to their end with something removed.
    pub rounds: u64,
    /// Rounds that it called and gave up.
    pub given_up: u64,
    /// Tombstones that were removed here.
    pub collected: u64,
    /// Records from which actors who are gone were removed here.
    pub pruned: u64,
}

/// Where collecting stands, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CollectStatus {
    /// What was done.
    pub figures: Figures,
    /// What the round is at that this node calls; empty: it calls none.
    pub stage: &'static str,
    /// Where the last round was given up; empty: none was.
    pub given_up_at: &'static str,
    /// On whom a round waits, or the last one failed: members that do not answer or hold hints, nodes that left and still
    /// hold something.
    pub waiting_for: BTreeSet<NodeId>,
}

/// This node's part in collecting.
pub(crate) struct Collecting {
    /// This run of the process, by lot.
    boot: u64,
    caller: Option<Caller>,
    not_before: u64,
    part: Option<Part>,
    sweep: Option<Sweep>,
    figures: Figures,
    given_up_at: &'static str,
    waiting_for: BTreeSet<NodeId>,
    next_release: u64,
}

/// In a round.
#[derive(Debug)]
struct Part {
    round: u64,
    version: u64,
    listing: Listing,
    promise: Promise,
    passed: Passed,
}

/// That nothing is held for others.
#[derive(Debug)]
enum Promise {
    Not,
    Asked,
    /// For keys of these partitions; and how often hints had been kept by then.
    Given {
        clear: BTreeSet<u16>,
        kept: BTreeMap<u16, u64>,
    },
}

/// That it stayed so.
#[derive(Debug)]
enum Passed {
    Not,
    Asked,
    /// For these partitions.
    Said(BTreeSet<u16>),
}

impl Collecting {
    pub(crate) fn new(boot: u64, first_at: u64) -> Collecting {
        Collecting {
            boot,
            caller: None,
            not_before: first_at,
            part: None,
            sweep: None,
            figures: Figures::default(),
            given_up_at: "",
            waiting_for: BTreeSet::new(),
            next_release: 0,
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        let listing = self.part.as_ref().is_some_and(|part| !part.listing.is_done());
        self.caller.is_some() || listing || self.sweep.as_ref().is_some_and(|sweep| !sweep.done)
    }

    /// Records of a partition are being deleted: it can't be said any more that there never were any.
    pub(crate) fn forgets(&mut self, partition: u16) {
        if let Some(Part { promise: Promise::Given { clear, .. }, .. }) = &mut self.part {
            clear.remove(&partition);
        }
    }
}

impl Keeper {
    /// Where collecting stands.
    pub fn collecting(&self) -> CollectStatus {
        CollectStatus {
            figures: self.collecting.figures,
            stage: self.collecting.caller.as_ref().map_or("", Caller::stage),
            given_up_at: self.collecting.given_up_at,
            waiting_for: self.collecting.waiting_for.clone(),
        }
    }

    /// Goes on with whatever can go on.
    pub(crate) fn collect_on(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        self.call_round(at, effects);
        self.list_on(at, effects);
        self.sweep_on(at, effects);
    }

    /// The answer of a member, or of a home; None: there will be none.
    pub(crate) fn collect_answered(&mut self, from: NodeId, asked: Asked, answer: Option<Answer>, at: &Situation<'_>) {
        match (asked, answer) {
            (Asked::Round, Some(Answer::Round(reply))) => self.round_replied(from, reply, at),
            (Asked::Held(round), Some(Answer::Held { version, same })) => self.held(round, from, Some((version, same))),
            (Asked::Held(round), _) => self.held(round, from, None),
            (Asked::Collect, Some(Answer::Collected { changed })) => self.swept(from, Some(changed)),
            (Asked::Collect, _) => self.swept(from, None),
            _ => {}
        }
    }

    /// The store has done what was asked.
    pub(crate) fn collect_stored(&mut self, step: Step, done: StoreDone, at: &Situation<'_>, effects: &mut Effects) {
        match step {
            Step::Page(round) => self.listed(round, done, effects),
            Step::Held { call, version, partition, digests } => {
                self.held_here(call, (version, partition, digests), done, effects);
            }
            Step::Promise(round) => self.promised(round, done, at),
            Step::Passed(round) => self.passed(round, done, at),
            Step::Removed(call) => self.removed(call, done, effects),
            Step::Release => self.release(done, at, effects),
        }
    }

    /// This node's part in a stage, as far as it is.
    pub(crate) fn round_part(&mut self, ask: RoundAsk, at: &Situation<'_>, effects: &mut Effects) -> RoundReply {
        let RoundAsk { round, version, stage, partitions } = ask;
        let mut reply = RoundReply {
            round,
            version: self.version(),
            stage,
            boot: self.collecting.boot,
            done: false,
            found: 0,
            more: false,
            partitions: BTreeSet::new(),
        };
        let current = version == self.version() && self.learning.is_none();
        match stage {
            Stage::Open => reply.done = current && self.charter().change().is_none(),
            Stage::List if current => self.list(round, at, &mut reply),
            Stage::Promise if current => self.promise(round, &mut reply, effects),
            Stage::Passed if current => self.pass(round, &mut reply, effects),
            Stage::Collect => self.collect(round, &partitions, &mut reply),
            Stage::List | Stage::Promise | Stage::Passed => {}
        }
        reply
    }

    fn list(&mut self, round: u64, at: &Situation<'_>, reply: &mut RoundReply) {
        if self.collecting.part.as_ref().is_none_or(|part| part.round != round) {
            let charter = self.charter().clone();
            let ring = charter.ring();
            let owned = ring.partitions().iter().filter(|partition| ring.owner(*partition).id == self.me);
            let listing = Listing::new(owned.map(|partition| partition.0));
            let (promise, passed) = (Promise::Not, Passed::Not);
            self.collecting.part = Some(Part { round, version: self.version(), listing, promise, passed });
            // Another may call the next one: it is not called at once, whoever it is.
            self.collecting.not_before = at.now.saturating_add(self.settings.collect_every_us);
        }
        if let Some(part) = &self.collecting.part {
            (reply.done, reply.found, reply.more) = (part.listing.is_done(), part.listing.found, part.listing.more);
            reply.partitions = part.listing.agreed.keys().copied().collect();
        }
    }

    fn promise(&mut self, round: u64, reply: &mut RoundReply, effects: &mut Effects) {
        let Some(part) = self.collecting.part.as_mut().filter(|part| part.round == round) else { return };
        match &part.promise {
            Promise::Not => {
                part.promise = Promise::Asked;
                self.store(Ticket::Round(Step::Promise(round)), StoreAsk::Hinted, effects);
            }
            Promise::Asked => {}
            Promise::Given { clear, .. } => (reply.done, reply.partitions) = (true, clear.clone()),
        }
    }

    /// Of which partitions this node has nothing that is not its own as a home.
    fn empty_handed(&self, at: &Situation<'_>) -> BTreeSet<u16> {
        let ring = self.charter().ring();
        let free = |partition: &Partition| {
            let empty = || with_tree(at.trees, partition.0, |tree| tree.root() == 0);
            !self.leftovers.contains_key(&partition.0) && (ring.is_home(*partition, self.me) || empty())
        };
        ring.partitions().iter().filter(free).map(|partition| partition.0).collect()
    }

    fn promised(&mut self, round: u64, done: StoreDone, at: &Situation<'_>) {
        let mut clear = self.empty_handed(at);
        let version = self.version();
        let Some(part) = self.collecting.part.as_mut().filter(|part| part.round == round) else { return };
        part.promise = match done {
            // What is said was so in the epoch that the round began in.
            StoreDone::Hinted { kept, held } if version == part.version => {
                clear.retain(|partition| !held.contains(partition));
                Promise::Given { clear, kept }
            }
            _ => Promise::Not,
        };
    }

    fn pass(&mut self, round: u64, reply: &mut RoundReply, effects: &mut Effects) {
        if self.charter().last_barrier().round != round {
            return;
        }
        let Some(part) = self.collecting.part.as_mut().filter(|part| part.round == round) else { return };
        match &part.passed {
            Passed::Not => {
                part.passed = Passed::Asked;
                // The floor is durable by now, and what was applied before it is counted.
                self.store(Ticket::Round(Step::Passed(round)), StoreAsk::Hinted, effects);
            }
            Passed::Asked => {}
            Passed::Said(still) => (reply.done, reply.partitions) = (true, still.clone()),
        }
    }

    fn passed(&mut self, round: u64, done: StoreDone, at: &Situation<'_>) {
        let mut still = self.empty_handed(at);
        let Some(part) = self.collecting.part.as_mut().filter(|part| part.round == round) else { return };
        part.passed = match (done, &part.promise) {
            (StoreDone::Hinted { kept, .. }, Promise::Given { clear, kept: before }) => {
                still.retain(|partition| clear.contains(partition) && kept.get(partition) == before.get(partition));
                Passed::Said(still)
            }
            _ => Passed::Not,
        };
    }

    fn collect(&mut self, round: u64, partitions: &BTreeSet<u16>, reply: &mut RoundReply) {
        let Some(part) = self.collecting.part.as_mut().filter(|part| part.round == round) else {
            // Begun anew since: what it had found waits for the next round.
            reply.done = true;
            return;
        };
        if matches!(part.passed, Passed::Said(_)) {
            part.passed = Passed::Not;
            let agreed = std::mem::take(&mut part.listing.agreed);
            let passed = agreed.into_iter().filter(|(partition, _)| partitions.contains(partition));
            let pages = passed.flat_map(|(partition, pages)| pages.into_iter().map(move |page| (partition, page)));
            self.collecting.sweep = Some(Sweep::new(pages.collect()));
        }
        reply.done = self.collecting.sweep.as_ref().is_none_or(|sweep| sweep.done);
    }

    /// A node that left, and holds nothing for others any more, asks not to be waited for.
    pub(crate) fn ask_to_be_released(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        if at.now >= self.collecting.next_release && self.may_be_released(at) {
            self.collecting.next_release = at.now.saturating_add(RELEASE_US);
            self.store(Ticket::Round(Step::Release), StoreAsk::Hinted, effects);
        }
    }

    fn may_be_released(&self, at: &Situation<'_>) -> bool {
        let charter = self.charter();
        let empty = |partition: Partition| with_tree(at.trees, partition.0, |tree: &Tree| tree.root() == 0);
        charter.leavers().contains(&self.me)
            && charter.change().is_none()
            && self.learning.is_none()
            && !self.registry.is_changing()
            && self.leftovers.is_empty()
            && charter.ring().partitions().iter().all(empty)
    }

    fn release(&mut self, done: StoreDone, at: &Situation<'_>, effects: &mut Effects) {
        let nothing = matches!(done, StoreDone::Hinted { held, .. } if held.is_empty());
        if !nothing || !self.may_be_released(at) {
            return;
        }
        if let Some(charter) = self.charter().release(&[self.me]) {
            self.change(OWN_REQUEST, self.version(), charter, at, effects);
        }
    }
}
