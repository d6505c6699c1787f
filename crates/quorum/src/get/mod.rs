//! A read (§4.5, 4.6, 6.4): the join of R distinct nodes' answers, then read repair (§5).
//!
//! One node is asked for the whole state, the others for its digest; while digests agree nothing is decoded or merged
//! and the state is passed through as it came. A node whose digest differs is asked again in full. After the answer the
//! machine waits for those still asked, and at the end names the homes that answered with something else than the
//! final merge.
//!
//! It does not decode for the client, nor resolve siblings: that is the reader's.
//!
//! Here is what comes in, and who is asked next; `peers` says who may be asked and what is to be expected of whom, `join`
//! keeps what came, and `verdict` says what the client hears and who is repaired.

mod join;
mod peers;
mod verdict;

use bytes::Bytes;
use dynamo_ring::NodeId;
use dynamo_version::SiblingSet;
use smallvec::SmallVec;

use self::{
    join::{Join, Taken},
    peers::{Peer, Phase},
};
use crate::{Candidate, GetSettings, NotEnough, Refusal, Refusals};

/// A state of a key as it is stored and sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The canonical encoding of the sibling set ([`SiblingSet::encode`]).
    pub encoded: Bytes,
    /// Its digest ([`SiblingSet::digest`]).
    pub digest: u64,
}

/// What the reader gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The join of the answers; None when none of them knows of the key. Where all answers are alike it is passed through
    /// as it came, and was not decoded.
    pub found: Option<Found>,
    /// Distinct nodes whose answers are in it, at least R.
    pub answers: u8,
    /// Whether these answers differed, so that somebody is to be repaired (§5).
    pub diverged: bool,
}

/// What the driver has to do for a [`Get`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GetEffect {
    /// Ask a node, possibly the coordinator itself; report with [`Get::on_state`], [`Get::on_digest`] or
    /// [`Get::on_refusal`]. A node is asked at most twice, the second time for the whole state.
    Ask {
        /// Whom.
        to: NodeId,
        /// True: for the digest alone; false: for the whole state.
        digest: bool,
    },
    /// Answer the client. At most once, and never with `Fail`.
    Answer(Answer),
    /// Tell the client that R could not be met, and why.
    Fail(NotEnough),
    /// Send this state to a home that answered with another, to be merged there (§5). Nothing is expected of it.
    Repair {
        /// The home.
        to: NodeId,
        /// The join of all that came in, also after the answer.
        state: Found,
    },
    /// Always the last one: the machine may be dropped.
    Finished,
}

/// Effects in the order in which they have to be carried out. Up to 8 are kept without an allocation.
pub type GetEffects = SmallVec<[GetEffect; 8]>;

/// A time that does not come: nothing is waited for.
const NEVER: u64 = u64::MAX;
/// The digest of a key that was never written.
const NEVER_WRITTEN: u64 = 0;

