//! The applying thread: takes all that waits, makes one batch of it, commits, and passes it on to be synced.
//!
//! It is also the one that watches the disk: free space under the reserve turns writes off and on again, and a broken
//! engine is opened anew from here, since nobody else commits.

use super::syncer::Unsynced;
use super::{Command, Completion, Durability, Op, Outcome, Shared};
use crate::counters::{DiskState, Totals};
use crate::engine::{Batch, EngineError};
use crate::epochs::Epochs;
use crate::error::StoreError;
use crate::plan::{PlanSettings, Planned, Planner};
use crate::space::SpaceProbe;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use dynamo_version::Payload;
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
    pub totals: Totals,
    pub epochs: Epochs,
    pub health: Health,
}

/// What is known of the disk.
pub(super) struct Health {
    probe: Box<dyn SpaceProbe>,
    probed: Option<Instant>,
    bytes_since: usize,
    /// The engine refuses commits until it is opened again.
    broken: bool,
    full: bool,
    reopen_at: Instant,
    reopen_wait: Duration,
}

impl Health {
    pub fn new(probe: Box<dyn SpaceProbe>) -> Health {
        let (reopen_at, reopen_wait) = (Instant::now(), REOPEN_WAIT_MIN);
        Health { probe, probed: None, bytes_since: 0, broken: false, full: false, reopen_at, reopen_wait }
    }
}

struct Taken<C> {
    completion: C,
    outcome: Outcome,
    /// Done only when durable.
    sync: bool,
}

