//! The client library: straight to a coordinator (§6.4), with contexts, retries and merging.
//!
//! Where things are: [`Client`] the requests; `session` one multiplexed stream per node; `nodes` which node to use;
//! [`Error`] what can go wrong. Reconciling siblings is the caller's ([`Client::update`] takes a merge).

#![forbid(unsafe_code)]

mod client;
mod config;
mod error;
mod nodes;
mod session;

pub use client::{Client, Delete, Found, Put, Written};
pub use config::{Config, Routing};
pub use dynamo_version::text as context_text;
pub use error::{Code, Error};
