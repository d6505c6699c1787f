//! Whatever is edited, whatever breaks, wherever operators die: in the end everything is as it is wanted, and stays so
//! without a write; and on the way no range loses its quorum by the operator's doing, no pod and no disk goes that is needed.
//! (The judge of these looks at each write: see `cluster-model/src/judge.rs`.)

mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use dynamo_planner::{Action, PodId};
use proptest::prelude::*;
use world::{World, wanted, zones};

/// A store's life: so many seconds of edits and misfortunes, then calm.
#[derive(Debug, Clone)]
struct Life {
    seed: u64,
    n: u32,
    more: u32,
    named: Option<&'static str>,
    operators: usize,
    edits: u64,
    misfortunes: u64,
    seconds: u64,
}

fn lives() -> impl Strategy<Value = Life> {
    let zones = prop_oneof![Just(None), Just(Some("abc")), Just(Some("a")), Just(Some("ab")), Just(Some("dcba"))];
    let n = prop_oneof![1 => Just(1_u32), 1 => Just(2), 6 => Just(3)];
    let rates = (0..=3_u64, 0..=3_u64, 100..=900_u64);
    (any::<u64>(), n, 0..=5_u32, zones, 1..=2_usize, rates).prop_map(|(seed, n, more, named, operators, rates)| {
        let (edits, misfortunes, seconds) = rates;
        Life { seed, n, more, named, operators, edits, misfortunes, seconds }
    })
}

fn live(life: &Life) {
    let mut spec = wanted(life.n + life.more, life.n);
    spec.zones = life.named.map(zones);
    let mut world = World::new(life.seed, spec, "abcd", life.operators);
    world.weather.rough = true;
    for _ in 0..life.seconds {
        world.step();
        if world.chance.percent(life.edits) {
            world.edit();
        }
        if world.chance.percent(life.misfortunes) {
            world.befall();
        }
    }
    world.calm();
    world.settle(6000);
    world.stays_settled();
}

/// Other lives each time, some few in a debug build. As many as one likes:
/// `PROPTEST_CASES=400 cargo test --release -p dynamo-planner --test converges`. One that fails is told as a `Life`: it belongs
/// among those of `lives_that_once_failed`.
fn chosen_at_random() -> ProptestConfig {
    let told = ProptestConfig::default();
    let cases = if cfg!(debug_assertions) { 24 } else { told.cases };
    // A life that is shorter is another life: nothing is shrunk, and nothing is to be kept beside this file.
    ProptestConfig { cases, max_shrink_iters: 0, failure_persistence: None, ..told }
}

proptest! {
    #![proptest_config(chosen_at_random())]

    #[test]
    fn every_life_ends_as_it_is_wanted_and_harms_nothing_on_the_way(life in lives()) {
        live(&life);
    }
}

#[test]
fn edits_while_transfers_run_end_as_the_last_one_says() {
    for seed in 0..8 {
        let mut world = World::new(seed, wanted(5, 3), "abc", 2);
        world.settle(600);
        for replicas in [9, 4, 6] {
            world.wanted.replicas = replicas;
            let pause = 5 + world.chance.below(40);
            world.run(pause);
        }
        world.settle(2000);
        world.stays_settled();
    }
}

#[test]
fn two_operators_that_see_old_things_and_die_often_harm_nothing() {
    for seed in 0..8 {
        let mut world = World::new(seed, wanted(6, 3), "abc", 2);
        world.settle(600);
        world.weather.rough = true;
        for (replicas, template) in [(9, "two"), (4, "two"), (6, "three"), (3, "four")] {
            (world.wanted.replicas, world.wanted.template) = (replicas, template.to_owned());
            world.run(150);
        }
        world.calm();
        world.settle(3000);
        world.stays_settled();
    }
}

/// The judge can tell what is wrong.
#[test]
fn what_must_not_happen_is_caught() {
    let settled = || {
        let mut world = World::new(3, wanted(3, 3), "abc", 1);
        world.settle(600);
        world.run(20);
        world
    };
    let caught = |harm: &dyn Fn(&mut World)| catch_unwind(AssertUnwindSafe(|| harm(&mut settled()))).is_err();
    let stop = |world: &mut World, set: &str| {
        let pod = PodId::new(set, 0);
        let uid = world.kube.pods[&pod].uid.clone();
        world.write(&Action::DeletePod { pod, uid, under: 0 }).expect("nobody else writes");
    };
    assert!(!caught(&|world| stop(world, "c-a")), "one may be away");
    assert!(caught(&|world| ["c-a", "c-b"].iter().for_each(|set| stop(world, set))), "two of one range");
    assert!(caught(&|world| world.judge_departure(&PodId::new("c-a", 0))), "a member");
    let lose = |world: &mut World, set: &str| world.kube.claims.get_mut(&PodId::new(set, 0)).unwrap().deleting = true;
    assert!(!caught(&|world| world.judge_deletion(&PodId::new("c-a", 0))), "the others have everything");
    let beside_another = |world: &mut World| {
        lose(world, "c-b");
        world.judge_deletion(&PodId::new("c-a", 0));
    };
    assert!(caught(&beside_another), "one of the others is going");
    assert!(
        caught(&|world| {
            ["c-a", "c-b", "c-c"].iter().for_each(|set| lose(world, set));
            world.judge_data()
        }),
        "all disks"
    );
}

/// Lives that once did not end, or did harm.
#[test]
fn lives_that_once_failed() {
    let life = |seed, n, more, named, operators, (edits, misfortunes, seconds)| {
        live(&Life { seed, n, more, named, operators, edits, misfortunes, seconds });
    };
    // A StatefulSet was made anew just when a bad template was there, and a pod below healthy ones came back from it.
    life(15408035697301569433, 3, 5, Some("abc"), 1, (3, 1, 243));
    life(15408035812100382091, 3, 5, Some("abc"), 1, (3, 1, 265));
    // Of two nodes one is a majority's lack: a restart was called off by its own pod's absence, again and again.
    life(18431149640743242555, 1, 1, None, 2, (2, 3, 299));
    // The machine of a node that joined was lost: its disk was given up while the change waited for it, as is right.
    life(6565700151686778749, 3, 1, Some("dcba"), 2, (2, 3, 100));
    // The founders' zone was taken out of the spec before it had its StatefulSet.
    life(17053545385179619745, 1, 0, None, 1, (1, 0, 100));
    // As many nodes as were wanted, in zones that were not: that is not the end yet.
    life(10820227505763701885, 3, 4, None, 1, (3, 1, 654));
    // A pod that was seen to be down came up in the second in which it was restarted.
    life(5416829318452991719, 3, 3, None, 2, (1, 3, 837));
}
