//! A newer charter: first this node refuses what belongs to the older epoch, then it keeps the new one, then it goes by it.
//!
//! In that order a crash in between leaves a node that refuses too much, never one that serves two epochs.

use std::{collections::BTreeMap, sync::Arc};

use dynamo_ring::{Partition, Ring, charter::Charter, register::Value};

use crate::{
    effect::{Effect, Effects, StoreAsk},
    fill::Fill,
    keeper::{Asked, Keeper, OWN_REQUEST, Situation, Ticket, WHOLE_KEY, encode_whole},
    message::Question,
    registry::{KNOWN_KEY, RegistryEffect},
    step::Step,
};

/// How often nodes that seem to have a newer value are asked for it, microseconds.
const PULL_US: u64 = 100_000;

/// For how long a node may be fenced for a ring that it does not know, microseconds, before it asks the register.
const AHEAD_US: u64 = 2_000_000;

/// How long nothing is fenced after the disk refused it, microseconds, and at the longest, after it did so again and again.
const REFUSED_MIN_US: u64 = 100_000;
const REFUSED_MAX_US: u64 = 2_000_000;

/// What the disk would not take: a full or failing one is asked again after a while, not with every message that comes in.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    pause: u64,
    until: u64,
    /// The newest value that could not be learnt.
    value: Option<Value>,
}

impl Refused {
    /// Whether the disk is left alone at present.
    pub(crate) fn holds(&self, now: u64) -> bool {
        now < self.until
    }

    /// A write has ended.
    pub(crate) fn ended(&mut self, done: bool, now: u64) {
        if done {
            (self.pause, self.until) = (0, 0);
        } else {
            self.pause = (2 * self.pause).clamp(REFUSED_MIN_US, REFUSED_MAX_US);
            self.until = now.saturating_add(self.pause);
        }
    }

    fn keep(&mut self, value: Value) {
        if self.value.as_ref().is_none_or(|kept| value.is_newer(kept)) {
            self.value = Some(value);
        }
    }
}

/// A value that is being kept.
#[derive(Debug)]
pub(crate) struct Learning {
    value: Value,
    fenced: bool,
    kept: bool,
    /// One that is newer still.
    next: Option<Value>,
}

impl Keeper {
    /// A value is chosen: fences, then keeps it.
    pub(crate) fn learn(&mut self, value: Value, at: &Situation<'_>, effects: &mut Effects) {
        if let Some(learning) = &mut self.learning {
            let newest = learning.next.as_ref().unwrap_or(&learning.value);
            if value.is_newer(newest) {
                learning.next = Some(value);
            }
            return;
        }
        if !value.is_newer(self.registry.known()) {
            return;
        }
        if self.refused.holds(at.now) {
            return self.refused.keep(value);
        }
        let Ok(charter) = Charter::decode(value.payload()) else { return };
        if !self.may_go_by(&value, &charter) {
            return;
        }
        let partitions = changed(self.registry.charter().ring(), charter.ring(), self.me);
        let floor = floor(self.registry.charter(), &charter, self.me);
        let fenced = partitions.is_empty() && floor == 0;
        self.learning = Some(Learning { value, fenced, kept: false, next: None });
        if fenced {
            self.keep_learnt(at, effects);
        } else {
            let epoch = charter.ring().epoch();
            self.fenced_to = self.fenced_to.max(epoch);
            self.store(Ticket::LearntFence, StoreAsk::Fence { partitions, epoch, floor }, effects);
        }
    }

    /// A write of what is being learnt has ended.
    pub(crate) fn learnt(&mut self, fence: bool, done: bool, at: &Situation<'_>, effects: &mut Effects) {
        let Some(learning) = &mut self.learning else { return };
        self.refused.ended(done, at.now);
        match (fence, done) {
            (true, true) => {
                learning.fenced = true;
                self.keep_learnt(at, effects);
            }
            (false, true) => {
                learning.kept = true;
                self.adopt(at, effects);
            }
            (_, false) => {
                let Some(Learning { value, next, .. }) = self.learning.take() else { return };
                self.refused.keep(value);
                next.into_iter().for_each(|next| self.refused.keep(next));
            }
        }
    }

    /// What the disk would not take is tried again.
    pub(crate) fn learn_again(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        if self.learning.is_none()
            && !self.refused.holds(at.now)
            && let Some(value) = self.refused.value.take()
        {
            self.learn(value, at, effects);
        }
    }

    fn keep_learnt(&mut self, _at: &Situation<'_>, effects: &mut Effects) {
        let Some(learning) = &self.learning else { return };
        let value = learning.value.encode().into();
        self.store(Ticket::LearntValue, StoreAsk::Put { key: KNOWN_KEY, value }, effects);
    }

    fn adopt(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        let Some(Learning { value, next, fenced: true, kept: true }) = self.learning.take() else { return };
        let before = self.registry.charter().ring().clone();
        if self.registry.on_known(value.clone()) == Ok(true) {
            self.adopted(&before, at, effects);
        }
        if let Some(next) = next {
            self.registered(vec![RegistryEffect::Learnt(next)], at, effects);
        }
    }

    fn adopted(&mut self, before: &Ring, at: &Situation<'_>, effects: &mut Effects) {
        let charter: Arc<Charter> = self.registry.charter().clone();
        let turned = charter.ring().epoch() != before.epoch();
        effects.push(Effect::Adopt { version: self.version(), charter: charter.clone() });
        if turned {
            self.sealed.clear();
            self.look_at_whole(before, effects);
            let mut out = Vec::new();
            self.jobs.on_epoch(charter.ring().epoch(), &mut out);
            self.job_effects(out, at, effects);
        }
        self.next_look = 0;
        self.leftovers.retain(|_, leftover| leftover.is_forgetting());
        self.look_at_step();
        if turned {
            self.schedule_ring(at.now);
        }
        self.tell(effects);
    }

