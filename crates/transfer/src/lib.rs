//! What moves between replicas behind the requests: hints (§4.6), partitions that are compared and copied (§4.7, 4.9).
//!
//! - [`Delivery`] sends the hints for one target, with an example there.
//! - [`Comparison`] compares one partition with one peer and moves what differs; [`Answering`] is the other side. What they
//!   say to each other are [`Question`]s and [`Answer`]s.
//! - [`Schedule`] says which partition is compared with which peer next (§4.7), [`Slices`] how fast all of this may be (§6.5).
//!
//! They know no clock, no disk and no socket: the driver reads, sends, merges, deletes and reports back. What this crate does
//! not do: decide who is up (gossip), store anything (storage), decide who is home of what (ring).

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod answering;
mod anti_entropy;
mod comparison;
mod controller;
mod delivery;
mod encode;
mod question;
mod rate;
mod slices;

pub use answering::{Answering, AnsweringEffect, AnsweringEffects, AnsweringSettings, PartitionView};
pub use anti_entropy::{
    RootsQuestion, RootsReply, Schedule, ScheduleEffect, ScheduleEffects, ScheduleSettings, digest_of,
};
pub use comparison::{
    Comparison, ComparisonEffect, ComparisonEffects, ComparisonSettings, Ended, Moved, Outcome, Purpose,
};
pub use controller::Watch;
pub use delivery::{Delivery, DeliverySettings, Effect, Effects, HintMeta, Progress, Refusal};
pub use encode::{DecodeError, FORMAT};
pub use question::{Answer, Ask, MergeRefusal, Page, Question, Record, Refused, Reply, StoreFailed, Stored};
pub use slices::{CLASSES, Class, ClassState, SliceSettings, SliceState, Slices};
