//! Properties of comparisons that hold whatever the stores are, whatever is written meanwhile, and in whatever order things
//! happen (§4.7, 4.9).

mod support;

use std::collections::BTreeMap;

use dynamo_merkle::{self as merkle, Shape};
use dynamo_transfer::{ComparisonSettings, Ended, Purpose, Refused};
use proptest::{collection::vec, prelude::*, sample::select};
use support::{RECORD_BYTES_MAX, Store, World, bits, hash, key, union};

/// What one key is at the two replicas: bits of its states, 0 for none.
fn stores() -> impl Strategy<Value = (Store, Store)> {
    let state = || prop_oneof![2 => Just(0u32), 3 => 1u32..4];
    let one = prop_oneof![(state(), state()), (1u32..4).prop_map(|state| (state, state))];
    let states = prop_oneof![1 => 0usize..4, 3 => 4usize..60].prop_flat_map(move |keys| vec(one.clone(), keys));
    // Often one side has nothing at all.
    (1u8..=2, states, 0u8..4).prop_map(|(depth, states, empty)| {
        let side = |pick: fn(&(u32, u32)) -> u32| {
            let mut store = Store::new(Shape::new(depth).expect("a depth in range"), union);
            for (number, state) in states.iter().map(pick).enumerate().filter(|(_, state)| *state != 0) {
                store.merge(&key(number), &bits(number, state));
            }
            store
        };
        (if empty == 0 { side(|_| 0) } else { side(|states| states.0) }, side(|states| states.1))
    })
}

/// From the least that is possible upwards.
fn settings() -> impl Strategy<Value = (ComparisonSettings, u64)> {
    let exchange = select(vec![(1, 1, 1), (3, 4, 50), (64, 1024, 64 << 10)]);
    (exchange, 1usize..9, 1u32..200, 1usize..5, select(vec![1, 60, 1 << 20])).prop_map(
        |((nodes_max, entries_max, keys_bytes_max), fetch_keys, fetch_bytes, in_flight, grant_bytes)| {
            let plain = ComparisonSettings::new(hash, Shape::default());
            let exchange = merkle::Settings { nodes_max, entries_max, keys_bytes_max, ..plain.exchange };
            (ComparisonSettings { exchange, fetch_keys, fetch_bytes, in_flight, ..plain }, grant_bytes)
        },
    )
}

fn world() -> impl Strategy<Value = World> {
    (stores(), settings()).prop_map(|((mine, theirs), (settings, grant_bytes))| {
        let settings = ComparisonSettings { shape: mine.tree.shape(), ..settings };
        let mut world = World::new(mine, theirs, settings);
        world.grant_bytes = grant_bytes;
        world
    })
}

fn purpose() -> impl Strategy<Value = Purpose> {
    select(vec![Purpose::Pull, Purpose::Push, Purpose::Both])
}

fn choices() -> impl Strategy<Value = Vec<usize>> {
    vec(0usize..1_000, 1..60)
}

/// A write at one of the replicas, or nothing: which, of which key, bits.
fn writes() -> impl Strategy<Value = Vec<(bool, usize, u32)>> {
    vec((any::<bool>(), 0usize..70, prop_oneof![2 => Just(0u32), 1 => 1u32..256]), 1..40)
}

fn pulls(purpose: Purpose) -> bool {
    purpose != Purpose::Push
}

