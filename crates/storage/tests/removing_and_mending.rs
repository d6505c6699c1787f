//! Forgetting, collecting, pruning, mending: each with what it refuses, and trees and counters in step with it.

mod support;

use dynamo_merkle::Tree;
use dynamo_ring::Partition;
use dynamo_storage::engine::{Batch, Engine, MemoryEngine, Reading, Scan, Space};
use dynamo_storage::record::HEAD_BYTES;
use dynamo_storage::{Hinted, Op, Outcome, Read, RecordKey, Store, StoreError};
use dynamo_version::{Actor, Dot, Mode, Payload, SiblingSet, Timestamp};
use support::*;

const PARTITION: Partition = Partition(3);
const EMPTY: Tree = Tree::new(match dynamo_merkle::Shape::new(3) {
    Some(shape) => shape,
    None => panic!("three levels are allowed"),
});

fn in_partition(n: usize) -> RecordKey {
    RecordKey::new(PARTITION, b"cart", n.to_string().as_bytes(), None).unwrap()
}

fn forget(store: &Store<Tell>, epoch: u64, limit: usize) -> Result<bool, StoreError> {
    match run(store, Op::Forget { partition: PARTITION, epoch, limit })? {
        Outcome::Forgot { left } => Ok(left),
        other => panic!("{other:?}"),
    }
}

fn yes(store: &Store<Tell>, op: Op) -> bool {
    match run(store, op).unwrap() {
        Outcome::Collected(done) | Outcome::Pruned(done) | Outcome::Mended(done) => done,
        other => panic!("{other:?}"),
    }
}

fn tree(store: &Store<Tell>) -> Tree {
    store.with_tree(PARTITION, Tree::clone)
}

/// The tree of the records that a scan finds whole.
fn scanned(store: &Store<Tell>) -> Tree {
    let scan = Read::Scan { partition: PARTITION, after: None, limit: usize::MAX, bytes_max: usize::MAX };
    let Outcome::Scan { entries, .. } = store.read_now(&scan).unwrap() else { panic!() };
    let whole = entries.iter().filter_map(|entry| Some((entry.key.tree_hash(), entry.state.as_ref().ok()?.1)));
    Tree::build(EMPTY.shape(), whole)
}

fn tombstone(store: &Store<Tell>, key: RecordKey) -> u64 {
    let context = state(store, key.clone()).map(|state| set_of(&state).causality().clone()).unwrap_or_default();
    applied(store, delete(key, context)).digest
}

#[test]
fn a_partition_is_forgotten_only_at_its_fence() {
    on_both(small(), |store| {
        (0..25).for_each(|n| drop(applied(store, put(in_partition(n), "v"))));
        let other = applied(store, put(RecordKey::new(Partition(4), b"cart", b"k", None).unwrap(), "v"));
        assert!(matches!(forget(store, 0, 9), Err(StoreError::Serving { fence: 0 })), "never fenced");
        run(store, fence(&[PARTITION], 5)).unwrap();
        assert!(matches!(forget(store, 4, 9), Err(StoreError::Serving { fence: 5 })));
        assert!(matches!(forget(store, 6, 9), Err(StoreError::Serving { fence: 5 })));
        assert_eq!(store.counters().keys(), 26);
        assert!(forget(store, 5, 10).unwrap());
        assert_eq!(store.counters().keys(), 16);
        assert_eq!(tree(store), scanned(store));
        // It has become a home again: what is still on its way must not touch the new copy.
        run(store, fence(&[PARTITION], 7)).unwrap();
        assert!(matches!(forget(store, 5, 10), Err(StoreError::Serving { fence: 7 })));
        assert!(forget(store, 7, 10).unwrap());
        assert!(!forget(store, 7, 10).unwrap());
        assert_eq!((tree(store), scanned(store)), (EMPTY, EMPTY));
        let bytes = (other.set.len() + HEAD_BYTES + 4 + 1 + 4 + 1 + 2) as u64;
        assert_eq!((store.counters().keys(), store.counters().bytes()), (1, bytes));
        assert!(!forget(store, 7, 10).unwrap(), "there is nothing left to forget");
    });
}

