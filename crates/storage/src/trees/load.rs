//! Trees from the disk: out of their leaves, or, where these cannot be used, out of the records.

use super::plan::{leaf_key, put_leaf};
use crate::engine::{Batch, EngineError, Reading, Scan, Space};
use crate::key::{partition_prefix, tree_hash};
use crate::record::{Head, RecordError};
use bytes::Bytes;
use dynamo_merkle::{LeafError, Shape, Tree, decode_leaf};
use dynamo_ring::Partition;
use std::collections::{BTreeMap, BTreeSet};

/// Says for which shape all leaves were stored: absent before the trees were first built.
const SHAPE_KEY: &[u8] = b"store/trees";
/// Entries and bytes read at a time: records come with their values, though only their heads are looked at.
const PAGE: usize = 4_096;
const PAGE_BYTES: usize = 1 << 20;

/// What the disk has of the trees.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Those that could be read, in full.
    pub trees: BTreeMap<Partition, Tree>,
    /// Those that have to be built anew.
    pub damaged: BTreeSet<Partition>,
    /// The stored leaves are for another shape, or there never were any: [`mark`] when all are built.
    pub unmarked: bool,
}

/// Reads all leaves.
pub(crate) fn load(engine: &dyn Reading, shape: Shape) -> Result<Loaded, EngineError> {
    let mut loaded = Loaded::default();
    if engine.get(Space::Meta, SHAPE_KEY)?.as_deref() != Some(&[shape.depth()]) {
        loaded.unmarked = true;
        loaded.damaged = occupied(engine)?;
        return Ok(loaded);
    }
    for_each(engine, Space::Trees, &[], None, None, |key, value| {
        let (partition, leaf) = split_leaf_key(&key)?;
        match leaf.ok_or(LeafError::Damaged).and_then(|leaf| Ok((leaf, decode_leaf(shape, leaf, &value)?))) {
            Ok((leaf, sum)) if leaf < shape.leaves() => {
                loaded.trees.entry(partition).or_insert_with(|| Tree::new(shape)).set_leaf(leaf, sum);
            }
            _ => {
                loaded.damaged.insert(partition);
            }
        }
        Ok(())
    })?;
    loaded.trees.retain(|partition, _| !loaded.damaged.contains(partition));
    Ok(loaded)
}

/// Notes that all stored leaves are of this shape.
pub(crate) fn mark(shape: Shape, batch: &mut Batch) {
    batch.put(Space::Meta, Bytes::from_static(SHAPE_KEY), Bytes::copy_from_slice(&[shape.depth()]));
}

/// The tree of what is stored.
pub(crate) fn build(engine: &dyn Reading, shape: Shape, partition: Partition) -> Result<Tree, EngineError> {
    let mut tree = Tree::new(shape);
    for_each_head(engine, &partition_prefix(partition), None, None, |key, head| {
        if let Ok(head) = head {
            tree.apply(tree_hash(&key), None, Some(head.digest));
        }
    })?;
    Ok(tree)
}

/// Makes the partition's stored leaves those of `tree`.
pub(crate) fn replace(
    engine: &dyn Reading,
    partition: Partition,
    tree: &Tree,
    batch: &mut Batch,
) -> Result<(), EngineError> {
    for_each(engine, Space::Trees, &partition_prefix(partition), None, None, |key, _| {
        // A key is changed once in a batch: those that are written anew below are not removed here.
        let kept = split_leaf_key(&key)?.1.is_some_and(|leaf| tree.leaf(leaf) != 0);
        if !kept {
            batch.delete(Space::Trees, key);
        }
        Ok(())
    })?;
    tree.leaves().for_each(|(leaf, sum)| put_leaf(tree.shape(), partition, leaf, sum, batch));
    Ok(())
}

/// Goes through records of a range in key order, looking only at their heads.
pub(crate) fn for_each_head(
    engine: &dyn Reading,
    prefix: &[u8],
    after: Option<&[u8]>,
    until: Option<&[u8]>,
    mut each: impl FnMut(Bytes, Result<Head, RecordError>),
) -> Result<(), EngineError> {
    for_each(engine, Space::Data, prefix, after, until, |key, value| {
        let head = Head::decode(&key, &value);
        each(key, head);
        Ok(())
    })
}

fn for_each(
    engine: &dyn Reading,
    space: Space,
    prefix: &[u8],
    after: Option<&[u8]>,
    until: Option<&[u8]>,
    mut each: impl FnMut(Bytes, Bytes) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let mut after = after.map(Bytes::copy_from_slice);
    loop {
        let scan = Scan { space, prefix, after: after.as_deref(), until, limit: PAGE, bytes_max: PAGE_BYTES };
        let page = engine.scan(scan)?;
        after = page.entries.last().map(|(key, _)| key.clone());
        page.entries.into_iter().try_for_each(|(key, value)| each(key, value))?;
        if page.end || after.is_none() {
            return Ok(());
        }
    }
}

/// The partitions that have records or leaves, found by skipping from each to the next.
fn occupied(engine: &dyn Reading) -> Result<BTreeSet<Partition>, EngineError> {
    let mut found = BTreeSet::new();
    for space in [Space::Data, Space::Trees] {
        let mut after: Option<[u8; 2]> = None;
        loop {
            let after_key = after.as_ref().map(|prefix| &prefix[..]);
            let scan = Scan { space, prefix: &[], after: after_key, until: None, limit: 1, bytes_max: 1 };
            let page = engine.scan(scan)?;
            let Some((key, _)) = page.entries.first() else { break };
            let partition = partition_of(key)?;
            found.insert(partition);
            // No key is as short as this: it comes before all of the next partition.
            let Some(next) = partition.0.checked_add(1) else { break };
            after = Some(next.to_be_bytes());
        }
    }
    Ok(found)
}

fn split_leaf_key(key: &[u8]) -> Result<(Partition, Option<u32>), EngineError> {
    let leaf = key.get(2..).and_then(|leaf| leaf.try_into().ok()).map(u32::from_be_bytes);
    let partition = partition_of(key)?;
    debug_assert!(leaf.is_none_or(|leaf| leaf_key(partition, leaf) == key));
    Ok((partition, leaf))
}

fn partition_of(key: &[u8]) -> Result<Partition, EngineError> {
    let head = key.first_chunk::<2>().ok_or_else(|| EngineError::Damaged("a stored key is too short".into()))?;
    Ok(Partition(u16::from_be_bytes(*head)))
}
