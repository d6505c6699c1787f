//! Where a key stands on the ring, and which of the equal partitions that is (§4.2; §6.2, strategy 3).

use md5::{Digest, Md5};

use crate::error::RingError;

/// A point on the ring: the MD5 of a partition key, 128 bits (§4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u128);

impl Position {
    /// Where a partition key stands. The bucket has no part in it: a key stands in the same place in all of them.
    pub fn of(partition_key: &[u8]) -> Position {
        Position(u128::from_be_bytes(Md5::digest(partition_key).into()))
    }
}

/// One of the Q equal parts of the ring, counted clockwise from position 0 (§6.2, strategy 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u16);

/// Q, the number of partitions: a power of two from 1 to 65,536, fixed when the cluster is created.
///
/// ```
/// use dynamo_ring::{Partition, PartitionCount, Position};
///
/// let q = PartitionCount::try_from(256)?;
/// assert_eq!(q.partition_of(Position(0x2a << 120)), Partition(0x2a));
/// assert!(PartitionCount::try_from(100).is_err());
/// # Ok::<(), dynamo_ring::RingError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionCount(u32);

impl PartitionCount {
    /// The largest Q.
    pub const MAX: u32 = 1 << 16;

    /// Q.
    pub fn get(self) -> u32 {
        self.0
    }

    /// In which partition a position lies: the position's top log2(Q) bits.
    pub fn partition_of(self, position: Position) -> Partition {
        let bits = self.0.trailing_zeros();
        Partition(if bits == 0 { 0 } else { (position.0 >> (128 - bits)) as u16 })
    }

    /// Whether there is such a partition.
    pub fn contains(self, partition: Partition) -> bool {
        u32::from(partition.0) < self.0
    }

    /// All partitions, clockwise.
    pub fn iter(self) -> impl Iterator<Item = Partition> {
        (0..self.0).map(|index| Partition(index as u16))
    }
}

impl TryFrom<u32> for PartitionCount {
    type Error = RingError;

    /// Takes a number for Q.
    ///
    /// # Errors
    /// [`RingError::PartitionCount`]: it is no power of two, or more than [`PartitionCount::MAX`].
    fn try_from(count: u32) -> Result<Self, RingError> {
        if count.is_power_of_two() && count <= Self::MAX {
            Ok(Self(count))
        } else {
            Err(RingError::PartitionCount(count))
        }
    }
}