fn pushes(purpose: Purpose) -> bool {
    purpose != Purpose::Pull
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_one_side_had_throughout_the_other_has_afterwards(
        mut world in world(),
        purpose in purpose(),
        choices in choices(),
        writes in writes(),
    ) {
        world.quiet = false;
        let (mine, theirs) = (world.mine.states.clone(), world.theirs.states.clone());
        world.begin(1, purpose, None, false);
        for step in 0..world.steps_max() {
            let choice = choices[step % choices.len()];
            if choice % 3 == 0 && step < 100 {
                world.double(choice / 3);
            }
            if !world.step(choice) {
                break;
            }
            let (here, number, state) = writes[step % writes.len()];
            if state != 0 {
                let store = if here { &mut world.mine } else { &mut world.theirs };
                store.merge(&key(number), &bits(number, state));
            }
        }
        prop_assert!(matches!(world.ended(), Some(Ended::Complete { sealed: false, .. })), "{:?}", world.outcome);
        prop_assert!(!pulls(purpose) || world.mine.dominates(&theirs));
        prop_assert!(!pushes(purpose) || world.theirs.dominates(&mine));
    }

    #[test]
    fn while_nobody_writes_it_moves_what_differs_and_nothing_else(
        mut world in world(),
        purpose in purpose(),
        choices in choices(),
    ) {
        let (mine, theirs) = (world.mine.states.clone(), world.theirs.states.clone());
        world.begin(1, purpose, None, false);
        let outcome = world.run(&choices);
        prop_assert_eq!(outcome.ended, Ended::Complete { sealed: false, whole: true, equal: mine == theirs });
        let differing = |key: &&merkle::Key| mine.get(*key) != theirs.get(*key);
        let wanted = theirs.keys().filter(differing).count() as u64;
        prop_assert_eq!(outcome.moved.fetched, if pulls(purpose) { wanted } else { 0 });
        let behind = mine.iter().filter(|(key, set)| theirs.get(*key).is_none_or(|theirs| union(set, theirs) != *theirs));
        let offered = mine.keys().filter(differing).count() as u64;
        let offered = if pulls(purpose) { behind.count() as u64 } else { offered };
        prop_assert_eq!(outcome.moved.pushed, if pushes(purpose) { offered } else { 0 });
        prop_assert!(!pulls(purpose) || world.mine.dominates(&theirs));
        prop_assert!(!pushes(purpose) || world.theirs.dominates(&mine));
        prop_assert!(pulls(purpose) || world.mine.states == mine);
        prop_assert!(pushes(purpose) || world.theirs.states == theirs);
    }

    #[test]
    fn one_that_was_interrupted_begins_again_and_moves_only_the_rest(
        mut world in world(),
        purpose in purpose(),
        choices in choices(),
        cuts in vec(0usize..80, 0..4),
        (merges_survive, resumes) in (any::<bool>(), any::<bool>()),
    ) {
        let weight = |key: &merkle::Key, set: &bytes::Bytes| (key.len() + set.len()) as u64;
        let (mine, theirs) = (world.mine.states.clone(), world.theirs.states.clone());
        let wanted = theirs.iter().filter(|(key, set)| mine.get(*key) != Some(*set)).map(|(key, set)| weight(key, set));
        let offered = mine.iter().filter(|(key, set)| theirs.get(*key) != Some(*set)).map(|(key, set)| weight(key, set));
        let wanted = if pulls(purpose) { wanted.sum() } else { 0 };
        let offered = if pushes(purpose) { offered.sum() } else { 0 };
        // Where records go one way alone, what both sides have of one key, and not the same, differs afterwards too: each try
        // moves it again.
        let again = |had: &BTreeMap<merkle::Key, bytes::Bytes>, has: &BTreeMap<merkle::Key, bytes::Bytes>| -> u64 {
            let stays = |key: &merkle::Key, set: &bytes::Bytes| has.get(key).is_some_and(|other| union(set, other) != *set);
            had.iter().filter(|(key, set)| stays(key, set)).map(|(key, set)| weight(key, set)).sum()
        };
        let again = match purpose {
            Purpose::Push => again(&mine, &theirs),
            Purpose::Pull => again(&theirs, &mine),
            _ => 0,
        };
        let (mut travelled, mut resume) = (0, None);
        for (id, &cut) in cuts.iter().enumerate() {
            world.begin(id as u32, purpose, resume.take(), merges_survive);
            for step in 0..cut {
                world.step(choices[step % choices.len()]);
            }
            resume = world.comparison.bulk_position().filter(|_| resumes).cloned();
            travelled += world.travelled_bytes;
        }
        world.begin(99, purpose, resume, merges_survive);
        let outcome = world.run(&choices);
        prop_assert!(matches!(outcome.ended, Ended::Complete { .. }), "{:?}", outcome);
        prop_assert!(!pulls(purpose) || world.mine.dominates(&theirs));
        prop_assert!(!pushes(purpose) || world.theirs.dominates(&mine));
        // A unit under way may have fetched and pushed.
        let unit = 2 * (u64::from(world.settings.fetch_bytes) + RECORD_BYTES_MAX);
        let most = wanted + offered + cuts.len() as u64 * (world.settings.in_flight as u64 * unit + again);
        let travelled = travelled + world.travelled_bytes;
        prop_assert!(travelled <= most, "{} bytes, {} to have and {} to give", travelled, wanted, offered);
    }

    #[test]
    fn what_is_damaged_at_the_peer_is_never_taken_for_complete(
        mut world in world(),
        purpose in purpose(),
        choices in choices(),
        damaged in vec(0usize..60, 1..5),
    ) {
        let damaged = damaged.into_iter().map(key).filter(|key| world.theirs.states.contains_key(key));
        world.theirs.damaged = damaged.collect();
        let (mine, theirs) = (world.mine.states.clone(), world.theirs.states.clone());
        let differing = |key: &&merkle::Key| mine.get(*key) != theirs.get(*key);
        let bulk = pulls(purpose) && mine.is_empty();
        let met = world.theirs.damaged.iter().filter(differing);
        let met = met.filter(|key| pulls(purpose) || mine.contains_key(*key)).count() as u64;
        world.begin(1, purpose, None, false);
        match world.run(&choices).ended {
            Ended::Complete { .. } => prop_assert_eq!(met, 0),
            // A page that is cut may count its damage twice.
            Ended::Partial { keys } => prop_assert!(keys == met || (bulk && keys > met), "{} of {}", keys, met),
            ended => prop_assert!(false, "{:?}", ended),
        }
    }

    #[test]
    fn what_is_damaged_here_is_not_taken_for_sent(mut world in world(), purpose in purpose(), choices in choices()) {
        world.mine.damaged = world.mine.states.keys().take(2).cloned().collect();
        let (mine, theirs) = (world.mine.states.clone(), world.theirs.states.clone());
        let differing = |key: &&merkle::Key| mine.get(*key) != theirs.get(*key);
        let met = world.mine.damaged.iter().filter(differing).filter(|key| pushes(purpose) || theirs.contains_key(*key));
        let met = met.count() as u64;
        world.begin(1, purpose, None, false);
        match world.run(&choices).ended {
            Ended::Complete { .. } => prop_assert_eq!(met, 0),
            // One that is neither merged nor sent is counted twice.
            Ended::Partial { keys } => prop_assert!((met..=2 * met).contains(&keys), "{} of {}", keys, met),
            ended => prop_assert!(false, "{:?}", ended),
        }
    }

    #[test]
    fn sealed_is_reported_exactly_when_every_answer_said_so(
        mut world in world(),
        purpose in purpose(),
        choices in choices(),
        seals_at in prop_oneof![Just(0usize), 0usize..60],
    ) {
        world.begin(1, purpose, None, false);
        for step in 0..world.steps_max() {
            world.sealed |= step >= seals_at;
            if !world.step(choices[step % choices.len()]) {
                break;
            }
        }
        match world.ended() {
            Some(Ended::Complete { sealed, .. }) => {
                prop_assert_eq!(sealed, world.answers > 0 && world.all_answers_sealed);
                prop_assert!(sealed || seals_at > 0);
            }
            ended => {
                let refused = Some(Ended::Refused { epoch: support::EPOCH, reason: Refused::Sealed });
                prop_assert!(pushes(purpose) && world.sealed && ended == refused, "{:?}", ended);
            }
        }
    }

    #[test]
    fn with_messages_lost_it_ends_all_the_same(
        mut world in world(),
        purpose in purpose(),
        choices in choices(),
        lost_at in 0usize..60,
    ) {
        world.begin(1, purpose, None, false);
        for step in 0..world.steps_max() {
            if step == lost_at {
                world.lose(choices[0]);
            }
            if !world.step(choices[step % choices.len()]) {
                break;
            }
        }
        let ended = world.ended();
        prop_assert!(matches!(ended, Some(Ended::Silent | Ended::Complete { .. })), "{:?}", ended);
        prop_assert!(ended != Some(Ended::Silent) || world.now == world.settings.reply_timeout_us);
    }
}
