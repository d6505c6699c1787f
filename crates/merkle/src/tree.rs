//! The hash tree of one partition, kept with each write instead of being built before each comparison (§4.7).
//!
//! A leaf is the wrapping sum of its keys' [`entry_sum`]s, an inner node the sum of its children. So a write adds one
//! difference to each node on its path, without looking at neighbours, and the order of writes does not matter. The
//! root does not even depend on the depth.
//!
//! *How sure it is.* A sum has 64 bits, as the digest of a state has: more would guard what the digest already gave away.
//! Replicas that differ in the state of one key always have different sums. Those that differ in several keys have
//! equal ones with a probability of 2^-64 (5e-20); what is missed then stays so until another key of the leaf is
//! written. A thousand comparisons of differing trees a second for ten years miss one with probability 2e-8. A node that
//! differs has a child that differs, so going down from there never ends at nothing while both sides are quiet. This is
//! no protection against one who makes collisions on purpose: that spoils the repair of his own keys.
//!
//! *Memory.* Blocks of sixteen sums come into being with the first key below them: 64 bytes for an empty tree, 1.3 KB
//! more with the first key, and 39 KB (default depth) for one in which every leaf is in use.

use std::fmt;

use crate::shape::{FANOUT, Shape, entry_sum};

/// What a change of a key did to its leaf: what the engine has to write in the same batch as the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeafChange {
    /// Which leaf.
    pub leaf: u32,
    /// Its sum before.
    pub before: u64,
    /// Its sum now. 0 is what an absent leaf has, so it may be stored or deleted.
    pub after: u64,
}

type Block = [u64; FANOUT];

/// The sums of a node's children, and where the children's own blocks are.
#[derive(Clone)]
struct Inner {
    sums: Block,
    /// Position plus one, among the leaf blocks for the last inner level; 0 while there is nothing below.
    below: [u32; FANOUT],
}

impl Inner {
    const EMPTY: Inner = Inner { sums: [0; FANOUT], below: [0; FANOUT] };
}

/// The hash tree of one partition at one replica.
#[derive(Clone)]
pub struct Tree {
    shape: Shape,
    root: u64,
    /// The root's block comes first; with a depth of 1 there are leaf blocks only.
    inner: Vec<Inner>,
    leaves: Vec<Block>,
}

impl Tree {
    /// The tree of a partition without keys. Allocates nothing.
    pub const fn new(shape: Shape) -> Tree {
        Tree { shape, root: 0, inner: Vec::new(), leaves: Vec::new() }
    }

    /// Builds the tree from all keys (hash and digest of the state), each once: after damage, or to check another tree.
    pub fn build(shape: Shape, keys: impl IntoIterator<Item = (u64, u64)>) -> Tree {
        let mut tree = Tree::new(shape);
        for (key_hash, digest) in keys {
            tree.apply(key_hash, None, Some(digest));
        }
        tree
    }

    /// The tree of leaves that were stored, in any order. Where a leaf comes twice, the last one counts.
    ///
    /// None when a leaf is beyond the shape: the leaves were stored for a deeper tree.
    pub fn from_leaves(shape: Shape, leaves: impl IntoIterator<Item = (u32, u64)>) -> Option<Tree> {
        let mut tree = Tree::new(shape);
        for (leaf, sum) in leaves {
            if leaf >= shape.leaves() {
                return None;
            }
            tree.set_leaf(leaf, sum);
        }
        Some(tree)
    }

    /// Gives a leaf another sum, 0 to empty it: for one that stands written down, or was worked out beside the tree.
    ///
    /// Panics for a leaf beyond the shape.
    pub fn set_leaf(&mut self, leaf: u32, sum: u64) {
        assert!(leaf < self.shape.leaves(), "leaf {leaf} in {self:?}");
        self.add(leaf, sum.wrapping_sub(self.leaf(leaf)));
    }

    /// The shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The sum of everything: equal at replicas that hold the same. 0 without keys.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Notes that a key's state changed; None stands for a key that is not there. Costs a few additions per level.
    ///
    /// `old` must be what was noted last for this key: the tree does not know and cannot check it. To take a change back
    /// (the batch was not committed), apply it with `old` and `new` exchanged.
    pub fn apply(&mut self, key_hash: u64, old: Option<u64>, new: Option<u64>) -> LeafChange {
        let sum = |digest: Option<u64>| digest.map_or(0, |digest| entry_sum(key_hash, digest));
        let leaf = self.shape.leaf_of(key_hash);
        let difference = sum(new).wrapping_sub(sum(old));
        let after = self.add(leaf, difference);
        LeafChange { leaf, before: after.wrapping_sub(difference), after }
    }

