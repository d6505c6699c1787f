//! The engine on disk, over fjall.
//!
//! One fjall keyspace holds all spaces, told apart by the first byte of the key: a batch then touches one
//! memtable and one tree, memory is bounded once, and no idle keyspace keeps old journals alive.
//!
//! Read from fjall's source (3.1), since promises are built on it:
//! - A batch commit ends with `write(2)` of the whole batch (`PersistMode::Buffer`), unless journals are persisted by
//!   hand. We leave that on: kill -9 after `commit` loses nothing.
//! - `persist(SyncData)` runs `fdatasync` with the journal lock held, so every commit waits for it. We therefore sync
//!   the journal through a file handle of our own ([`super::journal`]) and commits go on meanwhile.
//! - A failed journal write poisons the database for good; reads go on. The way back is to drop every handle and open
//!   again, which is [`FjallEngine::reopen`].
//! - When a memtable is full, a worker syncs the journal (and beyond 64 MB makes the next one) with the journal lock held:
//!   commits stand still for as long. That is most of the tail at p99.9; frequent syncs of our own leave it less to do.
//! - All changes of a batch get one sequence number, so a key must not be changed twice in a batch.
//! - A commit sleeps in steps of 100 ms while four memtables wait to be flushed, even if the flusher has died of a full
//!   disk. The committing thread would hang, so [`FjallEngine`] waits before, where it can see that and give up.

use super::journal::{self, JournalSync};
use super::{Batch, Engine, EngineError, EngineStats, Page, Reading, Scan, Space};
use bytes::Bytes;
use fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use parking_lot::RwLock;
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One keyspace for all: see the module's text.
const KEYSPACE: &str = "records";
/// fjall itself sleeps at 4; a rotation already asked for can still add one after our check.
const FLUSHES_WAITING_MAX: usize = 2;
/// fjall slows commits from 20 runs on and halts them at 30.
const LEVEL_0_RUNS_MAX: usize = 24;
const PRESSURE_POLL: Duration = Duration::from_millis(2);
/// Fewer open table files than fjall's 900: several nodes may share a machine, and a process's limit is often 1,024.
const FILES_OPEN_MAX: usize = 256;

/// Sizes of the engine on disk.
#[derive(Clone, Debug)]
pub struct FjallSettings {
    /// Folder of the database.
    pub path: PathBuf,
    /// Block cache, bytes.
    pub cache_bytes: u64,
    /// A memtable is written out when it reaches this, bytes. Up to three more of them may wait in memory.
    pub memtable_bytes: u64,
    /// Journals are shortened by flushing when they exceed this, bytes; at least 64 MiB.
    pub journal_bytes_max: u64,
    /// Threads that flush and compact. Two, so that a flush never waits for a long compaction.
    pub worker_threads: usize,
    /// The database was made before: one that is not there, or not whole, is then an error and not made anew.
    pub must_exist: bool,
    /// A sync had failed when the database was last open: rewrite its journal before anything is appended to it.
    pub sync_failed_before: bool,
}

impl FjallSettings {
    /// Defaults for several nodes on one small machine.
    pub fn new(path: impl Into<PathBuf>) -> FjallSettings {
        FjallSettings {
            path: path.into(),
            cache_bytes: 64 << 20,
            memtable_bytes: 32 << 20,
            journal_bytes_max: 256 << 20,
            worker_threads: 2,
            must_exist: false,
            sync_failed_before: false,
        }
    }
}

struct Open {
    // Field order is drop order: handles go before the database, whose drop waits for its threads.
    keyspace: Keyspace,
    journal: JournalSync,
    database: Database,
}

