//! New dots name new writes (§4.4; riak_kv 679): by example, and what a node without key epochs would lose.

use bytes::Bytes;
use dynamo_version::{Actor, Causality, Dot, Minter, Mode, Payload, SiblingSet, Timestamp, mint};

const ME: Minter = Minter { node: 7, incarnation: 3, epoch_floor: 10 };

fn dot(key_epoch: u64, counter: u64) -> Dot {
    Dot { actor: Actor { node: 7, incarnation: 3, key_epoch }, counter }
}

fn put(set: &mut SiblingSet, context: &Causality, dot: Dot, value: &'static str) -> Causality {
    let timestamp = set.stamp(1, Timestamp::default());
    set.write(context, dot, timestamp, Payload::Value(Bytes::from_static(value.as_bytes())), Mode::Siblings);
    let mut result = context.clone();
    result.insert(dot);
    result
}

fn written(dots: &[Dot]) -> SiblingSet {
    let mut set = SiblingSet::new();
    for dot in dots {
        put(&mut set, &Causality::new(), *dot, "value");
    }
    set
}

fn not_asked() -> u64 {
    panic!("no fresh key epoch was needed")
}

#[test]
fn unbroken_memory_counts_on() {
    let set = written(&[dot(12, 1), dot(12, 2)]);
    assert_eq!(mint(&set, set.causality(), &ME, Some(12), not_asked), (dot(12, 3), 12));
}

#[test]
fn a_key_of_which_the_node_has_no_memory_takes_a_fresh_epoch() {
    assert_eq!(mint(&SiblingSet::new(), &Causality::new(), &ME, None, || 40), (dot(40, 1), 40));
    // Its own writes came back from another replica: that one may be behind, so it is no memory.
    let set = written(&[dot(12, 1)]);
    assert_eq!(mint(&set, set.causality(), &ME, None, || 40), (dot(40, 1), 40));
}

#[test]
fn a_context_that_knows_more_than_the_record_takes_a_fresh_epoch() {
    let set = written(&[dot(12, 1)]);
    let knows_more: Causality = [dot(12, 1), dot(12, 2)].into_iter().collect();
    assert_eq!(mint(&set, &knows_more, &ME, Some(12), || 40), (dot(40, 1), 40));
    let detached: Causality = [dot(12, 5)].into_iter().collect();
    assert_eq!(mint(&set, &detached, &ME, Some(12), || 40), (dot(40, 1), 40));
}

#[test]
fn a_detached_dot_of_its_own_in_the_record_takes_a_fresh_epoch() {
    let set = written(&[dot(12, 1), dot(12, 3)]);
    assert_eq!(mint(&set, &Causality::new(), &ME, Some(12), || 40), (dot(40, 1), 40));
}

#[test]
fn an_epoch_that_a_rolled_back_disk_hands_out_again_is_counted_on_from_what_is_known() {
    let set = written(&[dot(40, 1), dot(40, 2)]);
    assert_eq!(mint(&set, &Causality::new(), &ME, None, || 40), (dot(40, 3), 40));
    let context: Causality = [dot(40, 7)].into_iter().collect();
    assert_eq!(mint(&set, &context, &ME, None, || 40), (dot(40, 8), 40));
}

#[test]
fn the_result_of_a_put_does_not_cover_a_sibling_that_the_writer_did_not_see() {
    let mut set = written(&[dot(12, 1)]);
    let unseen = set.clone();
    let (second, _) = mint(&set, &Causality::new(), &ME, Some(12), not_asked);
    let result = put(&mut set, &Causality::new(), second, "second");
    assert!(result.covers(&second) && !result.covers(&dot(12, 1)));

    // Writing on with it supersedes the writer's own version only.
    let (third, _) = mint(&set, &result, &ME, Some(12), not_asked);
    put(&mut set, &result, third, "third");
    let dots: Vec<Dot> = set.siblings().iter().map(|sibling| sibling.dot).collect();
    assert_eq!(dots, [dot(12, 1), dot(12, 3)]);

    // A context with a hole in it, at a replica that never saw what the hole leaves out.
    let mut elsewhere = SiblingSet::new();
    let other = Dot { actor: Actor { node: 8, incarnation: 1, key_epoch: 1 }, counter: 1 };
    put(&mut elsewhere, &result, other, "elsewhere");
    assert!(!elsewhere.causality().covers(&dot(12, 1)));
    elsewhere.merge(&unseen, Mode::Siblings);
    assert_eq!(elsewhere.values().len(), 2);
}

/// riak_kv 679: a fallback takes a write, hands it off, forgets, takes another. `own_epoch` is what it remembers then.
fn values_after_a_fallback_forgot(own_epoch: Option<u64>) -> usize {
    let (mut home, mut fallback) = (SiblingSet::new(), SiblingSet::new());
    put(&mut fallback, &Causality::new(), dot(12, 1), "handed off");
    home.merge(&fallback, Mode::Siblings);
    fallback = SiblingSet::new();
    let (second, _) = mint(&fallback, &Causality::new(), &ME, own_epoch, || 13);
    put(&mut fallback, &Causality::new(), second, "after it forgot");
    home.merge(&fallback, Mode::Siblings);
    home.values().len()
}

#[test]
fn a_fallback_that_forgot_the_key_loses_no_write() {
    assert_eq!(values_after_a_fallback_forgot(None), 2);
}

#[test]
fn a_fallback_that_kept_its_epoch_without_the_record_would_lose_one() {
    // What the fresh epochs are for: the home replica takes the second write for the first and drops it.
    assert_eq!(values_after_a_fallback_forgot(Some(12)), 1);
}

#[test]
#[should_panic(expected = "never minted twice")]
fn writing_a_dot_that_the_state_covers_is_a_broken_invariant() {
    let mut set = written(&[dot(12, 1)]);
    put(&mut set, &Causality::new(), dot(12, 1), "again");
}
