//! The client library: straight to a coordinator (§6.4), with contexts, retries and merging.
//!
//! Where things are: [`Client`] the requests; `ask` from node to node until one answers; `attempt` whether a request may
//! go to another node; `admin` buckets, status and changes of the ring; `session` one multiplexed stream per node, with
//! `pending` and `frames`; `line` what is shown to a node; `nodes` which node to use; `map` the ring; [`Error`] what can go
//! wrong. Reconciling siblings is the caller's ([`Client::update`] takes a merge).

#![forbid(unsafe_code)]

mod admin;
mod alone;
mod ask;
mod attempt;
mod client;
mod config;
mod error;
mod frames;
mod line;
mod map;
mod nodes;
mod pending;
mod requests;
mod session;

pub use admin::ring::RingChanges;
pub use client::Client;
pub use config::{Config, Routing};
pub use dynamo_tls::CallerFiles;
pub use dynamo_version::text as context_text;
pub use error::{Code, Error};
pub use requests::{Delete, Found, Put, Written};
