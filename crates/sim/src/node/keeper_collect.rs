//! Collecting tombstones and names: the parts of a round that read and change records, as `node/src/keeping/store.rs` has
//! them.

use std::sync::Arc;

use dynamo_keeper::{StoreDone, collect::Item};
use dynamo_storage::{Op, Outcome, RecordKey, ScanEntry, StoreError, apply::is_spent};
use dynamo_version::SiblingSet;

use super::{Done, Node, keeper_store::KeeperAsk};
use crate::{
    coverage::cover,
    world::{Kernel, say},
};

/// A collection of several records.
#[derive(Debug, Default)]
pub struct Collecting {
    left: usize,
    failed: bool,
    /// Tombstones that went, and records that lost names.
    gone: u32,
    pruned: u32,
}

impl Node {
    pub(super) fn keeper_collects(
        &mut self,
        ticket: u64,
        partition: u16,
        items: &[Item],
        retired: &Arc<[(u128, u64)]>,
        kernel: &mut Kernel,
    ) {
        let key = |item: &Item| Some((RecordKey::decode(&item.key).ok()?, item.digest));
        let of = |key: &RecordKey| key.partition().0 == partition;
        let keys: Vec<(RecordKey, u64)> = items.iter().filter_map(key).filter(|(key, _)| of(key)).collect();
        if keys.is_empty() {
            return self.keeper_stored(ticket, StoreDone::Failed, kernel);
        }
        self.keeping.collecting.insert(ticket, Collecting { left: 2 * keys.len(), ..Collecting::default() });
        for (key, digest) in keys {
            let done = || Done::Keeper { ticket, what: KeeperAsk::Collect };
            self.submit(Op::Collect { key: key.clone(), digest }, done(), kernel);
            // Not deleted: then it has names to lose.
            self.submit(Op::Prune { key, digest, actors: retired.clone() }, done(), kernel);
        }
    }

    /// What failed is tried again by whoever asked: it was found to be there still.
    pub(super) fn keeper_collected(&mut self, ticket: u64, result: Result<Outcome, StoreError>, kernel: &mut Kernel) {
        let Some(collecting) = self.keeping.collecting.get_mut(&ticket) else { return };
        match result {
            Ok(Outcome::Collected(true)) => collecting.gone += 1,
            Ok(Outcome::Pruned(true)) => collecting.pruned += 1,
            Ok(_) => {}
            Err(_) => collecting.failed = true,
        }
        collecting.left -= 1;
        if collecting.left > 0 {
            return;
        }
        let Collecting { failed, gone, pruned, .. } = *collecting;
        self.keeping.collecting.remove(&ticket);
        if gone > 0 {
            cover!("collect.tombstone_gone");
            say!(kernel, "node-{} collects {gone} tombstones that all homes have", self.me);
        }
        if pruned > 0 {
            cover!("collect.actor_retired");
            say!(kernel, "node-{} drops names of who is gone from {pruned} records", self.me);
        }
        let done = if failed { StoreDone::Failed } else { StoreDone::Collected { gone, pruned } };
        self.keeper_stored(ticket, done, kernel);
    }
}

/// A damaged record is none of them: the scrub sees to it.
pub fn spent(entries: Vec<ScanEntry>, end: bool, retired: &[(u128, u64)]) -> StoreDone {
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
