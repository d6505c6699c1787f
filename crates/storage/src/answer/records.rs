//! Answers about many records: pages of a partition, the keys and digests of a leaf of its hash tree (§4.7), records by
//! their keys.

use super::{damaged_key, own};
use crate::counters::Counters;
use crate::engine::{Reading, Scan, Space};
use crate::error::StoreError;
use crate::key::{RecordKey, leaf_range, partition_prefix};
use crate::plan::{corrupt, decode};
use crate::record::Head;
use crate::store::{Outcome, RecordFound, ScanEntry};
use bytes::Bytes;
use dynamo_merkle::Shape;
use dynamo_ring::Partition;
use std::sync::atomic::Ordering;

/// Bytes read at a time for a leaf: records come with their values, of which only the head is looked at.
const LEAF_READ_BYTES: usize = 256 << 10;

/// A page of a partition.
pub(super) fn page(
    engine: &dyn Reading,
    counters: &Counters,
    partition: Partition,
    after: Option<&RecordKey>,
    limit: usize,
    bytes_max: usize,
) -> Result<Outcome, StoreError> {
    let (prefix, after) = (partition_prefix(partition), after.map(|key| &key.as_bytes()[..]));
    let scan = Scan { space: Space::Data, prefix: &prefix, after, until: None, limit, bytes_max };
    let page = engine.scan(scan).map_err(|error| StoreError::running(&error))?;
    let mut entries = Vec::with_capacity(page.entries.len());
    for (slot, value) in page.entries {
        let Ok(key) = RecordKey::decode(&slot) else { return Err(damaged_key(&slot)) };
        let state = decode(&slot, value, &key).map(|record| (record.set, record.digest));
        count_corrupt(counters, &state);
        entries.push(ScanEntry { key, state });
    }
    Ok(Outcome::Scan { entries, end: page.end })
}

/// Keys and digests of a leaf. `after` may be any bytes.
pub(super) fn leaf(
    engine: &dyn Reading,
    shape: Shape,
    partition: Partition,
    leaf: u32,
    after: Option<&[u8]>,
    entries_max: usize,
    bytes_max: usize,
) -> Result<Outcome, StoreError> {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    if leaf >= shape.leaves() {
        return Ok(Outcome::Leaf { entries, end: true });
    }
    let prefix = partition_prefix(partition);
    let (from, until) = leaf_range(partition, leaf, shape.leaf_bits());
    let until = until.as_ref().map(|until| &until[..]);
    let mut last = Bytes::copy_from_slice(after.map_or(&from[..], |after| after.max(&from)));
    loop {
        let limit = entries_max.max(1) - entries.len();
        let (after, bytes_read) = (Some(&last[..]), LEAF_READ_BYTES);
        let scan = Scan { space: Space::Data, prefix: &prefix, after, until, limit, bytes_max: bytes_read };
        let page = engine.scan(scan).map_err(|error| StoreError::running(&error))?;
        let read = page.entries.len();
        for (at, (slot, record)) in page.entries.into_iter().enumerate() {
            let digest = match Head::decode(&slot, &record) {
                Ok(head) => head.digest,
                Err(_) => return Err(RecordKey::decode(&slot).map_or_else(|_| damaged_key(&slot), |key| corrupt(&key))),
            };
            bytes += slot.len();
            last = slot.clone();
            entries.push((slot, digest));
            if bytes >= bytes_max && at + 1 < read {
                return Ok(Outcome::Leaf { entries, end: false });
            }
        }
        if page.end || entries.len() >= entries_max || bytes >= bytes_max {
            return Ok(Outcome::Leaf { entries, end: page.end });
        }
    }
}

/// Records by their keys, up to the one that reaches `bytes_max`.
pub(super) fn several(
    engine: &dyn Reading,
    counters: &Counters,
    keys: &[RecordKey],
    bytes_max: usize,
) -> Vec<(RecordKey, RecordFound)> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    for key in keys {
        let state = own(engine, key);
        count_corrupt(counters, &state);
        bytes += key.as_bytes().len() + state.as_ref().ok().and_then(Option::as_ref).map_or(0, |(set, _)| set.len());
        found.push((key.clone(), state));
        if bytes >= bytes_max {
            break;
        }
    }
    found
}

fn count_corrupt<T>(counters: &Counters, state: &Result<T, StoreError>) {
    if matches!(state, Err(StoreError::Corrupt { .. })) {
        counters.corrupt.fetch_add(1, Ordering::Relaxed);
    }
}
