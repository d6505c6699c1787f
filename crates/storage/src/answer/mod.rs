//! Answers to questions, on the live engine or on a snapshot: of single records and hints here, of many records in
//! [`records`].

mod records;

use crate::counters::Totals;
use crate::engine::{EngineError, Reading, Scan, Space};
use crate::error::StoreError;
use crate::key::{RecordKey, hint_key, partition_of_hint, split_hint_key, target_partition_prefix, target_prefix};
use crate::live::Live;
use crate::plan::{corrupt, decode, node_meta_key};
use crate::record::Record;
use crate::store::{HintEntry, Hinted, Outcome, Read};
use bytes::Bytes;
use dynamo_ring::{NodeId, Partition};
use dynamo_version::{Mode, SiblingSet};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// Bytes of a page of hints, keys and bodies.
const HINT_PAGE_BYTES_MAX: usize = 4 << 20;

pub(crate) fn answer(engine: &dyn Reading, live: &Live, read: &Read) -> Result<Outcome, StoreError> {
    let answer = match read {
        Read::State { key, hints, mode, epoch, digest_only } => {
            let found = state(engine, key, hints, *mode);
            let found = found.and_then(|found| check_fence(live, key, *epoch).map(|()| found));
            found.map(|found| {
                Outcome::State(found.map(|(set, digest)| (if *digest_only { Bytes::new() } else { set }, digest)))
            })
        }
        Read::HintPage { target, after, limit } => hint_page(engine, *target, after.as_ref(), *limit),
        Read::Hint { target, key } => hint(engine, *target, key).map(Outcome::State),
        Read::Scan { partition, after, limit, bytes_max } => {
            records::page(engine, &live.counters, *partition, after.as_ref(), *limit, *bytes_max)
        }
        Read::Leaf { partition, leaf, after, entries_max, bytes_max } => {
            let shape = live.trees.shape();
            records::leaf(engine, shape, *partition, *leaf, after.as_deref(), *entries_max, *bytes_max)
        }
        Read::Records { keys, bytes_max } => {
            Ok(Outcome::Records(records::several(engine, &live.counters, keys, *bytes_max)))
        }
        Read::HintsOf { partition } => hints_of(engine, *partition).map(Outcome::HintsOf),
        Read::Digests { keys } => {
            let digest = |key: &RecordKey| own(engine, key).ok().flatten().map(|(_, digest)| digest);
            Ok(Outcome::Digests(keys.iter().map(digest).collect()))
        }
        Read::Hinted => hinted(engine, live).map(Outcome::Hinted),
        Read::Meta { key } => get(engine, Space::Meta, &node_meta_key(key)).map(Outcome::Meta),
    };
    if matches!(answer, Err(StoreError::Corrupt { .. })) {
        live.counters.corrupt.fetch_add(1, Ordering::Relaxed);
    }
    answer
}

/// Looked at after the record: had it been read before and deleted in between, by a node that is no home any more, the
/// answer would be that there never was one.
fn check_fence(live: &Live, key: &RecordKey, epoch: u64) -> Result<(), StoreError> {
    let fence = live.fences.of(key.partition());
    if epoch < fence { Err(StoreError::Sealed { fence }) } else { Ok(()) }
}

fn get(engine: &dyn Reading, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
    engine.get(space, key).map_err(|error| StoreError::running(&error))
}

fn own(engine: &dyn Reading, key: &RecordKey) -> Result<Option<(Bytes, u64)>, StoreError> {
    let slot = key.as_bytes();
    get(engine, Space::Data, slot)?
        .map(|bytes| decode(slot, bytes, key).map(|Record { set, digest, .. }| (set, digest)))
        .transpose()
}

fn state(
    engine: &dyn Reading,
    key: &RecordKey,
    hints: &[NodeId],
    mode: Mode,
) -> Result<Option<(Bytes, u64)>, StoreError> {
    let mut found = own(engine, key)?;
    for target in hints {
        let slot = hint_key(*target, key);
        let Some(body) = get(engine, Space::Hints, &slot)?.filter(|body| !body.is_empty()) else { continue };
        let held = decode(&slot, body, key)?;
        found = Some(match found {
            None => (held.set, held.digest),
            Some((set, digest)) if digest == held.digest => (set, digest),
            Some((set, _)) => join(&set, &held.set, mode).ok_or_else(|| corrupt(key))?,
        });
    }
    Ok(found)
}

