//! What every plan keeps to, over random clusters and chains of changes: lists, balance, movement, skipped walks.
//!
//! Where the bars hold to the letter and where arithmetic is against them depends on how much of its possible places the
//! largest zone has ([`crowding`]): the planner's own text says why.

mod planner_clusters;

use dynamo_ring::{Ring, planner};
use planner_clusters::*;
use proptest::prelude::*;

/// Below this every token finds a place where it fits.
const ROOMY: f64 = 1.0 / 3.0;
/// From here on a zone has all the places that it can have.
const BRIM: f64 = 0.95;

/// One change of a chain.
fn check(before: &Ring, plan: &planner::Plan) -> Result<(), TestCaseError> {
    let (after, n) = (plan.ring(), usize::from(before.n()));
    prop_assert!(keeps_its_promises(&after));
    prop_assert_eq!(after.epoch(), before.epoch() + 1);
    prop_assert_eq!(gained(before, &after), plan.replicas_moved);
    prop_assert_eq!((skipping(before), skipping(&after)), (plan.skips_before, plan.skips_after));
    let crowding = crowding(before).max(crowding(&after));
    let most = if crowding < BRIM { n } else { 6 * n };
    prop_assert!(off(&after) <= most as f64 + 1e-6, "off by {} with crowding {crowding}", off(&after));
    let same_zones = zones(before.members()).keys().eq(zones(after.members()).keys());
    let many = before.members().len().min(after.members().len()) > n;
    if same_zones && many && crowding < ROOMY {
        let (least, moved) = (plan.replicas_least, plan.replicas_moved);
        // A token is worth N replicas, and it moves or it does not. Hardly ever more than two tokens over a tenth; seen once in some
        // thousands of chains: 68 replicas where 56 are the least, with N = 2.
        prop_assert!(moved * 10 <= least * 11 + 4 * n * 10, "moved {moved}, at least {least}");
        // Hardly ever more than 4 N; seen once in some thousands of chains: 18 of 2,048 walks with N = 4 and 156 nodes, and 14 with
        // N = 2 and some 70.
        let bound = plan.skips_before.max(skips_forced(&after)) + (6 * n).max(before.partitions().get() as usize / 64);
        prop_assert!(plan.skips_after <= bound, "{} -> {} skips", plan.skips_before, plan.skips_after);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// From 1 to 200 nodes, up to Q = 8192: two seams at most over what is forced.
    #[test]
    fn a_first_ring_is_fair_and_skips_where_it_must((kind, members) in clusters(kinds(200, 2..=5))) {
        let ring = ring(kind.n, kind.count(), &members);
        prop_assert!(keeps_its_promises(&ring));
        prop_assert!(off(&ring) <= f64::from(kind.n) + 1e-6, "off by {}", off(&ring));
        let bound = skips_forced(&ring) + 2 * usize::from(kind.n - 1);
        prop_assert!(skipping(&ring) <= bound, "{} walks skip, forced are {}", skipping(&ring), skips_forced(&ring));
    }

    /// Fewer than four tokens a node are too few to be fair with; lists keep their promises all the same.
    #[test]
    fn a_token_or_two_a_node_still_make_a_ring((kind, members) in clusters(kinds(200, 0..=1))) {
        prop_assert!(keeps_its_promises(&ring(kind.n, kind.count(), &members)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn thirty_changes_one_after_the_other_stay_within_the_bars(
        (kind, members) in clusters(kinds(60, 2..=4)),
        events in events(30),
    ) {
        let (mut ring, mut members, mut next) = (ring(kind.n, kind.count(), &members), members, kind.nodes);
        for event in events {
            event.apply(kind, &mut members, &mut next);
            let plan = planner::plan(&ring, &members).expect("members that make a ring");
            check(&ring, &plan)?;
            ring = plan.ring();
        }
    }

    /// Equal nodes in N zones, or in so many that there is room: skipped walks do not add up.
    #[test]
    fn nodes_that_come_and_go_in_equal_zones_leave_hardly_a_walk_skipping(
        n in 1..=5_u8,
        more in any::<bool>(),
        each in 2..=12_usize,
        turns in proptest::collection::vec((any::<bool>(), 0..1000_usize), 30),
    ) {
        let zones = if more { (3 * usize::from(n) + 1).min(16) } else { n.into() };
        let mut members: Vec<_> = (0..zones * each).map(|index| member(index, index % zones, 1)).collect();
        let mut ring = ring(n, 2048, &members);
        let mut next = members.len();
        for (joins, whom) in turns {
            if joins || members.len() <= zones + 1 {
                members.push(member(next, next % zones, 1));
                next += 1;
            } else {
                let last_of_its_zone = |at: usize| members.iter().filter(|other| other.zone == members[at].zone).count() < 2;
                let leaves = (0..members.len()).map(|step| (whom + step) % members.len()).find(|at| !last_of_its_zone(*at));
                members.remove(leaves.expect("more nodes than zones"));
            }
            let plan = planner::plan(&ring, &members).expect("members that make a ring");
            check(&ring, &plan)?;
            ring = plan.ring();
            let seam = if zones == usize::from(n) && 2048 % zones != 0 { zones - 1 } else { 0 };
            prop_assert!(plan.skips_after <= seam + 2048 / 64, "{} walks skip", plan.skips_after);
        }
    }

    #[test]
    fn the_order_in_which_members_are_named_does_not_matter(
        (kind, members) in clusters(kinds(60, 2..=4)),
        events in events(4),
        turn in 0..1000_usize,
    ) {
        let ring = ring(kind.n, kind.count(), &members);
        let (mut wanted, mut next) = (members, kind.nodes);
        events.into_iter().for_each(|event| event.apply(kind, &mut wanted, &mut next));
        let plan = planner::plan(&ring, &wanted).expect("members that make a ring");
        let middle = turn % wanted.len();
        wanted.rotate_left(middle);
        wanted[middle..].reverse();
        let other = planner::plan(&ring, &wanted).expect("members that make a ring");
        prop_assert_eq!(other.ring(), plan.ring());
        prop_assert_eq!(other.moved, plan.moved);
    }

    #[test]
    fn a_ring_that_is_as_wanted_stays_as_it_is((kind, members) in clusters(kinds(100, 2..=4))) {
        let ring = ring(kind.n, kind.count(), &members);
        let plan = planner::plan(&ring, &members).expect("members that make a ring");
        prop_assert!(plan.replicas_moved * 10 <= plan.replicas_least * 11, "moved {}", plan.replicas_moved);
    }
}

/// The largest clusters, once.
#[test]
fn two_hundred_nodes_on_8192_partitions() {
    for (n, zones) in [(3, 3), (3, 7), (5, 7)] {
        let mut members: Vec<_> =
            (0..200).map(|index| member(index, index % zones, 1 + index as u32 * 7 % 8)).collect();
        let before = ring(n, 8192, &members);
        members.remove(17);
        members.push(member(200, 1, 3));
        let plan = planner::plan(&before, &members).expect("members that make a ring");
        let after = plan.ring();
        assert!(keeps_its_promises(&after));
        assert!(off(&after) <= f64::from(n));
        let roomy = crowding(&before).max(crowding(&after)) < 0.5;
        assert!(!roomy || plan.replicas_moved * 10 <= plan.replicas_least * 11 + 10 * usize::from(n));
        assert!(plan.skips_after <= plan.skips_before.max(skips_forced(&after)));
    }
}
