//! This project's store, through its client library as it is by default: straight to a home of the key, one session a node.
//!
//! A put has the newest context that was seen of its key, as the paper's clients have (§4.1), so that it supersedes what is there; of
//! two that meet each other siblings are made, which the next one supersedes.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use dynamo_client::{CallerFiles, Client, Config, Put};
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
    client: Client,
    contexts: Contexts,
}

impl Ours {
    /// Connects with nodes that are ready.
    ///
    /// # Errors
    /// None answers.
    pub async fn connect(endpoints: Vec<String>, tls: Option<CallerFiles>, contexts: Contexts) -> Result<Self> {
        let client = Client::connect(Config { tls, ..Config::new(endpoints) }).await?;
        Ok(Self { client, contexts })
    }

    /// All versions of a key.
    ///
    /// # Errors
    /// Those of the client library.
    pub async fn siblings(&self, number: u64) -> Result<Vec<Bytes>> {
        Ok(self.client.get(BUCKET, key(number).to_vec(), None).await?.values)
    }
}

impl Driver for Ours {
    async fn get(&self, _: usize, number: u64) -> Result<Option<usize>> {
        let found = self.client.get(BUCKET, key(number).to_vec(), None).await?;
        let length = found.values.first().map(Bytes::len);
        self.contexts.remember(number, found.context);
        Ok(length)
    }

    async fn put(&self, _: usize, number: u64, value: Bytes) -> Result<()> {
        let put = Put { context: self.contexts.of(number), ..Put::new(BUCKET, key(number).to_vec(), value) };
        let written = self.client.put(put).await?;
        self.contexts.remember(number, written.context);
        Ok(())
    }
}