fn join(one: &Bytes, other: &Bytes, mode: Mode) -> Option<(Bytes, u64)> {
    let mut set = SiblingSet::decode(one.clone()).ok()?;
    set.merge(&SiblingSet::decode(other.clone()).ok()?, mode);
    let encoded = set.encode();
    let digest = SiblingSet::digest(&encoded);
    Some((encoded, digest))
}

fn hint(engine: &dyn Reading, target: NodeId, key: &RecordKey) -> Result<Option<(Bytes, u64)>, StoreError> {
    let slot = hint_key(target, key);
    match get(engine, Space::Hints, &slot)? {
        None => Ok(None),
        Some(body) if body.is_empty() => own(engine, key),
        Some(body) => decode(&slot, body, key).map(|record| Some((record.set, record.digest))),
    }
}

fn hint_page(
    engine: &dyn Reading,
    target: NodeId,
    after: Option<&RecordKey>,
    limit: usize,
) -> Result<Outcome, StoreError> {
    let prefix = target_prefix(target);
    let after = after.map(|key| hint_key(target, key));
    let (after, bytes_max) = (after.as_deref(), HINT_PAGE_BYTES_MAX);
    let scan = Scan { space: Space::Hints, prefix: &prefix, after, until: None, limit, bytes_max };
    let page = engine.scan(scan).map_err(|error| StoreError::running(&error))?;
    let mut entries = Vec::with_capacity(page.entries.len());
    for (slot, body) in page.entries {
        let Ok((_, key)) = split_hint_key(&slot) else {
            return Err(damaged_key(&slot));
        };
        let bytes = (slot.len() + body.len()) as u32;
        let digest = Record::decode(&slot, body).map_or(0, |record| record.digest);
        entries.push(HintEntry { key, digest, bytes });
    }
    Ok(Outcome::Hints { entries, end: page.end })
}

fn hints_of(engine: &dyn Reading, partition: Partition) -> Result<bool, StoreError> {
    let failed = |error: EngineError| StoreError::running(&error);
    // Which targets there are stands in the same batch as their hints.
    for target in Totals::load(engine).map_err(failed)?.hints.into_keys() {
        let prefix = target_partition_prefix(target, partition);
        let first = Scan { space: Space::Hints, prefix: &prefix, after: None, until: None, limit: 1, bytes_max: 1 };
        if !engine.scan(first).map_err(failed)?.entries.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The numbers first: a hint that comes and goes in between is in them the next time.
fn hinted(engine: &dyn Reading, live: &Live) -> Result<Hinted, StoreError> {
    let failed = |error: EngineError| StoreError::running(&error);
    let kept = live.hinted.iter().map(|(partition, kept)| (partition, kept.load(Ordering::Acquire)));
    let kept = kept.filter(|(_, kept)| *kept > 0).collect();
    let mut held = BTreeSet::new();
    for target in Totals::load(engine).map_err(failed)?.hints.into_keys() {
        let prefix = target_prefix(target);
        let mut after: Option<[u8; 18]> = None;
        loop {
            let after_bytes = after.as_ref().map(|after| &after[..]);
            let first =
                Scan { space: Space::Hints, prefix: &prefix, after: after_bytes, until: None, limit: 1, bytes_max: 1 };
            let page = engine.scan(first).map_err(failed)?;
            let Some(partition) = page.entries.first().and_then(|(slot, _)| partition_of_hint(slot)) else { break };
            held.insert(partition);
            let Some(next) = partition.0.checked_add(1) else { break };
            after = Some(target_partition_prefix(target, Partition(next)));
        }
    }
    Ok(Hinted { kept, held })
}

fn damaged_key(slot: &[u8]) -> StoreError {
    StoreError::Corrupt { key: slot.escape_ascii().to_string(), record: None }
}
