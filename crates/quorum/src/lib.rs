//! One state machine per read and per write: sloppy and strict quorums, hedging, read repair (§4.5, 4.6).
//!
//! A machine is told what came in (an acknowledgement, a refusal, a state, that time has passed) and pushes what has to
//! go out into a list of effects. It knows no clock, no socket and no disk: times are microseconds of whatever epoch the
//! driver keeps, and who is alive was resolved by the driver, which passes the ring's walk as [`Candidate`]s.
//!
//! What it does not do: mint versions (that is `version`, under the storage engine's lock), deliver hints (`transfer`),
//! retry a request on a newer ring (the driver does, when [`NotEnough`] shows replicas that are sealed).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod candidate;
mod error;
mod get;
mod put;
mod settings;

pub use candidate::{Candidate, NodeState};
pub use error::{NotEnough, Operation, Refusal, Refusals};
pub use get::{Answer, Found, Get, GetEffect, GetEffects};
pub use put::{Put, PutEffect, PutEffects};
pub use settings::{Durability, GetSettings, PutSettings};
