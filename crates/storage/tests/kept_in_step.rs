//! Whatever is done, refused, lost or damaged: trees are those of the records, counters are a recount, fences never fall.

mod support;

use bytes::Bytes;
use dynamo_merkle::{Shape, Tree};
use dynamo_ring::{NodeId, Partition};
use dynamo_storage::engine::{
    Batch, Engine, EngineError, EngineStats, FjallEngine, FjallSettings, MemoryEngine, Page, Reading, Scan, Space,
};
use dynamo_storage::record::{HEAD_BYTES, Head, Record};
use dynamo_storage::{
    Core, CoreSettings, HighWater, HintCount, Op, OpenFacts, Outcome, Read, RecordKey, StoreError, tree_hash,
};
use dynamo_version::SiblingSet;
use proptest::{collection, prelude::*};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use support::*;

const PARTITIONS: u16 = 3;
/// Few leaves, so that keys share them.
const SHAPE: Shape = match Shape::new(1) {
    Some(shape) => shape,
    None => panic!("one level is allowed"),
};

fn settings() -> CoreSettings {
    CoreSettings { identity: ME, hints_bytes_max: 600, siblings_max: 3, tree_shape: SHAPE }
}

fn small_key(n: u8) -> RecordKey {
    RecordKey::new(Partition(u16::from(n) % PARTITIONS), b"cart", &[n / 3 + 1], None).unwrap()
}

/// An operation in a form that can be generated; what depends on the state is looked up when it is run.
#[derive(Clone, Debug)]
enum Plan {
    Put { key: u8, epoch: u64, over: bool },
    Delete { key: u8 },
    Hint { key: u8, target: u8 },
    Note { key: u8, target: u8 },
    Delivered { key: u8, target: u8 },
    Fence { partition: u16, epoch: u64 },
    Forget { partition: u16, limit: usize },
    Collect { key: u8 },
    Prune { key: u8 },
    Mend { key: u8 },
    Rebuild { partition: u16 },
    Rubbish { key: u8 },
}

#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<Plan>),
    Sync,
    /// Commits fail from here on, as on a full disk, until the engine is opened again in place.
    FullDisk(Vec<Plan>),
    /// The process dies.
    Kill,
    /// The machine does: what was not synced is gone.
    PowerCut,
    /// The engine is opened again in place after losing what was not synced.
    LoseInPlace,
    /// A byte of a record changes on the disk.
    Damage {
        key: u8,
        body: bool,
    },
}

fn plan() -> impl Strategy<Value = Plan> {
    let key = 0u8..24;
    let (target, partition) = (0u8..2, 0..PARTITIONS);
    prop_oneof![
        8 => (key.clone(), 0u64..6, any::<bool>()).prop_map(|(key, epoch, over)| Plan::Put { key, epoch: epoch + 3, over }),
        3 => key.clone().prop_map(|key| Plan::Delete { key }),
        2 => (key.clone(), target.clone()).prop_map(|(key, target)| Plan::Hint { key, target }),
        2 => (key.clone(), target.clone()).prop_map(|(key, target)| Plan::Note { key, target }),
        2 => (key.clone(), target).prop_map(|(key, target)| Plan::Delivered { key, target }),
        1 => (partition.clone(), 0u64..6).prop_map(|(partition, epoch)| Plan::Fence { partition, epoch }),
        2 => (partition.clone(), 1usize..5).prop_map(|(partition, limit)| Plan::Forget { partition, limit }),
        3 => key.clone().prop_map(|key| Plan::Collect { key }),
        1 => key.clone().prop_map(|key| Plan::Prune { key }),
        1 => key.clone().prop_map(|key| Plan::Mend { key }),
        1 => partition.prop_map(|partition| Plan::Rebuild { partition }),
        1 => key.prop_map(|key| Plan::Rubbish { key }),
    ]
}

fn steps(damage: bool) -> impl Strategy<Value = Vec<Step>> {
    let batch = || collection::vec(plan(), 1..12);
    let step = prop_oneof![
        10 => batch().prop_map(Step::Batch),
        3 => Just(Step::Sync),
        1 => batch().prop_map(Step::FullDisk),
        1 => Just(Step::Kill),
        1 => Just(Step::PowerCut),
        1 => Just(Step::LoseInPlace),
        if damage { 2 } else { 0 } => (0u8..24, any::<bool>()).prop_map(|(key, body)| Step::Damage { key, body }),
    ];
    collection::vec(step, 1..25)
}

struct World {
    engine: MemoryEngine,
    core: Core,
    /// Fences that were seen in force by others.
    fences: BTreeMap<Partition, u64>,
    /// Of what was synced.
    durable: BTreeMap<Partition, u64>,
}

