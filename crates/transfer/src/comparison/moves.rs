//! What the exchange found, on its way: fetched and merged here, read here and pushed there.
//!
//! Keys go in *units*, each with a slot: its wanted keys are fetched and merged, then its offered ones are read (after the
//! merge, so that a state that became the peer's is not sent back) and pushed. So a break costs what the units under way had
//! moved, and no more. What did not fit into one answer or push goes back to the front of the queue.

use std::collections::{BTreeMap, VecDeque};

use dynamo_merkle::{Difference, Key, PeerError};

use super::asker::Asker;
use super::{ComparisonEffect, ComparisonEffects};
use crate::question::{Ask, Record, Stored, fitting};

#[derive(Debug)]
struct Item {
    key: Key,
    want: bool,
    offer: bool,
    /// The state that the peer is known to have: it is never sent back.
    theirs: Option<u64>,
    /// The peer's record is damaged, and counted already.
    damaged: bool,
}

#[derive(Debug)]
enum Stage {
    Fetching {
        reserved: u32,
        due: u64,
    },
    Merging {
        keys: u32,
        bytes: u64,
    },
    /// Waits for budget.
    ToPush,
    Reading {
        reserved: u32,
    },
    Pushing {
        keys: u32,
        damaged: u32,
        bytes: u64,
        due: u64,
    },
}

#[derive(Debug)]
struct Unit {
    ticket: u32,
    stage: Stage,
    items: Vec<Item>,
}

/// At most a reply's differences, and the units under way.
#[derive(Debug, Default)]
pub(super) struct Moves {
    queue: VecDeque<Item>,
    units: Vec<Unit>,
    /// Keys that could not be had here or there.
    pub(super) lost: u64,
}

impl Moves {
    /// Takes in what differs.
    pub(super) fn add(&mut self, want: Vec<Difference>, offer: Vec<Difference>) {
        let mut items = BTreeMap::new();
        let mut add = |Difference { key, theirs, .. }: Difference, want: bool| {
            let new = Item { key: key.clone(), want: false, offer: false, theirs, damaged: false };
            let item = items.entry(key).or_insert(new);
            item.want |= want;
            item.offer |= !want;
        };
        want.into_iter().for_each(|found| add(found, true));
        offer.into_iter().for_each(|found| add(found, false));
        self.queue.extend(items.into_values());
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.units.is_empty()
    }

    pub(super) fn next_time(&self) -> Option<u64> {
        let due = |unit: &Unit| match unit.stage {
            Stage::Fetching { due, .. } | Stage::Pushing { due, .. } => Some(due),
            Stage::Merging { .. } | Stage::ToPush | Stage::Reading { .. } => None,
        };
        self.units.iter().filter_map(due).min()
    }

    /// Goes on as far as slots and budget allow; returns whether only budget is missing.
    pub(super) fn advance(&mut self, asker: &mut Asker, now: u64, effects: &mut ComparisonEffects) -> bool {
        while let Some(at) = self.units.iter().position(|unit| matches!(unit.stage, Stage::ToPush)) {
            let Some(reserved) = asker.reserve() else { return true };
            self.read(at, reserved, asker, effects);
        }
        while self.units.len() < asker.settings.in_flight && !self.queue.is_empty() {
            let Some(reserved) = asker.reserve() else { return true };
            let count = self.queue.len().min(asker.settings.fetch_keys);
            let items: Vec<Item> = self.queue.drain(..count).collect();
            let keys: Vec<Key> = items.iter().filter(|item| item.want).map(|item| item.key.clone()).collect();
            self.units.push(Unit { ticket: 0, stage: Stage::ToPush, items });
            let at = self.units.len() - 1;
            if keys.is_empty() {
                self.read(at, reserved, asker, effects);
            } else {
                let unit = &mut self.units[at];
                unit.ticket = asker.ask(Ask::Fetch { keys, bytes_max: reserved }, effects);
                unit.stage = Stage::Fetching { reserved, due: asker.due(now) };
            }
        }
        false
    }

    fn read(&mut self, at: usize, reserved: u32, asker: &mut Asker, effects: &mut ComparisonEffects) {
        let unit = &mut self.units[at];
        unit.ticket = asker.ticket();
        unit.stage = Stage::Reading { reserved };
        let keys = unit.items.iter().map(|item| item.key.clone()).collect();
        effects.push(ComparisonEffect::ReadRecords { ticket: unit.ticket, keys, bytes_max: reserved });
    }

