//! The in-memory engine: for tests, for benchmarks without a disk, and for nodes of a simulation.
//!
//! It keeps the same promises as the engine on disk while the process lives. It can play a crash: see
//! [`MemoryEngine::lose_power`], which forgets every batch that was not synced, as a disk would.

use super::{Batch, Engine, EngineError, EngineStats, Page, Reading, Scan, Space};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

type Map = BTreeMap<(Space, Bytes), Bytes>;

/// Keeps everything in one ordered map.
#[derive(Clone, Default)]
pub struct MemoryEngine {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    live: RwLock<Live>,
    /// The state as of the last sync, and what was committed since, to be able to lose power.
    durable: Mutex<Durable>,
}

#[derive(Default)]
struct Live {
    map: Arc<Map>,
    bytes: u64,
    closed: bool,
    /// Bytes that may be stored before commits fail as on a full disk; `None` is no bound.
    capacity: Option<u64>,
    broken: bool,
}

#[derive(Default)]
struct Durable {
    map: Map,
    unsynced: Vec<Batch>,
}

impl MemoryEngine {
    /// An empty engine.
    pub fn new() -> MemoryEngine {
        MemoryEngine::default()
    }

    /// Forgets what was committed and not synced, as a power cut does. Handles stay usable.
    pub fn lose_power(&self) {
        let mut durable = self.inner.durable.lock();
        durable.unsynced.clear();
        let mut live = self.inner.live.write();
        live.map = Arc::new(durable.map.clone());
        live.bytes = bytes_of(&live.map);
        live.broken = false;
        live.closed = false;
    }

    /// Makes commits fail with [`EngineError::NoSpace`], and break the engine until it is reopened, once more than
    /// `bytes` are stored. `None` lifts the bound.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.inner.live.write().capacity = bytes;
    }
}

fn bytes_of(map: &Map) -> u64 {
    map.iter().map(|((_, key), value)| (key.len() + value.len()) as u64).sum()
}

fn apply(map: &mut Map, batch: &Batch, bytes: &mut u64) {
    for change in batch.changes() {
        let slot = (change.space, change.key.clone());
        let old = match &change.value {
            Some(value) => {
                *bytes += (change.key.len() + value.len()) as u64;
                map.insert(slot, value.clone())
            }
            None => map.remove(&slot),
        };
        if let Some(old) = old {
            *bytes -= (change.key.len() + old.len()) as u64;
        }
    }
}

fn scan_map(map: &Map, scan: &Scan<'_>) -> Page {
    let from = match scan.after {
        Some(after) if after >= scan.prefix => Bound::Excluded((scan.space, Bytes::copy_from_slice(after))),
        _ => Bound::Included((scan.space, Bytes::copy_from_slice(scan.prefix))),
    };
    let mut page = Page::default();
    let mut bytes = 0;
    for ((space, key), value) in map.range((from, Bound::Unbounded)) {
        if *space != scan.space || !key.starts_with(scan.prefix) || scan.until.is_some_and(|until| *key >= until) {
            break;
        }
        if page.entries.len() >= scan.limit || (bytes >= scan.bytes_max && !page.entries.is_empty()) {
            return page;
        }
        bytes += key.len() + value.len();
        page.entries.push((key.clone(), value.clone()));
    }
    page.end = true;
    page
}

struct View(Arc<Map>);

impl Reading for View {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.0.get(&(space, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(&self, scan: Scan<'_>) -> Result<Page, EngineError> {
        Ok(scan_map(&self.0, &scan))
    }
}

impl Reading for MemoryEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let live = self.inner.live.read();
        if live.closed {
            return Err(EngineError::Broken);
        }
        Ok(live.map.get(&(space, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(&self, scan: Scan<'_>) -> Result<Page, EngineError> {
        let live = self.inner.live.read();
        if live.closed {
            return Err(EngineError::Broken);
        }
        Ok(scan_map(&live.map, &scan))
    }
}

impl Engine for MemoryEngine {
    fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        let mut durable = self.inner.durable.lock();
        let mut live = self.inner.live.write();
        let live = &mut *live;
        if live.closed || live.broken {
            return Err(EngineError::Broken);
        }
        if live.capacity.is_some_and(|capacity| live.bytes + batch.bytes() as u64 > capacity) {
            live.broken = true;
            return Err(EngineError::NoSpace);
        }
        apply(Arc::make_mut(&mut live.map), &batch, &mut live.bytes);
        durable.unsynced.push(batch);
        // Bound: a caller that never syncs must not make this grow; half a million changes are folded in as if synced.
        if durable.unsynced.len() > 500_000 {
            durable.fold();
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut durable = self.inner.durable.lock();
        let live = self.inner.live.read();
        if live.closed || live.broken {
            return Err(EngineError::Broken);
        }
        durable.fold();
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn Reading>, EngineError> {
        let live = self.inner.live.read();
        if live.closed {
            return Err(EngineError::Broken);
        }
        Ok(Box::new(View(live.map.clone())))
    }

    fn reopen(&self) -> Result<(), EngineError> {
        let mut live = self.inner.live.write();
        live.broken = false;
        live.closed = false;
        Ok(())
    }

    fn stats(&self) -> EngineStats {
        EngineStats { bytes: self.inner.live.read().bytes, flushes_waiting: 0, journals: 0 }
    }

    fn close(&self) {
        self.inner.live.write().closed = true;
    }
}

impl Durable {
    fn fold(&mut self) {
        let mut ignored = u64::MAX / 2;
        for batch in std::mem::take(&mut self.unsynced) {
            apply(&mut self.map, &batch, &mut ignored);
        }
    }
}
