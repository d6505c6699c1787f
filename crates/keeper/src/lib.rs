//! What a node does behind the requests: its vote on the ring, its part in a change of it, and that its partitions hold
//! what they are to hold (§4.7, 4.9).
//!
//! One [`Keeper`] per node, sans-I/O: questions, answers, finished disk operations and the time go in, [`Effect`]s come out.
//! Where things are: [`registry`] the register (votes, attempts, the newest value); [`step`] what the step under way
//! moves; [`steward`] who drives it; [`fill`] what this node is being filled with; [`jobs`] comparisons under way;
//! [`collect`] how tombstones go; [`message`] what keepers say to each other.
//!
//! What is deliberately not here: requests of clients, hints, membership by gossip (the driver says who answers), the
//! placement of tokens (`dynamo_ring::planner`), who may ask for a change.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod adopt;
pub mod collect;
mod doubt;
mod effect;
pub mod fill;
mod homes;
mod incoming;
pub mod jobs;
mod keeper;
mod leftovers;
mod looking;
mod lots;
pub mod message;
mod recall;
pub mod registry;
pub mod report;
mod scrub;
pub mod step;
pub mod steward;
mod trouble;
mod turn;
mod yielding;

pub use collect::CollectStatus;
pub use doubt::CLEAR_KEY;
pub use effect::{ChangeError, Effect, Effects, StoreAsk, StoreDone};
pub use keeper::{Keeper, Kept, Settings, Situation, Trees, WHOLE_KEY, with_tree};
pub use lots::LOTS_KEY;
pub use message::{Answer, Question};
pub use recall::{Found, Mark, STARTS_KEY, Started, Superseded};
pub use report::Report;
pub use steward::StepProgress;
