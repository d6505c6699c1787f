//! Who compares what with whom, next: anti-entropy between the homes of partitions (§4.7).
//!
//! Every interval one peer, in turn, is asked whether the roots of all shared partitions are the same (`roots.rs`). Those that
//! differ are compared, the one that was found equal longest ago first, a few at once. Both homes of a pair ask; of the two the
//! one with the lower id compares at once, the other only if the difference is still there a round later, and not while
//! the first one is at it ([`Schedule::on_asked`]).
//!
//! A peer that is down is left out; one that is silent, and a comparison that failed, is left alone for longer and longer.
//! Bounds: one entry for each shared partition and peer, one question to each peer, `parallel` comparisons.

mod roots;

use std::collections::{BTreeMap, BTreeSet};

use dynamo_merkle::{PeerError, Roots};
use dynamo_ring::NodeId;
use smallvec::SmallVec;

use crate::comparison::Ended;
pub use roots::{RootsQuestion, RootsReply, digest_of};

/// How eagerly homes compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScheduleSettings {
    /// A peer is asked for its roots every so often, microseconds; at least 1.
    pub interval_us: u64,
    /// Comparisons at once; at least 1.
    pub parallel: usize,
    /// Silence to a question for roots, microseconds, after which the peer is left alone for a while.
    pub reply_timeout_us: u64,
    /// First pause after a failure, microseconds; doubles with each one that follows.
    pub backoff_min_us: u64,
    /// Longest pause, microseconds.
    pub backoff_max_us: u64,
}

/// What the driver has to do for a [`Schedule`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScheduleEffect {
    /// Send the question; the reply goes to [`Schedule::on_reply`].
    Ask {
        /// To whom.
        peer: NodeId,
        /// What.
        question: RootsQuestion,
    },
    /// Begin a [`crate::Comparison`] for [`crate::Purpose::Both`], and call [`Schedule::on_compared`] when it has ended.
    Compare {
        /// Which partition.
        partition: u16,
        /// With whom.
        peer: NodeId,
    },
}

/// Effects in the order in which they have to be carried out.
pub type ScheduleEffects = SmallVec<[ScheduleEffect; 2]>;

#[derive(Clone, Copy, Default, Debug)]
struct Pause {
    failures: u32,
    until: u64,
}

impl Pause {
    fn longer(&mut self, settings: &ScheduleSettings, now: u64) {
        let doubled = settings.backoff_min_us.saturating_mul(1 << self.failures.min(32));
        self.failures = self.failures.saturating_add(1);
        self.until = now.saturating_add(doubled.min(settings.backoff_max_us).max(1));
    }
}

/// A partition and another home of it.
#[derive(Clone, Copy, Debug)]
struct Pair {
    since: u64,
    last_equal: Option<u64>,
    /// It differs, and is the peer's to compare until the next round.
    seen: bool,
    /// It is to be compared.
    due: bool,
    pause: Pause,
    /// When the comparison under way began.
    began: u64,
}

#[derive(Debug)]
struct Asked {
    round: u32,
    /// None: for the digest.
    roots: Option<Roots>,
    at: u64,
    due: u64,
}

#[derive(Default, Debug)]
struct Peer {
    asked: Option<Asked>,
    pause: Pause,
}

/// Decides which partition is compared with which peer, and when.
#[derive(Debug)]
pub struct Schedule {
    node: NodeId,
    settings: ScheduleSettings,
    epoch: u64,
    pairs: BTreeMap<(NodeId, u16), Pair>,
    peers: BTreeMap<NodeId, Peer>,
    up: BTreeSet<NodeId>,
    running: BTreeSet<(NodeId, u16)>,
    round: u32,
    round_at: u64,
    /// Who was asked last.
    turn: Option<NodeId>,
}

impl Schedule {
    /// Nothing to compare yet. `random` is any number: it keeps nodes that start together from asking together.
    pub fn new(node: NodeId, settings: ScheduleSettings, now: u64, random: u64) -> Schedule {
        let settings = ScheduleSettings {
            interval_us: settings.interval_us.max(1),
            parallel: settings.parallel.max(1),
            ..settings
        };
        Schedule {
            node,
            epoch: 0,
            pairs: BTreeMap::new(),
            peers: BTreeMap::new(),
            up: BTreeSet::new(),
            running: BTreeSet::new(),
            round: 0,
            round_at: now.saturating_add(random % settings.interval_us),
            settings,
            turn: None,
        }
    }

    /// The partitions that this node is home of in this epoch, and the other homes of each. What is known of pairs that
    /// stay is kept. Comparisons of the epoch before are the driver's to end.
    pub fn set_ring(&mut self, epoch: u64, homes: impl IntoIterator<Item = (u16, Vec<NodeId>)>, now: u64) {
        let mut before = std::mem::take(&mut self.pairs);
        for (partition, others) in homes {
            for peer in others.into_iter().filter(|peer| *peer != self.node) {
                let new =
                    Pair { since: now, last_equal: None, seen: false, due: false, pause: Pause::default(), began: now };
                let pair = before.remove(&(peer, partition)).unwrap_or(new);
                self.pairs.insert((peer, partition), pair);
            }
        }
        self.epoch = epoch;
        let homes: BTreeSet<NodeId> = self.pairs.keys().map(|&(peer, _)| peer).collect();
        self.peers.retain(|peer, _| homes.contains(peer));
        for peer in homes {
            // An answer by another ring would be one to another question.
            self.peers.entry(peer).or_default().asked = None;
        }
    }

