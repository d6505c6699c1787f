//! Each node judges by itself who answers it (§4.8.3), and learns of bad links from others.

mod world;

use std::collections::BTreeSet;

use dynamo_gossip::{Effects, Failure, Gossip, Message, PeerState};
use dynamo_ring::NodeId;
use proptest::prelude::*;
use world::{DOWN_AFTER, Health, ROUND, World, configured, id};

/// Rounds until a silent peer of a small cluster is down: one round in four a node happens to ask it, three requests in a
/// row must time out, and then it is a suspect for five rounds. The first to suspect it makes the others ask it too. Of
/// 2000 clusters the slowest needed 26 rounds; the rest is slack.
const DOWN_BOUND: u64 = 60;

fn world_of_peers(nodes: usize, seed: u64) -> World {
    let mut world = World::of_members(nodes, seed);
    let all = move |world: &World| pairs(nodes).all(|(one, other)| world.state(one, other) == PeerState::Up);
    world.rounds_until(40, "all hear all", all);
    world.turns.clear();
    world
}

fn pairs(nodes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..nodes).flat_map(move |one| (0..nodes).filter(move |other| *other != one).map(move |other| (one, other)))
}

fn others_heard_us(world: &World, node: usize, of: usize) -> u64 {
    let mut members = world.gossip(node).members();
    members.find(|(info, _)| info.id == id(of)).expect("it is known").1.others_heard_us()
}

fn turns_of(world: &World, node: usize, of: usize) -> Vec<PeerState> {
    let turns = world.turns.iter().filter(|(who, whom, _)| (*who, *whom) == (id(node), id(of)));
    turns.map(|(.., state)| *state).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_dead_host_becomes_suspect_then_down_for_everybody_and_up_again_when_it_returns(seed in any::<u64>()) {
        let mut world = world_of_peers(5, seed);
        world.stop(4, Health::Gone);
        let down = |world: &World| (0..4).all(|node| world.state(node, 4) == PeerState::Down);
        world.rounds_until(DOWN_BOUND, "down for all", down);
        for node in 0..4 {
            prop_assert_eq!(turns_of(&world, node, 4), [PeerState::Suspect, PeerState::Down]);
            prop_assert_eq!(others_heard_us(&world, node, 4), 0, "nobody heard it, so nobody says so");
        }
        prop_assert_eq!(world.turns.len(), 4 * 2, "nothing else turned: {:?}", &world.turns);
        let configuration = (0..4).map(configured).collect();
        world.restart(4, Gossip::new(world::info(4), 2, Vec::new(), configuration, world::SETTINGS));
        // It is the only silent one, so each node asks it each round.
        world.rounds_until(3, "up for all", |world| (0..4).all(|node| world.state(node, 4) == PeerState::Up));
    }

    #[test]
    fn a_bad_link_is_the_business_of_its_two_ends_and_they_learn_that_others_hear_the_peer(
        seed in any::<u64>(), one_way in any::<bool>(),
    ) {
        let mut world = world_of_peers(5, seed);
        world.cut(0, 1);
        if !one_way {
            world.cut(1, 0);
        }
        let ends = |world: &World| [(0, 1), (1, 0)].map(|(one, other)| world.state(one, other));
        world.rounds_until(DOWN_BOUND, "down at both ends", |world| ends(world) == [PeerState::Down; 2]);
        world.run(3);
        for (one, other) in pairs(5).filter(|pair| ![(0, 1), (1, 0)].contains(pair)) {
            prop_assert!(turns_of(&world, one, other).is_empty(), "{one} of {other}: {:?}", &world.turns);
        }
        for _ in 0..10 {
            world.run(1);
            prop_assert_eq!(ends(&world), [PeerState::Down; 2], "questions that come through are no answers");
            for (one, other) in [(0, 1), (1, 0)] {
                let ago = world.now - others_heard_us(&world, one, other);
                prop_assert!(ago < 2 * ROUND, "{one} was told {ago} us ago that {other} answers others");
            }
        }
        world.heal();
        world.rounds_until(3, "up at both ends", |world| ends(world) == [PeerState::Up; 2]);
    }

    #[test]
    fn each_of_many_suspects_is_asked_about_in_its_turn(seed in any::<u64>()) {
        let mut world = world_of_peers(9, seed);
        for peer in 1..=4 {
            world.cut_both_ways(0, peer);
        }
        let silent = |world: &World| (1..=4).all(|peer| world.state(0, peer) == PeerState::Down);
        world.rounds_until(2 * DOWN_BOUND, "down", silent);
        world.run(6);
        for peer in 1..=4 {
            let ago = world.now - others_heard_us(&world, 0, peer);
            prop_assert!(ago < 6 * ROUND, "with four suspects each has its turn in four rounds: {peer} {ago} us ago");
        }
    }

    #[test]
    fn a_node_that_starts_before_its_own_network_takes_nobody_for_down(seed in any::<u64>(), rounds in 1..5_u64) {
        let mut world = world_of_peers(5, seed);
        world.stop(4, Health::Gone);
        world.run(DOWN_BOUND);
        world.turns.clear();
        world.take_network(4);
        let configuration = (0..4).map(configured).collect();
        world.restart(4, Gossip::new(world::info(4), 2, Vec::new(), configuration, world::SETTINGS));
        world.run(rounds);
        for peer in 0..4 {
            prop_assert_eq!(world.state(4, peer), PeerState::Unknown, "after {} rounds", rounds);
        }
        world.heal();
        world.rounds_until(40, "up for all", |world| pairs(5).all(|(one, other)| world.state(one, other) == PeerState::Up));
        for peer in 0..4 {
            prop_assert_eq!(turns_of(&world, 4, peer), [PeerState::Up]);
        }
    }

    #[test]
    fn a_node_that_really_is_the_last_one_no_longer_suspects_itself_after_the_time_of_a_suspicion(seed in any::<u64>()) {
        let mut world = world_of_peers(5, seed);
        (0..5).for_each(|node| world.stop(node, Health::Crashed));
        // What was on its way has come.
        world.run(1);
        let configuration = (0..4).map(configured).collect();
        world.restart(4, Gossip::new(world::info(4), 2, Vec::new(), configuration, world::SETTINGS));
        world.run(1);
        prop_assert!(world.gossip(4).suspects_itself(world.now));
        world.run(DOWN_AFTER / ROUND);
        prop_assert!(!world.gossip(4).suspects_itself(world.now));
        // It asks one of the four a round, by chance: of 2000 clusters the slowest needed 35 rounds more.
        world.rounds_until(80, "all down", |world| (0..4).all(|peer| world.state(4, peer) == PeerState::Down));
    }

    #[test]
    fn a_lossy_network_brings_nobody_down_for_good(seed in any::<u64>()) {
        let mut world = world_of_peers(5, seed);
        world.loss = 20;
        world.run(60);
        world.loss = 0;
        world.rounds_until(20, "all up", |world| pairs(5).all(|(one, other)| world.state(one, other) == PeerState::Up));
    }
}