    /// The sum of a leaf; 0 for one without keys, or beyond the shape.
    pub fn leaf(&self, leaf: u32) -> u64 {
        if leaf >= self.shape.leaves() {
            return 0;
        }
        let sums = self.children(self.shape.depth() - 1, leaf / FANOUT as u32);
        sums[leaf as usize % FANOUT]
    }

    /// The leaves whose sum is not 0, in order.
    pub fn leaves(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let last = self.shape.depth() - 1;
        let blocks = (0..self.shape.nodes_at(last)).map(move |index| (index, self.children(last, index)));
        let leaves = blocks.flat_map(|(index, sums)| (index * FANOUT as u32..).zip(sums));
        leaves.filter(|&(_, sum)| sum != 0)
    }

    /// The leaves in which this tree differs from another, in order: a check against a tree built anew. The shapes must be
    /// the same.
    pub fn differing_leaves<'a>(&'a self, other: &'a Tree) -> impl Iterator<Item = u32> + 'a {
        assert!(self.shape == other.shape, "trees of different shapes have no leaves in common");
        let last = self.shape.depth() - 1;
        (0..self.shape.nodes_at(last)).flat_map(move |index| {
            let pairs = self.children(last, index).into_iter().zip(other.children(last, index));
            (index * FANOUT as u32..).zip(pairs).filter(|(_, (one, other))| one != other).map(|(leaf, _)| leaf)
        })
    }

    /// Memory that the tree has allocated, bytes.
    pub fn heap_bytes(&self) -> usize {
        self.inner.capacity() * size_of::<Inner>() + self.leaves.capacity() * size_of::<Block>()
    }

    /// The sums of the sixteen children of node `index` of `level`, which must be in the shape and no leaf.
    pub(crate) fn children(&self, level: u8, index: u32) -> Block {
        let last = self.shape.depth() - 1;
        assert!(level <= last && index < self.shape.nodes_at(level), "node {index} of level {level} in {self:?}");
        let mut at = 0;
        for above in (1..=level).rev() {
            let Some(inner) = self.inner.get(at) else { return [0; FANOUT] };
            match inner.below[(index >> (4 * (above - 1))) as usize % FANOUT] {
                0 => return [0; FANOUT],
                position => at = position as usize - 1,
            }
        }
        let block = if level == last { self.leaves.get(at) } else { self.inner.get(at).map(|inner| &inner.sums) };
        block.copied().unwrap_or([0; FANOUT])
    }

    /// Adds to a leaf and to all above it; returns the leaf's new sum.
    fn add(&mut self, leaf: u32, difference: u64) -> u64 {
        if difference == 0 {
            return self.leaf(leaf);
        }
        let last = self.shape.depth() - 1;
        self.root = self.root.wrapping_add(difference);
        if self.inner.is_empty() && self.leaves.is_empty() {
            self.add_block(last == 0);
        }
        let mut at = 0;
        for level in 0..last {
            let slot = self.shape.slot(level, leaf);
            let inner = &mut self.inner[at];
            inner.sums[slot] = inner.sums[slot].wrapping_add(difference);
            if inner.below[slot] == 0 {
                let position = self.add_block(level + 1 == last);
                self.inner[at].below[slot] = position;
            }
            at = self.inner[at].below[slot] as usize - 1;
        }
        let sum = &mut self.leaves[at][self.shape.slot(last, leaf)];
        *sum = sum.wrapping_add(difference);
        *sum
    }

    /// A new block of zeroes; returns its position plus one.
    fn add_block(&mut self, of_leaves: bool) -> u32 {
        if of_leaves {
            self.leaves.push([0; FANOUT]);
            self.leaves.len() as u32
        } else {
            self.inner.push(Inner::EMPTY);
            self.inner.len() as u32
        }
    }
}

/// Equal shape and equal leaves; where the blocks lie in memory does not matter.
impl PartialEq for Tree {
    fn eq(&self, other: &Tree) -> bool {
        self.shape == other.shape && self.root == other.root && self.differing_leaves(other).next().is_none()
    }
}

impl Eq for Tree {}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tree { shape, root, .. } = self;
        f.debug_struct("Tree").field("depth", &shape.depth()).field("root", root).finish_non_exhaustive()
    }
}
