//! What the keeper wants of the engine, as the engine's operations; and what it says, as the keeper is told it.

use std::sync::Arc;

use bytes::Bytes;
use dynamo_keeper::{Kept, StoreAsk, StoreDone, Trees, collect::Item, registry};
use dynamo_merkle::{Entry, Tree};
use dynamo_ring::{Partition, charter::Charter};
use dynamo_storage::{Hinted, Op, Outcome, Read, RecordKey, ScanEntry, StoreError, apply::is_spent};
use dynamo_transfer::{MergeRefusal, Page, Record, Stored};
use dynamo_version::{Mode, SiblingSet};
use parking_lot::Mutex;

use super::{KEYS, KeeperEvents, KeeperNews, meta_key};
use crate::{
    completion::{Done, LocalStore},
    coordinator::Coordinator,
};

/// The engine's trees.
pub struct LocalTrees<'a>(pub &'a LocalStore);

impl Trees for LocalTrees<'_> {
    fn with(&self, partition: u16, read: &mut dyn FnMut(&Tree)) {
        self.0.with_tree(Partition(partition), read);
    }
}

/// What the disk holds of the keeper's, and what it remembers of others' starts.
///
/// # Errors
/// It can't be read.
pub fn kept(coordinator: &Coordinator, first: &Charter) -> anyhow::Result<(Kept, Option<Bytes>)> {
    let get = |key: &str| match coordinator.store.read_now(&Read::Meta { key: meta_key(key) }) {
        Ok(Outcome::Meta(value)) => Ok(value),
        Ok(_) => unreachable!("meta is answered with meta"),
        Err(error) => Err(anyhow::Error::new(error).context("the ring's value on this disk can't be read")),
    };
    let [state, known, lives, whole, starts] = KEYS.map(get);
    let fences = first.ring().partitions().iter().map(|partition| coordinator.store.fence(partition)).collect();
    let register = registry::Kept { state: state?, known: known?, lives: lives? };
    Ok((Kept { register, whole: whole?, fences }, starts?))
}

/// One thing that was asked, of which the engine may make several operations.
#[derive(Debug)]
pub struct Pending {
    events: KeeperEvents,
    ticket: u64,
    what: What,
    state: Mutex<Merging>,
}

#[derive(Debug, Clone)]
enum What {
    Simple,
    Merge,
    Page { after: Option<Bytes> },
    Scrub,
    Spent { retired: Arc<[(u128, u64)]> },
    Collect,
}

/// A merge of several records, or a collection of several.
#[derive(Debug, Default)]
struct Merging {
    left: usize,
    refused: u32,
    stopped: Option<MergeRefusal>,
    /// Of a collection: tombstones that went, and records that lost names.
    gone: u32,
    pruned: u32,
}

impl std::fmt::Debug for KeeperEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeeperEvents")
    }
}

