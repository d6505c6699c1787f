//! What one message holds and what a node keeps stay bounded, whatever comes in.

mod world;

use dynamo_gossip::{
    BUCKETS_MAX, Bucket, BucketMode, Digest, Effect, Effects, Failure, Gossip, Message, NodeInfo, PeerState, Version,
};
use dynamo_ring::NodeId;
use proptest::prelude::*;
use world::{SETTINGS, id, info};

const DELTA_NODES_MAX: usize = 256;
const ERRANDS_MAX: usize = 64;
const NODES_MAX: usize = 1 << 16;
const ENDLESS: Version = Version { generation: u64::MAX, number: u64::MAX };

fn alone() -> Gossip {
    Gossip::new(info(0), 1, Vec::new(), vec![info(1), info(2)], SETTINGS)
}

fn news(nodes: std::ops::Range<usize>, number: u64) -> Message {
    let version = Version { generation: 1, number };
    let said = |node| (NodeInfo { ring_epoch: number, ..info(node) }, version);
    Message::Delta { nodes: nodes.map(said).collect(), digest: None }
}

fn tell(gossip: &mut Gossip, message: Message) -> Effects {
    let mut effects = Effects::new();
    gossip.on_message(id(1), message, 1, &mut effects);
    effects
}

/// One asks the other, and both learn what they lack; returns the sizes of the deltas.
fn exchange(asker: &mut Gossip, asked: &mut Gossip) -> Vec<usize> {
    let (mut to_asked, mut to_asker) = (Effects::new(), Effects::new());
    asker.on_tick(1, 0, &mut to_asked);
    let digest =
        to_asked.into_iter().filter_map(world::message_of).find(|message| matches!(message, Message::Digest(_)));
    let mut sizes = Vec::new();
    asked.on_message(id(0), digest.expect("a tick asks"), 1, &mut to_asker);
    for message in to_asker.into_iter().filter_map(world::message_of) {
        sizes.extend(size(&message));
        for message in tell(asker, message).into_iter().filter_map(world::message_of) {
            sizes.extend(size(&message));
            asked.on_message(id(0), message, 1, &mut Effects::new());
        }
    }
    sizes
}

fn size(message: &Message) -> Option<usize> {
    match message {
        Message::Delta { nodes, .. } => Some(nodes.len()),
        _ => None,
    }
}

fn pair() -> (Gossip, Gossip) {
    let asker = Gossip::new(info(0), 1, Vec::new(), vec![info(1)], SETTINGS);
    let asked = Gossip::new(info(1), 1, Vec::new(), vec![info(0)], SETTINGS);
    (asker, asked)
}

#[test]
fn a_delta_holds_256_nodes_and_all_arrive_after_some_exchanges() {
    let (mut asker, mut asked) = pair();
    tell(&mut asker, news(1_000..1_300, 1));
    asked.on_message(id(0), news(2_000..2_999, 1), 1, &mut Effects::new());
    for _ in 0..4 {
        let sizes = exchange(&mut asker, &mut asked);
        assert!(sizes.iter().all(|size| *size <= DELTA_NODES_MAX), "{sizes:?}");
    }
    assert_eq!(asker.members().count(), 2 + 300 + 999);
    assert_eq!(asked.members().count(), 2 + 300 + 999);
    assert_eq!(exchange(&mut asker, &mut asked), [0], "and then there is no more to tell");
}

#[test]
fn nodes_that_change_all_the_time_do_not_starve_the_others() {
    let (mut asker, mut asked) = pair();
    for round in 1..=4 {
        asked.on_message(id(0), news(1_000..1_900, round), 1, &mut Effects::new());
        exchange(&mut asker, &mut asked);
    }
    let told = (1_000..1_900).filter(|node| asker.info(id(*node)).is_some()).count();
    assert_eq!(told, 900, "four deltas hold them all, if none holds one twice");
}

#[test]
fn no_more_errands_are_run_at_once_than_a_few_and_they_end_unanswered() {
    let mut gossip = alone();
    for round in 0..5 {
        let request = |seq| Message::PingRequest { target: id(2), seq };
        let pings: usize = (0..65).map(|seq| tell(&mut gossip, request(seq)).len()).sum();
        // Those of the last round are still under way.
        assert_eq!(pings, if round % 2 == 0 { ERRANDS_MAX } else { 0 });
        gossip.on_tick(2, 0, &mut Effects::new());
    }
}

#[test]
fn errands_about_nobody_this_node_or_the_asker_itself_are_not_run() {
    let mut gossip = alone();
    for target in [id(77), id(0), id(1)] {
        assert!(tell(&mut gossip, Message::PingRequest { target, seq: 1 }).is_empty());
    }
    let mut effects = Effects::new();
    gossip.on_message(id(77), Message::PingRequest { target: id(2), seq: 1 }, 1, &mut effects);
    assert!(effects.is_empty(), "there is nobody to tell");
}

#[test]
fn no_more_nodes_are_remembered_than_a_cluster_can_have_but_those_go_on_to_be_told_of() {
    let mut gossip = alone();
    tell(&mut gossip, news(1..NODES_MAX + 20, 1));
    assert_eq!(gossip.members().count(), NODES_MAX);
    assert!(tell(&mut gossip, news(NODES_MAX + 20..NODES_MAX + 30, 1)).is_empty());
    tell(&mut gossip, news(5..6, 2));
    assert_eq!(gossip.info(id(5)).unwrap().ring_epoch, 2);
}

