//! Disks that are old copies of themselves: rolled back to a snapshot, or copied and started beside the original.
//!
//! Such a disk can't tell. Its peers can: each start of a life of a disk has a *generation*, counted up durably before anything
//! else, and a number drawn by lot; and what is durable on a disk is counted. Every member durably remembers the newest
//! start of each life that it heard of, and the highest count. A node asks them at its start, and says both again while it
//! runs. If any remembers a later life, or a start that is not older than its own, or knows it further than it found itself,
//! what it has is an old copy ([`Superseded`]): it has to begin another life.
//!
//! *Until it knows*, a node does nothing that an old copy must not do: it gives no vote, mints under no name of its life's,
//! answers no strict read and does not count as sealed. It knows when a majority of the other members have noted its start, or
//! after a while all that answer, one at least. So nobody waits for ever: where nobody answers there is no majority to
//! vote with, no quorum but one's own to read with, and writes go on under a name of this start's alone. When all
//! start at once, each answers the others before it knows anything of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use dynamo_ring::NodeId;

use crate::{
    doubt::Doubt,
    effect::{Effect, Effects, StoreAsk},
    keeper::{Asked, Keeper, Situation, Ticket},
    lots::{LOTS_KEY, Lots},
    message::{Answer, Question},
};

/// Where it is kept what this node remembers of others' starts.
pub const STARTS_KEY: &str = "starts";

/// How often members are asked that have not answered, or told how far this node is, microseconds.
const ASK_US: u64 = 500_000;
/// After so long those who answer are enough.
const PATIENCE_US: u64 = 5_000_000;
/// Counts that rose are written so often; what a crash of this node forgets of them, the others remember.
const FLUSH_US: u64 = 2_000_000;
/// Lives that are remembered of one node: the latest. Whoever has had more is told from its copies by the others' notes.
const LIVES_MAX: usize = 8;
/// Lives that are remembered in all; there are fewer nodes.
const ALL_MAX: usize = 16_384;

/// A start, as its node tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Which life of its disk.
    pub life: u64,
    /// Which start of that life, counted durably.
    pub generation: u64,
    /// Drawn by lot at the start.
    pub lot: u64,
    /// How much was durable when it started; `u64::MAX` where nothing is kept.
    pub found: u64,
    /// How much is durable now.
    pub durable: u64,
}

/// What a start finds on its disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found<'a> {
    /// Its life begins with it, so that there can be no other of it.
    pub born: bool,
    /// There was nothing.
    pub empty: bool,
    /// What is kept under [`STARTS_KEY`].
    pub starts: Option<&'a Bytes>,
    /// What is kept under [`CLEAR_KEY`](crate::CLEAR_KEY).
    pub clear: Option<&'a Bytes>,
    /// What is kept under [`LOTS_KEY`].
    pub lots: Option<&'a Bytes>,
}

/// What is remembered of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Its newest start.
    pub generation: u64,
    /// The lot that was drawn at it.
    pub lot: u64,
    /// The most that was ever durable.
    pub durable: u64,
}

impl Mark {
    /// Whether whoever tells of `started` is not what this remembers, nor what came of it.
    fn supersedes(&self, started: &Started) -> bool {
        let another = self.lot != started.lot || self.generation != started.generation;
        another && (self.generation >= started.generation || self.durable > started.found)
    }
}

/// This node's disk is an old copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superseded {
    /// Who remembers more.
    pub by: NodeId,
    /// This start.
    pub started: Started,
    /// What is remembered of the same life; nothing, if it is a later one that is.
    pub mark: Mark,
    /// The highest life of this node that anybody remembers.
    pub newest_life: u64,
}

impl std::fmt::Display for Superseded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { started, mark, newest_life, .. } = self;
        if *newest_life > started.life {
            write!(
                f,
                "this disk is an old copy: it is in its life {}, and life {newest_life} has been seen",
                started.life
            )
        } else if mark.generation >= started.generation {
            let (theirs, ours) = (mark.generation, started.generation);
            write!(f, "this disk is an old copy: it was started {theirs} times already, and here it is start {ours}")
        } else {
            let (theirs, ours) = (mark.durable, started.found);
            write!(f, "this disk is an old copy: it had {theirs} durable commits once, and has {ours} here")
        }
    }
}

/// A node's own start, and what it remembers of others'.
#[derive(Debug, Default)]
pub(crate) struct Recall {
    own: Option<Started>,
    /// Nothing that this node must not do as an old copy is done before.
    known: bool,
    /// It is known by the word of a majority, or needs none.
    sure: bool,
    since: u64,
    lots: Lots,
    /// The own lot is durable: nobody is told of it before. None: it is not being written.
    lot_kept: Option<bool>,
    noted_by: BTreeSet<NodeId>,
    superseded: Option<Superseded>,
    newest_life: u64,
    next_ask: u64,
    /// What was last told of how much is durable.
    told: u64,
    marks: BTreeMap<(NodeId, u64), Mark>,
    /// Answers that wait for the marks to be durable.
    waiting: Vec<(u64, Answer)>,
    unwritten: bool,
    next_flush: u64,
}

