//! What the operator does next: pure, so that it can be run through every order of events that a cluster can think of.
//!
//! [`plan`] is told what is wanted ([`Wanted`]), what was seen ([`Observed`]) and since when ([`Memory`]), and gives the next
//! safe writes ([`Action`]) and what it waits for ([`Why`]). It knows no API server, no clock and no node; whoever carries
//! the actions out decides nothing. What that has to keep to is said at [`Plan`], [`Action`] and [`turn`].
//!
//! Where things are: a file a subject, as they stand in [`plan`]'s text. The invariants and where each is kept are in
//! docs/OPERATOR.md.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod action;
pub mod certificates;
mod founding;
mod memory;
mod names;
mod observed;
mod pdb;
mod plan;
mod quorum;
mod receipt;
pub mod record;
mod replacement;
mod restarts;
mod ring_changes;
mod scale_down;
mod scale_up;
mod status;
pub mod turn;
mod volumes;
mod wanted;
mod why;
mod words;
mod zones;

pub use action::{Action, Edit, PARKED, Plan};
pub use memory::{Fact, Memory};
pub use names::{PodId, Uid, Version, listed, said_of};
pub use observed::{
    ChangeView, ClaimView, Founders, HostView, Mark, NodeView, Observed, PodView, ReceiptView, RingView, SetView,
};
pub use plan::plan;
pub use receipt::Cleared;
pub use status::{Condition, conditions};
pub use wanted::{Maintenance, Reclaim, StorageWanted, Wanted, ZoneWanted};
pub use why::Why;
