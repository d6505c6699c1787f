//! Tombstones go in the end, whatever happened meanwhile, and what was collected never lives again: the world asserts that
//! at each state that any home takes in.

mod world;

use world::{Weather, World, id, member};

const S: u64 = 1_000_000;

fn opened(seed: u64, nodes: u128, keys: u64) -> World {
    let mut world = World::new_collecting(seed, nodes, 2 * S);
    world.open(keys);
    world
}

/// No more customers: all that is deleted is collected in time.
fn ends_clean(world: &mut World, what: &str) {
    world.deletes.open = false;
    world.weather.lost_percent = 0;
    world.cut.clear();
    world.run_until(200 * S, &format!("{what}: settles"), |world| world.settled() && world.tombstones().1 == 0);
    world.run_until(200 * S, &format!("{what}: no tombstone is left"), |world| world.tombstones().0 == 0);
    world.run_for(25 * S);
    assert_eq!(world.tombstones().0, 0, "{what}: what was stuck brought a tombstone back");
    world.run_until(60 * S, &format!("{what}: all homes are equal"), World::equal);
    world.check_deletes();
}

#[test]
fn tombstones_go_while_writes_go_on_and_an_idle_cluster_turns_no_epoch() {
    let mut world = opened(1, 4, 200);
    world.run_until(60 * S, "something is collected under load", |world| world.deletes.collected > 100);
    ends_clean(&mut world, "after load");
    let epoch = world.newest().ring().epoch();
    assert!(epoch > 1);
    world.run_for(60 * S);
    assert_eq!(world.newest().ring().epoch(), epoch, "there is nothing to collect");
    let figures = (1..=4).map(|number| world.keeper(number).unwrap().collecting().figures);
    let (rounds, collected) =
        figures.fold((0, 0), |(rounds, collected), one| (rounds + one.rounds, collected + one.collected));
    assert!(rounds > 0 && collected as usize == world.deletes.collected);
}

#[test]
fn a_member_that_does_not_answer_is_waited_for_and_named() {
    let mut world = opened(2, 5, 100);
    world.run_for(4 * S);
    let down = 4;
    world.kill(down);
    world.run_for(20 * S);
    let before = world.deletes.collected;
    world.run_for(40 * S);
    assert_eq!(world.deletes.collected, before, "it may have what nobody else has");
    assert!(world.keeper(1).unwrap().collecting().waiting_for.contains(&id(down)));
    world.revive(down);
    ends_clean(&mut world, "it is back");
    assert!(world.deletes.collected > before);
    assert!(world.keeper(1).unwrap().collecting().waiting_for.is_empty());
}

/// It has old versions, hints, and messages that it would send: nobody takes them any more.
#[test]
fn a_node_that_was_removed_and_returns_after_all_was_collected_brings_nothing_back() {
    for seed in 0..6 {
        let mut world = opened(30 + seed, 5, 120);
        world.run_for(3 * S);
        for other in [1, 2, 3, 5] {
            world.cut.insert((id(4), id(other)));
            world.cut.insert((id(other), id(4)));
        }
        // Alone it goes on, and takes what is written for hints.
        world.run_for(3 * S);
        world.kill(4);
        world.cut.clear();
        world.run_for(S);
        assert!(world.hints(4) > 0);
        let members = [1, 2, 3, 5].map(member).to_vec();
        world.propose(1, 7, members, vec![id(4)], 1);
        world.run_until(60 * S, "it is removed", |world| world.newest().ring().member(id(4)).is_none());
        world.deletes.delete_percent = 90;
        world.run_for(5 * S);
        world.deletes.open = false;
        world.run_until(200 * S, "all is collected", |world| world.settled() && world.tombstones() == (0, 0));
        world.run_for(25 * S);
        world.revive(4);
        world.run_for(60 * S);
        assert_eq!(world.version(4), world.version(1), "it has heard of the ring");
        assert!(world.hints(4) > 0, "nobody took them");
        assert_eq!(world.tombstones().0, 0);
        assert!(world.equal());
    }
}

#[test]
fn who_leaves_is_waited_for_until_it_holds_nothing_and_its_names_go_from_the_records() {
    let mut world = opened(5, 5, 100);
    world.run_for(6 * S);
    let life = world.life_of(5);
    assert!(world.names_of(5, life) > 0);
    world.propose(1, 7, (1..=4).map(member).collect(), vec![], 2);
    world.run_until(60 * S, "it has left", |world| world.newest().ring().member(id(5)).is_none());
    world.run_until(60 * S, "it is released", |world| world.newest().leavers().is_empty());
    assert_eq!((world.records(5), world.hints(5)), (0, 0));
    world.kill(5);
    ends_clean(&mut world, "after the leave");
    world.run_until(60 * S, "its names are gone", |world| world.names_of(5, life) == 0);
    assert!(world.deletes.pruned > 0);
}

