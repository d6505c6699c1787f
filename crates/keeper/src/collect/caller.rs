//! Who calls a round: asks all members, stage by stage, and turns the epoch in between.
//!
//! Nothing here is kept. A round that is lost with its caller has done nothing, or turned the epoch in vain.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_ring::NodeId;

use super::{RoundAsk, RoundReply, Stage};
use crate::{
    effect::Effects,
    keeper::{Asked, Keeper, OWN_REQUEST, Situation},
    message::Question,
};

/// How long a member may be silent, or the register undecided, until a round is given up, microseconds.
const PATIENCE_US: u64 = 15_000_000;
/// How long until it is looked again whether everybody is there, microseconds.
const LOOK_US: u64 = 5_000_000;
/// How soon the next round may follow one that had no room for everything, microseconds.
const MORE_US: u64 = 60_000_000;

/// A round under way.
#[derive(Debug)]
pub(super) struct Caller {
    round: u64,
    version: u64,
    stage: Stage,
    /// The register is asked to turn the epoch.
    turning: bool,
    replies: BTreeMap<NodeId, RoundReply>,
    boots: BTreeMap<NodeId, u64>,
    next_ask: u64,
    /// When a member was last heard.
    heard: BTreeMap<NodeId, u64>,
    since: u64,
    /// Partitions of which something was found; then those that are free of hints; then those that stayed so.
    partitions: BTreeSet<u16>,
    more: bool,
}

/// What is to be done next.
enum Next {
    Ask,
    Stage(Stage),
    Turn,
    /// Nothing was found, or all is done.
    End,
    /// On whom it depends.
    GiveUp(BTreeSet<NodeId>),
}

impl Caller {
    fn new(round: u64, version: u64, now: u64) -> Caller {
        Caller {
            round,
            version,
            stage: Stage::Open,
            turning: false,
            replies: BTreeMap::new(),
            boots: BTreeMap::new(),
            next_ask: 0,
            heard: BTreeMap::new(),
            since: now,
            partitions: BTreeSet::new(),
            more: false,
        }
    }

    pub(super) fn stage(&self) -> &'static str {
        match self.stage {
            Stage::Open => "asking who is there",
            Stage::List => "finding what all homes have alike",
            Stage::Promise if self.turning => "turning the epoch",
            Stage::Promise => "asking for hints",
            Stage::Passed => "asking for hints again",
            Stage::Collect => "removing",
        }
    }

    /// A reply that may count. Returns false where a member is not the process that it was: all that it said is void.
    fn on_reply(&mut self, from: NodeId, reply: RoundReply, now: u64) -> bool {
        self.heard.insert(from, now);
        if reply.round != self.round || reply.stage != self.stage {
            return true;
        }
        if *self.boots.entry(from).or_insert(reply.boot) != reply.boot {
            return false;
        }
        if reply.done && (reply.version == self.version || self.stage == Stage::Collect) {
            self.replies.insert(from, reply);
        }
        true
    }

    fn begin(&mut self, stage: Stage, now: u64) {
        (self.stage, self.next_ask, self.since) = (stage, 0, now);
        self.replies.clear();
    }

    /// What everybody has said.
    fn common(&self) -> BTreeSet<u16> {
        let mut common = self.partitions.clone();
        self.replies.values().for_each(|reply| common.retain(|partition| reply.partitions.contains(partition)));
        common
    }

    fn next(&mut self, members: &[NodeId], now: u64) -> Next {
        let missing = |id: &&NodeId| !self.replies.contains_key(*id);
        if let Some(silent) = members.iter().filter(missing).find(|id| {
            let heard = self.heard.get(*id).copied().unwrap_or(0).max(self.since);
            now.saturating_sub(heard) > PATIENCE_US
        }) {
            return Next::GiveUp([*silent].into());
        }
        if members.iter().any(|id| missing(&id)) {
            return Next::Ask;
        }
        match self.stage {
            Stage::Open => Next::Stage(Stage::List),
            Stage::List => {
                self.partitions = self.replies.values().flat_map(|reply| reply.partitions.iter().copied()).collect();
                self.more = self.replies.values().any(|reply| reply.more);
                if self.partitions.is_empty() { Next::End } else { Next::Stage(Stage::Promise) }
            }
            Stage::Promise | Stage::Passed => {
                let common = self.common();
                if common.is_empty() {
                    let lacks = |reply: &RoundReply| !self.partitions.is_subset(&reply.partitions);
                    let holders = self.replies.iter().filter(|(_, reply)| lacks(reply)).map(|(id, _)| *id);
                    return Next::GiveUp(holders.collect());
                }
                self.partitions = common;
                if self.stage == Stage::Promise { Next::Turn } else { Next::Stage(Stage::Collect) }
            }
            Stage::Collect => Next::End,
        }
    }
}