impl Recall {
    /// Whether this node may do what only the one line of its disk's starts may. A driver that tells of no start has no
    /// disk that could be copied.
    pub fn known(&self) -> bool {
        self.own.is_none() || self.known
    }

    /// The newest life of a node that is remembered; 0 for none.
    pub(crate) fn newest_life(&self, node: NodeId) -> u64 {
        self.marks.range((node, 0)..=(node, u64::MAX)).next_back().map_or(0, |((_, life), _)| *life)
    }

    /// What is remembered of this life, and the newest life of the node.
    fn of(&self, node: NodeId, life: u64) -> (Option<Mark>, u64) {
        (self.marks.get(&(node, life)).copied(), self.newest_life(node))
    }

    /// A node tells of its start: whether this is news that has to be durable before it is answered. None: too much is
    /// remembered already.
    fn note(&mut self, node: NodeId, started: &Started) -> Option<bool> {
        let durable = if started.found == u64::MAX { 0 } else { started.durable };
        let mark = Mark { generation: started.generation, lot: started.lot, durable };
        let full = self.marks.len() >= ALL_MAX;
        match self.marks.get_mut(&(node, started.life)) {
            Some(known) if known.supersedes(started) => return Some(false),
            Some(known) if known.lot == mark.lot && known.generation == mark.generation => {
                self.unwritten |= mark.durable > known.durable;
                known.durable = known.durable.max(mark.durable);
                return Some(false);
            }
            Some(known) => *known = Mark { durable: known.durable.max(mark.durable), ..mark },
            None if full => return None,
            None => {
                self.marks.insert((node, started.life), mark);
                let lives = self.marks.range((node, 0)..=(node, u64::MAX));
                let oldest = *lives.clone().next().expect("one was added").0;
                if lives.count() > LIVES_MAX {
                    self.marks.remove(&oldest);
                }
            }
        }
        Some(true)
    }
}

impl Keeper {
    /// Says which start of its disk this is, and what it found there: to be called before anything else.
    ///
    /// # Errors
    /// What is kept is damaged, in words.
    pub fn started(&mut self, started: Started, found: Found<'_>, now: u64) -> Result<(), String> {
        let Found { born, empty, starts, clear, lots } = found;
        let marks = match starts {
            Some(bytes) => decode_marks(bytes).ok_or(
                "what this disk remembers of other nodes can't be read: nothing was changed; move the data directory away and let the node be rebuilt from its replicas",
            )?,
            None => BTreeMap::new(),
        };
        let told = started.durable;
        self.recall = Recall {
            own: Some(started),
            known: born,
            sure: born,
            since: now,
            lots: Lots::of(&started, lots),
            told,
            marks,
            next_ask: now,
            ..Recall::default()
        };
        self.registry.hold(!born);
        self.doubt = Doubt::of(started.life, empty, clear, now);
        Ok(())
    }

    /// So much is durable on this node's disk by now.
    pub fn on_durable(&mut self, durable: u64) {
        if let Some(own) = &mut self.recall.own {
            own.durable = own.durable.max(durable);
        }
    }

    /// Whether it is known that this node's disk is no old copy, as far as anybody who answers remembers.
    pub fn is_known(&self) -> bool {
        self.recall.known()
    }

    /// Whether versions may be named after its life: a majority of the other members remembers nothing that speaks against
    /// it. (A name that is given twice loses a write, so that who is alone with a few does without: a start has a name of
    /// its own to give.)
    pub fn mints(&self) -> bool {
        self.recall.own.is_none() || self.recall.sure
    }

    /// Its disk is an old copy: it has to begin another life.
    pub fn superseded(&self) -> Option<&Superseded> {
        self.recall.superseded.as_ref()
    }

    /// A node tells of its start, and asks what is remembered.
    pub(crate) fn recalled(&mut self, from: NodeId, call: u64, started: Started, effects: &mut Effects) {
        let (mark, newest_life) = self.recall.of(from, started.life);
        let answer = Answer::Recalled { mark, newest_life };
        match self.recall.note(from, &started) {
            None => effects.push(Effect::Answer { call, answer: Answer::Unable }),
            Some(false) if self.recall.waiting.is_empty() => effects.push(Effect::Answer { call, answer }),
            Some(news) => {
                self.recall.waiting.push((call, answer));
                if news {
                    self.keep_marks(effects);
                }
            }
        }
    }

    /// The marks are durable, or could not be written.
    pub(crate) fn marks_kept(&mut self, kept: bool, effects: &mut Effects) {
        for (call, answer) in std::mem::take(&mut self.recall.waiting) {
            let answer = if kept { answer } else { Answer::Unable };
            effects.push(Effect::Answer { call, answer });
        }
        self.recall.unwritten |= !kept;
    }

