//! The decisions of a store without its threads: operations become one batch, the batch is committed, and then what is
//! kept in memory of it changes.
//!
//! The applying thread of a [`Store`](crate::Store) drives this, and a simulator drives the same on one thread over an
//! engine of its own. There is no clock, no chance, no queue and no thread here, and it does not watch the disk.

use crate::answer;
use crate::counters::{Counters, Totals};
use crate::engine::{Batch, Engine, EngineError};
use crate::epochs::Epochs;
use crate::error::StoreError;
use crate::fences::Fences;
use crate::highwater::HighWater;
use crate::live::Live;
use crate::plan::{PlanSettings, Planned, Planner};
use crate::store::{Identity, Op, Outcome, Read};
use crate::table::PerPartition;
use crate::trees::load::{self, Loaded};
use crate::trees::{TREE_DEPTH_MAX, Trees};
use dynamo_merkle::{Shape, Tree};
use dynamo_ring::Partition;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tracing::{error, info, warn};

/// Identity, bounds and shape of a [`Core`].
#[derive(Clone, Copy, Debug)]
pub struct CoreSettings {
    /// Whose dots are minted.
    pub identity: Identity,
    /// Hints are refused beyond this, bytes.
    pub hints_bytes_max: u64,
    /// Siblings of a key, above which a write that supersedes none of them is refused.
    pub siblings_max: usize,
    /// The shape of the hash trees, the same at all nodes; no deeper than [`TREE_DEPTH_MAX`].
    pub tree_shape: Shape,
}

/// What is known of the last run from beside the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFacts {
    /// Nothing is kept beside the engine. Then no run but the first counts as begun after a clean end.
    NothingKept,
    /// There is a place for it, and it was empty: the store is new, or what was there is gone.
    Missing,
    /// This was found.
    Found(HighWater),
}

impl OpenFacts {
    fn high_water(self) -> Option<HighWater> {
        match self {
            OpenFacts::Found(state) => Some(state),
            OpenFacts::NothingKept | OpenFacts::Missing => None,
        }
    }
}

/// What an open found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The store was made now.
    pub new: bool,
    /// The last run ended in order. If not, minting memories from before are not used any more.
    pub clean: bool,
    /// Something that was durable is gone: the engine's last commit is older than the high-water file says, now or at an
    /// opening before after which nobody said [`Store::loss_is_known`](crate::Store::loss_is_known). The node must not
    /// count on what it had acknowledged, nor on what it had promised; its replicas have it.
    pub lost_tail: bool,
    /// The last commit found.
    pub commit: u64,
    /// The last commit that was known to be durable.
    pub high_water: u64,
    /// See [`Epochs::floor`].
    pub epoch_floor: u64,
    /// Hash trees that were built anew from the records, since their leaves could not be used.
    pub trees_rebuilt: usize,
}

/// A store without threads. See the module's text.
pub struct Core {
    live: Arc<Live>,
    settings: CoreSettings,
    totals: Totals,
    epochs: Epochs,
    /// The engine was opened again and what is in memory is not, or not wholly, of what it has.
    stale: bool,
    /// See [`Opened::lost_tail`].
    lost_tail: bool,
}

impl Core {
    /// Reads what the engine has, finds out what happened to it since the last run, and reserves key epochs durably.
    ///
    /// # Errors
    /// Damaged book-keeping, a failing engine, a shape that is too deep.
    pub fn open(
        engine: Arc<dyn Engine>,
        settings: CoreSettings,
        found: OpenFacts,
    ) -> Result<(Core, Opened), StoreError> {
        check_shape(settings.tree_shape)?;
        Core::try_open(engine, settings, found).map_err(|error| StoreError::opening(Path::new("(engine)"), error))
    }

