//! What is acknowledged is there again: after kill -9 of real processes at random moments, and after damage to files.
//!
//! The processes that are killed are this test binary itself, run again with `DYNAMO_STORAGE_CHILD` set.

mod support;

use dynamo_storage::{
    Completion, DIRECTORY_FORMAT, DataDir, Durability, Op, Outcome, Settings, Store, StoreError, disk_probe,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use support::*;

const CHILD: &str = "DYNAMO_STORAGE_CHILD";

fn settings(durability: Durability) -> Settings {
    // Small memtables: flushes, table writes and journal maintenance happen during the test.
    Settings { durability, memtable_bytes: 1 << 20, ..small() }
}

fn durability(name: &str) -> Durability {
    match name {
        "fsync" => Durability::Fsync,
        "one-fsync" => Durability::OneFsync,
        _ => Durability::Interval { ms: 50 },
    }
}

/// The value of the n-th key: its length varies, its content can be checked.
fn value(n: u64) -> String {
    format!("{n}:{}", "abcdefgh".repeat((n * 37 % 400) as usize))
}

struct Print(u64, SyncSender<()>);

impl Completion for Print {
    fn done(self, result: Result<Outcome, StoreError>) {
        result.unwrap();
        println!("\nack {}", self.0);
        let _ = self.1.send(());
    }
}

/// Not a test of its own: what a killed process runs. Does nothing without its environment variable.
#[test]
fn child_writes_until_killed() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let mut words = order.splitn(3, ' ');
    let mode = durability(words.next().unwrap());
    let from: u64 = words.next().unwrap().parse().unwrap();
    let path = PathBuf::from(words.next().unwrap());
    let probe = disk_probe(&path);
    let (store, opened) =
        Store::<Print>::open_with_probe(DataDir::take(&path).unwrap(), settings(mode), ME, probe).unwrap();
    assert!(!opened.lost_tail);
    let (free, slots) = sync_channel(32);
    (0..32).for_each(|_| free.send(()).unwrap());
    for n in from.. {
        slots.recv().unwrap();
        let Op::Write { key, context, context_ts, payload, mode, wall_ms, hint_for, epoch, .. } =
            put(key(&n.to_string()), &value(n))
        else {
            unreachable!()
        };
        let op = Op::Write { key, context, context_ts, payload, mode, wall_ms, hint_for, epoch, sync: n % 3 == 0 };
        assert!(store.submit(op, Print(n, free.clone())).is_ok());
    }
}

/// Runs a child until it has acknowledged `count` writes, kills it, and adds all that it acknowledged.
fn write_and_kill(path: &Path, durability: &str, from: u64, count: usize, acknowledged: &mut BTreeSet<u64>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_writes_until_killed", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{durability} {from} {}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    for line in lines {
        let Some(n) = line.unwrap().strip_prefix("ack ").map(|n| n.parse().unwrap()) else { continue };
        acknowledged.insert(n);
        seen += 1;
        if seen == count {
            child.kill().unwrap();
        }
    }
    assert!(seen >= count, "the child ended by itself after {seen} writes");
    child.wait().unwrap();
}

fn kill_at_random_moments(name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for _ in 0..3 {
        let from = acknowledged.last().map_or(0, |last| last + 1_000);
        let count = rand::random_range(1..2_500);
        write_and_kill(dir.path(), name, from, count, &mut acknowledged);
        let (store, opened) = open(dir.path(), settings(durability(name)));
        assert!(!opened.lost_tail, "{opened:?}");
        assert!(!opened.clean);
        for &n in &acknowledged {
            assert_eq!(stored(&store, &n.to_string()), [value(n)], "{name}: acknowledged and then killed");
        }
        assert!(store.counters().keys() >= acknowledged.len() as u64);
    }
}

#[test]
fn kill_9_loses_nothing_acknowledged_with_fsync() {
    kill_at_random_moments("fsync");
}

#[test]
fn kill_9_loses_nothing_acknowledged_with_one_fsync() {
    kill_at_random_moments("one-fsync");
}

