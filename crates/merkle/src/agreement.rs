//! Whether all home replicas of a partition have the same, told from what each announces: the first of the proofs that a
//! tombstone needs before it is collected.
//!
//! What is announced is a sum: a root, or that of one leaf. In a partition that is written all the time roots hardly
//! ever agree, but the leaves that are not being written do, and an equal leaf proves it for the keys of that leaf.
//!
//! It proves something only with a barrier: each replica has sent a mark through its ordered stream to every other, and
//! takes its sum when all marks have come in and what came before them is applied. Then no older version of a key is
//! still under way when the sums are equal. Hints on third nodes, and whether the epoch is settled, are not seen here.
//! Collecting is not simultaneous: who has collected already must not take the tombstone again from one who has not.

use smallvec::SmallVec;

/// Names an attempt; announcements of another one do not count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Barrier {
    /// The ring's epoch.
    pub epoch: u64,
    /// Which attempt within the epoch.
    pub number: u64,
}

/// What is known of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Not all replicas have announced.
    Waiting,
    /// All have, the same.
    Equal(u64),
    /// Two sums differ: try again with another barrier.
    Differing,
}

/// One attempt to find all home replicas agreeing.
#[derive(Clone, Debug)]
pub struct Agreement {
    barrier: Barrier,
    homes: SmallVec<[(u128, Option<u64>); 4]>,
    contradicted: bool,
}

impl Agreement {
    /// An attempt for these home replicas, each an id of a node. Without any, it waits for ever.
    pub fn new(barrier: Barrier, homes: impl IntoIterator<Item = u128>) -> Agreement {
        let mut agreement = Agreement { barrier, homes: SmallVec::new(), contradicted: false };
        for node in homes {
            if !agreement.homes.iter().any(|&(home, _)| home == node) {
                agreement.homes.push((node, None));
            }
        }
        agreement
    }

    /// Which attempt this is.
    pub fn barrier(&self) -> Barrier {
        self.barrier
    }

    /// A replica announces its sum. Those of other barriers and of nodes that are no home replicas are ignored; one that
    /// announces two different sums spoils the attempt.
    pub fn announce(&mut self, node: u128, barrier: Barrier, sum: u64) {
        if barrier != self.barrier {
            return;
        }
        if let Some((_, announced)) = self.homes.iter_mut().find(|(home, _)| *home == node) {
            self.contradicted |= announced.is_some_and(|before| before != sum);
            *announced = Some(sum);
        }
    }

    /// A replica is no longer what it was when it announced (restarted, connection lost): the attempt is spoilt, for what
    /// was under way to it at the barrier may come again or never.
    pub fn lose(&mut self, node: u128) {
        self.contradicted |= self.homes.iter().any(|&(home, _)| home == node);
    }

    /// What is known by now. Once [`Verdict::Differing`], it stays so.
    pub fn verdict(&self) -> Verdict {
        if self.contradicted {
            return Verdict::Differing;
        }
        let mut announced = self.homes.iter().filter_map(|&(_, sum)| sum);
        let Some(first) = announced.next() else { return Verdict::Waiting };
        if announced.any(|sum| sum != first) {
            Verdict::Differing
        } else if self.homes.iter().all(|(_, sum)| sum.is_some()) {
            Verdict::Equal(first)
        } else {
            Verdict::Waiting
        }
    }
}
