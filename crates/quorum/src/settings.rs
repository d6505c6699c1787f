//! What a request asks for: R and W, sloppy or strict, durability, and its times (§4.5, 6.1).
//!
//! Merging the cluster's, the bucket's and the request's own wishes into these, and refusing an R or W above N, is the
//! driver's.

use dynamo_version::Mode;

/// How durable the copies must be that a write is acknowledged on (§6.1: latency against durability).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Every counted copy is on stable storage.
    AllDurable,
    /// One counted copy is on stable storage, the others may be buffered.
    OneDurable,
    /// All may be buffered.
    Buffered,
}

/// What a write asks for (§4.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PutSettings {
    /// W: distinct nodes that must have the write before it is acknowledged. 0 is taken for 1; more than there are homes
    /// cannot be met.
    pub w: u8,
    /// Whether a fallback counts (§4.6); else home replicas alone do. Fallbacks are sent hints in either case.
    pub sloppy: bool,
    /// How durable the counted copies must be.
    pub durability: Durability,
    /// Silence of a node, microseconds, after which the next fallback gets the hint.
    pub replica_timeout_us: u64,
    /// The whole request's time, microseconds from [`Put::new`](crate::Put::new) on.
    pub deadline_us: u64,
}

/// What a read asks for (§4.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GetSettings {
    /// R: distinct nodes whose answers are joined before the reader gets one. 0 is taken for 1; more than there are homes
    /// cannot be met.
    pub r: u8,
    /// Whether fallbacks stand in for homes that are not there (§4.6); else home replicas alone are asked.
    pub sloppy: bool,
    /// How the bucket merges.
    pub mode: Mode,
    /// Time, microseconds from [`Get::start`](crate::Get::start) on, after which one home more is asked, whoever is late
    /// (§4.5: a request waits for the slowest of R). `u64::MAX`: never.
    pub hedge_after_us: u64,
    /// Silence of a node, microseconds, after which the next is asked in its place.
    pub replica_timeout_us: u64,
    /// The whole request's time, microseconds from [`Get::new`](crate::Get::new) on.
    pub deadline_us: u64,
}
