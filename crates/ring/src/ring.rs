//! The ring as a value: who owns which token at one epoch, and every partition's walk worked out beforehand (§4.2, 4.3).
//!
//! Never changed: another epoch is another value. Look-ups on the request path are an index into a table.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use crate::{
    error::RingError,
    id::NodeId,
    planner,
    position::{Partition, PartitionCount},
    walk,
};

/// The largest N.
pub const REPLICAS_MAX: u8 = 16;
const NAME_BYTES_MAX: usize = 253;
const WEIGHT_MAX: u32 = 1_000_000;

/// A node of the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Its stable name, 1 to 253 bytes; no other member has it.
    pub name: String,
    /// The zone that it stands in (a rack, a data centre), 1 to 253 bytes: what is likely to fail as one (§4.3).
    pub zone: String,
    /// Its share of the load, relative to the others'; 1 to 1,000,000. A node of weight 2 gets about twice the tokens of
    /// one of weight 1.
    pub weight: u32,
}

/// Q partitions, one token each, at one epoch (§4.2; §6.2, strategy 3).
///
/// A value: whoever holds one sees one epoch, and look-ups cost an index into a table. The [crate's text](crate) has an
/// example.
#[derive(Clone, PartialEq, Eq)]
pub struct Ring {
    epoch: u64,
    partitions: PartitionCount,
    n: u8,
    /// Sorted by id.
    members: Vec<Member>,
    /// By partition: index of the token's owner in `members`.
    owners: Vec<u16>,
    /// By partition, `width` each: the walk.
    walks: Vec<u16>,
    width: usize,
}

impl Ring {
    /// The first ring of a cluster, epoch 1: the same on every node, whatever the order of `members`. Every member owns at
    /// least one token.
    ///
    /// # Errors
    /// What makes no ring: an `n` of 0 or above [`REPLICAS_MAX`]; no members, more of them than partitions, or two with
    /// one id or name; names, zones or weights outside the bounds that [`Member`] gives.
    pub fn bootstrap(n: u8, partitions: PartitionCount, mut members: Vec<Member>) -> Result<Ring, RingError> {
        members.sort_by_key(|member| member.id);
        check_members(n, partitions, &members)?;
        let owners = planner::assign(&members, partitions, n);
        Ring::from_parts(1, partitions, n, members, owners)
    }

    pub(crate) fn from_parts(
        epoch: u64,
        partitions: PartitionCount,
        n: u8,
        members: Vec<Member>,
        owners: Vec<u16>,
    ) -> Result<Ring, RingError> {
        check_members(n, partitions, &members)?;
        if owners.len() != partitions.get() as usize || owners.iter().any(|owner| usize::from(*owner) >= members.len())
        {
            return Err(RingError::Malformed("tokens without an owner"));
        }
        let owning: BTreeSet<u16> = owners.iter().copied().collect();
        let width = owning.len().min(usize::from(n) + walk::FALLBACKS);
        let walks = walk::walks(&owners, &members, width);
        let ring = Ring { epoch, partitions, n, members, owners, walks, width };
        ring.check()?;
        Ok(ring)
    }

    /// The ring of the next epoch, with these members and owners.
    ///
    /// # Errors
    /// As for [`Ring::bootstrap`], or an owner that is no member.
    pub fn turned(&self, mut members: Vec<Member>, owner: impl Fn(Partition) -> NodeId) -> Result<Ring, RingError> {
        let epoch = self.epoch.checked_add(1).ok_or(RingError::Malformed("the last epoch"))?;
        members.sort_by_key(|member| member.id);
        let index = |partition| members.binary_search_by_key(&owner(partition), |member| member.id);
        let owners = self.partitions.iter().map(|partition| index(partition).map(|index| index as u16));
        let owners = owners.collect::<Result<_, _>>().map_err(|_| RingError::Malformed("tokens without an owner"))?;
        Ring::from_parts(epoch, self.partitions, self.n, members, owners)
    }

    /// Which ring of the cluster this is: the first is 1, a later one has a higher number.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Q.
    pub fn partitions(&self) -> PartitionCount {
        self.partitions
    }

    /// N, the number of home replicas that each key is to have. See [`Ring::homes`] for how many it has.
    pub fn n(&self) -> u8 {
        self.n
    }

