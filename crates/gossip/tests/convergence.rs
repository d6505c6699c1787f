//! What one node says of itself comes to all, whatever the network does (§4.8.1, 4.8.2).

mod world;

use dynamo_gossip::{Gossip, Message, PeerState, Target};
use proptest::prelude::*;
use world::{Health, SETTINGS, World, address, info};

/// A rumour in a cluster of n needs about log2 n + ln n rounds; with 30 % of messages and receipts lost about half of the
/// exchanges fail, so twice as many: four for each doubling is more than enough. The rest is for finding a seed and for the
/// unlucky: of 3000 clusters the slowest needed 10 rounds with five nodes, of 300 with fifty nodes 14.
fn bound(nodes: usize) -> u64 {
    8 + 4 * u64::from(nodes.next_power_of_two().ilog2())
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn halves_that_came_up_apart_find_each_other_by_the_seeds(seed in any::<u64>(), loss in 0..=30u64) {
        let mut world = World::of_strangers(8, &[0, 4], seed);
        for (left, right) in (0..4).flat_map(|left| (4..8).map(move |right| (left, right))) {
            world.cut_both_ways(left, right);
        }
        world.run(15);
        assert!(!(0..4).any(|node| world.gossip(node).info(world::id(5)).is_some()), "apart");
        world.heal();
        world.loss = loss;
        world.rounds_until(bound(8), "all know all", World::all_know_all);
    }

    #[test]
    fn a_newcomer_that_knows_one_node_is_soon_known_by_all(seed in any::<u64>(), loss in 0..=30u64) {
        let mut world = World::of_members(10, seed);
        world.stop(9, Health::Gone);
        world.run(10);
        world.loss = loss;
        let newcomer = dynamo_gossip::NodeInfo { id: world::id(99), peer_addr: "new:1".into(), ..info(9) };
        world.restart_as(9, world::id(99), Gossip::new(newcomer, 1, vec![address(3)], Vec::new(), SETTINGS));
        world.rounds_until(bound(10), "all know the newcomer, and it knows all", World::all_know_all);
    }
}

/// What is sent in one round, of which kind.
fn quiet_round(world: &mut World) -> (usize, usize) {
    world.sent.clear();
    world.run(1);
    let (mut questions, mut answers) = (0, 0);
    for (from, to, message) in &world.sent {
        match (to, message) {
            (Target::Node(_), Message::Digest(_)) => questions += 1,
            (Target::Node(_), Message::Delta { nodes, digest: Some(_) }) if nodes.is_empty() => answers += 1,
            _ => panic!("{from:?} has nothing new, and yet tells {to:?} {message:?}"),
        }
    }
    (questions, answers)
}

#[test]
fn with_nothing_new_a_round_is_one_question_and_one_empty_answer_for_each_node() {
    for nodes in [2, 5, 30] {
        let mut world = World::of_strangers(nodes, &[0, 1], nodes as u64);
        let settled = |world: &World| {
            let all_up = |node| (0..nodes).all(|other| world.state(node, other) == PeerState::Up);
            world.all_know_all() && (0..nodes).all(all_up)
        };
        world.rounds_until(60, "all know and hear all", settled);
        // Those that have not shown yet that they know a node's address are told once more when they are asked.
        world.run(20 * nodes as u64);
        for _ in 0..10 {
            let (questions, answers) = quiet_round(&mut world);
            assert_eq!(questions, nodes);
            // An answer may be under way at either end of the round.
            assert!(answers.abs_diff(nodes) <= nodes.div_ceil(4), "{answers} answers of {nodes} nodes");
        }
    }
}

#[test]
fn a_dead_node_costs_each_other_one_question_and_its_two_helpers_a_round() {
    let mut world = World::of_strangers(6, &[0, 1], 5);
    world.run(100);
    world.stop(5, Health::Gone);
    let down = |world: &World| (0..5).all(|node| world.state(node, 5) == PeerState::Down);
    world.rounds_until(120, "down", down);
    world.run(2);
    world.sent.clear();
    world.run(10);
    let of = |kind: fn(&Message) -> bool| world.sent.iter().filter(|(.., message)| kind(message)).count();
    assert_eq!(of(|message| matches!(message, Message::Digest(_))), 10 * 5 * 2, "one answering peer, one silent one");
    assert_eq!(of(|message| matches!(message, Message::PingRequest { .. })), 10 * 5 * 2);
    assert!(of(|message| matches!(message, Message::Ping { .. })).abs_diff(10 * 5 * 2) <= 5);
    assert_eq!(
        of(|message| matches!(message, Message::Buckets(_) | Message::PingReply { .. } | Message::Ack { .. })),
        0
    );
}
