//! Hinted handoff: what to send, when it is safe to drop (§4.6).
//!
//! One [`Delivery`] machine per target, with an example there. It knows no clock, no disk and no socket: the driver reads
//! pages of hints, sends them, deletes them and reports back. What it does not do: decide who is up (gossip), store hints
//! (storage), find new owners for a hint whose target left.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod delivery;
mod rate;

pub use delivery::{Delivery, DeliverySettings, Effect, Effects, HintMeta, Progress, Refusal};
