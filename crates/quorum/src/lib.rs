//! One state machine per read and per write: sloppy and strict quorums, hedging, read repair (§4.5, 4.6).
//!
//! A machine is told what came in (an acknowledgement, a refusal, a state, that time has passed) and pushes what has to
//! go out into a list of effects. It knows no clock, no socket and no disk: times are microseconds of whatever epoch the
//! driver keeps, and who is alive was resolved by the driver, which passes the ring's walk as [`Candidate`]s.
//!
//! Where things are: [`Put`] is a write and [`Get`] a read, each with an example; [`PutSettings`] and [`GetSettings`] say
//! what the request asks for (R, W, sloppy or strict, durability, times); [`NotEnough`] says why it could not be had;
//! [`Resend`] says what may be sent of a write that met a turn of the ring half done.
//!
//! What it does not do: mint versions (that is `version`, on the storage engine's thread), deliver hints (`transfer`),
//! retry a request on a newer ring (whoever hears [`NotEnough`] with replicas that are sealed is told to).

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod candidate;
mod error;
mod get;
mod put;
mod resend;
mod settings;

pub use candidate::{Candidate, NodeState};
pub use error::{NotEnough, Operation, Refusal, Refusals};
pub use get::{Answer, Found, Get, GetEffect, GetEffects};
pub use put::{Put, PutEffect, PutEffects};
pub use resend::Resend;
pub use settings::{Durability, GetSettings, PutSettings};
