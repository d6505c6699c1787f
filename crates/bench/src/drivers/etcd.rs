//! etcd, by its own gRPC service.

use anyhow::{Context, Result};
use bytes::Bytes;
use tonic::transport::{Channel, Endpoint};

use self::api::{PutRequest, RangeRequest, kv_client::KvClient};
use crate::workload::{Driver, draw::key};

/// The messages and the client, generated from proto/etcd.proto.
mod api {
    tonic::include_proto!("etcdserverpb");
}

/// Connections to each node, as many as its figures were taken with elsewhere.
const CONNECTIONS: usize = 2;

/// How a read is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Sees every write that was acknowledged before.
    Linearizable,
    /// Whatever the asked node has.
    Serializable,
}

/// Connected clients.
#[derive(Clone)]
pub struct Etcd {
    clients: Vec<KvClient<Channel>>,
    reads: Reads,
}

impl Etcd {
    /// Connects with each node; a client keeps to one connection, as a pod would.
    ///
    /// # Errors
    /// A node does not answer.
    pub async fn connect(endpoints: &[&str], reads: Reads) -> Result<Self> {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            for endpoint in endpoints {
                let channel = Endpoint::from_shared(format!("http://{endpoint}"))?.tcp_nodelay(true).connect().await;
                clients.push(KvClient::new(channel.with_context(|| format!("etcd can't be reached at {endpoint}"))?));
            }
        }
        Ok(Self { clients, reads })
    }

    fn client(&self, number: usize) -> KvClient<Channel> {
        self.clients[number % self.clients.len()].clone()
    }
}

impl Driver for Etcd {
    async fn get(&self, client: usize, number: u64) -> Result<Option<usize>> {
        let serializable = self.reads == Reads::Serializable;
        let request = RangeRequest { key: Bytes::copy_from_slice(&key(number)), serializable };
        let found = self.client(client).range(request).await?.into_inner();
        Ok(found.kvs.first().map(|found| found.value.len()))
    }

    async fn put(&self, client: usize, number: u64, value: Bytes) -> Result<()> {
        self.client(client).put(PutRequest { key: Bytes::copy_from_slice(&key(number)), value }).await?;
        Ok(())
    }
}