#[test]
fn what_a_note_promised_is_kept_when_its_record_is_forgotten() {
    on_both(small(), |store| {
        applied(store, put(in_partition(1), "promised"));
        applied(store, put(in_partition(2), "own"));
        run(store, Op::KeepHint { target: OTHER, key: in_partition(1) }).unwrap();
        applied(store, hinted(put(in_partition(2), "held"), OTHER));
        run(store, fence(&[PARTITION], 5)).unwrap();
        assert!(!forget(store, 5, 10).unwrap());
        let hint = |n| match store.read_now(&Read::Hint { target: OTHER, key: in_partition(n) }).unwrap() {
            Outcome::State(Some(state)) => values(&state),
            other => panic!("{other:?}"),
        };
        assert_eq!((hint(1), hint(2)), (vec!["promised".into()], vec!["held".into()]));
        let page = Read::HintPage { target: OTHER, after: None, limit: 9 };
        let Outcome::Hints { entries, .. } = store.read_now(&page).unwrap() else { panic!() };
        let bytes: u64 = entries.iter().map(|entry| u64::from(entry.bytes)).sum();
        assert_eq!((store.counters().hints(), store.counters().hint_bytes()), (2, bytes));
    });
}

#[test]
fn a_key_forgotten_and_written_again_is_written_under_a_fresh_epoch() {
    on_both(small(), |store| {
        let first = applied(store, put(in_partition(1), "1")).dot.unwrap();
        run(store, fence(&[PARTITION], 5)).unwrap();
        forget(store, 5, 10).unwrap();
        let Op::Write { key, context, context_ts, payload, mode, wall_ms, hint_for, sync, .. } =
            put(in_partition(1), "2")
        else {
            unreachable!()
        };
        let again = Op::Write { key, context, context_ts, payload, mode, wall_ms, hint_for, epoch: 5, sync };
        let again = applied(store, again).dot.unwrap();
        assert_ne!(again.actor, first.actor);
    });
}

#[test]
fn only_what_is_deleted_unchanged_and_without_hints_is_collected() {
    on_both(small(), |store| {
        let key = || in_partition(1);
        let collect = |digest| yes(store, Op::Collect { key: key(), digest });
        assert!(!collect(1), "there is no such record");
        let live = applied(store, put(key(), "v")).digest;
        assert!(!collect(live), "it is not deleted");
        let deleted = tombstone(store, key());
        assert!(!collect(deleted ^ 1), "another state");
        run(store, Op::KeepHint { target: OTHER, key: key() }).unwrap();
        assert!(!collect(deleted), "somebody has still to be told");
        run(store, Op::DropHint { target: OTHER, key: key(), digest: deleted }).unwrap();
        assert_eq!((store.counters().keys(), store.counters().tombstones()), (1, 1));
        assert!(collect(deleted));
        assert_eq!(state(store, key()), None);
        let counters = store.counters();
        assert_eq!((counters.keys(), counters.tombstones(), counters.bytes()), (0, 0, 0));
        assert_eq!(tree(store), EMPTY);
        assert!(!collect(deleted), "it is gone");
    });
}

fn hinted_now(store: &Store<Tell>) -> Hinted {
    match store.read_now(&Read::Hinted).unwrap() {
        Outcome::Hinted(hinted) => hinted,
        other => panic!("{other:?}"),
    }
}

fn at_epoch(op: Op, at: u64) -> Op {
    match op {
        Op::Write { key, context, context_ts, payload, mode, wall_ms, hint_for, sync, .. } => {
            Op::Write { key, context, context_ts, payload, mode, wall_ms, hint_for, sync, epoch: at }
        }
        other => other,
    }
}

