//! A simulated disk: an ordered map with atomic batches that loses, at a power cut, what was not synced.
//!
//! What was committed stands with the operating system: the death of the process alone loses nothing of it. At a
//! power cut any number of the last batches that were not synced are gone, whole and in order (the engine's contract:
//! a torn batch is lost as a whole). It keeps an undo log of these, not a second copy.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use dynamo_storage::engine::{Batch, Engine, EngineError, EngineStats, Page, Reading, Scan, Space};
use parking_lot::Mutex;

use crate::chance::Chance;

type Map = BTreeMap<Bytes, Bytes>;
type Undo = Vec<(Space, Bytes, Option<Bytes>)>;

const SPACES: usize = Space::ALL.len();

fn index(space: Space) -> usize {
    Space::ALL.iter().position(|one| *one == space).expect("one of all")
}

#[derive(Clone, Default)]
struct State {
    spaces: [Map; SPACES],
    /// How to take back each batch that is not synced, the oldest first.
    unsynced: VecDeque<Undo>,
    /// Number of the last batch of all, and of the last durable one.
    committed: u64,
    synced: u64,
    /// What the next sync covers, where it has begun already.
    sync_covers: Option<u64>,
    broken: bool,
    full: bool,
    failing: bool,
}

/// The disk of one node.
#[derive(Default)]
pub struct SimDisk {
    state: Mutex<State>,
}

/// All that a disk held at a moment, as durable.
#[derive(Clone)]
pub struct Image([Map; SPACES]);

impl SimDisk {
    /// The power goes: some of the last unsynced batches are lost. Returns how many.
    pub fn lose_power(&self, chance: &mut Chance) -> u64 {
        let mut state = self.state.lock();
        let unsynced = state.unsynced.len() as u64;
        let kept = chance.between(0, unsynced);
        for _ in kept..unsynced {
            let undo = state.unsynced.pop_back().expect("as many as counted");
            for (space, key, old) in undo.into_iter().rev() {
                match old {
                    Some(old) => state.spaces[index(space)].insert(key, old),
                    None => state.spaces[index(space)].remove(&key),
                };
            }
            state.committed -= 1;
        }
        state.restarted();
        unsynced - kept
    }

    /// The process dies, or ends: what was committed stays, and the system writes it out in time.
    pub fn process_ends(&self) {
        self.state.lock().reopened();
    }

    /// Everything is gone.
    pub fn wipe(&self) {
        let mut state = self.state.lock();
        let State { full, failing, .. } = *state;
        *state = State { full, failing, ..State::default() };
    }

    /// A copy of what would be found after a power cut now.
    pub fn image(&self) -> Image {
        let mut copy = self.state.lock().clone();
        while let Some(undo) = copy.unsynced.pop_back() {
            for (space, key, old) in undo.into_iter().rev() {
                match old {
                    Some(old) => copy.spaces[index(space)].insert(key, old),
                    None => copy.spaces[index(space)].remove(&key),
                };
            }
        }
        Image(copy.spaces)
    }

    /// Puts a copy in place of what is there.
    pub fn restore(&self, Image(spaces): Image) {
        let mut state = self.state.lock();
        state.spaces = spaces;
        state.unsynced.clear();
        state.restarted();
    }

    /// Commits fail for lack of space, or no longer.
    pub fn set_full(&self, full: bool) {
        self.state.lock().full = full;
    }

    pub fn is_full(&self) -> bool {
        self.state.lock().full
    }

    /// Syncs fail, or no longer.
    pub fn set_failing(&self, failing: bool) {
        self.state.lock().failing = failing;
    }

    /// A sync begins: it will cover what is committed by now, and no more.
    pub fn begin_sync(&self) {
        let mut state = self.state.lock();
        state.sync_covers = Some(state.committed);
    }

    /// It ends: what was committed when it began is durable.
    pub fn end_sync(&self) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        let covers = state.sync_covers.take().unwrap_or(state.synced);
        state.make_durable(covers)
    }

    /// Makes a value unreadable; false if there is none.
    pub fn damage(&self, space: Space, key: &[u8]) -> bool {
        let mut state = self.state.lock();
        let Some(value) = state.spaces[index(space)].get_mut(key) else { return false };
        let mut bytes = value.to_vec();
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        *value = Bytes::from(bytes);
        true
    }

    /// Bytes of all records of a space, for those who want to change one behind the engine's back.
    pub fn entries(&self, space: Space) -> Vec<(Bytes, Bytes)> {
        self.state.lock().spaces[index(space)].iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Flips one bit of a value in a space; returns its key. Reading alone can notice it.
    pub fn flip_bit(&self, space: Space, chance: &mut Chance) -> Option<Bytes> {
        let mut state = self.state.lock();
        let map = &mut state.spaces[index(space)];
        let at = chance.index(map.len());
        let (key, value) = map.iter_mut().nth(at).filter(|(_, value)| !value.is_empty())?;
        let mut bytes = value.to_vec();
        let bit = chance.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        *value = Bytes::from(bytes);
        Some(key.clone())
    }

    /// Batches that a power cut may lose.
    #[cfg(test)]
    pub fn unsynced(&self) -> usize {
        self.state.lock().unsynced.len()
    }
}

impl State {
    fn restarted(&mut self) {
        self.unsynced.clear();
        self.synced = self.committed;
        self.reopened();
    }

