//! One suite, two engines: what the rest of the crate relies on.

use bytes::Bytes;
use dynamo_storage::engine::{
    Batch, Engine, EngineError, FjallEngine, FjallSettings, MemoryEngine, Page, Reading, Scan, Space,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn fjall(path: &Path) -> FjallEngine {
    FjallEngine::open(FjallSettings { cache_bytes: 4 << 20, ..FjallSettings::new(path) }).unwrap()
}

/// Runs a test on a fresh engine of each kind.
fn on_both(test: impl Fn(&dyn Engine)) {
    test(&MemoryEngine::new());
    let dir = tempfile::tempdir().unwrap();
    test(&fjall(dir.path()));
}

fn b(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(engine: &dyn Engine, space: Space, key: &str, value: &str) {
    let mut batch = Batch::new();
    batch.put(space, b(key), b(value));
    engine.commit(batch).unwrap();
}

fn scan<'a>(space: Space, prefix: &'a [u8], after: Option<&'a [u8]>, limit: usize) -> Scan<'a> {
    Scan { space, prefix, after, until: None, limit, bytes_max: usize::MAX }
}

fn keys(page: &Page) -> Vec<String> {
    page.entries.iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect()
}

#[test]
fn a_batch_is_visible_as_a_whole_in_all_spaces() {
    on_both(|engine| {
        let mut batch = Batch::new();
        for space in Space::ALL {
            batch.put(space, b("k"), b(&format!("{space:?}")));
        }
        batch.delete(Space::Data, b("never there"));
        engine.commit(batch).unwrap();
        for space in Space::ALL {
            assert_eq!(engine.get(space, b"k").unwrap().unwrap(), b(&format!("{space:?}")));
        }
        let mut batch = Batch::new();
        batch.put(Space::Data, b("k"), b("new"));
        batch.delete(Space::Hints, b("k"));
        engine.commit(batch).unwrap();
        assert_eq!(engine.get(Space::Data, b"k").unwrap().unwrap(), b("new"));
        assert_eq!(engine.get(Space::Hints, b"k").unwrap(), None);
        assert_eq!(engine.get(Space::Meta, b"k").unwrap().unwrap(), b("Meta"));
    });
}

#[test]
fn an_empty_value_is_not_a_missing_one() {
    on_both(|engine| {
        put(engine, Space::Hints, "note", "");
        assert_eq!(engine.get(Space::Hints, b"note").unwrap(), Some(Bytes::new()));
        assert_eq!(engine.scan(scan(Space::Hints, b"", None, 9)).unwrap().entries.len(), 1);
    });
}

#[test]
fn pages_of_a_scan_join_without_gap_or_overlap() {
    on_both(|engine| {
        for key in ["a", "b1", "b2", "b3", "b\u{7f}", "c"] {
            put(engine, Space::Data, key, key);
            put(engine, Space::Meta, key, "other");
        }
        let first = engine.scan(scan(Space::Data, b"b", None, 2)).unwrap();
        assert_eq!((keys(&first), first.end), (vec!["b1".into(), "b2".into()], false));
        let rest = engine.scan(scan(Space::Data, b"b", Some(b"b2"), 2)).unwrap();
        assert_eq!((keys(&rest), rest.end), (vec!["b3".into(), "b\u{7f}".into()], true));
        let beyond = engine.scan(scan(Space::Data, b"b", Some(b"zz"), 2)).unwrap();
        assert_eq!((keys(&beyond), beyond.end), (vec![], true));
        let before = engine.scan(scan(Space::Data, b"b", Some(b"a"), 1)).unwrap();
        assert_eq!(keys(&before), ["b1"]);
        for (after, until, found) in [
            (None, "b2", &["b1"][..]),
            (None, "zz", &["b1", "b2", "b3", "b\u{7f}"]),
            (Some("b1"), "b3", &["b2"]),
            (Some("b1"), "b2", &[]),
            (Some("b2"), "b1", &[]),
            (None, "a", &[]),
            (None, "b", &[]),
        ] {
            let after = after.map(str::as_bytes);
            let part = Scan { until: Some(until.as_bytes()), ..scan(Space::Data, b"b", after, 9) };
            let page = engine.scan(part).unwrap();
            assert_eq!((keys(&page).iter().map(|key| &**key).collect::<Vec<_>>(), page.end), (found.to_vec(), true));
        }
        let small = Scan { bytes_max: 1, ..scan(Space::Data, b"", None, 9) };
        assert_eq!(keys(&engine.scan(small).unwrap()), ["a"]);
    });
}

#[test]
fn a_prefix_of_all_ones_ends_where_its_space_ends() {
    on_both(|engine| {
        let mut batch = Batch::new();
        batch.put(Space::Data, Bytes::from_static(&[0xFF, 0xFF, 1]), b("x"));
        engine.commit(batch).unwrap();
        put(engine, Space::Hints, "h", "h");
        assert_eq!(engine.scan(scan(Space::Data, &[0xFF, 0xFF], None, 9)).unwrap().entries.len(), 1);
        assert_eq!(engine.scan(scan(Space::Data, b"", None, 9)).unwrap().entries.len(), 1);
    });
}

#[test]
fn a_snapshot_does_not_see_later_commits() {
    on_both(|engine| {
        put(engine, Space::Data, "a", "1");
        let view = engine.snapshot().unwrap();
        put(engine, Space::Data, "a", "2");
        put(engine, Space::Data, "b", "2");
        assert_eq!(view.get(Space::Data, b"a").unwrap().unwrap(), b("1"));
        assert_eq!(keys(&view.scan(scan(Space::Data, b"", None, 9)).unwrap()), ["a"]);
        assert_eq!(keys(&engine.scan(scan(Space::Data, b"", None, 9)).unwrap()), ["a", "b"]);
    });
}

#[test]
fn a_reader_never_sees_half_a_batch() {
    on_both(|engine| {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..500 {
                    let mut batch = Batch::new();
                    for key in 0..20 {
                        batch.put(Space::Data, b(&format!("{key:02}")), b(&round.to_string()));
                    }
                    engine.commit(batch).unwrap();
                }
                over.store(true, Ordering::Release);
            });
            while !over.load(Ordering::Acquire) {
                let page = engine.scan(scan(Space::Data, b"", None, 99)).unwrap();
                assert!(page.entries.iter().all(|(_, value)| *value == page.entries[0].1), "{page:?}");
            }
        });
    });
}

