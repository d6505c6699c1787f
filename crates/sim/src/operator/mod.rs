//! Operators beside the nodes: the planner and the model of Kubernetes that its own tests have, whose pods are this run's
//! hosts.
//!
//! Where things are: `nodes` is what that model is told of the nodes and wants of them; `world/tending.rs` carries it out.

mod nodes;

pub use nodes::{Change, Nodes, Wish};

use dynamo_planner::RingView;

/// Set in the numbers of what operators ask keepers, which share their answers with administrators.
pub const MARK: u64 = 1 << 62;

/// What a node answers to an operator.
#[derive(Debug)]
pub enum News {
    /// The ring, as it tells it.
    Looked { request: u64, node: u8, ring: Box<RingView> },
    /// What came of a change.
    Changed { request: u64, made: bool },
}
