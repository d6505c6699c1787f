//! The first ring of any cluster: every node has a token, every preference list its nodes and zones, and all nodes work
//! out the same ring (§4.2, 4.3, 6.2).

mod members;

use std::collections::BTreeSet;

use dynamo_ring::{FALLBACKS, Partition, PartitionCount, Ring, RingError};
use members::{clusters, even, member, partitions, reference_walk};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn preference_lists_have_all_the_nodes_and_zones_they_can(cluster in clusters()) {
        let ring = cluster.ring();
        prop_assert_eq!(ring.check(), Ok(()));
        prop_assert_eq!((ring.epoch(), ring.n(), ring.partitions()), (1, cluster.n, cluster.partitions));
        let homes = cluster.members.len().min(cluster.n.into());
        prop_assert_eq!(ring.homes(), homes);
        for partition in ring.partitions().iter() {
            let list = ring.preference_list(partition);
            let nodes: BTreeSet<_> = list.iter().collect();
            let zones: BTreeSet<_> = list.iter().map(|id| &ring.member(*id).expect("a member").zone).collect();
            prop_assert_eq!((list.len(), nodes.len()), (homes, homes));
            prop_assert_eq!(zones.len(), cluster.zones().min(cluster.n.into()));
            for member in ring.members() {
                prop_assert_eq!(ring.is_home(partition, member.id), list.contains(&member.id));
            }
        }
    }

    #[test]
    fn every_node_owns_a_token(cluster in clusters()) {
        let ring = cluster.ring();
        let owners: BTreeSet<_> = ring.owners().iter().collect();
        prop_assert_eq!(owners.len(), cluster.members.len());
    }

    #[test]
    fn walks_are_those_of_the_paper(cluster in clusters()) {
        let ring = cluster.ring();
        let step = (ring.partitions().get() / 64).max(1) as usize;
        for partition in ring.partitions().iter().step_by(step) {
            let expected = reference_walk(&ring, partition);
            prop_assert_eq!(expected.len(), cluster.members.len(), "all nodes are in every walk");
            let walk: Vec<_> = ring.walk(partition).map(|member| member.id).collect();
            let length = expected.len().min(usize::from(cluster.n) + FALLBACKS);
            prop_assert_eq!(&walk[..], &expected[..length]);
            prop_assert_eq!(&ring.preference_list(partition)[..], &expected[..ring.homes()]);
            prop_assert_eq!(walk[0], ring.owner(partition).id);
        }
    }

    #[test]
    fn the_order_of_members_does_not_matter(cluster in clusters(), shuffled in any::<u64>()) {
        let mut other = cluster.clone();
        let length = other.members.len();
        other.members.rotate_left(shuffled as usize % length);
        let middle = shuffled as usize / 64 % length;
        other.members[middle..].reverse();
        prop_assert_eq!(other.ring(), cluster.ring());
    }
}

/// Weights far apart leave the light ones in the heavy one's zone without a turn, unless they are seen to.
#[test]
fn a_node_that_weighs_next_to_nothing_owns_a_token() {
    for (count, weights) in [(4, vec![5, 1, 1]), (8, vec![1_000_000, 1, 1, 1, 1]), (8, vec![3, 1, 1, 1, 1, 1, 1, 1])] {
        let nodes = weights.iter().enumerate().map(|(index, weight)| member(index, 0, *weight)).collect();
        let ring = Ring::bootstrap(3, partitions(count), nodes).expect("a ring");
        let owners: BTreeSet<_> = ring.owners().iter().collect();
        assert_eq!(owners.len(), weights.len(), "{weights:?} on {count} partitions");
    }
}

/// The walks of all partitions take time in proportion to their number. (They once took the square of it: minutes.)
#[test]
fn a_ring_of_the_most_partitions_is_made_in_seconds() {
    let mut nodes = even(3, 1, 3, 4).members;
    nodes.push(member(12, 3, 1));
    let ring = Ring::bootstrap(3, partitions(PartitionCount::MAX), nodes).expect("a ring");
    for partition in (0..=u16::MAX).step_by(4_001).chain([u16::MAX]).map(Partition) {
        let walk: Vec<_> = ring.walk(partition).map(|member| member.id).collect();
        assert_eq!(walk, reference_walk(&ring, partition)[..3 + FALLBACKS]);
    }
}

#[test]
fn members_that_make_no_ring_are_refused_by_name() {
    let refusal = |n, nodes| Ring::bootstrap(n, partitions(8), nodes).expect_err("no ring");
    assert_eq!(refusal(3, vec![]), RingError::NoMembers);
    assert_eq!(refusal(0, vec![member(0, 0, 1)]), RingError::Replicas(0));
    assert_eq!(refusal(17, vec![member(0, 0, 1)]), RingError::Replicas(17));
    assert_eq!(refusal(3, vec![member(0, 0, 0)]), RingError::BadWeight { name: "node-0".into(), weight: 0 });
    let crowd = (0..9).map(|index| member(index, 0, 1)).collect();
    assert_eq!(refusal(3, crowd), RingError::TooManyMembers { members: 9, partitions: 8 });
    let most = (0..=u16::MAX).map(|index| member(index.into(), 0, 1)).collect();
    let error = Ring::bootstrap(3, partitions(PartitionCount::MAX), most).expect_err("an index too many");
    assert_eq!(error.to_string(), "65536 members: a ring has at most 65535");
    assert_eq!(refusal(3, vec![member(1, 0, 1), member(1, 1, 1)]), RingError::DuplicateName("node-1".into()));
    let mut twin = member(2, 0, 1);
    twin.id = member(1, 0, 1).id;
    assert_eq!(refusal(3, vec![member(1, 0, 1), twin.clone()]), RingError::DuplicateId(twin.id));
    let mut nameless = member(1, 0, 1);
    nameless.name.clear();
    assert_eq!(refusal(3, vec![nameless]), RingError::BadName(String::new()));
}

#[test]
fn one_node_alone_has_everything() {
    let ring = even(3, 8, 1, 1).ring();
    for partition in (0..8).map(Partition) {
        assert_eq!(ring.preference_list(partition)[..], [ring.members()[0].id]);
    }
}

/// Where a zone has nearly every N-th token, what rounding took from one zone's part of the ring went to two others: zones
/// were dealt more tokens than their nodes were to have.
#[test]
fn a_crowded_ring_deals_as_many_tokens_as_it_has() {
    // Zone and weight of each.
    let nodes = "05330843060842180106060417624608333806225234443624250703131412041201221106";
    let digit = |at: usize| u32::from(nodes.as_bytes()[at] - b'0');
    let members = (0..nodes.len() / 2).map(|at| member(at, digit(2 * at) as usize, digit(2 * at + 1)));
    let ring = Ring::bootstrap(2, partitions(4096), members.collect()).expect("a ring");
    assert_eq!(ring.check(), Ok(()));
}