/// fjall behind the engine trait.
pub struct FjallEngine {
    settings: FjallSettings,
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` once closed. Readers take the read side for the length of one call; only `reopen` and `close` write.
    open: RwLock<Option<Open>>,
    /// Counts reopenings: a snapshot of an earlier opening is void.
    generation: AtomicU64,
}

impl FjallEngine {
    /// Opens or creates the database in `settings.path`.
    ///
    /// Journals whose end is damaged are cut back to their last whole batch first (fjall refuses some of them);
    /// the caller finds out what that lost by its own counters.
    pub fn open(settings: FjallSettings) -> Result<FjallEngine, EngineError> {
        if settings.sync_failed_before {
            journal::rewrite_active(&settings.path)?;
        }
        let open = open(&settings)?;
        let shared = Shared { open: RwLock::new(Some(open)), generation: AtomicU64::new(0) };
        Ok(FjallEngine { settings, shared: Arc::new(shared) })
    }

    /// As if the disk had refused an `fdatasync`.
    #[cfg(test)]
    pub(super) fn fail_sync(&self) {
        self.shared.open.read().as_ref().expect("open").journal.fail();
    }
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&Open) -> Result<T, EngineError>) -> Result<T, EngineError> {
        match &*self.open.read() {
            Some(open) => act(open),
            None => Err(EngineError::Broken),
        }
    }
}

/// fjall has `expect`s on what it reads from disk: such a panic is a damaged file, not a reason to bring the node down.
fn open(settings: &FjallSettings) -> Result<Open, EngineError> {
    std::panic::catch_unwind(AssertUnwindSafe(|| open_checked(settings))).unwrap_or_else(|_| {
        Err(EngineError::Damaged(format!("the files in {} make no sense to the engine", settings.path.display())))
    })
}

fn open_checked(settings: &FjallSettings) -> Result<Open, EngineError> {
    if settings.must_exist {
        check_present(&settings.path)?;
    }
    journal::mend(&settings.path)?;
    let database = Database::builder(&settings.path)
        .cache_size(settings.cache_bytes)
        .max_journaling_size(settings.journal_bytes_max.max(64 << 20))
        .max_cached_files(Some(FILES_OPEN_MAX))
        .worker_threads(settings.worker_threads.max(1))
        .open()
        .map_err(|error| damaged_at(&settings.path, error))?;
    let memtable_bytes = settings.memtable_bytes.max(1 << 20);
    let keyspace = database
        .keyspace(KEYSPACE, || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes))
        .map_err(|error| damaged_at(&settings.path, error))?;
    Ok(Open { keyspace, journal: JournalSync::new(&settings.path), database })
}

/// fjall takes a missing marker for a database, or a tree, whose creation was never finished, and makes an empty one in
/// its place. Where we know that there was one, that would be silent loss.
fn check_present(path: &Path) -> Result<(), EngineError> {
    let missing = |what: PathBuf| {
        Err(EngineError::Damaged(format!("{} is missing, though this database was in use before", what.display())))
    };
    let marker = path.join("version");
    if !marker.exists() {
        return missing(marker);
    }
    for tree in ["0", "1"] {
        let current = path.join("keyspaces").join(tree).join("current");
        if !current.exists() {
            return missing(current);
        }
    }
    Ok(())
}

impl Open {
    /// Waits while flushes or compaction are behind; see the module's text for why this is not left to fjall.
    fn wait_for_flushes(&self) -> Result<(), EngineError> {
        let behind = || {
            self.keyspace.sealed_memtable_count() > FLUSHES_WAITING_MAX
                || self.keyspace.tree.l0_run_count() > LEVEL_0_RUNS_MAX
        };
        while behind() {
            // The only way to ask whether the database is poisoned; it writes nothing when the buffer is clean.
            self.database.persist(PersistMode::Buffer).map_err(engine_error)?;
            std::thread::sleep(PRESSURE_POLL);
        }
        Ok(())
    }
}

fn tagged(space: Space, key: &[u8]) -> Vec<u8> {
    let mut tagged = Vec::with_capacity(1 + key.len());
    tagged.push(space as u8);
    tagged.extend_from_slice(key);
    tagged
}

fn collect(iter: fjall::Iter, scan: &Scan<'_>) -> Result<Page, EngineError> {
    let mut page = Page::default();
    let mut bytes = 0;
    for guard in iter {
        if page.entries.len() >= scan.limit || (bytes >= scan.bytes_max && !page.entries.is_empty()) {
            return Ok(page);
        }
        let (key, value) = guard.into_inner().map_err(engine_error)?;
        bytes += key.len() + value.len();
        page.entries.push((Bytes::from(key).slice(1..), value.into()));
    }
    page.end = true;
    Ok(page)
}

/// The range of a scan in tagged keys: begins with the prefix, greater than `after`, less than `until`.
fn range_of(scan: &Scan<'_>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let prefix = tagged(scan.space, scan.prefix);
    let mut end = end_of_prefix(&prefix);
    if let Some(until) = scan.until {
        end = end.min(tagged(scan.space, until));
    }
    let after = scan.after.filter(|after| *after >= scan.prefix).map(|after| tagged(scan.space, after));
    // A start beyond the end would be an invalid range: such a scan is empty.
    if after.as_ref().unwrap_or(&prefix) >= &end {
        return (Bound::Included(end.clone()), Bound::Excluded(end));
    }
    (after.map_or(Bound::Included(prefix), Bound::Excluded), Bound::Excluded(end))
}

/// The first key after all that begin with `prefix`. The tag byte is never 0xFF, so there is one.
fn end_of_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while end.last() == Some(&u8::MAX) {
        end.pop();
    }
    *end.last_mut().expect("a tag byte is below 0xFF") += 1;
    end
}

/// A snapshot holds no handle of the database: one that outlived a reopening would keep the old journal writer alive,
/// and its drop would flush old bytes into a file that is in use again.
struct FjallView {
    shared: Arc<Shared>,
    generation: u64,
    snapshot: fjall::Snapshot,
}

impl FjallView {
    fn with<T>(&self, act: impl FnOnce(&Open) -> Result<T, EngineError>) -> Result<T, EngineError> {
        self.shared.with(|open| {
            if self.shared.generation.load(Ordering::Acquire) == self.generation {
                act(open)
            } else {
                Err(EngineError::Broken)
            }
        })
    }
}

impl Reading for FjallView {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.with(|open| {
            Ok(self.snapshot.get(&open.keyspace, tagged(space, key)).map_err(engine_error)?.map(Bytes::from))
        })
    }

    fn scan(&self, scan: Scan<'_>) -> Result<Page, EngineError> {
        self.with(|open| collect(self.snapshot.range(&open.keyspace, range_of(&scan)), &scan))
    }
}

impl Reading for FjallEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.shared.with(|open| Ok(open.keyspace.get(tagged(space, key)).map_err(engine_error)?.map(Bytes::from)))
    }

    fn scan(&self, scan: Scan<'_>) -> Result<Page, EngineError> {
        // Through a snapshot: fjall's plain range sees a batch in the middle of its application.
        self.shared.with(|open| collect(open.database.snapshot().range(&open.keyspace, range_of(&scan)), &scan))
    }
}

impl Engine for FjallEngine {
    fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        self.shared.with(|open| {
            if open.journal.failed() {
                return Err(EngineError::Broken);
            }
            open.wait_for_flushes()?;
            let mut writing = fjall::OwnedWriteBatch::with_capacity(open.database.clone(), batch.len())
                .durability(Some(PersistMode::Buffer));
            for change in batch.into_changes() {
                let key = tagged(change.space, &change.key);
                match change.value {
                    Some(value) => writing.insert(&open.keyspace, key, value),
                    None => writing.remove(&open.keyspace, key),
                }
            }
            writing.commit().map_err(engine_error)
        })
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.shared.with(|open| open.journal.sync())
    }

    fn snapshot(&self) -> Result<Box<dyn Reading>, EngineError> {
        self.shared.with(|open| {
            let generation = self.shared.generation.load(Ordering::Acquire);
            let view = FjallView { shared: self.shared.clone(), generation, snapshot: open.database.snapshot() };
            Ok(Box::new(view) as Box<dyn Reading>)
        })
    }

    fn reopen(&self) -> Result<(), EngineError> {
        let mut slot = self.shared.open.write();
        let sync_failed = slot.as_ref().is_some_and(|open| open.journal.failed());
        *slot = None;
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
        if sync_failed {
            journal::rewrite_active(&self.settings.path)?;
        }
        *slot = Some(open(&self.settings)?);
        Ok(())
    }

    fn stats(&self) -> EngineStats {
        match &*self.shared.open.read() {
            Some(open) => EngineStats {
                bytes: open.database.disk_space().unwrap_or(0),
                flushes_waiting: open.keyspace.sealed_memtable_count(),
                journals: open.database.journal_count(),
            },
            None => EngineStats::default(),
        }
    }

    fn close(&self) {
        *self.shared.open.write() = None;
    }
}

fn damaged_at(path: &Path, error: fjall::Error) -> EngineError {
    match engine_error(error) {
        EngineError::Damaged(what) => EngineError::Damaged(format!("{what} (in {})", path.display())),
        EngineError::Io(error)
            if error.kind() == std::io::ErrorKind::NotFound || error.kind() == std::io::ErrorKind::UnexpectedEof =>
        {
            EngineError::Damaged(format!("a file is missing or cut short: {error} (in {})", path.display()))
        }
        other => other,
    }
}

fn engine_error(error: fjall::Error) -> EngineError {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => error.into(),
        fjall::Error::Poisoned => EngineError::Broken,
        fjall::Error::Locked => EngineError::InUse,
        other => EngineError::Damaged(other.to_string()),
    }
}
