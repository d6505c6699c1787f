//! Partitions of which this node has records and is no home any more: they are handed over to all homes, then let go.
//!
//! Nobody waits for that, and a deletion holds up the requests behind it: one partition at a time, a few records at a time,
//! out of a small share of its own: else the rest of a change would wait until its beginning is tidied up.

use std::collections::BTreeSet;

use dynamo_ring::{NodeId, Partition};
use dynamo_transfer::{Class, Ended, Purpose};

use crate::{
    effect::{Effects, StoreAsk, StoreDone},
    jobs::{Job, Why},
    keeper::{Keeper, Situation, Ticket, with_tree},
};

/// How long after a failure it is tried again, microseconds.
const RETRY_US: u64 = 500_000;

/// How often it is looked for them, microseconds; also after each newer charter.
const LOOK_US: u64 = 2_000_000;

/// What the deletion of a record counts for, bytes: it is read, and its end is written to the journal, the tree and a table.
const FORGET_BYTES: u64 = 1024;

/// One of them.
#[derive(Debug)]
pub(crate) struct Leftover {
    /// Homes that are not known to have everything yet.
    lacking: BTreeSet<NodeId>,
    not_before: u64,
    forgetting: bool,
    /// The epoch for which it was fenced, so that nothing comes to it any more.
    fenced: u64,
}

impl Leftover {
    /// A deletion is under way: what is compared meanwhile may be gone the next moment.
    pub(crate) fn is_forgetting(&self) -> bool {
        self.forgetting
    }
}

impl Keeper {
    /// Looks which there are.
    pub(crate) fn look_for_leftovers(&mut self, at: &Situation<'_>) {
        if at.now < self.next_look {
            return;
        }
        self.next_look = at.now.saturating_add(LOOK_US);
        let charter = self.charter().clone();
        if !charter.takes_from(self.me) {
            // Nobody takes it any more: it may be older than what was collected since.
            return;
        }
        let ring = charter.ring();
        for partition in ring.partitions().iter() {
            let gains = self.fills.contains_key(&partition.0);
            if ring.is_home(partition, self.me) || gains || self.leftovers.contains_key(&partition.0) {
                continue;
            }
            if with_tree(at.trees, partition.0, |tree| tree.root() != 0) {
                let lacking = ring.preference_list(partition).into_iter().collect();
                self.leftovers.insert(partition.0, Leftover { lacking, not_before: 0, forgetting: false, fenced: 0 });
            }
        }
    }

    pub(crate) fn wanted_leftovers(&self, now: u64) -> Vec<Job> {
        let ready = |leftover: &Leftover| leftover.not_before <= now && !leftover.forgetting;
        // What a disk in doubt has may be older than what was collected since.
        let sure = !self.in_doubt();
        let jobs =
            self.leftovers.iter().filter(|(_, leftover)| sure && ready(leftover)).flat_map(|(partition, leftover)| {
                let peers = leftover.lacking.iter().filter(|id| self.reachable.contains(id));
                peers.map(|peer| Job { partition: *partition, peer: *peer, purpose: Purpose::Push, why: Why::Leftover })
            });
        jobs.collect()
    }

    pub(crate) fn handed_over(&mut self, job: Job, ended: Ended, now: u64) {
        let Some(leftover) = self.leftovers.get_mut(&job.partition) else { return };
        if matches!(ended, Ended::Complete { .. }) {
            leftover.lacking.remove(&job.peer);
        } else {
            leftover.not_before = now.saturating_add(RETRY_US);
        }
    }

    /// Deletes what all homes have, once every member goes by the present ring: nobody sends this node a request of an older
    /// one then.
    pub(crate) fn let_go(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        let version = self.version();
        let charter = self.charter().clone();
        let known = |id: &NodeId| *id == self.me || self.versions.get(id).is_some_and(|known| *known >= version);
        if self.learning.is_some() || !charter.ring().members().iter().all(|member| known(&member.id)) {
            return;
        }
        if self.leftovers.values().any(Leftover::is_forgetting) {
            return;
        }
        let ready = |leftover: &Leftover| leftover.lacking.is_empty() && leftover.not_before <= at.now;
        let next = self.leftovers.iter().find(|(_, leftover)| ready(leftover)).map(|(partition, _)| *partition);
        let (epoch, limit) = (charter.ring().epoch(), self.settings.forget_max);
        let Some(partition) = next else { return };
        if !self.slices_take(Class::Forget, limit as u64 * FORGET_BYTES, at.now) {
            return;
        }
        let leftover = self.leftovers.get_mut(&partition).expect("just seen");
        leftover.forgetting = true;
        let fenced = std::mem::replace(&mut leftover.fenced, epoch) == epoch;
        self.collecting.forgets(partition);
        if !fenced {
            self.store(Ticket::Fenced, StoreAsk::Fence { partitions: vec![partition], epoch, floor: 0 }, effects);
        }
        self.store(Ticket::Forgot(partition), StoreAsk::Forget { partition, epoch, limit }, effects);
    }

    pub(crate) fn forgot(&mut self, partition: u16, done: StoreDone, at: &Situation<'_>) {
        let Some(leftover) = self.leftovers.get_mut(&partition) else { return };
        leftover.forgetting = false;
        match done {
            StoreDone::Forgot { left: false } => drop(self.leftovers.remove(&partition)),
            StoreDone::Forgot { left: true } => {}
            _ => (leftover.not_before, leftover.fenced) = (at.now.saturating_add(RETRY_US), 0),
        }
        // It is to be filled again, or was given back: what is left stays.
        let home = self.charter().ring().is_home(Partition(partition), self.me);
        if home || self.fills.contains_key(&partition) {
            self.leftovers.remove(&partition);
        }
    }
}
