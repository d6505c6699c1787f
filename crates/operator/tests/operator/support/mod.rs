//! A Kubernetes with a real control plane, in which this test is the kubelets and the nodes.

pub mod faults;
pub mod kubelet;
#[path = "../../../../planner/tests/world/nodes.rs"]
#[allow(dead_code, reason = "the planner's tests use all of it")]
pub mod nodes;
pub mod plane;
mod rights;
pub mod stub;
pub mod tls;

pub use plane::{OPERATOR, SECOND, World, patient};
