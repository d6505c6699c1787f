//! The table of buckets: created anywhere, the same everywhere.

mod world;

use std::collections::BTreeSet;

use dynamo_gossip::{BUCKETS_MAX, Bucket, BucketMode, BucketTable, Creation, Digest, Effect, Effects, Gossip, Message};
use dynamo_ring::NodeId;
use proptest::prelude::*;
use world::{SETTINGS, World, id, info};

fn bucket(name: &str, created_ms: u64, node: usize) -> Bucket {
    let (name, created) = (name.to_owned(), (created_ms, id(node)));
    Bucket { name, mode: BucketMode::Siblings, r: None, w: None, strict: false, created }
}

/// Few names, times and creators, so that many clash; even two with one creation may differ in their settings.
fn any_bucket() -> impl Strategy<Value = Bucket> {
    let quorum = || prop::option::of(0..3u8);
    let mode = prop::sample::select(vec![BucketMode::Siblings, BucketMode::LastWriteWins]);
    let parts = ("[a-d]", mode, quorum(), quorum(), any::<bool>(), 0..3u64, 0..3u128);
    parts.prop_map(|(name, mode, r, w, strict, ms, node)| Bucket {
        name,
        mode,
        r,
        w,
        strict,
        created: (ms, NodeId(node)),
    })
}

