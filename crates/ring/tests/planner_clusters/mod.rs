//! Clusters to plan for, and what a plan is measured by: all of it worked out from preference lists and members alone, by
//! other means than the planner's.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};

use dynamo_ring::{Member, NodeId, Partition, PartitionCount, Ring, planner};
use proptest::{collection, prelude::*};

pub fn member(index: usize, zone: usize, weight: u32) -> Member {
    let name = format!("node-{index}");
    Member { id: NodeId::initial("blue", &name), name, zone: format!("zone-{zone}"), weight }
}

pub fn partitions(count: usize) -> PartitionCount {
    PartitionCount::try_from(count as u32).expect("a power of two")
}

pub fn ring(n: u8, count: usize, members: &[Member]) -> Ring {
    Ring::bootstrap(n, partitions(count), members.to_vec()).expect("members that make a ring")
}

/// How a cluster's nodes are spread and weighted.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub n: u8,
    pub zones: usize,
    /// Zones of like size and nodes of like weight; else larger and smaller zones, weights from 1 to 8.
    pub even: bool,
    /// Up to so many nodes.
    pub nodes: usize,
    /// Tokens a node, at least, as a power of two.
    pub tokens: u32,
}

impl Kind {
    /// Q.
    pub fn count(self) -> usize {
        (self.nodes.next_power_of_two() << self.tokens).clamp(8, 8192)
    }

    /// A member from numbers as they come.
    pub fn member(self, index: usize, (one, other, weight): (usize, usize, u32)) -> Member {
        match self.even {
            true => member(index, one % self.zones, 1),
            false => member(index, (one % self.zones).min(other % self.zones), weight),
        }
    }
}

pub type Draw = (usize, usize, u32);

pub fn draws() -> impl Strategy<Value = Draw> {
    (0..420_usize, 0..420_usize, 1..=8_u32)
}

/// Up to `nodes` nodes with at least `2^tokens` tokens for each.
pub fn kinds(nodes: usize, tokens: std::ops::RangeInclusive<u32>) -> impl Strategy<Value = Kind> {
    let nodes = prop_oneof![1..=8.min(nodes), 1..=40.min(nodes), 1..=nodes];
    (1..=5_u8, 1..=7_usize, any::<bool>(), nodes, tokens).prop_map(|(n, zones, even, nodes, tokens)| Kind {
        n,
        zones,
        even,
        nodes,
        tokens,
    })
}

/// As many members as the kind has.
pub fn clusters(kinds: impl Strategy<Value = Kind>) -> impl Strategy<Value = (Kind, Vec<Member>)> {
    kinds.prop_flat_map(|kind| {
        let members = collection::vec(draws(), kind.nodes);
        members.prop_map(move |draws| {
            (kind, draws.into_iter().enumerate().map(|(index, draw)| kind.member(index, draw)).collect())
        })
    })
}

/// One join, leave or new weight; which is up to the numbers.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    what: u8,
    whom: usize,
    draw: Draw,
}

pub fn events(count: impl Into<collection::SizeRange>) -> impl Strategy<Value = Vec<Event>> {
    let event = (0..3_u8, 0..10_000_usize, draws()).prop_map(|(what, whom, draw)| Event { what, whom, draw });
    collection::vec(event, count)
}

impl Event {
    /// What it does to a cluster that never has more nodes than its kind, nor fewer than one.
    pub fn apply(self, kind: Kind, members: &mut Vec<Member>, next: &mut usize) {
        let whom = self.whom % members.len();
        match self.what {
            0 if members.len() < kind.nodes => {
                members.push(kind.member(*next, self.draw));
                *next += 1;
            }
            1 if members.len() > 1 => drop(members.remove(whom)),
            _ => members[whom].weight = if kind.even { 1 } else { self.draw.2 },
        }
    }
}

pub fn zones(members: &[Member]) -> BTreeMap<&str, usize> {
    let mut zones = BTreeMap::new();
    members.iter().for_each(|member| *zones.entry(member.zone.as_str()).or_default() += 1);
    zones
}

/// Whether every preference list has the nodes and zones it can have.
pub fn keeps_its_promises(ring: &Ring) -> bool {
    let (n, zones) = (usize::from(ring.n()), zones(ring.members()).len());
    ring.partitions().iter().all(|partition| {
        let list = ring.preference_list(partition);
        let nodes: BTreeSet<_> = list.iter().collect();
        let spread: BTreeSet<_> = list.iter().map(|id| &ring.member(*id).expect("a member").zone).collect();
        list.len() == nodes.len() && nodes.len() == ring.members().len().min(n) && spread.len() == zones.min(n)
    })
}

/// Partitions in whose preference list each node is.
pub fn held(ring: &Ring) -> BTreeMap<NodeId, usize> {
    let mut held: BTreeMap<NodeId, usize> = ring.members().iter().map(|member| (member.id, 0)).collect();
    for partition in ring.partitions().iter() {
        for id in ring.preference_list(partition) {
            *held.get_mut(&id).expect("a member") += 1;
        }
    }
    held
}

