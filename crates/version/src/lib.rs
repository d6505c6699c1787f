//! Versions of a key (§4.4): dots, version vectors, sibling sets, contexts, last-write-wins, reconciliation.
//!
//! Where things are: [`Dot`] and [`Actor`] name writes; [`Causality`] is what was seen; [`SiblingSet`] is a key's state
//! at a replica, with the join; [`mint`] picks new dots; [`Timestamp`] orders the truly concurrent where a bucket asks
//! for it; [`ContextCodec`] seals what clients carry.
//!
//! What is deliberately not here: a clock, a source of randomness, any memory between calls. Decoders take bytes from
//! anywhere and never panic; a dot minted twice is a broken invariant of this node, and does.
//!
//! Two clients put without having read each other; both versions stay, until one who has read both puts their merge:
//!
//! ```
//! use bytes::Bytes;
//! use dynamo_version::{Causality, Minter, Mode, Payload, SiblingSet, mint};
//!
//! let node = |node| Minter { node, incarnation: 1, epoch_floor: 1 };
//! let put = |at: &mut SiblingSet, by: Minter, context: &Causality, value: &'static str| {
//!     let (dot, _epoch) = mint(at, context, &by, None, || 1);
//!     let stamp = at.stamp(1_700_000_000_000, at.max_timestamp());
//!     at.write(context, dot, stamp, Payload::Value(Bytes::from(value)), Mode::Siblings);
//! };
//! let (mut one, mut other) = (SiblingSet::new(), SiblingSet::new());
//! put(&mut one, node(1), &Causality::new(), "milk");
//! put(&mut other, node(2), &Causality::new(), "bread");
//!
//! one.merge(&other, Mode::Siblings);
//! assert_eq!(one.values()[..], ["milk", "bread"]);
//!
//! let seen = one.causality().clone();
//! put(&mut one, node(1), &seen, "milk, bread");
//! other.merge(&one, Mode::Siblings);
//! assert_eq!(other.values()[..], ["milk, bread"]);
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]

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