fn everything(engine: &dyn Reading, space: Space) -> Vec<(Bytes, Bytes)> {
    let (limit, bytes_max) = (usize::MAX, usize::MAX);
    engine.scan(Scan { space, prefix: &[], after: None, until: None, limit, bytes_max }).unwrap().entries
}

fn start(engine: &MemoryEngine) -> Core {
    Core::open(Arc::new(engine.clone()), settings(), OpenFacts::NothingKept).unwrap().0
}

impl World {
    fn new() -> World {
        let engine = MemoryEngine::new();
        let core = start(&engine);
        World { engine, core, fences: BTreeMap::new(), durable: BTreeMap::new() }
    }

    fn op(&self, plan: &Plan) -> Op {
        let found = |key: u8| match self.core.read(&question(small_key(key), &[])) {
            Ok(Outcome::State(Some(state))) => Some(state),
            _ => None,
        };
        let digest = |key: u8| found(key).map_or(1, |(_, digest)| digest);
        let context = |key: u8| found(key).map(|state| set_of(&state).causality().clone()).unwrap_or_default();
        let target = |target: u8| NodeId(u128::from(target) + 90);
        match *plan {
            Plan::Put { key, epoch, over } => {
                let context = if over { context(key) } else { Default::default() };
                match put_over(small_key(key), &format!("{key}{epoch}"), context) {
                    Op::Write { key, context, context_ts, payload, mode, wall_ms, hint_for, sync, .. } => {
                        Op::Write { key, context, context_ts, payload, mode, wall_ms, hint_for, epoch, sync }
                    }
                    other => panic!("{other:?}"),
                }
            }
            Plan::Delete { key } => delete(small_key(key), context(key)),
            Plan::Hint { key, target: n } => hinted(put(small_key(key), "held"), target(n)),
            Plan::Note { key, target: n } => Op::KeepHint { target: target(n), key: small_key(key) },
            Plan::Delivered { key, target: n } => {
                let hint = self.core.read(&Read::Hint { target: target(n), key: small_key(key) });
                let digest = if let Ok(Outcome::State(Some((_, digest)))) = hint { digest } else { 0 };
                Op::DropHint { target: target(n), key: small_key(key), digest }
            }
            Plan::Fence { partition, epoch } => fence(&[Partition(partition)], epoch),
            Plan::Forget { partition, limit } => {
                let partition = Partition(partition);
                Op::Forget { partition, epoch: self.core.fence(partition), limit }
            }
            Plan::Collect { key } => Op::Collect { key: small_key(key), digest: digest(key) },
            Plan::Prune { key } => {
                Op::Prune { key: small_key(key), digest: digest(key), actors: [(ME.node, ME.incarnation)].into() }
            }
            Plan::Mend { key } => Op::Mend { key: small_key(key) },
            Plan::Rebuild { partition } => Op::Rebuild { partition: Partition(partition) },
            Plan::Rubbish { key } => merge(small_key(key), &(Bytes::from_static(b"rubbish"), 1)),
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Batch(plans) => {
                let ops: Vec<Op> = plans.iter().map(|plan| self.op(plan)).collect();
                let results = self.core.apply(ops.clone());
                assert_eq!(results.len(), ops.len());
                for (op, result) in ops.iter().zip(&results) {
                    self.check_fenced(op, result);
                }
            }
            Step::Sync => {
                self.core.sync().unwrap();
                self.durable = self.fences.clone();
            }
            Step::FullDisk(plans) => {
                self.engine.set_capacity(Some(0));
                let ops = plans.iter().map(|plan| self.op(plan)).collect();
                self.core.apply(ops);
                self.engine.set_capacity(None);
                assert!(!self.core.reopen().unwrap(), "what was committed is there");
            }
            Step::Kill => self.core = start(&self.engine),
            Step::PowerCut => {
                self.engine.lose_power();
                self.core = start(&self.engine);
                self.fences = self.durable.clone();
            }
            Step::LoseInPlace => {
                self.engine.lose_power();
                self.core.reopen().unwrap();
            }
            Step::Damage { key, body } => {
                let key = small_key(*key);
                let Some(value) = self.engine.get(Space::Data, key.as_bytes()).unwrap() else { return };
                let mut bytes = value.to_vec();
                bytes[if *body { HEAD_BYTES + 1 } else { 2 }] ^= 1;
                let mut batch = Batch::new();
                batch.put(Space::Data, key.as_bytes().clone(), bytes.into());
                self.engine.commit(batch).unwrap();
                self.engine.sync().unwrap();
            }
        }
        for partition in (0..PARTITIONS).map(Partition) {
            let (before, now) = (self.fences.get(&partition).copied().unwrap_or(0), self.core.fence(partition));
            assert!(now >= before, "the fence of {partition:?} fell from {before} to {now}");
            self.fences.insert(partition, now);
        }
    }

