//! The register under loss, doubling, reordering, crashes, wiped disks, cut networks and proposers that know only old
//! voters: its values form one chain, and who is told something is told the truth (Lamport 2001; Rystsov 2018).

mod register_world;

use dynamo_ring::register::Outcome;
use proptest::prelude::*;
use register_world::{Broken, World};

const STEPS: usize = 4000;
/// For a proposer alone: it hears of later ballots, finishes what is half done, is outdated by it, and changes it.
const ATTEMPTS: usize = 8;

/// A world after some time of chaos.
fn weathered(seed: u64, steps: usize) -> World {
    let mut world = World::new(seed, Broken::Nothing);
    for _ in 0..steps {
        world.step();
    }
    world
}

/// Chosen values are one chain, each made against the one before; what was told as chosen is in it, and was the
/// register's value when it was told; nothing is chosen that was said not to be.
fn all_is_right(world: &mut World) {
    world.judge.look_at_disks();
    assert_eq!((&world.judge.wrong, &world.judge.wrong_inside), (&Vec::new(), &Vec::new()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn chosen_values_are_one_chain_and_what_is_told_is_true(seed: u64) {
        let mut world = weathered(seed, STEPS);
        all_is_right(&mut world);
        world.ask_around();
        all_is_right(&mut world);
    }
}

#[test]
fn who_only_looks_sees_the_newest_in_all_weathers_and_nothing_is_written_for_it() {
    let looked: usize = (0..40).map(|seed| weathered(seed, STEPS)).map(|world| world.looked).sum();
    assert!(looked > 400, "{looked} looks came to an end");
    let mut world = World::new(7, Broken::Nothing);
    world.calm_down();
    let before = world.disks_written();
    for _ in 0..50 {
        world.look_once(0);
    }
    assert_eq!((world.looked, world.disks_written()), (50, before));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn with_a_majority_a_change_is_made_within_few_attempts(seed: u64) {
        let mut world = weathered(seed, STEPS / 2);
        world.calm_down();
        world.leave_majorities();
        let endings = world.attempts(0, ATTEMPTS, |ending| matches!(ending, Outcome::Chosen(_)));
        prop_assert!(matches!(endings.last(), Some(Outcome::Chosen(_))), "{:?}", endings);
        all_is_right(&mut world);
    }

    #[test]
    fn without_a_majority_a_change_says_so(seed: u64) {
        let mut world = weathered(seed, STEPS / 2);
        world.calm_down();
        let node = world.leave_no_majority();
        let endings = world.attempts(node, ATTEMPTS, |ending| matches!(ending, Outcome::NoMajority { .. }));
        let Some(Outcome::NoMajority { answered, needed, of }) = endings.last() else { panic!("{endings:?}") };
        prop_assert!(answered < needed && needed <= of);
        all_is_right(&mut world);
    }

    #[test]
    fn several_proposers_at_once_get_on(seed: u64) {
        let mut world = weathered(seed, STEPS / 4);
        world.calm_down();
        let before = world.judge.newest().version();
        let ended = world.endings.len();
        while world.judge.newest().version() < before + 5 {
            world.step();
            prop_assert!(world.endings.len() < ended + 200);
        }
        all_is_right(&mut world);
    }
}