    /// All members, sorted by id.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member with this id, if there is one.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.index(id).map(|index| &self.members[index])
    }

    /// The owner of a partition's token: its first home, and the node to coordinate its writes while it is up (§4.5).
    ///
    /// # Panics
    /// As [`Ring::walk_ids`].
    pub fn owner(&self, partition: Partition) -> &Member {
        &self.members[usize::from(self.owners[usize::from(partition.0)])]
    }

    /// By partition, clockwise: the index of the token's owner in [`Ring::members`].
    pub fn owners(&self) -> &[u16] {
        &self.owners
    }

    /// The walk of a partition as indices of [`Ring::members`]: the homes first, then up to
    /// [`FALLBACKS`](crate::FALLBACKS) fallbacks.
    ///
    /// # Panics
    /// For a partition that the ring does not have: the caller took it from another ring.
    pub fn walk_ids(&self, partition: Partition) -> &[u16] {
        let at = usize::from(partition.0) * self.width;
        &self.walks[at..at + self.width]
    }

    /// The walk of a partition (§4.3, 4.6): its [`homes`](Ring::homes) in order of preference, then the fallbacks in the
    /// order in which they stand in.
    ///
    /// # Panics
    /// As [`Ring::walk_ids`].
    pub fn walk(&self, partition: Partition) -> impl Iterator<Item = &Member> {
        self.walk_ids(partition).iter().map(|index| &self.members[usize::from(*index)])
    }

    /// How many of a walk's nodes are homes, in every partition: N, or all nodes that own a token where there are fewer.
    pub fn homes(&self) -> usize {
        self.width.min(usize::from(self.n))
    }

    /// The nodes that store a partition, in order of preference (§4.3): the first [`Ring::homes`] of its walk, no node
    /// twice, in as many zones as can be.
    ///
    /// # Panics
    /// As [`Ring::walk_ids`].
    pub fn preference_list(&self, partition: Partition) -> SmallVec<[NodeId; 8]> {
        self.walk(partition).take(self.homes()).map(|member| member.id).collect()
    }

    /// Whether a node is on a partition's preference list.
    ///
    /// # Panics
    /// As [`Ring::walk_ids`].
    pub fn is_home(&self, partition: Partition, id: NodeId) -> bool {
        self.walk(partition).take(self.homes()).any(|member| member.id == id)
    }

    /// What holds at every epoch: every preference list has N distinct nodes in min(N, zones) zones, or all there are of
    /// those that own a token. A ring that was made or decoded has passed it.
    ///
    /// # Errors
    /// [`RingError::Spread`], with the first partition for which it does not hold.
    pub fn check(&self) -> Result<(), RingError> {
        let owning: BTreeSet<u16> = self.owners.iter().copied().collect();
        let zones: BTreeSet<&str> =
            owning.iter().map(|index| self.members[usize::from(*index)].zone.as_str()).collect();
        for partition in self.partitions.iter() {
            let homes = &self.walk_ids(partition)[..self.homes()];
            let distinct: BTreeSet<u16> = homes.iter().copied().collect();
            let spread: BTreeSet<&str> =
                homes.iter().map(|index| self.members[usize::from(*index)].zone.as_str()).collect();
            if distinct.len() != owning.len().min(usize::from(self.n))
                || spread.len() != zones.len().min(usize::from(self.n))
            {
                return Err(RingError::Spread { partition: partition.0 });
            }
        }
        Ok(())
    }

    fn index(&self, id: NodeId) -> Option<usize> {
        self.members.binary_search_by_key(&id, |member| member.id).ok()
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ring { epoch, partitions, n, members, .. } = self;
        f.debug_struct("Ring")
            .field("epoch", epoch)
            .field("partitions", partitions)
            .field("n", n)
            .field("members", members)
            .finish_non_exhaustive()
    }
}

pub(crate) fn check_members(n: u8, partitions: PartitionCount, members: &[Member]) -> Result<(), RingError> {
    if !(1..=REPLICAS_MAX).contains(&n) {
        return Err(RingError::Replicas(n));
    }
    if members.is_empty() {
        return Err(RingError::NoMembers);
    }
    if members.len() > partitions.get() as usize || members.len() > usize::from(u16::MAX) {
        return Err(RingError::TooManyMembers { members: members.len(), partitions: partitions.get() });
    }
    if let Some(member) = members.iter().find(|member| !(1..=WEIGHT_MAX).contains(&member.weight)) {
        return Err(RingError::BadWeight { name: member.name.clone(), weight: member.weight });
    }
    check_names(members)
}

/// Names and zones within bounds; no name and no id twice; sorted by id.
pub(crate) fn check_names(members: &[Member]) -> Result<(), RingError> {
    let mut names = BTreeSet::new();
    for member in members {
        for name in [&member.name, &member.zone] {
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(RingError::BadName(name.clone()));
            }
        }
        if !names.insert(&member.name) {
            return Err(RingError::DuplicateName(member.name.clone()));
        }
    }
    match members.windows(2).find(|pair| pair[0].id >= pair[1].id) {
        Some(pair) if pair[0].id == pair[1].id => Err(RingError::DuplicateId(pair[0].id)),
        Some(_) => Err(RingError::Malformed("members out of order")),
        None => Ok(()),
    }
}
