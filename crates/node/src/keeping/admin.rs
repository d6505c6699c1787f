//! What administrators ask of the keeper's task, and what they are shown.

use std::sync::Arc;

use dynamo_keeper::{ChangeError, CollectStatus, Keeper, StepProgress};
use dynamo_ring::{NodeId, charter::Charter};
use tokio::sync::oneshot;

use super::Keeping;

/// For how long those who take part in a step are asked after somebody looked, microseconds.
const WATCH_US: u64 = 5_000_000;

/// A request.
pub enum Asked {
    /// To make this the charter after the version named.
    Change {
        /// The version that it was planned on.
        expected: u64,
        /// The charter.
        charter: Box<Charter>,
        /// Hears what came of it: the new version.
        reply: oneshot::Sender<Result<u64, ChangeError>>,
    },
    /// Whether the ring that this node goes by is the newest.
    Look {
        /// Hears it, and what the node knows by then.
        reply: oneshot::Sender<Looked>,
    },
    /// Somebody looks at the change under way.
    Watch,
}

/// What came of a look: the version that was the newest, or why that is not known; and all that the node knows by then.
pub type Looked = (Result<u64, String>, Arc<KeeperStatus>);

/// Who waits for it.
pub(super) type Looking = oneshot::Sender<Looked>;

/// What there is to be seen.
pub struct KeeperStatus {
    /// The register's version.
    pub version: u64,
    /// What it says.
    pub charter: Arc<Charter>,
    /// Whether this node's disk gives a vote that counts now.
    pub votes: bool,
    /// Where the step under way stands, as far as this node has asked.
    pub progress: Option<StepProgress>,
    /// Partitions that this node still has and is no home of.
    pub leftovers: usize,
    /// Partitions that it is being filled with after its disk was emptied.
    pub refilling: usize,
    /// Where collecting tombstones stands.
    pub collecting: CollectStatus,
}

impl KeeperStatus {
    /// As a keeper says now.
    pub fn of(keeper: &Keeper) -> Self {
        let charter = keeper.charter().clone();
        Self {
            version: keeper.version(),
            progress: keeper.progress(|id| name(&charter, id)),
            charter,
            votes: keeper.votes(),
            leftovers: keeper.leftovers(),
            refilling: keeper.refilling(),
            collecting: keeper.collecting(),
        }
    }
}

/// A node's name, where the charter has it.
pub fn name(charter: &Charter, id: NodeId) -> String {
    let joining = charter.change().into_iter().flat_map(|change| &change.members);
    let known = charter.ring().members().iter().chain(joining).find(|member| member.id == id);
    known.map_or_else(|| id.to_string(), |member| member.name.clone())
}

impl Keeping {
    pub(super) fn administer(&mut self, asked: Asked) {
        match asked {
            Asked::Change { expected, charter, reply } => {
                self.next_change += 1;
                let request = self.next_change;
                self.changes.insert(request, reply);
                self.drive(|keeper, at, effects| keeper.change(request, expected, *charter, at, effects));
            }
            Asked::Look { reply } => {
                self.next_change += 1;
                let request = self.next_change;
                self.looks.insert(request, reply);
                self.drive(|keeper, at, effects| keeper.look(request, at, effects));
            }
            Asked::Watch => {
                let until = self.coordinator.clock.now_us() + WATCH_US;
                self.keeper.watch(until);
            }
        }
    }
}