    /// The own lot is durable, or could not be written.
    pub(crate) fn lots_kept(&mut self, kept: bool) {
        self.recall.lot_kept = kept.then_some(true);
    }

    /// What a member remembers.
    pub(crate) fn on_recalled(
        &mut self,
        from: NodeId,
        mark: Option<Mark>,
        newest_life: u64,
        now: u64,
        effects: &mut Effects,
    ) {
        let Some(started) = self.recall.own else { return };
        self.recall.newest_life = self.recall.newest_life.max(newest_life);
        // A life that another one followed is over, however much of it there is.
        let over = (newest_life > started.life).then(|| mark.unwrap_or_default());
        let another = |mark: &Mark| mark.supersedes(&started) || self.recall.lots.lack(mark);
        if let Some(mark) = mark.filter(another).or(over) {
            let newest_life = self.recall.newest_life;
            self.recall.superseded = Some(Superseded { by: from, started, mark, newest_life });
            // Nothing more under this life, whatever was known before.
            (self.recall.known, self.recall.sure) = (false, false);
            self.registry.hold(true);
            return effects.push(Effect::Whole(Arc::new(self.whole().to_vec())));
        }
        self.recall.noted_by.insert(from);
        self.look_at_recall(now, effects);
    }

    /// Time has passed.
    pub(crate) fn recall_on(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        if self.recall.unwritten && at.now >= self.recall.next_flush {
            self.recall.next_flush = at.now.saturating_add(FLUSH_US);
            self.keep_marks(effects);
        }
        let Some(own) = self.recall.own.filter(|_| self.recall.superseded.is_none()) else { return };
        self.look_at_recall(at.now, effects);
        if self.recall.lot_kept.is_none() {
            self.recall.lot_kept = Some(false);
            let value = self.recall.lots.encode();
            self.store(Ticket::Lots, StoreAsk::Put { key: LOTS_KEY, value }, effects);
        }
        if at.now < self.recall.next_ask || self.recall.lot_kept != Some(true) {
            return;
        }
        self.recall.next_ask = at.now.saturating_add(ASK_US);
        let grown = own.durable > self.recall.told;
        self.recall.told = own.durable;
        for id in self.other_members() {
            let ask = grown || !self.recall.noted_by.contains(&id);
            if ask && !self.is_asked(id, Asked::Recall) {
                self.ask(id, Asked::Recall, Question::Recall(own), effects);
            }
        }
    }

    fn look_at_recall(&mut self, now: u64, effects: &mut Effects) {
        if self.recall.own.is_none() || self.recall.sure || self.recall.superseded.is_some() {
            return;
        }
        let others = self.other_members();
        let noted = others.iter().filter(|id| self.recall.noted_by.contains(id)).count();
        let late = now >= self.recall.since.saturating_add(PATIENCE_US);
        self.recall.sure = others.is_empty() || noted > others.len() / 2;
        if !self.recall.known && (self.recall.sure || (late && noted > 0)) {
            self.recall.known = true;
            self.registry.hold(false);
            effects.push(Effect::Whole(Arc::new(self.whole().to_vec())));
        }
    }

    /// Of the newest ring that this node has heard of, whether it goes by it or not.
    pub(crate) fn other_members(&self) -> Vec<NodeId> {
        let withheld = self.doubt.withheld();
        let charter = withheld.as_ref().unwrap_or(self.charter());
        charter.ring().members().iter().map(|member| member.id).filter(|id| *id != self.me).collect()
    }

    fn keep_marks(&mut self, effects: &mut Effects) {
        self.recall.unwritten = false;
        let value = encode_marks(&self.recall.marks);
        self.store(Ticket::Marks, StoreAsk::Put { key: STARTS_KEY, value }, effects);
    }
}

/// `(id 16 | life u64 | generation u64 | lot u64 | durable u64)*`, big-endian.
fn encode_marks(marks: &BTreeMap<(NodeId, u64), Mark>) -> Bytes {
    let mut out = Vec::with_capacity(marks.len() * 48);
    for ((id, life), mark) in marks {
        out.extend_from_slice(&id.0.to_be_bytes());
        for number in [*life, mark.generation, mark.lot, mark.durable] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
    out.into()
}

fn decode_marks(bytes: &[u8]) -> Option<BTreeMap<(NodeId, u64), Mark>> {
    let (marks, []) = bytes.as_chunks::<48>() else { return None };
    let mark = |bytes: &[u8; 48]| {
        let (id, numbers) = bytes.split_first_chunk::<16>().expect("48 bytes");
        let mut numbers = numbers.as_chunks::<8>().0.iter().map(|number| u64::from_be_bytes(*number));
        let mut next = || numbers.next().expect("four numbers");
        let id = NodeId(u128::from_be_bytes(*id));
        let (life, generation, lot, durable) = (next(), next(), next(), next());
        ((id, life), Mark { generation, lot, durable })
    };
    Some(marks.iter().map(mark).collect())
}
