//! Fences: per partition, the lowest epoch of the ring under which this node is still its home (§4.9).
//!
//! When a partition moves, an old home must come to a moment after which nothing more is added to what it has. A fence is
//! that moment: it is raised by an operation among the others, so no write is checked before it and applied after it.
//! Each stands in the book-keeping in the same batch that raises it, and none is ever lowered.

use crate::engine::{Batch, EngineError, Page, Reading, Scan, Space};
use crate::table::PerPartition;
use bytes::Bytes;
use dynamo_ring::Partition;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

const PREFIX: &[u8] = b"store/fence/";

pub(crate) struct Fences {
    of: PerPartition<AtomicU64>,
}

impl Fences {
    pub fn load(engine: &dyn Reading) -> Result<Fences, EngineError> {
        let fences = Fences { of: PerPartition::new() };
        stored(engine)?.into_iter().for_each(|(partition, epoch)| fences.raise(partition, epoch));
        Ok(fences)
    }

    pub fn of(&self, partition: Partition) -> u64 {
        self.of.get(partition).map_or(0, |fence| fence.load(Ordering::Acquire))
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
        Ok(())
    }
}

pub(crate) fn fence_key(partition: Partition) -> Bytes {
    [PREFIX, &partition.0.to_be_bytes()].concat().into()
}

pub(crate) fn fence_value(epoch: u64) -> Bytes {
    Bytes::copy_from_slice(&epoch.to_le_bytes())
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
