//! What stands behind every answer: the engine, and what is kept in memory of it. One thread changes it ([`Core`](crate::Core));
//! any number read.

use crate::counters::Counters;
use crate::engine::{Engine, EngineError};
use crate::fences::Fences;
use crate::table::PerPartition;
use crate::trees::Trees;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(crate) struct Live {
    pub engine: Arc<dyn Engine>,
    pub counters: Counters,
    pub trees: Trees,
    pub fences: Fences,
    /// How often in this run a hint for a key of the partition was kept: unchanged from one look to the next, none came.
    pub hinted: PerPartition<AtomicU64>,
    /// The engine failed, in a commit or in a sync: nothing is applied before it was opened again.
    pub broken: AtomicBool,
}

impl Live {
    /// Makes all that is committed durable; returns which commit that goes up to.
    pub fn sync(&self) -> Result<u64, EngineError> {
        // Read before the sync: commits up to here are covered by it.
        let commit = self.counters.commits();
        // Whoever finds it broken opens it again, also when there is nothing to commit.
        self.engine.sync().inspect_err(|_| self.broken.store(true, Ordering::Release))?;
        self.counters.synced.store(commit, Ordering::Release);
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(commit)
    }
}
