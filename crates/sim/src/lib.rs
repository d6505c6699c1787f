//! The simulator: five (or more) nodes with a simulated network and simulated disks, under virtual time, from one seed.
//!
//! It drives the same protocol crates as `dynamo-node` does, and checks what clients saw. The same seed gives the same
//! run, byte for byte: nothing in a run reads a clock, a thread or a hash map's order.
//!
//! Where things are: a [`Scenario`] makes a [`Plan`] of a seed; [`run`] carries it out; what goes wrong is [`fault`];
//! what must hold is in `crates/history` and `check/`; `node/` is the glue that `crates/node/src` has for real.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod campaign;
mod chance;
mod check;
mod client;
pub mod coverage;
mod disk;
pub mod edit;
pub mod fault;
mod known_bad;
mod message;
mod network;
mod node;
mod operator;
pub mod plan;
mod promise;
mod run;
mod scenario;
mod scenarios;
mod shrink;
pub mod tending;
mod trace;
mod world;

use dynamo_history as history;

pub use campaign::{Campaign, Failure, Tally};
pub use history::Violation;
pub use plan::Plan;
pub use run::{Report, Telling, Variant, run};
pub use scenario::Scenario;
pub use shrink::{Shrunk, shrink};
