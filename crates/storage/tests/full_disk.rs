//! A full disk: writes are refused with a clear word, reads go on, and all is well again when space returns.
//!
//! Two kinds of test: with a made-up answer to "how much is free", always; and on a real small file system, mounted in a
//! namespace of its own. Where that cannot be done the test says so, and fails only with `DYNAMO_REQUIRE_REAL_DISK=1`.

mod support;

use dynamo_storage::engine::MemoryEngine;
use dynamo_storage::{Completion, DataDir, DiskState, Op, Settings, Store, StoreError, disk_probe};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::*;

const CHILD: &str = "DYNAMO_STORAGE_SMALL_DISK";

fn settings() -> Settings {
    Settings { reserve_bytes: 1_000_000, memtable_bytes: 1 << 20, ..small() }
}

/// Waits for the store to see the disk in a state. The bound only turns a hang into a failure.
fn wait_for<C: Completion>(store: &Store<C>, state: DiskState) {
    let since = Instant::now();
    while store.counters().disk() != state {
        assert!(since.elapsed() < Duration::from_secs(60), "still {:?}", store.counters().disk());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn refused(store: &Store<Tell>, op: Op) -> bool {
    matches!(run(store, op), Err(StoreError::DiskFull))
}

fn goes_full_and_recovers(store: &Store<Tell>, free: &AtomicU64) {
    wait_for(store, DiskState::Ok);
    let one = applied(store, put(key("before"), "1"));
    applied(store, hinted(put(key("hint"), "1"), OTHER));
    free.store(999_999, Ordering::Relaxed);
    wait_for(store, DiskState::Full);
    assert!(refused(store, put(key("a"), "1")));
    assert!(refused(store, merge(key("a"), &(one.set.clone(), one.digest))));
    assert!(refused(store, Op::KeepHint { target: OTHER, key: key("a") }));
    assert_eq!(stored(store, "before"), ["1"], "reads go on");
    run(store, Op::PutMeta { key: "ring".into(), value: Some("small".into()) }).unwrap();
    run(store, Op::DropHint { target: OTHER, key: key("hint"), digest: 0 }).unwrap();
    free.store(1_050_000, Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(store.counters().disk(), DiskState::Full, "just above the reserve is not yet enough");
    free.store(2_000_000, Ordering::Relaxed);
    wait_for(store, DiskState::Ok);
    applied(store, put(key("a"), "after"));
    assert_eq!(stored(store, "a"), ["after"]);
}

#[test]
fn writes_stop_under_the_reserve_and_resume_by_themselves() {
    let free = Arc::new(AtomicU64::new(u64::MAX / 2));
    let probe = |free: &Arc<AtomicU64>| {
        let free = free.clone();
        move || Ok(free.load(Ordering::Relaxed))
    };
    let (store, _) = Store::in_memory(MemoryEngine::new(), settings(), ME, probe(&free)).unwrap();
    goes_full_and_recovers(&store, &free);
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(u64::MAX / 2));
    let (store, _) = Store::open_with_probe(DataDir::take(dir.path()).unwrap(), settings(), ME, probe(&free)).unwrap();
    goes_full_and_recovers(&store, &free);
    store.close();
    let (_, opened) = open(dir.path(), settings());
    assert!(opened.clean);
}

#[test]
fn an_engine_that_ran_out_of_space_is_opened_again_in_place() {
    let engine = MemoryEngine::new();
    let free = Arc::new(AtomicU64::new(u64::MAX / 2));
    let probe = {
        let free = free.clone();
        move || Ok(free.load(Ordering::Relaxed))
    };
    let (store, _) = Store::in_memory(engine.clone(), settings(), ME, probe).unwrap();
    applied(&store, put(key("before"), "1"));
    let keys = store.counters().keys();
    engine.set_capacity(Some(0));
    free.store(0, Ordering::Relaxed);
    assert!(refused(&store, put(key("a"), "1")));
    wait_for(&store, DiskState::Full);
    assert_eq!(stored(&store, "before"), ["1"]);
    assert_eq!(store.counters().keys(), keys, "nothing of the refused write is counted");
    engine.set_capacity(None);
    free.store(u64::MAX / 2, Ordering::Relaxed);
    wait_for(&store, DiskState::Ok);
    applied(&store, put(key("a"), "2"));
    assert_eq!(stored(&store, "a"), ["2"]);
    assert_eq!(store.counters().keys(), keys + 1);
}

#[test]
fn a_real_disk_that_fills_up_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=64m tmpfs \"$0\" && exec \"$1\" --exact child_fills_a_small_disk --nocapture";
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", script])
        .args([dir.path(), std::env::current_exe().unwrap().as_path()])
        .env(CHILD, dir.path())
        .output();
    let text = match &output {
        Ok(output) => format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        Err(error) => error.to_string(),
    };
    if output.is_ok_and(|output| output.status.success()) && text.contains("small disk: passed") {
        return;
    }
    assert!(!text.contains("small disk: begun"), "{text}");
    let required = std::env::var("DYNAMO_REQUIRE_REAL_DISK").is_ok_and(|value| value == "1");
    assert!(!required, "no small file system could be mounted: {text}");
    println!("NOT RUN on a real disk, no small file system could be mounted: {text}");
}

/// Not a test of its own: runs on the small file system. Does nothing without its environment variable.
#[test]
fn child_fills_a_small_disk() {
    let Ok(disk) = std::env::var(CHILD).map(PathBuf::from) else { return };
    println!("small disk: begun");
    for (name, reserve) in [("reserve", 16 << 20), ("none", 0)] {
        fill(&disk.join(name), &disk.join("ballast"), reserve);
        std::fs::remove_dir_all(disk.join(name)).unwrap();
        println!("small disk: {name} done");
    }
    println!("small disk: passed");
}

fn fill(data: &Path, ballast: &Path, reserve_bytes: u64) {
    std::fs::write(ballast, vec![1; 24 << 20]).unwrap();
    let settings = Settings { reserve_bytes, ..settings() };
    let directory = DataDir::take(data).unwrap();
    let (store, _) = Store::<Tell>::open_with_probe(directory, settings.clone(), ME, disk_probe(data)).unwrap();
    let big = "x".repeat(60_000);
    let mut acknowledged = Vec::new();
    let error = loop {
        let name = acknowledged.len().to_string();
        match run(&store, put(key(&name), &big)) {
            Ok(_) => acknowledged.push(name),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 5_000, "64 MiB hold no 300 MB");
    };
    println!("small disk: full after {} writes: {error}", acknowledged.len());
    assert!(acknowledged.len() > 20);
    for name in &acknowledged {
        assert_eq!(stored(&store, name), [&*big], "reads go on");
    }
    std::fs::remove_file(ballast).unwrap();
    let since = Instant::now();
    while let Err(error) = run(&store, put(key("after"), "space")) {
        assert!(since.elapsed() < Duration::from_secs(60), "no recovery: {error}");
        std::thread::sleep(Duration::from_millis(20));
    }
    acknowledged.iter().for_each(|name| assert_eq!(stored(&store, name), [&*big]));
    store.close();
    drop(store);
    let (store, opened) = open(data, settings);
    assert!(!opened.lost_tail, "{opened:?}");
    acknowledged.iter().for_each(|name| assert_eq!(stored(&store, name), [&*big]));
    assert!(stored(&store, "after").contains(&"space".to_string()));
}
