//! The store, over both engines: writes, merges, hints, counters, epochs, queues and its end.

mod support;

use bytes::Bytes;
use dynamo_ring::Partition;
use dynamo_storage::engine::{Batch, Engine, MemoryEngine, Reading, Space};
use dynamo_storage::{
    Busy, DataDir, Durability, HintCount, Identity, Op, Outcome, Read, RecordKey, Settings, Store, StoreError,
};
use dynamo_version::{Mode, Timestamp};
use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use support::*;

#[test]
fn a_write_is_applied_then_durable_then_read() {
    on_both(small(), |store| {
        let (applied, result) = end_of(&submit(store, put(key("milk"), "1 l")));
        let applied = applied.expect("told that it is with the system");
        let Outcome::Applied(done) = result.unwrap() else { panic!() };
        assert_eq!(applied, done);
        assert!(done.dot.is_some() && done.changed);
        assert_eq!(state(store, key("milk")), Some((done.set, done.digest)));
        assert_eq!(state(store, key("eggs")), None);
    });
}

#[test]
fn a_write_says_how_it_was_stamped_for_what_follows_it_elsewhere() {
    let behind = Identity { node: 8, incarnation: 1 };
    on_both(small(), |store| {
        let at = |op, context_ts, wall_ms| match op {
            Op::Write { key, context, payload, mode, hint_for, epoch, sync, .. } => {
                Op::Write { key, context, context_ts, payload, mode, wall_ms, hint_for, epoch, sync }
            }
            other => panic!("{other:?}"),
        };
        let first = applied(store, at(put(key("milk"), "a"), Timestamp::default(), 90_000));
        let set = set_of(&(first.set.clone(), 0));
        assert_eq!(first.timestamp, set.max_timestamp());
        // Another node, whose clock is behind, has only the context of what it is to supersede.
        let (other, _) = Store::in_memory(MemoryEngine::new(), small(), behind, plenty).unwrap();
        let over = put_over(key("milk"), "b", set.causality().clone());
        let second = applied(&other, at(over, first.timestamp, 1_000));
        assert!(second.timestamp > first.timestamp, "or last-write-wins would be no join");
    });
}

