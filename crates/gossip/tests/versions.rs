//! The newest that a node said of itself wins (§4.8.1), even where the node has forgotten how new that was.

mod world;

use dynamo_gossip::{Effects, Gossip, Message, NodeInfo, PeerState, Target, Version};
use proptest::prelude::*;
use world::{Chance, Health, SETTINGS, World, address, id, info};

/// What node `node` said at some version: all of it follows from the version.
fn said(node: usize, version: Version) -> (NodeInfo, Version) {
    let mut info = info(node);
    (info.load.keys, info.load.bytes) = (version.generation, version.number);
    (info, version)
}

fn version_in(gossip: &Gossip, node: usize) -> Version {
    let load = gossip.info(id(node)).map(|info| info.load).unwrap_or_default();
    Version { generation: load.keys, number: load.bytes }
}

fn any_version() -> impl Strategy<Value = Version> {
    (1..4u64, 1..5u64).prop_map(|(generation, number)| Version { generation, number })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_older_version_never_overwrites_a_newer_one_in_whatever_order_they_come(
        deltas in prop::collection::vec(prop::collection::vec((1..4usize, any_version()), 1..4), 1..10),
        doubled in any::<u64>(),
    ) {
        let mut chance = Chance(doubled);
        let mut gossip = Gossip::new(info(0), 1, Vec::new(), Vec::new(), SETTINGS);
        let mut newest = [Version::default(); 4];
        for delta in &deltas {
            for _ in 0..1 + chance.below(2) {
                let nodes = delta.iter().map(|(node, version)| said(*node, *version)).collect();
                gossip.on_message(id(9), Message::Delta { nodes, digest: None }, 1, &mut Effects::new());
            }
            for (node, version) in delta {
                newest[*node] = newest[*node].max(*version);
            }
            for (node, version) in newest.iter().enumerate().skip(1) {
                prop_assert_eq!(version_in(&gossip, node), *version);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_change_reaches_all_while_messages_are_lost_late_and_doubled(
        seed in any::<u64>(), loss in 0..=30u64, changer in 0..8usize,
    ) {
        let mut world = World::of_members(8, seed);
        (world.loss, world.doubled, world.delay) = (loss, 20, world::ROUND);
        world.run(3);
        for keys in 1..=5 {
            world.at(changer, |gossip, _, _| gossip.set_self(|info| info.load.keys = keys));
            world.run(1);
        }
        world.rounds_until(40, "all know the last change", World::all_know_all);
    }

    #[test]
    fn a_node_that_restarts_at_a_new_address_is_found_there_even_with_a_lower_generation(
        seed in any::<u64>(), loss in 0..=20u64, generation in 1..=5u64, same_disk in any::<bool>(),
    ) {
        let mut world = World::of_members(5, seed);
        world.loss = loss;
        world.restart(4, restarted(4, &address(4), 3, 1_000));
        world.run(10);
        for keys in 1..=5 {
            world.at(4, |gossip, _, _| gossip.set_self(|info| info.load.keys = keys));
            world.run(2);
        }
        world.stop(4, Health::Crashed);
        world.run(5);
        let incarnation = if same_disk { 1_000 } else { 50_000 };
        world.restart(4, restarted(4, "elsewhere:7000", generation, incarnation));
        world.rounds_until(40, "all know the new address", World::all_know_all);
        world.loss = 0;
        world.rounds_until(10, "it is up", |world| (0..4).all(|node| world.state(node, 4) == PeerState::Up));
    }

    #[test]
    fn a_node_that_moves_while_it_runs_is_found_where_it_is(seed in any::<u64>(), loss in 0..=20u64) {
        let mut world = World::of_members(5, seed);
        world.run(60);
        world.loss = loss;
        world.move_to(4, "elsewhere:7000");
        world.rounds_until(20, "all know the new address", World::all_know_all);
    }

    #[test]
    fn a_cluster_of_which_all_but_a_seed_move_at_once_finds_itself_again(seed in any::<u64>()) {
        let mut world = World::of_members(5, seed);
        world.run(20);
        (0..5).for_each(|node| world.stop(node, Health::Gone));
        world.run(2);
        world.restart(0, restarted(0, &address(0), 2, 1_000));
        (1..5).for_each(|node| world.restart(node, restarted(node, &format!("moved-{node}:7000"), 2, 1_000)));
        world.rounds_until(40, "all know all", World::all_know_all);
    }
}

/// A machine that has the others from the configuration, at the addresses where they were first.
fn restarted(node: usize, at: &str, generation: u64, incarnation: u64) -> Gossip {
    let me = NodeInfo { peer_addr: at.into(), incarnation, ..info(node) };
    let known = (0..5).filter(|other| *other != node).map(world::configured).collect();
    Gossip::new(me, generation, vec![address(0)], known, SETTINGS)
}

#[test]
fn two_lives_of_a_node_never_give_one_version_to_two_things() {
    let mut first = restarted(1, "first:1", 1, 1_000);
    let mut second = restarted(1, "second:1", 1, 2_000);
    for keys in 1..500 {
        first.set_self(|info| info.load.keys = keys);
    }
    assert!(version_of(&mut first) < version_of(&mut second), "the later life is the newer without a word from others");
    let remembered = Version { generation: 4, number: 1_700 };
    second.on_message(id(0), told(said(1, remembered)), 1, &mut Effects::new());
    assert!(version_of(&mut second) > remembered);
    first.on_message(id(0), told(said(1, remembered)), 1, &mut Effects::new());
    assert_ne!(version_of(&mut first), version_of(&mut second));
}

#[test]
fn a_node_of_which_others_remember_something_else_as_new_says_it_anew() {
    let mut gossip = restarted(1, "here:1", 1, 1_000);
    let version = version_of(&mut gossip);
    let echo = (gossip.info(id(1)).unwrap().clone(), version);
    gossip.on_message(id(0), told(echo.clone()), 1, &mut Effects::new());
    assert_eq!(version_of(&mut gossip), version, "its own words are no reason");
    let other = (NodeInfo { peer_addr: "there:1".into(), ..echo.0 }, version);
    gossip.on_message(id(0), told(other), 1, &mut Effects::new());
    assert!(version_of(&mut gossip) > version);
    assert_eq!(gossip.info(id(1)).unwrap().peer_addr, "here:1");
}

#[test]
fn a_node_that_says_something_older_of_itself_is_told_so_where_it_is_now() {
    let mut gossip = Gossip::new(info(0), 1, Vec::new(), Vec::new(), SETTINGS);
    let mut effects = Effects::new();
    let newer = said(1, Version { generation: 5, number: 3 });
    gossip.on_message(id(2), told(newer.clone()), 1, &mut effects);
    effects.clear();
    let (mut older, version) = said(1, Version { generation: 1, number: 9 });
    older.peer_addr = "moved:1".into();
    gossip.on_message(id(2), told((older.clone(), version)), 1, &mut effects);
    assert!(effects.is_empty(), "another's old news is nobody's loss");
    gossip.on_message(id(1), told((older, version)), 1, &mut effects);
    let message = Message::Delta { nodes: vec![newer], digest: None };
    assert_eq!(effects, [dynamo_gossip::Effect::Send { to: Target::Address("moved:1".into()), message }]);
}

#[test]
fn setting_what_is_so_already_is_no_news_and_the_id_stays() {
    let mut gossip = restarted(1, "here:1", 1, 1_000);
    let version = version_of(&mut gossip);
    gossip.set_self(|info| info.peer_addr = "here:1".into());
    gossip.set_self(|info| info.id = id(7));
    assert_eq!(version_of(&mut gossip), version);
    assert_eq!(gossip.info(id(1)).unwrap().id, id(1));
}

fn told(news: (NodeInfo, Version)) -> Message {
    Message::Delta { nodes: vec![news], digest: None }
}

/// What version a node gives to what it says of itself.
fn version_of(gossip: &mut Gossip) -> Version {
    let mut effects = Effects::new();
    gossip.on_message(id(0), Message::Digest(dynamo_gossip::Digest::default()), 1, &mut effects);
    let answers = effects.into_iter().filter_map(world::message_of);
    let mut news = answers.filter_map(|message| match message {
        Message::Delta { nodes, .. } => nodes.into_iter().find(|(info, _)| info.id == id(1)),
        _ => None,
    });
    news.next().expect("it tells of itself").1
}