#[test]
fn what_is_as_new_as_nothing_is_not_learnt() {
    let mut gossip = alone();
    let message = Message::Delta { nodes: vec![(info(9), Version::default())], digest: None };
    assert!(tell(&mut gossip, message).is_empty());
    assert!(gossip.info(id(9)).is_none(), "it could be told to nobody");
}

#[test]
fn made_up_versions_of_this_node_do_no_harm() {
    let just_below =
        [Version { generation: 3, number: u64::MAX }, Version { generation: u64::MAX, number: u64::MAX - 1 }];
    for version in [ENDLESS].into_iter().chain(just_below) {
        let mut gossip = alone();
        tell(&mut gossip, Message::Delta { nodes: vec![(info(0), version)], digest: None });
        for keys in 1..5 {
            gossip.set_self(|info| info.load.keys = keys);
            tell(&mut gossip, Message::Delta { nodes: vec![(info(0), version)], digest: None });
        }
        assert_eq!(gossip.info(id(0)).unwrap().load.keys, 4, "only a node itself says what it is");
    }
}

#[test]
fn a_message_from_itself_is_not_answered() {
    let mut gossip = Gossip::new(info(0), 1, vec![info(0).peer_addr], Vec::new(), SETTINGS);
    let mut effects = Effects::new();
    gossip.on_tick(1, 0, &mut effects);
    gossip.on_message(id(0), Message::Digest(Digest::default()), 1, &mut effects);
    gossip.heard_from(id(0), 1, &mut effects);
    gossip.failed(id(0), Failure::Refused, 1, &mut effects);
    assert!(effects.is_empty(), "nor is its own address a seed for it: {effects:?}");
    assert_eq!(gossip.state(id(0)), PeerState::Up);
}

#[derive(Clone, Debug)]
enum Input {
    Message(NodeId, Message),
    Tick(u64),
    Heard(NodeId),
    Failed(NodeId, Failure),
    SetSelf(u64),
    Spread,
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..6u64, 1 => Just(u64::MAX), 1 => Just(u64::MAX - 1), 1 => any::<u64>()]
}

fn any_id() -> impl Strategy<Value = NodeId> {
    prop_oneof![8 => (0..6u128).prop_map(NodeId), 1 => Just(NodeId(u128::MAX))]
}

fn any_version() -> impl Strategy<Value = Version> {
    (any_number(), any_number()).prop_map(|(generation, number)| Version { generation, number })
}

fn any_digest() -> impl Strategy<Value = Digest> {
    let entries = prop::collection::vec((any_id(), any_version()), 0..6);
    (entries, 0..3u64).prop_map(|(entries, buckets)| Digest { entries, buckets })
}

fn any_message() -> impl Strategy<Value = Message> {
    let said = (any_id(), "[a-c]?", any_version());
    let said = said.prop_map(|(id, peer_addr, version)| (NodeInfo { id, peer_addr, ..info(0) }, version));
    let bucket = ("[a-c]", any_number(), any_id(), prop::option::of(any::<u8>())).prop_map(|(name, ms, node, r)| {
        Bucket { name, mode: BucketMode::Siblings, r, w: None, strict: false, created: (ms, node) }
    });
    let nodes = prop::collection::vec(said, 0..6);
    prop_oneof![
        any_digest().prop_map(Message::Digest),
        (nodes, prop::option::of(any_digest())).prop_map(|(nodes, digest)| Message::Delta { nodes, digest }),
        any_number().prop_map(|seq| Message::Ping { seq }),
        any_number().prop_map(|seq| Message::Ack { seq }),
        (any_id(), any_number()).prop_map(|(target, seq)| Message::PingRequest { target, seq }),
        (any_id(), any_number()).prop_map(|(target, seq)| Message::PingReply { target, seq }),
        prop::collection::vec(bucket, 0..4).prop_map(Message::Buckets),
    ]
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        12 => (any_id(), any_message()).prop_map(|(from, message)| Input::Message(from, message)),
        3 => any::<u64>().prop_map(Input::Tick),
        1 => any_id().prop_map(Input::Heard),
        1 => (any_id(), prop::sample::select(vec![Failure::Refused, Failure::Timeout]))
            .prop_map(|(id, failure)| Input::Failed(id, failure)),
        1 => any_number().prop_map(Input::SetSelf),
        1 => Just(Input::Spread),
    ]
}

fn step(gossip: &mut Gossip, input: Input, now: u64, effects: &mut Effects) {
    match input {
        Input::Message(from, message) => gossip.on_message(from, message, now, effects),
        Input::Tick(random) => gossip.on_tick(now, random, effects),
        Input::Heard(id) => gossip.heard_from(id, now, effects),
        Input::Failed(id, failure) => gossip.failed(id, failure, now, effects),
        Input::SetSelf(keys) => gossip.set_self(|info| info.load.keys = keys),
        Input::Spread => gossip.spread_now(effects),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_garbage_makes_a_node_panic_or_shout(inputs in prop::collection::vec(any_input(), 0..60)) {
        let mut gossip = Gossip::new(info(0), 1, vec!["a".into()], vec![info(1), info(2)], SETTINGS);
        for (now, input) in inputs.into_iter().enumerate() {
            let mut effects = Effects::new();
            let answers = matches!(input, Input::Message(..));
            step(&mut gossip, input, now as u64, &mut effects);
            let sent = effects.iter().filter(|effect| matches!(effect, Effect::Send { .. })).count();
            prop_assert!(!answers || sent <= 2, "one message in, {sent} out: {effects:?}");
            prop_assert!(gossip.members().count() <= 8 && gossip.buckets().iter().count() <= BUCKETS_MAX);
            prop_assert_eq!(&gossip.info(id(0)).unwrap().peer_addr, &info(0).peer_addr);
        }
    }
}
