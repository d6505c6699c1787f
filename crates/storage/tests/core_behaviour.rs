//! The core, driven on one thread over an engine in memory: trees, fences, epochs and what a crash leaves of them.

mod support;

use dynamo_merkle::{Shape, Tree, encode_leaf};
use dynamo_ring::Partition;
use dynamo_storage::engine::{Batch, Engine, MemoryEngine, Reading, Scan, Space};
use dynamo_storage::{Core, CoreSettings, OpenFacts, Opened, Outcome, StoreError, tree_hash};
use std::sync::Arc;
use support::*;

fn settings() -> CoreSettings {
    CoreSettings { identity: ME, hints_bytes_max: 1 << 30, siblings_max: 1_000, tree_shape: Shape::default() }
}

fn start_with(engine: &MemoryEngine, settings: CoreSettings) -> (Core, Opened) {
    Core::open(Arc::new(engine.clone()), settings, OpenFacts::NothingKept).unwrap()
}

fn start(engine: &MemoryEngine) -> Core {
    start_with(engine, settings()).0
}

/// The tree of what a scan finds.
fn scanned(engine: &MemoryEngine, shape: Shape, partition: Partition) -> Tree {
    let prefix = partition.0.to_be_bytes();
    let (limit, bytes_max) = (usize::MAX, usize::MAX);
    let page = engine.scan(Scan { space: Space::Data, prefix: &prefix, after: None, until: None, limit, bytes_max });
    // Bytes 9 to 17 of a record's head are its digest.
    let digest = |record: &[u8]| u64::from_le_bytes(record[9..17].try_into().unwrap());
    Tree::build(shape, page.unwrap().entries.iter().map(|(key, record)| (tree_hash(key), digest(record))))
}

fn check_trees(engine: &MemoryEngine, core: &Core, shape: Shape) {
    for partition in (0..8).map(Partition) {
        let expected = scanned(engine, shape, partition);
        core.with_tree(partition, |tree| assert_eq!(*tree, expected, "partition {partition:?}"));
    }
}

#[test]
fn each_result_stands_in_its_operations_place() {
    let mut core = start(&MemoryEngine::new());
    let commits = core.counters().commits();
    let results = core.apply(vec![
        put(key("a"), "1"),
        merge(key("b"), &("rubbish".into(), 1)),
        fence(&[key("a").partition()], 2),
        put(key("a"), "2"),
        hinted(put(key("a"), "3"), OTHER),
    ]);
    assert!(matches!(results[0], Ok(Outcome::Applied(_))));
    assert!(matches!(results[1], Err(StoreError::BadState(_))));
    assert!(matches!(results[2], Ok(Outcome::Fenced)));
    assert!(matches!(results[3], Err(StoreError::Sealed { fence: 2 })), "it came after the fence");
    assert!(matches!(results[4], Ok(Outcome::Applied(_))), "only the floor concerns hints");
    assert_eq!(core.counters().commits(), commits + 1);
}

#[test]
fn a_tree_shows_what_is_committed_and_comes_back_from_its_leaves() {
    let engine = MemoryEngine::new();
    let mut core = start(&engine);
    for round in 0..5 {
        let ops = (0..60).map(|n| put(key(&format!("{}", n * (round + 1) % 90)), "v")).collect();
        core.apply(ops).into_iter().for_each(|result| assert!(result.is_ok()));
        check_trees(&engine, &core, Shape::default());
    }
    drop(core);
    let (core, opened) = start_with(&engine, settings());
    assert_eq!(opened.trees_rebuilt, 0);
    check_trees(&engine, &core, Shape::default());
    core.sync().unwrap();
}

#[test]
fn damaged_leaves_and_another_shape_are_built_anew() {
    let engine = MemoryEngine::new();
    let mut core = start(&engine);
    core.apply((0..60).map(|n| put(key(&n.to_string()), "v")).collect());
    let leaves = |partition: u16| {
        let prefix = partition.to_be_bytes();
        let (limit, bytes_max) = (usize::MAX, usize::MAX);
        let all = Scan { space: Space::Trees, prefix: &prefix, after: None, until: None, limit, bytes_max };
        engine.scan(all).unwrap().entries
    };
    let mut damage = Batch::new();
    damage.put(Space::Trees, leaves(3)[0].0.clone(), "torn".into());
    // In a place where none belongs, and beyond the shape.
    damage.put(Space::Trees, leaves(4)[0].0.slice(..5), leaves(4)[0].1.clone());
    let beyond = encode_leaf(Shape::default(), 5_000, 7);
    damage.put(Space::Trees, [&[0, 5][..], &5_000u32.to_be_bytes()].concat().into(), beyond.to_vec().into());
    engine.commit(damage).unwrap();
    let (core, opened) = start_with(&engine, settings());
    assert_eq!(opened.trees_rebuilt, 3);
    check_trees(&engine, &core, Shape::default());
    assert_eq!(start_with(&engine, settings()).1.trees_rebuilt, 0, "they are whole again");

    let shape = Shape::new(1).unwrap();
    let (core, opened) = start_with(&engine, CoreSettings { tree_shape: shape, ..settings() });
    assert_eq!(opened.trees_rebuilt, 8);
    check_trees(&engine, &core, shape);
    assert!((0..8).all(|partition| leaves(partition).len() <= 16), "nothing is left of the deeper trees");
}

