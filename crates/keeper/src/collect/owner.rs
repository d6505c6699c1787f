//! The part of a token's owner: it finds what is spent in its partitions, asks the other homes whether they have exactly
//! that, and once the round has passed has all homes remove it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use dynamo_ring::{NodeId, Partition};
use dynamo_transfer::Class;

use super::{Item, Items, Step};
use crate::{
    effect::{Effect, Effects, StoreAsk, StoreDone},
    keeper::{Asked, Keeper, Situation, Ticket},
    message::{Answer, Question},
};

/// Bytes of records that are read at once; no question has more keys than such a page.
const PAGE_BYTES: usize = 256 << 10;
/// Bytes of keys that an owner brings into one round; what is left comes with the next.
const ROUND_BYTES: usize = 8 << 20;
/// How long after a pass over what is to be removed the next follows, microseconds.
const PASS_PAUSE_US: u64 = 500_000;
/// After so many passes it is left to the next round.
const PASSES_MAX: u32 = 8;

/// What an owner has found.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Partitions to be read, the present one first.
    todo: VecDeque<u16>,
    after: Option<Bytes>,
    reading: bool,
    asking: Option<Asking>,
    /// What all homes have alike, by pages.
    pub agreed: BTreeMap<u16, Vec<Vec<Item>>>,
    pub found: u32,
    bytes: usize,
    /// There is more.
    pub more: bool,
}

/// A page that the other homes are asked about.
#[derive(Debug)]
struct Asking {
    partition: u16,
    items: Vec<Item>,
    same: Vec<bool>,
    waiting: BTreeSet<NodeId>,
}

impl Listing {
    pub(super) fn new(owned: impl IntoIterator<Item = u16>) -> Listing {
        Listing { todo: owned.into_iter().collect(), ..Listing::default() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.todo.is_empty() && !self.reading && self.asking.is_none()
    }

    /// All homes have answered.
    fn settle(&mut self) {
        let Some(Asking { partition, items, same, .. }) = self.asking.take() else { return };
        let agreed: Vec<Item> = items.into_iter().zip(same).filter_map(|(item, same)| same.then_some(item)).collect();
        if agreed.is_empty() {
            return;
        }
        self.found += agreed.len() as u32;
        self.bytes += agreed.iter().map(|item| item.key.len() + 64).sum::<usize>();
        self.agreed.entry(partition).or_default().push(agreed);
        if self.bytes >= ROUND_BYTES {
            self.more = true;
            self.todo.clear();
        }
    }
}

/// What is being removed at all homes.
#[derive(Debug)]
pub(super) struct Sweep {
    pages: Vec<(u16, Vec<Item>)>,
    next: usize,
    /// Homes that have not answered about the page before.
    waiting: BTreeSet<NodeId>,
    /// This pass has found something to remove, or somebody did not answer.
    again: bool,
    pass: u32,
    not_before: u64,
    pub done: bool,
}

impl Sweep {
    pub(super) fn new(pages: Vec<(u16, Vec<Item>)>) -> Sweep {
        let done = pages.is_empty();
        Sweep { pages, next: 0, waiting: BTreeSet::new(), again: false, pass: 0, not_before: 0, done }
    }
}

impl Keeper {
    /// Lives of disks that write no more.
    pub(super) fn retired(&self) -> Arc<[(u128, u64)]> {
        let charter = self.charter();
        let lives = charter
            .gone()
            .iter()
            .filter(|gone| charter.voter(gone.id).is_none_or(|voter| voter.incarnation != gone.incarnation));
        lives.map(|gone| (gone.id.0, gone.incarnation)).collect()
    }

    /// Reads the next page, if nothing is waited for and the share allows.
    pub(super) fn list_on(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        let version = self.version();
        let Some(part) = &mut self.collecting.part else { return };
        let (round, listing) = (part.round, &mut part.listing);
        if part.version != version {
            // The round has ended: what would be found now is for the next.
            listing.todo.clear();
        }
        if listing.reading || listing.asking.is_some() {
            return;
        }
        let Some(&partition) = listing.todo.front() else { return };
        if !self.slices_take(Class::Scrub, PAGE_BYTES as u64, at.now) {
            return;
        }
        let retired = self.retired();
        let Some(part) = &mut self.collecting.part else { return };
        part.listing.reading = true;
        let after = part.listing.after.clone();
        let ask = StoreAsk::Spent { partition, after, retired, bytes_max: PAGE_BYTES };
        self.store(Ticket::Round(Step::Page(round)), ask, effects);
    }

    pub(super) fn listed(&mut self, round: u64, done: StoreDone, effects: &mut Effects) {
        let (items, go_on, bytes) = match done {
            StoreDone::Spent { items, go_on, bytes } => (items, go_on, bytes),
            // This partition has to wait for the next round.
            _ => (Vec::new(), None, 0),
        };
        self.slices_give_back(Class::Scrub, (PAGE_BYTES as u64).saturating_sub(bytes));
        let charter = self.charter().clone();
        let Some(part) = self.collecting.part.as_mut().filter(|part| part.round == round) else { return };
        let (version, listing) = (part.version, &mut part.listing);
        listing.reading = false;
        let Some(&partition) = listing.todo.front() else { return };
        listing.after = go_on;
        if listing.after.is_none() {
            listing.todo.pop_front();
        }
        if items.is_empty() {
            return;
        }
        let homes = charter.ring().preference_list(Partition(partition));
        let waiting: BTreeSet<NodeId> = homes.into_iter().filter(|id| *id != self.me).collect();
        let same = vec![true; items.len()];
        listing.asking = Some(Asking { partition, items: items.clone(), same, waiting: waiting.clone() });
        if waiting.is_empty() {
            listing.settle();
        }
        for home in waiting {
            let items = Items { version, partition, items: items.clone() };
            self.ask(home, Asked::Held(round), Question::Held(items), effects);
        }
    }

