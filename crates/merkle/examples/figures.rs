//! What comparing costs: bytes and messages to find what differs, time and memory to keep the trees.
//!
//! `cargo run --release -p dynamo-merkle --example figures`

#![allow(clippy::disallowed_methods, reason = "it measures how long things take, from outside the protocol")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{hint::black_box, time::Instant};

use dynamo_merkle::{Cursor, Settings, Shape, Tree};
use support::{Exchange, Report, Store, compare_roots, digest, hash, key};

const KEYS: usize = 1_000_000;
const PARTITIONS: usize = 256;

fn main() {
    applies();
    let mine: Vec<Store> = partitioned();
    let trees: usize = mine.iter().map(|store| store.tree.heap_bytes() + size_of::<Tree>()).sum();
    println!("{KEYS} keys in {PARTITIONS} partitions: {} KB of trees", trees >> 10);
    for count in [0, 1, 1_000] {
        differing(&mine, count);
    }
    let (mut empty, mut full) = (Store::new(Shape::default()), mine[0].clone());
    print(&format!("an empty partition against {} keys", full.len()), &run(&mut empty, &mut full));
    drop(mine);
    for depth in [2, 3, 4] {
        let shape = Shape::new(depth).expect("a depth in range");
        let mut one = Store::with(shape, (0..KEYS).map(|number| (key(number), 1)));
        let mut other = one.clone();
        other.merge(&key(KEYS / 2), 2);
        let kilobytes = one.tree.heap_bytes() >> 10;
        let report = run(&mut one, &mut other);
        print(&format!("1 of {KEYS} keys of one partition, depth {depth} ({kilobytes} KB a tree)"), &report);
    }
}

/// Time of a write that replaces a state.
fn applies() {
    for (partitions, name) in [(1, "one tree"), (PARTITIONS, "256 trees")] {
        let mut trees = vec![Tree::new(Shape::default()); partitions];
        let hashes: Vec<u64> = (0..KEYS).map(|number| hash(&key(number))).collect();
        for (number, &hash) in hashes.iter().enumerate() {
            trees[number % partitions].apply(hash, None, Some(digest(1)));
        }
        let began = Instant::now();
        for (number, &hash) in hashes.iter().enumerate() {
            black_box(trees[number % partitions].apply(hash, Some(digest(1)), Some(digest(2))));
        }
        println!("apply, {name}: {} ns", began.elapsed().as_nanos() / KEYS as u128);
    }
}

fn partitioned() -> Vec<Store> {
    let mut stores = vec![Store::new(Shape::default()); PARTITIONS];
    for key in (0..KEYS).map(key) {
        stores[hash(&key) as usize % PARTITIONS].merge(&key, 1);
    }
    stores
}

/// All roots at once, then an exchange for each partition that differs.
fn differing(mine: &[Store], count: usize) {
    let (mut mine, mut theirs) = (mine.to_vec(), mine.to_vec());
    for number in (0..count).map(|number| key(number * (KEYS / count))) {
        theirs[hash(&number) as usize % PARTITIONS].merge(&number, 2);
    }
    let (partitions, there, back) = compare_roots(&mine, &theirs).expect("an honest peer");
    println!("roots of {PARTITIONS} partitions: {there} bytes there, {back} back; {} differ", partitions.len());
    let mut total = Report::default();
    for partition in partitions.into_iter().map(usize::from) {
        let report = run(&mut mine[partition], &mut theirs[partition]);
        total.requests += report.requests;
        total.replies += report.replies;
        total.request_bytes += report.request_bytes;
        total.reply_bytes += report.reply_bytes;
        total.reads += report.reads;
        total.entries += report.entries;
        total.largest = total.largest.max(report.largest);
        total.wanted.extend(report.wanted);
    }
    assert!(mine == theirs && total.found().len() == count);
    print(&format!("then, to find {count} keys"), &total);
}

fn run(mine: &mut Store, theirs: &mut Store) -> Report {
    let settings = Settings::new(hash);
    let report = Exchange::new(0, settings, Cursor::default(), mine).run(mine, theirs);
    assert!(mine == theirs);
    report
}

fn print(what: &str, report: &Report) {
    let Report { requests, replies, request_bytes, reply_bytes, reads, entries, largest, .. } = report;
    println!("{what}:");
    println!("  {requests} requests of {request_bytes} bytes, {replies} replies of {reply_bytes}, largest {largest}");
    println!("  {reads} pages read, {entries} keys sent, {} found", report.found().len());
}
