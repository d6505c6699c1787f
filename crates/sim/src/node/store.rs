//! A node's store without threads: the simulator's `storage/src/store/{open,writer,syncer}.rs`, over a simulated disk.
//!
//! What waits is applied as one batch and committed; what has to be durable waits for a sync, which covers what was
//! committed before it began.

use std::sync::Arc;

use dynamo_storage::{
    Applied, DiskState, Op, Outcome, RecordKey, StoreError,
    counters::Totals,
    engine::{Batch, Engine, EngineError, Reading, Space},
    epochs::Epochs,
    plan::{PlanSettings, Planned, Planner},
    record::Record,
};
use dynamo_version::SiblingSet;

use super::{Done, Step};
use crate::{
    coverage::cover,
    disk::SimDisk,
    known_bad::KnownBad,
    plan::{DurabilityPlan, Plan},
    world::{EPOCH_MS, Kernel, id_of},
};

const BATCH_OPS_MAX: usize = 512;
/// How often free space is looked at, microseconds.
const PROBE_US: u64 = 100_000;
const REOPEN_MIN_US: u64 = 500_000;
const REOPEN_MAX_US: u64 = 30_000_000;
/// Looks (of 100 ms) between syncs that nobody waits for.
const BACKGROUND_LOOKS: u32 = 10;
/// Age at which the known-bad variant collects tombstones, milliseconds.
const TOMBSTONE_AGE_MS: u64 = 3_000;

/// What stands beside the engine: how far it had been durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HighWater {
    pub commit: u64,
    pub epochs_end: u64,
    pub clean: bool,
}

/// What a start finds beside the engine.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenFacts {
    pub high_water: Option<HighWater>,
}

/// What the engine has done.
pub enum StoreNews {
    /// A request's version is minted and with the operating system.
    Applied {
        id: u64,
        applied: Applied,
    },
    Done {
        done: Done,
        result: Result<Outcome, StoreError>,
    },
}

pub struct Store {
    disk: Arc<SimDisk>,
    totals: Totals,
    epochs: Epochs,
    settings: PlanSettings,
    durability: DurabilityPlan,
    known_bad: Option<KnownBad>,
    high_water: HighWater,
    waiting: Vec<(Op, Done)>,
    applying: bool,
    unsynced: Vec<(Done, Outcome)>,
    /// What the sync under way covers, and the commit that it began at.
    syncing: Option<(Vec<(Done, Outcome)>, u64)>,
    synced: u64,
    broken: bool,
    full: bool,
    probed_us: u64,
    reopen_at_us: u64,
    reopen_wait_us: u64,
}

impl Store {
    pub fn open(
        disk: Arc<SimDisk>,
        plan: &Plan,
        me: u8,
        incarnation: u64,
        facts: OpenFacts,
        kernel: &mut Kernel,
    ) -> Result<Self, StoreError> {
        let failing = |error: EngineError| StoreError::DiskFailing(error.to_string());
        let found = Totals::load(&*disk).map_err(failing)?;
        let known = facts.high_water;
        let mut epochs = Epochs::load(&*disk, known.map_or(0, |known| known.epochs_end)).map_err(failing)?;
        examine(&found, known, &mut epochs);
        let mut batch = Batch::new();
        let epochs = epochs.reserve(&mut batch);
        let mut totals = found.clone();
        totals.commit = found.commit.max(known.map_or(0, |known| known.commit)) + 1;
        totals.store(&found, &mut batch);
        disk.commit(batch).and_then(|()| disk.sync()).map_err(failing)?;
        let settings = PlanSettings {
            node: id_of(me).0,
            incarnation,
            hints_bytes_max: plan.cluster.hints_bytes_max,
            siblings_max: plan.cluster.siblings_max.into(),
        };
        Ok(Self {
            disk,
            high_water: HighWater { commit: totals.commit, epochs_end: epochs.end(), clean: false },
            synced: totals.commit,
            totals,
            epochs,
            settings,
            durability: plan.cluster.durability,
            known_bad: kernel.known_bad,
            waiting: Vec::new(),
            applying: false,
            unsynced: Vec::new(),
            syncing: None,
            broken: false,
            full: false,
            probed_us: 0,
            reopen_at_us: 0,
            reopen_wait_us: REOPEN_MIN_US,
        })
    }