/// A machine by itself: node 0 of so many, that knows all others from its configuration.
fn alone(nodes: usize) -> Gossip {
    Gossip::new(world::info(0), 1, Vec::new(), (1..nodes).map(configured).collect(), world::SETTINGS)
}

fn states_after(gossip: &mut Gossip, inputs: impl FnOnce(&mut Gossip, &mut Effects)) -> PeerState {
    inputs(gossip, &mut Effects::new());
    gossip.state(id(1))
}

#[test]
fn a_peer_never_heard_of_stays_unknown_until_three_requests_in_a_row_time_out() {
    let mut gossip = alone(2);
    let mut effects = Effects::new();
    gossip.on_tick(1, 0, &mut effects);
    for now in 2..=3 {
        gossip.failed(id(1), Failure::Timeout, now, &mut effects);
        assert_eq!(gossip.state(id(1)), PeerState::Unknown);
    }
    gossip.failed(id(1), Failure::Timeout, 4, &mut effects);
    assert_eq!(gossip.state(id(1)), PeerState::Suspect);
    gossip.on_tick(3 + world::DOWN_AFTER, 0, &mut effects);
    assert_eq!(gossip.state(id(1)), PeerState::Suspect, "a microsecond early");
    gossip.on_tick(4 + world::DOWN_AFTER, 0, &mut effects);
    assert_eq!(gossip.state(id(1)), PeerState::Down);
    assert_eq!(gossip.state(id(7)), PeerState::Unknown, "a stranger");
}

#[test]
fn an_answer_between_time_outs_begins_the_count_anew() {
    let mut gossip = alone(2);
    let mut effects = Effects::new();
    for now in 1..50 {
        gossip.heard_from(id(1), now, &mut effects);
        gossip.failed(id(1), Failure::Timeout, now, &mut effects);
        gossip.failed(id(1), Failure::Timeout, now, &mut effects);
        assert_eq!(gossip.state(id(1)), PeerState::Up);
    }
}

