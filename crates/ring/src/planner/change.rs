//! What a change of members leaves as it is: which nodes stay, and which zones.

use std::collections::{BTreeMap, BTreeSet};

use super::shape::{Shape, VACANT};
use crate::ring::{Member, Ring};

/// From the members of a ring to others.
pub struct Change {
    /// By current member: its index among the wanted, or [`VACANT`].
    pub same: Vec<u16>,
    /// The same, but only if it stays in its zone: a node that moves to another leaves and joins.
    pub stays: Vec<u16>,
    /// By current zone: what the zone is called among the wanted. Zones may be renamed while nodes stay where they are, so
    /// two are taken for the same if neither has more nodes in common with any other.
    names: BTreeMap<String, String>,
}

impl Change {
    /// From a ring to members sorted by id.
    pub fn new(current: &Ring, wanted: &[Member]) -> Self {
        let find = |member: &Member| wanted.binary_search_by_key(&member.id, |other| other.id).ok();
        let same: Vec<Option<usize>> = current.members().iter().map(find).collect();
        let mut common: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for (member, same) in current.members().iter().zip(&same) {
            if let Some(same) = same {
                *common.entry((&member.zone, &wanted[*same].zone)).or_default() += 1;
            }
        }
        let most = |of: fn(&(&str, &str), &(&str, &str)) -> bool, pair: &(&str, &str)| {
            let rivals = common.iter().filter(|(other, _)| of(other, pair));
            rivals
                .max_by_key(|(other, nodes)| (**nodes, std::cmp::Reverse(**other)))
                .is_some_and(|(best, _)| best == pair)
        };
        let alike = |pair: &&(&str, &str)| {
            most(|one, other| one.0 == other.0, pair) && most(|one, other| one.1 == other.1, pair)
        };
        let names: BTreeMap<String, String> =
            common.keys().filter(alike).map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect();
        let stays = |(member, same): (&Member, &Option<usize>)| {
            same.filter(|same| names.get(&member.zone) == Some(&wanted[*same].zone)).map_or(VACANT, |same| same as u16)
        };
        let stays = current.members().iter().zip(&same).map(stays).collect();
        let same = same.into_iter().map(|same| same.map_or(VACANT, |same| same as u16)).collect();
        Self { same, stays, names }
    }

    /// What a current zone is called afterwards.
    pub fn name<'a>(&'a self, zone: &'a str) -> &'a str {
        self.names.get(zone).map_or(zone, |name| name)
    }

    /// Whether there are the same zones afterwards.
    pub fn keeps_zones(&self, current: &Ring, wanted: &[Member]) -> bool {
        let before: BTreeSet<&str> = current.members().iter().map(|member| self.name(&member.zone)).collect();
        before == wanted.iter().map(|member| member.zone.as_str()).collect()
    }

    /// By token: its owner among the wanted members, or [`VACANT`].
    pub fn owners(&self, current: &Ring) -> Vec<u16> {
        current.owners().iter().map(|owner| self.stays[usize::from(*owner)]).collect()
    }

    /// By partition: its homes, as many for each, among the wanted members, or [`VACANT`].
    pub fn homes(&self, current: &Ring) -> Vec<u16> {
        let lists = current.partitions().iter().map(|partition| &current.walk_ids(partition)[..current.homes()]);
        lists.flatten().map(|node| self.same[usize::from(*node)]).collect()
    }

    /// By wanted zone: tokens of nodes that leave it.
    pub fn left(&self, current: &Ring, wanted: &[Member], shape: &Shape) -> Vec<usize> {
        let mut left = vec![0; shape.zones.len()];
        let zones = wanted.iter().map(|member| member.zone.as_str()).zip(&shape.zone);
        let zones: BTreeMap<&str, u16> =
            if shape.zoned { zones.map(|(name, zone)| (name, *zone)).collect() } else { BTreeMap::new() };
        for owner in current.owners().iter().map(|owner| usize::from(*owner)) {
            let zone = zones.get(self.name(&current.members()[owner].zone));
            if let (VACANT, Some(zone)) = (self.stays[owner], zone) {
                left[usize::from(*zone)] += 1;
            }
        }
        left
    }
}

/// By current member: replicas that it holds.
pub fn held(ring: &Ring) -> Vec<usize> {
    let mut held = vec![0; ring.members().len()];
    for partition in ring.partitions().iter() {
        ring.walk_ids(partition)[..ring.homes()].iter().for_each(|node| held[usize::from(*node)] += 1);
    }
    held
}