    /// Whether an engine write with this `sync` is on stable storage when it is done (§6.1).
    pub fn is_durable(&self, sync: bool) -> bool {
        match self.durability {
            DurabilityPlan::Fsync => true,
            DurabilityPlan::OneFsync => sync,
            DurabilityPlan::Interval => false,
        }
    }

    /// Takes an operation; true if the engine has to be told that there is one.
    pub fn submit(&mut self, op: Op, done: Done) -> bool {
        self.waiting.push((op, done));
        !std::mem::replace(&mut self.applying, true)
    }

    /// Applies what waits.
    pub fn apply(&mut self, kernel: &mut Kernel) -> Vec<StoreNews> {
        self.applying = false;
        self.look_after_disk(kernel.now);
        let mut waiting = std::mem::take(&mut self.waiting);
        if waiting.len() > 1 {
            cover!("store.batched");
        }
        let mut news = Vec::with_capacity(waiting.len() * 2);
        let batch_ops_max = if self.known_bad == Some(KnownBad::NoKeyEpochs) { 1 } else { BATCH_OPS_MAX };
        while !waiting.is_empty() {
            let rest = waiting.split_off(waiting.len().min(batch_ops_max));
            self.apply_batch(waiting, kernel.now, &mut news);
            waiting = rest;
        }
        if self.known_bad == Some(KnownBad::TombstonesByAge) {
            self.collect_by_age(kernel.now);
        }
        news
    }

    fn apply_batch(&mut self, ops: Vec<(Op, Done)>, now: u64, news: &mut Vec<StoreNews>) {
        let writes = ops.iter().filter(|(op, _)| matches!(op, Op::Write { .. })).count() as u64;
        let mut refused = self.refusal();
        if refused.is_none() && writes > self.epochs.left() && !self.reserve_epochs(now) {
            refused = Some(StoreError::DiskFailing("key epochs could not be reserved".into()));
        }
        let kept_epochs = (self.known_bad == Some(KnownBad::NoKeyEpochs)).then(|| self.epochs.clone());
        let mut taken = Vec::with_capacity(ops.len());
        let disk = self.disk.clone();
        let mut planner = Planner::new(&*disk, self.settings, &self.totals, &mut self.epochs);
        for (op, done) in ops {
            let error = refused.as_ref().filter(|_| self.broken || takes_space(&op));
            if let Some(error) = error {
                news.push(StoreNews::Done { done, result: Err(error.clone()) });
                continue;
            }
            let sync = waits_for_sync(&op, self.durability) && self.known_bad != Some(KnownBad::AckBeforeDisk);
            match planner.add(op) {
                Ok(outcome) => taken.push((done, outcome, sync)),
                Err(error) => {
                    match error {
                        StoreError::HintsFull { .. } => cover!("store.hints_full"),
                        StoreError::TooManySiblings { .. } => cover!("put.too_many_siblings"),
                        _ => {}
                    }
                    news.push(StoreNews::Done { done, result: Err(error) });
                }
            }
        }
        let planned = planner.finish(&self.totals);
        if let Some(epochs) = kept_epochs {
            self.epochs = epochs;
        }
        self.commit(planned, taken, now, news);
    }

    fn commit(&mut self, planned: Planned, taken: Vec<(Done, Outcome, bool)>, now: u64, news: &mut Vec<StoreNews>) {
        let Planned { batch, totals } = planned;
        if !batch.is_empty() {
            if let Err(error) = self.disk.commit(batch) {
                let error = self.broke(&error, now);
                let failed = |(done, ..): (Done, Outcome, bool)| StoreNews::Done { done, result: Err(error.clone()) };
                return news.extend(taken.into_iter().map(failed));
            }
            self.totals = totals;
        }
        for (done, outcome, sync) in taken {
            if let (Outcome::Applied(applied), Done::Local { id, step: Step::Mint, .. }) = (&outcome, &done) {
                news.push(StoreNews::Applied { id: *id, applied: applied.clone() });
            }
            if sync {
                self.unsynced.push((done, outcome));
            } else {
                news.push(StoreNews::Done { done, result: Ok(outcome) });
            }
        }
    }

