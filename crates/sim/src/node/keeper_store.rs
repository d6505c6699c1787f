//! What the keeper wants of the engine, as the engine's operations; and what that says, as the keeper is told it: the
//! simulator's `node/src/keeping/store.rs`.

use std::sync::Arc;

use bytes::Bytes;
use dynamo_keeper::{StoreAsk, StoreDone, registry};
use dynamo_merkle::Entry;
use dynamo_ring::Partition;
use dynamo_storage::{Hinted, Op, Outcome, Read, RecordKey, ScanEntry, StoreError};
use dynamo_transfer::{MergeRefusal, Page, Record, Stored};
use dynamo_version::Mode;

use super::{Done, Node, keeper::meta_key, keeper_collect::spent};
use crate::{
    coverage::cover,
    known_bad::KnownBad,
    world::{Kernel, say},
};

/// A merge of several records.
#[derive(Debug, Default)]
pub struct Merging {
    left: usize,
    refused: u32,
    stopped: Option<MergeRefusal>,
}

/// What the engine was asked for the keeper.
#[derive(Debug, Clone)]
pub enum KeeperAsk {
    Simple,
    Merge,
    Page { after: Option<Bytes> },
    Scrub,
    Spent { retired: Arc<[(u128, u64)]> },
    Collect,
}

impl Node {
    /// Has the engine do it; the keeper hears of the end.
    pub(super) fn keeper_stores(&mut self, ticket: u64, ask: StoreAsk, kernel: &mut Kernel) {
        let decode = |after: &Option<Bytes>| after.as_ref().and_then(|after| RecordKey::decode(after).ok());
        let done = |what| Done::Keeper { ticket, what };
        match ask {
            StoreAsk::Merge { partition, epoch, records } => {
                self.keeper_merges(ticket, partition, epoch, records, kernel)
            }
            StoreAsk::Page { partition, after, bytes_max } => {
                let read =
                    Read::Scan { partition: Partition(partition), after: decode(&after), limit: 4096, bytes_max };
                self.read(&read, done(KeeperAsk::Page { after }), kernel);
            }
            StoreAsk::Scrub { partition, after, bytes_max } => {
                let read =
                    Read::Scan { partition: Partition(partition), after: decode(&after), limit: 4096, bytes_max };
                self.read(&read, done(KeeperAsk::Scrub), kernel);
            }
            StoreAsk::Put { key, value } => {
                // It begins with the life that was attested, if one was.
                if key == registry::LIVES_KEY && value.iter().take(8).any(|byte| *byte != 0) {
                    cover!("ring.life_attested");
                }
                self.submit(Op::PutMeta { key: meta_key(key), value: Some(value) }, done(KeeperAsk::Simple), kernel);
            }
            StoreAsk::Fence { partitions, epoch, floor } => {
                say!(kernel, "node-{} seals {partitions:?} for requests before epoch {epoch}", self.me);
                cover!("ring.fenced");
                kernel.seals.sealed(epoch, kernel.now);
                // The first fence of an epoch is its seal; what comes later is raised once the ring has turned.
                let skipped = kernel.known_bad == Some(KnownBad::TurnWithoutSeals) && epoch > self.keeping.fenced;
                self.keeping.fenced = self.keeping.fenced.max(epoch);
                let partitions = partitions.into_iter().filter(|_| !skipped).map(Partition).collect();
                self.submit(Op::Fence { partitions, epoch, floor }, done(KeeperAsk::Simple), kernel);
            }
            StoreAsk::Forget { partition, epoch, limit } => {
                say!(kernel, "node-{} forgets partition {partition}, which it gave away", self.me);
                cover!("keeper.leftover_forgotten");
                let op = Op::Forget { partition: Partition(partition), epoch, limit };
                self.submit(op, done(KeeperAsk::Simple), kernel);
            }
            StoreAsk::Mend { key } => {
                cover!("keeper.mended");
                let key = RecordKey::decode(&key).expect("it came from the store");
                self.submit(Op::Mend { key }, done(KeeperAsk::Simple), kernel);
            }
            StoreAsk::Leaf { partition, leaf, after, entries_max, bytes_max } => {
                let read = Read::Leaf { partition: Partition(partition), leaf, after, entries_max, bytes_max };
                self.read(&read, done(KeeperAsk::Simple), kernel);
            }
            StoreAsk::Records { partition, keys, bytes_max } => {
                let key = |key: Bytes| RecordKey::decode(&key).ok().filter(|key| key.partition().0 == partition);
                let keys = keys.into_iter().map(key).collect::<Option<_>>().expect("they came from a store");
                self.read(&Read::Records { keys, bytes_max }, done(KeeperAsk::Simple), kernel);
            }
            StoreAsk::Digests { partition, keys } => {
                let key = |key: Bytes| RecordKey::decode(&key).ok().filter(|key| key.partition().0 == partition);
                match keys.into_iter().map(key).collect::<Option<_>>() {
                    Some(keys) => self.read(&Read::Digests { keys }, done(KeeperAsk::Simple), kernel),
                    None => self.keeper_stored(ticket, StoreDone::Failed, kernel),
                }
            }
            StoreAsk::Hinted => self.read(&Read::Hinted, done(KeeperAsk::Simple), kernel),
            StoreAsk::Spent { partition, after, retired, bytes_max } => {
                let read =
                    Read::Scan { partition: Partition(partition), after: decode(&after), limit: 4096, bytes_max };
                self.read(&read, done(KeeperAsk::Spent { retired }), kernel);
            }
            StoreAsk::Collect { partition, items, retired } => {
                self.keeper_collects(ticket, partition, &items, &retired, kernel);
            }
        }
    }