    /// Fences only rise, so what was applied was at or above the one before the batch.
    fn check_fenced(&self, op: &Op, result: &Result<Outcome, StoreError>) {
        let Op::Write { key, epoch, hint_for: None, .. } = op else { return };
        let before = self.fences.get(&key.partition()).copied().unwrap_or(0);
        match result {
            Ok(_) => assert!(*epoch >= before, "written under epoch {epoch} behind a fence of {before}"),
            Err(StoreError::Sealed { fence }) => assert!(epoch < fence && *fence <= self.core.fence(key.partition())),
            Err(_) => {}
        }
    }

    fn check(&self) {
        let records = everything(&self.engine, Space::Data);
        let mut trees: BTreeMap<Partition, Tree> = BTreeMap::new();
        let (mut bytes, mut tombstones) = (0, 0);
        for (slot, value) in &records {
            let key = RecordKey::decode(slot).unwrap();
            let head = Head::decode(slot, value).unwrap();
            trees.entry(key.partition()).or_insert(Tree::new(SHAPE)).apply(tree_hash(slot), None, Some(head.digest));
            bytes += (slot.len() + value.len()) as u64;
            let set = SiblingSet::decode(Record::decode(slot, value.clone()).unwrap().set).unwrap();
            tombstones += u64::from(set.is_deleted());
        }
        let mut hints: BTreeMap<NodeId, HintCount> = BTreeMap::new();
        for (slot, body) in everything(&self.engine, Space::Hints) {
            let (target, _) = dynamo_storage::key::split_hint_key(&slot).unwrap();
            let count = hints.entry(target).or_default();
            count.count += 1;
            count.bytes += (slot.len() + body.len()) as u64;
        }
        let counters = self.core.counters();
        assert_eq!(
            (counters.keys(), counters.bytes(), counters.tombstones()),
            (records.len() as u64, bytes, tombstones)
        );
        assert_eq!(*counters.hints_by_target(), hints);
        let held: BTreeSet<_> = everything(&self.engine, Space::Hints)
            .iter()
            .map(|(slot, _)| dynamo_storage::key::split_hint_key(slot).unwrap().1.partition())
            .collect();
        for partition in (0..PARTITIONS).map(Partition) {
            let expected = trees.get(&partition).cloned().unwrap_or(Tree::new(SHAPE));
            self.core.with_tree(partition, |tree| assert_eq!(*tree, expected, "{partition:?}"));
            let Ok(Outcome::HintsOf(any)) = self.core.read(&Read::HintsOf { partition }) else { panic!() };
            assert_eq!(any, held.contains(&partition));
        }
        let leaves: usize = trees.values().map(|tree| tree.leaves().count()).sum();
        assert_eq!(everything(&self.engine, Space::Trees).len(), leaves, "each leaf once, and no empty one");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn trees_counters_and_fences_are_in_step_after_anything(steps in steps(false)) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
            world.check();
        }
        world.core = start(&world.engine);
        world.check();
    }

    /// With damage, too, all is in step again once each damaged record was mended, and each tree looked after.
    #[test]
    fn damage_is_mended_whatever_else_happens(steps in steps(true)) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.run(step));
        let mends = (0u8..24).map(|key| Op::Mend { key: small_key(key) });
        let rebuilds = (0..PARTITIONS).map(|partition| Op::Rebuild { partition: Partition(partition) });
        let results = world.core.apply(mends.chain(rebuilds).collect());
        prop_assert!(results.iter().all(Result::is_ok), "{:?}", results);
        let counters = world.core.counters();
        let (found, records) = (counters.tombstones(), everything(&world.engine, Space::Data));
        let deleted = |(slot, value): &&(Bytes, Bytes)| {
            let record = Record::decode(slot, value.clone()).unwrap();
            SiblingSet::decode(record.set).unwrap().is_deleted()
        };
        // The one figure that damage can spoil: whether a record was deleted can no longer be read of it.
        let real = records.iter().filter(deleted).count() as u64;
        prop_assert_eq!(counters.keys(), records.len() as u64);
        let bytes: usize = records.iter().map(|(slot, value)| slot.len() + value.len()).sum();
        prop_assert_eq!(counters.bytes(), bytes as u64);
        if !steps.iter().any(|step| matches!(step, Step::Damage { .. })) {
            prop_assert_eq!(found, real);
        }
        for partition in (0..PARTITIONS).map(Partition) {
            let of = records.iter().filter(|(slot, _)| RecordKey::decode(slot).unwrap().partition() == partition);
            let expected = Tree::build(SHAPE, of.map(|(slot, value)| {
                (tree_hash(slot), Head::decode(slot, value).unwrap().digest)
            }));
            prop_assert!(world.core.with_tree(partition, |tree| *tree == expected));
        }
    }
}

