//! Three replicas of a partition that all compare with each other at the same time (§4.7).

mod support;

use std::mem::swap;

use dynamo_merkle::Shape;
use dynamo_transfer::{ComparisonSettings, Ended, Purpose};
use proptest::{collection::vec, prelude::*};
use support::{Store, World, bits, hash, key, union};

/// Who asks whom.
const PAIRS: [(usize, usize); 4] = [(0, 1), (1, 0), (2, 1), (0, 2)];

/// Runs all comparisons, a step here and a step there; returns how they ended.
fn round(worlds: &mut [World], stores: &mut [Store], id: u32, choices: &[usize]) -> Vec<Ended> {
    for (world, (asks, answers)) in worlds.iter_mut().zip(PAIRS) {
        lend(world, stores, asks, answers);
        world.begin(id, Purpose::Both, None, false);
        lend(world, stores, asks, answers);
    }
    for step in 0..100_000 {
        let choice = choices[step % choices.len()];
        // Any of them, and each in turn, so that none waits for ever.
        let at = if step % 2 == 0 { step / 2 } else { choice / 100 } % worlds.len();
        let (asks, answers) = PAIRS[at];
        lend(&mut worlds[at], stores, asks, answers);
        worlds[at].step(choice);
        lend(&mut worlds[at], stores, asks, answers);
        if worlds.iter().all(|world| world.outcome.is_some()) {
            break;
        }
    }
    worlds.iter().map(|world| world.ended().expect("it ends")).collect()
}

/// Gives a comparison the stores that it is about, or takes them back.
fn lend(world: &mut World, stores: &mut [Store], asks: usize, answers: usize) {
    swap(&mut world.mine, &mut stores[asks]);
    swap(&mut world.theirs, &mut stores[answers]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn all_have_what_any_had_after_two_rounds(
        states in vec([0u32..8, 0u32..8, 0u32..8], 0..40),
        choices in vec(0usize..1_000, 1..40),
        (fetch_keys, fetch_bytes, in_flight) in (1usize..9, 1u32..200, 1usize..5),
    ) {
        let shape = Shape::new(1).expect("a depth in range");
        let settings = ComparisonSettings { fetch_keys, fetch_bytes, in_flight, ..ComparisonSettings::new(hash, shape) };
        let side = |side: usize| {
            let mut store = Store::new(shape, union);
            for (number, states) in states.iter().enumerate().filter(|(_, states)| states[side] != 0) {
                store.merge(&key(number), &bits(number, states[side]));
            }
            store
        };
        let mut stores: Vec<Store> = (0..3).map(side).collect();
        let before: Vec<_> = stores.iter().map(|store| store.states.clone()).collect();
        let empty = || Store::new(shape, union);
        let mut worlds: Vec<World> = PAIRS.map(|_| World::new(empty(), empty(), settings)).into();
        worlds.iter_mut().for_each(|world| world.quiet = false);
        for ended in round(&mut worlds, &mut stores, 1, &choices) {
            prop_assert!(matches!(ended, Ended::Complete { .. }), "{:?}", ended);
        }
        // What each had throughout, it gave to whom it met.
        for (one, other) in PAIRS {
            prop_assert!(stores[one].dominates(&before[other]) && stores[other].dominates(&before[one]));
        }
        round(&mut worlds, &mut stores, 2, &choices);
        prop_assert!(stores[0].states == stores[1].states && stores[1].states == stores[2].states);
        let ended = round(&mut worlds, &mut stores, 3, &choices);
        prop_assert_eq!(ended, [Ended::Complete { sealed: false, whole: true, equal: true }; 4]);
    }
}
