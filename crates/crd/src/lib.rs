//! `DynamoCluster` (`dynamo-k8s.io/v1alpha1`), as people write it and as the operator answers.
//!
//! [`DynamoClusterSpec`] is what is wanted, [`DynamoClusterStatus`] what is; the comments of their fields are the
//! descriptions that `kubectl explain dynamocluster` shows, so they are written for users. [`rules`] holds every rule
//! that the API server checks, [`definition()`] the whole custom resource definition, [`names`] what the operator calls
//! the objects of a cluster, and [`quantity`] sizes.
//!
//! Nothing here talks to Kubernetes: a pure planner takes these types, and no client comes with them.

#![forbid(unsafe_code)]

mod buckets;
mod clients;
mod cluster;
mod definition;
mod maintenance;
pub mod names;
mod pods;
pub mod quantity;
mod replication;
pub mod rules;
pub mod status;
mod storage;
mod tls;
mod zones;

pub use buckets::{Bucket, BucketMode, BucketSettings};
pub use clients::{Clients, ServiceType};
pub use cluster::{Durability, DynamoCluster, DynamoClusterSpec, Slo};
pub use definition::{definition, definition_yaml_value, sorted};
pub use maintenance::{Maintenance, Replacement};
pub use pods::PodOverrides;
pub use replication::Replication;
pub use status::DynamoClusterStatus;
pub use storage::{Reclaim, ReclaimPolicy, Storage, ZoneStorage};
pub use tls::{ClientAuth, Tls, TlsMode};
pub use zones::Zone;

/// The API group.
pub const GROUP: &str = "dynamo-k8s.io";
/// The version of it that is served and stored.
pub const VERSION: &str = "v1alpha1";