/// An engine that reports a failure after it has committed all the same.
struct Uncertain {
    inner: MemoryEngine,
    /// Commits until one is reported as failed.
    left: AtomicU64,
}

impl Reading for Uncertain {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.inner.get(space, key)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<Page, EngineError> {
        self.inner.scan(scan)
    }
}

impl Engine for Uncertain {
    fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        self.inner.commit(batch)?;
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 { Err(EngineError::Broken) } else { Ok(()) }
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.inner.sync()
    }

    fn snapshot(&self) -> Result<Box<dyn Reading>, EngineError> {
        self.inner.snapshot()
    }

    fn reopen(&self) -> Result<(), EngineError> {
        self.left.store(u64::MAX, Ordering::Relaxed);
        self.inner.reopen()
    }

    fn stats(&self) -> EngineStats {
        self.inner.stats()
    }

    fn close(&self) {
        self.inner.close();
    }
}

#[test]
fn a_commit_that_failed_and_is_found_all_the_same_is_taken_up() {
    let inner = MemoryEngine::new();
    let engine = Arc::new(Uncertain { inner: inner.clone(), left: AtomicU64::new(u64::MAX) });
    let (core, _) = Core::open(engine.clone(), settings(), OpenFacts::NothingKept).unwrap();
    let mut world = World { engine: inner, core, fences: BTreeMap::new(), durable: BTreeMap::new() };
    world.core.apply(vec![put(small_key(1), "v")]);
    engine.left.store(1, Ordering::Relaxed);
    let failed = world.core.apply(vec![put(small_key(2), "v"), fence(&[Partition(0)], 4)]);
    assert!(failed.iter().all(Result::is_err));
    assert_eq!((world.core.counters().keys(), world.core.fence(Partition(0))), (1, 0));
    assert!(!world.core.reopen().unwrap());
    assert_eq!((world.core.counters().keys(), world.core.fence(Partition(0))), (2, 4));
    world.check();
}

#[test]
fn a_core_over_files_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let start = |found| {
        let engine = FjallEngine::open(FjallSettings::new(dir.path())).unwrap();
        Core::open(Arc::new(engine), settings(), found).unwrap()
    };
    let (mut core, _) = start(OpenFacts::Missing);
    core.apply((0..24).map(|n| put(small_key(n), "v")).chain([fence(&[Partition(1)], 4)]).collect());
    core.sync().unwrap();
    let trees = |core: &Core| -> Vec<Tree> {
        (0..PARTITIONS).map(|partition| core.with_tree(Partition(partition), Tree::clone)).collect()
    };
    let (before, clean) = (trees(&core), HighWater { clean: true, ..core.high_water() });
    drop(core);
    let (core, opened) = start(OpenFacts::Found(clean));
    assert!(opened.clean && !opened.lost_tail && opened.trees_rebuilt == 0, "{opened:?}");
    assert_eq!((trees(&core), core.fence(Partition(1)), core.counters().keys()), (before, 4, 24));
    let ahead = HighWater { commit: core.high_water().commit + 9, ..core.high_water() };
    drop(core);
    assert!(start(OpenFacts::Found(ahead)).1.lost_tail);
}

#[test]
fn once_a_fence_is_done_nothing_older_is_applied() {
    on_both(small(), |store| {
        let partition = key("a").partition();
        let names: Vec<String> = (0..2_000).map(|n| format!("{n}")).collect();
        let in_partition = |name: &str| RecordKey::new(partition, b"cart", name.as_bytes(), None).unwrap();
        std::thread::scope(|scope| {
            let writers: Vec<_> = names
                .chunks(500)
                .map(|names| {
                    scope.spawn(move || {
                        names.iter().map(|name| submit(store, put(in_partition(name), "v"))).collect::<Vec<_>>()
                    })
                })
                .collect();
            while store.counters().keys() < 300 {
                std::thread::yield_now();
            }
            run(store, fence(&[partition], 1)).unwrap();
            let (keys, tree) = (store.counters().keys(), store.with_tree(partition, Tree::clone));
            let results = writers.into_iter().flat_map(|writer| writer.join().unwrap());
            let applied = results.filter(|told| match end_of(told).1 {
                Ok(_) => true,
                Err(StoreError::Sealed { fence: 1 }) => false,
                Err(error) => panic!("{error}"),
            });
            assert_eq!(applied.count() as u64, keys, "all that was applied was applied before the fence was done");
            assert_eq!(store.with_tree(partition, Tree::clone), tree);
        });
    });
}
