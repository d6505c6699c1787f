//! Roots of many partitions in one message, and whether all replicas announce the same.

mod support;

use dynamo_merkle::{Agreement, Barrier, Message, PeerError, Roots, RootsAnswer, Shape, Verdict};
use proptest::{collection, prelude::*};
use support::{Store, compare_roots, key};

fn roots(epoch: u64, list: &[(u16, u64)]) -> Roots {
    Roots { round: 3, epoch, roots: list.to_vec() }
}

#[test]
fn partitions_that_differ_or_are_not_served_are_named() {
    let asked = roots(5, &[(0, 10), (3, 13), (9, 19), (400, 1)]);
    let answer = asked.answer(5, |partition| match partition {
        0 => Some(10),
        3 => Some(14),
        400 => Some(0),
        _ => None,
    });
    assert_eq!(answer, RootsAnswer { round: 3, epoch: 5, differing: vec![3, 400], refused: vec![9] });
    assert_eq!(answer.differing_of(&asked), Ok(&[3, 400][..]));
}

#[test]
fn under_another_epoch_nothing_is_compared() {
    let asked = roots(5, &[(0, 10)]);
    let answer = asked.answer(6, |_| panic!("looked at a root"));
    assert_eq!((answer.epoch, answer.differing_of(&asked)), (6, Ok(&[][..])));
}

#[test]
fn answers_that_cannot_be_are_refused() {
    let asked = roots(5, &[(1, 10), (2, 20), (3, 30)]);
    let answer = |differing: &[u16], refused: &[u16]| {
        let (differing, refused) = (differing.to_vec(), refused.to_vec());
        RootsAnswer { round: 3, epoch: 5, differing, refused }
    };
    assert_eq!(answer(&[2, 1], &[]).differing_of(&asked), Err(PeerError::Unsorted));
    assert_eq!(answer(&[], &[1, 1]).differing_of(&asked), Err(PeerError::Unsorted));
    assert_eq!(answer(&[4], &[]).differing_of(&asked), Err(PeerError::NotAsked));
    assert_eq!(answer(&[], &[0]).differing_of(&asked), Err(PeerError::NotAsked));
    assert_eq!(answer(&[2], &[2]).differing_of(&asked), Err(PeerError::Contradiction));
    let other_round = RootsAnswer { round: 4, ..answer(&[1], &[]) };
    assert_eq!(other_round.differing_of(&asked), Err(PeerError::NotAsked));
}

#[test]
fn two_hundred_and_fifty_six_partitions_that_agree_are_one_small_message_each_way() {
    let stores: Vec<Store> = (0..256).map(|partition| Store::with(Shape::default(), [(key(partition), 1)])).collect();
    let (differing, there, back) = compare_roots(&stores, &stores).expect("an honest peer");
    assert_eq!(differing, []);
    assert!(there <= 2_400 && back <= 8, "{there} bytes there, {back} back");
}

#[test]
fn as_many_partitions_as_there_can_be_travel_in_one_message() {
    let all: Vec<(u16, u64)> = (0..=u16::MAX).map(|partition| (partition, u64::MAX)).collect();
    let message = Message::Roots(roots(u64::MAX, &all));
    assert_eq!(Message::decode(&message.encode()), Ok(message));
}

const BARRIER: Barrier = Barrier { epoch: 4, number: 2 };

proptest! {
    #[test]
    fn agreement_is_told_when_all_homes_have_announced_the_same_and_not_before(
        announced in collection::vec((0u128..5, 0u64..2, prop_oneof![9 => Just(2u64), 1 => Just(1)]), 0..12),
    ) {
        let mut agreement = Agreement::new(BARRIER, [1, 2, 3, 2]);
        let mut sums = [const { Vec::new() }; 5];
        for &(node, sum, number) in &announced {
            agreement.announce(node, Barrier { number, ..BARRIER }, sum);
            if number == BARRIER.number {
                sums[node as usize].push(sum);
            }
            let homes = || sums[1..=3].iter();
            let expected = match homes().flatten().min() {
                Some(least) if homes().flatten().any(|sum| sum != least) => Verdict::Differing,
                Some(&sum) if homes().all(|sums| !sums.is_empty()) => Verdict::Equal(sum),
                _ => Verdict::Waiting,
            };
            prop_assert_eq!(agreement.verdict(), expected);
        }
    }
}

#[test]
fn a_replica_that_was_lost_meanwhile_spoils_the_attempt() {
    let mut agreement = Agreement::new(BARRIER, [1, 2]);
    agreement.announce(1, BARRIER, 7);
    agreement.lose(3);
    assert_eq!((agreement.barrier(), agreement.verdict()), (BARRIER, Verdict::Waiting));
    agreement.lose(1);
    agreement.announce(1, BARRIER, 7);
    agreement.announce(2, BARRIER, 7);
    assert_eq!(agreement.verdict(), Verdict::Differing);
}

#[test]
fn announcements_of_another_epoch_do_not_count_and_no_homes_never_agree() {
    let mut agreement = Agreement::new(BARRIER, [1]);
    agreement.announce(1, Barrier { epoch: 5, ..BARRIER }, 7);
    assert_eq!(agreement.verdict(), Verdict::Waiting);
    assert_eq!(Agreement::new(BARRIER, []).verdict(), Verdict::Waiting);
}
