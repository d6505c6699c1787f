//! Actors that are gone for good leave the causality, and nothing else does (§4.4).

mod support;

use bytes::Bytes;
use dynamo_version::{Actor, Causality, Dot, Mode, Payload, SiblingSet, Timestamp};
use proptest::prelude::*;
use support::{NODES, World, mode, steps};

fn dot(node: u128, counter: u64) -> Dot {
    Dot { actor: Actor { node, incarnation: 1, key_epoch: 1 }, counter }
}

fn write(set: &mut SiblingSet, context: &Causality, dot: Dot, value: &'static str) {
    set.write(context, dot, Timestamp(dot.counter), Payload::Value(Bytes::from(value)), Mode::Siblings);
}

fn actors(set: &SiblingSet) -> Vec<Actor> {
    let vector = set.causality().entries().iter().map(|(actor, _)| *actor);
    vector.chain(set.causality().dots().iter().map(|dot| dot.actor)).collect()
}

#[test]
fn an_actor_goes_with_its_detached_dots_unless_a_version_of_it_is_left() {
    let mut set = SiblingSet::new();
    write(&mut set, &Causality::new(), dot(1, 1), "superseded");
    let seen: Causality = [dot(1, 1), dot(2, 4), dot(3, 1)].into_iter().collect();
    write(&mut set, &seen, dot(3, 2), "left");
    let before = set.clone();
    assert!(!set.prune(|actor| actor.node == 9), "nobody knows it");
    assert!(!set.prune(|actor| actor.node == 3), "it has a version here");
    assert_eq!(set, before);
    assert!(set.prune(|actor| actor.node <= 3));
    assert_eq!(actors(&set), [dot(3, 1).actor], "1 was in the vector, 2 had a detached dot");
    assert_eq!(set.values()[..], ["left"]);
    assert!(set.causality().covers(&dot(3, 1)));
    assert!(!set.prune(|actor| actor.node <= 3), "it is done");
}

#[test]
fn another_life_of_the_same_node_is_another_actor() {
    let mut set = SiblingSet::new();
    write(&mut set, &Causality::new(), dot(1, 1), "old");
    let second = Dot { actor: Actor { incarnation: 2, ..dot(1, 1).actor }, counter: 1 };
    let seen = set.causality().clone();
    write(&mut set, &seen, second, "new");
    assert!(set.prune(|actor| (actor.node, actor.incarnation) == (1, 1)));
    assert_eq!(actors(&set), [second.actor]);
}

#[test]
fn a_deleted_key_stays_deleted() {
    let mut set = SiblingSet::new();
    write(&mut set, &Causality::new(), dot(1, 1), "value");
    let seen = set.causality().clone();
    set.write(&seen, dot(2, 1), Timestamp(9), Payload::Tombstone, Mode::Siblings);
    assert!(set.prune(|actor| actor.node <= 2));
    assert!(set.is_deleted() && !set.is_empty());
    assert_eq!(SiblingSet::decode(set.encode()), Ok(set));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the history: versions stay, what is left is canonical, replicas that were equal stay so, and a replica that
    /// was not pruned brings all of it back.
    #[test]
    fn only_what_has_no_version_goes(mode in mode(), steps in steps(40), gone in 0..NODES) {
        let world = World::run(mode, &steps, |_| {});
        for one in world.states() {
            let gone = world.nodes[gone].minter.node;
            let mut pruned = one.set.clone();
            let changed = pruned.prune(|actor| actor.node == gone);
            prop_assert_eq!(changed, pruned != one.set);
            prop_assert_eq!(pruned.siblings(), one.set.siblings());
            prop_assert_eq!(SiblingSet::decode(pruned.encode()), Ok(pruned.clone()));
            let left = |actor: &Actor| pruned.siblings().iter().any(|sibling| sibling.dot.actor == *actor);
            prop_assert!(actors(&pruned).iter().all(|actor| actor.node != gone || left(actor)));
            let others = |set: &SiblingSet| -> Vec<Actor> {
                actors(set).into_iter().filter(|actor| actor.node != gone).collect()
            };
            prop_assert_eq!(others(&pruned), others(&one.set));
            pruned.merge(&one.set, mode);
            prop_assert_eq!(&pruned, &one.set);
        }
    }
}
