//! The gRPC services: each translates, none decides.

pub mod admin;
pub mod gossip;
pub mod kv;
pub mod replica;
pub mod ring;
pub mod session;
mod view;