#[test]
fn kill_9_loses_nothing_acknowledged_with_interval() {
    kill_at_random_moments("interval");
}

#[test]
fn a_first_opening_that_was_cut_short_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("engine/keyspaces/0")).unwrap();
    fs::write(dir.path().join("engine/0.jnl"), b"").unwrap();
    fs::write(dir.path().join("HIGHWATER"), b"").unwrap();
    fs::write(dir.path().join("FORMAT"), format!("dynamo storage {DIRECTORY_FORMAT}\n")).unwrap();
    let (store, opened) = open(dir.path(), small());
    assert!(opened.new && !opened.lost_tail);
    applied(&store, put(key("a"), "1"));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

fn files(of: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(of).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, into) } else { into.push(path) }
    }
}

/// What a machine's disk holds at a moment when `count` writes were acknowledged and the store was not closed.
fn image(count: u64) -> tempfile::TempDir {
    let (dir, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _) = open(dir.path(), settings(Durability::Fsync));
    for n in 0..count {
        applied(&store, put(key(&n.to_string()), &value(n)));
    }
    copy(dir.path(), copied.path());
    // Without the 64 MiB of zeroes that are reserved behind the journal: they make each copy slow.
    let journal = journal(copied.path());
    let bytes = written(&journal);
    fs::write(journal, bytes).unwrap();
    copied
}

fn journal(dir: &Path) -> PathBuf {
    let mut all = Vec::new();
    files(&dir.join("engine"), &mut all);
    all.retain(|path| path.extension().is_some_and(|extension| extension == "jnl"));
    all.sort_by_key(|path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap());
    all.pop().unwrap()
}

/// Bytes of the journal up to the last one that was written (the rest is zeroes, reserved beforehand).
fn written(journal: &Path) -> Vec<u8> {
    let mut bytes = fs::read(journal).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(end);
    bytes
}

#[derive(Debug, PartialEq)]
enum Found {
    /// Every record, and no complaint.
    All,
    /// The open said that something is lost.
    Told,
    /// The open refused, with words that name the directory.
    Refused,
    /// A damaged part was met when it was read, and was reported as such.
    ReadFailed,
}

/// Opens a damaged directory. Panics if anything is silently missing or wrong.
fn examine(dir: &Path, count: u64) -> Found {
    let opened = DataDir::take(dir)
        .and_then(|held| Store::<Tell>::open_with_probe(held, settings(Durability::Fsync), ME, plenty));
    let (store, opened) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            assert!(error.to_string().contains(dir.to_str().unwrap()), "{error}");
            return Found::Refused;
        }
    };
    let mut failed = false;
    for n in 0..count {
        match store.read_now(&question(key(&n.to_string()), &[])) {
            Ok(Outcome::State(Some(state))) => assert_eq!(values(&state), [value(n)], "a record that nobody wrote"),
            Ok(Outcome::State(None)) => assert!(opened.lost_tail, "record {n} is silently missing: {opened:?}"),
            Ok(other) => panic!("{other:?}"),
            Err(_) => failed = true,
        }
    }
    match (opened.lost_tail, failed) {
        (true, _) => Found::Told,
        (false, true) => Found::ReadFailed,
        (false, false) => Found::All,
    }
}

#[test]
fn a_journal_cut_inside_what_was_synced_is_noticed() {
    let image = image(40);
    let bytes = written(&journal(image.path()));
    for _ in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        copy(image.path(), dir.path());
        let cut = rand::random_range(0..bytes.len() - 1);
        fs::write(journal(dir.path()), &bytes[..cut]).unwrap();
        assert_ne!(examine(dir.path(), 40), Found::All, "cut at {cut} of {}", bytes.len());
    }
}