#[test]
fn a_join_that_was_taken_back_is_waited_for_until_its_copies_are_gone() {
    let mut world = opened(6, 4, 100);
    world.run_for(3 * S);
    world.add(5);
    world.run_for(S);
    world.propose(1, 7, (1..=5).map(member).collect(), vec![], 1);
    world.run_until(20 * S, "it copies", |world| world.records(5) > 0);
    world.change(1, 8, |charter, _| charter.cancel().ok());
    world.run_until(60 * S, "it is taken back", |world| world.newest().change().is_none());
    if world.newest().ring().member(id(5)).is_none() {
        world.run_until(60 * S, "it is released", |world| world.newest().leavers().is_empty());
        assert_eq!(world.records(5), 0);
    }
    ends_clean(&mut world, "after the cancel");
}

/// Up to the moment at which all have promised and the register is asked to turn the epoch.
fn at_the_turn(seed: u64) -> World {
    let mut world = opened(seed, 4, 100);
    let end = world.now + 60 * S;
    while world.keeper(1).unwrap().collecting().stage != "turning the epoch" {
        assert!(world.now < end, "no round came so far\n{}", world.describe());
        world.run_for(200);
    }
    world
}

/// What the round had found is not removed, and it is said that it was given up.
fn removes_nothing(world: &mut World) {
    let before = (world.deletes.collected, world.keeper(1).unwrap().collecting().figures.given_up);
    world.run_until(60 * S, "the round ends", |world| world.keeper(1).unwrap().collecting().stage.is_empty());
    let figures = world.keeper(1).unwrap().collecting().figures;
    assert_eq!((world.deletes.collected, figures.given_up), (before.0, before.1 + 1));
}

/// Its second copy may be on its way under the new epoch.
#[test]
fn a_hint_that_came_and_went_while_the_epoch_turned_takes_the_promise_back() {
    let mut world = at_the_turn(8);
    world.hints_come_and_go(3);
    removes_nothing(&mut world);
    assert_eq!(world.newest().ring().epoch(), 2, "the epoch was turned in vain");
    ends_clean(&mut world, "the next round");
}

#[test]
fn what_a_member_said_before_it_was_started_again_is_void() {
    let mut world = at_the_turn(9);
    world.crash(3, 1000);
    removes_nothing(&mut world);
    ends_clean(&mut world, "the next round");
}

/// A number from the environment, for longer runs.
#[expect(clippy::disallowed_methods, reason = "a test's setting, not the machine's")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Crashes, cuts, joins, leaves, lost and stuck messages, a wiped disk, while rounds go on as often as they can.
#[test]
fn whatever_happens_tombstones_go_and_nothing_deleted_returns() {
    let (seeds, from) = (setting("KEEPER_SEEDS", 6), setting("KEEPER_FROM", 0));
    for seed in from..from + seeds {
        println!("seed {seed}");
        let mut world = opened(7000 + seed, 5, 60 + 20 * (seed % 5));
        world.weather = Weather { lost_percent: world.chance.below(4), slow_us: 1000 + world.chance.below(20_000) };
        world.deletes.stuck_percent = world.chance.below(6);
        world.run_for(3 * S);
        world.add(6);
        for request in 10..22 {
            let us = world.chance.below(6 * S);
            world.run_for(us);
            let number = 1 + u128::from(world.chance.below(6));
            match world.chance.below(8) {
                0 | 1 => {
                    let mut members: Vec<_> = world.newest().ring().members().to_vec();
                    if !members.iter().any(|member| member.id == id(number)) {
                        members.push(member(number));
                        world.propose(1 + number % 4, request, members, vec![], 2);
                    }
                }
                2 => {
                    let mut members: Vec<_> = world.newest().ring().members().to_vec();
                    members.retain(|member| member.id != id(number));
                    if members.len() >= 4 {
                        world.propose(1 + (number + 1) % 4, request, members, vec![], 2);
                    }
                }
                3 => world.change(number, request, |charter, _| charter.cancel().ok()),
                4 | 5 => {
                    let down = world.chance.below(3 * S);
                    world.crash(number, down);
                }
                _ => {
                    for other in (1..=6).filter(|other| *other != number) {
                        if world.chance.percent(60) {
                            world.cut.insert((id(number), id(other)));
                            world.cut.insert((id(other), id(number)));
                        }
                    }
                    let us = world.chance.below(5 * S);
                    world.run_for(us);
                    world.cut.clear();
                }
            }
        }
        ends_clean(&mut world, &format!("seed {seed}"));
        assert!(world.deletes.collected > 20, "seed {seed}: {}", world.deletes.collected);
    }
}