    /// The peer's states of the first of the keys that a unit wants.
    pub(super) fn on_fetched(
        &mut self,
        ticket: u32,
        states: Vec<Stored>,
        asker: &mut Asker,
        effects: &mut ComparisonEffects,
    ) -> Result<(), PeerError> {
        let Some(at) = self.position(ticket, |stage| matches!(stage, Stage::Fetching { .. })) else { return Ok(()) };
        let mut unit = self.units.swap_remove(at);
        let Stage::Fetching { reserved, .. } = unit.stage else { unreachable!("just seen") };
        let wanted: Vec<usize> = (0..unit.items.len()).filter(|&at| unit.items[at].want).collect();
        if states.is_empty() || states.len() > wanted.len() {
            return Err(PeerError::Contradiction);
        }
        let weights =
            wanted.iter().zip(&states).map(|(&at, stored)| unit.items[at].key.len() as u64 + stored.set_bytes());
        if fitting(weights.clone(), reserved) < states.len() {
            return Err(PeerError::TooMuch);
        }
        asker.budget.settle(reserved, weights.sum());
        let mut records = Vec::new();
        for (&at, stored) in wanted.iter().zip(states) {
            let item = &mut unit.items[at];
            item.want = false;
            match stored {
                Stored::State { set, digest } => {
                    item.theirs = Some(digest);
                    records.push(Record { key: item.key.clone(), set, digest });
                }
                Stored::Absent => item.theirs = None,
                Stored::Damaged => {
                    item.damaged = true;
                    self.lost += 1;
                }
            }
        }
        let (later, items) = unit.items.into_iter().partition(|item| item.want);
        unit.items = items;
        self.put_back(later);
        if records.is_empty() {
            self.merged(unit);
            return Ok(());
        }
        let bytes = records.iter().map(Record::bytes).sum();
        unit.stage = Stage::Merging { keys: records.len() as u32, bytes };
        unit.ticket = asker.ticket();
        effects.push(ComparisonEffect::Merge { ticket: unit.ticket, records });
        self.units.push(unit);
        Ok(())
    }

    /// What a unit fetched was merged, but for so many.
    pub(super) fn on_merged(&mut self, ticket: u32, refused: u32, asker: &mut Asker) {
        let Some(at) = self.position(ticket, |stage| matches!(stage, Stage::Merging { .. })) else { return };
        let unit = self.units.swap_remove(at);
        let Stage::Merging { keys, bytes } = unit.stage else { unreachable!("just seen") };
        self.lost += u64::from(refused);
        asker.moved.fetched += u64::from(keys.saturating_sub(refused));
        asker.moved.fetched_bytes += bytes;
        self.merged(unit);
    }

    /// Nothing more is wanted by this unit.
    fn merged(&mut self, mut unit: Unit) {
        unit.items.retain(|item| item.offer);
        if !unit.items.is_empty() {
            unit.stage = Stage::ToPush;
            self.units.push(unit);
        }
    }

    /// This node's own states of the first of the keys that a unit offers.
    pub(super) fn on_records(
        &mut self,
        ticket: u32,
        states: Vec<Stored>,
        asker: &mut Asker,
        now: u64,
        effects: &mut ComparisonEffects,
    ) {
        let Some(at) = self.position(ticket, |stage| matches!(stage, Stage::Reading { .. })) else { return };
        let mut unit = self.units.swap_remove(at);
        let Stage::Reading { reserved } = unit.stage else { unreachable!("just seen") };
        assert!(
            !states.is_empty() && states.len() <= unit.items.len(),
            "the store gave states that were not asked for"
        );
        let weights = unit.items.iter().zip(&states).map(|(item, stored)| item.key.len() as u64 + stored.set_bytes());
        let later = unit.items.split_off(fitting(weights, reserved));
        self.put_back(later);
        let (mut records, mut damaged) = (Vec::new(), 0);
        for (item, stored) in unit.items.drain(..).zip(states) {
            match stored {
                Stored::State { digest, .. } if item.theirs == Some(digest) => {}
                Stored::State { set, digest } => {
                    damaged += u32::from(item.damaged);
                    records.push(Record { key: item.key, set, digest });
                }
                Stored::Absent => {}
                Stored::Damaged => self.lost += 1,
            }
        }
        let bytes = records.iter().map(Record::bytes).sum();
        asker.budget.settle(reserved, bytes);
        if !records.is_empty() {
            unit.stage = Stage::Pushing { keys: records.len() as u32, damaged, bytes, due: asker.due(now) };
            unit.ticket = asker.ask(Ask::Push(records), effects);
            self.units.push(unit);
        }
    }

    /// The peer merged what a unit pushed, but for so many.
    pub(super) fn on_pushed(&mut self, ticket: u32, refused: u32, asker: &mut Asker) -> Result<(), PeerError> {
        let Some(at) = self.position(ticket, |stage| matches!(stage, Stage::Pushing { .. })) else { return Ok(()) };
        let unit = self.units.swap_remove(at);
        let Stage::Pushing { keys, damaged, bytes, .. } = unit.stage else { unreachable!("just seen") };
        let taken = keys.checked_sub(refused).ok_or(PeerError::Contradiction)?;
        // Those that are damaged there were counted when they were fetched.
        self.lost += u64::from(refused.saturating_sub(damaged));
        asker.moved.pushed += u64::from(taken);
        asker.moved.pushed_bytes += bytes;
        Ok(())
    }

    fn position(&self, ticket: u32, stage: impl Fn(&Stage) -> bool) -> Option<usize> {
        self.units.iter().position(|unit| unit.ticket == ticket && stage(&unit.stage))
    }

    fn put_back(&mut self, later: Vec<Item>) {
        later.into_iter().rev().for_each(|item| self.queue.push_front(item));
    }
}