    /// What a turn gave to this node is whole if all was had from as many as are needed; what it took away is not.
    fn look_at_whole(&mut self, before: &Ring, effects: &mut Effects) {
        let charter = self.registry.charter().clone();
        let ring = charter.ring();
        let old = self.whole.clone();
        for partition in ring.partitions().iter() {
            let at = usize::from(partition.0);
            let home = ring.is_home(partition, self.me);
            let was = before.is_home(partition, self.me);
            let filled = || {
                let affected =
                    self.step.as_ref()?.affected.iter().find(|affected| affected.partition == partition.0)?;
                let fill = self.fills.get(&partition.0)?;
                Some(fill.complete().len() >= affected.needed(self.needed))
            };
            self.whole[at] = home && if was { old[at] } else { filled().unwrap_or(false) };
        }
        if self.whole != old {
            self.keep_whole(effects);
        }
        self.refills.clear();
    }

    pub(crate) fn keep_whole(&mut self, effects: &mut Effects) {
        effects.push(Effect::Whole(Arc::new(self.whole().to_vec())));
        let value = encode_whole(self.incarnation, &self.whole);
        self.store(Ticket::Whole, StoreAsk::Put { key: WHOLE_KEY, value }, effects);
    }

    /// Works out what the charter makes of this node.
    pub(crate) fn look_at_step(&mut self) {
        let charter = self.registry.charter().clone();
        self.step = Step::of(self.version(), &charter);
        (self.sealing, self.fetched, self.next_ask) = (false, 0, 0);
        let me = self.me;
        let fill = |affected: &crate::step::Affected| {
            // Each gaining partition begins with another source, so that one is not asked for all of them.
            let mut sources = affected.sources.clone();
            let first = usize::from(affected.partition) % sources.len().max(1);
            sources.rotate_left(first);
            (affected.partition, Fill::new(affected.partition, sources))
        };
        self.fills = self.step.iter().flat_map(|step| step.gained_by(me)).map(fill).collect();
        let ring = charter.ring();
        let mut refills = BTreeMap::new();
        for partition in ring.partitions().iter().filter(|partition| ring.is_home(*partition, me)) {
            if !self.whole[usize::from(partition.0)] {
                let others = ring.preference_list(partition).into_iter().filter(|id| *id != me);
                let kept = self.refills.remove(&partition.0);
                refills.insert(partition.0, kept.unwrap_or_else(|| Fill::new(partition.0, others)));
            }
        }
        self.refills = refills;
    }

    /// Who made the value tells everybody who can be reached; gossip finds the others.
    fn tell(&mut self, effects: &mut Effects) {
        if !std::mem::take(&mut self.made) {
            return;
        }
        let value = self.known().clone();
        let behind = |id: &&dynamo_ring::NodeId| self.versions.get(id).is_none_or(|version| *version < value.version());
        let to: Vec<_> = self.reachable.iter().filter(behind).copied().collect();
        for id in to {
            self.versions.insert(id, value.version());
            self.ask(id, Asked::Newer, Question::Tell(value.clone()), effects);
        }
    }

    /// A node that crashed between fencing and keeping a value that nobody else has learnt refuses everybody's requests, and
    /// nobody would ever tell it why: it asks the register, by a turn of its own. That finds the value if it was chosen.
    pub(crate) fn look_ahead_of_the_ring(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        let charter = self.charter().clone();
        let ahead = self.fenced_to > charter.ring().epoch() && charter.change().is_none();
        if !ahead || self.learning.is_some() || charter.ring().member(self.me).is_none() {
            self.ahead_since = None;
            return;
        }
        let since = *self.ahead_since.get_or_insert(at.now);
        if at.now >= since.saturating_add(AHEAD_US) && !self.registry.is_changing() {
            self.ahead_since = Some(at.now);
            self.change(OWN_REQUEST, self.version(), charter.renew(), at, effects);
        }
    }

    /// Asks for what others seem to know.
    pub(crate) fn pull(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        if at.now < self.next_pull || self.learning.is_some() || self.refused.holds(at.now) {
            return;
        }
        self.next_pull = at.now.saturating_add(PULL_US);
        let version = self.version();
        let newer = self.versions.iter().filter(|(id, known)| **known > version && self.reachable.contains(id));
        let Some((&from, _)) = newer.max_by_key(|(_, known)| **known) else { return };
        if !self.is_asked(from, Asked::Newer) {
            self.ask(from, Asked::Newer, Question::Pull { version }, effects);
        }
    }
}

/// Below which epoch nothing at all is taken any more, if that is new. Who has left takes nothing older than the ring that
/// it is not in, so that its word that it holds nothing for others is its last.
fn floor(before: &Charter, after: &Charter, me: dynamo_ring::NodeId) -> u64 {
    let epoch = after.ring().epoch();
    let outside = after.ring().member(me).is_none() && epoch > before.ring().epoch();
    let barrier = after.last_barrier().epoch;
    match barrier > before.last_barrier().epoch {
        _ if outside => epoch,
        true => barrier,
        false => 0,
    }
}

/// Partitions whose preference list is another, of which this node is or was a home.
fn changed(before: &Ring, after: &Ring, me: dynamo_ring::NodeId) -> Vec<u16> {
    let concerns = |partition: &Partition| before.is_home(*partition, me) || after.is_home(*partition, me);
    let differs = |partition: &Partition| {
        let (mut old, mut new) = (before.preference_list(*partition), after.preference_list(*partition));
        old.sort();
        new.sort();
        old != new
    };
    after.partitions().iter().filter(concerns).filter(differs).map(|partition| partition.0).collect()
}
