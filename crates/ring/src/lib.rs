//! Dynamo's ring: tokens, partitions, preference lists, zone spread, placement, epochs (§4.2, 4.3, 6.2).
//!
//! Where things are: [`Position`] and [`Partition`] say where a key stands; [`Ring`] is who owns what at one epoch, with
//! every walk worked out; [`planner`] deals the tokens; [`NodeId`] names nodes.
//!
//! What is deliberately not here: addresses, liveness, a clock. A ring does not know who is up.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

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
