//! Comparisons of what the store really holds: concurrent writes of two replicas meet as siblings (§4.4).

mod support;

use bytes::Bytes;
use dynamo_merkle::{Shape, Tree};
use dynamo_transfer::{ComparisonSettings, Ended, Purpose};
use dynamo_version::{Causality, Minter, Mode, Payload, SiblingSet, mint};
use proptest::{collection::vec, prelude::*};
use support::{Store, World, hash, key};

fn decode(set: &[u8]) -> SiblingSet {
    SiblingSet::decode(Bytes::copy_from_slice(set)).expect("was one")
}

fn join(one: &[u8], other: &[u8]) -> Bytes {
    let mut set = decode(one);
    set.merge(&decode(other), Mode::Siblings);
    set.encode()
}

/// A put or a delete by a client that has seen all that this replica has, or nothing.
fn write(store: &mut Store, node: u128, number: usize, seen: bool, delete: bool) {
    let mut set = store.states.get(&key(number)).map_or_else(SiblingSet::new, |set| decode(set));
    let context = if seen { set.causality().clone() } else { Causality::new() };
    let minter = Minter { node, incarnation: 1, epoch_floor: 1 };
    let (dot, _epoch) = mint(&set, &context, &minter, None, || 1);
    let stamp = set.stamp(1_700_000_000_000, set.max_timestamp());
    let payload = if delete { Payload::Tombstone } else { Payload::Value(Bytes::from(vec![node as u8; 20])) };
    set.write(&context, dot, stamp, payload, Mode::Siblings);
    // The store's own join takes it in: the new set covers the one before.
    store.merge(&key(number), &set.encode());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn replicas_that_were_written_apart_end_with_the_same_siblings(
        writes in vec((any::<bool>(), 0usize..20, any::<bool>(), any::<bool>()), 0..60),
        choices in vec(0usize..1_000, 1..40),
    ) {
        let shape = Shape::new(2).expect("a depth in range");
        let (mut mine, mut theirs) = (Store::new(shape, join), Store::new(shape, join));
        for (here, number, seen, delete) in writes {
            let (store, node) = if here { (&mut mine, 1) } else { (&mut theirs, 2) };
            write(store, node, number, seen, delete);
        }
        let before = (mine.states.clone(), theirs.states.clone());
        let mut world = World::new(mine, theirs, ComparisonSettings::new(hash, shape));
        world.begin(1, Purpose::Both, None, false);
        let outcome = world.run(&choices);
        prop_assert!(matches!(outcome.ended, Ended::Complete { .. }), "{:?}", outcome);
        prop_assert_eq!(&world.mine.states, &world.theirs.states);
        prop_assert!(world.mine.dominates(&before.0) && world.mine.dominates(&before.1));
        let built = Tree::build(shape, world.mine.states.iter().map(|(key, set)| (hash(key), hash(set))));
        prop_assert_eq!(&world.mine.tree, &built);
        world.begin(2, Purpose::Both, None, false);
        prop_assert_eq!(world.run(&choices).ended, Ended::Complete { sealed: false, whole: true, equal: true });
    }
}
