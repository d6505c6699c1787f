//! Questions about many records: leaves of a tree, records by their keys, whether a partition has hints.

mod support;

use bytes::Bytes;
use dynamo_merkle::Shape;
use dynamo_ring::Partition;
use dynamo_storage::{Outcome, Read, RecordKey, Settings, Store, StoreError, tree_hash};
use support::*;

const PARTITION: Partition = Partition(3);

fn in_partition(n: usize) -> RecordKey {
    RecordKey::new(PARTITION, b"cart", n.to_string().as_bytes(), None).unwrap()
}

fn shallow() -> Settings {
    Settings { tree_shape: Shape::new(1).unwrap(), ..small() }
}

fn leaf(
    store: &Store<Tell>,
    leaf: u32,
    after: Option<Bytes>,
    entries_max: usize,
    bytes_max: usize,
) -> (Vec<(Bytes, u64)>, bool) {
    match store.read_now(&Read::Leaf { partition: PARTITION, leaf, after, entries_max, bytes_max }).unwrap() {
        Outcome::Leaf { entries, end } => (entries, end),
        other => panic!("{other:?}"),
    }
}

fn whole_leaf(store: &Store<Tell>, number: u32) -> Vec<(Bytes, u64)> {
    let (entries, end) = leaf(store, number, None, usize::MAX, usize::MAX);
    assert!(end);
    entries
}

#[test]
fn the_leaves_of_a_partition_are_its_records_each_once() {
    on_both(shallow(), |store| {
        for n in 0..200 {
            applied(store, put(in_partition(n), "v"));
            let beside = RecordKey::new(Partition(if n % 2 == 0 { 2 } else { 4 }), b"cart", &[n as u8 + 1], None);
            applied(store, put(beside.unwrap(), "v"));
        }
        let mut found = 0;
        for number in 0..16 {
            let entries = whole_leaf(store, number);
            assert!(entries.is_sorted_by(|one, next| one.0 < next.0));
            for (key, digest) in &entries {
                assert_eq!(Shape::new(1).unwrap().leaf_of(tree_hash(key)), number);
                let key = RecordKey::decode(key).unwrap();
                assert_eq!(state(store, key).unwrap().1, *digest);
            }
            let sum = dynamo_merkle::Tree::build(
                Shape::new(1).unwrap(),
                entries.iter().map(|(key, digest)| (tree_hash(key), *digest)),
            );
            store.with_tree(PARTITION, |tree| assert_eq!(tree.leaf(number), sum.root()));
            found += entries.len();
        }
        assert_eq!(found, 200);
        assert!(whole_leaf(store, 16).is_empty(), "there is no such leaf");
    });
}

#[test]
fn pages_of_a_leaf_join_without_gap_or_overlap() {
    on_both(shallow(), |store| {
        // Values so large that a leaf is not read at once.
        let large = "x".repeat(40_000);
        (0..200).for_each(|n| drop(applied(store, put(in_partition(n), &large))));
        let whole = whole_leaf(store, 5);
        assert!(whole.len() > 8);
        for (entries_max, bytes_max) in [(1, usize::MAX), (3, usize::MAX), (usize::MAX, 1), (usize::MAX, 30), (0, 0)] {
            let (mut joined, mut after) = (Vec::new(), None);
            loop {
                let (entries, end) = leaf(store, 5, after, entries_max, bytes_max);
                assert!(entries.len() <= entries_max.max(1));
                let bytes: usize = entries.iter().map(|(key, _)| key.len()).sum();
                assert!(bytes <= bytes_max.saturating_add(20) || entries.len() == 1);
                assert!(end || !entries.is_empty());
                after = entries.last().map(|(key, _)| key.clone());
                joined.extend(entries);
                if end {
                    break;
                }
            }
            assert_eq!(joined, whole, "{entries_max} {bytes_max}");
        }
        let beyond = Some(Bytes::from_static(&[0xFF; 9]));
        assert_eq!(leaf(store, 5, beyond, 9, 9), (vec![], true));
        assert_eq!(leaf(store, 5, Some(Bytes::new()), usize::MAX, usize::MAX).0, whole, "a key before all of the leaf");
    });
}

#[test]
fn records_are_found_by_their_keys_in_order() {
    on_both(small(), |store| {
        (0..3).for_each(|n| drop(applied(store, put(in_partition(n), &"v".repeat(100)))));
        let read = |bytes_max| match store
            .read_now(&Read::Records { keys: [2, 9, 0, 1].map(in_partition).to_vec(), bytes_max })
        {
            Ok(Outcome::Records(found)) => found,
            other => panic!("{other:?}"),
        };
        let found = read(usize::MAX);
        assert_eq!(found.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), [2, 9, 0, 1].map(in_partition));
        let states: Vec<_> = found.into_iter().map(|(_, state)| state.unwrap()).collect();
        assert_eq!(states, [2, 9, 0, 1].map(|n| state(store, in_partition(n))));
        assert_eq!((read(0).len(), read(200).len()), (1, 3), "at least one, and none after the bound");
    });
}

#[test]
fn whether_hints_are_held_for_a_partition() {
    on_both(small(), |store| {
        let held = |partition| matches!(store.read_now(&Read::HintsOf { partition }), Ok(Outcome::HintsOf(true)));
        assert!(!held(PARTITION));
        let hint = applied(store, hinted(put(in_partition(1), "v"), OTHER));
        assert!(held(PARTITION) && !held(Partition(2)) && !held(Partition(4)));
        let drop = dynamo_storage::Op::DropHint { target: OTHER, key: in_partition(1), digest: hint.digest };
        run(store, drop).unwrap();
        assert!(!held(PARTITION));
        run(store, dynamo_storage::Op::KeepHint { target: OTHER, key: in_partition(1) }).unwrap();
        assert!(held(PARTITION), "a note is one, too");
    });
}

#[test]
fn a_read_under_an_epoch_before_the_fence_is_refused() {
    on_both(small(), |store| {
        applied(store, put(in_partition(1), "v"));
        run(store, fence(&[PARTITION], 5)).unwrap();
        assert_eq!(store.fence(PARTITION), 5);
        let read = |epoch, n| {
            let Read::State { key, hints, mode, digest_only, .. } = question(in_partition(n), &[]) else {
                unreachable!()
            };
            store.read_now(&Read::State { key, hints, mode, epoch, digest_only })
        };
        assert!(matches!(read(4, 1), Err(StoreError::Sealed { fence: 5 })));
        assert!(matches!(read(4, 2), Err(StoreError::Sealed { fence: 5 })), "nor is it said that there is none");
        assert!(matches!(read(5, 1), Ok(Outcome::State(Some(_)))));
        assert!(matches!(read(u64::MAX, 1), Ok(Outcome::State(Some(_)))));
    });
}
