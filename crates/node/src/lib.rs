//! The storage node: drives the protocol crates with tokio, tonic and the engine.
//!
//! Where things are: [`run`] puts a node together; `coordinator` drives clients' requests, `replica` serves peers',
//! `link` is the stream to a peer, `membership` drives gossip, `handoff` delivers hints, `service` holds the gRPC faces,
//! [`config`] and [`identity`] are what a node starts from. No protocol is decided here: that is in `quorum`, `gossip`,
//! `transfer`, `version` and `ring`, which know no clock and no socket.

#![forbid(unsafe_code)]

mod batch;
mod buckets;
pub mod cli;
mod clock;
mod cluster;
mod completion;
pub mod config;
mod connections;
mod coordinator;
pub mod gossip_wire;
mod handoff;
mod handover;
mod http;
pub mod identity;
mod keeping;
mod language;
mod latency;
mod link;
mod listen;
mod lost;
mod machine;
mod meeting;
mod membership;
mod metrics;
mod namesake;
mod network;
mod ports;
mod prestop;
mod replica;
mod request;
mod ring_mark;
mod server;
mod service;
mod signals;
mod telemetry;
mod tls;

pub use server::{Ended, run};
