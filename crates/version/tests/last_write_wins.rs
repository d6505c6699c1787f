//! Last-write-wins: causality first, the hybrid clock among what is truly concurrent, and a join all the same (§4.4).

use bytes::Bytes;
use dynamo_version::{Actor, Causality, Dot, Mode, Payload, SiblingSet, Timestamp};

fn dot(node: u128) -> Dot {
    Dot { actor: Actor { node, incarnation: 1, key_epoch: 1 }, counter: 1 }
}

fn written(base: &SiblingSet, node: u128, timestamp: Timestamp) -> SiblingSet {
    let mut set = base.clone();
    let value = Payload::Value(Bytes::from(node.to_string()));
    set.write(base.causality(), dot(node), timestamp, value, Mode::LastWriteWins);
    set
}

fn merged(states: [&SiblingSet; 3]) -> SiblingSet {
    let mut set = SiblingSet::new();
    for state in states {
        set.merge(state, Mode::LastWriteWins);
    }
    set
}

#[test]
fn a_write_supersedes_what_it_read_though_its_clock_is_behind() {
    let first = written(&SiblingSet::new(), 1, Timestamp::after(5_000, Timestamp::default()));
    let stamp = first.stamp(20, first.max_timestamp());
    assert_eq!(stamp, Timestamp(first.max_timestamp().0 + 1));
    let second = written(&first, 2, stamp);
    for mut set in [first.clone(), second.clone()] {
        set.merge(&second, Mode::LastWriteWins);
        set.merge(&first, Mode::LastWriteWins);
        assert_eq!(set, second);
    }
}

#[test]
fn of_concurrent_writes_the_later_stays_and_a_tie_goes_to_the_higher_dot() {
    let empty = SiblingSet::new();
    let (late, early, tied) =
        (written(&empty, 1, Timestamp(9)), written(&empty, 2, Timestamp(8)), written(&empty, 3, Timestamp(9)));
    assert_eq!(merged([&late, &early, &empty]).siblings(), late.siblings());
    assert_eq!(merged([&early, &late, &empty]).siblings(), late.siblings());
    assert_eq!(merged([&late, &early, &tied]).siblings(), tied.siblings());
    assert_eq!(merged([&tied, &early, &late]).siblings(), tied.siblings());
}

#[test]
fn a_concurrent_delete_that_is_later_wins_over_a_value() {
    let mut set = written(&SiblingSet::new(), 1, Timestamp(5));
    set.write(&Causality::new(), dot(2), Timestamp(6), Payload::Tombstone, Mode::LastWriteWins);
    assert!(set.is_deleted() && set.values().is_empty());
    assert!(set.causality().covers(&dot(1)), "the loser counts as seen");
}

#[test]
fn without_rising_stamps_replicas_would_end_apart() {
    // The third supersedes the second with an earlier timestamp: what `stamp` forbids. Merged in one order the first
    // version beats the third, in the other it had already lost against the second.
    let (first, second) =
        (written(&SiblingSet::new(), 1, Timestamp(50)), written(&SiblingSet::new(), 2, Timestamp(90)));
    let ends = |third: &SiblingSet| (merged([&first, &second, third]), merged([&second, third, &first]));
    let (one, other) = ends(&written(&second, 3, Timestamp(10)));
    assert_ne!(one, other);
    let (one, other) = ends(&written(&second, 3, second.stamp(10, second.max_timestamp())));
    assert_eq!(one, other);
}

#[test]
fn the_clock_counts_within_a_millisecond_and_never_goes_back() {
    let first = Timestamp::after(1_000, Timestamp::default());
    assert_eq!(first.wall_ms(), 1_000);
    let second = Timestamp::after(1_000, first);
    assert!(second > first && second.wall_ms() == 1_000);
    assert!(Timestamp::after(0, second) > second);
    assert_eq!(Timestamp::after(1_001, second), Timestamp(1_001 << 16));
    assert_eq!(Timestamp::after(u64::MAX, Timestamp::default()).wall_ms(), (1 << 48) - 1);
    assert_eq!(Timestamp::after(0, Timestamp(u64::MAX)), Timestamp(u64::MAX));
}

#[test]
fn a_state_that_was_joined_without_regard_to_the_mode_is_resolved_when_merged() {
    let (early, late) = (written(&SiblingSet::new(), 1, Timestamp(5)), written(&SiblingSet::new(), 2, Timestamp(6)));
    let mut both = early.clone();
    both.merge(&late, Mode::Siblings);
    assert_eq!(both.siblings().len(), 2);
    for mut replica in [SiblingSet::new(), early, late.clone(), both.clone()] {
        assert!(replica.merge(&both, Mode::LastWriteWins));
        assert_eq!(replica.siblings(), late.siblings());
    }
}
