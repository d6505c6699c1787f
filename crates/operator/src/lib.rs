//! Reconciles DynamoClusters: what is observed of Kubernetes and of the ring goes to the planner, what it decides is carried
//! out, and what it waits for is told.
//!
//! Where things are: `observe` what is seen, `ring` the nodes' word, `act` the planner's actions as writes, `render` what
//! the objects of a cluster look like, `apply` those that need no decision, `authority` certificates, `status` and
//! `events` what people see, `controller` the loop, `leader` that only one works. No decision is made here.

#![forbid(unsafe_code)]

pub mod act;
pub mod apply;
pub mod authority;
pub mod buckets;
pub mod caches;
pub mod context;
pub mod controller;
pub mod events;
pub mod leader;
pub mod metrics;
pub mod observe;
pub mod operator;
pub mod probe;
pub mod render;
pub mod ring;
pub mod settings;
pub mod status;
pub mod tell;
