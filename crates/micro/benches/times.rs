//! `cargo bench -p dynamo-micro --bench times`: how long each part takes.

use bytes::Bytes;
use divan::{Bencher, black_box};
use dynamo_micro::{parts, request::Cluster};

fn main() {
    divan::main();
}

#[divan::bench]
fn ring_look_up(bencher: Bencher<'_, '_>) {
    let (ring, key) = (parts::ring(), parts::key(7));
    bencher.bench_local(|| parts::look_up(black_box(&ring), black_box(&key)));
}

#[divan::bench(args = [1, 3, 10])]
fn sibling_merge(bencher: Bencher<'_, '_>, writers: u128) {
    let (mine, theirs) = (parts::siblings(writers, 2), parts::siblings(writers, 5));
    bencher.bench_local(|| parts::merge(black_box(&mine), black_box(&theirs)));
}

#[divan::bench(args = [1, 3, 10])]
fn context_sealed_and_opened(bencher: Bencher<'_, '_>, writers: u128) {
    let (codec, key, set) = (parts::contexts(), parts::key(7), parts::siblings(writers, 2));
    bencher.bench_local(|| parts::context(black_box(&codec), black_box(&key), black_box(set.causality())));
}

#[divan::bench]
fn tree_update(bencher: Bencher<'_, '_>) {
    let (mut tree, mut key) = (parts::tree(100_000), 0);
    bencher.bench_local(|| {
        key = (key + 1) % 100_000;
        parts::update(black_box(&mut tree), key)
    });
}

#[divan::bench(args = [1, 3])]
fn record_encoded_and_decoded(bencher: Bencher<'_, '_>, writers: u128) {
    let (key, set) = (parts::record_key(&parts::key(7)), parts::siblings(writers, 2));
    bencher.bench_local(|| parts::record(black_box(&key), black_box(&set)));
}

#[divan::bench]
fn get(bencher: Bencher<'_, '_>) {
    let (mut cluster, mut number) = (Cluster::with_keys(1_000), 0);
    bencher.bench_local(|| {
        number = (number + 1) % 1_000;
        cluster.get(parts::key(number))
    });
}

#[divan::bench]
fn put(bencher: Bencher<'_, '_>) {
    let (mut cluster, mut number) = (Cluster::with_keys(1_000), 0);
    let mut contexts: Vec<Bytes> = (0..1_000).map(|number| cluster.get(parts::key(number)).1).collect();
    bencher.bench_local(|| {
        number = (number + 1) % 1_000;
        let context = std::mem::take(&mut contexts[number]);
        contexts[number] = cluster.put(parts::key(number as u64), parts::value(number as u64), context);
    });
}
