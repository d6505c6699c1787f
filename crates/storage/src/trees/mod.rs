//! The hash trees over this node's replicas (§4.7): one for each partition, in memory, its leaves on disk.
//!
//! A write changes one leaf, and that leaf is stored in the same atomic batch as the record ([`plan`]); the tree that
//! others read changes after the batch is committed. So a tree never shows what a crash could take back while the
//! record stays, nor the reverse. Opening reads the leaves ([`load`]), and what cannot be read is built anew.
//!
//! A tree counts the records of [`Space::Data`](crate::engine::Space::Data) by the digests in their heads, tombstones
//! included. A record whose head is damaged counts as it did before the damage, and not at all in a tree built anew.

pub(crate) mod load;
pub(crate) mod plan;

use crate::table::PerPartition;
use dynamo_merkle::{Shape, Tree};
use dynamo_ring::Partition;
use parking_lot::RwLock;
use plan::PlannedLeaves;

/// The deepest tree whose leaves are ranges of keys: a key begins with 16 bits of its hash.
pub const TREE_DEPTH_MAX: u8 = 4;

pub(crate) struct Trees {
    shape: Shape,
    /// Each lock is held for some additions, never across I/O.
    of: PerPartition<RwLock<Tree>>,
}

impl Trees {
    pub fn new(shape: Shape) -> Trees {
        Trees { shape, of: PerPartition::new() }
    }

    pub fn shape(&self) -> Shape {
        self.shape
    }

    pub fn with<T>(&self, partition: Partition, read: impl FnOnce(&Tree) -> T) -> T {
        match self.of.get(partition) {
            Some(tree) => read(&tree.read()),
            None => read(&Tree::new(self.shape)),
        }
    }

    /// What is committed now becomes what others see.
    pub fn settle(&self, planned: &PlannedLeaves) {
        for changes in planned.by_partition() {
            let mut tree = self.slot(changes[0].partition).write();
            for change in changes {
                tree.set_leaf(change.leaf, change.after);
            }
        }
    }

    pub fn install(&self, partition: Partition, tree: Tree) {
        *self.slot(partition).write() = tree;
    }

    /// The partitions whose trees are not empty.
    pub fn occupied(&self) -> Vec<Partition> {
        let not_empty = |(partition, tree): (Partition, &RwLock<Tree>)| {
            let empty = *tree.read() == Tree::new(self.shape);
            (!empty).then_some(partition)
        };
        self.of.iter().filter_map(not_empty).collect()
    }

    fn slot(&self, partition: Partition) -> &RwLock<Tree> {
        self.of.get_or(partition, || RwLock::new(Tree::new(self.shape)))
    }
}
