//! What the planner writes down is read back as it was, and what people make of it is told, never guessed.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_planner::{
    Founders, Mark, PodId,
    record::{founders_of_data, founders_to_data, turn_of_data, turn_to_data},
    turn::{Turn, Work},
};
use proptest::{collection, prelude::*};

fn pods() -> impl Strategy<Value = PodId> {
    ("[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", any::<u32>()).prop_map(|(set, ordinal)| PodId::new(&set, ordinal))
}

fn uids() -> impl Strategy<Value = String> {
    "[-a-f0-9]{0,36}"
}

fn works() -> impl Strategy<Value = Work> {
    let restarts = (collection::btree_map(pods(), uids(), 0..5), "[a-z0-9]{0,9}")
        .prop_map(|(pods, template)| Work::Restart { pods, template });
    let shrinks = collection::btree_set(pods(), 0..5).prop_map(|pods| Work::Shrink { pods });
    let replaces =
        (pods(), uids(), any::<u64>()).prop_map(|(pod, claim, incarnation)| Work::Replace { pod, claim, incarnation });
    prop_oneof![restarts, Just(Work::Ring), shrinks, replaces]
}

fn marks() -> impl Strategy<Value = Mark> {
    let left = (any::<u64>(), any::<bool>()).prop_map(|(incarnation, kept)| Mark::Left { incarnation, kept });
    prop_oneof![left, Just(Mark::NeverJoined), Just(Mark::Lost)]
}

proptest! {
    #[test]
    fn a_turn_is_read_as_it_was_written(id in any::<u64>(), work in proptest::option::of(works())) {
        let turn = work.map(|work| Turn { id, work });
        prop_assert_eq!(turn_of_data(&turn_to_data(id, turn.as_ref())), Ok((id, turn)));
    }

    #[test]
    fn a_mark_is_read_as_it_was_written(mark in marks()) {
        prop_assert_eq!(mark.to_string().parse::<Mark>(), Ok(mark));
    }

    #[test]
    fn founders_are_read_as_they_were_written(zones in collection::btree_map("[a-z]{1,3}", any::<u32>(), 0..4)) {
        let founders = Founders { zones };
        prop_assert_eq!(founders_of_data(&founders_to_data(&founders)), Ok(founders));
    }

    #[test]
    fn whatever_people_write_is_read_or_told(key in "last|work|pods|template|incarnation", value in ".{0,20}", work in works()) {
        let mut data = turn_to_data(4, Some(&Turn { id: 4, work }));
        data.insert(key, value.clone());
        if let Ok((last, turn)) = turn_of_data(&data) {
            prop_assert_eq!(turn_of_data(&turn_to_data(last, turn.as_ref())), Ok((last, turn)));
        }
        if let Ok(mark) = value.parse::<Mark>() {
            prop_assert_eq!(mark.to_string(), value);
        }
    }
}

#[test]
fn what_cannot_be_read_says_what_it_is() {
    let data = BTreeMap::from([("last".to_owned(), "4".to_owned()), ("work".to_owned(), "dance".to_owned())]);
    let error = turn_of_data(&data).unwrap_err();
    assert_eq!(error.to_string(), "\"dance\" is no work of a turn: nothing was changed; undo what was edited by hand");
    assert!(turn_of_data(&BTreeMap::new()).is_err());
    let shrink = Work::Shrink { pods: BTreeSet::from([PodId::new("c-a", 1)]) };
    let data = turn_to_data(1, Some(&Turn { id: 1, work: shrink }));
    assert_eq!(data["pods"], "c-a-1");
}
