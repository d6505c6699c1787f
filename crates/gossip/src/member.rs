//! What nodes tell each other about themselves.

use dynamo_ring::NodeId;

/// What a node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Not serving yet.
    #[default]
    Starting,
    /// Serving.
    Serving,
    /// About to stop: ask others.
    Draining,
}

/// How a node's disk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disk {
    /// It takes writes.
    #[default]
    Ok,
    /// No space: it serves reads only.
    Full,
    /// Errors: it serves what reads it can.
    Failing,
}

/// A node's load, in round figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Live keys.
    pub keys: u64,
    /// Deleted keys whose tombstones are kept.
    pub tombstones: u64,
    /// Bytes stored.
    pub bytes: u64,
    /// Hints held for others.
    pub hints_held: u64,
    /// Bytes free on the volume.
    pub disk_free: u64,
}

/// What a node says of itself. Only the node itself changes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeInfo {
    /// Its id.
    pub id: NodeId,
    /// Its stable name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Its weight in the ring.
    pub weight: u32,
    /// Which life of its disk.
    pub incarnation: u64,
    /// Where peers reach it now, host:port.
    pub peer_addr: String,
    /// Where clients reach it now, host:port.
    pub client_addr: String,
    /// What it is doing.
    pub phase: Phase,
    /// How its disk does.
    pub disk: Disk,
    /// Its load.
    pub load: Load,
    /// Its ring's epoch.
    pub ring_epoch: u64,
}

/// How new a [`NodeInfo`] is. The generation grows with each start of the node (a counter on its disk), so what a
/// restarted node says is newer than all it said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Version {
    /// Which start.
    pub generation: u64,
    /// Which change since.
    pub number: u64,
}
