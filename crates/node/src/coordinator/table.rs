//! The requests in flight: found by number, in shards, so that replies on many threads do not wait for each other.
//!
//! A number is never used for two requests (each slot counts its generations), so a late reply finds nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use slab::Slab;

const SHARDS: usize = 16;
/// The top bit is left to numbers that are not this table's (handoff's).
const GENERATION_BITS: u32 = 23;

/// Number of a request in flight, as replica requests carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

impl RequestId {
    fn new(generation: u32, shard: usize, slot: usize) -> Self {
        Self(u64::from(generation) << 40 | (shard as u64) << 32 | slot as u64)
    }

    fn shard(self) -> usize {
        (self.0 >> 32) as usize & 0xff
    }

    fn slot(self) -> usize {
        self.0 as u32 as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 40) as u32
    }
}

struct Slot<T> {
    generation: u32,
    entry: T,
}

struct Shard<T> {
    slots: Slab<Slot<T>>,
    generation: u32,
}

/// The table. Whoever holds an entry holds its shard's lock: no step may wait.
pub struct Table<T> {
    shards: Vec<Mutex<Shard<T>>>,
    next: AtomicUsize,
    len: AtomicUsize,
}

impl<T> Table<T> {
    pub fn new() -> Self {
        let shard = || Mutex::new(Shard { slots: Slab::new(), generation: 0 });
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), next: AtomicUsize::new(0), len: AtomicUsize::new(0) }
    }

    /// Requests in flight.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Adds an entry.
    pub fn insert(&self, entry: T) -> RequestId {
        let shard = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
        self.len.fetch_add(1, Ordering::Relaxed);
        let mut locked = self.shards[shard].lock();
        locked.generation = (locked.generation + 1) & ((1 << GENERATION_BITS) - 1);
        let generation = locked.generation;
        RequestId::new(generation, shard, locked.slots.insert(Slot { generation, entry }))
    }

    /// Runs `step` on the entry, if it is still there, and removes it when `step` says that it has ended.
    pub fn step(&self, id: RequestId, step: impl FnOnce(&mut T) -> Ended) {
        let Some(shard) = self.shards.get(id.shard()) else { return };
        let mut shard = shard.lock();
        let Some(slot) = shard.slots.get_mut(id.slot()) else { return };
        if slot.generation != id.generation() {
            return;
        }
        if step(&mut slot.entry) == Ended::Yes {
            let ended = shard.slots.remove(id.slot());
            drop(shard);
            drop(ended);
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Runs `step` on every entry, shard by shard, and removes those that have ended.
    pub fn sweep(&self, mut step: impl FnMut(RequestId, &mut T) -> Ended) {
        for (index, shard) in self.shards.iter().enumerate() {
            let mut shard = shard.lock();
            let mut removed = 0;
            shard.slots.retain(|slot, Slot { generation, entry }| {
                let ended = step(RequestId::new(*generation, index, slot), entry) == Ended::Yes;
                removed += usize::from(ended);
                !ended
            });
            self.len.fetch_sub(removed, Ordering::Relaxed);
        }
    }
}

/// Whether a request is over and its entry can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_reply_does_not_reach_the_request_that_took_the_slot() {
        let table = Table::new();
        let ids: Vec<_> = (0..64).map(|n| table.insert(n)).collect();
        for id in &ids {
            table.step(*id, |_| Ended::Yes);
        }
        assert_eq!(table.len(), 0);
        for n in 0..64 {
            table.insert(n + 100);
        }
        for id in ids {
            table.step(id, |entry| panic!("reached {entry}"));
        }
    }

    #[test]
    fn a_sweep_sees_every_request_and_removes_the_ended() {
        let table = Table::new();
        for n in 0..100 {
            table.insert(n);
        }
        let mut seen = Vec::new();
        table.sweep(|_, entry| {
            seen.push(*entry);
            if *entry % 2 == 0 { Ended::Yes } else { Ended::No }
        });
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert_eq!(table.len(), 50);
    }

    #[test]
    fn numbers_of_nobody_are_ignored() {
        let table = Table::<()>::new();
        for id in [0, u64::MAX, 1 << 63, 0xffff_ffff] {
            table.step(RequestId(id), |()| Ended::Yes);
        }
        assert_eq!(table.len(), 0);
    }
}
