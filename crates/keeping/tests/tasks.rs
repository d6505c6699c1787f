//! What is asked of the store, and what the keeper is told of it: several operations as one, and peers' nonsense.

use bytes::Bytes;
use dynamo_keeper::{StoreAsk, StoreDone, collect::Item};
use dynamo_keeping::{Asked, Task};
use dynamo_ring::Partition;
use dynamo_storage::{Applied, Op, Outcome, RecordKey, ScanEntry, StoreError};
use dynamo_transfer::{MergeRefusal, Record};
use dynamo_version::{Mode, Timestamp};

fn key(partition: u16, key: &[u8]) -> RecordKey {
    RecordKey::new(Partition(partition), b"bucket", key, None).unwrap()
}

fn record(key: &RecordKey) -> Record {
    Record { key: key.as_bytes().to_vec().into(), set: Bytes::from_static(b"set"), digest: 5 }
}

fn merged() -> Outcome {
    let (timestamp, set) = (Timestamp::default(), Bytes::from_static(b"set"));
    Outcome::Applied(Applied { set, digest: 5, dot: None, timestamp, siblings: 1, changed: true })
}

fn mode(bucket: &str) -> Mode {
    assert_eq!(bucket, "bucket");
    Mode::LastWriteWins
}

fn merge(records: Vec<Record>) -> Result<(Task, Vec<Asked>), StoreDone> {
    Task::begin(StoreAsk::Merge { partition: 3, epoch: 7, records }, mode)
}

#[test]
fn a_merge_is_one_operation_a_record_and_ends_with_the_last() {
    let (mut task, asked) = merge(vec![record(&key(3, b"a")), record(&key(3, b"b"))]).unwrap();
    for (asked, name) in asked.iter().zip([&b"a"[..], b"b"]) {
        let Asked::Op(Op::Merge { key: at, mode, epoch: 7, sync: true, hint_for: None, .. }) = asked else {
            panic!("{asked:?}")
        };
        assert_eq!((at, *mode), (&key(3, name), Mode::LastWriteWins));
    }
    assert_eq!(asked.len(), 2);
    assert_eq!(task.done(Ok(merged())), None);
    assert_eq!(task.done(Ok(merged())), Some(StoreDone::Merged(Ok(()))));
}

#[test]
fn what_a_peer_sends_that_is_no_record_of_the_partition_is_counted_as_refused() {
    let nonsense = Record { key: b"x".to_vec().into(), set: Bytes::new(), digest: 0 };
    let elsewhere = record(&key(4, b"a"));
    let (mut task, asked) = merge(vec![nonsense.clone(), record(&key(3, b"a")), elsewhere]).unwrap();
    assert_eq!(asked.len(), 1);
    assert_eq!(task.done(Ok(merged())), Some(StoreDone::Merged(Err(MergeRefusal::Some { keys: 2 }))));
    assert_eq!(merge(vec![nonsense]).unwrap_err(), StoreDone::Merged(Err(MergeRefusal::Some { keys: 1 })));
    assert_eq!(merge(vec![]).unwrap_err(), StoreDone::Merged(Ok(())));
    let keys = vec![Bytes::from_static(b"x")];
    assert!(matches!(Task::begin(StoreAsk::Digests { partition: 3, keys }, mode), Err(StoreDone::Failed)));
}

#[test]
fn what_stops_a_merge_is_told_before_what_was_refused() {
    let two = || merge(vec![record(&key(3, b"a")), record(&key(3, b"b"))]).unwrap().0;
    for (error, refusal) in
        [(StoreError::DiskFull, MergeRefusal::DiskFull), (StoreError::Overloaded, MergeRefusal::Failed)]
    {
        let mut task = two();
        assert_eq!(task.done(Err(error)), None);
        assert_eq!(task.done(Ok(merged())), Some(StoreDone::Merged(Err(refusal))));
    }
}

#[test]
fn a_collection_counts_what_went_and_fails_as_a_whole() {
    let item = |name: &[u8]| Item { key: key(3, name).as_bytes().clone(), digest: 5 };
    let begin = |items| Task::begin(StoreAsk::Collect { partition: 3, items, retired: [].into() }, mode);
    let (mut task, asked) = begin(vec![item(b"a"), item(b"b")]).unwrap();
    assert_eq!(asked.len(), 4);
    assert_eq!(task.done(Ok(Outcome::Collected(true))), None);
    assert_eq!(task.done(Ok(Outcome::Pruned(false))), None);
    assert_eq!(task.done(Ok(Outcome::Collected(false))), None);
    assert_eq!(task.done(Ok(Outcome::Pruned(true))), Some(StoreDone::Collected { gone: 1, pruned: 1 }));
    let (mut task, _) = begin(vec![item(b"a")]).unwrap();
    assert_eq!(task.done(Ok(Outcome::Collected(true))), None);
    assert_eq!(task.done(Err(StoreError::DiskFull)), Some(StoreDone::Failed));
    assert!(matches!(begin(vec![]), Err(StoreDone::Failed)));
}

#[test]
fn a_page_goes_on_after_its_last_record_and_counts_what_is_damaged() {
    let after = key(3, b"a");
    let ask = StoreAsk::Page { partition: 3, after: Some(after.as_bytes().clone()), bytes_max: 10 };
    let page = |entries, end| {
        let (mut task, asked) = Task::begin(ask.clone(), mode).unwrap();
        assert_eq!(asked.len(), 1);
        match task.done(Ok(Outcome::Scan { entries, end })) {
            Some(StoreDone::Page(page)) => (page.go_on.map(|key| key.to_vec()), page.records.len(), page.damaged),
            other => panic!("{other:?}"),
        }
    };
    let good = || ScanEntry { key: key(3, b"b"), state: Ok((Bytes::from_static(b"set"), 5)) };
    let bad = || ScanEntry { key: key(3, b"c"), state: Err(StoreError::DiskFull) };
    assert_eq!(page(vec![good(), bad()], false), (Some(key(3, b"c").as_bytes().to_vec()), 1, 1));
    assert_eq!(page(vec![good()], true), (None, 1, 0));
    assert_eq!(page(vec![], false), (Some(after.as_bytes().to_vec()), 0, 0));
}