impl Keeper {
    /// Begins a round when it is time, and goes on with the one that is under way.
    pub(super) fn call_round(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        let Some(mut caller) = self.collecting.caller.take() else { return self.look_for_round(at) };
        let members: Vec<NodeId> = self.charter().ring().members().iter().map(|member| member.id).collect();
        if caller.turning {
            return self.wait_for_turn(caller, at);
        }
        if caller.stage != Stage::Collect && (self.version() != caller.version || self.learning.is_some()) {
            return self.give_up_round(&caller, BTreeSet::new(), at.now);
        }
        self.ask_myself(&mut caller, at, effects);
        match caller.next(&members, at.now) {
            Next::Ask => self.ask_members(&mut caller, &members, at, effects),
            Next::Stage(stage) => {
                caller.begin(stage, at.now);
                self.ask_members(&mut caller, &members, at, effects);
            }
            Next::Turn => {
                let Some(charter) = self.charter().raise_barrier(caller.round).filter(|_| !self.registry.is_changing())
                else {
                    return self.give_up_round(&caller, BTreeSet::new(), at.now);
                };
                (caller.turning, caller.since) = (true, at.now);
                let version = caller.version;
                self.collecting.caller = Some(caller);
                return self.change(OWN_REQUEST, version, charter, at, effects);
            }
            Next::End => {
                self.collecting.figures.rounds += u64::from(caller.stage == Stage::Collect);
                self.collecting.waiting_for.clear();
                let every = self.settings.collect_every_us;
                let pause = if caller.more { every.min(MORE_US) } else { every };
                self.collecting.not_before = at.now.saturating_add(pause);
                return;
            }
            Next::GiveUp(on) => return self.give_up_round(&caller, on, at.now),
        }
        self.collecting.caller = Some(caller);
    }

    fn look_for_round(&mut self, at: &Situation<'_>) {
        let due = self.settings.collect_every_us > 0 && at.now >= self.collecting.not_before;
        if !due || !self.is_steward() || self.in_doubt() {
            return;
        }
        let charter = self.charter().clone();
        if charter.change().is_some() || self.registry.is_changing() || self.learning.is_some() {
            return;
        }
        let alive = self.alive();
        let absent = charter.ring().members().iter().map(|member| member.id).filter(|id| !alive.contains(id));
        self.collecting.waiting_for = absent.chain(charter.leavers().iter().copied()).collect();
        if self.collecting.waiting_for.is_empty() {
            self.collecting.caller = Some(Caller::new(at.random, self.version(), at.now));
        } else {
            self.collecting.not_before = at.now.saturating_add(LOOK_US.min(self.settings.collect_every_us));
        }
    }

    /// The barrier is up once the register has this round's own turn: then all was agreed before anybody went by it.
    fn wait_for_turn(&mut self, mut caller: Caller, at: &Situation<'_>) {
        let version = self.version();
        if version == caller.version {
            if at.now.saturating_sub(caller.since) > PATIENCE_US {
                return self.give_up_round(&caller, BTreeSet::new(), at.now);
            }
        } else if version == caller.version + 1 && self.charter().last_barrier().round == caller.round {
            (caller.version, caller.turning) = (version, false);
            caller.begin(Stage::Passed, at.now);
        } else {
            return self.give_up_round(&caller, BTreeSet::new(), at.now);
        }
        self.collecting.caller = Some(caller);
    }

    fn ask_myself(&mut self, caller: &mut Caller, at: &Situation<'_>, effects: &mut Effects) {
        let reply = self.round_part(caller.ask(), at, effects);
        caller.on_reply(self.me, reply, at.now);
    }

    fn ask_members(&mut self, caller: &mut Caller, members: &[NodeId], at: &Situation<'_>, effects: &mut Effects) {
        if at.now < caller.next_ask {
            return;
        }
        caller.next_ask = at.now.saturating_add(self.settings.ask_us);
        for id in members {
            let asked = *id == self.me || caller.replies.contains_key(id) || self.is_asked(*id, Asked::Round);
            if !asked && self.reachable.contains(id) {
                self.ask(*id, Asked::Round, Question::Round(caller.ask()), effects);
            }
        }
    }

    pub(super) fn round_replied(&mut self, from: NodeId, reply: RoundReply, at: &Situation<'_>) {
        let Some(mut caller) = self.collecting.caller.take() else { return };
        if caller.on_reply(from, reply, at.now) {
            self.collecting.caller = Some(caller);
        } else {
            self.give_up_round(&caller, [from].into(), at.now);
        }
    }

    fn give_up_round(&mut self, caller: &Caller, on: BTreeSet<NodeId>, now: u64) {
        self.collecting.figures.given_up += 1;
        self.collecting.given_up_at = caller.stage();
        self.collecting.waiting_for = on;
        let every = self.settings.collect_every_us;
        // An epoch was turned in vain, or all was read: not again soon.
        let pause = if caller.stage >= Stage::Passed { every } else { every.min(MORE_US.max(every / 10)) };
        self.collecting.not_before = now.saturating_add(pause);
    }
}

impl Caller {
    fn ask(&self) -> RoundAsk {
        let partitions = if self.stage == Stage::Collect { self.partitions.clone() } else { BTreeSet::new() };
        RoundAsk { round: self.round, version: self.version, stage: self.stage, partitions }
    }
}
