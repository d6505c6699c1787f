//! What the keeper wants of the engine, and what it says: the simulator's `node/src/keeping/store.rs`.

use dynamo_keeper::{StoreAsk, StoreDone, collect::Item, registry};
use dynamo_keeping::{Asked, Task};
use dynamo_storage::{Outcome, Read, RecordKey, StoreError};
use dynamo_version::{Mode, Sibling, SiblingSet};
use smallvec::SmallVec;

use super::{Done, Node};
use crate::{
    coverage::cover,
    history::Collected,
    known_bad::KnownBad,
    world::{Kernel, say},
};

impl Node {
    /// Has the engine do it; the keeper hears of the end.
    pub(super) fn keeper_stores(&mut self, ticket: u64, mut ask: StoreAsk, kernel: &mut Kernel) {
        self.tell_of(&mut ask, kernel);
        let (task, asked) = match Task::begin(ask, |bucket| self.mode_of(bucket)) {
            Ok(begun) => begun,
            Err(done) => return self.keeper_stored(ticket, done, kernel),
        };
        self.keeping.tasks.insert(ticket, task);
        for asked in asked {
            match asked {
                Asked::Op(op) => self.submit(op, Done::Keeper { ticket }, kernel),
                Asked::Read(read) => self.read(&read, Done::Keeper { ticket }, kernel),
            }
        }
    }

    fn tell_of(&mut self, ask: &mut StoreAsk, kernel: &mut Kernel) {
        match ask {
            // It begins with the life that was attested, if one was.
            StoreAsk::Put { key: registry::LIVES_KEY, value } if value.iter().take(8).any(|byte| *byte != 0) => {
                cover!("ring.life_attested");
            }
            StoreAsk::Put { key: dynamo_keeper::CLEAR_KEY, .. } => self.note_clear(kernel),
            StoreAsk::Fence { partitions, epoch, .. } => {
                say!(kernel, "node-{} seals {partitions:?} for requests before epoch {epoch}", self.me);
                cover!("ring.fenced");
                kernel.seals.sealed(*epoch, kernel.now);
                // The first fence of an epoch is its seal; what comes later is raised once the ring has turned.
                if kernel.known_bad == Some(KnownBad::TurnWithoutSeals) && *epoch > self.keeping.fenced {
                    partitions.clear();
                }
                self.keeping.fenced = self.keeping.fenced.max(*epoch);
            }
            StoreAsk::Forget { partition, .. } => {
                say!(kernel, "node-{} forgets partition {partition}, which it gave away", self.me);
                cover!("keeper.leftover_forgotten");
            }
            StoreAsk::Mend { .. } => cover!("keeper.mended"),
            StoreAsk::Collect { items, .. } => items.iter().for_each(|item| self.note_tombstones(item, kernel)),
            _ => {}
        }
    }

    /// The checkers are told which tombstones may go. What has another digest by now stays.
    fn note_tombstones(&self, item: &Item, kernel: &mut Kernel) {
        let Ok(record) = RecordKey::decode(&item.key) else { return };
        let Some(key) = (0..self.shape.plan.keys).find(|key| self.shape.key(*key).record == record) else { return };
        let mode = self.shape.bucket_of(key).mode;
        let read = Read::State { key: record, hints: SmallVec::new(), mode, epoch: u64::MAX, digest_only: false };
        let Ok(Outcome::State(Some((set, digest)))) = self.read_now(&read) else { return };
        let Ok(set) = SiblingSet::decode(set) else { return };
        if digest != item.digest || !set.is_deleted() {
            return;
        }
        for Sibling { timestamp, dot, .. } in set.siblings() {
            let collected = Collected { timestamp: *timestamp, dot: *dot, at_us: kernel.now };
            kernel.history.collects(key, collected);
        }
    }

    /// A bucket's mode, as far as it is known here.
    fn mode_of(&self, bucket: &str) -> Mode {
        let at = self.shape.buckets.iter().position(|known| known.name == bucket);
        at.filter(|at| self.buckets[*at]).map_or(Mode::Siblings, |at| self.shape.buckets[at].mode)
    }

    /// The engine has finished one of its operations.
    pub(super) fn keeper_engine_done(&mut self, ticket: u64, result: Result<Outcome, StoreError>, kernel: &mut Kernel) {
        let Some(task) = self.keeping.tasks.get_mut(&ticket) else { return };
        let failed = result.as_ref().err().map(ToString::to_string);
        let Some(done) = task.done(result) else { return };
        self.keeping.tasks.remove(&ticket);
        match (&done, failed) {
            (StoreDone::Failed, Some(error)) => {
                cover!("keeper.store_failed");
                say!(kernel, "node-{}'s engine fails its keeper: {error}", self.me);
            }
            (StoreDone::Collected { gone, pruned }, _) => {
                if *gone > 0 {
                    cover!("collect.tombstone_gone");
                    say!(kernel, "node-{} collects {gone} tombstones that all homes have", self.me);
                }
                if *pruned > 0 {
                    cover!("collect.actor_retired");
                    say!(kernel, "node-{} drops names of who is gone from {pruned} records", self.me);
                }
            }
            _ => {}
        }
        self.keeper_stored(ticket, done, kernel);
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