impl Pending {
    /// Has the engine do it; the keeper's task hears of the end.
    pub fn begin(coordinator: &Arc<Coordinator>, events: &KeeperEvents, ticket: u64, ask: StoreAsk) {
        let pending = |what, left| {
            let state = Mutex::new(Merging { left, ..Merging::default() });
            Arc::new(Pending { events: events.clone(), ticket, what, state })
        };
        match ask {
            StoreAsk::Merge { partition, epoch, records } => {
                let count = records.len();
                let pending = pending(What::Merge, count);
                if count == 0 {
                    return events.send(KeeperNews::Stored(ticket, StoreDone::Merged(Ok(()))));
                }
                for record in records {
                    match merge(coordinator, partition, epoch, record) {
                        Some(op) => submit(coordinator, op, &pending),
                        None => pending.merged(Err(MergeRefusal::Some { keys: 1 })),
                    }
                }
            }
            StoreAsk::Page { partition, after, bytes_max } => {
                let key = after.as_ref().and_then(|after| RecordKey::decode(after).ok());
                let partition = Partition(partition);
                let read = Read::Scan { partition, after: key, limit: 4096, bytes_max };
                submit_read(coordinator, read, pending(What::Page { after }, 1));
            }
            StoreAsk::Scrub { partition, after, bytes_max } => {
                let after = after.as_ref().and_then(|after| RecordKey::decode(after).ok());
                let read = Read::Scan { partition: Partition(partition), after, limit: 4096, bytes_max };
                submit_read(coordinator, read, pending(What::Scrub, 1));
            }
            StoreAsk::Spent { retired, .. } if retired.is_empty() && coordinator.store.counters().tombstones() == 0 => {
                // Names are rarely too many where nothing was ever deleted and nobody is gone: not worth reading all.
                events.send(KeeperNews::Stored(ticket, StoreDone::Spent { items: vec![], go_on: None, bytes: 0 }));
            }
            StoreAsk::Spent { partition, after, retired, bytes_max } => {
                let after = after.as_ref().and_then(|after| RecordKey::decode(after).ok());
                let read = Read::Scan { partition: Partition(partition), after, limit: 4096, bytes_max };
                submit_read(coordinator, read, pending(What::Spent { retired }, 1));
            }
            StoreAsk::Collect { partition, items, retired } => {
                let of = |key: &RecordKey| key.partition().0 == partition;
                let keys = items.iter().filter_map(|item| Some((RecordKey::decode(&item.key).ok()?, item.digest)));
                let keys: Vec<(RecordKey, u64)> = keys.filter(|(key, _)| of(key)).collect();
                if keys.is_empty() {
                    return events.send(KeeperNews::Stored(ticket, StoreDone::Failed));
                }
                let pending = pending(What::Collect, 2 * keys.len());
                for (key, digest) in keys {
                    submit(coordinator, Op::Collect { key: key.clone(), digest }, &pending);
                    // Not deleted: then it has names to lose.
                    submit(coordinator, Op::Prune { key, digest, actors: retired.clone() }, &pending);
                }
            }
            ask => match simple(ask) {
                Some(Asked::Op(op)) => submit(coordinator, op, &pending(What::Simple, 1)),
                Some(Asked::Read(read)) => submit_read(coordinator, read, pending(What::Simple, 1)),
                None => events.send(KeeperNews::Stored(ticket, StoreDone::Failed)),
            },
        }
    }

    /// The engine has finished one of its operations. Called on the engine's threads.
    pub fn done(&self, result: Result<Outcome, StoreError>) {
        let done = match (&self.what, result) {
            (What::Merge, Ok(_)) => return self.merged(Ok(())),
            (What::Merge, Err(error)) => return self.merged(Err(refusal(&error))),
            (What::Collect, result) => return self.collected(result),
            (_, Err(error)) => {
                tracing::debug!(%error, "the store failed the keeper");
                StoreDone::Failed
            }
            (_, Ok(Outcome::MetaSet | Outcome::Fenced | Outcome::Mended(_))) => StoreDone::Kept,
            (_, Ok(Outcome::Forgot { left })) => StoreDone::Forgot { left },
            (_, Ok(Outcome::Leaf { entries, end })) => {
                let entry = |(key, digest): (Bytes, u64)| Entry { key: key.to_vec().into(), digest };
                StoreDone::Leaf { entries: entries.into_iter().map(entry).collect(), end }
            }
            (_, Ok(Outcome::Records(found))) => {
                StoreDone::Records(found.into_iter().map(|(_, found)| stored(found)).collect())
            }
            (What::Scrub, Ok(Outcome::Scan { entries, end })) => scrubbed(entries, end),
            (What::Spent { retired }, Ok(Outcome::Scan { entries, end })) => spent(entries, end, retired),
            (_, Ok(Outcome::Digests(digests))) => StoreDone::Digests(digests),
            (_, Ok(Outcome::Hinted(Hinted { kept, held }))) => StoreDone::Hinted {
                kept: kept.into_iter().map(|(partition, kept)| (partition.0, kept)).collect(),
                held: held.into_iter().map(|partition| partition.0).collect(),
            },
            (What::Page { after }, Ok(Outcome::Scan { entries, end })) => StoreDone::Page(page(after, entries, end)),
            (_, Ok(_)) => StoreDone::Failed,
        };
        self.events.send(KeeperNews::Stored(self.ticket, done));
    }

