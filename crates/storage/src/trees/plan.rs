//! What a batch makes of the leaves: each is stored once, however many of its keys the batch changes.

use super::Trees;
use crate::engine::{Batch, Space};
use crate::key::RecordKey;
use bytes::Bytes;
use dynamo_merkle::{Shape, encode_leaf, entry_sum};
use dynamo_ring::Partition;

/// A leaf's sum before and after a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlannedLeaf {
    pub partition: Partition,
    pub leaf: u32,
    pub before: u64,
    pub after: u64,
}

/// The leaves that a batch has touched so far, in order of partition and leaf.
#[derive(Debug, Default)]
pub(crate) struct PlannedLeaves {
    /// Sorted. A batch has some hundred: inserting moves little, and looking up touches few cache lines.
    leaves: Vec<PlannedLeaf>,
}

impl PlannedLeaves {
    /// A record's digest goes from `before` to `after`; None is no record.
    pub fn record_changed(&mut self, trees: &Trees, key: &RecordKey, before: Option<u64>, after: Option<u64>) {
        let hash = key.tree_hash();
        let sum = |digest: Option<u64>| digest.map_or(0, |digest| entry_sum(hash, digest));
        let planned = self.at(trees, key.partition(), trees.shape().leaf_of(hash));
        planned.after = planned.after.wrapping_add(sum(after)).wrapping_sub(sum(before));
    }

    /// A leaf was counted anew.
    pub fn set(&mut self, trees: &Trees, partition: Partition, leaf: u32, sum: u64) {
        self.at(trees, partition, leaf).after = sum;
    }

    /// The sums of a partition's leaves as they are after the changes so far; those of 0 are left out.
    pub fn sums(&self, trees: &Trees, partition: Partition) -> Vec<(u32, u64)> {
        let stored: Vec<(u32, u64)> = trees.with(partition, |tree| tree.leaves().collect());
        let touched = self.leaves.iter().filter(|planned| planned.partition == partition);
        let untouched = stored.into_iter().filter(|(leaf, _)| self.position(partition, *leaf).is_err());
        let touched = touched.map(|planned| (planned.leaf, planned.after)).filter(|(_, sum)| *sum != 0);
        let mut sums: Vec<(u32, u64)> = untouched.chain(touched).collect();
        sums.sort_unstable();
        sums
    }

    /// Adds the changed leaves to the batch.
    pub fn store(&self, shape: Shape, batch: &mut Batch) {
        for change in self.changed() {
            put_leaf(shape, change.partition, change.leaf, change.after, batch);
        }
    }

    /// The changed leaves, one slice for each partition.
    pub fn by_partition(&self) -> impl Iterator<Item = &[PlannedLeaf]> {
        self.leaves.chunk_by(|one, next| one.partition == next.partition)
    }

    fn changed(&self) -> impl Iterator<Item = &PlannedLeaf> {
        self.leaves.iter().filter(|planned| planned.before != planned.after)
    }

    fn position(&self, partition: Partition, leaf: u32) -> Result<usize, usize> {
        self.leaves.binary_search_by_key(&(partition, leaf), |planned| (planned.partition, planned.leaf))
    }

    fn at(&mut self, trees: &Trees, partition: Partition, leaf: u32) -> &mut PlannedLeaf {
        let at = self.position(partition, leaf).unwrap_or_else(|at| {
            let sum = trees.with(partition, |tree| tree.leaf(leaf));
            self.leaves.insert(at, PlannedLeaf { partition, leaf, before: sum, after: sum });
            at
        });
        &mut self.leaves[at]
    }
}

/// A leaf's key in [`Space::Trees`].
pub(super) fn leaf_key(partition: Partition, leaf: u32) -> [u8; 6] {
    let ([p, q], [a, b, c, d]) = (partition.0.to_be_bytes(), leaf.to_be_bytes());
    [p, q, a, b, c, d]
}

/// An empty leaf is one that is not there.
pub(super) fn put_leaf(shape: Shape, partition: Partition, leaf: u32, sum: u64, batch: &mut Batch) {
    let key = Bytes::copy_from_slice(&leaf_key(partition, leaf));
    match sum {
        0 => batch.delete(Space::Trees, key),
        sum => batch.put(Space::Trees, key, Bytes::copy_from_slice(&encode_leaf(shape, leaf, sum))),
    }
}
