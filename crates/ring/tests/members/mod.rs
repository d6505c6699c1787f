//! Clusters to build rings of.

#![allow(dead_code, reason = "each test file uses its part")]

use dynamo_ring::{Member, NodeId, Partition, PartitionCount, Ring};
use proptest::{collection, prelude::*};

pub fn member(index: usize, zone: usize, weight: u32) -> Member {
    let name = format!("node-{index}");
    Member { id: NodeId::initial("blue", &name), name, zone: format!("zone-{zone}"), weight }
}

pub fn partitions(count: u32) -> PartitionCount {
    PartitionCount::try_from(count).expect("a power of two")
}

/// What a ring is built of.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub n: u8,
    pub partitions: PartitionCount,
    pub members: Vec<Member>,
}

impl Cluster {
    pub fn ring(&self) -> Ring {
        Ring::bootstrap(self.n, self.partitions, self.members.clone()).expect("a cluster that makes a ring")
    }

    pub fn zones(&self) -> usize {
        self.members.iter().map(|member| &member.zone).collect::<std::collections::BTreeSet<_>>().len()
    }
}

/// 1 to 40 nodes in up to 7 zones as they come, uneven weights, as many partitions as there are nodes or more.
pub fn clusters() -> impl Strategy<Value = Cluster> {
    let members = collection::vec((0..7_usize, 1..=5_u32), 1..=40);
    (1..=5_u8, 3..=11_u32, members).prop_map(|(n, bits, nodes)| {
        let members: Vec<_> =
            nodes.iter().enumerate().map(|(index, (zone, weight))| member(index, *zone, *weight)).collect();
        let least = members.len().next_power_of_two() as u32;
        Cluster { n, partitions: partitions((1 << bits).max(least)), members }
    })
}

/// Zones of equal size, nodes of equal weight.
pub fn even(n: u8, count: u32, zones: usize, each: usize) -> Cluster {
    let members = (0..zones * each).map(|index| member(index, index % zones, 1)).collect();
    Cluster { n, partitions: partitions(count), members }
}

/// The walk as the paper has it (§4.3), from the tokens: clockwise, nodes already met skipped, and zones already used
/// skipped as long as there are nodes in unused ones. Also says how many tokens of nodes not yet met were skipped on
/// the way to the first `homes` nodes.
pub fn reference_walk(ring: &Ring, start: Partition) -> Vec<NodeId> {
    let count = ring.partitions().get();
    let clockwise: Vec<&Member> =
        (0..count).map(|step| ring.owner(Partition(((u32::from(start.0) + step) % count) as u16))).collect();
    let mut walk: Vec<NodeId> = Vec::new();
    let mut used: Vec<&str> = Vec::new();
    loop {
        let unmet = || clockwise.iter().filter(|member| !walk.contains(&member.id));
        match unmet().find(|member| !used.contains(&member.zone.as_str())) {
            Some(member) => {
                used.push(&member.zone);
                walk.push(member.id);
            }
            None if used.is_empty() => return walk,
            None => used.clear(),
        }
    }
}
