//! The register's payload: changes in steps, taken, taken back, unsealed, and as bytes.

use std::collections::BTreeMap;

use dynamo_ring::charter::{Barrier, Charter, CharterError, Gone, Move, Proposed};
use dynamo_ring::register::Voter;
use dynamo_ring::{Member, NodeId, Partition, PartitionCount, Ring};
use proptest::prelude::*;

const Q: u32 = 32;

fn member(id: u128) -> Member {
    Member { id: NodeId(id), name: format!("node-{id}"), zone: format!("z{}", id % 3), weight: 1 }
}

fn first(nodes: u128) -> Charter {
    let members = (1..=nodes).map(member).collect();
    Charter::first(Ring::bootstrap(3, PartitionCount::try_from(Q).unwrap(), members).unwrap())
}

/// Gives these tokens, in steps of `at_once`, to one node more, which has the life 70.
fn join(charter: &Charter, tokens: &[u16], at_once: usize) -> Proposed {
    let newcomer = member(99);
    let mut members = charter.ring().members().to_vec();
    members.push(newcomer.clone());
    let moves: Vec<Move> = tokens.iter().map(|at| Move { partition: Partition(*at), to: newcomer.id }).collect();
    let steps = moves.chunks(at_once).map(<[Move]>::to_vec).collect();
    let lives = BTreeMap::from([(newcomer.id, 70)]);
    Proposed { what: "node-99 joins".into(), members, steps, lost: vec![], accept_loss: false, lives }
}

fn owners(charter: &Charter) -> Vec<NodeId> {
    charter.ring().partitions().iter().map(|partition| charter.ring().owner(partition).id).collect()
}

fn kept(charter: &Charter) -> Charter {
    Charter::decode(&charter.encode()).expect("what was encoded decodes")
}

#[test]
fn a_join_turns_step_by_step_and_the_newcomer_votes_once_it_owns_a_token() {
    let begun = first(4).begin(2, join(&first(4), &[3, 9, 20], 2)).unwrap();
    assert_eq!(begun.ring().epoch(), 1);
    assert!(begun.voter(NodeId(99)).is_none());
    let turned = kept(&begun).turn().unwrap();
    assert_eq!(turned.ring(), &begun.next_ring().unwrap());
    assert_eq!((turned.ring().epoch(), turned.ring().owner(Partition(9)).id), (2, NodeId(99)));
    assert_eq!(turned.voter(NodeId(99)), Some(Voter { id: NodeId(99), incarnation: 70 }));
    assert_eq!(turned.voter(NodeId(1)), Some(Voter { id: NodeId(1), incarnation: 0 }));
    let done = kept(&turned).turn().unwrap();
    assert!(done.change().is_none() && done.gone().is_empty());
    assert_eq!((done.ring().epoch(), done.ring().members().len()), (3, 5));
}

#[test]
fn a_leave_ends_with_the_life_of_the_node_among_those_gone_and_it_may_not_return_with_it() {
    let charter = first(4);
    let leaves = NodeId(4);
    let members: Vec<Member> = (1..=3).map(member).collect();
    let moves = charter.ring().partitions().iter().filter(|at| charter.ring().owner(*at).id == leaves);
    let moves = moves.map(|partition| Move { partition, to: NodeId(u128::from(partition.0 % 3) + 1) }).collect();
    let lives = BTreeMap::from([(leaves, 44)]);
    let proposed =
        Proposed { what: "node-4 leaves".into(), members, steps: vec![moves], lost: vec![], accept_loss: false, lives };
    let gone = charter.begin(2, proposed).unwrap().turn().unwrap();
    assert!(gone.gone().contains(&Gone { id: leaves, incarnation: 44 }) && gone.voter(leaves).is_none());
    let mut back = join(&gone, &[1], 1);
    back.members.pop();
    back.members.push(member(4));
    back.steps[0][0].to = leaves;
    back.lives = BTreeMap::from([(leaves, 44)]);
    assert_eq!(gone.begin(4, back.clone()), Err(CharterError::Returned("node-4".into())));
    back.lives = BTreeMap::from([(leaves, 45)]);
    assert_eq!(gone.begin(4, back).unwrap().turn().unwrap().voter(leaves).unwrap().incarnation, 45);
}

