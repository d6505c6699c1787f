//! A plan in steps: each bounded, each a ring that keeps its promises, no replica moved twice, all together the plan.

mod planner_clusters;

use std::collections::BTreeSet;

use dynamo_ring::{NodeId, Partition, Ring, planner};
use planner_clusters::*;
use proptest::prelude::*;

/// Pairs of a partition and a node that has it after and not before.
fn comes(before: &Ring, after: &Ring) -> BTreeSet<(Partition, NodeId)> {
    let list = |partition: Partition| after.preference_list(partition).into_iter().map(move |id| (partition, id));
    after.partitions().iter().flat_map(list).filter(|(partition, id)| !before.is_home(*partition, *id)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn steps_keep_lists_whole_and_move_no_replica_twice(
        (kind, members) in clusters(kinds(40, 2..=3)),
        events in events(1..=3),
        tokens_max in 1..=40_usize,
    ) {
        let ring = ring(kind.n, kind.count(), &members);
        let (mut wanted, mut next) = (members, kind.nodes);
        events.into_iter().for_each(|event| event.apply(kind, &mut wanted, &mut next));
        let plan = planner::plan(&ring, &wanted).expect("members that make a ring");
        let steps = planner::steps(&plan, tokens_max);
        let same_zones = zones(ring.members()).keys().eq(zones(&wanted).keys());
        let (mut before, mut moved, mut replicas) = (ring.clone(), BTreeSet::new(), 0);
        for done in 1..=steps.len() {
            let after = plan.ring_after(&steps[..done]);
            let step = &steps[done - 1];
            prop_assert_eq!(after.epoch(), before.epoch() + 1);
            prop_assert!(keeps_its_promises(&after));
            // Where zones or lists change, arithmetic may forbid to stop sooner.
            let many = before.members().len().min(wanted.len()) > usize::from(kind.n);
            let zones_many = zones(&wanted).len() >= usize::from(kind.n);
            if same_zones && many && zones_many && plan.skips_before + plan.skips_after == 0 {
                prop_assert!(step.moved.len() <= tokens_max + 2 * usize::from(kind.n), "{} tokens", step.moved.len());
            }
            let gains = comes(&before, &after);
            prop_assert_eq!(gains.len(), step.replicas_moved);
            for gain in gains {
                prop_assert!(!ring.is_home(gain.0, gain.1), "a replica left and came back");
                prop_assert!(moved.insert(gain), "a replica moved twice");
            }
            replicas += step.replicas_moved;
            before = after;
        }
        prop_assert_eq!(replicas, plan.replicas_moved);
        prop_assert_eq!(moved, comes(&ring, &plan.ring()));
        prop_assert_eq!(before.owners(), &plan.owners[..]);
        prop_assert_eq!(before.members(), &plan.members[..]);
    }
}
