//! The stores as the generator sees them. To add one: a module here that implements [`Driver`], an arm in [`Connected`], and
//! who starts and stops it in `stores`.

pub mod cassandra;
pub mod etcd;
pub mod ours;

use anyhow::Result;
use bytes::Bytes;

use crate::workload::Driver;

/// Whichever store this is.
#[derive(Clone)]
pub enum Connected {
    /// This project's.
    Ours(ours::Ours),
    /// Apache Cassandra.
    Cassandra(cassandra::Cassandra),
    /// etcd.
    Etcd(etcd::Etcd),
}

impl Driver for Connected {
    async fn get(&self, client: usize, key: u64) -> Result<Option<usize>> {
        match self {
            Self::Ours(driver) => driver.get(client, key).await,
            Self::Cassandra(driver) => driver.get(client, key).await,
            Self::Etcd(driver) => driver.get(client, key).await,
        }
    }

    async fn put(&self, client: usize, key: u64, value: Bytes) -> Result<()> {
        match self {
            Self::Ours(driver) => driver.put(client, key, value).await,
            Self::Cassandra(driver) => driver.put(client, key, value).await,
            Self::Etcd(driver) => driver.put(client, key, value).await,
        }
    }
}