/// By how many replicas the node that is furthest from its fair share is off it.
pub fn off(ring: &Ring) -> f64 {
    let fair = planner::fair_shares(ring.members(), ring.partitions(), ring.n());
    let held = held(ring);
    let off = ring.members().iter().zip(fair).map(|(member, fair)| (held[&member.id] as f64 - fair).abs());
    off.fold(0.0, f64::max)
}

/// Partitions whose homes are not the owners of the next tokens, as many as there are homes.
pub fn skipping(ring: &Ring) -> usize {
    let count = ring.partitions().get() as usize;
    let owner = |token: usize| ring.owner(Partition((token % count) as u16)).id;
    (0..count)
        .filter(|start| {
            let homes: BTreeSet<_> = ring.preference_list(Partition(*start as u16)).into_iter().collect();
            homes != (*start..start + homes.len()).map(owner).collect()
        })
        .count()
}

/// Pairs of a partition and a node that stores it after and did not before.
pub fn gained(before: &Ring, after: &Ring) -> usize {
    let gained = |partition: Partition| {
        let before = before.preference_list(partition);
        after.preference_list(partition).iter().filter(|id| !before.contains(id)).count()
    };
    before.partitions().iter().map(gained).sum()
}

/// A lower bound of the walks that skip a token, from counting alone: whoever owns what, no ring of these members has fewer.
///
/// - With as many zones as homes (or as many nodes), walks skip none only while zones follow each other in one order, over
///   and over. Where their number does not divide Q, that order breaks somewhere, and all walks over the break but one
///   skip: H - 1. (Found by trying all rings of up to 40 tokens.)
/// - Where zones are fewer and one is so small that all its nodes are in every list, they come every H-th token: if H does
///   not divide Q, some walk skips.
/// - Every node owns a token. A walk that skips none takes at most `most` of a zone's; so `walks` of them see at most that
///   many, while each token is seen by H walks. Those that are too many are seen by walks that skip, at most H each.
pub fn skips_forced(ring: &Ring) -> usize {
    let (members, count) = (ring.members(), ring.partitions().get() as usize);
    let homes = members.len().min(ring.n().into());
    let sizes: Vec<usize> = zones(members).into_values().collect();
    let sizes = if sizes.len() == 1 { vec![1; members.len()] } else { sizes };
    let rounds = rounds(&sizes, homes);
    let breaks = count % homes != 0;
    let taken = |rounds: usize| sizes.iter().map(|nodes| (*nodes).min(rounds)).sum::<usize>();
    let crowd = |nodes: &usize| {
        let most = (*nodes).min(if taken(rounds) == homes { rounds } else { rounds + 1 });
        let over = (nodes * homes).saturating_sub(count * most);
        over.div_ceil((homes - most).max(1))
    };
    let crowded = sizes.iter().map(crowd).max().unwrap_or(0);
    let small = sizes.iter().any(|nodes| *nodes <= rounds && *nodes < homes);
    let seam = if breaks && (members.len() == homes || sizes.len() == homes) {
        homes - 1
    } else {
        usize::from(breaks && small)
    };
    seam.max(crowded)
}

/// Nodes that every list has of each zone that has as many.
pub fn rounds(sizes: &[usize], homes: usize) -> usize {
    let taken = |rounds: usize| sizes.iter().map(|nodes| (*nodes).min(rounds)).sum::<usize>();
    (0..=homes).rev().find(|rounds| taken(*rounds) <= homes).unwrap_or(0)
}

/// The largest part of its possible places that a zone (or a node, where it is nodes that are to be apart) has as its fair
/// share; 0 where zones follow each other in turn. From 1/2 on, a token may find no place without another making way.
pub fn crowding(ring: &Ring) -> f64 {
    let (members, n) = (ring.members(), usize::from(ring.n()));
    let count = f64::from(ring.partitions().get());
    let fair = planner::fair_shares(members, ring.partitions(), ring.n());
    let mut by_zone: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (member, share) in members.iter().zip(fair) {
        let (most, all) = by_zone.entry(&member.zone).or_default();
        (*most, *all) = (most.max(share), *all + share);
    }
    let part = |(most, all): &(f64, f64)| match by_zone.len() {
        1 => most / count,
        zones if zones > n => all / count,
        zones if zones == n => 0.0,
        zones => most * (n as f64 / zones as f64).ceil() / all,
    };
    by_zone.values().map(part).fold(0.0, f64::max)
}

/// The replicas that have to move at least, so that each node holds its fair share rounded down or up: what some lack, or what
/// others have too much, whichever is more. Zone by zone where N zones stay the same, for each list has one of each.
pub fn least(before: &Ring, wanted: &[Member]) -> usize {
    let fair = planner::fair_shares(wanted, before.partitions(), before.n());
    let held = held(before);
    let apart =
        zones(wanted).len() == usize::from(before.n()) && zones(wanted).keys().eq(zones(before.members()).keys());
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (member, share) in wanted.iter().zip(&fair) {
        let had = held.get(&member.id).copied().unwrap_or(0) as f64;
        let (lacked, lost) = sums.entry(if apart { &member.zone } else { "" }).or_default();
        *lacked += ((share + 1e-6).floor() - had).max(0.0);
        *lost += (had - (share - 1e-6).ceil()).max(0.0) + share - had;
    }
    sums.values().map(|(lacked, lost)| lacked.max(lost.round()) as usize).sum()
}
