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

/// A node has its tokens' worth of replicas, which is less than N off; what walks skip at the seam adds less than N.
#[test]
fn equal_nodes_are_off_by_the_rounding_of_their_tokens_and_the_seam() {
    for n in [1, 2, 3, 5] {
        for (zones, each) in [(1, 3), (1, 7), (2, 2), (2, 5), (3, 1), (3, 3), (4, 3), (5, 2), (5, 8), (6, 2), (7, 4)] {
            for count in [64, 512] {
                let ring = even(n, count, zones, each).ring();
                let (nodes, homes, skipping) = (zones * each, ring.homes(), skipping(&ring));
                let seam = homes - 1;
                let which = format!("N = {n}, {each} nodes in each of {zones} zones, Q = {count}");
                assert!(skipping <= 2 * seam, "{which}: {skipping} walks skip tokens");
                let most = if skipping == 0 { homes } else { homes + seam };
                for (id, held) in replicas(&ring) {
                    // In units of 1 / nodes, so as to stay exact.
                    let off = (held * nodes).abs_diff(count as usize * homes);
                    assert!(off < most * nodes, "{which}: {id} holds {held}");
                }
            }
        }
    }
}

/// With fewer zones than replicas the second node of a zone comes in turn, too: that no one holds twice its share.
#[test]
fn fewer_zones_than_replicas_load_nobody_more() {
    let ring = even(3, 1024, 2, 2).ring();
    assert_eq!(skipping(&ring), 0);
    assert!(replicas(&ring).values().all(|held| *held == 768));
}