    /// Whether a peer can be reached. None is, until told so.
    pub fn set_up(&mut self, peer: NodeId, up: bool) {
        if up {
            self.up.insert(peer);
        } else {
            self.up.remove(&peer);
            if let Some(peer) = self.peers.get_mut(&peer) {
                peer.asked = None;
            }
        }
    }

    /// Time has passed; see [`Schedule::next_time`]. `root_of` gives the root of a partition's tree, here and below; None
    /// for one that has none at present.
    pub fn on_time(&mut self, now: u64, root_of: impl Fn(u16) -> Option<u64>, effects: &mut ScheduleEffects) {
        for peer in self.peers.values_mut() {
            if peer.asked.take_if(|asked| asked.due <= now).is_some() {
                peer.pause.longer(&self.settings, now);
            }
        }
        if self.round_at <= now {
            self.round_at = now.saturating_add(self.settings.interval_us);
            self.ask_next(now, root_of, effects);
        }
        self.compare(now, effects);
    }

    /// When [`Schedule::on_time`] has to be called next; None while no peer is up that shares anything.
    pub fn next_time(&self) -> Option<u64> {
        let round = self.peers.keys().any(|peer| self.up.contains(peer)).then_some(self.round_at);
        let silence = self.peers.values().filter_map(|peer| peer.asked.as_ref()).map(|asked| asked.due).min();
        let room = self.running.len() < self.settings.parallel;
        let due = self.candidates().filter(|_| room).map(|(_, pair)| pair.pause.until).min();
        round.into_iter().chain(silence).chain(due).min()
    }

    /// The answer to a peer's question.
    pub fn answer(&self, peer: NodeId, question: &RootsQuestion, root_of: impl Fn(u16) -> Option<u64>) -> RootsReply {
        match question {
            RootsQuestion::Digest { round, epoch, digest } => {
                let same = *epoch == self.epoch && *digest == digest_of(self.roots(peer, root_of));
                RootsReply::Digest { round: *round, epoch: self.epoch, same }
            }
            RootsQuestion::Each(roots) => {
                let shared = |partition: u16| self.pairs.contains_key(&(peer, partition));
                let root_of = |partition: u16| root_of(partition).filter(|_| shared(partition));
                RootsReply::Each(roots.answer(self.epoch, root_of))
            }
        }
    }

    /// A peer's reply. One that is not waited for is ignored. After an error nothing was learned from it.
    pub fn on_reply(
        &mut self,
        peer: NodeId,
        reply: RootsReply,
        now: u64,
        root_of: impl Fn(u16) -> Option<u64>,
        effects: &mut ScheduleEffects,
    ) -> Result<(), PeerError> {
        let (round, epoch, of_each) = match &reply {
            RootsReply::Digest { round, epoch, .. } => (*round, *epoch, false),
            RootsReply::Each(answer) => (answer.round, answer.epoch, true),
        };
        let Some(entry) = self.peers.get_mut(&peer) else { return Ok(()) };
        let waited_for = |asked: &mut Asked| asked.round == round && asked.roots.is_some() == of_each;
        let Some(asked) = entry.asked.take_if(waited_for) else { return Ok(()) };
        entry.pause = Pause::default();
        if epoch != self.epoch {
            // One of the two will hear of the newer ring before long.
            return Ok(());
        }
        match (reply, asked.roots) {
            (RootsReply::Digest { same: true, .. }, _) => {
                let all: Vec<u16> = self.shared_with(peer).map(|(partition, _)| partition).collect();
                all.into_iter().for_each(|partition| self.equal(peer, partition, asked.at));
            }
            (RootsReply::Digest { same: false, .. }, _) => {
                let roots = self.roots(peer, root_of);
                let roots = Roots { round, epoch: self.epoch, roots };
                self.ask(peer, RootsQuestion::Each(roots), now, effects);
            }
            (RootsReply::Each(answer), Some(roots)) => {
                if let Err(error) = answer.differing_of(&roots) {
                    self.peers.entry(peer).or_default().pause.longer(&self.settings, now);
                    return Err(error);
                }
                for &(partition, _) in &roots.roots {
                    if answer.differing.binary_search(&partition).is_ok() {
                        self.differs(peer, partition);
                    } else if answer.refused.binary_search(&partition).is_err() {
                        self.equal(peer, partition, asked.at);
                    }
                }
                self.compare(now, effects);
            }
            (RootsReply::Each(_), None) => unreachable!("not waited for"),
        }
        Ok(())
    }

