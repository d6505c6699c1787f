//! Versions of a key (§4.4): dots, version vectors, sibling sets, contexts, last-write-wins, reconciliation.
//!
//! Where things are: [`Dot`] and [`Actor`] name writes; [`Causality`] is what was seen; [`SiblingSet`] is a key's state
//! at a replica, with the join; [`mint`] picks new dots; [`Timestamp`] orders the truly concurrent where a bucket asks
//! for it; [`ContextCodec`] seals what clients carry.
//!
//! What is deliberately not here: a clock, a source of randomness, any memory between calls. Decoders take bytes from
//! anywhere and never panic; a dot minted twice is a broken invariant of this node, and does.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod causality;
mod clock;
mod context;
mod dot;
mod encode;
mod mint;
mod siblings;

pub use causality::Causality;
pub use clock::Timestamp;
pub use context::{CONTEXT_BYTES_MAX, CONTEXT_FORMAT, ContextCodec, ContextError, text};
pub use dot::{Actor, Dot};
pub use encode::{DecodeError, FORMAT};
pub use mint::{Minter, mint};
pub use siblings::{Mode, Payload, Relation, Sibling, SiblingSet};
