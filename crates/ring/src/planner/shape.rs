//! What a ring's members, N and Q alone say about it: how many nodes of each zone a preference list takes.
//!
//! A walk goes in rounds that take one node of each zone (§4.3), so of N homes a zone provides as many as there are whole
//! rounds, and perhaps one more in the last. Where the owners of N neighbouring tokens are such a set, the walk takes each
//! token as it comes; where they are not, it skips one. [`Shape::skips`] is that test.

use crate::{position::PartitionCount, ring::Member, walk};

/// The owner of a token that is yet to be given away.
pub const VACANT: u16 = u16::MAX;

/// Nodes in zones.
pub struct Shape {
    /// Q.
    pub tokens: usize,
    /// Homes of each partition: N, or all nodes where there are fewer.
    pub homes: usize,
    /// By node: its zone, counted in the order of the zones' names. Each node is one of its own where there is only one.
    pub zone: Vec<u16>,
    /// Whether there is more than one zone.
    pub zoned: bool,
    /// By node: its weight.
    pub weight: Vec<u32>,
    /// By node: bits to break ties with.
    pub seed: Vec<u64>,
    /// By zone: its nodes.
    pub zones: Vec<Vec<u16>>,
    /// Rounds that every walk goes to their end before it has its homes.
    pub rounds: usize,
    /// Homes that are found in the round after these.
    pub extra: usize,
}

impl Shape {
    /// Of members, which are not none.
    pub fn new(members: &[Member], partitions: PartitionCount, n: u8) -> Self {
        let mut zone = walk::zones(members);
        let zoned = zone.iter().any(|other| *other != zone[0]);
        if !zoned {
            // Where all stand in one zone, a walk looks for other nodes as it else looks for other zones.
            zone = (0..members.len() as u16).collect();
        }
        let mut zones = vec![vec![]; zone.iter().max().map_or(0, |last| usize::from(*last) + 1)];
        for (node, zone) in (0..).zip(&zone) {
            zones[usize::from(*zone)].push(node);
        }
        let homes = members.len().min(n.into());
        let in_rounds = |rounds: usize| zones.iter().map(|nodes: &Vec<u16>| nodes.len().min(rounds)).sum::<usize>();
        let rounds = (0..=homes).rev().find(|rounds| in_rounds(*rounds) <= homes).unwrap_or(0);
        let extra = homes - in_rounds(rounds);
        let weight = members.iter().map(|member| member.weight).collect();
        let seed = members.iter().map(|member| mix(member.id.0 as u64 ^ mix((member.id.0 >> 64) as u64))).collect();
        Self { tokens: partitions.get() as usize, homes, zone, zoned, weight, seed, zones, rounds, extra }
    }

    /// How many nodes.
    pub fn nodes(&self) -> usize {
        self.zone.len()
    }

    /// The zone of a node.
    pub fn zone_of(&self, node: u16) -> usize {
        usize::from(self.zone[usize::from(node)])
    }

    /// The most homes of one partition that a zone has, on the average over all partitions, if all zones had as many as
    /// they can: 1 where there are zones enough, else N over the zones, but no more than the zone has nodes.
    pub fn places(&self, zone: usize) -> f64 {
        let nodes = self.zones[zone].len();
        if self.rounds == 0 || nodes <= self.rounds {
            return nodes.min(self.rounds.max(1)) as f64;
        }
        let larger = self.zones.iter().filter(|nodes| nodes.len() > self.rounds).count();
        self.rounds as f64 + self.extra as f64 / larger as f64
    }

    /// How many tokens in a row of a zone's own tokens belong to different nodes, that no walk meets one twice.
    pub fn apart(&self, zone: usize) -> usize {
        (self.places(zone) - 1e-9).ceil() as usize
    }

    /// Whether the walk from the first of these tokens skips one of them: they are as many as there are homes. Vacant
    /// tokens stand for whatever fits.
    pub fn skips(&self, window: &[u16]) -> bool {
        let mut extra = self.extra;
        window.iter().enumerate().any(|(met, owner)| {
            if *owner == VACANT {
                return false;
            }
            let zone = self.zone[usize::from(*owner)];
            let mut round = 0;
            for other in window[..met].iter().filter(|other| **other != VACANT) {
                if other == owner {
                    return true;
                }
                round += usize::from(self.zone[usize::from(*other)] == zone);
            }
            if round == self.rounds && extra > 0 {
                extra -= 1;
                return false;
            }
            round >= self.rounds
        })
    }
}

/// Scatters bits (the last steps of MurmurHash3): the same on every machine, and not for secrets.
pub fn mix(bits: u64) -> u64 {
    let mut bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