#[test]
fn a_tree_too_deep_for_the_keys_order_is_refused() {
    let deep = CoreSettings { tree_shape: Shape::new(5).unwrap(), ..settings() };
    let refused = Core::open(Arc::new(MemoryEngine::new()), deep, OpenFacts::NothingKept).map(|_| ());
    assert!(matches!(refused, Err(StoreError::Settings(_))));
}

#[test]
fn a_batch_that_could_not_be_committed_leaves_no_trace() {
    let engine = MemoryEngine::new();
    let mut core = start(&engine);
    core.apply(vec![put(key("a"), "1")]);
    let before = (core.counters().keys(), core.counters().bytes());
    engine.set_capacity(Some(0));
    let results = core.apply(vec![put(key("a"), "2"), put(key("b"), "1"), fence(&[Partition(1)], 9)]);
    assert!(results.iter().all(|result| matches!(result, Err(StoreError::DiskFull))), "{results:?}");
    assert!(core.is_broken());
    check_trees(&engine, &core, Shape::default());
    assert_eq!(((core.counters().keys(), core.counters().bytes()), core.fence(Partition(1))), (before, 0));
    engine.set_capacity(None);
    assert!(
        matches!(core.apply(vec![put(key("a"), "2")])[0], Err(StoreError::DiskFailing(_))),
        "not before it is open"
    );
    assert!(!core.reopen().unwrap(), "nothing was lost");
    core.apply(vec![put(key("a"), "2")]).into_iter().for_each(|result| assert!(result.is_ok()));
    check_trees(&engine, &core, Shape::default());
}

#[test]
fn a_sync_that_fails_is_noticed_although_nothing_is_committed_after_it() {
    let engine = MemoryEngine::new();
    let mut core = start(&engine);
    core.apply(vec![fence(&[Partition(1)], 5)]);
    // The engine breaks behind the core's back.
    engine.set_capacity(Some(0));
    let mut batch = Batch::new();
    batch.put(Space::Meta, "key".into(), "value".into());
    assert!(engine.commit(batch).is_err());
    engine.set_capacity(None);
    assert!(core.sync().is_err());
    assert!(core.is_broken(), "else nobody opens it again: the same fence once more commits nothing");
    core.reopen().unwrap();
    core.apply(vec![fence(&[Partition(1)], 5)]).into_iter().for_each(|result| assert!(result.is_ok()));
    core.sync().unwrap();
}

#[test]
fn fences_survive_are_never_lowered_and_come_back_after_a_loss() {
    let engine = MemoryEngine::new();
    let mut core = start(&engine);
    core.apply(vec![fence(&[Partition(1), Partition(2)], 5)]);
    core.apply(vec![fence(&[Partition(1)], 3), fence(&[Partition(2)], 7), fence(&[Partition(2)], 6)]);
    assert_eq!([1, 2, 3].map(|partition| core.fence(Partition(partition))), [5, 7, 0]);
    core.sync().unwrap();
    core.apply(vec![fence(&[Partition(3)], 4), put(key("a"), "lost")]);
    engine.lose_power();
    assert!(core.reopen().unwrap(), "a commit was lost");
    assert_eq!([1, 2, 3].map(|partition| core.fence(Partition(partition))), [5, 7, 4], "others may have seen it");
    check_trees(&engine, &core, Shape::default());
    assert_eq!(core.counters().keys(), 0);
    engine.lose_power();
    let core = start(&engine);
    assert_eq!([1, 2, 3].map(|partition| core.fence(Partition(partition))), [5, 7, 4]);
}

#[test]
fn a_batch_larger_than_a_block_of_epochs_is_no_special_case() {
    let mut core = start(&MemoryEngine::new());
    let results = core.apply((0..70_000).map(|n| put(key(&n.to_string()), "v")).collect());
    assert!(results.iter().all(Result::is_ok));
    assert!(core.reserve(70_000).unwrap());
    assert!(!core.reserve(70_000).unwrap());
}