#[test]
fn writes_of_one_key_in_one_batch_see_each_other() {
    on_both(small(), |store| {
        let told: Vec<_> = (0..200).map(|n| submit(store, put(key("milk"), &n.to_string()))).collect();
        let dots: BTreeSet<_> = told
            .iter()
            .map(|told| match end_of(told).1.unwrap() {
                Outcome::Applied(applied) => applied.dot.unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(dots.len(), 200, "each write has a dot of its own");
        assert_eq!(stored(store, "milk").len(), 200, "concurrent writes are all siblings");
        assert_eq!(store.counters().keys(), 1);
    });
}

#[test]
fn a_context_replaces_what_it_covers_and_a_delete_is_counted() {
    on_both(small(), |store| {
        let first = applied(store, put(key("milk"), "a"));
        let context = set_of(&(first.set, 0)).causality().clone();
        let second = applied(store, put_over(key("milk"), "b", context));
        assert_eq!(stored(store, "milk"), ["b"]);
        let context = set_of(&(second.set, 0)).causality().clone();
        applied(store, delete(key("milk"), context.clone()));
        assert_eq!(stored(store, "milk"), [""; 0]);
        assert_eq!((store.counters().keys(), store.counters().tombstones()), (1, 1));
        applied(store, put(key("milk"), "c"));
        assert_eq!((store.counters().keys(), store.counters().tombstones()), (1, 0));
    });
}

#[test]
fn a_merge_is_idempotent_and_damaged_states_are_refused() {
    let another = Identity { node: 8, incarnation: 1 };
    let (source, _) = Store::in_memory(MemoryEngine::new(), small(), another, plenty).unwrap();
    applied(&source, put(key("milk"), "a"));
    let one = state(&source, key("milk")).unwrap();
    on_both(small(), |store| {
        assert!(applied(store, merge(key("milk"), &one)).changed);
        let commits = store.counters().commits();
        assert!(!applied(store, merge(key("milk"), &one)).changed);
        assert_eq!(store.counters().commits(), commits, "nothing is written twice");
        assert_eq!(state(store, key("milk")).as_ref(), Some(&one));
        applied(store, put(key("milk"), "b"));
        assert!(!applied(store, merge(key("milk"), &one)).changed);
        assert_eq!(stored(store, "milk"), ["a", "b"]);

        let torn = (one.0.slice(..one.0.len() - 1), one.1);
        assert!(matches!(run(store, merge(key("milk"), &torn)), Err(StoreError::BadState(_))));
        let garbage = Bytes::from_static(b"garbage");
        let garbage = (garbage.clone(), dynamo_version::SiblingSet::digest(&garbage));
        assert!(matches!(run(store, merge(key("new"), &garbage)), Err(StoreError::BadState(_))));
        assert_eq!(state(store, key("new")), None);
    });
}

#[test]
fn last_write_wins_keeps_one() {
    on_both(small(), |store| {
        for value in ["a", "b"] {
            let Op::Write { key, context, context_ts, payload, wall_ms, hint_for, epoch, sync, .. } =
                put(key("k"), value)
            else {
                unreachable!()
            };
            let mode = Mode::LastWriteWins;
            applied(store, Op::Write { key, context, context_ts, payload, mode, wall_ms, hint_for, epoch, sync });
        }
        assert_eq!(stored(store, "k"), ["b"]);
    });
}

fn hint_page(store: &Store<Tell>, after: Option<RecordKey>, limit: usize) -> (Vec<(RecordKey, u64)>, bool) {
    match store.read_now(&Read::HintPage { target: OTHER, after, limit }).unwrap() {
        Outcome::Hints { entries, end } => (entries.into_iter().map(|entry| (entry.key, entry.digest)).collect(), end),
        other => panic!("{other:?}"),
    }
}

fn hint(store: &Store<Tell>, name: &str) -> Option<(Bytes, u64)> {
    match store.read_now(&Read::Hint { target: OTHER, key: key(name) }).unwrap() {
        Outcome::State(state) => state,
        other => panic!("{other:?}"),
    }
}

fn drop_hint(store: &Store<Tell>, name: &str, digest: u64) -> bool {
    match run(store, Op::DropHint { target: OTHER, key: key(name), digest }).unwrap() {
        Outcome::HintDropped(dropped) => dropped,
        other => panic!("{other:?}"),
    }
}

#[test]
fn hints_are_paged_delivered_and_dropped_only_if_unchanged() {
    on_both(small(), |store| {
        for name in ["a", "b", "c"] {
            applied(store, hinted(put(key(name), name), OTHER));
        }
        assert_eq!(state(store, key("a")), None, "a hint is not a replica");
        assert_eq!((store.counters().hints(), store.counters().keys()), (3, 0));
        let (first, end) = hint_page(store, None, 2);
        assert!(first.len() == 2 && !end);
        let (rest, end) = hint_page(store, Some(first[1].0.clone()), 2);
        assert!(rest.len() == 1 && end);

        let delivered = hint(store, "a").unwrap();
        assert_eq!(values(&delivered), ["a"]);
        applied(store, hinted(put(key("a"), "later"), OTHER));
        assert!(!drop_hint(store, "a", delivered.1), "the hint has grown since it was delivered");
        assert_eq!(values(&hint(store, "a").unwrap()), ["a", "later"]);
        for name in ["a", "b", "c"] {
            assert!(drop_hint(store, name, hint(store, name).unwrap().1));
        }
        assert!(drop_hint(store, "a", 0), "dropping twice is no error");
        assert_eq!((store.counters().hints(), store.counters().hint_bytes()), (0, 0));
        assert!(store.counters().hints_by_target().is_empty());
    });
}

#[test]
fn a_note_delivers_the_own_record_and_stays_while_that_moves_on() {
    on_both(small(), |store| {
        applied(store, put(key("a"), "1"));
        let note = || Op::KeepHint { target: OTHER, key: key("a") };
        assert!(matches!(run(store, note()).unwrap(), Outcome::HintKept));
        assert!(matches!(run(store, note()).unwrap(), Outcome::HintKept));
        assert_eq!(store.counters().hints(), 1);
        let delivered = hint(store, "a").unwrap();
        assert_eq!(Some(&delivered), state(store, key("a")).as_ref());
        applied(store, put(key("a"), "2"));
        assert!(!drop_hint(store, "a", delivered.1));
        assert!(drop_hint(store, "a", state(store, key("a")).unwrap().1));
        assert_eq!(store.counters().hints(), 0);
    });
}

#[test]
fn a_note_and_a_copy_for_one_target_become_one_hint_with_both() {
    on_both(small(), |store| {
        for (name, note_first) in [("a", true), ("b", false)] {
            applied(store, put(key(name), "own"));
            if note_first {
                run(store, Op::KeepHint { target: OTHER, key: key(name) }).unwrap();
            }
            applied(store, hinted(put(key(name), "copy"), OTHER));
            if !note_first {
                run(store, Op::KeepHint { target: OTHER, key: key(name) }).unwrap();
            }
            assert_eq!(values(&hint(store, name).unwrap()), ["copy", "own"]);
            assert_eq!(stored(store, name), ["own"]);
        }
        let count = store.counters().hints_by_target()[&OTHER];
        assert_eq!(count, HintCount { count: 2, bytes: store.counters().hint_bytes() });
    });
}

#[test]
fn a_read_at_a_fallback_merges_its_hints() {
    on_both(small(), |store| {
        applied(store, hinted(put(key("a"), "held"), OTHER));
        let read = |read| match store.read_now(&read).unwrap() {
            Outcome::State(state) => state,
            other => panic!("{other:?}"),
        };
        assert_eq!(values(&read(question(key("a"), &[OTHER])).unwrap()), ["held"]);
        applied(store, put(key("a"), "own"));
        let both = read(question(key("a"), &[OTHER])).unwrap();
        assert_eq!(values(&both), ["held", "own"]);
        let digest_only = Read::State {
            key: key("a"),
            hints: [OTHER].into_iter().collect(),
            mode: Mode::Siblings,
            epoch: 0,
            digest_only: true,
        };
        assert_eq!(read(digest_only), Some((Bytes::new(), both.1)));
    });
}

#[test]
fn a_forgotten_hint_never_gives_a_dot_twice() {
    on_both(small(), |store| {
        let mut dots = BTreeSet::new();
        for _ in 0..20 {
            let one = applied(store, hinted(put(key("a"), "x"), OTHER));
            assert!(dots.insert(one.dot.unwrap()));
            assert!(drop_hint(store, "a", one.digest));
        }
    });
}

#[test]
fn hints_are_bounded_and_the_bound_refuses_nothing_else() {
    on_both(Settings { hints_bytes_max: 2_000, ..small() }, |store| {
        let big = "x".repeat(1_500);
        applied(store, hinted(put(key("a"), &big), OTHER));
        let refused = run(store, hinted(put(key("b"), &big), OTHER));
        assert!(matches!(refused, Err(StoreError::HintsFull { .. })), "{refused:?}");
        applied(store, put(key("b"), &big));
        assert!(drop_hint(store, "a", hint(store, "a").unwrap().1));
        applied(store, hinted(put(key("b"), &big), OTHER));
    });
}

#[test]
fn a_partition_is_scanned_in_pages_on_a_snapshot() {
    on_both(small(), |store| {
        let in_partition = |n: u16| RecordKey::new(Partition(3), b"b", &n.to_be_bytes(), Some(b"s")).unwrap();
        for n in 0..25 {
            applied(store, put(in_partition(n), "v"));
        }
        applied(store, put(RecordKey::new(Partition(4), b"b", b"x", None).unwrap(), "v"));
        let view = store.snapshot().unwrap();
        applied(store, put(in_partition(100), "later"));
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let scan = Read::Scan { partition: Partition(3), after: after.clone(), limit: 10, bytes_max: usize::MAX };
            let Outcome::Scan { entries, end } = store.read_from(&*view, &scan).unwrap() else { panic!() };
            after = entries.last().map(|entry| entry.key.clone());
            found.extend(entries.into_iter().map(|entry| (entry.key, entry.state.unwrap())));
            if end {
                break;
            }
        }
        assert_eq!(found.len(), 25);
        assert!(found.is_sorted_by(|(a, _), (b, _)| a < b));
    });
}

#[test]
fn the_nodes_own_values_are_kept_apart() {
    let dir = tempfile::tempdir().unwrap();
    let meta = |value: Option<&'static str>| Op::PutMeta { key: "ring".into(), value: value.map(Bytes::from) };
    let read = |store: &Store<Tell>| match store.read_now(&Read::Meta { key: "ring".into() }).unwrap() {
        Outcome::Meta(value) => value,
        other => panic!("{other:?}"),
    };
    let (store, _) = open(dir.path(), small());
    run(&store, meta(Some("epoch 1"))).unwrap();
    store.close();
    let (store, _) = open(dir.path(), small());
    assert_eq!(read(&store), Some("epoch 1".into()));
    run(&store, meta(None)).unwrap();
    assert_eq!(read(&store), None);
}

#[test]
fn counters_and_epochs_survive_a_clean_end() {
    let dir = tempfile::tempdir().unwrap();
    let (store, opened) = open(dir.path(), small());
    assert!(opened.new && opened.clean && !opened.lost_tail);
    let first = applied(&store, put(key("a"), "1")).dot.unwrap();
    applied(&store, hinted(put(key("h"), "1"), OTHER));
    let figures = |store: &Store<Tell>| {
        let counters = store.counters();
        (counters.keys(), counters.bytes(), counters.hints(), counters.hint_bytes())
    };
    let before = figures(&store);
    store.close();
    let (store, opened) = open(dir.path(), small());
    assert!(!opened.new && opened.clean && !opened.lost_tail, "{opened:?}");
    assert_eq!(figures(&store), before);
    let second = applied(&store, put(key("a"), "2")).dot.unwrap();
    assert_eq!((second.actor, second.counter), (first.actor, first.counter + 1), "memory is unbroken");
    let other = applied(&store, put(key("b"), "1")).dot.unwrap();
    assert!(other.actor.key_epoch > first.actor.key_epoch);
}

#[test]
fn after_a_power_cut_no_dot_is_minted_again() {
    let engine = MemoryEngine::new();
    let settings = Settings { durability: Durability::Interval { ms: 3_600_000 }, ..small() };
    let (store, _) = in_memory(&engine, settings.clone());
    let sent: BTreeSet<_> = (0..5).map(|_| applied(&store, put(key("a"), "x")).dot.unwrap()).collect();
    engine.lose_power();
    drop(store);
    engine.lose_power();
    // A store in memory has no high-water file to vouch for it, so it never counts as cleanly ended.
    let (store, opened) = in_memory(&engine, settings);
    assert!(opened.epoch_floor > sent.iter().map(|dot| dot.actor.key_epoch).max().unwrap());
    for _ in 0..5 {
        assert!(!sent.contains(&applied(&store, put(key("a"), "y")).dot.unwrap()));
    }
}

#[test]
fn durability_decides_when_an_operation_is_done() {
    for (durability, sync, waits) in [
        (Durability::Fsync, false, true),
        (Durability::OneFsync, true, true),
        (Durability::OneFsync, false, false),
        (Durability::Interval { ms: 3_600_000 }, true, false),
    ] {
        let engine = MemoryEngine::new();
        let (store, _) = in_memory(&engine, Settings { durability, ..small() });
        let Op::Write { key, context, context_ts, payload, mode, wall_ms, hint_for, epoch, .. } = put(key("a"), "1")
        else {
            unreachable!()
        };
        let op = Op::Write { key, context, context_ts, payload, mode, wall_ms, hint_for, epoch, sync };
        run(&store, op).unwrap();
        if waits {
            engine.lose_power();
            assert_eq!(stored(&store, "a"), ["1"], "{durability:?} sync={sync}: done means durable");
        }
    }
}

#[test]
fn a_damaged_record_is_an_error_and_never_missing() {
    let engine = MemoryEngine::new();
    let (store, _) = in_memory(&engine, small());
    applied(&store, put(key("a"), "precious"));
    applied(&store, hinted(put(key("h"), "held"), OTHER));
    for (space, slot) in
        [(Space::Data, key("a").as_bytes().clone()), (Space::Hints, dynamo_storage::key::hint_key(OTHER, &key("h")))]
    {
        let mut bytes = engine.get(space, &slot).unwrap().unwrap().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let mut batch = Batch::new();
        batch.put(space, slot, bytes.into());
        engine.commit(batch).unwrap();
    }
    assert!(matches!(store.read_now(&question(key("a"), &[])), Err(StoreError::Corrupt { .. })));
    assert!(matches!(run(&store, put(key("a"), "new")), Err(StoreError::Corrupt { .. })));
    assert_eq!(store.counters().corrupt(), 2);
    let scan = Read::Scan { partition: key("a").partition(), after: None, limit: 9, bytes_max: usize::MAX };
    let Outcome::Scan { entries, .. } = store.read_now(&scan).unwrap() else { panic!() };
    assert!(matches!(entries[0].state, Err(StoreError::Corrupt { .. })), "one damaged record does not end a scan");
    let hint = store.read_now(&Read::Hint { target: OTHER, key: key("h") });
    assert!(matches!(hint, Err(StoreError::Corrupt { .. })));
    assert!(drop_hint(&store, "h", 0), "a hint that cannot be delivered can be given up");
}

#[test]
fn a_full_queue_hands_the_completion_back() {
    let settings = Settings { queue_ops: 4, queue_bytes: 10_000, batch_ops_max: 1, ..small() };
    on_both(settings, |store| {
        let mut waiting = Vec::new();
        let mut refused = 0;
        for n in 0..2_000 {
            let (tell, told) = channel();
            match store.submit(put(key(&n.to_string()), "v"), Tell(tell)) {
                Ok(()) => waiting.push((n, told)),
                Err((_, busy)) => {
                    assert_eq!(busy, Busy::Full);
                    refused += 1;
                }
            }
        }
        for (_, told) in &waiting {
            end_of(told).1.unwrap();
        }
        assert!(refused > 0, "4 places for 2,000 writes");
        assert_eq!(store.counters().keys(), waiting.len() as u64);
        let (tell, _told) = channel();
        let big = store.submit(put(key("big"), &"x".repeat(20_000)), Tell(tell));
        assert!(matches!(big, Err((_, Busy::Full))), "more bytes than may ever wait");
    });
}

#[test]
fn questions_are_answered_by_the_reading_threads() {
    on_both(small(), |store| {
        applied(store, put(key("a"), "1"));
        let (tell, told) = channel();
        assert!(store.read(question(key("a"), &[]), Tell(tell)).is_ok());
        let (_, result) = end_of(&told);
        let Outcome::State(Some(state)) = result.unwrap() else { panic!() };
        assert_eq!(values(&state), ["1"]);
    });
}

#[test]
fn closing_finishes_what_was_taken_and_refuses_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), small());
    let told: Vec<_> = (0..300).map(|n| submit(&store, put(key(&n.to_string()), "v"))).collect();
    store.close();
    for told in &told {
        end_of(told).1.unwrap();
    }
    let (tell, _told) = channel();
    assert!(matches!(store.submit(put(key("late"), "v"), Tell(tell)), Err((_, Busy::Closed))));
    let (tell, _told) = channel();
    assert!(matches!(store.read(question(key("late"), &[]), Tell(tell)), Err((_, Busy::Closed))));
    assert!(store.read_now(&question(key("0"), &[])).is_err());
    drop(store);
    let (store, opened) = open(dir.path(), small());
    assert!(opened.clean);
    assert_eq!(store.counters().keys(), 300);
}

