//! A value of the ring's register, as requests go by it: worked out once for all nodes that have it.

use std::sync::Arc;

use dynamo_ring::{Partition, Ring, charter::Charter};
use smallvec::SmallVec;

use super::kernel::index_of;

/// A charter with its walks, by hosts' numbers.
pub struct View {
    pub version: u64,
    pub charter: Arc<Charter>,
    walks: Vec<SmallVec<[u8; 8]>>,
}

impl View {
    pub fn new(version: u64, charter: Arc<Charter>) -> Self {
        let ring = charter.ring();
        let number = |at: &u16| index_of(ring.members()[usize::from(*at)].id);
        let walk = |partition: Partition| ring.walk_ids(partition).iter().map(number).collect();
        let walks = ring.partitions().iter().map(walk).collect();
        Self { version, charter, walks }
    }

    pub fn ring(&self) -> &Ring {
        self.charter.ring()
    }

    pub fn epoch(&self) -> u64 {
        self.ring().epoch()
    }

    /// The nodes of a partition's walk: homes first.
    pub fn walk(&self, partition: Partition) -> &[u8] {
        &self.walks[usize::from(partition.0)]
    }

    /// The partition's homes.
    pub fn homes(&self, partition: Partition) -> &[u8] {
        &self.walk(partition)[..self.ring().homes()]
    }

    pub fn is_home(&self, partition: Partition, node: u8) -> bool {
        self.homes(partition).contains(&node)
    }

    pub fn is_member(&self, node: u8) -> bool {
        self.ring().members().iter().any(|member| index_of(member.id) == node)
    }
}
