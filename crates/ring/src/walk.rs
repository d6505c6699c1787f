//! The walk (§4.3): from a partition's token clockwise, distinct nodes, skipping zones already used while others remain.
//!
//! Its first N nodes are the preference list; those behind stand in for homes that are down (§4.6), again spread over
//! zones.

use std::collections::{BTreeMap, BTreeSet};

use crate::ring::Member;

/// How many fallbacks of each partition are kept ready behind its N homes (§4.6): when more nodes of one walk are down at
/// once, the rest is left to the homes that are up.
pub const FALLBACKS: usize = 8;

/// By member: the number of its zone, counted in the order of their names.
pub fn zones(members: &[Member]) -> Vec<u16> {
    let mut numbers: BTreeMap<&str, u16> = members.iter().map(|member| (member.zone.as_str(), 0)).collect();
    for (number, zone) in (0..).zip(numbers.values_mut()) {
        *zone = number;
    }
    members.iter().map(|member| numbers[member.zone.as_str()]).collect()
}

/// The walks of all partitions one after the other, `length` nodes each, as indices of `members`. At least so many nodes
/// own a token.
///
/// The time is that of as many steps as there are partitions, each over the nodes and not over the tokens: walks are
/// worked out counter-clockwise, because the order in which a walk meets the nodes is that of the next partition's with
/// the own token's owner moved to the front.
pub fn walks(owners: &[u16], members: &[Member], length: usize) -> Vec<u16> {
    let mut met = in_order_of_first_token(owners);
    let zones = Zones::of(&met, members, length);
    let mut walks = vec![0; owners.len() * length];
    for (owner, walk) in owners.iter().zip(walks.chunks_exact_mut(length)).rev() {
        let at = met.iter().position(|node| node == owner).expect("every owner is met");
        met[..=at].rotate_right(1);
        zones.spread(&met, walk);
    }
    walks
}

fn in_order_of_first_token(owners: &[u16]) -> Vec<u16> {
    let mut seen = BTreeSet::new();
    owners.iter().copied().filter(|owner| seen.insert(*owner)).collect()
}

struct Zones {
    /// By index of a member: a number for its zone.
    of: Vec<usize>,
    /// By round: how many zones have a node left for it.
    in_round: Vec<usize>,
}

impl Zones {
    fn of(owning: &[u16], members: &[Member], rounds: usize) -> Self {
        let of: Vec<usize> = zones(members).into_iter().map(usize::from).collect();
        let mut nodes = vec![0; of.iter().max().map_or(0, |last| last + 1)];
        owning.iter().for_each(|node| nodes[of[usize::from(*node)]] += 1);
        let in_round = (0..rounds).map(|round| nodes.iter().filter(|nodes| **nodes > round).count()).collect();
        Self { of, in_round }
    }

    /// Fills the walk from the nodes in the order in which it meets them. A round takes one node of each zone that has
    /// any left; only then do zones come again.
    fn spread(&self, met: &[u16], walk: &mut [u16]) {
        let zone = |node: u16| self.of[usize::from(node)];
        let mut filled = 0;
        for in_round in &self.in_round {
            let (begin, end) = (filled, walk.len().min(filled + in_round));
            for node in met {
                if filled == end {
                    break;
                }
                let taken = walk[..begin].contains(node);
                let zone_used = walk[begin..filled].iter().any(|other| zone(*other) == zone(*node));
                if !taken && !zone_used {
                    walk[filled] = *node;
                    filled += 1;
                }
            }
        }
    }
}
