//! The shape that the trees of all replicas have in common, and how a key with its state becomes a number (§4.7).

/// Children of an inner node.
pub const FANOUT: usize = 16;
/// The deepest tree: 16^5 leaves, some 10 MB when all are in use.
pub const DEPTH_MAX: u8 = 5;

/// How many levels a tree has. Replicas whose shapes differ can compare roots, but cannot exchange.
///
/// A differing leaf costs the keys in it, so with K keys in a partition and L leaves, K/L keys travel to find one; the
/// tree costs some 9 bytes a leaf in memory. The default depth of 3 (4,096 leaves, 39 KB at most) is right up to a few
/// million keys a partition; 4 (65,536 leaves, 620 KB) beyond that, 2 (256 leaves, 3 KB) for thousands of small ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    depth: u8,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { depth: 3 }
    }
}

impl Shape {
    /// A tree of `16^depth` leaves; None unless `depth` is 1 to [`DEPTH_MAX`].
    pub const fn new(depth: u8) -> Option<Shape> {
        if depth >= 1 && depth <= DEPTH_MAX { Some(Shape { depth }) } else { None }
    }

    /// Levels below the root.
    pub const fn depth(self) -> u8 {
        self.depth
    }

    /// Number of leaves.
    pub const fn leaves(self) -> u32 {
        self.nodes_at(self.depth)
    }

    /// The leaf of a key: the first bits of its hash, as they are, so that a store which orders keys by them has a leaf's
    /// keys in one range. Within a partition they must be as good as random: not of the bits that chose the partition.
    pub fn leaf_of(self, key_hash: u64) -> u32 {
        (key_hash >> (u64::BITS - self.leaf_bits())) as u32
    }

    /// How many bits of a key's hash choose its leaf.
    pub const fn leaf_bits(self) -> u32 {
        4 * self.depth as u32
    }

    /// Nodes of a level; the root alone is level 0, the leaves are level `depth`.
    pub(crate) const fn nodes_at(self, level: u8) -> u32 {
        1 << (4 * level)
    }

    /// Which of a level's sixteen ways leads to the leaf.
    pub(crate) const fn slot(self, level: u8, leaf: u32) -> usize {
        (leaf >> (4 * (self.depth - 1 - level))) as usize % FANOUT
    }
}

/// What a key adds to its leaf: a mix of the key's hash and its state's digest, so that two keys that swap their states
/// are seen. For one key, different digests always give different sums.
pub fn entry_sum(key_hash: u64, digest: u64) -> u64 {
    // Twice, so that the same change of state in many keys leaves no pattern in the differences that are added up.
    scramble(scramble(scramble(key_hash) ^ digest).wrapping_add(0x9e37_79b9_7f4a_7c15))
}

/// A bijection in which each bit of the input changes half of the output (Stafford's mix 13, as in SplitMix64).
pub(crate) const fn scramble(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
