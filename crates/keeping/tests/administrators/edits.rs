//! Edits that can't be made: each says why, and what to do.

use dynamo_gossip::PeerState;
use dynamo_keeping::edits::{self, Edit, EditError, Next};

use crate::cluster::{Cluster, Q, id, join, leave, life, remove, replace, update};

/// Which error it is, and what its sentence says.
fn expect(error: &EditError, like: fn(String) -> EditError, says: &str) {
    let text = error.to_string();
    assert_eq!(*error, like(text.clone()), "another kind of error");
    assert!(text.contains(says), "{text:?} does not say {says:?}");
}

#[test]
fn edits_that_make_no_sense_are_invalid_whatever_the_ring_is_like() {
    let cluster = Cluster::of(5, 2).with(1, PeerState::Down).with(2, PeerState::Down);
    expect(&cluster.refused(&[]), EditError::Invalid, "no edit is given");
    let cases = [
        (vec![join(6), join(6)], "node-6"),
        (vec![leave(3), leave(3)], "node-3"),
        (vec![remove(1), remove(1)], "node-1"),
        (vec![leave(3), update(3, 2, "")], "node-3"),
        (vec![replace(1, 6), replace(1, 7)], "node-1"),
        (vec![replace(1, 6), replace(2, 6)], "node-6"),
    ];
    for (edits, named) in cases {
        expect(&cluster.refused(&edits), EditError::Invalid, &format!("{named} is named twice"));
    }
    for other in [join(7), leave(3), remove(2), update(3, 2, "")] {
        expect(&cluster.refused(&[replace(1, 6), other]), EditError::Invalid, "can't be one change");
    }
}

#[test]
fn a_name_that_nobody_has_is_unknown_and_those_that_are_known_are_told() {
    let cluster = Cluster::of(3, 0).with(1, PeerState::Down);
    for edit in [join(9), leave(9), remove(9), replace(9, 1), replace(1, 9), update(9, 2, "")] {
        expect(
            &cluster.refused(&[edit]),
            EditError::Unknown,
            "no node \"node-9\" is known (known are node-1, node-2, node-3)",
        );
    }
}

#[test]
fn who_is_no_member_can_do_nothing_but_join() {
    let cluster = Cluster::of(3, 2).with(4, PeerState::Down);
    for edit in [leave(4), remove(4), replace(4, 5), update(4, 2, "")] {
        expect(&cluster.refused(&[edit]), EditError::Unfit, "node-4 is no member of the ring");
    }
    expect(&cluster.refused(&[join(5), update(5, 2, "")]), EditError::Unfit, "node-5 is no member of the ring");
}

#[test]
fn who_is_to_join_is_no_member_answers_and_speaks_with_all_members() {
    for (edit, of) in [(join(4), 4), (replace(1, 4), 4)] {
        let cluster = Cluster::of(5, 0).with(1, PeerState::Down);
        expect(
            &cluster.refused(std::slice::from_ref(&edit)),
            EditError::Unfit,
            "node-4 is a member of the ring already",
        );
        for silent in [PeerState::Unknown, PeerState::Suspect, PeerState::Down] {
            let cluster = Cluster::of(3, 1).with(1, PeerState::Down).with(of, silent);
            expect(&cluster.refused(std::slice::from_ref(&edit)), EditError::Unfit, "node-4 does not answer");
        }
        let mut cluster = Cluster::of(3, 1).with(1, PeerState::Down);
        cluster.mismatch = |newcomer, member| {
            (member.name == "node-3").then(|| format!("{} speaks another language than {}", newcomer.name, member.name))
        };
        expect(&cluster.refused(&[edit]), EditError::Unfit, "node-4 speaks another language than node-3");
    }
}

#[test]
fn who_left_comes_back_only_with_another_life_of_its_disk() {
    let mut cluster = Cluster::of(4, 0);
    cluster.make(&[leave(4)]);
    expect(&cluster.refused(&[join(4)]), EditError::Unfit, &format!("or with node.retired={}", life(4)));
    cluster.node(4).info.incarnation += 1;
    assert_eq!(cluster.wanted(&[join(4)]).unwrap().proposed.lives[&id(4)], life(4) + 1);
}

#[test]
fn who_is_down_can_not_leave_and_who_is_alive_is_not_given_up() {
    for state in [PeerState::Down, PeerState::Unknown] {
        let cluster = Cluster::of(4, 1).with(4, state);
        expect(&cluster.refused(&[leave(4)]), EditError::Unfit, "node-4 is down and can't hand over");
        assert!(cluster.wanted(&[remove(4)]).is_ok() && cluster.wanted(&[replace(4, 5)]).is_ok());
    }
    for state in [PeerState::Up, PeerState::Suspect] {
        let cluster = Cluster::of(4, 1).with(4, state);
        for edit in [remove(4), replace(4, 5)] {
            expect(&cluster.refused(&[edit]), EditError::Unfit, "node-4 is alive");
        }
        assert!(cluster.wanted(&[leave(4)]).is_ok());
    }
    // One that left and hands over still.
    let mut cluster = Cluster::of(4, 0);
    cluster.make(&[leave(4)]);
    expect(&cluster.refused(&[remove(4)]), EditError::Unfit, "node-4 is alive");
}