    /// Another home says which items it has exactly so; None: it does not answer.
    pub(super) fn held(&mut self, round: u64, from: NodeId, answer: Option<(u64, Vec<bool>)>) {
        let Some(part) = self.collecting.part.as_mut().filter(|part| part.round == round) else { return };
        let (version, listing) = (part.version, &mut part.listing);
        let Some(asking) = listing.asking.as_mut() else { return };
        if !asking.waiting.remove(&from) {
            return;
        }
        let said = answer.filter(|(known, same)| *known == version && same.len() == asking.same.len());
        let same = said.map_or_else(|| vec![false; asking.same.len()], |(_, same)| same);
        asking.same.iter_mut().zip(same).for_each(|(all, one)| *all &= one);
        if asking.waiting.is_empty() {
            listing.settle();
        }
    }

    /// Another home asks whether this one has exactly these.
    pub(crate) fn asked_what_is_held(&mut self, call: u64, asked: Items, effects: &mut Effects) {
        let Items { version, partition, items } = asked;
        if !self.may_vouch_for(version, partition) {
            let answer = Answer::Held { version: self.version(), same: vec![] };
            return effects.push(Effect::Answer { call, answer });
        }
        let keys = items.iter().map(|item| item.key.clone()).collect();
        let digests = items.iter().map(|item| item.digest).collect();
        let ticket = Ticket::Round(Step::Held { call, version, partition, digests });
        self.store(ticket, StoreAsk::Digests { partition, keys }, effects);
    }

    pub(super) fn held_here(
        &mut self,
        call: u64,
        (version, partition, digests): (u64, u16, Vec<u64>),
        done: StoreDone,
        effects: &mut Effects,
    ) {
        let same = match done {
            // Read in between: it has to be this version's still.
            StoreDone::Digests(found) if self.may_vouch_for(version, partition) && found.len() == digests.len() => {
                found.iter().zip(&digests).map(|(found, digest)| *found == Some(*digest)).collect()
            }
            _ => vec![],
        };
        effects.push(Effect::Answer { call, answer: Answer::Held { version: self.version(), same } });
    }

    fn may_vouch_for(&self, version: u64, partition: u16) -> bool {
        let ring = self.charter().ring();
        version == self.version()
            && self.learning.is_none()
            && !self.in_doubt()
            && u32::from(partition) < ring.partitions().get()
            && ring.is_home(Partition(partition), self.me)
    }

    /// Goes on with what is to be removed, page by page, until a pass found nothing any more: a home that compared with one
    /// that still had a tombstone has it again.
    pub(super) fn sweep_on(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        let Some(sweep) = &mut self.collecting.sweep else { return };
        if sweep.done || !sweep.waiting.is_empty() || at.now < sweep.not_before {
            return;
        }
        let Some((partition, items)) = sweep.pages.get(sweep.next).cloned() else {
            sweep.pass += 1;
            sweep.done = !std::mem::take(&mut sweep.again) || sweep.pass >= PASSES_MAX;
            (sweep.next, sweep.not_before) = (0, at.now.saturating_add(PASS_PAUSE_US));
            return;
        };
        sweep.next += 1;
        let homes = self.charter().ring().preference_list(Partition(partition));
        let Some(sweep) = &mut self.collecting.sweep else { return };
        sweep.waiting = homes.iter().copied().collect();
        let version = self.version();
        for home in homes {
            let items = items.clone();
            if home == self.me {
                let retired = self.retired();
                let ask = StoreAsk::Collect { partition, items, retired };
                self.store(Ticket::Round(Step::Removed(None)), ask, effects);
            } else {
                let items = Items { version, partition, items };
                self.ask(home, Asked::Collect, Question::Collect(items), effects);
            }
        }
    }

    /// A home has removed what it had of a page; None: it does not answer.
    pub(super) fn swept(&mut self, from: NodeId, changed: Option<u32>) {
        if let Some(sweep) = &mut self.collecting.sweep {
            sweep.waiting.remove(&from);
            sweep.again |= changed != Some(0);
        }
    }

    /// The owner of a token tells what has passed a round: that may go at any time, as long as it is what is stored.
    pub(crate) fn asked_to_collect(&mut self, from: NodeId, call: u64, asked: Items, effects: &mut Effects) {
        let Items { partition, items, .. } = asked;
        let ring = self.charter().ring();
        let known = u32::from(partition) < ring.partitions().get();
        if !known || !ring.is_home(Partition(partition), from) || items.is_empty() {
            return effects.push(Effect::Answer { call, answer: Answer::Unable });
        }
        let ask = StoreAsk::Collect { partition, items, retired: self.retired() };
        self.store(Ticket::Round(Step::Removed(Some(call))), ask, effects);
    }

    pub(super) fn removed(&mut self, call: Option<u64>, done: StoreDone, effects: &mut Effects) {
        let removed = match done {
            StoreDone::Collected { gone, pruned } => {
                self.collecting.figures.collected += u64::from(gone);
                self.collecting.figures.pruned += u64::from(pruned);
                Some(gone + pruned)
            }
            _ => None,
        };
        match call {
            None => self.swept(self.me, removed),
            Some(call) => {
                let answer = removed.map_or(Answer::Unable, |changed| Answer::Collected { changed });
                effects.push(Effect::Answer { call, answer });
            }
        }
    }
}