/// One read (§4.5, 4.6, 6.4).
///
/// Times are microseconds of the driver's monotonic clock, below `u64::MAX`.
///
/// ```
/// use bytes::Bytes;
/// use dynamo_quorum::{Candidate, Get, GetEffect, GetEffects, GetSettings, NodeState};
/// use dynamo_ring::NodeId;
/// use dynamo_version::{Actor, Causality, Dot, Mode, Payload, SiblingSet, Timestamp};
///
/// let mut set = SiblingSet::new();
/// let dot = Dot { actor: Actor { node: 1, incarnation: 1, key_epoch: 1 }, counter: 1 };
/// set.write(&Causality::new(), dot, Timestamp(1), Payload::Value(Bytes::from("milk")), Mode::Siblings);
/// let (encoded, digest) = (set.encode(), SiblingSet::digest(&set.encode()));
///
/// let home = |node| Candidate { node: NodeId(node), home: true, state: NodeState::Up, latency_us: 0 };
/// let settings = GetSettings {
///     r: 2,
///     sloppy: true,
///     mode: Mode::Siblings,
///     hedge_after_us: 20_000,
///     replica_timeout_us: 500_000,
///     deadline_us: 5_000_000,
/// };
/// let mut get = Get::new(NodeId(1), &[home(1), home(2), home(3)], settings, 0)?;
/// let mut effects = GetEffects::new();
/// get.start(0, &mut effects);
/// let ask = |to, digest| GetEffect::Ask { to: NodeId(to), digest };
/// assert_eq!(effects[..], [ask(1, false), ask(2, true)]);
///
/// // Node 1 has the key. Node 2 has never heard of it: it hears of it after the client has its answer.
/// effects.clear();
/// get.on_state(NodeId(1), Some((encoded, digest)), 300, &mut effects);
/// get.on_digest(NodeId(2), 0, 400, &mut effects);
/// let [GetEffect::Answer(answer), GetEffect::Repair { to: NodeId(2), .. }, GetEffect::Finished] = &effects[..] else {
///     panic!("{effects:?}")
/// };
/// assert_eq!((answer.answers, answer.diverged), (2, true));
/// assert_eq!(SiblingSet::decode(answer.found.clone().expect("node 1 has it").encoded), Ok(set));
/// # Ok::<(), dynamo_quorum::NotEnough>(())
/// ```
#[derive(Debug)]
pub struct Get {
    /// In the order of asking, each node once: the coordinator if it is a home, homes by speed, fallbacks of the walk.
    peers: SmallVec<[Peer; 16]>,
    /// So many of the first that may be asked as a hedge: the usable homes and those that stand in for absent ones. A
    /// home that is merely slow is not traded for a fallback that knows nothing of the key.
    hedgeable: u8,
    homes: u8,
    homes_alive: u8,
    r: u8,
    settings: GetSettings,
    deadline: u64,
    hedge_at: u64,
    refusals: Refusals,
    join: Join,
    /// A whole state, or "never written" instead of one, has come in.
    full_answer: bool,
    started: bool,
    answered: bool,
    finished: bool,
}

impl Get {
    /// Prepares a read by coordinator `me` over the ring's walk; `me` is asked first where it is a home, and need not be in
    /// the walk. `now` is when the request's time begins to run.
    ///
    /// # Errors
    /// R cannot be met by the nodes that are alive: told at once.
    pub fn new(me: NodeId, candidates: &[Candidate], settings: GetSettings, now: u64) -> Result<Get, NotEnough> {
        let mut get = Get {
            peers: SmallVec::new(),
            hedgeable: 0,
            homes: 0,
            homes_alive: 0,
            r: settings.r.max(1),
            settings,
            deadline: now.saturating_add(settings.deadline_us),
            hedge_at: NEVER,
            refusals: Refusals::default(),
            join: Join::default(),
            full_answer: false,
            started: false,
            answered: false,
            finished: false,
        };
        get.enlist(me, candidates);
        if get.r > get.homes || get.peers.len() < usize::from(get.r) {
            return Err(get.not_enough(false));
        }
        Ok(get)
    }

    /// Asks the first R. To be called once; a second call does nothing.
    pub fn start(&mut self, now: u64, effects: &mut GetEffects) {
        if !self.started && !self.finished {
            self.started = true;
            self.hedge_at = now.saturating_add(self.settings.hedge_after_us);
            self.advance(now, effects);
        }
    }

    /// A node's whole state with its digest; None when the key was never written there. Also welcome from a node that
    /// was asked for its digest. A state that does not match its digest is a refusal ([`Refusal::Corrupt`]). What was not
    /// asked for is ignored, here and in the other answers.
    pub fn on_state(&mut self, from: NodeId, state: Option<(Bytes, u64)>, now: u64, effects: &mut GetEffects) {
        let Some(index) = self.waiting(from) else { return };
        let digest = match state {
            None => NEVER_WRITTEN,
            Some((encoded, digest)) => {
                if SiblingSet::digest(&encoded) != digest {
                    return self.on_refusal(from, Refusal::Corrupt, now, effects);
                }
                match self.join.take(Found { encoded, digest }, self.settings.mode) {
                    Taken::Joined => {}
                    Taken::InPlaceOf(damaged) => self.forget_answers(damaged),
                    Taken::Damaged => return self.on_refusal(from, Refusal::Corrupt, now, effects),
                }
                digest
            }
        };
        self.full_answer = true;
        self.answer_of(index, digest);
        self.advance(now, effects);
    }

