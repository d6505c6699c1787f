//! Whether the ring that a node goes by is the newest: asked of a majority, with nothing written for it.

mod world;

use world::{Weather, World, id, member};

const S: u64 = 1_000_000;
const MS: u64 = 1000;

/// The answer to a look, and how long it took.
fn look(world: &mut World, number: u128, request: u64) -> (Result<u64, String>, u64) {
    let began = world.now;
    world.look(number, request);
    while world.looked.last().is_none_or(|(ended, _)| *ended != request) {
        assert!(world.now < began + 3 * S, "a look goes on for ever");
        world.run_for(MS);
    }
    (world.looked.last().unwrap().1.clone(), world.now - began)
}

fn cut_off(world: &mut World, number: u128, of: u128) {
    for other in (1..=of).filter(|other| *other != number) {
        world.cut.insert((id(number), id(other)));
        world.cut.insert((id(other), id(number)));
    }
}

#[test]
fn a_settled_cluster_confirms_its_ring_at_once_and_writes_nothing_for_it() {
    let mut world = World::new(1, 5);
    world.clients = false;
    world.run_for(3 * S);
    world.add(6);
    world.run_for(S);
    world.propose(1, 7, (1..=6).map(member).collect(), vec![], 2);
    world.run_until(60 * S, "the join is settled", World::settled);
    world.run_for(S);
    let (version, before): (u64, Vec<_>) =
        (world.version(1), (1..=6).map(|number| world.register_on_disk(number)).collect());
    for request in 0..60 {
        let (result, took) = look(&mut world, 1 + u128::from(request) % 6, 100 + request);
        assert_eq!(result, Ok(version));
        assert!(took < 50 * MS, "{took}");
    }
    let after: Vec<_> = (1..=6).map(|number| world.register_on_disk(number)).collect();
    assert!(before == after, "a look has written something");
}

#[test]
fn many_look_at_once_and_a_change_is_made_meanwhile() {
    let mut world = World::new(2, 4);
    world.clients = false;
    world.run_for(3 * S);
    world.add(5);
    world.run_for(S);
    world.propose(2, 7, (1..=5).map(member).collect(), vec![], 3);
    for request in 0..2000 {
        world.look(1 + u128::from(request) % 5, 100 + request);
        world.run_for(3 * MS);
    }
    world.run_until(60 * S, "the join is settled", World::settled);
    assert!(matches!(world.done[..], [(7, Ok(_))]), "{:?}", world.done);
    world.run_for(3 * S);
    let confirmed = world.looked.iter().filter(|(_, result)| result.is_ok()).count();
    assert!(world.looked.len() == 2000 && confirmed > 1900, "{confirmed} of {}", world.looked.len());
}

#[test]
fn who_is_cut_off_says_that_it_is_not_known_and_learns_what_it_missed() {
    let mut world = World::new(3, 5);
    world.run_for(3 * S);
    cut_off(&mut world, 5, 5);
    let (result, took) = look(&mut world, 5, 1);
    assert_eq!(
        result.unwrap_err(),
        "1 of 5 members answered, and 3 are needed: what this node knows of the ring may be old"
    );
    assert!((2 * S..2200 * MS).contains(&took), "{took}");
    world.change(1, 7, |charter, _| Some(charter.renew()));
    world.run_for(S);
    assert_eq!((look(&mut world, 2, 2).0, world.version(5)), (Ok(2), 1));
    // Nobody has told it yet; those whom it asks do.
    world.cut.clear();
    assert_eq!((look(&mut world, 5, 3).0, world.version(5)), (Ok(2), 2));
}

#[test]
fn a_change_that_nobody_finishes_is_finished_by_who_looks() {
    let mut finished = 0;
    for seed in 0..40 {
        let mut world = World::new(100 + seed, 3);
        world.clients = false;
        world.run_for(3 * S);
        world.cut.extend([(id(1), id(3)), (id(3), id(1))]);
        world.change(1, 7, |charter, _| Some(charter.renew()));
        // Ballot, promises, votes, and the news of it: it dies at any time between.
        let lives_on = world.chance.below(16 * MS);
        world.run_for(lives_on);
        world.kill(1);
        let half_made = (2..=3).all(|number| world.version(number) == 1);
        let (result, took) = look(&mut world, 2, 1);
        assert!(result.is_ok() && took < 1500 * MS, "{seed}: {result:?} after {took}");
        finished += usize::from(half_made && result == Ok(2) && took > 500 * MS);
    }
    assert!(finished > 3, "{finished} changes were finished by a look");
}

#[test]
fn in_bad_weather_nothing_old_is_told_as_the_newest() {
    let mut confirmed = 0;
    for seed in 0..12 {
        let mut world = World::new(200 + seed, 5);
        world.clients = false;
        world.run_for(3 * S);
        world.weather = Weather { lost_percent: 10, slow_us: 60 * MS };
        for round in 0..30 {
            let (by, at) = (1 + world.chance.below(5), 1 + world.chance.below(5));
            match world.chance.below(6) {
                0 => world.crash(u128::from(by), 300 * MS),
                1 => cut_off(&mut world, u128::from(by), 5),
                2 => world.cut.clear(),
                _ => {}
            }
            // The keeper of the world checks each answer.
            world.change(u128::from(by), round, |charter, _| Some(charter.renew()));
            world.look(u128::from(at), 1000 + round);
            let pause = world.chance.below(S);
            world.run_for(pause);
        }
        world.run_for(3 * S);
        confirmed += world.looked.iter().filter(|(_, result)| result.is_ok()).count();
    }
    assert!(confirmed > 150, "{confirmed} looks were confirmed");
}