/// A leaving node owns nothing after one step of two, and is no member then. Its disk still votes under the life that it had:
/// another one would take its vote away for good.
#[test]
fn who_owned_nothing_for_a_while_votes_under_its_old_life_when_its_leaving_is_taken_back() {
    let founder = first(4);
    let refilled = founder.admit(NodeId(4), Some(40), 41).unwrap();
    for (charter, life) in [(founder, 0), (refilled, 41)] {
        let leaves = NodeId(4);
        let owned = charter.ring().partitions().iter().filter(|at| charter.ring().owner(*at).id == leaves);
        let owned = owned.map(|partition| Move { partition, to: NodeId(1) }).collect();
        let others = charter.ring().partitions().iter().find(|at| charter.ring().owner(*at).id == NodeId(2)).unwrap();
        let steps = vec![owned, vec![Move { partition: others, to: NodeId(3) }]];
        let members: Vec<Member> = (1..=3).map(member).collect();
        let lives = BTreeMap::from([(leaves, 44.max(life))]);
        let what = "node-4 leaves".into();
        let begun =
            charter.begin(2, Proposed { what, members, steps, lost: vec![], accept_loss: false, lives }).unwrap();
        let between = kept(&begun.turn().unwrap());
        assert!(between.change().is_some() && between.voter(leaves).is_none());
        let back = kept(&between.cancel().unwrap().turn().unwrap());
        assert_eq!((back.change(), back.voters()), (None, charter.voters()), "life {life}");
        assert_eq!(back.gone(), charter.gone());
    }
}

/// A life that is being admitted twice is not its own forerunner.
#[test]
fn who_is_admitted_again_under_the_same_life_is_not_gone() {
    let admitted = first(3).admit(NodeId(2), Some(11), 12).unwrap();
    assert_eq!(admitted.admit(NodeId(2), Some(11), 12).unwrap(), admitted);
}

/// Whoever began the change may know a node by configuration only. A life that is not written down when it goes could come
/// back, with what was collected since.
#[test]
fn lives_that_the_planner_does_not_know_are_filled_in_or_the_change_is_refused() {
    let charter = first(4);
    let leaves = NodeId(4);
    let leave = |lost: Vec<NodeId>| {
        let moves = charter.ring().partitions().iter().filter(|at| charter.ring().owner(*at).id == leaves);
        let moves = moves.map(|partition| Move { partition, to: NodeId(u128::from(partition.0 % 3) + 1) }).collect();
        let (members, lives) = ((1..=3).map(member).collect(), BTreeMap::from([(leaves, 0)]));
        let what = "node-4 leaves".into();
        charter.begin(2, Proposed { what, members, steps: vec![moves], lost, accept_loss: false, lives }).unwrap()
    };
    assert_eq!(leave(vec![]).with_lives(|_| 0), Err(CharterError::Unheard("node-4".into())));
    let gone = leave(vec![]).with_lives(|_| 44).unwrap().turn().unwrap();
    assert!(gone.gone().contains(&Gone { id: leaves, incarnation: 44 }));
    // Down for good, and nobody ever saw its disk.
    assert!(leave(vec![leaves]).with_lives(|_| 0).is_ok());
    let mut back = join(&gone, &[1], 1);
    back.members.pop();
    back.members.push(member(4));
    back.steps[0][0].to = leaves;
    back.lives = BTreeMap::from([(leaves, 0)]);
    let back = gone.begin(4, back).unwrap();
    assert_eq!(back.clone().with_lives(|_| 44), Err(CharterError::Returned("node-4".into())));
    assert_eq!(back.with_lives(|_| 45).unwrap().turn().unwrap().voter(leaves).unwrap().incarnation, 45);
}

