//! The ring and its nodes as they are told, settled and with a change under way.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_gossip::PeerState;
use dynamo_keeping::view::{Moves, View};
use dynamo_ring::NodeId;
use proptest::prelude::*;

use crate::cluster::{Cluster, id, join, known, leave, life, remove, replace, update};

fn view(cluster: &Cluster) -> View<'_> {
    View { version: 3, charter: &cluster.charter, known: &cluster.known }
}

fn ids(numbers: impl IntoIterator<Item = u128>) -> BTreeSet<NodeId> {
    numbers.into_iter().map(id).collect()
}

#[test]
fn a_settled_ring_has_its_members_those_that_gossip_knows_and_nobody_on_the_move() {
    let mut cluster = Cluster::of(4, 1);
    cluster.known.retain(|known| known.info.id != id(2));
    let view = view(&cluster);
    assert_eq!(view.ids(), ids(1..=5));
    assert_eq!(view.moves(), None);
    assert!(view.known(id(2)).is_none() && view.known(id(5)).is_some());
    assert_eq!(view.name(id(2)).as_deref(), Some("node-2"), "as the charter has it");
    assert_eq!(view.name(id(5)).as_deref(), Some("node-5"), "as gossip has it");
    assert_eq!(view.name(id(9)), None);
    assert!(view.last_gone().is_empty());
}

#[test]
fn a_member_is_behind_until_it_says_that_it_goes_by_this_version() {
    let mut cluster = Cluster::of(3, 1);
    cluster.node(1).info.ring_version = 2;
    cluster.node(2).info.ring_version = 3;
    cluster.known.retain(|known| known.info.id != id(3));
    cluster.node(4).info.ring_version = 0;
    let behind: Vec<bool> = (1..=4).map(|number| view(&cluster).is_behind(id(number))).collect();
    assert_eq!(behind, [true, false, true, false], "of one that is unknown nothing was heard; node-4 is no member");
}

#[test]
fn whoever_joins_and_leaves_is_told_from_the_first_step_to_the_last() {
    let mut cluster = Cluster::of(5, 2);
    cluster.tokens_at_once = 2;
    cluster.begin(&[join(6), leave(2), update(1, 2, "")]);
    let moves = Moves { joins: vec![id(6)], leaves: vec![id(2)], ..Moves::default() };
    let mut steps = 0;
    while cluster.charter.change().is_some() {
        assert_eq!(view(&cluster).moves().as_ref(), Some(&moves), "after {steps} steps");
        assert!(view(&cluster).ids().is_superset(&ids(1..=6)));
        assert_eq!(view(&cluster).name(id(6)).as_deref(), Some("node-6"));
        cluster.charter = cluster.charter.turn().unwrap();
        steps += 1;
    }
    assert!(steps > 1, "it has to be seen between two steps");
    assert_eq!(view(&cluster).moves(), None);
    // Who left is told of while it hands over, also when nobody remembers its name.
    cluster.known.retain(|known| known.info.id != id(2));
    assert!(view(&cluster).ids().contains(&id(2)));
    assert_eq!(view(&cluster).name(id(2)), None);
    assert_eq!(view(&cluster).last_gone(), BTreeMap::from([(id(2), life(2))]));
}

#[test]
fn who_is_taken_out_and_who_gets_its_tokens_is_told_throughout() {
    let replaced = (
        vec![replace(1, 10)],
        Moves { joins: vec![id(10)], leaves: vec![id(1)], removes: vec![], replaces: vec![(id(1), id(10))] },
    );
    // One after the other: the second has all its tokens still when the first has none any more.
    let both = (
        vec![replace(1, 10), replace(2, 11)],
        Moves {
            joins: vec![id(10), id(11)],
            leaves: vec![id(1), id(2)],
            removes: vec![],
            replaces: vec![(id(1), id(10)), (id(2), id(11))],
        },
    );
    let removed =
        (vec![remove(1)], Moves { joins: vec![], leaves: vec![id(1)], removes: vec![id(1)], replaces: vec![] });
    for (edits, moves) in [replaced, both, removed] {
        let mut cluster = Cluster::of(9, 2).with(1, PeerState::Down).with(2, PeerState::Down);
        (cluster.tokens_at_once, cluster.accept_loss) = (1, true);
        cluster.begin(&edits);
        let mut steps = 0;
        while cluster.charter.change().is_some() {
            assert_eq!(view(&cluster).moves().as_ref(), Some(&moves), "after {steps} steps of {edits:?}");
            cluster.charter = cluster.charter.turn().unwrap();
            steps += 1;
        }
        assert!(steps > 2, "before the first, between two and before the last: {steps}");
    }
}

#[test]
fn a_change_that_is_taken_back_moves_the_other_way() {
    let mut cluster = Cluster::of(4, 1);
    cluster.tokens_at_once = 2;
    cluster.begin(&[join(5)]);
    cluster.charter = cluster.charter.turn().unwrap();
    cluster.charter = dynamo_keeping::edits::cancelled(&cluster.charter, 0).unwrap().0;
    let moves = Moves { joins: vec![], leaves: vec![id(5)], ..Moves::default() };
    assert_eq!(view(&cluster).moves(), Some(moves));
}

#[test]
fn of_a_node_that_went_several_times_the_last_life_is_told() {
    let mut cluster = Cluster::of(4, 0);
    for went in [life(4), life(4) + 50, life(4) + 9] {
        cluster.node(4).info.incarnation = went;
        cluster.make(&[leave(4)]);
        cluster.node(4).info.incarnation = life(4) + 100;
        cluster.make(&[join(4)]);
    }
    assert_eq!(view(&cluster).last_gone(), BTreeMap::from([(id(4), life(4) + 50)]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn homes_are_the_preference_lists_each_once(nodes in 1..12_u128) {
        let cluster = Cluster { known: (1..=nodes).map(known).collect(), ..Cluster::of(nodes, 0) };
        let ring = cluster.charter.ring();
        let homes = view(&cluster).homes();
        for partition in ring.partitions().iter() {
            prop_assert!(homes.contains(&ring.preference_list(partition).to_vec()));
        }
        for list in &homes {
            prop_assert!(ring.partitions().iter().any(|partition| ring.preference_list(partition).to_vec() == *list));
        }
    }
}
