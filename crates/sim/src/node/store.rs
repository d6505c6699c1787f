//! A node's store without threads: the simulator's `storage/src/store/{open,writer,syncer}.rs`, driving
//! `dynamo_storage::Core` over a simulated disk.
//!
//! What waits is applied as one batch and committed; what has to be durable waits for a sync, which covers what was
//! committed before it began.

use std::{collections::BTreeMap, sync::Arc};

use dynamo_merkle::{Shape as TreeShape, Tree};
use dynamo_ring::{NodeId, Partition};
use dynamo_storage::{
    Applied, Core, CoreSettings, DiskState, Durability, HighWater, HintCount, Identity, Op, OpenFacts, Opened, Outcome,
    Read, RecordKey, StoreError,
    engine::{Engine, Space},
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
/// Few leaves, so that leaves with several keys occur with the few keys of a run.
const TREE_SHAPE: TreeShape = TreeShape::new(2).unwrap();

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
    core: Core,
    durability: DurabilityPlan,
    known_bad: Option<KnownBad>,
    high_water: HighWater,
    waiting: Vec<(Op, Done)>,
    applying: bool,
    unsynced: Vec<(Done, Outcome)>,
    /// What the sync under way covers, and the commit that it began at.
    syncing: Option<(Vec<(Done, Outcome)>, u64)>,
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
        found: Option<HighWater>,
        kernel: &mut Kernel,
    ) -> Result<(Self, Opened), StoreError> {
        let settings = CoreSettings {
            identity: Identity { node: id_of(me).0, incarnation },
            hints_bytes_max: plan.cluster.hints_bytes_max,
            siblings_max: plan.cluster.siblings_max.into(),
            tree_shape: TREE_SHAPE,
        };
        let facts = found.map_or(OpenFacts::Missing, OpenFacts::Found);
        let (core, opened) = Core::open(disk.clone(), settings, facts)?;
        if !opened.clean || opened.lost_tail {
            cover!("store.opened_unclean");
        } else if !opened.new {
            cover!("store.opened_clean");
        }
        if opened.lost_tail {
            cover!("store.lost_tail");
        }
        let store = Self {
            disk,
            high_water: core.high_water(),
            core,
            durability: plan.cluster.durability,
            known_bad: kernel.known_bad,
            waiting: Vec::new(),
            applying: false,
            unsynced: Vec::new(),
            syncing: None,
            full: false,
            probed_us: 0,
            reopen_at_us: 0,
            reopen_wait_us: REOPEN_MIN_US,
        };
        Ok((store, opened))
    }

    /// The node has begun another life on a disk that lost what was durable.
    pub fn loss_is_known(&mut self) {
        self.high_water.lost = false;
    }

    /// From now on dots are minted under another name.
    pub fn set_incarnation(&mut self, incarnation: u64) {
        self.core.set_incarnation(incarnation);
    }

    /// How much is durable.
    pub fn durable(&self) -> u64 {
        self.high_water.commit
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

    fn apply_batch(&mut self, waiting: Vec<(Op, Done)>, now: u64, news: &mut Vec<StoreNews>) {
        let refused = self.refusal();
        let (mut ops, mut dones) = (Vec::with_capacity(waiting.len()), Vec::with_capacity(waiting.len()));
        for (op, done) in waiting {
            if let Some(error) = refused.as_ref().filter(|_| self.core.is_broken() || takes_space(&op)) {
                news.push(StoreNews::Done { done, result: Err(error.clone()) });
                continue;
            }
            let acked_early = self.known_bad == Some(KnownBad::AckBeforeDisk);
            dones.push((done, op.waits_for_sync(durability(self.durability)) && !acked_early));
            ops.push(op);
        }
        let results = self.apply_to_core(ops);
        let told = self.core.is_broken().then(|| self.broke(&results, now)).flatten();
        for ((done, sync), result) in dones.into_iter().zip(results) {
            let result = match &told {
                Some(error) => result.and(Err(error.clone())),
                None => result,
            };
            self.tell(done, sync, result, news);
        }
        self.high_water.epochs_end = self.core.high_water().epochs_end;
    }

    fn apply_to_core(&mut self, ops: Vec<Op>) -> Vec<Result<Outcome, StoreError>> {
        if ops.is_empty() {
            return Vec::new();
        }
        #[cfg(feature = "known-bad")]
        if self.known_bad == Some(KnownBad::NoKeyEpochs) {
            let before = self.core.epochs_mut().clone();
            let results = self.core.apply(ops);
            *self.core.epochs_mut() = before;
            return results;
        }
        self.core.apply(ops)
    }

    fn tell(&mut self, done: Done, sync: bool, result: Result<Outcome, StoreError>, news: &mut Vec<StoreNews>) {
        if let (Ok(Outcome::Applied(applied)), Done::Local { id, step: Step::Mint, .. }) = (&result, &done) {
            news.push(StoreNews::Applied { id: *id, applied: applied.clone() });
        }
        match result {
            Ok(outcome) if sync => self.unsynced.push((done, outcome)),
            result => {
                match &result {
                    Err(StoreError::HintsFull { .. }) => cover!("store.hints_full"),
                    Err(StoreError::Sealed { .. }) => cover!("store.sealed"),
                    Err(StoreError::TooManySiblings { .. }) => cover!("put.too_many_siblings"),
                    _ => {}
                }
                news.push(StoreNews::Done { done, result });
            }
        }
    }

    fn refusal(&self) -> Option<StoreError> {
        match (self.full, self.core.is_broken()) {
            (true, _) => Some(StoreError::DiskFull),
            (false, true) => Some(StoreError::DiskFailing("writes are off after an earlier error".into())),
            (false, false) => None,
        }
    }

    /// The engine has failed: what those are told whose operations were in the batch.
    fn broke(&mut self, results: &[Result<Outcome, StoreError>], now: u64) -> Option<StoreError> {
        if results.is_empty() {
            return None;
        }
        self.reopen_at_us = now + self.reopen_wait_us;
        let short_of_space = self.disk.is_full();
        if short_of_space {
            cover!("disk.full");
        }
        self.full |= short_of_space;
        Some(if short_of_space {
            StoreError::DiskFull
        } else {
            StoreError::DiskFailing("the engine refuses writes after an earlier disk error".into())
        })
    }

    /// What the applying thread does every 100 ms: free space, and a broken engine.
    pub fn look_after_disk(&mut self, now: u64) {
        if now >= self.probed_us + PROBE_US {
            self.probed_us = now;
            self.full = self.disk.is_full();
        }
        if self.core.is_broken() && !self.full && now >= self.reopen_at_us {
            self.reopen(now);
        }
    }

    fn reopen(&mut self, now: u64) {
        if self.core.reopen().is_err() {
            self.reopen_wait_us = (self.reopen_wait_us * 2).min(REOPEN_MAX_US);
            self.reopen_at_us = now + self.reopen_wait_us;
            return;
        }
        cover!("disk.reopened");
        self.reopen_wait_us = REOPEN_MIN_US;
        self.high_water.epochs_end = self.core.high_water().epochs_end;
    }

    pub fn wants_sync(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// Whether it is time for a sync that nobody waits for.
    pub fn wants_background_sync(&self, looks: u32) -> bool {
        let due = self.durability == DurabilityPlan::Interval || looks.is_multiple_of(BACKGROUND_LOOKS);
        due && self.core.counters().commits() > self.high_water.commit
    }

    /// Begins a sync; false if one is under way.
    pub fn begin_sync(&mut self) -> bool {
        if self.syncing.is_some() {
            return false;
        }
        self.disk.begin_sync();
        self.syncing = Some((std::mem::take(&mut self.unsynced), self.core.counters().commits()));
        true
    }

    /// The sync is over. It covers what was committed when it began, so that `Core::sync`, which knows of no duration, is
    /// not what ends it.
    pub fn synced(&mut self) -> Vec<StoreNews> {
        let Some((waiting, commit)) = self.syncing.take() else { return Vec::new() };
        let result = match self.disk.end_sync() {
            Ok(()) => {
                self.high_water.commit = commit;
                Ok(())
            }
            Err(error) => {
                cover!("disk.sync_failed");
                // It fails as well, and the core knows then that its engine has to be opened again.
                let told = self.core.sync();
                assert!(told.is_err(), "the disk took a sync right after one that failed");
                Err(StoreError::DiskFailing(error.to_string()))
            }
        };
        let news = |(done, outcome)| StoreNews::Done { done, result: result.clone().map(|()| outcome) };
        waiting.into_iter().map(news).collect()
    }

    pub fn disk_state(&self) -> DiskState {
        match (self.full, self.core.is_broken()) {
            (true, _) => DiskState::Full,
            (false, true) => DiskState::Failing,
            (false, false) => DiskState::Ok,
        }
    }

    pub fn read(&self, read: &Read) -> Result<Outcome, StoreError> {
        self.core.read(read)
    }

    /// Records, tombstones and their bytes.
    pub fn load(&self) -> (u64, u64, u64) {
        let counters = self.core.counters();
        (counters.keys(), counters.tombstones(), counters.bytes())
    }

    pub fn hints_held(&self) -> u64 {
        self.core.counters().hints()
    }

    pub fn hints_by_target(&self) -> Arc<BTreeMap<NodeId, HintCount>> {
        self.core.counters().hints_by_target()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.unsynced.len() + self.syncing.as_ref().map_or(0, |(waiting, _)| waiting.len())
    }

    pub fn high_water(&self) -> HighWater {
        self.high_water
    }

    /// The lowest epoch under which this node still takes requests as a home of the partition.
    pub fn fence(&self, partition: Partition) -> u64 {
        self.core.fence(partition)
    }

    /// A partition's hash tree, as of the last commit.
    pub fn with_tree<T>(&self, partition: Partition, read: impl FnOnce(&Tree) -> T) -> T {
        self.core.with_tree(partition, read)
    }

    /// Known-bad variants alone: a tree that every third key is missing in.
    pub fn tree_without_some(&self, partition: Partition) -> Tree {
        let mut tree = self.with_tree(partition, Tree::clone);
        for (slot, bytes) in self.disk.entries(Space::Data) {
            let (Ok(key), Ok(record)) = (RecordKey::decode(&slot), Record::decode(&slot, bytes)) else { continue };
            if key.partition() == partition && key.tree_hash() % 3 == 0 {
                tree.apply(key.tree_hash(), Some(record.digest), None);
            }
        }
        tree
    }

    /// Ends in order.
    pub fn close(self) -> HighWater {
        let clean = !self.core.is_broken() && self.disk.sync().is_ok();
        let commit = if clean { self.core.counters().commits() } else { self.high_water.commit };
        HighWater { clean, commit, ..self.high_water }
    }

    /// Known-bad variants alone: a record goes, whatever it holds (its damage is what lets it).
    pub fn forget(&mut self, key: &RecordKey) {
        if self.disk.damage(Space::Data, key.as_bytes()) {
            self.core.apply(vec![Op::Mend { key: key.clone() }]);
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

/// On a full disk, what frees space or is tiny is still taken.
fn takes_space(op: &Op) -> bool {
    match op {
        Op::Write { .. } | Op::Merge { .. } | Op::KeepHint { .. } => true,
        Op::PutMeta { value, .. } => value.as_ref().is_some_and(|value| value.len() > 64 << 10),
        _ => false,
    }
}

fn durability(plan: DurabilityPlan) -> Durability {
    match plan {
        DurabilityPlan::Fsync => Durability::Fsync,
        DurabilityPlan::OneFsync => Durability::OneFsync,
        DurabilityPlan::Interval => Durability::Interval { ms: 100 },
    }
}