#[test]
fn nothing_older_than_the_floor_is_taken_for_any_partition_nor_as_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    for start in 0..2 {
        let (store, _) = open(dir.path(), small());
        let fresh = |name: &str| key(&format!("{name}{start}"));
        if start == 0 {
            applied(&store, put(in_partition(1), "before"));
            applied(&store, hinted(put(in_partition(2), "before"), OTHER));
            run(&store, Op::Fence { partitions: vec![], epoch: 0, floor: 4 }).unwrap();
            run(&store, Op::Fence { partitions: vec![], epoch: 0, floor: 3 }).unwrap();
        }
        for op in
            [put(in_partition(10 + start), "v"), put(fresh("elsewhere"), "v"), hinted(put(fresh("h"), "v"), OTHER)]
        {
            let late = run(&store, at_epoch(op.clone(), 3));
            assert!(matches!(late, Err(StoreError::Sealed { fence: 4 })), "{op:?}");
            applied(&store, at_epoch(op, 4));
        }
        assert_eq!(store.fence(PARTITION), 4);
        let refused = match question(in_partition(1), &[]) {
            Read::State { key, hints, mode, digest_only, .. } => {
                Read::State { key, hints, mode, digest_only, epoch: 3 }
            }
            other => other,
        };
        assert!(matches!(store.read_now(&refused), Err(StoreError::Sealed { fence: 4 })));
        store.close();
    }
}

#[test]
fn it_is_seen_that_a_hint_came_and_went() {
    on_both(small(), |store| {
        assert_eq!(hinted_now(store), Hinted::default());
        let elsewhere = RecordKey::new(Partition(300), b"cart", b"k", None).unwrap();
        let digest = applied(store, hinted(put(elsewhere.clone(), "v"), OTHER)).digest;
        applied(store, put(in_partition(1), "v"));
        run(store, Op::KeepHint { target: dynamo_ring::NodeId(5), key: in_partition(1) }).unwrap();
        let before = hinted_now(store);
        assert_eq!(before.held, [PARTITION, Partition(300)].into());
        assert_eq!(before.kept.keys().copied().collect::<Vec<_>>(), [PARTITION, Partition(300)]);
        run(store, Op::DropHint { target: OTHER, key: elsewhere.clone(), digest }).unwrap();
        let dropped = hinted_now(store);
        assert_eq!((&dropped.kept, dropped.held), (&before.kept, [PARTITION].into()), "a drop is no hint");
        let digest = applied(store, hinted(put(elsewhere.clone(), "w"), OTHER)).digest;
        run(store, Op::DropHint { target: OTHER, key: elsewhere, digest }).unwrap();
        let after = hinted_now(store);
        assert_eq!(after.held, [PARTITION].into());
        assert!(after.kept[&Partition(300)] > before.kept[&Partition(300)]);
        assert_eq!(after.kept[&PARTITION], before.kept[&PARTITION]);
    });
}

/// A slower home may give the tombstone back: then it is replaced, or is a sibling without a value.
#[test]
fn what_a_client_knew_of_a_collected_key_neither_hides_its_next_write_nor_doubles_it() {
    on_both(small(), |store| {
        for (n, with_context) in [(1, true), (2, false)] {
            let key = || in_partition(n);
            applied(store, put(key(), "old"));
            tombstone(store, key());
            let collected = state(store, key()).unwrap();
            let known = set_of(&collected).causality().clone();
            assert!(yes(store, Op::Collect { key: key(), digest: collected.1 }));
            let context = if with_context { known.clone() } else { Default::default() };
            let dot = applied(store, put_over(key(), "new", context)).dot.unwrap();
            assert!(!known.covers(&dot), "nobody has seen it");
            assert_eq!(values(&state(store, key()).unwrap()), ["new"]);
            applied(store, merge(key(), &collected));
            let joined = state(store, key()).unwrap();
            assert_eq!(
                (values(&joined), set_of(&joined).siblings().len()),
                (vec!["new".into()], 2 - usize::from(with_context))
            );
        }
    });
}

