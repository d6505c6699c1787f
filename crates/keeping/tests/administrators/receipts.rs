//! What a node that is to go still has: it is let go only when nothing would be lost with it.

use dynamo_gossip::PeerState;
use dynamo_keeping::receipt::Receipt;
use proptest::prelude::*;

use crate::cluster::{Cluster, Q, id, join, leave, life, remove};

const VERSION: u64 = 9;

fn receipt(cluster: &mut Cluster, number: u128) -> Receipt {
    let known = cluster.node(number).clone();
    Receipt::of(&cluster.charter, VERSION, &known)
}

/// Node 4 left, has handed everything over, and said so: nothing is missing.
fn left() -> Cluster {
    let mut cluster = Cluster::of(4, 0);
    cluster.make(&[leave(4)]);
    cluster.node(4).info.ring_version = VERSION;
    cluster.charter = cluster.charter.release(&[id(4)]).unwrap();
    cluster
}

fn lacks(receipt: &Receipt, what: &[&str]) {
    assert_eq!(receipt.missing.len(), what.len(), "{:?}", receipt.missing);
    for (missing, what) in receipt.missing.iter().zip(what) {
        assert!(missing.contains(what), "{missing:?} does not say {what:?}");
    }
    assert_eq!(receipt.is_complete(), what.is_empty());
}

#[test]
fn a_member_is_home_of_what_the_ring_gives_it() {
    let mut cluster = Cluster::of(4, 0);
    cluster.node(4).info.ring_version = VERSION;
    let receipt = receipt(&mut cluster, 4);
    lacks(&receipt, &["it is home of"]);
    assert!(!receipt.left && receipt.tokens > 0 && receipt.homes > receipt.tokens);
    assert!(receipt.homes < Q as usize, "N = 3 of 4");
    assert_eq!(receipt.incarnation, life(4));
}

#[test]
fn who_left_and_has_handed_everything_over_may_go() {
    let mut cluster = left();
    let receipt = receipt(&mut cluster, 4);
    lacks(&receipt, &[]);
    assert_eq!((receipt.left, receipt.tokens, receipt.homes, receipt.incarnation), (true, 0, 0, life(4)));
}

#[test]
fn who_never_was_a_member_may_go_and_who_only_was_configured_is_not_known() {
    let mut cluster = Cluster::of(4, 1);
    cluster.node(5).info.ring_version = VERSION;
    let never = receipt(&mut cluster, 5);
    lacks(&never, &[]);
    assert!(!never.left);
    // Known from the configuration alone: it has said nothing, and may have anything.
    cluster.node(5).info.incarnation = 0;
    cluster.node(5).info.ring_version = 0;
    cluster.node(5).state = PeerState::Unknown;
    lacks(
        &receipt(&mut cluster, 5),
        &["has not said yet that it knows the present ring", "has not said yet who it is"],
    );
}

#[test]
fn who_still_hands_over_may_not_go() {
    let mut cluster = Cluster::of(4, 0);
    cluster.make(&[leave(4)]);
    let info = &mut cluster.node(4).info;
    (info.leftovers, info.load.hints_held) = (7, 11);
    let receipt = receipt(&mut cluster, 4);
    lacks(
        &receipt,
        &[
            "it has not said yet that it knows the present ring",
            "records of 7 partitions",
            "11 hints for others",
            "it has not yet told the register that it holds nothing",
        ],
    );
    assert!(receipt.left);
    assert_eq!((receipt.leftovers, receipt.hints), (7, 11));
}

#[test]
fn each_single_thing_holds_a_node_that_left() {
    type Breaks = fn(&mut Cluster);
    let cases: [(Breaks, &str); 6] = [
        (|cluster| cluster.node(4).info.ring_version = VERSION - 1, "knows the present ring"),
        (|cluster| cluster.node(4).info.leftovers = 1, "records of 1 partitions"),
        (|cluster| cluster.node(4).info.load.hints_held = 1, "1 hints"),
        (|cluster| cluster.node(4).info.incarnation = life(4) - 1, "an older disk"),
        (|cluster| cluster.node(4).state = PeerState::Down, "it does not answer"),
        (
            |cluster| {
                cluster.node(4).info.incarnation += 1;
                cluster.begin(&[join(4)]);
            },
            "the change under way gives it partitions",
        ),
    ];
    for (breaks, says) in cases {
        let mut cluster = left();
        breaks(&mut cluster);
        lacks(&receipt(&mut cluster, 4), &[says]);
    }
}

#[test]
fn who_came_back_with_a_newer_disk_has_nothing_of_the_ring_and_with_an_older_one_nobody_knows() {
    let mut cluster = left();
    cluster.node(4).info.incarnation = life(4) + 1;
    let newer = receipt(&mut cluster, 4);
    lacks(&newer, &[]);
    assert!(!newer.left, "that life never was in the ring");
    // Of several lives that left, each is one that left, whichever came last.
    cluster.make(&[join(4)]);
    cluster.make(&[leave(4)]);
    cluster.charter = cluster.charter.release(&[id(4)]).unwrap();
    for (incarnation, complete) in [(life(4) + 1, true), (life(4), true), (life(4) - 1, false), (life(4) + 2, true)] {
        cluster.node(4).info.incarnation = incarnation;
        assert_eq!(receipt(&mut cluster, 4).is_complete(), complete, "life {incarnation}");
    }
}

#[test]
fn who_was_given_up_does_not_answer() {
    let mut cluster = Cluster::of(5, 0).with(4, PeerState::Down);
    cluster.make(&[remove(4)]);
    cluster.node(4).info.ring_version = VERSION;
    lacks(&receipt(&mut cluster, 4), &["it does not answer: what it last said may be old"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// The first homes and all homes of a ring are dealt among its members, whatever it looks like.
    #[test]
    fn receipts_of_all_members_add_up_to_the_ring(nodes in 1..12_u128, goes in 1..12_u128) {
        let mut cluster = Cluster::of(nodes, 0);
        cluster.allow_fewer = true;
        if goes <= nodes && nodes > 1 {
            cluster.make(&[leave(goes)]);
        }
        let receipts: Vec<Receipt> = (1..=nodes).map(|number| receipt(&mut cluster, number)).collect();
        prop_assert_eq!(receipts.iter().map(|receipt| receipt.tokens).sum::<usize>(), Q as usize);
        let homes = cluster.charter.ring().members().len().min(3) * Q as usize;
        prop_assert_eq!(receipts.iter().map(|receipt| receipt.homes).sum::<usize>(), homes);
        for (number, receipt) in (1..=nodes).zip(receipts) {
            let member = cluster.charter.ring().member(id(number)).is_some();
            prop_assert_eq!(member, receipt.tokens > 0);
            prop_assert_eq!(receipt.left, !member);
            prop_assert!(!receipt.is_complete(), "none has said that it knows version {}", VERSION);
        }
    }
}