    /// What failed is tried again by whoever asked: it was found to be there still.
    fn collected(&self, result: Result<Outcome, StoreError>) {
        let mut state = self.state.lock();
        match result {
            Ok(Outcome::Collected(true)) => state.gone += 1,
            Ok(Outcome::Pruned(true)) => state.pruned += 1,
            Ok(_) => {}
            Err(_) => state.refused += 1,
        }
        state.left -= 1;
        if state.left > 0 {
            return;
        }
        let (gone, pruned) = (state.gone, state.pruned);
        let done = if state.refused > 0 { StoreDone::Failed } else { StoreDone::Collected { gone, pruned } };
        self.events.send(KeeperNews::Stored(self.ticket, done));
    }

    fn merged(&self, result: Result<(), MergeRefusal>) {
        let mut state = self.state.lock();
        match result {
            Ok(()) => {}
            Err(MergeRefusal::Some { keys }) => state.refused += keys,
            Err(refusal) => state.stopped = Some(refusal),
        }
        state.left -= 1;
        if state.left > 0 {
            return;
        }
        let merged = match (&state.stopped, state.refused) {
            (Some(refusal), _) => Err(*refusal),
            (None, 0) => Ok(()),
            (None, keys) => Err(MergeRefusal::Some { keys }),
        };
        self.events.send(KeeperNews::Stored(self.ticket, StoreDone::Merged(merged)));
    }
}

#[expect(clippy::large_enum_variant, reason = "made and taken apart in one step")]
enum Asked {
    Op(Op),
    Read(Read),
}

/// None: a key that is none came from a peer.
fn simple(ask: StoreAsk) -> Option<Asked> {
    Some(match ask {
        StoreAsk::Put { key, value } => Asked::Op(Op::PutMeta { key: meta_key(key), value: Some(value) }),
        StoreAsk::Fence { partitions, epoch, floor } => {
            Asked::Op(Op::Fence { partitions: partitions.into_iter().map(Partition).collect(), epoch, floor })
        }
        StoreAsk::Forget { partition, epoch, limit } => {
            Asked::Op(Op::Forget { partition: Partition(partition), epoch, limit })
        }
        StoreAsk::Mend { key } => Asked::Op(Op::Mend { key: RecordKey::decode(&key).ok()? }),
        StoreAsk::Leaf { partition, leaf, after, entries_max, bytes_max } => {
            Asked::Read(Read::Leaf { partition: Partition(partition), leaf, after, entries_max, bytes_max })
        }
        StoreAsk::Records { partition, keys, bytes_max } => {
            let key = |key: Bytes| RecordKey::decode(&key).ok().filter(|key| key.partition().0 == partition);
            Asked::Read(Read::Records { keys: keys.into_iter().map(key).collect::<Option<_>>()?, bytes_max })
        }
        StoreAsk::Digests { partition, keys } => {
            let key = |key: Bytes| RecordKey::decode(&key).ok().filter(|key| key.partition().0 == partition);
            Asked::Read(Read::Digests { keys: keys.into_iter().map(key).collect::<Option<_>>()? })
        }
        StoreAsk::Hinted => Asked::Read(Read::Hinted),
        StoreAsk::Merge { .. }
        | StoreAsk::Page { .. }
        | StoreAsk::Scrub { .. }
        | StoreAsk::Spent { .. }
        | StoreAsk::Collect { .. } => return None,
    })
}