#[test]
fn many_actors_without_a_version_go_whoever_they_are() {
    let state_by = |nodes: u128| {
        let mut set = SiblingSet::new();
        for node in 0..nodes {
            let (seen, actor) = (set.causality().clone(), Actor { node, incarnation: 1, key_epoch: 1 });
            let (dot, timestamp) = (Dot { actor, counter: 1 }, Timestamp(node as u64 + 1));
            set.write(&seen, dot, timestamp, Payload::Value("v".into()), Mode::Siblings);
        }
        let encoded = set.encode();
        let digest = SiblingSet::digest(&encoded);
        (encoded, digest)
    };
    on_both(small(), |store| {
        let most = dynamo_storage::apply::ACTORS_MAX as u128;
        for (nodes, goes) in [(most, false), (most + 1, true)] {
            let key = in_partition(nodes as usize);
            let digest = applied(store, merge(key.clone(), &state_by(nodes))).digest;
            assert_eq!(yes(store, Op::Prune { key: key.clone(), digest, actors: [].into() }), goes);
            let left = set_of(&state(store, key.clone()).unwrap()).causality().entries().len();
            assert_eq!(left, if goes { 1 } else { most as usize });
        }
        assert_eq!(tree(store), scanned(store));
    });
}

#[test]
fn digests_are_of_what_is_whole() {
    let engine = MemoryEngine::new();
    let (store, _) = in_memory(&engine, small());
    let whole = applied(&store, put(in_partition(1), "v")).digest;
    applied(&store, put(in_partition(2), "v"));
    damage(&engine, &in_partition(2), |bytes| bytes - 1);
    let keys = (1..4).map(in_partition).collect();
    let Ok(Outcome::Digests(found)) = store.read_now(&Read::Digests { keys }) else { panic!() };
    assert_eq!(found, [Some(whole), None, None]);
}

#[test]
fn actors_that_are_gone_are_pruned_from_what_is_unchanged() {
    let another = dynamo_storage::Identity { node: 8, incarnation: 1 };
    let (source, _) = Store::in_memory(MemoryEngine::new(), small(), another, plenty).unwrap();
    applied(&source, put(in_partition(1), "of 8"));
    let theirs = state(&source, in_partition(1)).unwrap();
    on_both(small(), |store| {
        let key = || in_partition(1);
        let prune = |digest, node| yes(store, Op::Prune { key: key(), digest, actors: [(node, 1), (99, 3)].into() });
        assert!(!prune(1, 8), "there is no such record");
        applied(store, merge(key(), &theirs));
        assert!(!prune(theirs.1, 8), "its version is still there");
        let over = set_of(&theirs).causality().clone();
        let mine = applied(store, put_over(key(), "of 7", over));
        assert!(!prune(theirs.1, 8), "another state");
        assert!(!prune(mine.digest, 9), "nobody knows it");
        assert!(prune(mine.digest, 8));
        let pruned = state(store, key()).unwrap();
        assert_ne!(pruned.1, mine.digest);
        assert_eq!(set_of(&pruned).causality().entries().len(), 1);
        assert_eq!((values(&pruned), tree(store)), (vec!["of 7".into()], scanned(store)));
        let slot = key().as_bytes().len() + HEAD_BYTES;
        assert_eq!(store.counters().bytes(), (slot + pruned.0.len()) as u64);
        let next = applied(store, put(key(), "again")).dot.unwrap();
        assert_eq!(next.actor, mine.dot.unwrap().actor, "memory is unbroken");
    });
}

#[test]
fn a_node_that_prunes_itself_does_not_number_on() {
    on_both(small(), |store| {
        let key = || in_partition(1);
        let first = applied(store, put(key(), "1"));
        // A version of another node replaces it: nothing of this node's is left.
        let (other, _) = Store::in_memory(
            MemoryEngine::new(),
            small(),
            dynamo_storage::Identity { node: 8, incarnation: 1 },
            plenty,
        )
        .unwrap();
        applied(&other, put_over(key(), "2", set_of(&(first.set, 0)).causality().clone()));
        let joined = applied(store, merge(key(), &state(&other, key()).unwrap()));
        assert!(yes(
            store,
            Op::Prune { key: key(), digest: joined.digest, actors: [(ME.node, ME.incarnation)].into() }
        ));
        assert_ne!(applied(store, put(key(), "3")).dot.unwrap().actor, first.dot.unwrap().actor);
    });
}