#[test]
fn syncing_and_committing_go_on_together() {
    on_both(|engine| {
        std::thread::scope(|scope| {
            scope.spawn(|| (0..50).for_each(|_| engine.sync().unwrap()));
            for key in 0..500 {
                put(engine, Space::Data, &key.to_string(), "v");
            }
        });
        assert_eq!(engine.scan(scan(Space::Data, b"", None, 999)).unwrap().entries.len(), 500);
    });
}

#[test]
fn reopening_in_place_keeps_what_was_committed() {
    on_both(|engine| {
        put(engine, Space::Data, "a", "1");
        engine.reopen().unwrap();
        assert_eq!(engine.get(Space::Data, b"a").unwrap().unwrap(), b("1"));
        put(engine, Space::Data, "b", "2");
        engine.sync().unwrap();
        engine.reopen().unwrap();
        assert_eq!(keys(&engine.scan(scan(Space::Data, b"", None, 9)).unwrap()), ["a", "b"]);
    });
}

#[test]
fn a_closed_engine_says_so() {
    on_both(|engine| {
        engine.close();
        assert!(matches!(engine.get(Space::Data, b"a"), Err(EngineError::Broken)));
        let mut batch = Batch::new();
        batch.put(Space::Data, b("a"), b("1"));
        assert!(matches!(engine.commit(batch), Err(EngineError::Broken)));
    });
}

#[test]
fn large_values_pass_through_memtables_and_tables() {
    let dir = tempfile::tempdir().unwrap();
    let engine =
        FjallEngine::open(FjallSettings { memtable_bytes: 1 << 20, ..FjallSettings::new(dir.path()) }).unwrap();
    for key in 0..40u8 {
        let mut batch = Batch::new();
        batch.put(Space::Data, Bytes::copy_from_slice(&[key]), Bytes::from(vec![key; 300_000]));
        engine.commit(batch).unwrap();
    }
    engine.sync().unwrap();
    for key in 0..40u8 {
        assert!(engine.get(Space::Data, &[key]).unwrap().unwrap().iter().all(|byte| *byte == key));
    }
}