#[test]
fn an_unfinished_end_after_what_was_synced_costs_nothing() {
    let image = image(40);
    let bytes = written(&journal(image.path()));
    // The start of a batch that was never finished: the first bytes of the journal again, with a hole of zeroes in it.
    let mut torn = bytes[..bytes.len() / 2].to_vec();
    torn[20..40].fill(0);
    for tail in [&b""[..], &b"\x01"[..], &torn[..], &[0xAB; 300], &[0; 100]] {
        let dir = tempfile::tempdir().unwrap();
        copy(image.path(), dir.path());
        fs::write(journal(dir.path()), [&bytes[..], tail].concat()).unwrap();
        assert_eq!(examine(dir.path(), 40), Found::All, "after a tail of {} bytes", tail.len());
        assert_eq!(examine(dir.path(), 40), Found::All, "and it stays so");
    }
}

#[test]
fn a_cut_file_of_any_kind_is_noticed_or_harmless() {
    let image = image(1_200);
    let mut all = Vec::new();
    files(image.path(), &mut all);
    assert!(all.iter().any(|path| path.to_str().unwrap().contains("tables")), "there are tables to cut");
    for path in all {
        let name = path.strip_prefix(image.path()).unwrap();
        if fs::metadata(&path).unwrap().len() == 0 {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        copy(image.path(), dir.path());
        let length = fs::metadata(&path).unwrap().len();
        let keep = if name.extension().is_some_and(|extension| extension == "jnl") {
            written(&path).len() as u64 / 2
        } else {
            length / 2
        };
        fs::OpenOptions::new().write(true).open(dir.path().join(name)).unwrap().set_len(keep).unwrap();
        let found = examine(dir.path(), 1_200);
        println!("{}: {found:?}", name.display());
        // What the engine has no more use for, such as an old manifest, may be cut without harm: `examine` has found all.
        let counts = name.to_str().is_some_and(|name| name.contains("tables") || name.ends_with(".jnl"));
        assert!(!counts || found != Found::All, "{} was cut from {length} to {keep} bytes", name.display());
    }
}

#[test]
fn a_file_that_is_missing_is_noticed() {
    let image = image(1_200);
    let mut all = Vec::new();
    files(image.path(), &mut all);
    for path in all {
        let name = path.strip_prefix(image.path()).unwrap();
        if name.file_name().is_some_and(|name| name.eq_ignore_ascii_case("lock")) {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        copy(image.path(), dir.path());
        fs::remove_file(dir.path().join(name)).unwrap();
        let found = examine(dir.path(), 1_200);
        println!("without {}: {found:?}", name.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Bits flipped anywhere in the journal never give fewer records, or other ones, without a word.
    #[test]
    fn flipped_bits_in_the_journal_are_noticed(flips in prop::collection::vec((0.0..1.0f64, 0u8..8), 1..3)) {
        static IMAGE: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
        let image = IMAGE.get_or_init(|| image(30));
        let dir = tempfile::tempdir().unwrap();
        copy(image.path(), dir.path());
        let mut bytes = written(&journal(dir.path()));
        for (place, bit) in flips {
            let at = (bytes.len() as f64 * place) as usize;
            bytes[at] ^= 1 << bit;
        }
        fs::write(journal(dir.path()), &bytes).unwrap();
        examine(dir.path(), 30);
    }
}

#[test]
fn a_loss_is_told_at_each_opening_until_the_node_says_that_it_knows() {
    let image = image(40);
    let bytes = written(&journal(image.path()));
    fs::write(journal(image.path()), &bytes[..bytes.len() / 2]).unwrap();
    let open = || {
        let held = DataDir::take(image.path()).unwrap();
        Store::<Tell>::open_with_probe(held, settings(Durability::Fsync), ME, plenty).unwrap()
    };
    // Closed in order each time: the process may end before it has acted on what it was told.
    for _ in 0..2 {
        let (store, opened) = open();
        assert!(opened.lost_tail, "{opened:?}");
        run(&store, put(key("later"), "v")).unwrap();
        store.close();
    }
    let (store, opened) = open();
    assert!(opened.lost_tail);
    store.loss_is_known().unwrap();
    run(&store, put(key("later"), "w")).unwrap();
    store.close();
    let (store, opened) = open();
    assert!(!opened.lost_tail && opened.clean, "{opened:?}");
    store.close();
}