impl<C: Completion> Writer<C> {
    /// Runs until it is told to close. True if everything it took was committed to an engine in order.
    pub fn run(mut self) -> bool {
        let settings = self.shared.settings.clone();
        let mut waiting = Vec::new();
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
                                waiting.push((op, completion));
                            }
                            Command::Close => closing = true,
                        }
                        let full = waiting.len() >= settings.batch_ops_max || bytes >= settings.batch_bytes_max;
                        next = if full || closing { None } else { self.ops.try_recv().ok() };
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => closing = true,
            }
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.look_after_disk();
            if !waiting.is_empty() {
                self.apply(&mut waiting);
            }
            if closing {
                // Nothing can follow: submissions ended before `Close` was sent.
                return !self.health.broken;
            }
        }
    }

    fn apply(&mut self, waiting: &mut Vec<(Op, C)>) {
        let writes = waiting.iter().filter(|(op, _)| matches!(op, Op::Write { .. })).count() as u64;
        let short_of_epochs = writes > self.epochs.left() && !self.refuses_writes() && !self.reserve_epochs();
        let shared = self.shared.clone();
        let settings = PlanSettings {
            node: shared.node,
            incarnation: shared.incarnation.load(Ordering::Acquire),
            hints_bytes_max: shared.settings.hints_bytes_max,
            siblings_max: shared.settings.siblings_max,
        };
        let refused = match self.refusal() {
            None if short_of_epochs => Some(StoreError::DiskFailing("key epochs could not be reserved".into())),
            other => other,
        };
        let mut taken = Vec::with_capacity(waiting.len());
        let mut planner = Planner::new(&*shared.engine, settings, &self.totals, &mut self.epochs);
        for (op, completion) in waiting.drain(..) {
            if let Some(error) = refused.as_ref().filter(|_| self.health.broken || op.takes_space()) {
                completion.done(Err(error.clone()));
                continue;
            }
            let sync = op.waits_for_sync(shared.settings.durability);
            match planner.add(op) {
                Ok(outcome) => taken.push(Taken { completion, outcome, sync }),
                Err(error) => {
                    if matches!(error, StoreError::Corrupt { .. }) {
                        shared.counters.corrupt.fetch_add(1, Ordering::Relaxed);
                    }
                    completion.done(Err(error));
                }
            }
        }
        let planned = planner.finish(&self.totals);
        self.commit(planned, taken);
    }

    fn commit(&mut self, planned: Planned, taken: Vec<Taken<C>>) {
        let Planned { batch, totals } = planned;
        if !batch.is_empty() {
            self.health.bytes_since += batch.bytes();
            if let Err(error) = self.shared.engine.commit(batch) {
                let error = self.broke(&error);
                // All of the batch: an operation that changed nothing may have rested on one that did.
                for one in taken {
                    one.completion.done(Err(error.clone()));
                }
                return;
            }
            self.totals = totals;
            self.shared.counters.publish(&self.totals);
        }
        let mut unsynced = Vec::new();
        for mut one in taken {
            if let Outcome::Applied(applied) = &one.outcome {
                one.completion.applied(applied);
            }
            if one.sync {
                unsynced.push((one.completion, one.outcome));
            } else {
                one.completion.done(Ok(one.outcome));
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

    /// A batch's worth of epochs, durable before the first is used. False if that failed.
    fn reserve_epochs(&mut self) -> bool {
        let mut batch = Batch::new();
        let next = self.epochs.reserve(&mut batch);
        let mut totals = self.totals.clone();
        totals.commit += 1;
        totals.store(&self.totals, &mut batch);
        let engine = &self.shared.engine;
        match engine.commit(batch).and_then(|()| engine.sync()) {
            Ok(()) => {
                self.epochs = next;
                self.totals = totals;
                self.shared.counters.publish(&self.totals);
                self.shared.update_high_water(|state| state.epochs_end = self.epochs.end());
                true
            }
            Err(error) => {
                self.broke(&error);
                false
            }
        }
    }

    fn refuses_writes(&self) -> bool {
        self.health.broken || self.health.full
    }

    fn refusal(&self) -> Option<StoreError> {
        match (self.health.full, self.health.broken) {
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
        self.health.broken = true;
        self.health.full |= short_of_space;
        self.health.reopen_at = Instant::now() + self.health.reopen_wait;
        self.shared.counters.set_disk(if self.health.full { DiskState::Full } else { DiskState::Failing });
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
        if self.health.broken && !self.health.full && now >= self.health.reopen_at {
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
        self.shared.counters.free.store(free, Ordering::Relaxed);
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
        self.shared.counters.set_disk(match (self.health.full, self.health.broken) {
            (true, _) => DiskState::Full,
            (false, true) => DiskState::Failing,
            (false, false) => DiskState::Ok,
        });
    }

    fn reopen(&mut self) {
        let committed = self.totals.commit;
        let engine = &self.shared.engine;
        let reopened = engine.reopen().and_then(|()| Totals::load(&**engine));
        let totals = match reopened {
            Ok(totals) => totals,
            Err(error) => {
                self.health.reopen_wait = (self.health.reopen_wait * 2).min(REOPEN_WAIT_MAX);
                self.health.reopen_at = Instant::now() + self.health.reopen_wait;
                error!(%error, wait = ?self.health.reopen_wait, "the engine could not be opened again");
                return;
            }
        };
        if totals.commit < committed {
            error!(committed, found = totals.commit, "the engine lost commits while it was opened again");
            self.epochs.raise_floor();
        }
        let lost = totals.commit < committed;
        info!(commit = totals.commit, "the engine is open again");
        // Numbers never go back: a commit number names one batch only.
        self.totals = Totals { commit: totals.commit.max(committed), ..totals };
        self.shared.counters.publish(&self.totals);
        self.shared.update_high_water(|state| state.sync_failed = false);
        self.health.broken = false;
        self.health.reopen_wait = REOPEN_WAIT_MIN;
        self.shared.counters.set_disk(DiskState::Ok);
        if lost {
            // The raised floor must be durable before anything rests on it; failing leaves the engine broken again.
            self.reserve_epochs();
        }
    }
}

impl Op {
    /// Bytes that wait in memory for it, roughly.
    pub(super) fn bytes(&self) -> usize {
        let payload = match self {
            Op::Write { key, payload: Payload::Value(value), .. } => key.as_bytes().len() + value.len(),
            Op::Write { key, payload: Payload::Tombstone, .. } => key.as_bytes().len(),
            Op::Merge { key, set, .. } => key.as_bytes().len() + set.len(),
            Op::KeepHint { key, .. } | Op::DropHint { key, .. } => key.as_bytes().len(),
            Op::PutMeta { key, value } => key.len() + value.as_ref().map_or(0, |value| value.len()),
        };
        payload + 64
    }

    /// On a full disk, what frees space or is tiny is still taken.
    fn takes_space(&self) -> bool {
        match self {
            Op::Write { .. } | Op::Merge { .. } | Op::KeepHint { .. } => true,
            Op::DropHint { .. } => false,
            Op::PutMeta { value, .. } => value.as_ref().is_some_and(|value| value.len() > 64 << 10),
        }
    }

    fn waits_for_sync(&self, durability: Durability) -> bool {
        match (self, durability) {
            // A drop that is lost leaves a hint that is delivered twice: no harm.
            (Op::DropHint { .. }, _) => false,
            (Op::PutMeta { .. }, _) => true,
            (_, Durability::Fsync) => true,
            (_, Durability::Interval { .. }) => false,
            (Op::Write { sync, .. } | Op::Merge { sync, .. }, Durability::OneFsync) => *sync,
            (Op::KeepHint { .. }, Durability::OneFsync) => false,
        }
    }
}