    /// A node's digest; 0 when the key was never written there.
    pub fn on_digest(&mut self, from: NodeId, digest: u64, now: u64, effects: &mut GetEffects) {
        let Some(index) = self.waiting(from) else { return };
        if self.peers[index].full && digest != NEVER_WRITTEN {
            // Not what it was asked for; asking once more would ask for ever.
            return self.on_refusal(from, Refusal::Invalid, now, effects);
        }
        self.answer_of(index, digest);
        self.advance(now, effects);
    }

    /// A node did not answer, or no answer of it will come. A damaged record is a refusal too, never "not found".
    pub fn on_refusal(&mut self, from: NodeId, refusal: Refusal, now: u64, effects: &mut GetEffects) {
        let Some(index) = self.waiting(from) else { return };
        self.refusals.add(refusal);
        self.peers[index].phase = Phase::Refused;
        self.peers[index].due = NEVER;
        self.advance(now, effects);
    }

    /// Time has passed; see [`Get::next_time`]. Too early a call does nothing. Nodes that are silent for too long are
    /// replaced; at the deadline the machine ends, whatever it has.
    pub fn on_time(&mut self, now: u64, effects: &mut GetEffects) {
        if self.finished {
            return;
        }
        if now >= self.deadline {
            return self.expire(effects);
        }
        for peer in &mut self.peers {
            if peer.due <= now {
                peer.due = NEVER;
            }
        }
        if !self.started {
            return;
        }
        if self.hedge_at <= now && !self.answered {
            self.hedge_at = NEVER;
            let next = self.next_idle();
            if let Some(index) = next.filter(|&index| index < usize::from(self.hedgeable)) {
                self.ask(index, !self.full_answer, now, effects);
            }
        }
        self.advance(now, effects);
    }

    /// When [`Get::on_time`] has to be called next, microseconds; None when the machine has finished.
    pub fn next_time(&self) -> Option<u64> {
        if self.finished {
            return None;
        }
        if self.answered {
            return Some(self.deadline);
        }
        self.peers.iter().map(|peer| peer.due).chain([self.deadline, self.hedge_at]).min()
    }

    /// Whether [`GetEffect::Finished`] was pushed.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    fn answer_of(&mut self, index: usize, digest: u64) {
        let peer = &mut self.peers[index];
        peer.phase = Phase::Answered;
        peer.digest = Some(digest);
        peer.due = NEVER;
    }

    /// Whoever answered with this digest has a damaged record.
    fn forget_answers(&mut self, damaged: u64) {
        for peer in &mut self.peers {
            if peer.digest == Some(damaged) && peer.phase == Phase::Answered {
                peer.phase = Phase::Refused;
                peer.digest = None;
                self.refusals.add(Refusal::Corrupt);
            }
        }
    }

    /// Everything that follows from what is known now.
    fn advance(&mut self, now: u64, effects: &mut GetEffects) {
        if self.finished {
            return;
        }
        if now >= self.deadline && !self.enough() {
            return self.expire(effects);
        }
        self.chase_differences(now, effects);
        if !self.answered {
            while self.promising() < usize::from(self.r) {
                let Some(index) = self.next_idle() else { break };
                let full = !self.full_answer && !self.full_awaited();
                self.ask(index, full, now, effects);
            }
            if self.enough() {
                self.answer(effects);
            } else if self.hopeful() < usize::from(self.r) {
                return self.fail(false, effects);
            }
        }
        if self.answered && self.peers.iter().all(|peer| peer.phase != Phase::Waiting) {
            self.conclude(effects);
        }
    }

    /// Asks for the whole state behind each digest that nobody has sent the state of.
    fn chase_differences(&mut self, now: u64, effects: &mut GetEffects) {
        // The one full answer may well be what the digests stand for.
        if !self.full_answer && self.full_awaited() {
            return;
        }
        for index in 0..self.peers.len() {
            let peer = self.peers[index];
            if peer.phase == Phase::Answered && !self.resolved(&peer) && !peer.full && !self.chased(peer.digest) {
                self.ask(index, true, now, effects);
            }
        }
    }

    fn ask(&mut self, index: usize, full: bool, now: u64, effects: &mut GetEffects) {
        let due = now.saturating_add(self.settings.replica_timeout_us);
        let peer = &mut self.peers[index];
        peer.phase = Phase::Waiting;
        peer.due = due;
        peer.full = full;
        effects.push(GetEffect::Ask { to: peer.node, digest: !full });
    }
}
