//! Equal nodes in equal zones bear equal load: replicas are counted over all preference lists, and a walk takes each
//! token as it comes, but for a seam of a few where the numbers do not come out even (§6.2).

mod members;

use dynamo_ring::{NodeId, Partition, Ring};
use members::even;
use std::collections::BTreeMap;

fn replicas(ring: &Ring) -> BTreeMap<NodeId, usize> {
    let mut counts: BTreeMap<_, _> = ring.members().iter().map(|member| (member.id, 0)).collect();
    for partition in ring.partitions().iter() {
        for id in ring.preference_list(partition) {
            *counts.get_mut(&id).expect("a member") += 1;
        }
    }
    counts
}

/// Partitions whose homes are not the owners of the next tokens, one each.
fn skipping(ring: &Ring) -> usize {
    let count = ring.partitions().get() as usize;
    let next = |start: usize, step: usize| ring.owner(Partition(((start + step) % count) as u16)).id;
    (0..count)
        .filter(|start| {
            let homes = ring.preference_list(Partition(*start as u16));
            (0..homes.len()).any(|step| homes[step] != next(*start, step))
        })
        .count()
}

#[test]
fn equal_nodes_in_three_equal_zones_hold_nearly_equal_shares() {
    for (each, count) in [(1, 64), (2, 256), (3, 256), (5, 1024)] {
        let ring = even(3, count, 3, each).ring();
        let fair = count as usize / each;
        for (id, held) in replicas(&ring) {
            assert!(held.abs_diff(fair) <= 3, "{each} nodes a zone, Q = {count}: {id} holds {held}, fair is {fair}");
        }
    }
}

#[test]
fn walks_take_each_token_as_it_comes_but_for_the_seam() {
    // 256 is no multiple of three: where the ring closes, neighbours can't all be in different zones.
    for each in 1..6 {
        assert!(skipping(&even(3, 256, 3, each).ring()) <= 4, "{each} nodes a zone");
    }
    // Four zones for three places leave no seam, whatever the number of tokens.
    assert_eq!(skipping(&even(3, 256, 4, 2).ring()), 0);
}
