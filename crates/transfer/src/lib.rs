//! What moves between replicas behind the requests: hints (§4.6), partitions that are compared and copied (§4.7, 4.9).
//!
//! One [`Delivery`] machine per target of hints, with an example there. It knows no clock, no disk and no socket: the
//! driver reads pages of hints, sends them, deletes them and reports back.
//!
//! What this crate does not do: decide who is up (gossip), store anything (storage), decide who is home of what (ring).

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod delivery;
mod encode;
mod question;
mod rate;

pub use delivery::{Delivery, DeliverySettings, Effect, Effects, HintMeta, Progress, Refusal};
pub use encode::{DecodeError, FORMAT};
pub use question::{Answer, Ask, MergeRefusal, Page, Question, Record, Refused, Reply, StoreFailed, Stored};
