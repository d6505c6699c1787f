//! Dynamo's ring: tokens, partitions, preference lists, zone spread, placement, epochs (§4.2, 4.3, 6.2).
//!
//! Where things are: [`Position`] and [`Partition`] say where a key stands; [`Ring`] is who owns what at one epoch, with
//! every walk worked out; [`planner`] deals the tokens; [`NodeId`] names nodes.
//!
//! What is deliberately not here: addresses, liveness, a clock. A ring does not know who is up.
//!
//! A key's home replicas, from the members of a cluster alone:
//!
//! ```
//! use dynamo_ring::{Member, NodeId, PartitionCount, Position, Ring};
//!
//! let member = |name: &str, zone: &str| Member {
//!     id: NodeId::initial("shop", name),
//!     name: name.to_owned(),
//!     zone: zone.to_owned(),
//!     weight: 1,
//! };
//! let members = vec![member("a1", "a"), member("a2", "a"), member("b1", "b"), member("c1", "c")];
//! let ring = Ring::bootstrap(3, PartitionCount::try_from(64)?, members)?;
//!
//! let partition = ring.partitions().partition_of(Position::of(b"cart/17"));
//! let homes = ring.preference_list(partition);
//! assert_eq!(homes.len(), 3);
//! let mut zones: Vec<&str> = homes.iter().map(|id| &*ring.member(*id).expect("a home is a member").zone).collect();
//! zones.sort();
//! assert_eq!(zones, ["a", "b", "c"]);
//! // The fourth node stands in when a home is down (§4.6).
//! assert_eq!(ring.walk(partition).skip(ring.homes()).count(), 1);
//! # Ok::<(), dynamo_ring::RingError>(())
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod charter;
mod encode;
mod error;
mod id;
pub mod planner;
mod position;
pub mod register;
mod ring;
mod walk;

pub use encode::FORMAT;
pub use error::RingError;
pub use id::{NodeId, NodeIdError};
pub use position::{Partition, PartitionCount, Position};
pub use ring::{Member, REPLICAS_MAX, Ring};
pub use walk::FALLBACKS;
