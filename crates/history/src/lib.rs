//! What clients did and saw, and the checkers that judge it: the simulator's, and those of clients of real clusters.
//!
//! Whoever drives the clients keeps a [`History`], finds out at the end what stands of each key ([`Ending`]), says what was
//! promised ([`Terms`]), and asks [`check`] whether anything is wrong. Nothing here knows how the clients reached the
//! cluster, nor a clock: times are those of who records them.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod check;
mod history;
mod terms;

pub use check::{Ending, Evidence, Violation, check, lost, violations, void_promises};
pub use history::{
    Collected, History, Minted, Promise, ReadRecord, Seen, WriteId, WriteOutcome, WriteRecord, value_of,
};
pub use terms::{Bucket, Terms};