    pub(crate) fn try_open(
        engine: Arc<dyn Engine>,
        settings: CoreSettings,
        facts: OpenFacts,
    ) -> Result<(Core, Opened), EngineError> {
        let found = Totals::load(&*engine)?;
        let mut epochs = Epochs::load(&*engine, facts.high_water().map_or(0, |known| known.epochs_end))?;
        let mut opened = examine(&found, facts, &mut epochs);
        let fences = Fences::load(&*engine)?;
        let loaded = load::load(&*engine, settings.tree_shape)?;
        let trees = Trees::new(settings.tree_shape);
        let live = Arc::new(Live {
            engine,
            counters: Counters::default(),
            trees,
            fences,
            hinted: PerPartition::new(),
            broken: AtomicBool::new(false),
        });
        let totals = Totals { commit: found.commit.max(opened.high_water), ..found };
        let mut core = Core { live, settings, totals, epochs, stale: false, lost_tail: opened.lost_tail };
        // Its commit also ends the validity of a clean mark.
        core.reserve_block(1, Batch::new())?;
        opened.trees_rebuilt = core.take_trees(loaded)?;
        core.live.sync()?;
        if opened.lost_tail {
            warn!(?opened, "the store lost commits that had been durable");
        } else {
            info!(?opened, "store opened");
        }
        Ok((core, opened))
    }

    /// Plans the operations as one batch and commits it, without a sync: what [`Op::waits_for_sync`] says must not count as
    /// done before the next [`Core::sync`]. Results come in order. When the engine fails, all that were not refused
    /// before fail with it, and so does everything after, until [`Core::reopen`].
    pub fn apply(&mut self, ops: Vec<Op>) -> Vec<Result<Outcome, StoreError>> {
        let count = ops.len();
        let writes = ops.iter().filter(|op| matches!(op, Op::Write { .. })).count();
        let mut results = Vec::with_capacity(count);
        let applied = self.try_reserve(writes).and_then(|_| self.try_apply(ops, &mut results));
        if let Err(error) = applied {
            let told = StoreError::running(&error);
            results.resize_with(count, || Err(told.clone()));
            results.iter_mut().filter(|result| result.is_ok()).for_each(|result| *result = Err(told.clone()));
        }
        results
    }

    /// As [`Core::apply`], with key epochs reserved before. Results are those of planning; they hold unless this fails.
    /// Returns the bytes that were committed.
    pub(crate) fn try_apply(
        &mut self,
        ops: impl IntoIterator<Item = Op>,
        results: &mut Vec<Result<Outcome, StoreError>>,
    ) -> Result<usize, EngineError> {
        self.check_whole()?;
        let Core { live, settings, totals, epochs, .. } = self;
        let settings = PlanSettings {
            node: settings.identity.node,
            incarnation: settings.identity.incarnation,
            hints_bytes_max: settings.hints_bytes_max,
            siblings_max: settings.siblings_max,
        };
        let mut planner = Planner::new(live, settings, totals, epochs);
        for op in ops {
            let result = planner.add(op);
            if matches!(result, Err(StoreError::Corrupt { .. })) {
                live.counters.corrupt.fetch_add(1, Ordering::Relaxed);
            }
            results.push(result);
        }
        let Planned { batch, totals, leaves, fences, floor, hinted } = planner.finish(&self.totals);
        if batch.is_empty() {
            return Ok(0);
        }
        let bytes = batch.bytes();
        let committed = self.commit(batch, totals);
        // Also after a failure: the engine may have the batch when it is opened again.
        for partition in hinted {
            self.live.hinted.get_or(partition, AtomicU64::default).fetch_add(1, Ordering::AcqRel);
        }
        committed?;
        self.live.trees.settle(&leaves);
        fences.into_iter().for_each(|(partition, epoch)| self.live.fences.raise(partition, epoch));
        self.live.fences.raise_floor(floor);
        Ok(bytes)
    }

    /// Reserves key epochs, durably, if there are too few for so many [`Op::Write`]s in one batch; says whether it did.
    /// [`Core::apply`] does it by itself: this is for who wants the sync at another time.
    ///
    /// # Errors
    /// The engine failed.
    pub fn reserve(&mut self, writes: usize) -> Result<bool, StoreError> {
        self.try_reserve(writes).map_err(|error| StoreError::running(&error))
    }