    fn reserve_epochs(&mut self, now: u64) -> bool {
        let mut batch = Batch::new();
        let next = self.epochs.reserve(&mut batch);
        let mut totals = self.totals.clone();
        totals.commit += 1;
        totals.store(&self.totals, &mut batch);
        match self.disk.commit(batch).and_then(|()| self.disk.sync()) {
            Ok(()) => {
                self.epochs = next;
                self.totals = totals;
                self.high_water.epochs_end = self.epochs.end();
                true
            }
            Err(error) => {
                self.broke(&error, now);
                false
            }
        }
    }

    fn refusal(&self) -> Option<StoreError> {
        match (self.full, self.broken) {
            (true, _) => Some(StoreError::DiskFull),
            (false, true) => Some(StoreError::DiskFailing("writes are off after an earlier error".into())),
            (false, false) => None,
        }
    }

    fn broke(&mut self, error: &EngineError, now: u64) -> StoreError {
        let short_of_space =
            matches!(error, EngineError::NoSpace) || (matches!(error, EngineError::Broken) && self.disk.is_full());
        if short_of_space {
            cover!("disk.full");
        }
        self.broken = true;
        self.full |= short_of_space;
        self.reopen_at_us = now + self.reopen_wait_us;
        if short_of_space { StoreError::DiskFull } else { StoreError::DiskFailing(error.to_string()) }
    }

    /// What the applying thread does every 100 ms: free space, and a broken engine.
    pub fn look_after_disk(&mut self, now: u64) {
        if now >= self.probed_us + PROBE_US {
            self.probed_us = now;
            self.full = self.disk.is_full();
        }
        if self.broken && !self.full && now >= self.reopen_at_us {
            self.reopen(now);
        }
    }

    fn reopen(&mut self, now: u64) {
        let committed = self.totals.commit;
        let Ok(totals) = self.disk.reopen().and_then(|()| Totals::load(&*self.disk)) else {
            self.reopen_wait_us = (self.reopen_wait_us * 2).min(REOPEN_MAX_US);
            self.reopen_at_us = now + self.reopen_wait_us;
            return;
        };
        cover!("disk.reopened");
        let lost = totals.commit < committed;
        if lost {
            self.epochs.raise_floor();
        }
        self.totals = Totals { commit: totals.commit.max(committed), ..totals };
        self.broken = false;
        self.reopen_wait_us = REOPEN_MIN_US;
        if lost {
            self.reserve_epochs(now);
        }
    }

