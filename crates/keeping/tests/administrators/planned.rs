//! Edits that can be made: the members after them, who gets what, and what is registered.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_gossip::PeerState;
use dynamo_keeping::edits::{Edit, Next, Wanted, tokens_at_once};
use dynamo_ring::{
    NodeId,
    charter::{Charter, Gone},
};
use proptest::prelude::*;

use crate::cluster::{Cluster, founded, id, join, leave, life, remove, replace, update};

fn ids(charter: &Charter) -> BTreeSet<NodeId> {
    charter.ring().members().iter().map(|member| member.id).collect()
}

/// All steps of what is wanted, taken.
fn made(cluster: &Cluster, wanted: Wanted) -> Charter {
    let mut charter = cluster.charter.begin(2, wanted.proposed).unwrap();
    while let Some(next) = charter.turn() {
        charter = next;
    }
    charter
}

/// Some nodes leave or are removed, others join, and others weigh more, each named once, so that four are left.
fn edits() -> impl Strategy<Value = (Vec<Edit>, Vec<u128>)> {
    let what = proptest::collection::vec(0..4_u8, 8);
    (what, proptest::option::of(1..=8_u128), proptest::collection::btree_set(9..=12_u128, 0..4)).prop_map(
        |(what, dead, joining)| {
            let (mut edits, mut gone) = (Vec::new(), 0);
            for (number, what) in (1..=8).zip(what) {
                match what {
                    _ if dead == Some(number) => edits.push(remove(number)),
                    0 if gone < 3 => edits.push(leave(number)),
                    1 => edits.push(update(number, 3, "")),
                    _ => continue,
                }
                gone += u32::from(what == 0);
            }
            edits.extend(joining.into_iter().map(join));
            (edits, dead.into_iter().collect())
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_change_ends_with_the_ring_that_was_shown_and_its_steps_are_no_larger_than_was_asked(
        (edits, dead) in edits(), at_once in 1..12_usize,
    ) {
        prop_assume!(!edits.is_empty());
        let mut cluster = Cluster::of(8, 4);
        (cluster.tokens_at_once, cluster.allow_fewer) = (at_once, true);
        for dead in &dead {
            cluster.node(*dead).state = PeerState::Down;
        }
        let named = |like: fn(&Edit) -> Option<&String>| -> BTreeSet<String> {
            edits.iter().filter_map(like).cloned().collect()
        };
        let joins = named(|edit| match edit { Edit::Join { node, .. } => Some(node), _ => None });
        let goes = named(|edit| match edit { Edit::Leave { node } | Edit::Remove { node } => Some(node), _ => None });
        let removed = named(|edit| match edit { Edit::Remove { node } => Some(node), _ => None });

        let wanted = cluster.wanted(&edits).unwrap();
        let before: BTreeSet<String> = (1..=8).map(|number| format!("node-{number}")).collect();
        let expected: BTreeSet<String> = before.union(&joins).filter(|name| !goes.contains(*name)).cloned().collect();
        let members: BTreeSet<String> = wanted.after.members().iter().map(|member| member.name.clone()).collect();
        prop_assert_eq!(&members, &expected);
        let lost: BTreeSet<String> =
            wanted.proposed.lost.iter().map(|id| format!("node-{}", id.0)).collect();
        prop_assert_eq!(lost, removed);
        for (id, role) in &wanted.roles {
            let name = format!("node-{}", id.0);
            let expected = if joins.contains(&name) { "joins" } else if goes.contains(&name) { "leaves" } else { "stays" };
            prop_assert_eq!(*role, expected, "{}", name);
            prop_assert_eq!(wanted.proposed.lives[id], life(id.0));
        }
        prop_assert_eq!(wanted.roles.len(), edits.len());
        prop_assert!(wanted.blocked_by.is_empty());
        let ring = cluster.charter.ring();
        let moved = ring.partitions().iter().filter(|at| ring.owner(*at).id != wanted.after.owner(*at).id).count();
        prop_assert_eq!(wanted.tokens, moved);
        if moved > 0 {
            let after = wanted.after.clone();
            let charter = made(&cluster, wanted);
            prop_assert_eq!(charter.ring().members(), after.members());
            for partition in after.partitions().iter() {
                prop_assert_eq!(charter.ring().owner(partition).id, after.owner(partition).id);
            }
        }
    }

    #[test]
    fn who_replaces_others_gets_exactly_their_tokens_and_weight(
        pairs in 1..=2_usize, weight in 1..5_u32, at_once in 1..12_usize,
    ) {
        let mut cluster = Cluster::of(9, 3);
        cluster.tokens_at_once = at_once;
        cluster.charter = {
            cluster.begin(&[update(1, weight + 1, "")]);
            while let Some(next) = cluster.charter.turn() { cluster.charter = next; }
            cluster.charter
        };
        // In the zones of the ones that they replace: 10 as 1, 11 as 2. The two share partitions.
        cluster.accept_loss = pairs == 2;
        let pairs = [(1, 10), (2, 11)].into_iter().take(pairs).collect::<Vec<_>>();
        let edits: Vec<Edit> = pairs.iter().map(|(old, new)| replace(*old, *new)).collect();
        for (old, _) in &pairs {
            cluster.node(*old).state = PeerState::Down;
        }
        let wanted = cluster.wanted(&edits).unwrap();
        let heirs: BTreeMap<NodeId, NodeId> = pairs.iter().map(|(old, new)| (id(*old), id(*new))).collect();
        let ring = cluster.charter.ring().clone();
        let owned = |of: &NodeId| ring.partitions().iter().filter(|at| ring.owner(*at).id == *of).count();
        prop_assert_eq!(wanted.tokens, heirs.keys().map(owned).sum::<usize>());
        let held = |of: &NodeId| ring.partitions().iter().filter(|at| ring.is_home(*at, *of)).count();
        let copies = heirs.keys().map(held).sum::<usize>();
        prop_assert_eq!(wanted.replicas, (copies, copies));
        prop_assert_eq!(&wanted.proposed.lost, &heirs.keys().copied().collect::<Vec<_>>());
        prop_assert!(wanted.proposed.steps.iter().all(|step| step.len() <= at_once));
        for (old, new) in &heirs {
            prop_assert_eq!((wanted.roles[old], wanted.roles[new]), ("replaced", "replaces"));
        }
        let charter = made(&cluster, wanted);
        for partition in ring.partitions().iter() {
            let before = ring.owner(partition).id;
            let after = charter.ring().owner(partition);
            prop_assert_eq!(after.id, heirs.get(&before).copied().unwrap_or(before));
            prop_assert_eq!(after.weight, ring.owner(partition).weight);
        }
        for old in heirs.keys() {
            let gone = Gone { id: *old, incarnation: life(old.0) };
            prop_assert!(charter.gone().contains(&gone));
            prop_assert!(!charter.leavers().contains(old), "nobody waits for one that is down for good");
        }
    }
}

#[test]
fn a_join_begins_at_the_next_version_with_the_weight_that_is_given_or_that_the_newcomer_says() {
    let mut cluster = Cluster::of(4, 1);
    cluster.node(5).info.weight = 3;
    for (given, taken) in [(0, 3), (2, 2)] {
        let Ok(Next::Begun(charter, steps)) =
            cluster.next(6, &[Edit::Join { node: "node-5".to_owned(), weight: given }])
        else {
            panic!("a newcomer joins")
        };
        let change = charter.change().unwrap();
        assert_eq!((change.id, change.what.as_str(), change.steps.len()), (7, "node-5 joins", steps));
        assert_eq!(change.members.iter().find(|member| member.id == id(5)).unwrap().weight, taken);
    }
}

#[test]
fn what_changes_nothing_is_not_registered() {
    let cluster = Cluster::of(4, 0);
    assert!(matches!(cluster.next(1, &[update(2, 1, "z2")]), Ok(Next::Nothing)));
    assert!(matches!(cluster.next(1, &[update(2, 0, "")]), Ok(Next::Nothing)));
}

#[test]
fn who_left_and_will_not_return_is_given_up_by_name_or_by_id_and_nothing_moves() {
    let mut cluster = Cluster::of(5, 0);
    cluster.make(&[leave(4), leave(5)]);
    assert_eq!(cluster.charter.leavers(), &BTreeSet::from([id(4), id(5)]));
    cluster.node(5).state = PeerState::Down;
    // Nobody remembers the other's name.
    cluster.known.retain(|known| known.info.id != id(4));
    let nameless = Edit::Remove { node: id(4).to_string() };
    let edits = [nameless, remove(5)];
    let wanted = cluster.wanted(&edits).unwrap();
    assert_eq!((wanted.tokens, wanted.replicas, wanted.after == *cluster.charter.ring()), (0, (0, 0), true));
    assert_eq!(wanted.warnings.len(), 2, "{:?}", wanted.warnings);
    let Ok(Next::Released(charter)) = cluster.next(9, &edits) else { panic!("they are given up") };
    assert!(charter.leavers().is_empty());
    assert_eq!(ids(&charter), BTreeSet::from([id(1), id(2), id(3)]));
    // Of a member it is another edit, and the two are planned together.
    cluster.node(3).state = PeerState::Down;
    cluster.allow_fewer = true;
    assert!(cluster.wanted(&[remove(3), remove(5)]).is_err(), "node-5 is no member");
}

#[test]
fn members_that_are_down_or_being_filled_are_warned_of_but_not_those_that_go() {
    let mut cluster = Cluster::of(5, 1).with(2, PeerState::Down).with(5, PeerState::Down);
    cluster.node(3).info.refilling = 4;
    cluster.node(5).info.refilling = 4;
    cluster.node(6).info.refilling = 4;
    let warnings = cluster.wanted(&[join(6), remove(5)]).unwrap().warnings;
    let [down, filled] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(down.starts_with("node-2 is down") && filled.starts_with("node-3 is being refilled"), "{warnings:?}");
    cluster.accept_loss = true;
    let warnings = cluster.wanted(&[join(6), remove(5)]).unwrap().warnings;
    assert!(warnings.iter().all(|warning| !warning.contains("refilled")), "nobody waits for it: {warnings:?}");
}

#[test]
fn a_sixteenth_of_the_tokens_moves_at_once_and_eight_at_least() {
    assert_eq!(tokens_at_once(founded(3).ring()), 8);
    let members = founded(3).ring().members().to_vec();
    let count = dynamo_ring::PartitionCount::try_from(1024).unwrap();
    assert_eq!(tokens_at_once(&dynamo_ring::Ring::bootstrap(3, count, members).unwrap()), 64);
}
