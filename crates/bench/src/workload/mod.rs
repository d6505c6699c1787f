//! What every store is asked for, by the same code: it knows no store. One is a [`Driver`].
//!
//! [`draw`] which key and what is written, [`ledger`] what was acknowledged, [`preload`] all keys once, [`closed`] so many
//! clients with one request each, [`open`] so many requests a second, [`tally`] what came of them.

pub mod closed;
pub mod draw;
pub mod ledger;
pub mod open;
pub mod preload;
pub mod tally;

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;

use self::{
    draw::{Draws, Values, Wish},
    ledger::Ledger,
};

/// What a store has to offer to be loaded. One value is shared by all clients.
pub trait Driver: Send + Sync + 'static {
    /// Length of the value of this key; None when the key is absent.
    fn get(&self, client: usize, key: u64) -> impl Future<Output = Result<Option<usize>>> + Send;
    /// Writes over whatever the key has.
    fn put(&self, client: usize, key: u64, value: Bytes) -> impl Future<Output = Result<()>> + Send;
}

/// What a store holds, and what it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// How many keys there are.
    pub keys: u64,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// 0 to 100.
    pub read_percent: u32,
    /// How many clients ask.
    pub clients: usize,
}

/// How a request ended that no error ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A value as long as it was written.
    Read,
    /// None, or one of another length. All keys have been written before.
    Missing,
    /// The write was acknowledged.
    Written,
}

/// What all clients of a run share.
pub struct Asking<D> {
    /// The store.
    pub driver: D,
    /// What was acknowledged, over all runs of this store.
    pub ledger: Arc<Ledger>,
    /// What is written.
    pub values: Values,
    /// What it is asked for.
    pub load: Load,
}

impl<D: Driver> Asking<D> {
    /// Sends one request. A write that fails stays in doubt: it may be there or come yet.
    async fn ask(&self, client: usize, wish: Wish, draws: &mut Draws) -> Result<Answer> {
        match wish {
            Wish::Read(key) => match self.driver.get(client, key).await? {
                Some(length) if length == self.load.value_bytes => Ok(Answer::Read),
                _ => Ok(Answer::Missing),
            },
            Wish::Write(key) => {
                let write = self.ledger.begin(key);
                self.driver.put(client, key, self.values.stamped(draws, key, write.stamp())).await?;
                self.ledger.acknowledged(write);
                Ok(Answer::Written)
            }
        }
    }
}
