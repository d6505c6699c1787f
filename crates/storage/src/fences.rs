//! Fences: per partition, the lowest epoch of the ring under which this node is still its home (§4.9).
//!
//! When a partition moves, an old home must come to a moment after which nothing more is added to what it has. A fence is
//! that moment: it is raised by an operation among the others, so no write is checked before it and applied after it.
//! Each stands in the book-keeping in the same batch that raises it, and none is ever lowered.
//!
//! Beside them there is one floor for everything: all partitions, and the hints that this node keeps for others. It is what
//! a collection of tombstones rests on: what was sent before the floor was raised is taken nowhere after it.

use crate::engine::{Batch, EngineError, Page, Reading, Scan, Space};
use crate::table::PerPartition;
use bytes::Bytes;
use dynamo_ring::Partition;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

const PREFIX: &[u8] = b"store/fence/";
/// Sorts apart from the fences.
const FLOOR: &[u8] = b"store/floor";

pub(crate) struct Fences {
    of: PerPartition<AtomicU64>,
    floor: AtomicU64,
}

impl Fences {
    pub fn load(engine: &dyn Reading) -> Result<Fences, EngineError> {
        let fences = Fences { of: PerPartition::new(), floor: AtomicU64::new(stored_floor(engine)?) };
        stored(engine)?.into_iter().for_each(|(partition, epoch)| fences.raise(partition, epoch));
        Ok(fences)
    }

    pub fn of(&self, partition: Partition) -> u64 {
        self.of.get(partition).map_or(0, |fence| fence.load(Ordering::Acquire)).max(self.floor())
    }

    /// The lowest epoch of anything that is still taken.
    pub fn floor(&self) -> u64 {
        self.floor.load(Ordering::Acquire)
    }

    pub fn raise_floor(&self, epoch: u64) {
        self.floor.fetch_max(epoch, Ordering::AcqRel);
    }

    pub fn raise(&self, partition: Partition, epoch: u64) {
        self.of.get_or(partition, AtomicU64::default).fetch_max(epoch, Ordering::AcqRel);
    }

    /// After an engine was opened again and has lost commits: what others may have been told of is written once more.
    pub fn restore(&self, engine: &dyn Reading, batch: &mut Batch) -> Result<(), EngineError> {
        let mut stored = stored(engine)?;
        for (partition, fence) in self.of.iter() {
            let fence = fence.load(Ordering::Acquire);
            match stored.remove(&partition).unwrap_or(0) {
                found if found < fence => batch.put(Space::Meta, fence_key(partition), fence_value(fence)),
                found => self.raise(partition, found),
            }
        }
        stored.into_iter().for_each(|(partition, epoch)| self.raise(partition, epoch));
        match stored_floor(engine)? {
            found if found < self.floor() => batch.put(Space::Meta, floor_key(), fence_value(self.floor())),
            found => self.raise_floor(found),
        }
        Ok(())
    }
}

pub(crate) fn fence_key(partition: Partition) -> Bytes {
    [PREFIX, &partition.0.to_be_bytes()].concat().into()
}

pub(crate) fn floor_key() -> Bytes {
    Bytes::from_static(FLOOR)
}

pub(crate) fn fence_value(epoch: u64) -> Bytes {
    Bytes::copy_from_slice(&epoch.to_le_bytes())
}

fn stored_floor(engine: &dyn Reading) -> Result<u64, EngineError> {
    let Some(value) = engine.get(Space::Meta, FLOOR)? else { return Ok(0) };
    let epoch = value[..].try_into().map_err(|_| EngineError::Damaged("the stored floor has a wrong length".into()))?;
    Ok(u64::from_le_bytes(epoch))
}

fn stored(engine: &dyn Reading) -> Result<BTreeMap<Partition, u64>, EngineError> {
    let damaged = || EngineError::Damaged("the stored fences have a wrong length".into());
    let (limit, bytes_max) = (usize::MAX, usize::MAX);
    let all = Scan { space: Space::Meta, prefix: PREFIX, after: None, until: None, limit, bytes_max };
    let Page { entries, .. } = engine.scan(all)?;
    let parse = |(key, value): (Bytes, Bytes)| {
        let partition = key[PREFIX.len()..].try_into().map_err(|_| damaged())?;
        let epoch = value[..].try_into().map_err(|_| damaged())?;
        Ok((Partition(u16::from_be_bytes(partition)), u64::from_le_bytes(epoch)))
    };
    entries.into_iter().map(parse).collect()
}
