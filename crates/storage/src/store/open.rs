//! Opening a store, finding out what happened to it since, and ending it in order.

use super::syncer::{self, BATCHES_WAITING_MAX};
use super::writer::{Health, Writer};
use super::{Completion, Durability, Identity, Shared, Store, Threads, reader};
use crate::counters::{Counters, Totals};
use crate::directory::DataDir;
use crate::engine::{Batch, Engine, FjallEngine, FjallSettings, MemoryEngine};
use crate::epochs::Epochs;
use crate::error::StoreError;
use crate::highwater::{HighWater, HighWaterFile};
use crate::space::{SpaceProbe, disk_probe};
use crossbeam_channel::bounded;
use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tracing::{info, warn};

/// Sizes and promises of a store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When an operation counts as done.
    pub durability: Durability,
    /// Block cache of the engine, bytes.
    pub cache_bytes: u64,
    /// Size at which a memtable is written out, bytes; a few may wait in memory.
    pub memtable_bytes: u64,
    /// Journals are shortened when they exceed this, bytes; at least 64 MiB.
    pub journal_bytes_max: u64,
    /// Writes are refused while less is free on the disk, bytes. It is what flushing and compaction still need.
    pub reserve_bytes: u64,
    /// Hints are refused beyond this, bytes.
    pub hints_bytes_max: u64,
    /// Siblings of a key, above which a write that supersedes none of them is refused.
    pub siblings_max: usize,
    /// Operations that may wait, and questions that may wait.
    pub queue_ops: usize,
    /// Bytes of operations that may wait.
    pub queue_bytes: usize,
    /// Operations in one batch.
    pub batch_ops_max: usize,
    /// Bytes in one batch, about.
    pub batch_bytes_max: usize,
    /// Threads that answer questions.
    pub read_threads: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            durability: Durability::Fsync,
            cache_bytes: 64 << 20,
            memtable_bytes: 32 << 20,
            journal_bytes_max: 256 << 20,
            reserve_bytes: 256 << 20,
            hints_bytes_max: 1 << 30,
            siblings_max: 1000,
            queue_ops: 4096,
            queue_bytes: 64 << 20,
            batch_ops_max: 512,
            batch_bytes_max: 2 << 20,
            read_threads: 2,
        }
    }
}

impl Settings {
    fn check(&self) -> Result<(), StoreError> {
        let sizes = [self.queue_ops, self.queue_bytes, self.batch_ops_max, self.batch_bytes_max, self.read_threads];
        if sizes.contains(&0) {
            return Err(StoreError::Settings(
                "queue_ops, queue_bytes, batch_ops_max, batch_bytes_max and read_threads must be at least 1".into(),
            ));
        }
        if self.batch_ops_max as u64 > crate::epochs::BLOCK {
            return Err(StoreError::Settings("batch_ops_max must not exceed 65536".into()));
        }
        Ok(())
    }
}

/// What an open found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The store was made now.
    pub new: bool,
    /// The last run ended in order. If not, minting memories from before are not used any more.
    pub clean: bool,
    /// Something that was durable is gone: the engine's last commit is older than the high-water file says. The node must
    /// not count on what it had acknowledged; its replicas have it.
    pub lost_tail: bool,
    /// The last commit found.
    pub commit: u64,
    /// The last commit that was known to be durable.
    pub high_water: u64,
    /// See [`Epochs::floor`].
    pub epoch_floor: u64,
}

impl<C: Completion> Store<C> {
    /// Opens or makes the store in a directory, asking the file system for free space.
    ///
    /// # Errors
    /// Damaged or missing files, an unusable disk, senseless settings. Nothing was changed except unfinished ends of journals.
    pub fn open(dir: DataDir, settings: Settings, identity: Identity) -> Result<(Store<C>, Opened), StoreError> {
        let probe = disk_probe(dir.path());
        Store::open_with_probe(dir, settings, identity, probe)
    }

    /// As [`Store::open`], with another source of truth about free space.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with_probe(
        dir: DataDir,
        settings: Settings,
        identity: Identity,
        probe: impl SpaceProbe,
    ) -> Result<(Store<C>, Opened), StoreError> {
        settings.check()?;
        let (file, high_water) = open_high_water(&dir)?;
        let path = dir.engine_path();
        if high_water.is_none() {
            clear_unfinished(&path).map_err(|error| StoreError::unusable(&path, &error))?;
        }
        let engine = FjallEngine::open(FjallSettings {
            cache_bytes: settings.cache_bytes,
            memtable_bytes: settings.memtable_bytes,
            journal_bytes_max: settings.journal_bytes_max,
            must_exist: high_water.is_some(),
            sync_failed_before: high_water.is_some_and(|state| state.sync_failed),
            ..FjallSettings::new(path)
        })
        .map_err(|error| StoreError::opening(dir.path(), error))?;
        let file = Some((file, high_water));
        start(Arc::new(engine), Some(dir), file, settings, identity, Box::new(probe))
    }

    /// A store over an engine in memory: nothing outlives the engine.
    ///
    /// # Errors
    /// Senseless settings.
    pub fn in_memory(
        engine: MemoryEngine,
        settings: Settings,
        identity: Identity,
        probe: impl SpaceProbe,
    ) -> Result<(Store<C>, Opened), StoreError> {
        settings.check()?;
        start(Arc::new(engine), None, None, settings, identity, Box::new(probe))
    }
}

