//! What the store's tests share: keys, operations, and a completion that a test can wait for.
#![allow(dead_code, reason = "each test file uses its part")]

use bytes::Bytes;
use dynamo_ring::{NodeId, Partition};
use dynamo_storage::engine::MemoryEngine;
use dynamo_storage::{
    Applied, Completion, DataDir, Identity, Op, Opened, Outcome, Read, RecordKey, Settings, Store, StoreError,
};
use dynamo_version::{Causality, Mode, Payload, SiblingSet, Timestamp};
use smallvec::SmallVec;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

pub const ME: Identity = Identity { node: 7, incarnation: 1 };
pub const OTHER: NodeId = NodeId(99);

/// What a completion was told, in order.
#[derive(Debug)]
pub enum Told {
    Applied(Applied),
    Done(Result<Outcome, StoreError>),
}

pub struct Tell(pub Sender<Told>);

impl Completion for Tell {
    fn applied(&mut self, applied: &Applied) {
        let _ = self.0.send(Told::Applied(applied.clone()));
    }

    fn done(self, result: Result<Outcome, StoreError>) {
        let _ = self.0.send(Told::Done(result));
    }
}

/// Waits for the end of an operation. The bound is only there so that a hang is a failure and not a stuck run.
pub fn end_of(told: &Receiver<Told>) -> (Option<Applied>, Result<Outcome, StoreError>) {
    let mut applied = None;
    loop {
        match told.recv_timeout(Duration::from_secs(60)).expect("every completion is called") {
            Told::Applied(one) => assert!(applied.replace(one).is_none(), "applied twice"),
            Told::Done(result) => {
                assert!(told.recv().is_err(), "told something after the end");
                return (applied, result);
            }
        }
    }
}

pub fn submit(store: &Store<Tell>, op: Op) -> Receiver<Told> {
    let (tell, told) = channel();
    let mut tell = Tell(tell);
    loop {
        match store.submit(op.clone(), tell) {
            Ok(()) => return told,
            Err((back, _)) => {
                tell = back;
                std::thread::yield_now();
            }
        }
    }
}

pub fn run(store: &Store<Tell>, op: Op) -> Result<Outcome, StoreError> {
    end_of(&submit(store, op)).1
}

pub fn applied(store: &Store<Tell>, op: Op) -> Applied {
    match run(store, op).unwrap() {
        Outcome::Applied(applied) => applied,
        other => panic!("{other:?}"),
    }
}

pub fn key(name: &str) -> RecordKey {
    RecordKey::new(Partition(name.bytes().map(u16::from).sum::<u16>() % 8), b"cart", name.as_bytes(), None).unwrap()
}

pub fn put(key: RecordKey, value: &str) -> Op {
    put_over(key, value, Causality::default())
}

pub fn put_over(key: RecordKey, value: &str, context: Causality) -> Op {
    write(key, context, Payload::Value(Bytes::copy_from_slice(value.as_bytes())))
}

pub fn delete(key: RecordKey, context: Causality) -> Op {
    write(key, context, Payload::Tombstone)
}

fn write(key: RecordKey, context: Causality, payload: Payload) -> Op {
    Op::Write {
        key,
        context,
        context_ts: Timestamp::default(),
        payload,
        mode: Mode::Siblings,
        wall_ms: 1_000,
        hint_for: None,
        epoch: 0,
        sync: true,
    }
}

pub fn hinted(op: Op, target: NodeId) -> Op {
    match op {
        Op::Write { key, context, context_ts, payload, mode, wall_ms, epoch, sync, .. } => {
            Op::Write { key, context, context_ts, payload, mode, wall_ms, epoch, sync, hint_for: Some(target) }
        }
        Op::Merge { key, set, digest, mode, epoch, sync, .. } => {
            Op::Merge { key, set, digest, mode, epoch, sync, hint_for: Some(target) }
        }
        other => panic!("{other:?}"),
    }
}

pub fn merge(key: RecordKey, state: &(Bytes, u64)) -> Op {
    Op::Merge { key, set: state.0.clone(), digest: state.1, mode: Mode::Siblings, hint_for: None, epoch: 0, sync: true }
}

pub fn fence(partitions: &[Partition], epoch: u64) -> Op {
    Op::Fence { partitions: partitions.to_vec(), epoch, floor: 0 }
}

pub fn question(key: RecordKey, hints: &[NodeId]) -> Read {
    Read::State { key, hints: SmallVec::from_slice(hints), mode: Mode::Siblings, epoch: 0, digest_only: false }
}

pub fn state(store: &Store<Tell>, key: RecordKey) -> Option<(Bytes, u64)> {
    match store.read_now(&question(key, &[])).unwrap() {
        Outcome::State(state) => state,
        other => panic!("{other:?}"),
    }
}

pub fn set_of(state: &(Bytes, u64)) -> SiblingSet {
    SiblingSet::decode(state.0.clone()).unwrap()
}

/// The live values of a state, sorted.
pub fn values(state: &(Bytes, u64)) -> Vec<String> {
    let set = set_of(state);
    let mut values: Vec<_> = set
        .siblings()
        .iter()
        .filter_map(|sibling| match &sibling.payload {
            Payload::Value(value) => Some(String::from_utf8_lossy(value).into_owned()),
            Payload::Tombstone => None,
        })
        .collect();
    values.sort();
    values
}

pub fn stored(store: &Store<Tell>, name: &str) -> Vec<String> {
    state(store, key(name)).map(|state| values(&state)).unwrap_or_default()
}

pub fn plenty() -> std::io::Result<u64> {
    Ok(1 << 40)
}

pub fn small() -> Settings {
    Settings { cache_bytes: 4 << 20, ..Settings::default() }
}

pub fn open(path: &Path, settings: Settings) -> (Store<Tell>, Opened) {
    Store::open_with_probe(DataDir::take(path).unwrap(), settings, ME, plenty).unwrap()
}

pub fn in_memory(engine: &MemoryEngine, settings: Settings) -> (Store<Tell>, Opened) {
    Store::in_memory(engine.clone(), settings, ME, plenty).unwrap()
}

/// Runs a test on a store over each engine.
pub fn on_both(settings: Settings, test: impl Fn(&Store<Tell>)) {
    let (store, _) = in_memory(&MemoryEngine::new(), settings.clone());
    test(&store);
    store.close();
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), settings);
    test(&store);
    store.close();
}