fn table(buckets: &[Bucket]) -> BucketTable {
    let mut table = BucketTable::default();
    table.merge(buckets.to_vec());
    table
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables_are_the_same_in_whatever_order_and_however_often_buckets_came(
        some in prop::collection::vec(any_bucket(), 0..8), others in prop::collection::vec(any_bucket(), 0..8),
    ) {
        let mut one = table(&some);
        one.merge(others.clone());
        let mut two = table(&others);
        for bucket in some.iter().rev() {
            two.merge([bucket.clone()]);
        }
        prop_assert_eq!(&one, &two);
        prop_assert_eq!(one.digest(), two.digest());
        prop_assert!(!one.merge(some) && !one.merge(two.iter().cloned()), "nothing of it is new");
    }

    #[test]
    fn different_tables_have_different_digests(
        some in prop::collection::vec(any_bucket(), 0..4), others in prop::collection::vec(any_bucket(), 0..4),
    ) {
        let (one, two) = (table(&some), table(&others));
        prop_assert_eq!(one == two, one.digest() == two.digest());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_bucket_created_on_both_sides_of_a_partition_has_one_winner(
        seed in any::<u64>(), left in any_bucket(), right in any_bucket(), loss in 0..=30u64,
    ) {
        let mut world = World::of_members(6, seed);
        world.loss = loss;
        world.run(5);
        part(&mut world);
        let left = Bucket { name: "orders".into(), created: (left.created.0, id(0)), ..left };
        let right = Bucket { name: "orders".into(), created: (right.created.0, id(5)), ..right };
        create(&mut world, 0, &left);
        create(&mut world, 5, &right);
        world.run(10);
        world.heal();
        world.rounds_until(40, "one table", World::same_buckets);
        let winner = if left.created < right.created { &left } else { &right };
        prop_assert_eq!(world.gossip(3).buckets().get("orders"), Some(winner));
    }
}

fn part(world: &mut World) {
    for left in 0..3 {
        for right in 3..6 {
            world.cut_both_ways(left, right);
        }
    }
}

fn create(world: &mut World, node: usize, bucket: &Bucket) {
    let creation = world.at(node, |gossip, _, effects| {
        let creation = gossip.create_bucket(bucket.clone(), effects);
        gossip.spread_now(effects);
        creation
    });
    assert_eq!(creation, Creation::Created);
}

#[test]
fn buckets_created_everywhere_at_once_are_soon_known_everywhere() {
    let mut world = World::of_strangers(20, &[0], 1);
    world.loss = 20;
    world.run(20);
    for node in 0..20 {
        create(&mut world, node, &bucket(&format!("of-{node}"), 7, node));
    }
    world.rounds_until(30, "one table", |world| world.same_buckets() && world.gossip(0).buckets().iter().count() == 20);
}

#[test]
fn creating_is_idempotent_and_changes_nothing_that_is_there() {
    let mut gossip = Gossip::new(info(0), 1, Vec::new(), Vec::new(), SETTINGS);
    let mut effects = Effects::new();
    let first = bucket("orders", 5, 0);
    assert_eq!(gossip.create_bucket(first.clone(), &mut effects), Creation::Created);
    assert_eq!(effects, [Effect::BucketsChanged]);
    assert_eq!(gossip.create_bucket(bucket("orders", 1, 9), &mut effects), Creation::Same, "whoever created it");
    let other = Bucket { r: Some(1), ..first.clone() };
    assert_eq!(gossip.create_bucket(other, &mut effects), Creation::Conflict(first.clone()));
    assert_eq!(effects.len(), 1, "nothing changed");
    assert_eq!(gossip.buckets().get("orders"), Some(&first));
}

#[test]
fn a_restored_table_is_there_from_the_start() {
    let mut gossip = Gossip::new(info(0), 1, Vec::new(), Vec::new(), SETTINGS);
    gossip.restore_buckets(vec![bucket("orders", 5, 0)]);
    assert_eq!(gossip.create_bucket(bucket("orders", 8, 0), &mut Effects::new()), Creation::Same);
}

fn many(range: std::ops::Range<usize>) -> Vec<Bucket> {
    // The later ones come first by name: age decides, not the alphabet.
    range.map(|number| bucket(&format!("b{:05}", 99_999 - number), number as u64, 0)).collect()
}

#[test]
fn a_full_table_takes_no_more_and_those_created_apart_leave_the_same_ones_everywhere() {
    let mut full = table(&many(0..BUCKETS_MAX));
    assert_eq!(full.create(bucket("one-more", 1, 0)), Creation::Full);
    let mut in_order = table(&many(0..3_000));
    let mut backwards = BucketTable::default();
    for part in many(0..3_000).chunks(100).rev() {
        backwards.merge(part.to_vec());
    }
    assert_eq!(in_order, backwards);
    assert_eq!(in_order, table(&many(0..2 * BUCKETS_MAX)), "the earliest stay");
    assert!(!in_order.merge(many(2_500..3_000)), "what finds no room is no change");
}

#[test]
fn nodes_with_too_many_buckets_between_them_do_not_send_their_tables_to_and_fro_for_ever() {
    let mut world = World::of_members(2, 3);
    world.run(5);
    world.cut_both_ways(0, 1);
    world.at(0, |gossip, _, _| gossip.restore_buckets(many(0..2_000)));
    world.at(1, |gossip, _, _| gossip.restore_buckets(many(1_500..3_500)));
    world.heal();
    world.run(5);
    assert!(world.same_buckets());
    world.sent.clear();
    world.run(5);
    assert!(!world.sent.iter().any(|(.., message)| matches!(message, Message::Buckets(_))));
}

#[test]
fn one_table_in_answer_to_one_makes_both_the_same() {
    let table_of = |gossip: &Gossip| Message::Buckets(gossip.buckets().iter().cloned().collect());
    let mut one = Gossip::new(info(0), 1, Vec::new(), vec![info(1)], SETTINGS);
    let mut other = Gossip::new(info(1), 1, Vec::new(), vec![info(0)], SETTINGS);
    one.restore_buckets(vec![bucket("mine", 1, 0)]);
    other.restore_buckets(vec![bucket("yours", 1, 1)]);
    let mut effects = Effects::new();
    other.on_message(id(0), table_of(&one), 1, &mut effects);
    let [Effect::BucketsChanged, Effect::Send { message, .. }] = &effects[..] else { panic!("{effects:?}") };
    let mut end = Effects::new();
    one.on_message(id(1), message.clone(), 1, &mut end);
    assert_eq!(end, [Effect::BucketsChanged], "and no answer to the answer");
    assert_eq!(one.buckets(), other.buckets());
    end.clear();
    one.on_message(id(1), message.clone(), 1, &mut end);
    assert!(end.is_empty(), "the same table again is nothing new");
}

#[test]
fn a_quorum_of_none_and_one_of_zero_are_told_apart() {
    let of = |r, w| table(&[Bucket { r, w, ..bucket("orders", 1, 0) }]).digest();
    let quorums = [None, Some(0), Some(1)];
    let digests: BTreeSet<u64> = quorums.iter().flat_map(|r| quorums.iter().map(|w| of(*r, *w))).collect();
    assert_eq!(digests.len(), 9);
}

#[test]
fn a_difference_costs_one_table_each_way() {
    let mut world = World::of_members(2, 4);
    world.run(5);
    world.at(0, |gossip, _, effects| gossip.create_bucket(bucket("mine", 1, 0), effects));
    world.at(1, |gossip, _, effects| gossip.create_bucket(bucket("yours", 1, 1), effects));
    world.sent.clear();
    let rounds = world.rounds_until(2, "one table", World::same_buckets);
    let tables = world.sent.iter().filter(|(.., message)| matches!(message, Message::Buckets(_))).count();
    assert!(tables <= 2 * 2, "{tables} tables in {rounds} rounds: each node begins one exchange a round");
}

#[test]
fn a_node_knows_that_there_is_no_other_bucket_once_a_peer_has_said_so_and_alone_at_once() {
    let start = |node, known| Gossip::new(info(node), 1, Vec::new(), known, SETTINGS);
    assert!(start(0, Vec::new()).knows_buckets());
    let (mut old, mut effects) = (start(0, vec![info(1)]), Effects::new());
    assert!(!old.knows_buckets());
    old.restore_buckets(vec![bucket("carts", 1, 0)]);
    assert!(!old.knows_buckets(), "what its disk has may be old");
    // Another that has just started asks for news, has nothing to say of buckets, and is told.
    let mut emptied = start(1, vec![info(0)]);
    old.on_message(
        id(1),
        Message::Digest(Digest { entries: Vec::new(), buckets: emptied.buckets().digest() }),
        1,
        &mut effects,
    );
    assert!(!old.knows_buckets());
    let told = effects.drain(..).filter_map(|effect| match effect {
        Effect::Send { message: message @ Message::Buckets(_), .. } => Some(message),
        _ => None,
    });
    let told: Vec<Message> = told.collect();
    told.into_iter().for_each(|message| emptied.on_message(id(0), message, 2, &mut effects));
    assert!(emptied.knows_buckets() && emptied.buckets().get("carts").is_some());
    let same = Digest { entries: Vec::new(), buckets: emptied.buckets().digest() };
    old.on_message(id(1), Message::Digest(same), 3, &mut effects);
    assert!(old.knows_buckets());
}
