//! What a request asks for: R and W, sloppy or strict, durability, and its times (§4.5, 6.1).
//!
//! Merging the cluster's, the bucket's and the request's own wishes into these, and refusing an R or W above N, is the
//! driver's.

use dynamo_version::Mode;

/// How durable the copies must be that a write is acknowledged on (§6.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Every counted copy is on stable storage.
    AllDurable,
    /// One counted copy is on stable storage, the others may be buffered.
    OneDurable,
    /// All may be buffered.
    Buffered,
}

/// What a write asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PutSettings {
    /// Distinct nodes that must have the write before it is acknowledged.
    pub w: u8,
    /// Whether a fallback counts (§4.6); else home replicas alone do.
    pub sloppy: bool,
    /// How durable the counted copies must be.
    pub durability: Durability,
    /// Silence after which the next fallback gets the hint.
    pub replica_timeout_us: u64,
    /// The whole request's time, from `new` on.
    pub deadline_us: u64,
}

/// What a read asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GetSettings {
    /// Distinct nodes whose answers are joined before the reader gets one.
    pub r: u8,
    /// Whether fallbacks stand in for homes that are not there (§4.6); else home replicas alone are asked.
    pub sloppy: bool,
    /// How the bucket merges.
    pub mode: Mode,
    /// Time after which one node more is asked, whoever is late (§6: reads wait for the slowest of R).
    pub hedge_after_us: u64,
    /// Silence after which a node is replaced by the next.
    pub replica_timeout_us: u64,
    /// The whole request's time, from `new` on.
    pub deadline_us: u64,
}
