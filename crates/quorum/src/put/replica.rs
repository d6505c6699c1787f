//! What a write knows of one node.

use dynamo_ring::NodeId;

/// A time that does not come: nothing is waited for.
pub(super) const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// A home that takes no writes now. It is never asked.
    Absent,
    /// Not asked yet.
    Idle,
    /// Asked; once its time is up (`due` is NEVER) still hoped for, but no longer waited for.
    InFlight,
    Acked,
    Refused,
}

/// What is known of a node's stable storage, of interest to `OneDurable`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stable {
    NotAsked,
    Asked,
    Yes,
    Failed,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Replica {
    pub node: NodeId,
    pub due: u64,
    pub phase: Phase,
    pub stable: Stable,
    /// The home (index) that it is, or that it holds a hint for.
    pub slot: u8,
    /// Whether its acknowledgement counts toward W.
    pub counts: bool,
    /// The coordinator's own copy while all homes are thought alive: it stands for nobody yet, so it does not count.
    pub spare: bool,
}

impl Replica {
    pub fn idle(node: NodeId) -> Replica {
        let (phase, stable) = (Phase::Idle, Stable::NotAsked);
        Replica { node, due: NEVER, phase, stable, slot: 0, counts: false, spare: false }
    }
}
