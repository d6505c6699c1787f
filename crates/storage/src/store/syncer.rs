//! The syncing thread: one `fdatasync` for all batches that were committed before it began.
//!
//! While it waits for the disk the applying thread commits more; the next sync covers all of that. So the number of
//! syncs follows the disk's speed, not the number of writes.

use super::{Completion, Outcome, Shared};
use crate::error::StoreError;
use crate::highwater::HighWater;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::Instant;
use tracing::error;

/// The operations of one batch that wait to become durable.
pub(super) type Unsynced<C> = Vec<(C, Outcome)>;

/// Batches between the two threads.
pub(super) const BATCHES_WAITING_MAX: usize = 64;

pub(super) fn run<C: Completion>(shared: Arc<Shared>, batches: Receiver<Unsynced<C>>) {
    let background = shared.settings.durability.background();
    let mut last = Instant::now();
    loop {
        let received = batches.recv_deadline(last + background);
        let ended = matches!(received, Err(RecvTimeoutError::Disconnected));
        let mut waiting = received.unwrap_or_default();
        while let Ok(more) = batches.try_recv() {
            waiting.extend(more);
        }
        let behind = shared.live.counters.commits() > shared.live.counters.synced();
        if !waiting.is_empty() || behind {
            let result = sync(&shared);
            for (completion, outcome) in waiting {
                completion.done(result.clone().map(|()| outcome));
            }
        }
        last = Instant::now();
        if ended {
            return;
        }
    }
}

fn sync(shared: &Shared) -> Result<(), StoreError> {
    match shared.live.sync() {
        Ok(commit) => {
            shared.update_high_water(|state| state.commit = commit);
            Ok(())
        }
        Err(error) => {
            // The next commit finds the engine broken too, and the applying thread takes it from there.
            error!(%error, "the disk could not be synced");
            shared.update_high_water(|state| state.sync_failed = true);
            Err(StoreError::running(&error))
        }
    }
}

impl Shared {
    pub(super) fn update_high_water(&self, change: impl FnOnce(&mut HighWater)) {
        let Some(file) = &self.high_water else { return };
        let mut file = file.lock();
        let mut state = file.last();
        change(&mut state);
        if let Err(error) = file.write(state) {
            // It only watches over the engine; without it a loss would be noticed later, by the trees of anti-entropy.
            error!(%error, "the high-water file could not be written");
        }
    }
}
