//! The tests can fail: each rule of the register that is broken on purpose is noticed within a few hundred seeds, and
//! where that is possible by what its users are told, not by a look at the disks.

mod register_world;

use register_world::{Broken, World};

const STEPS: usize = 4000;
const SEEDS: u64 = 400;

/// The first seed in which something is wrong.
fn noticed(broken: Broken, wrong: impl Fn(&World) -> Option<&String>) -> u64 {
    let seed = (0..SEEDS).find(|&seed| {
        let mut world = World::new(seed, broken);
        for _ in 0..STEPS {
            world.step();
            if wrong(&world).is_some() {
                return true;
            }
        }
        world.ask_around();
        wrong(&world).is_some()
    });
    seed.unwrap_or_else(|| panic!("{broken:?} is not noticed"))
}

fn told(world: &World) -> Option<&String> {
    world.judge.wrong.first()
}

#[test]
fn answers_before_the_disk_has_them_are_noticed() {
    noticed(Broken::ReplyBeforePersist, told);
}

#[test]
fn changes_accepted_by_the_new_voters_alone_are_noticed() {
    noticed(Broken::AcceptByNewVotersOnly, told);
}

/// Nobody is told anything wrong as long as a proposer remembers the value; but the previous voters may leave with it.
#[test]
fn changes_accepted_by_the_previous_voters_alone_are_noticed() {
    let kept_by_too_few =
        |world: &World| world.judge.wrong_inside.iter().any(|wrong| wrong.ends_with("on too few disks"));
    noticed(Broken::AcceptByPreviousVotersOnly, |world| {
        world.judge.wrong_inside.first().filter(|_| kept_by_too_few(world))
    });
}

#[test]
fn values_finished_without_their_own_voters_promises_are_noticed() {
    noticed(Broken::FinishWithoutNewVoters, told);
}

#[test]
fn values_finished_without_their_previous_voters_promises_are_noticed() {
    noticed(Broken::FinishWithoutPreviousVoters, told);
}

#[test]
fn a_wiped_disk_that_votes_again_is_noticed() {
    noticed(Broken::WipedVotesAgain, told);
}

#[test]
fn a_ballot_that_is_used_again_after_a_crash_is_noticed() {
    noticed(Broken::BallotsForgotten, told);
}

#[test]
fn a_value_that_one_voter_has_accepted_taken_for_chosen_is_noticed() {
    noticed(Broken::LooksAtOneVoter, told);
}