    /// A comparison that the peer began asks this node about a partition: this node need not begin one as well.
    pub fn on_asked(&mut self, partition: u16, peer: NodeId) {
        if let Some(pair) = self.pairs.get_mut(&(peer, partition)) {
            (pair.seen, pair.due) = (false, false);
        }
    }

    /// A comparison has ended.
    pub fn on_compared(
        &mut self,
        partition: u16,
        peer: NodeId,
        ended: &Ended,
        now: u64,
        effects: &mut ScheduleEffects,
    ) {
        if !self.running.remove(&(peer, partition)) {
            return;
        }
        if let Some(pair) = self.pairs.get_mut(&(peer, partition)) {
            let began = pair.began;
            if let Ended::Complete { .. } = ended {
                self.equal(peer, partition, began);
            } else {
                pair.due = true;
                pair.pause.longer(&self.settings, now);
            }
        }
        self.compare(now, effects);
    }

    /// When a partition was last known to be the same at a peer: all that either had then, both have now.
    pub fn last_equal(&self, partition: u16, peer: NodeId) -> Option<u64> {
        self.pairs.get(&(peer, partition))?.last_equal
    }

    /// The partition and peer that were last known to be equal longest ago, or never since they share it, and since when.
    pub fn stalest(&self) -> Option<(u16, NodeId, u64)> {
        let since = |(&(peer, partition), pair): (&(NodeId, u16), &Pair)| {
            (pair.last_equal.unwrap_or(pair.since), partition, peer)
        };
        self.pairs.iter().map(since).min().map(|(since, partition, peer)| (partition, peer, since))
    }

    /// Comparisons under way.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    fn shared_with(&self, peer: NodeId) -> impl Iterator<Item = (u16, &Pair)> {
        self.pairs.range((peer, 0)..=(peer, u16::MAX)).map(|(&(_, partition), pair)| (partition, pair))
    }

    fn roots(&self, peer: NodeId, root_of: impl Fn(u16) -> Option<u64>) -> Vec<(u16, u64)> {
        self.shared_with(peer).filter_map(|(partition, _)| Some((partition, root_of(partition)?))).collect()
    }

    /// Asks the next peer in turn.
    fn ask_next(&mut self, now: u64, root_of: impl Fn(u16) -> Option<u64>, effects: &mut ScheduleEffects) {
        let free = |(_, peer): &(&NodeId, &Peer)| peer.asked.is_none() && peer.pause.until <= now;
        let free = self.peers.iter().filter(free).map(|(&peer, _)| peer).filter(|peer| self.up.contains(peer));
        let turn = self.turn;
        // After the last one asked, and from the first again.
        let Some(peer) = free.min_by_key(|peer| (turn.is_some_and(|turn| *peer <= turn), *peer)) else { return };
        self.turn = Some(peer);
        self.round = self.round.wrapping_add(1);
        let digest = digest_of(self.roots(peer, root_of));
        self.ask(peer, RootsQuestion::Digest { round: self.round, epoch: self.epoch, digest }, now, effects);
    }

    fn ask(&mut self, peer: NodeId, question: RootsQuestion, now: u64, effects: &mut ScheduleEffects) {
        let (round, roots) = match &question {
            RootsQuestion::Digest { round, .. } => (*round, None),
            RootsQuestion::Each(roots) => (roots.round, Some(roots.clone())),
        };
        let due = now.saturating_add(self.settings.reply_timeout_us);
        self.peers.entry(peer).or_default().asked = Some(Asked { round, roots, at: now, due });
        effects.push(ScheduleEffect::Ask { peer, question });
    }

    fn equal(&mut self, peer: NodeId, partition: u16, at: u64) {
        if let Some(pair) = self.pairs.get_mut(&(peer, partition)) {
            pair.last_equal = pair.last_equal.max(Some(at));
            (pair.seen, pair.due, pair.pause) = (false, false, Pause::default());
        }
    }

    fn differs(&mut self, peer: NodeId, partition: u16) {
        let first = self.node < peer;
        if let Some(pair) = self.pairs.get_mut(&(peer, partition)) {
            pair.due |= first || pair.seen;
            pair.seen = true;
        }
    }

    fn candidates(&self) -> impl Iterator<Item = ((NodeId, u16), &Pair)> {
        let due = self.pairs.iter().map(|(&name, pair)| (name, pair)).filter(|(_, pair)| pair.due);
        due.filter(|(name, _)| self.up.contains(&name.0) && !self.running.contains(name))
    }

    /// Begins comparisons, those that were equal longest ago first.
    fn compare(&mut self, now: u64, effects: &mut ScheduleEffects) {
        while self.running.len() < self.settings.parallel {
            let ready = self.candidates().filter(|(_, pair)| pair.pause.until <= now);
            let stalest = ready.min_by_key(|(name, pair)| (pair.last_equal.unwrap_or(pair.since), *name));
            let Some((name, _)) = stalest else { return };
            let pair = self.pairs.get_mut(&name).expect("just seen");
            (pair.seen, pair.due, pair.began) = (false, false, now);
            self.running.insert(name);
            let (peer, partition) = name;
            effects.push(ScheduleEffect::Compare { partition, peer });
        }
    }
}
