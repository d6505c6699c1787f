//! The applying thread: takes all that waits, has the [`Core`] make one batch of it and commit, and passes it on to be
//! synced.
//!
//! It is also the one that watches the disk: free space under the reserve turns writes off and on again, and a broken
//! engine is opened anew from here, since nobody else commits.

use super::syncer::Unsynced;
use super::{Command, Completion, Op, Outcome, Shared};
use crate::core::Core;
use crate::counters::DiskState;
use crate::engine::EngineError;
use crate::error::StoreError;
use crate::highwater::HighWater;
use crate::space::SpaceProbe;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// How often free space is looked at.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// Also after so many bytes: at full speed a disk loses a lot in 100 ms.
const PROBE_EVERY_BYTES: usize = 16 << 20;
const REOPEN_WAIT_MIN: Duration = Duration::from_millis(500);
const REOPEN_WAIT_MAX: Duration = Duration::from_secs(30);

pub(super) struct Writer<C: Completion> {
    pub shared: Arc<Shared>,
    pub ops: Receiver<Command<C>>,
    pub unsynced: Sender<Unsynced<C>>,
    pub core: Core,
    pub health: Health,
}

/// What is known of the disk.
pub(super) struct Health {
    probe: Box<dyn SpaceProbe>,
    probed: Option<Instant>,
    bytes_since: usize,
    full: bool,
    reopen_at: Instant,
    reopen_wait: Duration,
}

impl Health {
    pub fn new(probe: Box<dyn SpaceProbe>) -> Health {
        let (reopen_at, reopen_wait) = (Instant::now(), REOPEN_WAIT_MIN);
        Health { probe, probed: None, bytes_since: 0, full: false, reopen_at, reopen_wait }
    }
}