/// Changes what is stored under a key without the store's knowledge.
fn damage(engine: &MemoryEngine, key: &RecordKey, at: impl Fn(usize) -> usize) {
    let mut bytes = engine.get(Space::Data, key.as_bytes()).unwrap().unwrap().to_vec();
    let at = at(bytes.len());
    bytes[at] ^= 1;
    let mut batch = Batch::new();
    batch.put(Space::Data, key.as_bytes().clone(), bytes.into());
    engine.commit(batch).unwrap();
}

#[test]
fn a_damaged_record_is_mended_away_and_taken_again() {
    let engine = MemoryEngine::new();
    let (store, _) = in_memory(&engine, small());
    (0..30).for_each(|n| drop(applied(&store, put(in_partition(n), "v"))));
    for (n, at) in [(1, 3), (2, HEAD_BYTES + 3)] {
        let (key, before) = (in_partition(n), tree(&store));
        let good = state(&store, key.clone()).unwrap();
        assert!(!yes(&store, Op::Mend { key: key.clone() }), "it is whole");
        damage(&engine, &key, |_| at);
        let error = run(&store, put(key.clone(), "new")).unwrap_err();
        let StoreError::Corrupt { record: Some(found), .. } = error else { panic!("{error}") };
        assert_eq!(found, key);
        assert_eq!(tree(&store), before, "it counts as it did");
        assert!(yes(&store, Op::Mend { key: key.clone() }));
        assert_eq!(state(&store, key.clone()), None);
        assert_eq!((tree(&store), store.counters().keys()), (scanned(&store), 29));
        applied(&store, merge(key, &good));
        assert_eq!((tree(&store), store.counters().keys()), (before, 30));
    }
    assert!(!yes(&store, Op::Mend { key: in_partition(99) }), "there is none");
}

#[test]
fn a_leaf_with_a_damaged_head_names_the_record_to_mend() {
    let engine = MemoryEngine::new();
    let (store, _) = in_memory(&engine, small());
    applied(&store, put(in_partition(1), "v"));
    damage(&engine, &in_partition(1), |_| 3);
    let leaf = EMPTY.shape().leaf_of(in_partition(1).tree_hash());
    let read = Read::Leaf { partition: PARTITION, leaf, after: None, entries_max: 9, bytes_max: 999 };
    let Err(StoreError::Corrupt { record: Some(key), .. }) = store.read_now(&read) else { panic!() };
    assert_eq!(key, in_partition(1));
    assert!(yes(&store, Op::Mend { key }));
    assert!(matches!(store.read_now(&read), Ok(Outcome::Leaf { entries, end: true }) if entries.is_empty()));
}

#[test]
fn what_a_newer_version_wrote_is_not_mended_away() {
    let engine = MemoryEngine::new();
    let (store, _) = in_memory(&engine, small());
    let key = in_partition(1);
    applied(&store, put(key.clone(), "v"));
    let mut bytes = engine.get(Space::Data, key.as_bytes()).unwrap().unwrap().to_vec();
    bytes[0] += 1;
    let mut check = xxhash_rust::xxh3::Xxh3::new();
    check.update(&bytes[..17]);
    check.update(key.as_bytes());
    bytes[17..HEAD_BYTES].copy_from_slice(&(check.digest() as u32).to_le_bytes());
    let mut batch = Batch::new();
    batch.put(Space::Data, key.as_bytes().clone(), bytes.into());
    engine.commit(batch).unwrap();
    assert!(!yes(&store, Op::Mend { key: key.clone() }));
    assert!(engine.get(Space::Data, key.as_bytes()).unwrap().is_some());
}

