//! What happens when the engine has finished an operation: one enum, moved through the engine's queues, so that an
//! operation costs neither an allocation nor a virtual call.
//!
//! Runs on the engine's threads: nothing here blocks.

use std::sync::Arc;

use dynamo_ring::NodeId;
use dynamo_storage::{Applied, Busy, Completion, Outcome, Store, StoreError};
use dynamo_wire::v1::{ReplicaAck, ReplicaRefusal, ReplicaReply, ReplicaState, replica_reply::Reply};
use tokio::sync::mpsc::OwnedPermit;

use crate::{
    coordinator::{Coordinator, RequestId, refusal_of_store, wire_refusal},
    handoff::{HandoffEvents, HandoffNews},
    keeping::Pending,
};

/// The node's store.
pub type LocalStore = Store<Done>;

/// Which step of a request the engine works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Minting the version.
    Mint,
    /// Storing another copy of it here.
    Write,
    /// Reading.
    Read,
}

/// Whom to tell.
pub enum Done {
    /// A request that is coordinated here.
    Local {
        /// The coordinator.
        coordinator: Arc<Coordinator>,
        /// The request.
        id: RequestId,
        /// What was asked.
        step: Step,
        /// Whether the end of a write means that it is on stable storage.
        durable: bool,
        /// What is written is a hint for this home, of which handoff has to hear.
        hint_for: Option<NodeId>,
    },
    /// A peer's request.
    Peer {
        /// The peer's number for it.
        id: u64,
        /// The reply's place in the stream.
        place: OwnedPermit<ReplicaReply>,
        /// Whether the end of a write means that it is on stable storage.
        durable: bool,
        /// Hears of a hint that was stored.
        hint: Option<(HandoffEvents, NodeId)>,
    },
    /// What the keeper asked for.
    Keeper(Arc<Pending>),
    /// A hint that the coordinator keeps.
    KeptHint {
        /// The coordinator.
        coordinator: Arc<Coordinator>,
        /// Whom it is for.
        home: NodeId,
    },
    /// A value of the node program's own, or a question of its tasks.
    Task(tokio::sync::oneshot::Sender<Result<Outcome, StoreError>>),
    /// Read repair of this node's own copy.
    Repaired,
    /// Hinted handoff.
    Handoff {
        /// The handoff task.
        events: HandoffEvents,
        /// For whom the hints are.
        target: NodeId,
        /// What was asked.
        what: HandoffAsk,
    },
}

/// What handoff asked the engine.
#[derive(Debug, Clone)]
pub enum HandoffAsk {
    /// A page of hints.
    Page,
    /// A hint's state.
    /// With the ring's epoch before it was read: what is sent later is no younger than that.
    Hint(dynamo_storage::RecordKey, u64),
    /// To drop a hint that was delivered.
    Drop(dynamo_storage::RecordKey),
    /// To take in a hint for a node that left, this one being a home of its key; with its digest.
    Kept(dynamo_storage::RecordKey, u64),
    /// To drop a hint that has nothing to deliver.
    Forget(dynamo_storage::RecordKey),
}

impl Done {
    /// For a read of a request that `coordinator` drives.
    pub fn read(coordinator: &Arc<Coordinator>, id: RequestId) -> Self {
        Self::Local { coordinator: coordinator.clone(), id, step: Step::Read, durable: false, hint_for: None }
    }

    /// For a write of such a request; `sync` and `hint_for` as in the operation.
    pub fn write(
        coordinator: &Arc<Coordinator>,
        id: RequestId,
        step: Step,
        sync: bool,
        hint_for: Option<NodeId>,
    ) -> Self {
        let durable = coordinator.durable(sync);
        Self::Local { coordinator: coordinator.clone(), id, step, durable, hint_for }
    }

    /// The engine's queue was full. Told from a task of its own: the caller may hold the request's lock.
    pub fn not_taken(self, busy: Busy) {
        let error = match busy {
            Busy::Full => StoreError::Overloaded,
            Busy::Closed => StoreError::Closed,
        };
        let runtime = match &self {
            Self::Local { coordinator, .. } | Self::KeptHint { coordinator, .. } => Some(coordinator.runtime.clone()),
            _ => None,
        };
        match runtime {
            Some(runtime) => drop(runtime.spawn(async move { self.done(Err(error)) })),
            None => self.done(Err(error)),
        }
    }
}

impl Completion for Done {
    fn applied(&mut self, applied: &Applied) {
        if let Self::Local { coordinator, id, step: Step::Mint, .. } = self {
            coordinator.minted(*id, applied);
        }
    }

    fn done(self, result: Result<Outcome, StoreError>) {
        match self {
            Self::Local { coordinator, id, step: Step::Read, .. } => coordinator.read_here(id, result),
            Self::Local { coordinator, id, durable, hint_for, .. } => {
                // Also after an error: what was committed and could not be synced is kept, and has to be delivered.
                if let Some(home) = hint_for {
                    coordinator.handoff.hint_stored(home);
                }
                coordinator.stored_here(id, result.map(|_| durable));
            }
            Self::Peer { id, place, durable, hint } => {
                if let Some((events, home)) = hint {
                    events.hint_stored(home);
                }
                place.send(ReplicaReply { id, reply: Some(peer_reply(result, durable)) });
            }
            Self::KeptHint { coordinator, home } => coordinator.hint_kept(home, result.is_ok()),
            Self::Repaired => {
                if let Err(error) = result {
                    tracing::debug!(%error, "this node's own copy was not repaired; the next read tries again");
                }
            }
            Self::Task(waiting) => drop(waiting.send(result)),
            Self::Keeper(pending) => pending.done(result),
            Self::Handoff { events, target, what } => events.send(HandoffNews::Engine { target, what, result }),
        }
    }
}

fn peer_reply(result: Result<Outcome, StoreError>, durable: bool) -> Reply {
    match result {
        Ok(Outcome::State(None)) => Reply::State(ReplicaState::default()),
        Ok(Outcome::State(Some((set, digest)))) => Reply::State(ReplicaState { set, digest }),
        Ok(_) => Reply::Ack(ReplicaAck { durable }),
        Err(error) => {
            let refusal = wire_refusal(refusal_of_store(&error), error.to_string());
            // Who sent it may have an older ring, and asks for the newer one.
            let epoch = if let StoreError::Sealed { fence } = error { fence } else { 0 };
            Reply::Refusal(ReplicaRefusal { epoch, ..refusal })
        }
    }
}
