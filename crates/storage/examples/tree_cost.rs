//! What the hash trees add to a write: CPU time of the applying thread, over the engine in memory and over files.
//!
//! `cargo run --release -p dynamo-storage --example tree_cost`
//!
//! "Without" is the same writes kept as hints for another node: the same read, merge, encoding and commit under a key that is
//! 16 bytes longer, with no leaf to change. Linux only: it reads the thread's own time on the CPU.

use bytes::Bytes;
use dynamo_merkle::Shape;
use dynamo_ring::{NodeId, Partition};
use dynamo_storage::engine::{Engine, FjallEngine, FjallSettings, MemoryEngine};
use dynamo_storage::{Core, CoreSettings, Identity, Op, OpenFacts, RecordKey};
use dynamo_version::{Mode, Payload, SiblingSet, Timestamp};
use std::sync::Arc;

const KEYS: u32 = 100_000;
const PARTITIONS: u32 = 256;

fn main() {
    for (depth, batch) in [(3, 1), (3, 16), (3, 256), (2, 16), (2, 256)] {
        let shape = Shape::new(depth).expect("a depth in range");
        for on_disk in [false, true] {
            let figure = |hint_for| {
                let dir = tempfile::tempdir().expect("a folder for files");
                let engine: Arc<dyn Engine> = if on_disk {
                    Arc::new(FjallEngine::open(FjallSettings::new(dir.path())).expect("a new engine"))
                } else {
                    Arc::new(MemoryEngine::new())
                };
                micros_per_write(engine, shape, batch, hint_for)
            };
            let (with, without) = (figure(None), figure(Some(NodeId(9))));
            let engine = if on_disk { "files" } else { "memory" };
            println!(
                "{engine}, depth {depth}, batches of {batch}: {with:.2} us a write with trees, {without:.2} us without"
            );
        }
    }
}

/// Each key is made, then replaced; only replacing is measured.
fn micros_per_write(engine: Arc<dyn Engine>, tree_shape: Shape, batch: u32, hint_for: Option<NodeId>) -> f64 {
    let identity = Identity { node: 1, incarnation: 1 };
    let settings = CoreSettings { identity, hints_bytes_max: u64::MAX, siblings_max: 9, tree_shape };
    let (mut core, _) = Core::open(engine, settings, OpenFacts::NothingKept).expect("a new engine");
    let mut spent = 0;
    for round in 0..2 {
        for from in (0..KEYS).step_by(batch as usize) {
            let keys = from..(from + batch).min(KEYS);
            let ops = keys.map(|n| write(n.wrapping_mul(48_271) % KEYS, round, hint_for)).collect();
            let began = cpu_ns();
            let results = core.apply(ops);
            if round > 0 {
                spent += cpu_ns() - began;
            }
            assert!(results.iter().all(Result::is_ok));
            if from % 4_096 < batch {
                core.sync().expect("a healthy engine");
            }
        }
    }
    spent as f64 / f64::from(KEYS) / 1e3
}

/// Last write wins: the state does not grow, whoever has read what.
fn write(n: u32, round: u64, hint_for: Option<NodeId>) -> Op {
    let key = RecordKey::new(Partition((n % PARTITIONS) as u16), b"cart", format!("user:{n:07}").as_bytes(), None);
    Op::Write {
        key: key.expect("a short key"),
        context: SiblingSet::new().causality().clone(),
        context_ts: Timestamp::default(),
        payload: Payload::Value(Bytes::from(vec![round as u8; 100])),
        mode: Mode::LastWriteWins,
        wall_ms: 1_700_000_000_000 + round,
        hint_for,
        epoch: 0,
        sync: false,
    }
}

fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells the time on the CPU");
    text.split(' ').next().and_then(|first| first.parse().ok()).expect("nanoseconds first")
}
