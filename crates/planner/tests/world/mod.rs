//! A cluster of Kubernetes with one store in it, whose nodes are a model.

#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

mod nodes;

pub use dynamo_cluster_model::{wanted, zones};

pub type World = dynamo_cluster_model::World<nodes::Nodes>;
