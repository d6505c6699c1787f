//! Fake nodes, a cluster of them, and a clock that the test moves.

mod clock;
mod cluster;
mod node;
mod ring;
mod script;
mod service;

use std::{future::Future, time::Duration};

use bytes::Bytes;
use dynamo_client::{Client, Error, Found, Put, Written};

pub use self::{
    clock::Clock,
    cluster::Cluster,
    node::Node,
    ring::{RingAnswer, RingCall, RingReply},
    script::{Reply, fail, key_of as key, normal},
};

/// Long enough for anything that is to happen at all, on a machine that has much else to do.
pub const LONG: Duration = Duration::from_secs(30);

/// Waits until it is so.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("it never came to this: {what}"));
}

/// Asks again and again until it is so.
pub async fn asked_until<F: Future>(what: &str, mut ask: impl FnMut() -> F, is_so: impl Fn() -> bool) {
    let asking = async {
        while !is_so() {
            ask().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, asking).await.unwrap_or_else(|_| panic!("it never came to this: {what}"));
}

pub async fn get(client: &Client, key: &str) -> Result<Found, Error> {
    client.get("default", key.to_owned(), None).await
}

pub async fn put(client: &Client, key: &str) -> Result<Written, Error> {
    client.put(Put::new("default", key.to_owned(), "value")).await
}

pub fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