    pub fn wants_sync(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// Whether it is time for a sync that nobody waits for.
    pub fn wants_background_sync(&self, looks: u32) -> bool {
        let due = self.durability == DurabilityPlan::Interval || looks.is_multiple_of(BACKGROUND_LOOKS);
        due && self.totals.commit > self.synced
    }

    /// Begins a sync; false if one is under way.
    pub fn begin_sync(&mut self) -> bool {
        if self.syncing.is_some() {
            return false;
        }
        self.disk.begin_sync();
        self.syncing = Some((std::mem::take(&mut self.unsynced), self.totals.commit));
        true
    }

    /// The sync is over.
    pub fn synced(&mut self) -> Vec<StoreNews> {
        let Some((waiting, commit)) = self.syncing.take() else { return Vec::new() };
        let result = match self.disk.sync() {
            Ok(()) => {
                self.synced = commit;
                self.high_water.commit = commit;
                Ok(())
            }
            Err(error) => {
                cover!("disk.sync_failed");
                Err(StoreError::DiskFailing(error.to_string()))
            }
        };
        let news = |(done, outcome)| StoreNews::Done { done, result: result.clone().map(|()| outcome) };
        waiting.into_iter().map(news).collect()
    }

    pub fn disk_state(&self) -> DiskState {
        match (self.full, self.broken) {
            (true, _) => DiskState::Full,
            (false, true) => DiskState::Failing,
            (false, false) => DiskState::Ok,
        }
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    pub fn hints_held(&self) -> u64 {
        self.totals.hints.values().map(|hints| hints.count).sum()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.unsynced.len() + self.syncing.as_ref().map_or(0, |(waiting, _)| waiting.len())
    }

    pub fn high_water(&self) -> HighWater {
        self.high_water
    }

    pub fn disk(&self) -> &dyn Reading {
        &*self.disk
    }

    /// Ends in order.
    pub fn close(self) -> HighWater {
        let clean = !self.broken && self.disk.sync().is_ok();
        HighWater { clean, commit: if clean { self.totals.commit } else { self.high_water.commit }, ..self.high_water }
    }

    /// Known-bad variants alone: a record goes, whatever it holds.
    pub fn forget(&mut self, key: &RecordKey) {
        let slot = key.as_bytes();
        let Ok(Some(bytes)) = self.disk.get(Space::Data, slot) else { return };
        let length = slot.len() + bytes.len();
        let deleted = Record::decode(slot, bytes)
            .ok()
            .and_then(|record| SiblingSet::decode(record.set).ok())
            .is_some_and(|set| set.is_deleted());
        let before = self.totals.clone();
        self.totals.keys -= 1;
        self.totals.tombstones -= u64::from(deleted);
        self.totals.bytes -= length as u64;
        self.totals.commit += 1;
        let mut batch = Batch::new();
        batch.delete(Space::Data, slot.clone());
        self.totals.store(&before, &mut batch);
        if self.disk.commit(batch).is_err() {
            self.totals = before;
        }
    }

    fn collect_by_age(&mut self, now: u64) {
        let horizon = (EPOCH_MS + now / 1000).saturating_sub(TOMBSTONE_AGE_MS);
        for (slot, bytes) in self.disk.entries(Space::Data) {
            let Ok(record) = Record::decode(&slot, bytes) else { continue };
            let Ok(set) = SiblingSet::decode(record.set) else { continue };
            if set.is_deleted()
                && set.max_timestamp().wall_ms() < horizon
                && let Ok(key) = RecordKey::decode(&slot)
            {
                self.forget(&key);
            }
        }
    }
}

/// Compares what the engine has with what it should have.
fn examine(found: &Totals, known: Option<HighWater>, epochs: &mut Epochs) {
    let new = known.is_none() && found.commit == 0;
    let lost_tail = found.commit < known.map_or(0, |known| known.commit) || (known.is_none() && !new);
    let clean = new || known.is_some_and(|known| known.clean && known.commit == found.commit);
    if !clean || lost_tail {
        cover!("store.opened_unclean");
        epochs.raise_floor();
    } else if !new {
        cover!("store.opened_clean");
    }
}

/// On a full disk, what frees space or is tiny is still taken.
fn takes_space(op: &Op) -> bool {
    match op {
        Op::Write { .. } | Op::Merge { .. } | Op::KeepHint { .. } => true,
        Op::DropHint { .. } => false,
        Op::PutMeta { value, .. } => value.as_ref().is_some_and(|value| value.len() > 64 << 10),
    }
}

fn waits_for_sync(op: &Op, durability: DurabilityPlan) -> bool {
    match (op, durability) {
        (Op::DropHint { .. }, _) => false,
        (Op::PutMeta { .. }, _) => true,
        (_, DurabilityPlan::Fsync) => true,
        (_, DurabilityPlan::Interval) => false,
        (Op::Write { sync, .. } | Op::Merge { sync, .. }, DurabilityPlan::OneFsync) => *sync,
        (Op::KeepHint { .. }, DurabilityPlan::OneFsync) => false,
    }
}
