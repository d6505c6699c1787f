//! The nodes that a request may turn to: the ring's walk with what the coordinator believes of each (§4.3, 4.6).
//!
//! Liveness is the driver's: a machine never learns that a node went down but by its refusal or its silence.

use dynamo_ring::NodeId;

/// What the coordinator believes a node to be good for (§4.8.3: its own belief, nobody voted).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeState {
    /// Serves reads and writes.
    Up,
    /// Not asked at all.
    Down,
    /// Its disk is full or failing: serves reads, takes neither writes nor hints.
    ReadOnly,
}

/// One node of the walk. A request is given the whole walk, in its order: homes first, each node once (a second mention
/// is ignored).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// Whether it is on the key's preference list (§4.3); else it is a fallback (§4.6).
    pub home: bool,
    /// What it is good for.
    pub state: NodeState,
    /// How fast it answered lately, microseconds; reads ask the fastest homes first.
    pub latency_us: u32,
}
