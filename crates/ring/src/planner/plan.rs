//! A plan: the ring as it is to be, and what it takes to get there.

use std::collections::BTreeMap;

use super::{
    change::{Change, held},
    fair::Fair,
    shape::Shape,
    skips,
};
use crate::{
    id::NodeId,
    position::Partition,
    ring::{Member, Ring},
};

/// A token that changes hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Of which partition.
    pub partition: Partition,
    /// Who owns it before.
    pub from: NodeId,
    /// Who owns it after.
    pub to: NodeId,
}

/// What a node or a zone bears.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Tokens that it owns.
    pub tokens: usize,
    /// Replicas that it holds: partitions in whose preference list it is, counted once for each of a zone's nodes.
    pub replicas: usize,
    /// How many replicas would be its fair share by weight; 0 if it is not on the ring.
    pub fair: f64,
}

/// What a plan does to a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeChange {
    /// The node: as it is to be, or as it was if it leaves.
    pub member: Member,
    /// Before; nothing if it joins.
    pub before: Load,
    /// After; nothing if it leaves.
    pub after: Load,
}

/// What a plan does to a zone.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneChange {
    /// Its name.
    pub zone: String,
    /// Before.
    pub before: Load,
    /// After.
    pub after: Load,
}

/// From one ring to another (§6.2).
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) current: Ring,
    /// The members after, sorted by id.
    pub members: Vec<Member>,
    /// By partition: the index in `members` of the token's owner after.
    pub owners: Vec<u16>,
    /// Tokens that change hands, clockwise.
    pub moved: Vec<Moved>,
    /// Replicas that move: pairs of a partition and a node that is in its preference list after and was not before.
    pub replicas_moved: usize,
    /// How many would have to move at least to have every node hold its fair share to the replica. A plan leaves a node as
    /// it is that is within a token of its share, so it may move fewer.
    pub replicas_least: usize,
    /// Every node that is on the ring before or after, by id.
    pub nodes: Vec<NodeChange>,
    /// Every zone that is on the ring before or after, by name.
    pub zones: Vec<ZoneChange>,
    /// Partitions whose walk skips a token before: its homes are not the owners of the next tokens.
    pub skips_before: usize,
    /// The same after.
    pub skips_after: usize,
}

impl Plan {
    /// What becomes of `current` if `members`, sorted by id, own its tokens like `owners`.
    pub(super) fn new(current: &Ring, members: Vec<Member>, owners: Vec<u16>, replicas_least: usize) -> Plan {
        let change = Change::new(current, &members);
        let after = Ring::from_parts(current.epoch() + 1, current.partitions(), current.n(), members, owners)
            .expect("a walk has all the nodes and zones there are");
        let same = change.homes(current);
        let before = |partition: Partition| &same[usize::from(partition.0) * current.homes()..][..current.homes()];
        let gained = |partition| {
            let homes = after.walk_ids(partition)[..after.homes()].iter();
            homes.filter(|node| !before(partition).contains(node)).count()
        };
        let moved = current.partitions().iter().map(|partition| {
            let (from, to) = (current.owner(partition).id, after.owner(partition).id);
            Moved { partition, from, to }
        });
        let (nodes, zones) = changes(current, &after);
        Plan {
            moved: moved.filter(|moved| moved.from != moved.to).collect(),
            replicas_moved: current.partitions().iter().map(gained).sum(),
            replicas_least,
            nodes,
            zones,
            skips_before: skips(current),
            skips_after: skips(&after),
            members: after.members().to_vec(),
            owners: after.owners().to_vec(),
            current: current.clone(),
        }
    }

    /// The ring that the plan starts from.
    pub fn current(&self) -> &Ring {
        &self.current
    }

    /// The ring that the plan leads to, if it is carried out at once: one epoch later.
    pub fn ring(&self) -> Ring {
        let (epoch, partitions, n) = (self.current.epoch() + 1, self.current.partitions(), self.current.n());
        Ring::from_parts(epoch, partitions, n, self.members.clone(), self.owners.clone()).expect("it was one before")
    }
}

fn changes(current: &Ring, after: &Ring) -> (Vec<NodeChange>, Vec<ZoneChange>) {
    let mut nodes: BTreeMap<NodeId, NodeChange> = BTreeMap::new();
    let mut zones: BTreeMap<String, ZoneChange> = BTreeMap::new();
    for (ring, is_after) in [(current, false), (after, true)] {
        for (member, load) in ring.members().iter().zip(loads(ring)) {
            let none = Load::default();
            let node = NodeChange { member: member.clone(), before: none, after: none };
            let node = nodes.entry(member.id).or_insert(node);
            node.member = member.clone();
            let zone = ZoneChange { zone: member.zone.clone(), before: none, after: none };
            let zone = zones.entry(member.zone.clone()).or_insert(zone);
            let (own, all) =
                if is_after { (&mut node.after, &mut zone.after) } else { (&mut node.before, &mut zone.before) };
            *own = load;
            all.tokens += load.tokens;
            all.replicas += load.replicas;
            all.fair += load.fair;
        }
    }
    (nodes.into_values().collect(), zones.into_values().collect())
}

/// By member: what it bears.
pub fn loads(ring: &Ring) -> Vec<Load> {
    let fair = Fair::of(&Shape::new(ring.members(), ring.partitions(), ring.n()));
    let mut loads: Vec<Load> =
        held(ring).into_iter().zip(fair.nodes).map(|(replicas, fair)| Load { tokens: 0, replicas, fair }).collect();
    ring.owners().iter().for_each(|owner| loads[usize::from(*owner)].tokens += 1);
    loads
}
