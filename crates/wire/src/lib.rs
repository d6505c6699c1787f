//! The messages and services that clients, nodes and the operator speak, generated from `proto/`.
//!
//! Nothing here decides anything: conversion to the protocol crates' types stands where the types are driven
//! (`node`, `client`). Byte fields are [`bytes::Bytes`], so that a value is not copied between socket and engine.

/// Newest version of the language between nodes that is spoken here. Two nodes speak the newest that both know.
pub const PEER_PROTOCOL: u32 = 2;
/// Oldest version that is spoken here. Each release speaks the newest version of the one before, so that nodes can be
/// upgraded one by one.
pub const PEER_PROTOCOL_LOWEST: u32 = 2;
/// What somebody speaks who does not say it: the last version before nodes said it.
pub const PEER_PROTOCOL_UNSAID: u32 = 2;
/// Metadata key that carries the name of an [`v1::ErrorCode`] beside a gRPC status.
pub const CODE_METADATA: &str = "dynamo-code";
/// Metadata key of a replica stream: the sender's cluster.
pub const CLUSTER_METADATA: &str = "dynamo-cluster";
/// Metadata key of a replica stream: the sender's node id.
pub const NODE_METADATA: &str = "dynamo-node";
/// Metadata key of a replica stream: the id of the node that the sender looks for.
pub const TARGET_METADATA: &str = "dynamo-target";
/// Metadata key of a replica stream: the epoch and a digest of the ring that the sender goes by.
pub const RING_METADATA: &str = "dynamo-ring";
/// Metadata key of a replica stream: the sender's [`PEER_PROTOCOL`]; in the answer the version that is spoken.
pub const PROTOCOL_METADATA: &str = "dynamo-protocol";
/// Metadata key of a replica stream: the sender's [`PEER_PROTOCOL_LOWEST`].
pub const PROTOCOL_LOWEST_METADATA: &str = "dynamo-protocol-lowest";
/// Name of the bucket that always exists.
pub const DEFAULT_BUCKET: &str = "default";

/// Package `dynamo.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("dynamo.v1");
}

/// The compiled descriptors, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dynamo_descriptor.bin"));