    fn make_durable(&mut self, covers: u64) -> Result<(), EngineError> {
        if self.broken {
            return Err(EngineError::Broken);
        }
        if self.failing {
            self.broken = true;
            return Err(EngineError::Io(std::io::Error::other("the sync failed")));
        }
        while self.synced < covers {
            self.unsynced.pop_front();
            self.synced += 1;
        }
        Ok(())
    }

    fn reopened(&mut self) {
        self.broken = false;
        self.sync_covers = None;
    }
}

impl Reading for SimDisk {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.state.lock().spaces[index(space)].get(key).cloned())
    }

    fn scan(&self, scan: Scan<'_>) -> Result<Page, EngineError> {
        Ok(page(&self.state.lock().spaces[index(scan.space)], &scan))
    }
}

fn page(map: &Map, scan: &Scan<'_>) -> Page {
    let from = match scan.after {
        Some(after) if after >= scan.prefix => Bound::Excluded(after),
        _ => Bound::Included(scan.prefix),
    };
    let mut page = Page::default();
    let mut bytes = 0;
    for (key, value) in map.range::<[u8], _>((from, Bound::Unbounded)) {
        if !key.starts_with(scan.prefix) || scan.until.is_some_and(|until| **key >= *until) {
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

struct View([Map; SPACES]);

impl Reading for View {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.0[index(space)].get(key).cloned())
    }

    fn scan(&self, scan: Scan<'_>) -> Result<Page, EngineError> {
        Ok(page(&self.0[index(scan.space)], &scan))
    }
}

impl Engine for SimDisk {
    fn commit(&self, batch: Batch) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        if state.broken {
            return Err(EngineError::Broken);
        }
        if state.full {
            state.broken = true;
            return Err(EngineError::NoSpace);
        }
        let mut undo = Vec::with_capacity(batch.len());
        for change in batch.into_changes() {
            let map = &mut state.spaces[index(change.space)];
            let old = match change.value {
                Some(value) => map.insert(change.key.clone(), value),
                None => map.remove(&change.key),
            };
            undo.push((change.space, change.key, old));
        }
        state.unsynced.push_back(undo);
        state.committed += 1;
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        let committed = state.committed;
        state.make_durable(committed)
    }

    fn snapshot(&self) -> Result<Box<dyn Reading>, EngineError> {
        Ok(Box::new(View(self.state.lock().spaces.clone())))
    }

    fn reopen(&self) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        if state.failing {
            return Err(EngineError::Io(std::io::Error::other("the disk does not answer")));
        }
        state.reopened();
        Ok(())
    }

    fn stats(&self) -> EngineStats {
        EngineStats::default()
    }

    fn close(&self) {}
}

/// A disk that a store can be opened on.
pub fn new_disk() -> Arc<SimDisk> {
    Arc::new(SimDisk::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::For;

    fn put(disk: &SimDisk, key: &'static str, value: &'static str) -> Result<(), EngineError> {
        let mut batch = Batch::new();
        batch.put(Space::Data, Bytes::from(key), Bytes::from(value));
        disk.commit(batch)
    }

    fn value(disk: &SimDisk, key: &str) -> Option<Bytes> {
        disk.get(Space::Data, key.as_bytes()).unwrap()
    }

    #[test]
    fn a_power_cut_loses_a_suffix_of_what_was_not_synced_and_nothing_else() {
        for seed in 0..50 {
            let disk = SimDisk::default();
            put(&disk, "a", "1").unwrap();
            disk.begin_sync();
            put(&disk, "b", "1").unwrap();
            disk.end_sync().unwrap();
            put(&disk, "a", "2").unwrap();
            let lost = disk.lose_power(&mut Chance::new(seed, For::Disk, 0));
            let expected = [(Some("2"), Some("1")), (Some("1"), Some("1")), (Some("1"), None)][lost as usize];
            assert_eq!(
                (value(&disk, "a"), value(&disk, "b")),
                (expected.0.map(Bytes::from), expected.1.map(Bytes::from))
            );
            assert_eq!(disk.unsynced(), 0);
        }
    }

    #[test]
    fn the_death_of_the_process_loses_nothing() {
        let disk = SimDisk::default();
        put(&disk, "a", "1").unwrap();
        disk.process_ends();
        assert_eq!(value(&disk, "a"), Some(Bytes::from("1")));
        assert_eq!(disk.unsynced(), 1, "the power may still go");
    }

    #[test]
    fn a_full_disk_refuses_and_breaks_until_it_is_opened_again() {
        let disk = SimDisk::default();
        disk.set_full(true);
        assert!(matches!(put(&disk, "a", "1"), Err(EngineError::NoSpace)));
        disk.set_full(false);
        assert!(matches!(put(&disk, "a", "1"), Err(EngineError::Broken)));
        disk.reopen().unwrap();
        put(&disk, "a", "1").unwrap();
        disk.set_failing(true);
        assert!(disk.sync().is_err() && disk.reopen().is_err());
        assert_eq!(disk.unsynced(), 1);
    }

    #[test]
    fn an_image_has_what_was_durable_and_comes_back_whole() {
        let disk = SimDisk::default();
        put(&disk, "a", "1").unwrap();
        disk.sync().unwrap();
        put(&disk, "a", "2").unwrap();
        let image = disk.image();
        put(&disk, "b", "1").unwrap();
        disk.restore(image);
        assert_eq!((value(&disk, "a"), value(&disk, "b")), (Some(Bytes::from("1")), None));
    }
}