#[test]
fn fewer_nodes_or_zones_than_a_key_has_replicas_have_to_be_meant() {
    let mut cluster = Cluster::of(3, 0);
    expect(&cluster.refused(&[leave(3)]), EditError::Unfit, "would have 2 nodes");
    expect(&cluster.refused(&[leave(1), leave(2), leave(3)]), EditError::Unfit, "the last node can't leave");
    let mut five = Cluster::of(5, 0);
    expect(&five.refused(&[leave(3)]), EditError::Unfit, "would have 2 zones");
    expect(&five.refused(&[update(3, 0, "z1")]), EditError::Unfit, "would have 2 zones");
    (cluster.allow_fewer, five.allow_fewer) = (true, true);
    assert_eq!(cluster.wanted(&[leave(3)]).unwrap().after.members().len(), 2);
    assert_eq!(five.wanted(&[leave(3)]).unwrap().after.members().len(), 4);
    expect(&cluster.refused(&[leave(1), leave(2), leave(3)]), EditError::Unfit, "the last node can't leave");
    // Two nodes of two have not become fewer.
    let two = Cluster::of(2, 1).with(2, PeerState::Down);
    assert!(two.wanted(&[replace(2, 3)]).is_ok());
}

#[test]
fn what_makes_no_ring_is_refused_in_the_rings_words() {
    let mut cluster = Cluster::of(3, u128::from(Q)).with(1, PeerState::Down);
    let joins: Vec<Edit> = (4..=3 + u128::from(Q)).map(join).collect();
    expect(&cluster.refused(&joins), EditError::Unfit, "create the cluster with more partitions: nothing was changed");
    let heavy = Edit::Join { node: "node-4".to_owned(), weight: 1_000_001 };
    expect(&cluster.refused(&[heavy]), EditError::Unfit, "weights are 1 to 1000000: nothing was changed");
    expect(&cluster.refused(&[update(2, 0, &"z".repeat(254))]), EditError::Unfit, "is no name of a node or zone");
    cluster.node(4).info.zone.clear();
    expect(
        &cluster.refused(&[replace(1, 4)]),
        EditError::Unfit,
        "has to stand in the zone of the one that it replaces",
    );
}

#[test]
fn what_too_few_homes_have_is_lost_only_if_that_is_accepted() {
    let mut cluster = Cluster::of(6, 2).with(1, PeerState::Down).with(2, PeerState::Down);
    for edits in [vec![remove(1), remove(2)], vec![replace(1, 7), replace(2, 8)]] {
        cluster.accept_loss = false;
        expect(&cluster.refused(&edits), EditError::Unfit, "without node-1 and node-2 too few homes are left of");
        cluster.accept_loss = true;
        let wanted = cluster.wanted(&edits).unwrap();
        assert!(wanted.proposed.accept_loss && wanted.proposed.what.ends_with("(a loss is accepted)"));
        assert!(
            wanted.warnings.iter().any(|warning| warning.starts_with("a loss is accepted")),
            "{:?}",
            wanted.warnings
        );
    }
    cluster.accept_loss = false;
    // One home of three is no loss, also where all would be needed (R or W of 1).
    cluster.needed = 3;
    assert!(cluster.wanted(&[remove(1)]).unwrap().warnings.iter().all(|warning| !warning.contains("lost")));
}

#[test]
fn while_a_change_is_under_way_another_is_shown_and_not_begun() {
    let mut cluster = Cluster::of(4, 2);
    cluster.begin(&[join(5)]);
    let wanted = cluster.wanted(&[join(6)]).unwrap();
    let [blocked] = &wanted.blocked_by[..] else { panic!("{:?}", wanted.blocked_by) };
    assert!(blocked.contains("change 2 is under way (node-5 joins)"), "{blocked}");
    assert_eq!(edits::under_way(&cluster.charter).as_ref(), Some(blocked));
    let Err(error) = cluster.next(2, &[join(6)]) else { panic!("two changes at once") };
    assert_eq!(error, edits::is_blocked(blocked));
    expect(&error, EditError::Unfit, "; nothing was changed");
    assert_eq!(edits::under_way(&Cluster::of(4, 0).charter), None);
}

#[test]
fn what_the_register_would_not_take_is_refused_as_well() {
    // Its disk was emptied and filled again, and gossip has not brought the new life yet: the old one is gone.
    let mut cluster = Cluster::of(4, 0);
    cluster.charter = cluster.charter.admit(id(4), Some(life(4)), life(4) + 1).unwrap();
    let Err(error) = cluster.next(7, &[update(4, 3, "")]) else { panic!("a life that is gone votes again") };
    assert!(matches!(error, EditError::Unfit(_)), "{error}");
    cluster.node(4).info.incarnation += 1;
    assert!(matches!(cluster.next(7, &[update(4, 3, "")]), Ok(Next::Begun(..))));
}

#[test]
fn the_change_that_is_meant_is_taken_back_once() {
    let mut cluster = Cluster::of(4, 1);
    cluster.tokens_at_once = 2;
    let refused = |cluster: &Cluster, asked| edits::cancelled(&cluster.charter, asked).unwrap_err();
    assert!(matches!(refused(&cluster, 0), EditError::Unfit(_)), "there is none");
    cluster.begin(&[join(5)]);
    cluster.charter = cluster.charter.turn().unwrap();
    expect(&refused(&cluster, 7), EditError::Unfit, "change 2 is under way, not change 7, which has ended");
    for asked in [0, 2] {
        let (back, change) = edits::cancelled(&cluster.charter, asked).unwrap();
        assert_eq!(change, 2);
        assert!(back.change().unwrap().cancelled);
    }
    cluster.charter = edits::cancelled(&cluster.charter, 0).unwrap().0;
    assert!(matches!(refused(&cluster, 0), EditError::Unfit(_)), "it is being taken back already");
}
