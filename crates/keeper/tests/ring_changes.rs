//! Rings that change while strict clients read and write: every acknowledged write is seen by every later read.

mod world;

use world::{Weather, World, id, member};

const S: u64 = 1_000_000;

fn stays(except: &[u128], of: u128) -> Vec<dynamo_ring::Member> {
    (1..=of).filter(|number| !except.contains(number)).map(member).collect()
}

#[test]
fn a_founded_cluster_votes_and_is_whole() {
    let mut world = World::new(1, 3);
    world.run_until(10 * S, "all vote and are whole", |world| {
        (1..=3).all(|number| world.keeper(number).is_some_and(|keeper| keeper.votes() && keeper.refilling() == 0))
    });
    world.run_for(S);
    assert!(world.acknowledged > 100 && world.read > 100, "{} {}", world.acknowledged, world.read);
}

#[test]
fn a_node_joins_in_steps_and_the_others_let_go_of_what_it_got() {
    let mut world = World::new(2, 4);
    world.run_for(2 * S);
    world.add(5);
    world.run_for(S);
    world.propose(2, 7, (1..=5).map(member).collect(), vec![], 3);
    world.run_until(60 * S, "the join is settled", |world| {
        world.settled() && world.newest().ring().member(id(5)).is_some()
    });
    assert!(matches!(world.done[..], [(7, Ok(2))]), "{:?}", world.done);
    assert_eq!(world.newest().ring().epoch(), 1 + 3);
    world.run_for(2 * S);
    world.check_nothing_lost();
    assert!(world.keeper(5).is_some_and(|keeper| keeper.votes()));
}

#[test]
fn a_step_does_not_turn_while_the_gaining_node_is_cut_off_from_what_was_sealed() {
    let mut world = World::new(9, 4);
    world.run_for(3 * S);
    world.add(5);
    world.run_for(S);
    world.propose(1, 7, (1..=5).map(member).collect(), vec![], 1);
    let sealed =
        |world: &World| (1..=4).any(|number| world.keeper(number).is_some_and(|keeper| keeper.report().sealed));
    let end = world.now + 30 * S;
    while !sealed(&world) {
        assert!(world.now < end, "nobody sealed\n{}", world.describe());
        world.run_for(200);
    }
    assert_eq!(world.newest().ring().epoch(), 1);
    // The first node drives, and sees everybody.
    for number in 2..=4 {
        world.cut.insert((id(5), id(number)));
        world.cut.insert((id(number), id(5)));
    }
    world.run_for(5 * S);
    assert_eq!(world.newest().ring().epoch(), 1);
    world.cut.clear();
    world.run_until(60 * S, "the join is settled", |world| {
        world.settled() && world.newest().ring().member(id(5)).is_some()
    });
    world.check_nothing_lost();
}

#[test]
fn a_node_leaves_and_holds_nothing_then() {
    let mut world = World::new(3, 5);
    world.run_for(2 * S);
    world.propose(1, 7, stays(&[5], 5), vec![], 2);
    world.run_until(60 * S, "the leave is settled", |world| {
        world.settled() && world.newest().ring().member(id(5)).is_none() && world.records(5) == 0
    });
    world.run_for(S);
    world.check_nothing_lost();
}

#[test]
fn a_change_is_taken_back_half_way() {
    let mut world = World::new(4, 4);
    world.run_for(2 * S);
    let before = world.newest().ring().clone();
    world.add(5);
    world.propose(2, 7, (1..=5).map(member).collect(), vec![], 4);
    world.run_until(60 * S, "a step was taken", |world| world.newest().ring().epoch() > 2);
    world.change(3, 8, |charter, _| charter.cancel().ok());
    world.run_until(60 * S, "it is taken back", |world| world.settled() && world.newest().change().is_none());
    if world.done.iter().any(|done| matches!(done, (8, Ok(_)))) {
        assert_eq!(world.newest().ring().owners(), before.owners());
        world.run_until(20 * S, "the newcomer holds nothing", |world| world.records(5) == 0);
    }
    world.check_nothing_lost();
}

#[test]
fn a_dead_node_is_removed_and_its_place_filled_from_the_others() {
    let mut world = World::new(5, 5);
    world.run_for(2 * S);
    world.kill(4);
    world.run_for(S);
    world.propose(1, 7, stays(&[4], 5), vec![id(4)], 2);
    world.run_until(60 * S, "the removal is settled", |world| {
        world.settled() && world.newest().ring().member(id(4)).is_none()
    });
    world.run_for(S);
    world.check_nothing_lost();
}

fn waits_for(world: &World) -> String {
    let progress = world.keeper(1).and_then(|keeper| keeper.progress(|id| format!("n{}", id.0)));
    progress.map(|progress| progress.blocked_by.join("; ")).unwrap_or_default()
}