fn open_high_water(dir: &DataDir) -> Result<(HighWaterFile, Option<HighWater>), StoreError> {
    let path = dir.high_water_path();
    HighWaterFile::open(&path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => {
            StoreError::Damaged { path: dir.path().to_path_buf(), what: format!("{}: {error}", path.display()) }
        }
        _ => StoreError::unusable(path, &error),
    })
}

/// Removes what a first opening left that was killed before it could store anything: fjall refuses to go on from there.
fn clear_unfinished(path: &Path) -> io::Result<()> {
    let tree: PathBuf = path.join("keyspaces").join("1");
    if path.exists() && !path.join("version").exists() && !tree.exists() {
        std::fs::remove_dir_all(path)?;
    }
    Ok(())
}

type HighWaterFound = (HighWaterFile, Option<HighWater>);

fn start<C: Completion>(
    engine: Arc<dyn Engine>,
    directory: Option<DataDir>,
    high_water: Option<HighWaterFound>,
    settings: Settings,
    identity: Identity,
    probe: Box<dyn SpaceProbe>,
) -> Result<(Store<C>, Opened), StoreError> {
    let place = directory.as_ref().map_or_else(|| PathBuf::from("(memory)"), |dir| dir.path().to_path_buf());
    let failed = |error| StoreError::opening(&place, error);
    let found = Totals::load(&*engine).map_err(failed)?;
    let (file, known) = match high_water {
        Some((file, known)) => (Some(file), known),
        None => (None, None),
    };
    let mut epochs = Epochs::load(&*engine, known.map_or(0, |known| known.epochs_end)).map_err(failed)?;
    let opened = examine(&found, known, file.is_some(), &mut epochs);

    // A block of epochs, durable before anything is minted; its commit also ends the validity of a clean mark.
    let mut batch = Batch::new();
    let epochs = epochs.reserve(&mut batch);
    let mut totals = found.clone();
    totals.commit = found.commit.max(opened.high_water) + 1;
    totals.store(&found, &mut batch);
    engine.commit(batch).and_then(|()| engine.sync()).map_err(failed)?;
    let file = match file {
        None => None,
        Some(mut file) => {
            let state = HighWater { commit: totals.commit, epochs_end: epochs.end(), clean: false, sync_failed: false };
            file.write(state).and_then(|()| file.sync()).map_err(|error| StoreError::unusable(&place, &error))?;
            Some(Mutex::new(file))
        }
    };

    let counters = Counters::default();
    counters.publish(&totals);
    counters.synced.store(totals.commit, Ordering::Release);
    let shared = Arc::new(Shared {
        engine,
        counters,
        settings,
        node: identity.node,
        incarnation: AtomicU64::new(identity.incarnation),
        queued_bytes: AtomicUsize::new(0),
        submitting: AtomicUsize::new(0),
        closing: AtomicBool::new(false),
        high_water: file,
    });
    let store =
        spawn(shared, directory, totals, epochs, probe).map_err(|error| StoreError::unusable(&place, &error))?;
    Ok((store, opened))
}

/// Compares what the engine has with what it should have.
fn examine(found: &Totals, known: Option<HighWater>, on_disk: bool, epochs: &mut Epochs) -> Opened {
    let new = known.is_none() && found.commit == 0;
    let high_water = known.map_or(0, |known| known.commit);
    // A high-water file that went missing cannot vouch for anything.
    let lost_tail = found.commit < high_water || (on_disk && known.is_none() && !new);
    let clean = new || known.is_some_and(|known| known.clean && known.commit == found.commit);
    if !clean || lost_tail {
        epochs.raise_floor();
    }
    let opened = Opened { new, clean, lost_tail, commit: found.commit, high_water, epoch_floor: epochs.floor() };
    if lost_tail {
        warn!(?opened, "the store lost commits that had been durable");
    } else {
        info!(?opened, "store opened");
    }
    opened
}

fn spawn<C: Completion>(
    shared: Arc<Shared>,
    directory: Option<DataDir>,
    totals: Totals,
    epochs: Epochs,
    probe: Box<dyn SpaceProbe>,
) -> io::Result<Store<C>> {
    let (ops, ops_rx) = bounded(shared.settings.queue_ops);
    let (reads, reads_rx) = bounded(shared.settings.queue_ops);
    let (unsynced, unsynced_rx) = bounded(BATCHES_WAITING_MAX);
    let named = |name: &str| std::thread::Builder::new().name(name.into());
    let writer = Writer { shared: shared.clone(), ops: ops_rx, unsynced, totals, epochs, health: Health::new(probe) };
    let writer = named("store-apply").spawn(move || writer.run())?;
    let syncer = named("store-sync").spawn({
        let shared = shared.clone();
        move || syncer::run(shared, unsynced_rx)
    })?;
    let mut readers = Vec::new();
    for _ in 0..shared.settings.read_threads {
        let (shared, questions) = (shared.clone(), reads_rx.clone());
        readers.push(named("store-read").spawn(move || reader::run(shared, questions))?);
    }
    let threads = Threads { writer, syncer, readers, _directory: directory };
    Ok(Store { shared, ops, reads, threads: Mutex::new(Some(threads)) })
}

/// The last act, when all threads have ended: the mark of a clean end, if it was one.
pub(super) fn finish(shared: &Shared, healthy: bool) {
    let commit = shared.counters.commits();
    let clean = healthy && shared.engine.sync().is_ok();
    shared.engine.close();
    if clean {
        shared.update_high_water(|state| {
            state.commit = commit;
            state.clean = true;
        });
        if let Some(file) = &shared.high_water
            && let Err(error) = file.lock().sync()
        {
            warn!(%error, "the mark of a clean end is not durable");
        }
    }
    info!(commit, clean, "store closed");
}