    fn keeper_merges(&mut self, ticket: u64, partition: u16, epoch: u64, records: Vec<Record>, kernel: &mut Kernel) {
        if records.is_empty() {
            return self.keeper_stored(ticket, StoreDone::Merged(Ok(())), kernel);
        }
        self.keeping.merges.insert(ticket, Merging { left: records.len(), ..Merging::default() });
        for Record { key, set, digest } in records {
            let key = RecordKey::decode(&key).ok().filter(|key| key.partition().0 == partition);
            let key = key.expect("it came from a store");
            let mode = self.mode_of(&key);
            let op = Op::Merge { key, set, digest, mode, hint_for: None, epoch, sync: true };
            self.submit(op, Done::Keeper { ticket, what: KeeperAsk::Merge }, kernel);
        }
    }

    /// A bucket's mode, as far as it is known here.
    fn mode_of(&self, key: &RecordKey) -> Mode {
        let bucket = key.parts().bucket;
        let at = self.shape.buckets.iter().position(|known| known.name.as_bytes() == &bucket[..]);
        at.filter(|at| self.buckets[*at]).map_or(Mode::Siblings, |at| self.shape.buckets[at].mode)
    }

    /// The engine has finished one of its operations.
    pub(super) fn keeper_engine_done(
        &mut self,
        ticket: u64,
        what: KeeperAsk,
        result: Result<Outcome, StoreError>,
        kernel: &mut Kernel,
    ) {
        let done = match (what, result) {
            (KeeperAsk::Merge, result) => return self.keeper_merged(ticket, result.map(|_| ()), kernel),
            (KeeperAsk::Collect, result) => return self.keeper_collected(ticket, result, kernel),
            (_, Err(error)) => {
                cover!("keeper.store_failed");
                say!(kernel, "node-{}'s engine fails its keeper: {error}", self.me);
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
            (KeeperAsk::Scrub, Ok(Outcome::Scan { entries, end })) => scrubbed(entries, end),
            (KeeperAsk::Spent { retired }, Ok(Outcome::Scan { entries, end })) => spent(entries, end, &retired),
            (_, Ok(Outcome::Digests(digests))) => StoreDone::Digests(digests),
            (_, Ok(Outcome::Hinted(Hinted { kept, held }))) => StoreDone::Hinted {
                kept: kept.into_iter().map(|(partition, kept)| (partition.0, kept)).collect(),
                held: held.into_iter().map(|partition| partition.0).collect(),
            },
            (KeeperAsk::Page { after }, Ok(Outcome::Scan { entries, end })) => {
                StoreDone::Page(page(after, entries, end))
            }
            (_, Ok(_)) => StoreDone::Failed,
        };
        self.keeper_stored(ticket, done, kernel);
    }

    fn keeper_merged(&mut self, ticket: u64, result: Result<(), StoreError>, kernel: &mut Kernel) {
        let Some(merging) = self.keeping.merges.get_mut(&ticket) else { return };
        match result.map_err(|error| refusal(&error)) {
            Ok(()) => {}
            Err(MergeRefusal::Some { keys }) => merging.refused += keys,
            Err(refusal) => merging.stopped = Some(refusal),
        }
        merging.left -= 1;
        if merging.left > 0 {
            return;
        }
        let merged = match (merging.stopped, merging.refused) {
            (Some(refusal), _) => Err(refusal),
            (None, 0) => Ok(()),
            (None, keys) => Err(MergeRefusal::Some { keys }),
        };
        self.keeping.merges.remove(&ticket);
        self.keeper_stored(ticket, StoreDone::Merged(merged), kernel);
    }

    pub(super) fn keeper_stored(&mut self, ticket: u64, done: StoreDone, kernel: &mut Kernel) {
        self.drive_keeper(kernel, |keeper, at, effects| keeper.on_stored(ticket, done, at, effects));
    }

    /// A damaged record is had again from the other homes.
    pub(super) fn report_damage(&mut self, error: &StoreError, kernel: &mut Kernel) {
        if let StoreError::Corrupt { record: Some(record), .. } = error {
            cover!("keeper.damage_met");
            let key = record.as_bytes().clone();
            self.drive_keeper(kernel, |keeper, _, effects| keeper.damaged(key, effects));
        }
    }
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

fn page(after: Option<Bytes>, entries: Vec<ScanEntry>, end: bool) -> Page {
    let go_on = entries.last().map(|last| last.key.as_bytes().clone()).or(after).filter(|_| !end);
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
