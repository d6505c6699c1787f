//! A read (§4.5, 4.6, 6.4): the join of R distinct nodes' answers, then read repair (§5).
//!
//! One node is asked for the whole state, the others for its digest; while digests agree nothing is decoded or merged
//! and the state is passed through as it came. A node whose digest differs is asked again in full. After the answer the
//! machine waits for those still asked, and at the end names the homes that answered with something else than the
//! final merge.
//!
//! It does not decode for the client, nor resolve siblings: that is the reader's.

use bytes::Bytes;
use dynamo_ring::NodeId;
use dynamo_version::SiblingSet;
use smallvec::SmallVec;

use crate::{Candidate, GetSettings, NodeState, NotEnough, Operation, Refusal, Refusals};

/// A state as it is stored and sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The canonical encoding of the sibling set.
    pub encoded: Bytes,
    /// Its digest.
    pub digest: u64,
}

/// What the reader gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The join of the answers; None when the key was never written.
    pub found: Option<Found>,
    /// Distinct nodes whose answers are in it, at least R.
    pub answers: u8,
    /// Whether these answers differed.
    pub diverged: bool,
}

/// What the driver has to do for a read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GetEffect {
    /// Ask a node, possibly the coordinator itself.
    Ask {
        /// Whom.
        to: NodeId,
        /// For the digest alone, else for the whole state.
        digest: bool,
    },
    /// Answer the client.
    Answer(Answer),
    /// Tell the client that R could not be met.
    Fail(NotEnough),
    /// Send this state to a home that misses something of it, to be merged there.
    Repair {
        /// The home.
        to: NodeId,
        /// The final merge.
        state: Found,
    },
    /// Always the last one: the machine may be dropped.
    Finished,
}

/// Effects in the order in which they have to be carried out. Inline for every N up to 8.
pub type GetEffects = SmallVec<[GetEffect; 8]>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Not asked yet.
    Idle,
    /// Asked; once its time is up (`due` is NEVER) still hoped for, but no longer waited for.
    Waiting,
    Answered,
    Refused,
}

const NEVER: u64 = u64::MAX;
/// The digest of a key that was never written.
const NEVER_WRITTEN: u64 = 0;

#[derive(Clone, Copy, Debug)]
struct Peer {
    node: NodeId,
    due: u64,
    /// What it last answered.
    digest: Option<u64>,
    phase: Phase,
    home: bool,
    /// It was asked for the whole state.
    full: bool,
}

/// One read.
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
    /// The join of all states that came in, in its encoding.
    held: Option<Found>,
    /// The same, decoded; only once there was a difference.
    set: Option<Box<SiblingSet>>,
    /// Digests of the states that went into it, and its own.
    known: SmallVec<[u64; 4]>,
    /// A whole state, or "never written" instead of one, has come in.
    full_answer: bool,
    started: bool,
    answered: bool,
    finished: bool,
}

impl Get {
    /// Prepares a read over the ring's walk. Tells at once when R cannot be met by the nodes that are alive.
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
            held: None,
            set: None,
            known: SmallVec::new(),
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

    fn enlist(&mut self, me: NodeId, candidates: &[Candidate]) {
        let mut homes: SmallVec<[(bool, u32, NodeId); 16]> = SmallVec::new();
        for candidate in candidates.iter().filter(|candidate| candidate.home) {
            self.homes += 1;
            if candidate.state != NodeState::Down {
                homes.push((candidate.node != me, candidate.latency_us, candidate.node));
            }
        }
        // Stable, so that equals stay in walk order.
        homes.sort_by_key(|&(other, latency_us, _)| (other, latency_us));
        for (_, _, node) in homes {
            self.enlist_one(node, true);
        }
        self.homes_alive = self.peers.len() as u8;
        if self.settings.sloppy {
            for candidate in candidates.iter().filter(|candidate| !candidate.home) {
                if candidate.state != NodeState::Down && self.peers.len() < 64 {
                    self.enlist_one(candidate.node, false);
                }
            }
        }
        self.hedgeable = self.homes.min(self.peers.len() as u8);
    }

