//! The store: group commit over an engine, with completions instead of waiting.
//!
//! Threads: one applies (read-modify-write, one batch for all that waits), one syncs (pipelined: while it waits for the
//! disk, the next batches are applied, and its next sync covers them all), a few read. Nothing here blocks a caller.
//!
//! Queues, and what happens when they are full: `ops` and `reads` are bounded in number (and `ops` in bytes); a full one
//! hands the completion back as [`Busy`]. Between the applying and the syncing thread stands a bounded queue of
//! batches; when it is full the applying thread waits for the disk, and `ops` fills up behind it.

mod op;
mod open;
mod reader;
mod syncer;
mod writer;

pub use op::{Applied, Busy, Completion, HintEntry, Hinted, Op, Outcome, Read, RecordFound, ScanEntry};
pub use open::Settings;

use crate::answer::answer;
use crate::counters::Counters;
use crate::directory::DataDir;
use crate::engine::{EngineStats, Reading};
use crate::error::StoreError;
use crate::highwater::HighWaterFile;
use crate::live::Live;
use crossbeam_channel::{Sender, TrySendError};
use dynamo_merkle::Tree;
use dynamo_ring::Partition;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// When an operation counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After `fdatasync`, always.
    Fsync,
    /// After `fdatasync` if the operation says `sync`; else once the operating system has it (§6.1).
    OneFsync,
    /// Once the operating system has it; the disk is synced at this interval.
    Interval {
        /// Milliseconds between syncs.
        ms: u64,
    },
}

impl Durability {
    /// How often what nobody waits for is synced.
    fn background(self) -> Duration {
        match self {
            Durability::Interval { ms } => Duration::from_millis(ms.max(1)),
            // Hints dropped, and writes buffered under `OneFsync`.
            Durability::Fsync | Durability::OneFsync => Duration::from_millis(200),
        }
    }
}

/// Whose dots this store mints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node's id.
    pub node: u128,
    /// Its incarnation.
    pub incarnation: u64,
}

/// What the threads share.
struct Shared {
    live: Arc<Live>,
    settings: Settings,
    incarnation: AtomicU64,
    /// Bytes of operations that wait.
    queued_bytes: AtomicUsize,
    /// Submissions between their look at `closing` and the end of their send.
    submitting: AtomicUsize,
    closing: AtomicBool,
    high_water: Option<Mutex<HighWaterFile>>,
}

#[expect(clippy::large_enum_variant, reason = "almost every command is an operation")]
enum Command<C> {
    Op(Op, C),
    Close,
}

enum Question<C> {
    Read(Read, C),
    Close,
}

/// A node's store. All methods take `&self`; share it in an `Arc`.
pub struct Store<C: Completion> {
    shared: Arc<Shared>,
    ops: Sender<Command<C>>,
    reads: Sender<Question<C>>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    writer: JoinHandle<bool>,
    syncer: JoinHandle<()>,
    readers: Vec<JoinHandle<()>>,
    // Held to the end: dropped last, when nothing touches the directory any more.
    _directory: Option<DataDir>,
}

impl<C: Completion> Store<C> {
    /// Queues a change. Its completion is called exactly once, unless it is handed back here.
    ///
    /// # Errors
    /// The completion, and why it was not taken. Nothing was done.
    pub fn submit(&self, op: Op, completion: C) -> Result<(), (C, Busy)> {
        let bytes = op.bytes();
        self.send(&self.ops, Command::Op(op, completion), bytes).map_err(|(command, busy)| match command {
            Command::Op(_, completion) => (completion, busy),
            Command::Close => unreachable!("only operations are sent here"),
        })
    }

    /// Queues a question.
    ///
    /// # Errors
    /// As for [`Store::submit`].
    pub fn read(&self, read: Read, completion: C) -> Result<(), (C, Busy)> {
        self.send(&self.reads, Question::Read(read, completion), 0).map_err(|(question, busy)| match question {
            Question::Read(_, completion) => (completion, busy),
            Question::Close => unreachable!("only questions are sent here"),
        })
    }

