//! What a node keeps for others (§4.6): notes of what they miss, and dropping what was delivered.

use super::{Planner, apply_error, decode};
use crate::apply;
use crate::engine::Space;
use crate::error::StoreError;
use crate::key::{RecordKey, hint_key};
use crate::record::Record;
use crate::store::Outcome;
use bytes::Bytes;
use dynamo_ring::NodeId;

impl Planner<'_> {
    pub(super) fn keep_hint(&mut self, target: NodeId, key: &RecordKey) -> Result<Outcome, StoreError> {
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

    pub(super) fn drop_hint(&mut self, target: NodeId, key: &RecordKey, digest: u64) -> Result<Outcome, StoreError> {
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

    pub(super) fn check_hint_bound(&self, before: usize, after: usize) -> Result<(), StoreError> {
        let held = self.totals.hint_bytes();
        if after > before && held + (after - before) as u64 > self.settings.hints_bytes_max {
            return Err(StoreError::HintsFull { held });
        }
        Ok(())
    }
}
