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

/// A node's load, in round figures: each change is news that all are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Live keys.
    pub keys: u64,
    /// Deleted keys whose tombstones are kept.
    pub tombstones: u64,
    /// Bytes stored.
    pub bytes: u64,
    /// Hints held for others (§4.6).
    pub hints_held: u64,
    /// Bytes free on the volume.
    pub disk_free: u64,
}

/// What a node says of itself (§4.8.1). Only the node itself changes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeInfo {
    /// Its id.
    pub id: NodeId,
    /// Its stable name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Its weight in the ring: its share of the tokens beside that of others (§4.2).
    pub weight: u32,
    /// Which life of its disk: milliseconds since the Unix epoch when it began.
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
    /// Its ring's epoch: which membership it goes by (§4.8.1).
    pub ring_epoch: u64,
    /// Its version of the ring's register: another than its peers' has news for one of them.
    pub ring_version: u64,
    /// Partitions of which it has records and is no home any more.
    pub leftovers: u32,
    /// Partitions of which it is a home and that are being filled.
    pub refilling: u32,
    /// The newest version of the peers' language that it speaks; 0: it has not said.
    pub protocol: u32,
    /// The oldest; 0: the same.
    pub protocol_lowest: u32,
    /// SHA-256 of the certificate that it shows, in hex; empty: it has none, or has not said.
    pub certificate: String,
    /// Until when that is valid, seconds since the Unix epoch.
    pub certificate_until_s: u64,
    /// SHA-256 of each authority's certificate that it trusts, in hex, sorted.
    pub trusted: Vec<String>,
    /// Which of them has signed its certificate; empty: none.
    pub certificate_signed_by: String,
    /// What is wrong with its certificate or tokens; empty: nothing.
    pub certificate_problem: String,
}

/// How new a [`NodeInfo`] is (§4.8.1): the greater is the newer. The generation grows with each start of the node (a
/// counter on its disk), so what a restarted node says is newer than all it said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Version {
    /// Which start, counted from 1; greater where an earlier life had to be outdone.
    pub generation: u64,
    /// Which change since. It begins at the incarnation, not at 1: a disk that was lost takes its counter with it, and two
    /// lives of one node must not give one number to two things.
    pub number: u64,
}

impl Version {
    pub(crate) fn first(generation: u64, incarnation: u64) -> Self {
        Self { generation, number: incarnation.max(1) }
    }

    /// Of the next change. At the very end of the numbers, which only a made-up version can bring about, it stays.
    pub(crate) fn next(self) -> Self {
        match (self.number.checked_add(1), self.generation.checked_add(1)) {
            (Some(number), _) => Self { number, ..self },
            (None, Some(generation)) => Self { generation, number: 0 },
            (None, None) => self,
        }
    }

    /// Newer than another that is remembered of this node. A generation of its own: among the other's numbers there may
    /// be newer ones of which this node has not been told.
    pub(crate) fn beyond(self, other: Version) -> Self {
        match other.generation.checked_add(1) {
            Some(generation) => Self { generation, ..self },
            None => other.next(),
        }
    }
}
