//! Disks that are rolled back to an old copy, or started twice: the others notice, and nothing that was promised is broken.

mod world;

use dynamo_keeper::Superseded;
use world::{Weather, World, id, member};

const S: u64 = 1_000_000;

fn settle(world: &mut World) {
    world.run_until(60 * S, "all vote and are whole", |world| {
        world
            .newest()
            .ring()
            .members()
            .iter()
            .all(|member| world.keeper(member.id.0).is_some_and(|keeper| keeper.votes() && keeper.refilling() == 0))
    });
}

fn found_out(world: &mut World) -> Superseded {
    world.run_until(20 * S, "the old copy is found out", |world| !world.superseded.is_empty());
    world.superseded.pop().unwrap()
}

#[test]
fn an_ordinary_restart_is_the_same_life_and_votes_again() {
    let mut world = World::new(1, 3);
    settle(&mut world);
    let life = world.life(2);
    for _ in 0..3 {
        world.run_for(S);
        world.crash(2, S / 10);
        settle(&mut world);
    }
    assert_eq!((world.life(2), world.superseded.len()), (life, 0));
    world.check_nothing_lost();
}

#[test]
fn all_that_start_at_once_are_known_soon() {
    let mut world = World::new(2, 5);
    settle(&mut world);
    (1..=5).for_each(|number| world.crash(number, S));
    world.run_for(2 * S);
    assert!((1..=5).all(|number| world.keeper(number).is_some_and(|keeper| keeper.is_known() && keeper.votes())));
    assert!(world.superseded.is_empty());
}

#[test]
fn a_node_that_nobody_answers_gives_no_vote_and_one_that_one_answers_does_after_a_while() {
    let mut world = World::new(3, 3);
    settle(&mut world);
    world.kill(3);
    world.kill(2);
    world.crash(1, S / 10);
    world.run_for(30 * S);
    let known = |world: &World| world.keeper(1).is_some_and(|keeper| keeper.is_known());
    assert!(!known(&world) && world.keeper(1).is_some_and(|keeper| !keeper.votes() && !keeper.whole()[0]));
    world.start_again(2);
    world.run_for(S);
    assert!(known(&world) && world.keeper(1).is_some_and(|keeper| keeper.votes()));
}

#[test]
fn a_disk_that_was_started_since_the_copy_was_made_takes_a_new_life() {
    let mut world = World::new(4, 3);
    settle(&mut world);
    let (copy, life) = (world.copy(2), world.life(2));
    world.crash(2, S / 10);
    world.run_for(2 * S);
    world.roll_back(2, copy, S / 10);
    let told = found_out(&mut world);
    assert_eq!((told.started.generation, told.mark.generation), (2, 2), "the same number, and another lot");
    assert!(told.to_string().contains("old copy"), "{told}");
    settle(&mut world);
    assert!(world.life(2) > life);
    assert_eq!(world.newest().voter(id(2)).map(|voter| voter.incarnation), Some(world.life(2)));
    world.run_for(S);
    world.check_nothing_lost();
}

#[test]
fn a_copy_made_and_put_back_within_one_run_is_told_by_how_much_was_durable() {
    let mut world = World::new(5, 3);
    settle(&mut world);
    world.run_for(S);
    let copy = world.copy(3);
    world.run_for(2 * S);
    world.roll_back(3, copy, S / 10);
    let told = found_out(&mut world);
    assert!(told.mark.generation < told.started.generation && told.mark.durable > told.started.found, "{told:?}");
    settle(&mut world);
    world.run_for(S);
    world.check_nothing_lost();
}

#[test]
fn the_same_copy_put_back_again_gets_a_life_that_no_other_had() {
    let mut world = World::new(6, 3);
    settle(&mut world);
    let copy = world.copy(1);
    world.run_for(S);
    let mut lives = vec![world.life(1)];
    for _ in 0..3 {
        world.roll_back(1, copy.clone(), S / 10);
        found_out(&mut world);
        settle(&mut world);
        assert!(!lives.contains(&world.life(1)));
        lives.push(world.life(1));
        world.run_for(S);
    }
    world.check_nothing_lost();
}

/// All that was ever durable in that life is there, and it is over all the same.
#[test]
fn a_whole_copy_of_a_life_that_another_one_followed_is_an_old_one() {
    let mut world = World::new(9, 3);
    settle(&mut world);
    let early = world.copy(1);
    world.run_for(S);
    world.kill(1);
    let late = world.copy(1);
    world.run_for(S);
    world.roll_back(1, early, S / 10);
    world.start_again(1);
    found_out(&mut world);
    settle(&mut world);
    let life = world.life(1);
    world.roll_back(1, late, S / 10);
    let told = found_out(&mut world);
    assert!(told.newest_life == life && told.to_string().contains("has been seen"), "{told}");
    settle(&mut world);
    assert!(world.life(1) > life);
    world.run_for(S);
    world.check_nothing_lost();
}

#[test]
fn an_old_copy_that_wakes_up_alone_does_nothing_of_its_old_life_until_the_others_are_back() {
    let mut world = World::new(7, 3);
    settle(&mut world);
    let copy = world.copy(2);
    world.run_for(S);
    for other in [1, 3] {
        world.cut.extend([(id(2), id(other)), (id(other), id(2))]);
    }
    world.roll_back(2, copy, S / 10);
    // It takes clients' writes meanwhile: the world sees to it that none gets a name that was given before.
    world.run_for(20 * S);
    assert!(world.keeper(2).is_some_and(|keeper| !keeper.is_known() && !keeper.votes() && !keeper.whole()[0]));
    world.cut.clear();
    found_out(&mut world);
    settle(&mut world);
    world.run_for(S);
    world.check_nothing_lost();
}

#[test]
fn who_remembers_keeps_it_over_its_own_crashes() {
    let mut world = World::new(8, 3);
    settle(&mut world);
    let copy = world.copy(2);
    world.crash(2, S / 10);
    world.run_for(4 * S);
    world.kill(2);
    world.crash(1, S / 10);
    world.crash(3, S / 10);
    world.run_for(2 * S);
    world.start_again(2);
    world.roll_back(2, copy, S / 10);
    found_out(&mut world);
    settle(&mut world);
}

#[test]
fn whatever_is_rolled_back_in_any_weather_no_name_is_given_twice_and_strict_reads_see_every_write() {
    for seed in 0..12 {
        let mut world = World::new(1000 + seed, 5);
        settle(&mut world);
        world.weather = Weather { lost_percent: 5, slow_us: 20_000 };
        for round in 0..4 {
            let number = 1 + u128::from(world.chance.below(5));
            let copy = world.copy(number);
            // Longer than it takes to tell the others what is durable by now.
            let us = 2 * S + world.chance.below(2 * S);
            world.run_for(us);
            if world.chance.percent(50) {
                let restarted = 1 + u128::from(world.chance.below(5));
                world.crash(restarted, S / 5);
                world.run_for(2 * S);
            }
            let other = 1 + u128::from(world.chance.below(5));
            if other != number {
                world.crash(other, S / 3);
            }
            world.roll_back(number, copy, S / 10);
            found_out(&mut world);
            settle(&mut world);
            if round == 1 {
                world.add(6);
                world.propose(1, seed, (1..=6).map(member).collect(), vec![], 2);
            }
        }
        world.weather = Weather { lost_percent: 0, slow_us: 2_000 };
        world.run_until(60 * S, "it is settled", |world| world.settled());
        world.check_nothing_lost();
        assert!(world.acknowledged > 500 && world.read > 500, "{} {}", world.acknowledged, world.read);
    }
}