impl<C: Completion> Writer<C> {
    /// Runs until it is told to close. True if everything it took was committed to an engine in order.
    pub fn run(mut self) -> bool {
        let settings = self.shared.settings.clone();
        let (mut ops, mut completions) = (Vec::new(), Vec::new());
        loop {
            let mut closing = false;
            let mut bytes = 0;
            match self.ops.recv_timeout(PROBE_EVERY) {
                Ok(command) => {
                    let mut next = Some(command);
                    while let Some(command) = next {
                        match command {
                            Command::Op(op, completion) => {
                                bytes += op.bytes();
                                completions.push((completion, op.waits_for_sync(settings.durability)));
                                ops.push(op);
                            }
                            Command::Close => closing = true,
                        }
                        let full = ops.len() >= settings.batch_ops_max || bytes >= settings.batch_bytes_max;
                        next = if full || closing { None } else { self.ops.try_recv().ok() };
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => closing = true,
            }
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.look_after_disk();
            self.refuse(&mut ops, &mut completions);
            if !ops.is_empty() {
                self.apply(&mut ops, &mut completions);
            }
            if closing {
                // Nothing can follow: submissions ended before `Close` was sent.
                return !self.core.is_broken();
            }
        }
    }

    /// Turns away what the disk cannot take now.
    fn refuse(&mut self, ops: &mut Vec<Op>, completions: &mut Vec<(C, bool)>) {
        let Some(error) = self.refusal() else { return };
        let broken = self.core.is_broken();
        let waiting = ops.drain(..).zip(completions.drain(..)).collect::<Vec<_>>();
        for (op, completion) in waiting {
            if broken || op.takes_space() {
                completion.0.done(Err(error.clone()));
            } else {
                ops.push(op);
                completions.push(completion);
            }
        }
    }

    fn apply(&mut self, ops: &mut Vec<Op>, completions: &mut Vec<(C, bool)>) {
        self.core.set_incarnation(self.shared.incarnation.load(Ordering::Acquire));
        let writes = ops.iter().filter(|op| matches!(op, Op::Write { .. })).count();
        let mut results = Vec::with_capacity(ops.len());
        let reserved = self.core.try_reserve(writes);
        if let Ok(true) = reserved {
            let epochs_end = self.core.high_water().epochs_end;
            self.shared.update_high_water(|state| state.epochs_end = epochs_end);
        }
        match reserved.and_then(|_| self.core.try_apply(ops.drain(..), &mut results)) {
            Ok(bytes) => {
                self.health.bytes_since += bytes;
                self.tell(completions.drain(..).zip(results));
            }
            Err(error) => {
                let error = self.broke(&error);
                // Nothing was planned if there were no epochs.
                results.resize_with(completions.len(), || Err(error.clone()));
                // All of the batch: an operation that changed nothing may have rested on one that did.
                for ((completion, _), result) in completions.drain(..).zip(results) {
                    completion.done(result.and(Err(error.clone())));
                }
            }
        }
        ops.clear();
    }

    /// The batch is with the operating system: who waits for no more is told, the others go on to be synced.
    fn tell(&mut self, results: impl Iterator<Item = ((C, bool), Result<Outcome, StoreError>)>) {
        let mut unsynced = Vec::new();
        for ((mut completion, sync), result) in results {
            if let Ok(Outcome::Applied(applied)) = &result {
                completion.applied(applied);
            }
            match result {
                Ok(outcome) if sync => unsynced.push((completion, outcome)),
                result => completion.done(result),
            }
        }
        if !unsynced.is_empty() {
            // Waits when the disk is behind: see the module's text on queues.
            if let Err(lost) = self.unsynced.send(unsynced) {
                for (completion, _) in lost.0 {
                    completion.done(Err(StoreError::Closed));
                }
            }
        }
    }

    fn refusal(&self) -> Option<StoreError> {
        match (self.health.full, self.core.is_broken()) {
            (true, _) => Some(StoreError::DiskFull),
            (false, true) => Some(StoreError::running(&EngineError::Broken)),
            (false, false) => None,
        }
    }

    fn broke(&mut self, error: &EngineError) -> StoreError {
        let short_of_space =
            match error {
                EngineError::NoSpace => true,
                // Most often a flush in the background that found no space.
                EngineError::Broken => self.health.probe.free_bytes().is_ok_and(|free| {
                    free < self.shared.settings.reserve_bytes.max(self.shared.settings.memtable_bytes)
                }),
                _ => false,
            };
        let told = if short_of_space { StoreError::DiskFull } else { StoreError::running(error) };
        self.health.full |= short_of_space;
        self.health.reopen_at = Instant::now() + self.health.reopen_wait;
        self.shared.live.counters.set_disk(if self.health.full { DiskState::Full } else { DiskState::Failing });
        error!(%error, "the engine failed; writes are refused until it is opened again");
        told
    }

    fn look_after_disk(&mut self) {
        let now = Instant::now();
        let due = self.health.probed.is_none_or(|at| now - at >= PROBE_EVERY);
        if due || self.health.bytes_since >= PROBE_EVERY_BYTES {
            self.health.probed = Some(now);
            self.health.bytes_since = 0;
            self.probe_space();
        }
        if self.core.is_broken() && !self.health.full && now >= self.health.reopen_at {
            self.reopen();
        }
    }

    fn probe_space(&mut self) {
        let free = match self.health.probe.free_bytes() {
            Ok(free) => free,
            Err(error) => {
                warn!(%error, "cannot ask for free space");
                return;
            }
        };
        self.shared.live.counters.free.store(free, Ordering::Relaxed);
        let reserve = self.shared.settings.reserve_bytes;
        // A little more than the reserve to come back, so that the state does not flutter.
        let full = if self.health.full { free < reserve + reserve / 8 } else { free < reserve };
        if full != self.health.full {
            self.health.full = full;
            if full {
                warn!(free, reserve, "the disk is full: writes are refused");
            } else {
                info!(free, "the disk has space again");
            }
        }
        self.shared.live.counters.set_disk(match (self.health.full, self.core.is_broken()) {
            (true, _) => DiskState::Full,
            (false, true) => DiskState::Failing,
            (false, false) => DiskState::Ok,
        });
    }

    fn reopen(&mut self) {
        match self.core.try_reopen() {
            Ok(_) => {
                let HighWater { epochs_end, lost, .. } = self.core.high_water();
                self.shared.update_high_water(|state| {
                    state.sync_failed = false;
                    state.epochs_end = epochs_end;
                    state.lost |= lost;
                });
                self.health.reopen_wait = REOPEN_WAIT_MIN;
                self.shared.live.counters.set_disk(DiskState::Ok);
            }
            Err(error) => {
                self.health.reopen_wait = (self.health.reopen_wait * 2).min(REOPEN_WAIT_MAX);
                self.health.reopen_at = Instant::now() + self.health.reopen_wait;
                error!(%error, wait = ?self.health.reopen_wait, "the engine could not be opened again");
            }
        }
    }
}