#[test]
fn a_refused_connection_means_down_at_once_and_a_time_out_does_not_soften_it() {
    let mut gossip = alone(2);
    let refused = |gossip: &mut Gossip, effects: &mut Effects| {
        gossip.heard_from(id(1), 1, effects);
        gossip.failed(id(1), Failure::Refused, 2, effects);
    };
    assert_eq!(states_after(&mut gossip, refused), PeerState::Down);
    let timed_out = |gossip: &mut Gossip, effects: &mut Effects| {
        (0..5).for_each(|_| gossip.failed(id(1), Failure::Timeout, 3, effects));
    };
    assert_eq!(states_after(&mut gossip, timed_out), PeerState::Down);
    assert_eq!(states_after(&mut gossip, |gossip, effects| gossip.heard_from(id(1), 4, effects)), PeerState::Up);
}

#[test]
fn a_refusal_says_nothing_of_a_peer_until_somebody_is_heard_or_time_has_shown_that_nobody_is() {
    const START: u64 = 1_000_000_000;
    let mut effects = Effects::new();
    for heard in [false, true] {
        let mut gossip = alone(3);
        gossip.on_tick(START, 0, &mut effects);
        for ago in [1, 2, 3, 4, world::DOWN_AFTER - 1] {
            gossip.failed(id(1), Failure::Refused, START + ago, &mut effects);
            assert_eq!(gossip.state(id(1)), PeerState::Unknown, "{ago} us after the start");
        }
        let mut now = START + world::DOWN_AFTER;
        if heard {
            // Killed among others that are well: as soon as anybody answers, a refusal is a peer's own.
            now -= 1;
            gossip.heard_from(id(2), now, &mut effects);
        }
        gossip.failed(id(1), Failure::Refused, now, &mut effects);
        assert_eq!(gossip.state(id(1)), PeerState::Down, "heard: {heard}");
        assert_eq!(gossip.state(id(2)), if heard { PeerState::Up } else { PeerState::Unknown });
    }
}

#[test]
fn a_node_suspects_itself_until_another_answers_it_and_for_five_seconds_at_most() {
    let patient = dynamo_gossip::Settings { down_after_us: u64::MAX };
    let others = || vec![configured(1)];
    let mut gossip = Gossip::new(world::info(0), 1, Vec::new(), others(), patient);
    assert!(gossip.suspects_itself(7), "it has not begun to look for others");
    let mut effects = Effects::new();
    gossip.on_tick(7, 0, &mut effects);
    gossip.heard_from(id(0), 8, &mut effects);
    assert!(gossip.suspects_itself(5_000_006), "it has found only itself");
    assert!(!gossip.suspects_itself(5_000_007), "however patient it is with others");
    gossip.failed(id(1), Failure::Refused, 5_000_007, &mut effects);
    assert_eq!(gossip.state(id(1)), PeerState::Down);

    let mut gossip = Gossip::new(world::info(0), 1, vec!["seed:1".into()], others(), patient);
    gossip.on_tick(7, 0, &mut effects);
    gossip.heard_from(id(5), 8, &mut effects);
    assert!(!gossip.suspects_itself(9), "a stranger at a seed's address has answered");
}

#[test]
fn only_an_answer_is_a_proof_of_life() {
    let mut peer = Gossip::new(world::info(1), 1, Vec::new(), vec![configured(0)], world::SETTINGS);
    let mut said = Effects::new();
    peer.heard_from(id(0), 1, &mut said);
    peer.on_tick(1, 0, &mut said);
    peer.spread_now(&mut said);
    let mut unasked: Vec<Message> = said.into_iter().filter_map(world::message_of).collect();
    unasked.extend([Message::Ping { seq: 1 }, Message::PingRequest { target: id(2), seq: 1 }]);
    assert!(unasked.len() >= 5);
    for message in unasked {
        let mut gossip = alone(3);
        let shown = format!("{message:?}");
        gossip.on_message(id(1), message, 1, &mut Effects::new());
        assert_eq!(gossip.state(id(1)), PeerState::Unknown, "{shown}");
    }
    for answer in [Message::Ack { seq: 9 }, Message::PingReply { target: id(2), seq: 9 }, answer_to_digest()] {
        let mut gossip = alone(3);
        gossip.on_message(id(1), answer, 1, &mut Effects::new());
        assert_eq!(gossip.state(id(1)), PeerState::Up);
    }
}

