//! Membership, liveness and bucket definitions, spread by gossip (§4.8).
//!
//! Where things are: [`Gossip`] is the machine; [`NodeInfo`] what a node says of itself; [`Detector`] what one node thinks
//! of another (§4.8.3); [`BucketTable`] the buckets; [`Message`] what travels.
//!
//! What is deliberately not here: a clock, a random source, a socket; and any agreement on who is alive.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod buckets;
mod detector;
mod machine;
mod member;
mod message;
mod nodes;
mod probes;

pub use buckets::{BUCKETS_MAX, Bucket, BucketMode, BucketTable, Creation};
pub use detector::{Detector, Failure, PeerState};
pub use machine::{Effect, Effects, Gossip, Settings, Target};
pub use member::{Disk, Load, NodeInfo, Phase, Version};
pub use message::{Digest, Message};