/// One home of five is dead and another comes with an empty disk: what W = 2 acknowledged may be only on the dead one's disk.
fn one_dead_and_one_empty(seed: u64) -> World {
    let mut world = World::new(seed, 5);
    world.run_for(3 * S);
    world.kill(4);
    world.wipe(2, S / 10);
    world.run_for(S);
    assert!(world.keeper(2).is_some_and(|keeper| keeper.refilling() > 0));
    world
}

#[test]
fn a_home_that_is_not_whole_is_no_source_and_the_change_says_that_it_waits_for_it() {
    for seed in 0..4 {
        let mut world = one_dead_and_one_empty(200 + seed);
        world.propose(1, 7, stays(&[4], 5), vec![id(4)], 1);
        world.run_for(10 * S);
        assert_eq!(world.newest().ring().epoch(), 1, "it turned: {}", world.describe());
        let why = waits_for(&world);
        assert!(why.contains("waiting for n2, which is being refilled") && why.contains("--accept-loss"), "{why}");
        let sealed = (1..=5).filter(|number| world.keeper(*number).is_some_and(|keeper| keeper.report().sealed));
        assert_eq!(sealed.count(), 0, "requests need not wait meanwhile");
        // It was not dead after all, and has what the empty disk lacks.
        world.start_again(4);
        world.run_until(60 * S, "the removal is settled", |world| {
            world.settled() && world.newest().ring().member(id(4)).is_none()
        });
        world.run_for(S);
        world.check_nothing_lost();
    }
}

#[test]
fn a_loss_that_was_accepted_is_not_waited_for() {
    let mut world = one_dead_and_one_empty(220);
    world.propose(1, 7, stays(&[4], 5), vec![id(4)], 2);
    world.run_for(5 * S);
    world.change(1, 8, |charter, _| charter.cancel().ok());
    world.run_until(10 * S, "it is taken back", |world| world.newest().change().is_none());
    // Strict reads may miss what is lost.
    world.clients = false;
    world.accept_loss = true;
    world.propose(1, 9, stays(&[4], 5), vec![id(4)], 2);
    world.run_until(60 * S, "the removal is settled", |world| {
        world.settled() && world.newest().ring().member(id(4)).is_none()
    });
    world.run_until(20 * S, "the empty disk was filled, and votes again", |world| {
        world.settled() && world.keeper(2).is_some_and(dynamo_keeper::Keeper::votes)
    });
}

/// A majority of three are two: the one that is left, and the one that asks.
#[test]
fn two_of_three_replace_the_third() {
    let mut world = World::new(11, 3);
    world.add(4);
    world.run_for(3 * S);
    world.kill(3);
    world.run_for(S);
    world.propose(1, 7, [1, 2, 4].map(member).to_vec(), vec![id(3)], 1);
    world.run_until(60 * S, "the place is filled", |world| {
        world.settled() && world.newest().ring().member(id(3)).is_none()
    });
    world.check_nothing_lost();
}

/// With every message that comes in it could be asked anew.
#[test]
fn a_disk_that_takes_no_fence_is_left_alone_for_a_while() {
    let mut world = World::new(13, 4);
    world.run_for(3 * S);
    world.add(5);
    world.run_for(S);
    // One that has to seal, and goes on hearing of newer rings.
    world.full.insert(id(3));
    world.propose(1, 7, (1..=5).map(member).collect(), vec![], 3);
    world.run_for(20 * S);
    // At most one each two seconds, and some before that is so.
    assert!((3..=18).contains(&world.fences_refused), "it was asked {} times", world.fences_refused);
    world.full.clear();
    world.run_until(60 * S, "the join is settled", |world| {
        world.settled() && world.newest().ring().member(id(5)).is_some()
    });
    world.check_nothing_lost();
}

/// It refuses everybody's requests of the present epoch, and nobody else knows of a newer one.
#[test]
fn a_node_that_crashed_between_fencing_and_keeping_serves_again() {
    let mut world = World::new(12, 3);
    world.run_for(3 * S);
    assert_eq!(world.newest().ring().epoch(), 1);
    world.crash(2, S);
    world.fence_ahead(2, 2);
    world.run_until(15 * S, "the ring is where the fence is", |world| {
        world.newest().ring().epoch() >= 2 && world.settled()
    });
    world.check_nothing_lost();
}

/// Two old homes are left of what moves, and the step needs both: the one that drives it counts too.
#[test]
fn who_drives_a_step_counts_as_sealed_itself() {
    let mut world = World::new(10, 5);
    world.add(6);
    world.run_for(3_000_000);
    world.kill(5);
    world.run_for(500_000);
    let mut members = stays(&[5], 5);
    members.push(member(6));
    let began = world.now;
    world.propose(1, 1, members, vec![id(5)], 1);
    world.run_until(20_000_000, "the place is filled", |world| {
        world.newest().change().is_none() && world.version(1) > 2
    });
    assert_eq!(world.newest().ring().epoch(), 2, "no step was given up meanwhile: {:?}", world.log);
    assert!(world.now - began < 8_000_000, "it took {} us", world.now - began);
    world.run_until(30_000_000, "all is settled", World::settled);
    world.check_nothing_lost();
}

