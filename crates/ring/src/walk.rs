//! The walk (§4.3): from a partition's token clockwise, distinct nodes, skipping zones already used while others remain.
//!
//! Its first N nodes are the preference list; those behind stand in for homes that are down (§4.6), again spread over
//! zones.

use crate::{position::Partition, ring::Member};

/// How many fallbacks of each partition are kept ready: more nodes than that down at once in one walk leave it to the homes.
pub const FALLBACKS: usize = 8;

/// The first `length` nodes of the walk from `start`, as indices of `members`.
pub fn walk(owners: &[u16], members: &[Member], start: Partition, length: usize, out: &mut Vec<u16>) {
    let from = out.len();
    let tokens = owners.len();
    while out.len() - from < length.min(members.len()) {
        // One round takes at most one node of each zone; the next begins when no unused zone has a node left.
        let round = out.len();
        for step in 0..tokens {
            let owner = owners[(usize::from(start.0) + step) % tokens];
            let zone = |index: u16| members[usize::from(index)].zone.as_str();
            let taken = out[from..].contains(&owner);
            let zone_used = out[round..].iter().any(|other| zone(*other) == zone(owner));
            if !taken && !zone_used {
                out.push(owner);
                if out.len() - from == length {
                    return;
                }
            }
        }
        if out.len() == round {
            // Members without a token are in no walk.
            return;
        }
    }
}
