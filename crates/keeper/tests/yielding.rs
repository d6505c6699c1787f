//! A join among nodes whose requests suffer (§6.5): the sources give what the least rate allows, nothing that may wait holds
//! up what somebody waits for, and it ends.

mod world;

use dynamo_ring::NodeId;
use dynamo_transfer::SliceSettings;
use world::{World, id, member};

const S: u64 = 1_000_000;
/// Worse than any target.
const SUFFERS_US: u64 = 80_000;
const RATE: u64 = 400;
const BURST: u64 = 500;
/// Eight comparisons of up to 512 bytes pass at once before the first of them is known to cost.
const PASSING: u64 = 8 * 512;

/// Four nodes with records; from then on the requests of all of them suffer, and a fifth node is there.
fn suffering(seed: u64) -> World {
    let mut world = World::new(seed, 4);
    world.slices = SliceSettings { rate_min_bytes_per_s: RATE, burst_bytes: BURST, ..world.slices };
    for number in 1..=4 {
        // The settings hold from a start on.
        world.crash(number, 1);
    }
    world.run_for(8 * S);
    world.add(5);
    world.run_for(S);
    // Nothing changes any more, so that all that is given is the join's.
    world.clients = false;
    world.run_for(5 * S);
    world.foreground_us = (1..=4).map(|number| (id(number), SUFFERS_US)).collect();
    world.run_for(3 * S);
    world
}

/// The last of so many joins; how long it takes, microseconds.
fn join(world: &mut World, nodes: u128) -> u64 {
    let began = world.now;
    world.watch = world::Watch::default();
    world.propose(2, 7, (1..=nodes).map(member).collect(), vec![], 1);
    let joined = |world: &World| world.newest().change().is_none() && world.newest().ring().member(id(nodes)).is_some();
    world.run_until(600 * S, "the join has ended", joined);
    world.now - began
}

#[test]
fn a_source_gives_no_more_than_its_requests_bear_and_the_join_ends() {
    let mut world = suffering(1);
    let began = world.now;
    let took = join(&mut world, 5);
    let mut gave = 0;
    for number in 1..=4 {
        let mut given = 0;
        for (at, _, bytes, sealed) in world.watch.given.iter().filter(|(_, node, ..)| *node == id(number)) {
            given += if *sealed { 0 } else { *bytes };
            let most = RATE * (at - began) / S + BURST + PASSING;
            assert!(given <= most, "node {number} gave {given} of {most} within {} ms", (at - began) / 1000);
        }
        gave += u32::from(given > 0);
    }
    assert!(gave > 0, "nobody gave anything before it sealed");
    let mut silent = suffering(1);
    silent.foreground_us.clear();
    silent.run_for(3 * S);
    let alone = join(&mut silent, 5);
    assert!(took > 2 * alone, "{took} us, and {alone} us without requests: nothing waited");
    world.check_nothing_lost();
}

/// What is sealed is waited for by requests: it does not come out of the rate, and all of it is compared at once.
#[test]
fn what_is_sealed_is_compared_all_at_once() {
    let mut world = suffering(2);
    join(&mut world, 5);
    // Six at a time otherwise.
    let most = world.watch.begun_at_once[&id(5)];
    assert!(most > 9, "{most} at once");
}

#[test]
fn what_was_given_away_is_deleted_a_partition_at_a_time_and_holds_up_no_other_change() {
    [3, 13, 43].into_iter().for_each(two_joins);
}

fn two_joins(seed: u64) {
    let mut world = suffering(seed);
    let first = join(&mut world, 5);
    let moved = |world: &World| world.watch.given.iter().map(|(_, _, bytes, _)| bytes).sum::<u64>();
    let first_moved = moved(&world);
    world.run_for(10 * S);
    let left = |world: &World| (1..=4).map(|number| world.keeper(number).unwrap().leftovers()).sum::<usize>();
    let before = left(&world);
    world.add(6);
    world.run_for(S);
    let second = join(&mut world, 6);
    assert!(before > 0 && left(&world) > 0, "the change waited until what was given away before was tidied up");
    let second_moved = moved(&world);
    assert!(
        second * first_moved < 4 * first * second_moved,
        "{second} us for {second_moved} bytes, and {first} us for {first_moved} with nothing to tidy up"
    );
    world.run_until(3_000 * S, "nothing is left over", |world| left(world) == 0);
    for number in 1..=4 {
        let of = |(node, ..): &&(NodeId, u16, bool)| *node == id(number);
        let mine: Vec<(NodeId, u16, bool)> = world.watch.forgotten.iter().filter(of).copied().collect();
        for pair in mine.windows(2) {
            let [(_, before, left), (_, after, _)] = pair else { unreachable!("pairs") };
            assert!(before == after || !left, "node {number} went on from {before} to {after}: {mine:?}");
        }
    }
    world.check_nothing_lost();
}