#[test]
fn damaged_records_are_forgotten_too() {
    let engine = MemoryEngine::new();
    let (store, _) = in_memory(&engine, small());
    (0..30).for_each(|n| drop(applied(&store, put(in_partition(n), "v"))));
    (0..30).step_by(7).for_each(|n| damage(&engine, &in_partition(n), |_| if n % 2 == 0 { 3 } else { HEAD_BYTES + 3 }));
    run(&store, fence(&[PARTITION], 5)).unwrap();
    assert!(forget(&store, 5, 16).unwrap());
    let heads =
        engine.scan(Scan { space: Space::Data, prefix: &[], after: None, until: None, limit: 99, bytes_max: 1 << 20 });
    assert_eq!(heads.unwrap().entries.len(), 14);
    assert!(!forget(&store, 5, 99).unwrap());
    assert_eq!((tree(&store), store.counters().keys(), store.counters().bytes()), (EMPTY, 0, 0));
}

#[test]
fn a_tree_that_disagrees_is_rebuilt() {
    let engine = MemoryEngine::new();
    let (store, _) = in_memory(&engine, small());
    (0..30).for_each(|n| drop(applied(&store, put(in_partition(n), "v"))));
    let rebuild = || match run(&store, Op::Rebuild { partition: PARTITION }).unwrap() {
        Outcome::Rebuilt { changed_leaves } => changed_leaves,
        other => panic!("{other:?}"),
    };
    assert_eq!(rebuild(), 0);
    let mut batch = Batch::new();
    (0..3).for_each(|n| batch.delete(Space::Data, in_partition(n).as_bytes().clone()));
    engine.commit(batch).unwrap();
    assert_ne!(tree(&store), scanned(&store));
    assert_eq!(rebuild(), 3);
    assert_eq!(tree(&store), scanned(&store));
    assert_eq!(rebuild(), 0);
    let stored =
        engine.scan(Scan { space: Space::Trees, prefix: &[], after: None, until: None, limit: 99, bytes_max: 1 << 20 });
    let leaves = tree(&store).leaves().count();
    assert_eq!(stored.unwrap().entries.len(), leaves, "an empty leaf is not stored");
}

#[test]
fn one_batch_may_write_and_remove_the_same_record() {
    use dynamo_storage::{Core, CoreSettings, OpenFacts};
    let engine = MemoryEngine::new();
    let settings = CoreSettings { identity: ME, hints_bytes_max: 1 << 30, siblings_max: 9, tree_shape: EMPTY.shape() };
    let (mut core, _) = Core::open(std::sync::Arc::new(engine.clone()), settings, OpenFacts::NothingKept).unwrap();
    core.apply((0..5).map(|n| put(in_partition(n), "v")).collect());
    damage(&engine, &in_partition(0), |_| 3);
    let forget = || Op::Forget { partition: PARTITION, epoch: 5, limit: 3 };
    let results = core.apply(vec![
        put(in_partition(1), "more"),
        put(in_partition(7), "new"),
        Op::Mend { key: in_partition(0) },
        Op::Rebuild { partition: PARTITION },
        fence(&[PARTITION], 5),
        forget(),
    ]);
    assert!(matches!(results[3], Ok(Outcome::Rebuilt { changed_leaves: 0 })), "{results:?}");
    assert!(matches!(results[5], Ok(Outcome::Forgot { left: true })), "{results:?}");
    let found = |partition: Partition| {
        let read = Read::Scan { partition, after: None, limit: 99, bytes_max: 1 << 20 };
        let Outcome::Scan { entries, .. } = core.read(&read).unwrap() else { panic!() };
        Tree::build(EMPTY.shape(), entries.iter().map(|entry| (entry.key.tree_hash(), entry.state.as_ref().unwrap().1)))
    };
    core.with_tree(PARTITION, |tree| assert_eq!(*tree, found(PARTITION)));
    core.apply(vec![forget(), forget()]);
    core.with_tree(PARTITION, |tree| assert_eq!(*tree, EMPTY));
    assert_eq!((core.counters().keys(), core.counters().bytes()), (0, 0));
}
