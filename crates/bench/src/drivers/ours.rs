//! This project's store, through its client library as it is by default: straight to a home of the key, one session a node; or by way of
//! any node, each in turn, as a load balancer that knows no ring would have it (§6.4).
//!
//! A put has the newest context that was seen of its key, as the paper's clients have (§4.1), so that it supersedes what is there; of
//! two that meet each other siblings are made, which the next one supersedes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::Result;
use bytes::Bytes;
use dynamo_client::{CallerFiles, Client, Config, Found, Put, Routing, Written};
use parking_lot::Mutex;

use crate::workload::{Driver, draw::key};

const BUCKET: &str = "default";

/// The newest context of each key, which outlives connections.
#[derive(Clone)]
pub struct Contexts(Arc<Vec<Mutex<Bytes>>>);

impl Contexts {
    /// Nothing was read or written.
    pub fn new(keys: u64) -> Self {
        Self(Arc::new((0..keys).map(|_| Mutex::default()).collect()))
    }

    fn of(&self, key: u64) -> Bytes {
        self.0[key as usize].lock().clone()
    }

    fn remember(&self, key: u64, context: Bytes) {
        *self.0[key as usize].lock() = context;
    }
}

/// A connected client.
#[derive(Clone)]
pub struct Ours {
    /// One; or, where a node is asked whether or not it has the key, one for each.
    clients: Vec<Client>,
    turn: Arc<AtomicUsize>,
    contexts: Contexts,
}

impl Ours {
    /// Connects with nodes that are ready.
    ///
    /// # Errors
    /// None answers.
    pub async fn connect(
        endpoints: Vec<String>,
        tls: Option<CallerFiles>,
        routing: Routing,
        contexts: Contexts,
    ) -> Result<Self> {
        let starts = if routing == Routing::Server { endpoints.len() } else { 1 };
        let mut clients = Vec::new();
        for start in 0..starts {
            // Such a client asks the first one, and others only when that fails.
            let mut endpoints = endpoints.clone();
            endpoints.rotate_left(start);
            clients.push(Client::connect(Config { tls: tls.clone(), routing, ..Config::new(endpoints) }).await?);
        }
        Ok(Self { clients, turn: Arc::default(), contexts })
    }

    fn client(&self) -> &Client {
        match &self.clients[..] {
            [client] => client,
            clients => &clients[self.turn.fetch_add(1, Ordering::Relaxed) % clients.len()],
        }
    }

    /// All versions of a key, and what supersedes them.
    ///
    /// # Errors
    /// Those of the client library.
    pub async fn found(&self, number: u64) -> Result<Found> {
        Ok(self.client().get(BUCKET, key(number).to_vec(), None).await?)
    }

    /// Writes with a context of the caller's own, which need not be the newest.
    ///
    /// # Errors
    /// Those of the client library.
    pub async fn put_after(&self, number: u64, value: Bytes, context: Bytes) -> Result<Written> {
        Ok(self.client().put(Put { context, ..Put::new(BUCKET, key(number).to_vec(), value) }).await?)
    }

    /// All versions of a key.
    ///
    /// # Errors
    /// Those of the client library.
    pub async fn siblings(&self, number: u64) -> Result<Vec<Bytes>> {
        Ok(self.found(number).await?.values)
    }
}

impl Driver for Ours {
    async fn get(&self, _: usize, number: u64) -> Result<Option<usize>> {
        let found = self.found(number).await?;
        let length = found.values.first().map(Bytes::len);
        self.contexts.remember(number, found.context);
        Ok(length)
    }

    async fn put(&self, _: usize, number: u64, value: Bytes) -> Result<()> {
        let written = self.put_after(number, value, self.contexts.of(number)).await?;
        self.contexts.remember(number, written.context);
        Ok(())
    }
}