fn answer_to_digest() -> Message {
    Message::Delta { nodes: Vec::new(), digest: Some(dynamo_gossip::Digest::default()) }
}

/// A node that hears peers 2.. and is refused by peer 1: what it asks the others about it in one round.
fn questions(gossip: &mut Gossip, random: u64) -> Vec<(NodeId, NodeId, u64)> {
    let mut effects = Effects::new();
    gossip.on_tick(10, random, &mut effects);
    let question = |(to, message)| match message {
        Message::PingRequest { target, seq } => Some((to, target, seq)),
        _ => None,
    };
    effects.into_iter().filter_map(world::sent_to_node).filter_map(question).collect()
}

fn with_one_down(nodes: usize) -> Gossip {
    let mut gossip = alone(nodes);
    let mut effects = Effects::new();
    for peer in 1..nodes {
        gossip.heard_from(id(peer), 1, &mut effects);
    }
    gossip.failed(id(1), Failure::Refused, 1, &mut effects);
    gossip
}

#[test]
fn two_different_helpers_are_asked_where_there_are_two() {
    for (nodes, helpers) in [(2, 0), (3, 1), (4, 2), (9, 2)] {
        let mut gossip = with_one_down(nodes);
        let mut all = BTreeSet::new();
        for random in 0..200_u64 {
            let asked = questions(&mut gossip, random.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            assert_eq!(asked.len(), helpers, "{nodes} nodes: {asked:?}");
            assert!(asked.iter().all(|(helper, target, _)| *target == id(1) && *helper > id(1)));
            assert!(helpers < 2 || asked[0].0 != asked[1].0, "{asked:?}");
            all.extend(asked.iter().map(|(helper, ..)| *helper));
        }
        assert_eq!(all.len(), nodes - 2, "everybody is asked at some time");
    }
}

#[test]
fn what_others_heard_counts_only_when_it_was_asked_of_late() {
    let others_heard =
        |gossip: &Gossip| gossip.members().find(|(info, _)| info.id == id(1)).unwrap().1.others_heard_us();
    let mut gossip = with_one_down(4);
    let (helper, target, seq) = questions(&mut gossip, 1)[0];
    let reply = |gossip: &mut Gossip, target, seq, now| {
        gossip.on_message(helper, Message::PingReply { target, seq }, now, &mut Effects::new());
    };
    reply(&mut gossip, target, seq + 1, 11);
    reply(&mut gossip, id(3), seq, 12);
    assert_eq!(others_heard(&gossip), 0, "another question, another target");
    questions(&mut gossip, 2);
    reply(&mut gossip, target, seq, 13);
    assert_eq!(others_heard(&gossip), 13, "a round late is not too late");
    questions(&mut gossip, 3);
    reply(&mut gossip, target, seq, 14);
    assert_eq!(others_heard(&gossip), 13, "two rounds late says nothing of now");
}

#[test]
fn an_errand_that_began_just_before_a_tick_is_still_run_after_it() {
    for (ticks, runs) in [(0, true), (1, true), (2, false)] {
        let mut gossip = alone(4);
        let mut effects = Effects::new();
        gossip.on_message(id(1), Message::PingRequest { target: id(2), seq: 77 }, 1, &mut effects);
        let sent: Vec<_> = effects.drain(..).filter_map(world::sent_to_node).collect();
        let [(to, Message::Ping { seq })] = sent[..] else { panic!("{sent:?}") };
        assert_eq!(to, id(2));
        (0..ticks).for_each(|tick| gossip.on_tick(2 + tick, 0, &mut Effects::new()));
        gossip.on_message(id(3), Message::Ack { seq }, 5, &mut effects);
        assert!(effects.drain(..).filter_map(world::sent_to_node).next().is_none(), "that is not whom it pinged");
        gossip.on_message(id(2), Message::Ack { seq }, 6, &mut effects);
        let replies: Vec<_> = effects.drain(..).filter_map(world::sent_to_node).collect();
        let expected = vec![(id(1), Message::PingReply { target: id(2), seq: 77 })];
        assert_eq!(replies, if runs { expected } else { Vec::new() }, "after {ticks} ticks");
        gossip.on_message(id(2), Message::Ack { seq }, 7, &mut effects);
        assert!(effects.is_empty(), "an answer that comes twice is passed on once");
    }
}