/// A record as a write to this node: None if it makes no sense here.
fn merge(coordinator: &Coordinator, partition: u16, epoch: u64, record: Record) -> Option<Op> {
    let key = RecordKey::decode(&record.key).ok().filter(|key| key.partition().0 == partition)?;
    let bucket = key.parts().bucket;
    let bucket = std::str::from_utf8(&bucket).ok()?;
    let mode = coordinator.buckets.get(bucket).map_or(Mode::Siblings, |bucket| bucket.mode);
    // Copied out of the message: the engine keeps it longer than the other records that came with it.
    let set = Bytes::copy_from_slice(&record.set);
    Some(Op::Merge { key, set, digest: record.digest, mode, hint_for: None, epoch, sync: true })
}

fn refusal(error: &StoreError) -> MergeRefusal {
    match error {
        StoreError::Sealed { .. } => MergeRefusal::Sealed,
        StoreError::DiskFull | StoreError::HintsFull { .. } => MergeRefusal::DiskFull,
        StoreError::Corrupt { .. } | StoreError::BadState(_) => MergeRefusal::Some { keys: 1 },
        _ => MergeRefusal::Failed,
    }
}

fn stored(found: Result<Option<(Bytes, u64)>, StoreError>) -> Stored {
    match found {
        Ok(Some((set, digest))) => Stored::State { set, digest },
        Ok(None) => Stored::Absent,
        Err(_) => Stored::Damaged,
    }
}

fn page(after: &Option<Bytes>, entries: Vec<ScanEntry>, end: bool) -> Page {
    let go_on = entries.last().map(|last| last.key.as_bytes().clone()).or_else(|| after.clone()).filter(|_| !end);
    let mut page = Page { go_on: go_on.map(|key| key.to_vec().into()), ..Page::default() };
    for ScanEntry { key, state } in entries {
        match state {
            Ok((set, digest)) => page.records.push(Record { key: key.as_bytes().to_vec().into(), set, digest }),
            Err(_) => page.damaged += 1,
        }
    }
    page
}

fn scrubbed(entries: Vec<ScanEntry>, end: bool) -> StoreDone {
    let go_on = entries.last().map(|last| last.key.as_bytes().clone()).filter(|_| !end);
    let size = |entry: &ScanEntry| entry.key.as_bytes().len() + entry.state.as_ref().map_or(0, |(set, _)| set.len());
    let bytes = entries.iter().map(|entry| size(entry) as u64).sum();
    let damaged = entries.into_iter().filter(|entry| entry.state.is_err()).map(|entry| entry.key.as_bytes().clone());
    StoreDone::Scrubbed { go_on, damaged: damaged.collect(), bytes }
}

/// A damaged record is none of them: the scrub sees to it.
fn spent(entries: Vec<ScanEntry>, end: bool, retired: &[(u128, u64)]) -> StoreDone {
    let go_on = entries.last().map(|last| last.key.as_bytes().clone()).filter(|_| !end);
    let (mut items, mut bytes) = (Vec::new(), 0);
    for ScanEntry { key, state } in entries {
        let Ok((set, digest)) = state else { continue };
        bytes += (key.as_bytes().len() + set.len()) as u64;
        if SiblingSet::decode(set).is_ok_and(|set| is_spent(&set, retired)) {
            items.push(Item { key: key.as_bytes().clone(), digest });
        }
    }
    StoreDone::Spent { items, go_on, bytes }
}

fn submit(coordinator: &Coordinator, op: Op, pending: &Arc<Pending>) {
    if let Err((done, busy)) = coordinator.store.submit(op, Done::Keeper(pending.clone())) {
        done.not_taken(busy);
    }
}

fn submit_read(coordinator: &Coordinator, read: Read, pending: Arc<Pending>) {
    if let Err((done, busy)) = coordinator.store.read(read, Done::Keeper(pending)) {
        done.not_taken(busy);
    }
}