#[test]
fn one_change_at_a_time_and_each_must_make_rings() {
    let charter = first(4);
    let begun = charter.begin(2, join(&charter, &[3], 1)).unwrap();
    assert!(matches!(begun.begin(3, join(&charter, &[4], 1)), Err(CharterError::UnderWay { id: 2, .. })));
    assert_eq!(charter.cancel(), Err(CharterError::NoChange));
    let nothing = Proposed { steps: vec![], ..join(&charter, &[], 1) };
    assert_eq!(charter.begin(2, nothing), Err(CharterError::Nothing));
    let mut wrong = join(&charter, &[3], 1);
    wrong.steps[0][0].partition = Partition(Q as u16);
    assert!(matches!(charter.begin(2, wrong), Err(CharterError::Malformed(_))));
    let mut strange = join(&charter, &[3], 1);
    strange.steps[0][0].to = NodeId(1234);
    assert!(matches!(charter.begin(2, strange), Err(CharterError::Ring(_))));
}

#[test]
fn an_emptied_disk_votes_under_its_new_life_and_the_old_one_is_gone() {
    let admitted = first(3).admit(NodeId(2), Some(11), 12).unwrap();
    assert_eq!(admitted.voter(NodeId(2)).unwrap().incarnation, 12);
    assert!(admitted.gone().contains(&Gone { id: NodeId(2), incarnation: 11 }));
    assert!(matches!(admitted.admit(NodeId(2), None, 11), Err(CharterError::Returned(_))));
    let again = kept(&admitted.admit(NodeId(2), None, 13).unwrap());
    assert_eq!(again.gone().len(), 2);
    assert!(matches!(again.admit(NodeId(9), None, 1), Err(CharterError::NoMember(_))));
}

#[test]
fn who_left_is_waited_for_until_it_is_released_and_nobody_else_outside_is_listened_to() {
    let charter = first(5);
    let (leaves, dies) = (NodeId(4), NodeId(5));
    let members: Vec<Member> = (1..=3).map(member).collect();
    let moves = charter.ring().partitions().iter().filter(|at| charter.ring().owner(*at).id >= leaves);
    let moves = moves.map(|partition| Move { partition, to: NodeId(u128::from(partition.0 % 3) + 1) }).collect();
    let lives = BTreeMap::from([(leaves, 44), (dies, 55)]);
    let proposed =
        Proposed { what: "two go".into(), members, steps: vec![moves], lost: vec![dies], accept_loss: false, lives };
    let begun = charter.begin(2, proposed).unwrap();
    assert_eq!(begun.raise_barrier(7), None, "while something moves");
    let left = kept(&begun.turn().unwrap());
    assert!(left.leavers().contains(&leaves) && !left.leavers().contains(&dies));
    assert!(left.takes_from(leaves) && left.takes_from(NodeId(1)) && !left.takes_from(dies));
    assert_eq!((left.raise_barrier(7), left.release(&[dies])), (None, None));
    let released = kept(&left.release(&[leaves]).unwrap());
    assert!(!released.takes_from(leaves) && released.ring() == left.ring());
    let turned = kept(&released.raise_barrier(7).unwrap());
    assert_eq!(turned.last_barrier(), Barrier { epoch: released.ring().epoch() + 1, round: 7 });
    assert_eq!((turned.ring().epoch(), owners(&turned)), (released.ring().epoch() + 1, owners(&released)));
}

