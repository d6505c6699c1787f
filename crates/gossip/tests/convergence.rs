//! What one node says of itself comes to all, whatever the network does (§4.8.1, 4.8.2).

mod world;

use proptest::prelude::*;
use world::World;

/// With no loss a rumour in a cluster of n needs about log2 n + ln n rounds; with 30 % lost each way half of the exchanges
/// fail, so twice as many. The rest is slack for the unlucky seed.
fn bound(nodes: usize) -> u64 {
    10 + 6 * u64::from((nodes as u64).ilog2() + 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fifty_nodes_that_know_only_seeds_come_to_know_each_other(seed in any::<u64>(), loss in 0..=30u64) {
        let mut world = World::of_strangers(50, &[0, 1, 2], seed);
        world.loss = loss;
        world.rounds_until(bound(50), "all know all", World::all_know_all);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn five_nodes_that_know_only_seeds_come_to_know_each_other(
        seed in any::<u64>(), loss in 0..=30u64, doubled in 0..=30u64, late in any::<bool>(),
    ) {
        let mut world = World::of_strangers(5, &[0, 1], seed);
        (world.loss, world.doubled) = (loss, doubled);
        if late {
            world.delay = 2 * world::ROUND;
        }
        world.rounds_until(bound(5) + if late { 10 } else { 0 }, "all know all", World::all_know_all);
    }
}
