//! Disks that are older than what was collected since: they are emptied, and bring nothing back. Those that are not keep all
//! that they have, whatever else happened to them.

mod world;

use world::{Disk, Weather, World, id, member};

const S: u64 = 1_000_000;

/// Deletes come, and are collected.
fn opened(seed: u64, nodes: u128) -> World {
    let mut world = World::new_collecting(seed, nodes, 2 * S);
    world.open(120);
    world.run_until(60 * S, "something is collected", |world| world.deletes.collected > 50);
    world
}

fn all_clear(world: &World) -> bool {
    let members = world.newest().ring().members().to_vec();
    members.iter().all(|member| world.keeper(member.id.0).is_some_and(|keeper| !keeper.in_doubt() && keeper.votes()))
}

/// Nobody writes any more: all is collected, equal, and as it has to be.
fn ends_clean(world: &mut World) {
    world.deletes.open = false;
    world.weather.lost_percent = 0;
    world.cut.clear();
    world.run_until(200 * S, "it settles", |world| world.settled() && all_clear(world) && world.tombstones() == (0, 0));
    world.run_for(25 * S);
    world.run_until(60 * S, "all homes are equal", World::equal);
    assert_eq!(world.tombstones().0, 0);
    world.check_deletes();
}

/// Until a barrier has been passed with something collected.
fn collect_more(world: &mut World) {
    let before = world.deletes.collected;
    let epoch = world.newest().ring().epoch();
    world.run_until(60 * S, "more is collected", |world| {
        world.deletes.collected > before + 50 && world.newest().ring().epoch() > epoch
    });
}

#[test]
fn a_disk_that_is_put_back_to_before_what_was_collected_is_emptied_and_brings_nothing_back() {
    for seed in 0..6 {
        let mut world = opened(seed, 4);
        let copy = world.copy(2);
        collect_more(&mut world);
        let life = world.life(2);
        world.roll_back(2, copy, world.chance.0 % S);
        world.run_until(30 * S, "it is emptied", |world| world.emptied == [2]);
        ends_clean(&mut world);
        assert!(world.life(2) > life && world.records(2) > 0);
    }
}

/// It hears of the newest ring before anybody says what it remembers of the disk.
#[test]
fn who_is_told_of_the_newest_ring_first_waits_for_what_others_remember_of_its_disk() {
    let mut world = opened(21, 4);
    let copy = world.copy(2);
    collect_more(&mut world);
    world.deletes.open = false;
    let newest = world.version(1);
    world.weather.lost_percent = 80;
    world.roll_back(2, copy, S / 10);
    world.run_for(S / 10);
    let end = world.now + 60 * S;
    while world.superseded.is_empty() {
        assert!(world.now < end, "it is not found out");
        world.run_for(2000);
        assert!(world.version(2) < newest, "it goes by a ring that its disk is too old for");
    }
    world.run_until(60 * S, "it is emptied", |world| world.emptied == [2]);
    ends_clean(&mut world);
}

#[test]
fn an_old_copy_since_which_nothing_was_collected_keeps_what_it_has() {
    let mut world = World::new_collecting(3, 4, 0);
    world.open(120);
    world.run_for(4 * S);
    let copy = world.copy(2);
    world.run_for(4 * S);
    world.roll_back(2, copy, S / 10);
    world.run_until(30 * S, "it is found out", |world| !world.superseded.is_empty());
    world.run_until(30 * S, "it is beyond doubt", all_clear);
    assert!(world.emptied.is_empty() && world.records(2) > 0);
    world.deletes.open = false;
    world.run_until(60 * S, "all homes are equal", |world| world.settled() && world.equal());
    world.check_deletes();
}

/// The copies differ in age, so that most find out that they are old ones: no majority votes any more, and all is kept.
#[test]
fn a_whole_cluster_that_is_put_back_to_copies_is_not_emptied() {
    let mut world = World::new_collecting(4, 5, 0);
    world.open(120);
    world.run_for(4 * S);
    let mut copies: Vec<(u128, Disk)> = Vec::new();
    for number in 1..=5 {
        copies.push((number, world.copy(number)));
        world.run_for(3 * S);
    }
    let before: usize = copies.iter().map(|(_, copy)| copy.records()).sum();
    world.deletes.open = false;
    copies.into_iter().for_each(|(number, copy)| world.roll_back(number, copy, S / 10));
    world.run_until(60 * S, "nobody is in doubt", |world| {
        (1..=5).all(|number| world.keeper(number).is_some_and(|keeper| !keeper.in_doubt()))
    });
    assert!(world.superseded.len() >= 3 && world.emptied.is_empty());
    world.run_until(60 * S, "they are whole and equal", |world| world.settled() && world.equal());
    assert!((1..=5).map(|number| world.records(number)).sum::<usize>() >= before);
}

