//! The first step, for many partitions at once: who has other roots than I have? (§4.7)
//!
//! Between replicas that agree it is the only one: ten bytes a partition there, a few bytes back. A root does not
//! depend on the tree's shape. A partition that is just being written differs most of the time by writes under way; the
//! exchange that follows finds them gone, or finds what the driver need not fetch any more.

use crate::PeerError;

/// The roots of many partitions at one replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Roots {
    /// Tells the answer to these roots from others.
    pub round: u32,
    /// The ring's epoch at the sender.
    pub epoch: u64,
    /// Partition and root, in order of partitions.
    pub roots: Vec<(u16, u64)>,
}

/// The answer to [`Roots`]. Partitions that are not named agree, if the epochs do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RootsAnswer {
    /// The round that is answered.
    pub round: u32,
    /// The ring's epoch at the sender. When it is not that of the question, the answer tells of no partition at all.
    pub epoch: u64,
    /// Partitions whose root is another, in order.
    pub differing: Vec<u16>,
    /// Partitions that the sender does not serve, in order.
    pub refused: Vec<u16>,
}

impl Roots {
    /// The answer of a replica of epoch `epoch`, where `root_of` gives the root of each partition that it serves.
    pub fn answer(&self, epoch: u64, mut root_of: impl FnMut(u16) -> Option<u64>) -> RootsAnswer {
        let mut answer = RootsAnswer { round: self.round, epoch, differing: Vec::new(), refused: Vec::new() };
        if epoch != self.epoch {
            return answer;
        }
        for &(partition, root) in &self.roots {
            match root_of(partition) {
                Some(mine) if mine == root => {}
                Some(_) => answer.differing.push(partition),
                None => answer.refused.push(partition),
            }
        }
        answer
    }
}

impl RootsAnswer {
    /// The partitions to exchange next; none when the epochs differ. Fails when this cannot be an answer to `asked`: it
    /// names partitions that were not asked for, twice or out of order.
    pub fn differing_of(&self, asked: &Roots) -> Result<&[u16], PeerError> {
        if self.round != asked.round {
            return Err(PeerError::NotAsked);
        }
        if self.epoch != asked.epoch {
            return Ok(&[]);
        }
        let in_order = |list: &[u16]| list.windows(2).all(|pair| pair[0] < pair[1]);
        let known = |partition: &u16| asked.roots.binary_search_by_key(partition, |&(partition, _)| partition).is_ok();
        if !in_order(&self.differing) || !in_order(&self.refused) {
            return Err(PeerError::Unsorted);
        }
        if !self.differing.iter().chain(&self.refused).all(known) {
            return Err(PeerError::NotAsked);
        }
        if self.refused.iter().any(|partition| self.differing.binary_search(partition).is_ok()) {
            return Err(PeerError::Contradiction);
        }
        Ok(&self.differing)
    }
}
