//! Opening a store's files and starting its threads, and ending it in order.

use super::syncer::{self, BATCHES_WAITING_MAX};
use super::writer::{Health, Writer};
use super::{Completion, Durability, Identity, Shared, Store, Threads, reader};
use crate::core::{Core, CoreSettings, OpenFacts, Opened, check_shape};
use crate::directory::DataDir;
use crate::engine::{Engine, FjallEngine, FjallSettings, MemoryEngine};
use crate::error::StoreError;
use crate::highwater::{HighWater, HighWaterFile};
use crate::space::{SpaceProbe, disk_probe};
use crossbeam_channel::bounded;
use dynamo_merkle::Shape;
use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
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
    /// The shape of the hash trees (§4.7), the same at all nodes; no deeper than
    /// [`TREE_DEPTH_MAX`](crate::TREE_DEPTH_MAX). Opened with another one, a store builds its trees anew.
    pub tree_shape: Shape,
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
            tree_shape: Shape::default(),
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
        check_shape(self.tree_shape)
    }
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
    let (file, facts) = match high_water {
        Some((file, Some(state))) => (Some(file), OpenFacts::Found(state)),
        Some((file, None)) => (Some(file), OpenFacts::Missing),
        None => (None, OpenFacts::NothingKept),
    };
    let core_settings = CoreSettings {
        identity,
        hints_bytes_max: settings.hints_bytes_max,
        siblings_max: settings.siblings_max,
        tree_shape: settings.tree_shape,
    };
    let (core, opened) =
        Core::try_open(engine, core_settings, facts).map_err(|error| StoreError::opening(&place, error))?;
    let high_water = match file {
        None => None,
        Some(mut file) => {
            let written = file.write(core.high_water()).and_then(|()| file.sync());
            written.map_err(|error| StoreError::unusable(&place, &error))?;
            Some(Mutex::new(file))
        }
    };
    let shared = Arc::new(Shared {
        live: core.live().clone(),
        settings,
        incarnation: AtomicU64::new(identity.incarnation),
        queued_bytes: AtomicUsize::new(0),
        submitting: AtomicUsize::new(0),
        closing: AtomicBool::new(false),
        high_water,
    });
    let store = spawn(shared, directory, core, probe).map_err(|error| StoreError::unusable(&place, &error))?;
    Ok((store, opened))
}

fn spawn<C: Completion>(
    shared: Arc<Shared>,
    directory: Option<DataDir>,
    core: Core,
    probe: Box<dyn SpaceProbe>,
) -> io::Result<Store<C>> {
    let (ops, ops_rx) = bounded(shared.settings.queue_ops);
    let (reads, reads_rx) = bounded(shared.settings.queue_ops);
    let (unsynced, unsynced_rx) = bounded(BATCHES_WAITING_MAX);
    let named = |name: &str| std::thread::Builder::new().name(name.into());
    let writer = Writer { shared: shared.clone(), ops: ops_rx, unsynced, core, health: Health::new(probe) };
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
    let commit = shared.live.counters.commits();
    let clean = healthy && shared.live.engine.sync().is_ok();
    shared.live.engine.close();
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