#[test]
fn who_was_to_join_is_waited_for_when_its_join_is_taken_back() {
    let charter = first(4);
    let begun = charter.begin(2, join(&charter, &[3], 1)).unwrap();
    assert!(begun.takes_from(NodeId(99)) && !charter.takes_from(NodeId(99)));
    let back = kept(&begun.cancel().unwrap());
    assert!(back.change().is_none() && back.leavers().contains(&NodeId(99)));
    let again = back.begin(4, join(&back, &[3], 1)).unwrap().turn().unwrap();
    assert!(again.leavers().is_empty(), "it is a member: {:?}", again.leavers());
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Turn,
    Unseal,
    Cancel,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whenever a change is taken back, all tokens end where they were; each value has an epoch of its own, or the same
    /// owners as the one before; and bytes bring back the same value.
    #[test]
    fn a_change_ends_where_it_is_to_or_where_it_began(
        tokens in proptest::collection::btree_set(0..Q as u16, 1..12),
        at_once in 1_usize..5,
        steps in proptest::collection::vec(prop_oneof![4 => Just(Step::Turn), 1 => Just(Step::Unseal), 1 => Just(Step::Cancel)], 0..20),
    ) {
        let start = first(5);
        let tokens: Vec<u16> = tokens.into_iter().collect();
        let mut charter = start.begin(2, join(&start, &tokens, at_once)).unwrap();
        let mut cancelled = false;
        for step in steps.into_iter().chain(std::iter::repeat_n(Step::Turn, 40)) {
            let before = charter.clone();
            let next = match step {
                Step::Turn => charter.turn(),
                Step::Unseal => charter.unseal(),
                Step::Cancel => charter.cancel().ok(),
            };
            let Some(next) = next else { continue };
            cancelled |= matches!(step, Step::Cancel);
            charter = kept(&next);
            prop_assert_eq!(&charter, &next);
            prop_assert_eq!(charter.ring().epoch(), before.ring().epoch() + 1);
            if !matches!(step, Step::Turn) {
                prop_assert_eq!(owners(&charter), owners(&before));
            }
        }
        prop_assert!(charter.change().is_none());
        if cancelled {
            prop_assert_eq!(owners(&charter), owners(&start));
            prop_assert_eq!(charter.ring().members(), start.ring().members());
        } else {
            prop_assert!(tokens.iter().all(|at| charter.ring().owner(Partition(*at)).id == NodeId(99)));
        }
    }
}

/// Whichever node drives the change goes by it, and one that can't read it says so instead.
#[test]
fn that_a_loss_is_accepted_is_part_of_the_change_and_of_its_format() {
    let charter = first(5);
    let begun = |accept_loss| {
        let proposed = Proposed { lost: vec![NodeId(2)], accept_loss, ..join(&charter, &[3, 9], 1) };
        charter.begin(2, proposed).unwrap()
    };
    let (plain, accepts) = (kept(&begun(false)), kept(&begun(true)));
    assert_eq!((plain.change().unwrap().accept_loss, accepts.change().unwrap().accept_loss), (false, true));
    assert_eq!((plain.encode()[1], accepts.encode()[1]), (1, 3), "who accepts no loss writes what older nodes read");
    let turned = kept(&accepts.turn().unwrap());
    assert!(turned.change().unwrap().accept_loss, "for its other steps too");
    assert_eq!(turned.turn().unwrap().encode()[1], 1, "it ends with the change");
    let mut bytes = plain.encode();
    bytes[1] = 4;
    assert_eq!(Charter::decode(&bytes), Err(CharterError::NewerFormat { found: 4 }));
}

#[test]
fn damaged_bytes_are_refused_and_never_a_panic() {
    let charter = first(4).begin(2, join(&first(4), &[3, 9], 1)).unwrap().turn().unwrap();
    let bytes = charter.cancel().unwrap().encode();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x20;
        assert!(Charter::decode(&damaged).is_err(), "byte {at}");
        assert!(Charter::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
    let newer = [&[b'C', 9][..], &bytes[2..]].concat();
    assert_eq!(Charter::decode(&newer), Err(CharterError::NewerFormat { found: 9 }));
    bolero::check!().with_iterations(20_000).for_each(|bytes: &[u8]| {
        let _ = Charter::decode(bytes);
        let _ = Charter::decode(&[&[b'C', 1][..], bytes].concat());
        let _ = Charter::decode(&[&[b'C', 2][..], bytes].concat());
    });
}
