//! Who wrote, and which of its writes: actors and dots (§4.4).
//!
//! A dot names one write for ever. That no dot is minted twice is [`mint`](crate::mint)'s concern.

/// Under whose name a version was written: a node, in one life of its disk, with unbroken memory of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor {
    /// The node's id.
    pub node: u128,
    /// Which life of its disk: a node that lost it takes a higher one.
    pub incarnation: u64,
    /// Which unbroken memory of the key: a node that may have forgotten a key takes a fresh one.
    pub key_epoch: u64,
}

/// The name of one write of one key (§4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Under whose name the node that coordinated it wrote.
    pub actor: Actor,
    /// Its number among the actor's writes of this key, from 1.
    pub counter: u64,
}

/// Decoders refuse a higher counter, so that what a peer sends never makes the next one overflow.
pub(crate) const COUNTER_MAX: u64 = u64::MAX - 1;