#[test]
fn a_snapshot_from_before_a_reopening_is_void_and_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let engine = fjall(dir.path());
    put(&engine, Space::Data, "a", "1");
    let view = engine.snapshot().unwrap();
    engine.reopen().unwrap();
    assert!(matches!(view.get(Space::Data, b"a"), Err(EngineError::Broken)));
    put(&engine, Space::Data, "b", "2");
    drop(view);
    engine.reopen().unwrap();
    assert_eq!(keys(&engine.scan(scan(Space::Data, b"", None, 9)).unwrap()), ["a", "b"]);
}

#[test]
fn the_memory_engine_loses_what_was_not_synced_when_it_loses_power() {
    let engine = MemoryEngine::new();
    put(&engine, Space::Data, "a", "1");
    engine.sync().unwrap();
    put(&engine, Space::Data, "b", "2");
    engine.lose_power();
    assert_eq!(keys(&engine.scan(scan(Space::Data, b"", None, 9)).unwrap()), ["a"]);
}

#[test]
fn a_database_that_went_missing_is_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    drop(fjall(dir.path()));
    let again = || FjallEngine::open(FjallSettings { must_exist: true, ..FjallSettings::new(dir.path()) });
    drop(again().unwrap());
    std::fs::remove_file(dir.path().join("keyspaces/1/current")).unwrap();
    let Err(EngineError::Damaged(what)) = again().map(|_| ()) else { panic!("a tree without its manifest was opened") };
    assert!(what.contains("keyspaces/1/current"), "{what}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Any sequence of batches leaves both engines equal to a plain map, also after reopening.
    #[test]
    fn engines_agree_with_a_map(
        batches in prop::collection::vec(
            prop::collection::vec((0..Space::ALL.len(), prop::collection::vec(0u8..3, 0..3), prop::option::of(0u8..9)), 1..8),
            1..12,
        ),
        prefix in prop::collection::vec(0u8..3, 0..2),
        after in prop::option::of(prop::collection::vec(0u8..3, 0..3)),
        until in prop::option::of(prop::collection::vec(0u8..3, 0..3)),
    ) {
        let mut model: BTreeMap<(Space, Vec<u8>), u8> = BTreeMap::new();
        let dir = tempfile::tempdir().unwrap();
        let engines: [Box<dyn Engine>; 2] = [Box::new(MemoryEngine::new()), Box::new(fjall(dir.path()))];
        for changes in &batches {
            for engine in &engines {
                let mut batch = Batch::new();
                let mut last = BTreeMap::new();
                for (space, key, value) in changes {
                    last.insert((Space::ALL[*space], key.clone()), *value);
                }
                for ((space, mut key), value) in last {
                    key.insert(0, b'k');
                    match value {
                        Some(value) => batch.put(space, key.into(), Bytes::copy_from_slice(&[value])),
                        None => batch.delete(space, key.into()),
                    }
                }
                engine.commit(batch).unwrap();
            }
            for (space, key, value) in changes {
                let slot = (Space::ALL[*space], [&b"k"[..], key].concat());
                match value {
                    Some(value) => model.insert(slot, *value),
                    None => model.remove(&slot),
                };
            }
        }
        engines[1].reopen().unwrap();
        let prefix = [&b"k"[..], &prefix].concat();
        let after = after.map(|after| [&b"k"[..], &after].concat());
        let until = until.map(|until| [&b"k"[..], &until].concat());
        for engine in &engines {
            for space in Space::ALL {
                let expected: Vec<_> = model
                    .iter()
                    .filter(|((s, key), _)| {
                        let within = after.as_ref().is_none_or(|after| key > after)
                            && until.as_ref().is_none_or(|until| key < until);
                        *s == space && key.starts_with(&prefix) && within
                    })
                    .map(|((_, key), value)| (Bytes::from(key.clone()), Bytes::copy_from_slice(&[*value])))
                    .collect();
                let all = scan(space, &prefix, after.as_deref(), usize::MAX);
                let page = engine.scan(Scan { until: until.as_deref(), ..all }).unwrap();
                prop_assert!(page.end);
                prop_assert_eq!(page.entries, expected);
            }
        }
    }
}