#[test]
fn group_commit_takes_fewer_syncs_than_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), small());
    let told: Vec<_> = (0..2_000).map(|n| submit(&store, put(key(&n.to_string()), "v"))).collect();
    for told in &told {
        end_of(told).1.unwrap();
    }
    let syncs = store.counters().syncs();
    assert!(syncs < 1_000, "{syncs} syncs for 2,000 writes that were all waiting");
}

#[test]
fn a_directory_in_use_or_of_another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let held = DataDir::take(dir.path()).unwrap();
    let error = DataDir::take(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    drop(held);
    std::fs::write(dir.path().join("FORMAT"), "dynamo storage 3\n").unwrap();
    let error = DataDir::take(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 3, .. }), "{error}");
    std::fs::write(dir.path().join("FORMAT"), "dynamo storage 1\n").unwrap();
    let error = DataDir::take(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::OlderFormat { found: 1, .. }), "{error}");
    assert!(error.to_string().contains("rebuilt from its replicas"), "{error}");
    std::fs::write(dir.path().join("FORMAT"), "something").unwrap();
    let error = DataDir::take(dir.path()).unwrap_err();
    assert!(error.to_string().contains("FORMAT"), "{error}");
}

#[test]
fn settings_without_sense_are_refused() {
    let settings = Settings { read_threads: 0, ..small() };
    let result = Store::<Tell>::in_memory(MemoryEngine::new(), settings, ME, plenty);
    assert!(matches!(result.map(|_| ()), Err(StoreError::Settings(_))));
}