    /// Answers a question on the caller's thread, which may wait for the disk: for tests, start-up and own threads.
    ///
    /// # Errors
    /// Damaged records and disk errors; never "not found", which is an answer.
    pub fn read_now(&self, read: &Read) -> Result<Outcome, StoreError> {
        answer(&*self.shared.live.engine, &self.shared.live, read)
    }

    /// As [`Store::read_now`], of a view that [`Store::snapshot`] gave. Fences are those of now.
    ///
    /// # Errors
    /// As for [`Store::read_now`].
    pub fn read_from(&self, view: &dyn Reading, read: &Read) -> Result<Outcome, StoreError> {
        answer(view, &self.shared.live, read)
    }

    /// Reads a partition's hash tree (§4.7), as of the last commit. The applying thread waits meanwhile: be short.
    pub fn with_tree<T>(&self, partition: Partition, read: impl FnOnce(&Tree) -> T) -> T {
        self.shared.live.trees.with(partition, read)
    }

    /// The lowest epoch of the ring under which this node still takes requests as a home of the partition (see
    /// [`Op::Fence`]); 0 at first.
    pub fn fence(&self, partition: Partition) -> u64 {
        self.shared.live.fences.of(partition)
    }

    /// A view of everything stored that later changes do not touch, to be scanned at leisure (but not kept for hours: the engine
    /// keeps old versions for it). [`Store::read_from`] answers questions on it.
    ///
    /// # Errors
    /// The store is closed.
    pub fn snapshot(&self) -> Result<Box<dyn Reading>, StoreError> {
        self.shared.live.engine.snapshot().map_err(|error| StoreError::running(&error))
    }

    /// Live figures.
    pub fn counters(&self) -> &Counters {
        &self.shared.live.counters
    }

    /// Figures of the engine.
    pub fn engine_stats(&self) -> EngineStats {
        self.shared.live.engine.stats()
    }

    /// From the next batch on, dots are minted under another incarnation (the node found its disk rolled back).
    pub fn set_incarnation(&self, incarnation: u64) {
        self.shared.incarnation.store(incarnation, Ordering::Release);
    }

    /// The node has drawn the consequences of [`Opened::lost_tail`](crate::Opened::lost_tail), durably: the next opening says it no more.
    ///
    /// # Errors
    /// It could not be written: the next opening says it again.
    pub fn loss_is_known(&self) -> std::io::Result<()> {
        self.shared.update_high_water(|state| state.lost = false);
        self.shared.high_water.as_ref().map_or(Ok(()), |file| file.lock().sync())
    }

    /// Finishes what was taken, syncs, leaves the marker of a clean end, and lets go of the directory. New operations
    /// are refused from the first moment. Waits for the disk: not for a runtime's thread. A second call does nothing.
    pub fn close(&self) {
        let Some(threads) = self.threads.lock().take() else { return };
        self.shared.closing.store(true, Ordering::SeqCst);
        while self.shared.submitting.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
        for _ in &threads.readers {
            let _ = self.reads.send(Question::Close);
        }
        let _ = self.ops.send(Command::Close);
        for reader in threads.readers {
            let _ = reader.join();
        }
        let healthy = threads.writer.join().unwrap_or(false);
        let _ = threads.syncer.join();
        open::finish(&self.shared, healthy);
    }

    fn send<T>(&self, queue: &Sender<T>, message: T, bytes: usize) -> Result<(), (T, Busy)> {
        let shared = &*self.shared;
        shared.submitting.fetch_add(1, Ordering::SeqCst);
        let sent = if shared.closing.load(Ordering::SeqCst) {
            Err((message, Busy::Closed))
        } else if bytes > 0 && shared.queued_bytes.load(Ordering::Relaxed) + bytes > shared.settings.queue_bytes {
            Err((message, Busy::Full))
        } else {
            shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
            queue.try_send(message).map_err(|error| {
                shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
                match error {
                    TrySendError::Full(message) => (message, Busy::Full),
                    TrySendError::Disconnected(message) => (message, Busy::Closed),
                }
            })
        };
        shared.submitting.fetch_sub(1, Ordering::SeqCst);
        sent
    }
}

impl<C: Completion> Drop for Store<C> {
    fn drop(&mut self) {
        self.close();
    }
}