    pub(crate) fn try_reserve(&mut self, writes: usize) -> Result<bool, EngineError> {
        if writes as u64 <= self.epochs.left() {
            return Ok(false);
        }
        self.check_whole()?;
        self.reserve_block(writes as u64, Batch::new())?;
        Ok(true)
    }

    /// Makes all that was committed durable.
    ///
    /// # Errors
    /// The engine failed: nothing that waits for this may count as done.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.live.sync().map(|_| ()).map_err(|error| StoreError::running(&error))
    }

    /// Opens the engine again in place after it failed, and takes up what it has. True if commits were lost, so that
    /// minting memories from before are not used any more.
    ///
    /// # Errors
    /// It failed again.
    pub fn reopen(&mut self) -> Result<bool, StoreError> {
        self.try_reopen().map_err(|error| StoreError::running(&error))
    }

    pub(crate) fn try_reopen(&mut self) -> Result<bool, EngineError> {
        self.live.broken.store(true, Ordering::Release);
        let engine = self.live.engine.clone();
        engine.reopen()?;
        let found = Totals::load(&*engine)?;
        let (committed, commit) = (self.totals.commit, found.commit);
        // Commits that were synced before the engine failed: the next opening is told.
        self.lost_tail |= commit < self.live.counters.synced();
        if commit < committed {
            error!(committed, found = commit, "the engine lost commits while it was opened again");
            self.epochs.raise_floor();
        }
        // With the number of the last commit that is known here, the engine has what is in memory.
        if commit != committed || self.stale {
            self.stale = true;
            self.take_up(&*engine, found)?;
            self.stale = false;
        }
        self.live.broken.store(false, Ordering::Release);
        info!(commit, "the engine is open again");
        Ok(commit < committed)
    }

    /// Puts what the engine has in place of what is in memory.
    fn take_up(&mut self, engine: &dyn Engine, found: Totals) -> Result<(), EngineError> {
        let mut batch = Batch::new();
        self.live.fences.restore(engine, &mut batch)?;
        let loaded = load::load(engine, self.settings.tree_shape)?;
        // Numbers never go back: a commit number names one batch only.
        self.totals = Totals { commit: found.commit.max(self.totals.commit), ..found };
        // A raised floor, and the fences, must be durable before anything rests on them.
        self.reserve_block(1, batch)?;
        self.take_trees(loaded).map(|_| ())
    }

    /// Answers a question.
    ///
    /// # Errors
    /// Damaged records, refusals and engine errors; never "not found", which is an answer.
    pub fn read(&self, read: &Read) -> Result<Outcome, StoreError> {
        answer::answer(&*self.live.engine, &self.live, read)
    }

    /// Reads a partition's hash tree, as of the last commit. It cannot change meanwhile: be short.
    pub fn with_tree<T>(&self, partition: Partition, read: impl FnOnce(&Tree) -> T) -> T {
        self.live.trees.with(partition, read)
    }

    /// The lowest epoch under which this node still takes requests as a home of the partition; 0 at first.
    pub fn fence(&self, partition: Partition) -> u64 {
        self.live.fences.of(partition)
    }

    /// Live figures.
    pub fn counters(&self) -> &Counters {
        &self.live.counters
    }

    /// From the next batch on, dots are minted under another incarnation (the node found its disk rolled back).
    pub fn set_incarnation(&mut self, incarnation: u64) {
        self.settings.identity.incarnation = incarnation;
    }

    /// A commit or a sync failed, and all operations do until [`Core::reopen`].
    pub fn is_broken(&self) -> bool {
        self.live.broken.load(Ordering::Acquire)
    }

    /// What is to be kept beside the engine after a sync, for [`OpenFacts::Found`] at the next opening.
    pub fn high_water(&self) -> HighWater {
        let (commit, epochs_end) = (self.live.counters.synced(), self.epochs.end());
        HighWater { commit, epochs_end, clean: false, sync_failed: false, lost: self.lost_tail }
    }

    /// For variants that are known to be wrong: key epochs that may be taken twice.
    #[cfg(feature = "known-bad")]
    pub fn epochs_mut(&mut self) -> &mut Epochs {
        &mut self.epochs
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    fn check_whole(&self) -> Result<(), EngineError> {
        if self.is_broken() { Err(EngineError::Broken) } else { Ok(()) }
    }

    /// `totals` are those that hold once the batch is committed, its number among them.
    fn commit(&mut self, batch: Batch, totals: Totals) -> Result<(), EngineError> {
        if let Err(error) = self.live.engine.commit(batch) {
            self.live.broken.store(true, Ordering::Release);
            return Err(error);
        }
        self.totals = totals;
        self.live.counters.publish(&self.totals);
        Ok(())
    }

    /// Commits what concerns no record.
    fn commit_apart(&mut self, mut batch: Batch) -> Result<(), EngineError> {
        let totals = Totals { commit: self.totals.commit + 1, ..self.totals.clone() };
        totals.store(&self.totals, &mut batch);
        self.commit(batch, totals)
    }

    /// Epochs for at least so many writes, durable before the first is used.
    fn reserve_block(&mut self, writes: u64, mut batch: Batch) -> Result<(), EngineError> {
        let next = self.epochs.reserve(writes, &mut batch);
        self.commit_apart(batch)?;
        if let Err(error) = self.live.sync() {
            self.live.broken.store(true, Ordering::Release);
            return Err(error);
        }
        self.epochs = next;
        Ok(())
    }

    /// Takes trees from the disk in place of those in memory, and builds those that could not be read. Returns how many.
    fn take_trees(&mut self, loaded: Loaded) -> Result<usize, EngineError> {
        let Loaded { trees, damaged, unmarked } = loaded;
        let known = |partition: &Partition| trees.contains_key(partition) || damaged.contains(partition);
        for gone in self.live.trees.occupied().into_iter().filter(|partition| !known(partition)) {
            self.live.trees.install(gone, Tree::new(self.settings.tree_shape));
        }
        trees.into_iter().for_each(|(partition, tree)| self.live.trees.install(partition, tree));
        for &partition in &damaged {
            warn!(partition = partition.0, "the hash tree's leaves cannot be used: it is built anew from the records");
            let tree = load::build(&*self.live.engine, self.settings.tree_shape, partition)?;
            let mut batch = Batch::new();
            load::replace(&*self.live.engine, partition, &tree, &mut batch)?;
            self.commit_apart(batch)?;
            self.live.trees.install(partition, tree);
        }
        if unmarked {
            let mut batch = Batch::new();
            load::mark(self.settings.tree_shape, &mut batch);
            self.commit_apart(batch)?;
        }
        Ok(damaged.len())
    }
}

pub(crate) fn check_shape(shape: Shape) -> Result<(), StoreError> {
    if shape.depth() <= TREE_DEPTH_MAX {
        return Ok(());
    }
    Err(StoreError::Settings(format!(
        "a hash tree may have up to {TREE_DEPTH_MAX} levels, not {}: keys are ordered by 16 bits of their hash",
        shape.depth()
    )))
}

/// Compares what the engine has with what it should have.
fn examine(found: &Totals, facts: OpenFacts, epochs: &mut Epochs) -> Opened {
    let known = facts.high_water();
    let new = known.is_none() && found.commit == 0;
    let high_water = known.map_or(0, |known| known.commit);
    // A high-water file that went missing cannot vouch for anything.
    let lost_before = known.is_some_and(|known| known.lost);
    let lost_tail = lost_before || found.commit < high_water || (facts == OpenFacts::Missing && !new);
    let clean = new || known.is_some_and(|known| known.clean && known.commit == found.commit);
    if !clean || lost_tail {
        epochs.raise_floor();
    }
    let (commit, epoch_floor) = (found.commit, epochs.floor());
    Opened { new, clean, lost_tail, commit, high_water, epoch_floor, trees_rebuilt: 0 }
}