#[test]
fn an_emptied_disk_is_filled_and_votes_again_under_its_new_life() {
    let mut world = World::new(6, 3);
    world.run_for(3 * S);
    world.wipe(2, S);
    world.run_for(S + S / 400);
    assert!(world.keeper(2).is_some_and(|keeper| !keeper.votes() && keeper.refilling() > 0));
    world.run_until(60 * S, "it is whole and votes", |world| {
        world.settled() && world.keeper(2).is_some_and(|keeper| keeper.votes() && keeper.refilling() == 0)
    });
    assert_eq!(world.newest().gone().len(), 1);
    world.run_for(S);
    world.check_nothing_lost();
}

#[test]
fn a_damaged_record_is_had_again_and_strict_reads_are_refused_meanwhile() {
    let mut world = World::new(8, 3);
    world.run_for(3 * S);
    assert!(world.damage(2));
    assert_eq!(world.keeper(2).map(dynamo_keeper::Keeper::refilling), Some(1));
    world.run_until(20 * S, "it is whole again", World::settled);
    world.clients = false;
    world.run_until(20 * S, "all homes are equal", World::equal);
    world.check_nothing_lost();
}

#[test]
fn two_administrators_cannot_fork_the_ring() {
    for seed in 0..20 {
        let mut world = World::new(100 + seed, 4);
        world.weather = Weather { lost_percent: 5, slow_us: 20_000 };
        world.run_for(3 * S);
        world.add(5);
        world.add(6);
        world.run_for(S);
        world.propose(1, 7, stays(&[6], 6), vec![], 2);
        world.propose(3, 8, stays(&[5], 6), vec![], 2);
        world.run_until(120 * S, "one of them is settled", |world| world.settled() && world.done.len() >= 2);
        let made = world.done.iter().filter(|(_, result)| result.is_ok()).count();
        assert!(made <= 1, "{:?}", world.done);
        world.check_nothing_lost();
    }
}

/// A number from the environment, for longer runs.
#[expect(clippy::disallowed_methods, reason = "a test's setting, not the machine's")]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Joins, leaves, removals, cancellations, crashes, wiped disks, cuts, at random moments.
#[test]
fn whatever_happens_no_acknowledged_write_is_lost_and_strict_reads_see_them() {
    let (seeds, from) = (setting("KEEPER_SEEDS", 10), setting("KEEPER_FROM", 0));
    for seed in from..from + seeds {
        println!("seed {seed}");
        let mut world = World::new(1000 + seed, 4);
        world.weather = Weather { lost_percent: world.chance.below(4), slow_us: 1000 + world.chance.below(20_000) };
        world.run_for(3 * S);
        world.add(5);
        world.add(6);
        let mut request = 10;
        for _ in 0..12 {
            let us = world.chance.below(4 * S);
            world.run_for(us);
            request += 1;
            let number = 1 + u128::from(world.chance.below(6));
            match world.chance.below(8) {
                0 | 1 => {
                    let newest = world.newest();
                    let mut members: Vec<_> = newest.ring().members().to_vec();
                    if !members.iter().any(|member| member.id == id(number)) {
                        members.push(member(number));
                        let steps = 1 + world.chance.below(4) as usize;
                        world.propose(1 + number % 4, request, members, vec![], steps);
                    }
                }
                2 | 3 => {
                    let mut members: Vec<_> = world.newest().ring().members().to_vec();
                    members.retain(|member| member.id != id(number));
                    if members.len() >= 3 {
                        world.propose(1 + (number + 1) % 4, request, members, vec![], 2);
                    }
                }
                4 => world.change(number, request, |charter, _| charter.cancel().ok()),
                5 | 6 => {
                    let down = world.chance.below(2 * S);
                    world.crash(number, down);
                }
                _ => {
                    let other = 1 + u128::from(world.chance.below(6));
                    if other != number {
                        world.cut.insert((id(number), id(other)));
                        world.cut.insert((id(other), id(number)));
                        let us = world.chance.below(3 * S);
                        world.run_for(us);
                        world.cut.clear();
                    }
                }
            }
        }
        world.weather.lost_percent = 0;
        world.run_until(200 * S, &format!("seed {seed} settles"), World::settled);
        world.run_for(2 * S);
        world.check_nothing_lost();
        world.clients = false;
        world.run_until(60 * S, &format!("seed {seed}: all homes are equal"), World::equal);
        assert!(world.acknowledged > 500, "seed {seed}: {}", world.acknowledged);
    }
}
