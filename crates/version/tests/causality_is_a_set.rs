//! A causality is a set of dots in few words: whatever it is asked agrees with the plain set.

use std::{cmp::Ordering, collections::BTreeSet};

use dynamo_version::{Actor, Causality, Dot};
use proptest::{collection, prelude::*};

type Plain = BTreeSet<Dot>;

fn dot(node: u128, counter: u64) -> Dot {
    Dot { actor: Actor { node, incarnation: 1, key_epoch: 1 }, counter }
}

fn dots() -> impl Strategy<Value = Vec<Dot>> {
    collection::vec((1..4_u128, 1..8_u64).prop_map(|(node, counter)| dot(node, counter)), 0..14)
}

fn plain(causality: &Causality) -> Plain {
    (1..4).flat_map(|node| (1..9).map(move |counter| dot(node, counter))).filter(|dot| causality.covers(dot)).collect()
}

fn order(one: &Plain, other: &Plain) -> Option<Ordering> {
    match (one.is_superset(other), other.is_superset(one)) {
        (true, true) => Some(Ordering::Equal),
        (true, false) => Some(Ordering::Greater),
        (false, true) => Some(Ordering::Less),
        (false, false) => None,
    }
}

proptest! {
    #[test]
    fn it_covers_what_was_inserted_in_any_order(mut dots in dots()) {
        let causality: Causality = dots.iter().copied().collect();
        prop_assert_eq!(plain(&causality), dots.iter().copied().collect::<Plain>());
        prop_assert_eq!(causality.is_empty(), dots.is_empty());
        dots.sort();
        prop_assert_eq!(&dots.iter().copied().collect::<Causality>(), &causality);
        prop_assert_eq!(&dots.iter().rev().copied().collect::<Causality>(), &causality);
    }

    #[test]
    fn its_counters_are_the_unbroken_and_the_highest(dots in dots()) {
        let causality: Causality = dots.iter().copied().collect();
        for node in 1..4 {
            let unbroken = (1..).find(|counter| !dots.contains(&dot(node, *counter))).expect("few dots") - 1;
            let highest = dots.iter().filter(|dot| dot.actor.node == node).map(|dot| dot.counter).max().unwrap_or(0);
            let actor = dot(node, 1).actor;
            prop_assert_eq!((causality.counter(&actor), causality.highest(&actor)), (unbroken, highest));
        }
    }

    #[test]
    fn join_is_the_union_and_says_whether_it_grew(one in dots(), other in dots()) {
        let (left, right): (Causality, Causality) = (one.iter().copied().collect(), other.iter().copied().collect());
        let mut joined = left.clone();
        let grew = joined.join(&right);
        prop_assert_eq!(grew, joined != left);
        prop_assert_eq!(&joined, &one.iter().chain(&other).copied().collect::<Causality>());
        prop_assert_eq!(left.partial_cmp(&right), order(&plain(&left), &plain(&right)));
        prop_assert!(joined >= left && joined >= right);
    }
}

#[test]
fn the_last_counter_there_is_overflows_nothing() {
    let mut causality: Causality = [dot(1, u64::MAX), dot(1, 1)].into_iter().collect();
    assert!(causality.covers(&dot(1, u64::MAX)) && !causality.covers(&dot(1, u64::MAX - 1)));
    assert!(!causality.join(&causality.clone()));
}

#[test]
#[should_panic(expected = "counted from 1")]
fn a_write_without_a_number_is_a_broken_invariant() {
    Causality::new().insert(dot(1, 0));
}