/// It may have what was deleted: until it is sure that it has not, nobody collects, and nobody is given anything by it.
#[test]
fn who_is_in_doubt_promises_nothing_and_gives_nothing() {
    let mut world = World::new_collecting(5, 5, 0);
    world.open(120);
    world.run_for(4 * S);
    let copy = world.copy(2);
    world.run_for(4 * S);
    // One says what it remembers; it takes three to say what is newest, and another does not say a word.
    world.kill(5);
    for other in [3, 4] {
        world.cut.extend([(id(2), id(other)), (id(other), id(2))]);
    }
    world.roll_back(2, copy, S / 10);
    world.run_until(30 * S, "it is found out", |world| !world.superseded.is_empty());
    world.run_for(20 * S);
    let keeper = world.keeper(2).unwrap();
    assert!(keeper.is_known() && keeper.in_doubt() && !keeper.votes());
    let lacks = |world: &World| world.keeper(1).unwrap().collecting().figures.rounds;
    assert_eq!(lacks(&world), 0);
    world.cut.clear();
    world.run_until(30 * S, "most say that nothing is newer", |world| !world.keeper(2).unwrap().in_doubt());
    assert!(world.emptied.is_empty());
    world.start_again(5);
    world.deletes.open = false;
    world.run_until(60 * S, "all homes are equal", |world| world.settled() && world.equal());
}

#[test]
fn that_a_disk_is_beyond_doubt_outlives_a_crash() {
    let mut world = opened(6, 4);
    let copy = world.copy(3);
    world.run_for(S);
    world.roll_back(3, copy, S / 10);
    world.run_until(60 * S, "it is beyond doubt", |world| !world.superseded.is_empty() && all_clear(world));
    let emptied = world.emptied.len();
    for _ in 0..3 {
        world.run_for(S);
        world.crash(3, S / 10);
        world.run_for(S);
        assert!(!world.keeper(3).unwrap().in_doubt());
    }
    ends_clean(&mut world);
    assert_eq!(world.emptied.len(), emptied);
}

/// A number from the environment, for longer runs.
#[expect(clippy::disallowed_methods, reason = "a test's setting, not the machine's")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// One disk at a time goes back by a while, again and again, with crashes, cuts, lost and stuck messages, and a join.
#[test]
fn whatever_is_put_back_nothing_that_was_collected_returns() {
    let (seeds, from) = (setting("KEEPER_SEEDS", 5), setting("KEEPER_FROM", 0));
    let mut emptied = 0;
    for seed in from..from + seeds {
        println!("seed {seed}");
        let mut world = opened(9000 + seed, 5);
        world.weather = Weather { lost_percent: world.chance.below(4), slow_us: 1000 + world.chance.below(20_000) };
        world.add(6);
        for round in 0..4 {
            let number = 1 + u128::from(world.chance.below(5));
            let copy = world.copy(number);
            let us = 2 * S + world.chance.below(8 * S);
            world.run_for(us);
            let other = 1 + u128::from(world.chance.below(5));
            match world.chance.below(4) {
                0 if other != number => world.crash(other, S / 3),
                1 => {
                    for other in (1..=6).filter(|other| *other != number) {
                        if world.chance.percent(60) {
                            world.cut.extend([(id(number), id(other)), (id(other), id(number))]);
                        }
                    }
                }
                2 if round == 1 => world.propose(1, seed, (1..=6).map(member).collect(), vec![], 2),
                _ => {}
            }
            let found_out = world.superseded.len();
            let down = world.chance.below(S);
            world.roll_back(number, copy, down);
            let us = world.chance.below(4 * S);
            world.run_for(us);
            world.cut.clear();
            world.run_until(60 * S, "it is found out", |world| world.superseded.len() > found_out);
            world.run_until(120 * S, "it settles", |world| {
                world.settled() && all_clear(world) && world.tombstones().1 == 0
            });
        }
        ends_clean(&mut world);
        emptied += world.emptied.len();
    }
    assert!(seeds < 5 || emptied > 3, "{emptied}");
}
