//! What the store's outcomes are called where the keeper hears of them.

use bytes::Bytes;
use dynamo_keeper::{StoreDone, collect::Item};
use dynamo_merkle::Entry;
use dynamo_storage::{Hinted, Outcome, ScanEntry, StoreError, apply::is_spent};
use dynamo_transfer::{MergeRefusal, Page, Record, Stored};
use dynamo_version::SiblingSet;

use crate::What;

/// Of a task that is one operation.
pub(crate) fn one(what: &What, outcome: Outcome) -> StoreDone {
    match (what, outcome) {
        (_, Outcome::MetaSet | Outcome::Fenced | Outcome::Mended(_)) => StoreDone::Kept,
        (_, Outcome::Forgot { left }) => StoreDone::Forgot { left },
        (_, Outcome::Leaf { entries, end }) => {
            let entry = |(key, digest): (Bytes, u64)| Entry { key: key.to_vec().into(), digest };
            StoreDone::Leaf { entries: entries.into_iter().map(entry).collect(), end }
        }
        (_, Outcome::Records(found)) => StoreDone::Records(found.into_iter().map(|(_, found)| stored(found)).collect()),
        (_, Outcome::Digests(digests)) => StoreDone::Digests(digests),
        (_, Outcome::Hinted(Hinted { kept, held })) => StoreDone::Hinted {
            kept: kept.into_iter().map(|(partition, kept)| (partition.0, kept)).collect(),
            held: held.into_iter().map(|partition| partition.0).collect(),
        },
        (What::Scrub, Outcome::Scan { entries, end }) => scrubbed(entries, end),
        (What::Spent { retired }, Outcome::Scan { entries, end }) => spent(entries, end, retired),
        (What::Page { after }, Outcome::Scan { entries, end }) => StoreDone::Page(page(after.clone(), entries, end)),
        _ => StoreDone::Failed,
    }
}

pub(crate) fn refusal(error: &StoreError) -> MergeRefusal {
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

/// Up to which record was read; None: to the end.
fn up_to(entries: &[ScanEntry], end: bool) -> Option<Bytes> {
    entries.last().map(|last| last.key.as_bytes().clone()).filter(|_| !end)
}

fn page(after: Option<Bytes>, entries: Vec<ScanEntry>, end: bool) -> Page {
    // A page without a record that is not the last one goes on where it began.
    let go_on = up_to(&entries, end).or(after.filter(|_| !end));
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
    let go_on = up_to(&entries, end);
    let size = |entry: &ScanEntry| entry.key.as_bytes().len() + entry.state.as_ref().map_or(0, |(set, _)| set.len());
    let bytes = entries.iter().map(|entry| size(entry) as u64).sum();
    let damaged = entries.into_iter().filter(|entry| entry.state.is_err()).map(|entry| entry.key.as_bytes().clone());
    StoreDone::Scrubbed { go_on, damaged: damaged.collect(), bytes }
}

/// A damaged record is none of them: the scrub sees to it.
fn spent(entries: Vec<ScanEntry>, end: bool, retired: &[(u128, u64)]) -> StoreDone {
    let go_on = up_to(&entries, end);
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
