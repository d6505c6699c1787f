//! How many instructions each part is, by callgrind. `.ci/instructions` runs it and compares it with what the repository has.

#![expect(missing_docs, reason = "of modules that a macro makes")]

use std::hint::black_box;

use bytes::Bytes;
use dynamo_merkle::Tree;
use dynamo_micro::{parts, request::Cluster};
use dynamo_ring::Ring;
use dynamo_storage::RecordKey;
use dynamo_version::{ContextCodec, SiblingSet};
use gungraun::{library_benchmark, library_benchmark_group, main};

/// So many requests are counted at once: the first of a kind makes what the next ones find.
const REQUESTS: u64 = 100;

type Sets = (SiblingSet, SiblingSet);
type Seen = (ContextCodec, Bytes, SiblingSet);

// What is handed in is handed back: dropping it is not counted.

fn ring() -> (Ring, Bytes) {
    (parts::ring(), parts::key(7))
}

fn sets(writers: u128) -> Sets {
    (parts::siblings(writers, 2), parts::siblings(writers, 5))
}

fn seen_by_three() -> Seen {
    (parts::contexts(), parts::key(7), parts::siblings(3, 2))
}

fn stored(writers: u128) -> (RecordKey, SiblingSet) {
    (parts::record_key(&parts::key(7)), parts::siblings(writers, 2))
}

fn keys() -> Cluster {
    Cluster::with_keys(1_000)
}

fn read() -> (Cluster, Vec<Bytes>) {
    let mut cluster = keys();
    let contexts = (0..REQUESTS).map(|number| cluster.get(parts::key(number)).1).collect();
    (cluster, contexts)
}

#[library_benchmark]
#[bench::of_1024_partitions(setup = ring)]
fn ring_look_up((ring, key): (Ring, Bytes)) -> (Ring, Bytes) {
    black_box(parts::look_up(black_box(&ring), black_box(&key)));
    (ring, key)
}

#[library_benchmark]
#[bench::one(args = (1), setup = sets)]
#[bench::three(args = (3), setup = sets)]
fn sibling_merge((mine, theirs): Sets) -> Sets {
    black_box(parts::merge(black_box(&mine), black_box(&theirs)));
    (mine, theirs)
}

#[library_benchmark]
#[bench::three(setup = seen_by_three)]
fn context_sealed_and_opened((codec, key, set): Seen) -> Seen {
    black_box(parts::context(black_box(&codec), black_box(&key), black_box(set.causality())));
    (codec, key, set)
}

#[library_benchmark]
#[bench::of_10_000_keys(args = (10_000), setup = parts::tree)]
fn tree_update(mut tree: Tree) -> Tree {
    black_box(parts::update(black_box(&mut tree), 77));
    tree
}

#[library_benchmark]
#[bench::one(args = (1), setup = stored)]
#[bench::three(args = (3), setup = stored)]
fn record_encoded_and_decoded((key, set): (RecordKey, SiblingSet)) -> (RecordKey, SiblingSet) {
    black_box(parts::record(black_box(&key), black_box(&set)));
    (key, set)
}

#[library_benchmark]
#[bench::hundred(setup = keys)]
fn get(mut cluster: Cluster) -> Cluster {
    for number in 0..REQUESTS {
        black_box(cluster.get(parts::key(number)));
    }
    cluster
}

#[library_benchmark]
#[bench::hundred(setup = read)]
fn put((mut cluster, contexts): (Cluster, Vec<Bytes>)) -> Cluster {
    for (number, context) in (0..).zip(contexts) {
        black_box(cluster.put(parts::key(number), parts::value(number + 1), context));
    }
    cluster
}

library_benchmark_group!(
    name = protocol,
    benchmarks =
        [ring_look_up, sibling_merge, context_sealed_and_opened, tree_update, record_encoded_and_decoded, get, put]
);
main!(library_benchmark_groups = protocol);
