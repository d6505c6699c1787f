//! What the keeper wants of the engine, and what it says, on the engine's threads: [`Task`] translates.

use std::sync::Arc;

use bytes::Bytes;
use dynamo_keeper::{Kept, StoreAsk, StoreDone, Trees, registry};
use dynamo_keeping::{Asked, KEYS, Task, meta_key};
use dynamo_merkle::Tree;
use dynamo_ring::{Partition, charter::Charter};
use dynamo_storage::{Outcome, Read, StoreError};
use dynamo_version::Mode;
use parking_lot::Mutex;

use super::{KeeperEvents, KeeperNews};
use crate::{
    completion::{Done, LocalStore},
    coordinator::Coordinator,
};

/// The engine's trees.
pub struct LocalTrees<'a>(pub &'a LocalStore);

impl Trees for LocalTrees<'_> {
    fn with(&self, partition: u16, read: &mut dyn FnMut(&Tree)) {
        self.0.with_tree(Partition(partition), read);
    }
}

/// What the disk holds of the keeper's; what it remembers of others' starts, which of its lives is beyond doubt,
/// and the lots of its own starts.
///
/// # Errors
/// It can't be read.
pub fn kept(coordinator: &Coordinator, first: &Charter) -> anyhow::Result<(Kept, [Option<Bytes>; 3])> {
    let get = |key: &str| match coordinator.store.read_now(&Read::Meta { key: meta_key(key) }) {
        Ok(Outcome::Meta(value)) => Ok(value),
        Ok(_) => unreachable!("meta is answered with meta"),
        Err(error) => Err(anyhow::Error::new(error).context("the ring's value on this disk can't be read")),
    };
    let [state, known, lives, whole, starts, clear, lots] = KEYS.map(get);
    let fences = first.ring().partitions().iter().map(|partition| coordinator.store.fence(partition)).collect();
    let register = registry::Kept { state: state?, known: known?, lives: lives? };
    Ok((Kept { register, whole: whole?, fences }, [starts?, clear?, lots?]))
}

/// One thing that was asked, of which the engine may make several operations.
#[derive(Debug)]
pub struct Pending {
    events: KeeperEvents,
    ticket: u64,
    task: Mutex<Task>,
}

impl std::fmt::Debug for KeeperEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeeperEvents")
    }
}

impl Pending {
    /// Has the engine do it; the keeper's task hears of the end.
    pub fn begin(coordinator: &Arc<Coordinator>, events: &KeeperEvents, ticket: u64, ask: StoreAsk) {
        if let StoreAsk::Spent { retired, .. } = &ask
            && retired.is_empty()
            && coordinator.store.counters().tombstones() == 0
        {
            // Names are rarely too many where nothing was ever deleted and nobody is gone: not worth reading all.
            let nothing = StoreDone::Spent { items: vec![], go_on: None, bytes: 0 };
            return events.send(KeeperNews::Stored(ticket, nothing));
        }
        let mode_of = |bucket: &str| coordinator.buckets.get(bucket).map_or(Mode::Siblings, |bucket| bucket.mode);
        let (task, asked) = match Task::begin(ask, mode_of) {
            Ok(begun) => begun,
            Err(done) => return events.send(KeeperNews::Stored(ticket, done)),
        };
        let pending = Arc::new(Pending { events: events.clone(), ticket, task: Mutex::new(task) });
        for asked in asked {
            let done = Done::Keeper(pending.clone());
            let taken = match asked {
                Asked::Op(op) => coordinator.store.submit(op, done),
                Asked::Read(read) => coordinator.store.read(read, done),
            };
            if let Err((done, busy)) = taken {
                done.not_taken(busy);
            }
        }
    }

    /// The engine has finished one of its operations. Called on the engine's threads.
    pub fn done(&self, result: Result<Outcome, StoreError>) {
        if let Err(error) = &result {
            tracing::debug!(%error, "the store failed the keeper");
        }
        let done = self.task.lock().done(result);
        if let Some(done) = done {
            self.events.send(KeeperNews::Stored(self.ticket, done));
        }
    }
}
