//! Turns operations into one atomic batch, without threads: what the store's apply thread and a simulator both use.
//!
//! Operations of one batch see each other through an overlay, so two writes of one key in a batch do not lose one
//! another. Counters change in the same batch. The per-partition trees of anti-entropy (§4.7) belong in
//! `Planner::data_changed`, which sees every change of a replica with its digest before and after.

use crate::apply::{self, ApplyError, MergeInput, WriteInput};
use crate::counters::Totals;
use crate::engine::{Batch, Reading, Space};
use crate::epochs::Epochs;
use crate::error::StoreError;
use crate::key::{RecordKey, hint_key};
use crate::record::Record;
use crate::store::{Applied, Op, Outcome};
use bytes::Bytes;
use dynamo_ring::NodeId;
use dynamo_version::Minter;
use std::collections::BTreeMap;

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
    engine: &'a dyn Reading,
    settings: PlanSettings,
    totals: Totals,
    epochs: &'a mut Epochs,
    /// What this batch has made of the keys it touched; `None` is removed.
    overlay: BTreeMap<(Space, Bytes), Option<Bytes>>,
}

/// A batch ready to be committed, and the totals that hold once it is.
pub struct Planned {
    /// Commit this.
    pub batch: Batch,
    /// Then these are the totals. `commit` has grown by one unless the batch is empty.
    pub totals: Totals,
}

impl<'a> Planner<'a> {
    /// Begins a batch upon `engine`, whose totals are `totals`.
    pub fn new(
        engine: &'a dyn Reading,
        settings: PlanSettings,
        totals: &Totals,
        epochs: &'a mut Epochs,
    ) -> Planner<'a> {
        Planner { engine, settings, totals: totals.clone(), epochs, overlay: BTreeMap::new() }
    }

    /// Adds an operation. On an error the batch is as it was before.
    pub fn add(&mut self, op: Op) -> Result<Outcome, StoreError> {
        match op {
            Op::Write { key, context, context_ts, payload, mode, wall_ms, hint_for, .. } => {
                let input = WriteInput { context: &context, context_ts, payload, mode, wall_ms };
                self.write(&key, hint_for, input).map(Outcome::Applied)
            }
            Op::Merge { key, set, digest, mode, hint_for, .. } => {
                self.merge(&key, hint_for, MergeInput { set, digest, mode }).map(Outcome::Applied)
            }
            Op::KeepHint { target, key } => self.keep_hint(target, &key),
            Op::DropHint { target, key, digest } => self.drop_hint(target, &key, digest),
            Op::PutMeta { key, value } => {
                self.overlay.insert((Space::Meta, node_meta_key(&key)), value);
                Ok(Outcome::MetaSet)
            }
        }
    }

    /// True if nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.overlay.is_empty()
    }

    /// Ends the batch. `before` are the totals it began with.
    pub fn finish(mut self, before: &Totals) -> Planned {
        let mut batch = Batch::new();
        if self.overlay.is_empty() {
            return Planned { batch, totals: self.totals };
        }
        for ((space, key), value) in self.overlay {
            match value {
                Some(value) => batch.put(space, key, value),
                None => batch.delete(space, key),
            }
        }
        self.totals.commit += 1;
        self.totals.store(before, &mut batch);
        Planned { batch, totals: self.totals }
    }

    fn raw(&self, space: Space, key: &Bytes) -> Result<Option<Bytes>, StoreError> {
        if let Some(value) = self.overlay.get(&(space, key.clone())) {
            return Ok(value.clone());
        }
        self.engine.get(space, key).map_err(|error| StoreError::running(&error))
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
                    self.data_changed(key, before, next.record.digest);
                    let old = place.bytes.map(|bytes| (next.was_deleted, bytes));
                    self.totals.record_changed(old, (next.deleted, bytes));
                    self.overlay.insert((Space::Data, place.slot), Some(value));
                }
            }
        }
        let apply::Next { record, changed, dot, siblings, .. } = next;
        Ok(Applied { set: record.set, digest: record.digest, dot, siblings, changed })
    }

    /// A replica's state goes from `before` to `after` in this batch.
    ///
    /// The trees of anti-entropy are to be kept here: a leaf is the sum of its keys' digests, so subtracting `before`
    /// and adding `after` is all, and the changed leaves join the overlay under [`Space::Meta`].
    fn data_changed(&mut self, key: &RecordKey, before: Option<u64>, after: u64) {
        let _ = (key, before, after);
    }

    fn keep_hint(&mut self, target: NodeId, key: &RecordKey) -> Result<Outcome, StoreError> {
        let slot = hint_key(target, key);
        match self.raw(Space::Hints, &slot)? {
            Some(body) if body.is_empty() => {}
            Some(body) => {
                // There is a copy for this target already; the own record joins it, so that one delivery brings both.
                if let Some((own, _)) = self.own(key)? {
                    let before = slot.len() + body.len();
                    let held = decode(&slot, body, key)?;
                    let joined = apply::join(&held, &own).map_err(|error| apply_error(error, key))?;
                    let value = joined.encode(&slot);
                    let after = slot.len() + value.len();
                    self.check_hint_bound(before, after)?;
                    self.totals.hint_changed(target, Some(before), Some(after));
                    self.overlay.insert((Space::Hints, slot), Some(value));
                }
            }
            None => {
                self.check_hint_bound(0, slot.len())?;
                self.totals.hint_changed(target, None, Some(slot.len()));
                self.overlay.insert((Space::Hints, slot), Some(Bytes::new()));
            }
        }
        Ok(Outcome::HintKept)
    }

    fn drop_hint(&mut self, target: NodeId, key: &RecordKey, digest: u64) -> Result<Outcome, StoreError> {
        let slot = hint_key(target, key);
        let Some(body) = self.raw(Space::Hints, &slot)? else {
            return Ok(Outcome::HintDropped(true));
        };
        let delivers = if body.is_empty() {
            self.own(key)?.map_or(0, |(record, _)| record.digest)
        } else {
            // A damaged hint can never be delivered; digest 0 lets its holder be rid of it.
            match Record::decode(&slot, body.clone()) {
                Ok(record) => record.digest,
                Err(_) => 0,
            }
        };
        if delivers != digest {
            return Ok(Outcome::HintDropped(false));
        }
        self.totals.hint_changed(target, Some(slot.len() + body.len()), None);
        self.overlay.insert((Space::Hints, slot), None);
        Ok(Outcome::HintDropped(true))
    }

    fn check_hint_bound(&self, before: usize, after: usize) -> Result<(), StoreError> {
        let held = self.totals.hint_bytes();
        if after > before && held + (after - before) as u64 > self.settings.hints_bytes_max {
            return Err(StoreError::HintsFull { held });
        }
        Ok(())
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
    StoreError::Corrupt { key: format!("{key:?}") }
}

fn apply_error(error: ApplyError, key: &RecordKey) -> StoreError {
    match error {
        ApplyError::Stored(_) => corrupt(key),
        ApplyError::Received(what) => StoreError::BadState(what),
    }
}
