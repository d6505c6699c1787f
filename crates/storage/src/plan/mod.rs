//! Turns operations into one atomic batch: writes, merges and fences here, hints in [`hints`], removing and mending in
//! [`upkeep`].
//!
//! Operations of one batch see each other through an overlay, so two writes of one key in a batch do not lose one
//! another, and none slips past a fence that was raised before it. Counters and leaves of the hash trees (§4.7) change in
//! the same batch. Nothing outside the batch is changed here.

mod hints;
mod upkeep;

use crate::apply::{self, ApplyError, MergeInput, WriteInput};
use crate::counters::Totals;
use crate::engine::{Batch, Space};
use crate::epochs::Epochs;
use crate::error::StoreError;
use crate::fences::{fence_key, fence_value, floor_key};
use crate::key::{RecordKey, hint_key, partition_of_hint};
use crate::live::Live;
use crate::record::Record;
use crate::store::{Applied, Op, Outcome};
use crate::trees::plan::PlannedLeaves;
use bytes::Bytes;
use dynamo_ring::{NodeId, Partition};
use dynamo_version::Minter;
use std::collections::{BTreeMap, BTreeSet};

/// Bounds and identity under which a batch is planned.
#[derive(Clone, Copy, Debug)]
pub struct PlanSettings {
    /// This node's name in dots.
    pub node: u128,
    /// Its incarnation.
    pub incarnation: u64,
    /// Bytes of hints that may be held.
    pub hints_bytes_max: u64,
    /// Siblings of a key, above which a write that supersedes none of them is refused.
    pub siblings_max: usize,
}

/// A batch in the making.
pub struct Planner<'a> {
    live: &'a Live,
    settings: PlanSettings,
    totals: Totals,
    epochs: &'a mut Epochs,
    leaves: PlannedLeaves,
    /// Those that this batch has raised.
    fences: BTreeMap<Partition, u64>,
    /// What it has raised the floor to.
    floor: u64,
    /// What this batch has made of the keys it touched; `None` is removed.
    overlay: BTreeMap<(Space, Bytes), Option<Bytes>>,
}

/// A batch ready to be committed, and what holds once it is.
pub struct Planned {
    /// Commit this.
    pub batch: Batch,
    /// Then these are the totals. `commit` has grown by one unless the batch is empty.
    pub totals: Totals,
    /// These leaves have changed.
    pub leaves: PlannedLeaves,
    /// These fences have been raised.
    pub fences: BTreeMap<Partition, u64>,
    /// The floor is at least this.
    pub floor: u64,
    /// Hints were kept for keys of these.
    pub hinted: BTreeSet<Partition>,
}