    fn enlist_one(&mut self, node: NodeId, home: bool) {
        if self.position(node).is_none() {
            self.peers.push(Peer { node, due: NEVER, digest: None, phase: Phase::Idle, home, full: false });
        }
    }

    /// Asks the first R. To be called once.
    pub fn start(&mut self, now: u64, effects: &mut GetEffects) {
        if !self.started && !self.finished {
            self.started = true;
            self.hedge_at = now.saturating_add(self.settings.hedge_after_us);
            self.advance(now, effects);
        }
    }

    /// A node's whole state with its digest; None when the key was never written there. Also welcome from a node that
    /// was asked for its digest. A state that does not match its digest is a refusal ([`Refusal::Corrupt`]).
    pub fn on_state(&mut self, from: NodeId, state: Option<(Bytes, u64)>, now: u64, effects: &mut GetEffects) {
        let Some(index) = self.waiting(from) else { return };
        let digest = match state {
            None => NEVER_WRITTEN,
            Some((encoded, digest)) => {
                if SiblingSet::digest(&encoded) != digest || self.absorb(Found { encoded, digest }).is_err() {
                    return self.on_refusal(from, Refusal::Corrupt, now, effects);
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

    /// A node did not answer. A damaged record is a refusal too, never "not found".
    pub fn on_refusal(&mut self, from: NodeId, refusal: Refusal, now: u64, effects: &mut GetEffects) {
        let Some(index) = self.waiting(from) else { return };
        self.refusals.add(refusal);
        self.peers[index].phase = Phase::Refused;
        self.peers[index].due = NEVER;
        self.advance(now, effects);
    }

    /// Time has passed; see [`Get::next_time`]. Too early a call does nothing.
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

    /// When [`Get::on_time`] has to be called next; None when the machine has finished.
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

    /// Joins a state into what is held. The first is taken as it is; only a second, different one makes both decoded.
    fn absorb(&mut self, new: Found) -> Result<(), ()> {
        if self.known.contains(&new.digest) {
            return Ok(());
        }
        let Some(held) = &self.held else {
            self.known.push(new.digest);
            self.held = Some(new);
            return Ok(());
        };
        let other = SiblingSet::decode(new.encoded.clone()).map_err(drop)?;
        if self.set.is_none() {
            match SiblingSet::decode(held.encoded.clone()) {
                Ok(set) => self.set = Some(Box::new(set)),
                Err(_) => {
                    self.discard_held();
                    return self.absorb(new);
                }
            }
        }
        self.known.push(new.digest);
        let set = self.set.as_mut().expect("decoded just above");
        set.merge(&other, self.settings.mode);
        let encoded = set.encode();
        let digest = SiblingSet::digest(&encoded);
        if !self.known.contains(&digest) {
            self.known.push(digest);
        }
        self.held = Some(Found { encoded, digest });
        Ok(())
    }

    /// What was taken without a look turns out to be no sibling set: whoever answered with it has a damaged record.
    fn discard_held(&mut self) {
        let Some(held) = self.held.take() else { return };
        self.known.clear();
        for peer in &mut self.peers {
            if peer.digest == Some(held.digest) && peer.phase == Phase::Answered {
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
                effects.push(GetEffect::Fail(self.not_enough(false)));
                return self.finish(effects);
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

    /// Somebody who answered with this digest was asked for the state, and is still waited for.
    fn chased(&self, digest: Option<u64>) -> bool {
        self.peers.iter().any(|peer| peer.digest == digest && peer.phase == Phase::Waiting && peer.due != NEVER)
    }

    fn full_awaited(&self) -> bool {
        self.peers.iter().any(|peer| peer.full && peer.phase == Phase::Waiting && peer.due != NEVER)
    }

    fn ask(&mut self, index: usize, full: bool, now: u64, effects: &mut GetEffects) {
        let due = now.saturating_add(self.settings.replica_timeout_us);
        let peer = &mut self.peers[index];
        peer.phase = Phase::Waiting;
        peer.due = due;
        peer.full = full;
        effects.push(GetEffect::Ask { to: peer.node, digest: !full });
    }

    fn answer(&mut self, effects: &mut GetEffects) {
        self.answered = true;
        let answers = self.peers.iter().filter(|peer| self.resolved(peer)).map(|peer| peer.digest);
        let first = answers.clone().next();
        let diverged = answers.clone().any(|digest| Some(digest) != first);
        let answer = Answer { found: self.held.clone(), answers: answers.count() as u8, diverged };
        effects.push(GetEffect::Answer(answer));
    }

    fn expire(&mut self, effects: &mut GetEffects) {
        if self.answered {
            return self.conclude(effects);
        }
        effects.push(GetEffect::Fail(self.not_enough(true)));
        self.finish(effects);
    }

    fn conclude(&mut self, effects: &mut GetEffects) {
        if let Some(held) = &self.held {
            let stale = |peer: &&Peer| peer.home && peer.digest.is_some_and(|digest| digest != held.digest);
            for peer in self.peers.iter().filter(stale) {
                effects.push(GetEffect::Repair { to: peer.node, state: held.clone() });
            }
        }
        self.finish(effects);
    }

    fn finish(&mut self, effects: &mut GetEffects) {
        self.finished = true;
        effects.push(GetEffect::Finished);
    }

    /// Its answer is in the join.
    fn resolved(&self, peer: &Peer) -> bool {
        peer.digest.is_some_and(|digest| digest == NEVER_WRITTEN || self.known.contains(&digest))
    }

    /// R answers are in the join; and a fallback's stands only for a home that is absent, refused or fell silent. Else
    /// two fallbacks that know nothing of the key could outrun the one home that has it, and the key would seem to be gone.
    fn enough(&self) -> bool {
        let resolved = self.peers.iter().filter(|peer| self.resolved(peer)).count();
        let homes = || self.peers.iter().filter(|peer| peer.home);
        let expected = homes().filter(|peer| peer.phase == Phase::Idle || self.is_promising(peer)).count();
        let answered = homes().filter(|peer| self.resolved(peer)).count();
        let r = usize::from(self.r);
        resolved >= r && answered >= expected.min(r)
    }

    /// Nodes whose answers are in the join or are expected in time.
    fn promising(&self) -> usize {
        self.peers.iter().filter(|peer| self.is_promising(peer)).count()
    }

    fn is_promising(&self, peer: &Peer) -> bool {
        match peer.phase {
            _ if self.resolved(peer) => true,
            Phase::Waiting => peer.due != NEVER,
            Phase::Answered => !peer.full || self.chased(peer.digest),
            Phase::Idle | Phase::Refused => false,
        }
    }

    /// Nodes whose answers may still be in the join by the deadline.
    fn hopeful(&self) -> usize {
        let possible = |peer: &&Peer| {
            let open = matches!(peer.phase, Phase::Idle | Phase::Waiting | Phase::Answered);
            open || self.resolved(peer)
        };
        self.peers.iter().filter(possible).count()
    }

    fn next_idle(&self) -> Option<usize> {
        self.peers.iter().position(|peer| peer.phase == Phase::Idle)
    }

    fn not_enough(&self, timed_out: bool) -> NotEnough {
        NotEnough {
            operation: Operation::Read,
            strict: !self.settings.sloppy,
            needed: self.r,
            acked: self.peers.iter().filter(|peer| self.resolved(peer)).count() as u8,
            holding: 0,
            homes: self.homes,
            homes_alive: self.homes_alive,
            lacks_durable: false,
            begun: self.peers.iter().any(|peer| peer.phase != Phase::Idle),
            timed_out,
            refusals: self.refusals,
        }
    }

    fn waiting(&self, from: NodeId) -> Option<usize> {
        let index = self.position(from)?;
        (self.peers[index].phase == Phase::Waiting && !self.finished).then_some(index)
    }

    fn position(&self, node: NodeId) -> Option<usize> {
        self.peers.iter().position(|peer| peer.node == node)
    }
}