impl<'a> Planner<'a> {
    /// Begins a batch upon what is committed, whose totals are `totals`.
    pub fn new(live: &'a Live, settings: PlanSettings, totals: &Totals, epochs: &'a mut Epochs) -> Planner<'a> {
        let (leaves, fences, floor, overlay) = Default::default();
        Planner { live, settings, totals: totals.clone(), epochs, leaves, fences, floor, overlay }
    }

    /// Adds an operation. On an error the batch is as it was before.
    pub fn add(&mut self, op: Op) -> Result<Outcome, StoreError> {
        match op {
            Op::Write { key, context, context_ts, payload, mode, wall_ms, hint_for, epoch, .. } => {
                self.check_fence(&key, hint_for, epoch)?;
                let input = WriteInput { context: &context, context_ts, payload, mode, wall_ms };
                self.write(&key, hint_for, input).map(Outcome::Applied)
            }
            Op::Merge { key, set, digest, mode, hint_for, epoch, .. } => {
                self.check_fence(&key, hint_for, epoch)?;
                self.merge(&key, hint_for, MergeInput { set, digest, mode }).map(Outcome::Applied)
            }
            Op::KeepHint { target, key } => self.keep_hint(target, &key),
            Op::DropHint { target, key, digest } => self.drop_hint(target, &key, digest),
            Op::Fence { partitions, epoch, floor } => Ok(self.raise_fences(&partitions, epoch, floor)),
            Op::Forget { partition, epoch, limit } => self.forget(partition, epoch, limit),
            Op::Collect { key, digest } => self.collect(&key, digest),
            Op::Prune { key, digest, actors } => self.prune(&key, digest, &actors),
            Op::Mend { key } => self.mend(&key),
            Op::Rebuild { partition } => self.rebuild(partition),
            Op::PutMeta { key, value } => {
                self.overlay.insert((Space::Meta, node_meta_key(&key)), value);
                Ok(Outcome::MetaSet)
            }
        }
    }

    /// Ends the batch. `before` are the totals it began with.
    pub fn finish(mut self, before: &Totals) -> Planned {
        let (mut batch, mut hinted) = (Batch::new(), BTreeSet::new());
        for ((space, key), value) in self.overlay {
            match value {
                Some(value) => {
                    hinted.extend(partition_of_hint(&key).filter(|_| space == Space::Hints));
                    batch.put(space, key, value);
                }
                None => batch.delete(space, key),
            }
        }
        self.leaves.store(self.live.trees.shape(), &mut batch);
        if !batch.is_empty() {
            self.totals.commit += 1;
            self.totals.store(before, &mut batch);
        }
        Planned { batch, totals: self.totals, leaves: self.leaves, fences: self.fences, floor: self.floor, hinted }
    }

    fn raw(&self, space: Space, key: &Bytes) -> Result<Option<Bytes>, StoreError> {
        if let Some(value) = self.overlay.get(&(space, key.clone())) {
            return Ok(value.clone());
        }
        self.live.engine.get(space, key).map_err(|error| StoreError::running(&error))
    }

    fn own(&self, key: &RecordKey) -> Result<Option<(Record, usize)>, StoreError> {
        match self.raw(Space::Data, key.as_bytes())? {
            None => Ok(None),
            Some(bytes) => {
                let length = key.as_bytes().len() + bytes.len();
                Ok(Some((decode(key.as_bytes(), bytes, key)?, length)))
            }
        }
    }

    fn fence(&self, partition: Partition) -> u64 {
        self.fences.get(&partition).copied().unwrap_or(0).max(self.live.fences.of(partition)).max(self.floor)
    }

    /// A home takes nothing under an epoch in which it may have given the partition up. What a fallback keeps is for
    /// another, who is asked when it is delivered: only the floor concerns it.
    fn check_fence(&self, key: &RecordKey, hint_for: Option<NodeId>, epoch: u64) -> Result<(), StoreError> {
        let fence = match hint_for {
            None => self.fence(key.partition()),
            Some(_) => self.floor.max(self.live.fences.floor()),
        };
        if epoch < fence { Err(StoreError::Sealed { fence }) } else { Ok(()) }
    }

    fn raise_fences(&mut self, partitions: &[Partition], epoch: u64, floor: u64) -> Outcome {
        if floor > self.floor.max(self.live.fences.floor()) {
            self.floor = floor;
            self.overlay.insert((Space::Meta, floor_key()), Some(fence_value(floor)));
        }
        for &partition in partitions {
            if self.fence(partition) < epoch {
                self.fences.insert(partition, epoch);
                self.overlay.insert((Space::Meta, fence_key(partition)), Some(fence_value(epoch)));
            }
        }
        Outcome::Fenced
    }

    fn write(
        &mut self,
        key: &RecordKey,
        hint_for: Option<NodeId>,
        input: WriteInput<'_>,
    ) -> Result<Applied, StoreError> {
        let PlanSettings { node, incarnation, .. } = self.settings;
        let place = self.place(key, hint_for)?;
        let minter = Minter { node, incarnation, epoch_floor: self.epochs.floor() };
        // Taken only once the change is sure to be made; an epoch that is handed out and not used is no harm.
        let next = apply::write(place.current.as_ref(), input, &minter, || self.epochs.take());
        self.check_siblings(&next)?;
        self.settle(place, key, next)
    }

    /// Only a client's write is ever refused for this, never what another replica has taken already.
    fn check_siblings(&self, next: &Result<apply::Next, ApplyError>) -> Result<(), StoreError> {
        match next {
            Ok(next) if next.siblings > self.settings.siblings_max && next.superseded == 0 => {
                let (siblings, limit) = (next.siblings - 1, self.settings.siblings_max);
                Err(StoreError::TooManySiblings { siblings, limit })
            }
            _ => Ok(()),
        }
    }

    fn merge(&mut self, key: &RecordKey, hint_for: Option<NodeId>, input: MergeInput) -> Result<Applied, StoreError> {
        let place = self.place(key, hint_for)?;
        let next = apply::merge(place.current.as_ref(), input);
        self.settle(place, key, next)
    }

    /// Where a write of `key` goes, and what is there.
    fn place(&self, key: &RecordKey, hint_for: Option<NodeId>) -> Result<Place, StoreError> {
        let Some(target) = hint_for else {
            let own = self.own(key)?;
            let bytes = own.as_ref().map(|(_, bytes)| *bytes);
            let slot = key.as_bytes().clone();
            return Ok(Place { slot, target: None, bytes, note: false, current: own.map(|(record, _)| record) });
        };
        let slot = hint_key(target, key);
        let stored = self.raw(Space::Hints, &slot)?;
        let bytes = stored.as_ref().map(|body| slot.len() + body.len());
        let note = stored.as_ref().is_some_and(|body| body.is_empty());
        let current = match stored {
            None => None,
            // A note: it promised to deliver the own record, so the body that replaces it must contain that. Its minting
            // memory stays with the own record alone: two records under one key epoch could mint one dot twice.
            Some(_) if note => self.own(key)?.map(|(record, _)| Record { own_epoch: None, ..record }),
            Some(body) => Some(decode(&slot, body, key)?),
        };
        Ok(Place { slot, target: Some(target), bytes, note, current })
    }

    /// Puts the next state of a record into the overlay and the counts.
    fn settle(
        &mut self,
        place: Place,
        key: &RecordKey,
        next: Result<apply::Next, ApplyError>,
    ) -> Result<Applied, StoreError> {
        let next = next.map_err(|error| apply_error(error, key))?;
        if next.changed || place.note {
            let value = next.record.encode(&place.slot);
            let bytes = place.slot.len() + value.len();
            match place.target {
                Some(target) => {
                    self.check_hint_bound(place.bytes.unwrap_or(0), bytes)?;
                    self.totals.hint_changed(target, place.bytes, Some(bytes));
                    self.overlay.insert((Space::Hints, place.slot), Some(value));
                }
                None => {
                    let before = place.current.as_ref().map(|record| record.digest);
                    self.leaves.record_changed(&self.live.trees, key, before, Some(next.record.digest));
                    let old = place.bytes.map(|bytes| (next.was_deleted, bytes));
                    self.totals.record_changed(old, Some((next.deleted, bytes)));
                    self.overlay.insert((Space::Data, place.slot), Some(value));
                }
            }
        }
        let apply::Next { record, changed, dot, timestamp, siblings, .. } = next;
        Ok(Applied { set: record.set, digest: record.digest, dot, timestamp, siblings, changed })
    }
}

struct Place {
    /// The key in the engine.
    slot: Bytes,
    /// `Some`: a hint for that node.
    target: Option<NodeId>,
    /// Bytes that the slot takes now.
    bytes: Option<usize>,
    /// The slot holds a note without a body.
    note: bool,
    current: Option<Record>,
}

/// The node program's own values stand apart from the store's.
pub(crate) fn node_meta_key(key: &[u8]) -> Bytes {
    [b"node/", key].concat().into()
}

pub(crate) fn decode(slot: &[u8], bytes: Bytes, key: &RecordKey) -> Result<Record, StoreError> {
    Record::decode(slot, bytes).map_err(|error| {
        tracing::error!(?key, %error, "damaged record");
        corrupt(key)
    })
}

pub(crate) fn corrupt(key: &RecordKey) -> StoreError {
    StoreError::Corrupt { key: format!("{key:?}"), record: Some(key.clone()) }
}

fn apply_error(error: ApplyError, key: &RecordKey) -> StoreError {
    match error {
        ApplyError::Stored(_) => corrupt(key),
        ApplyError::Received(what) => StoreError::BadState(what),
    }
}
