//! Apache Cassandra, by the driver that is kept for it and for ScyllaDB: prepared statements, straight to a replica.

use std::{num::NonZeroUsize, time::Duration};

use anyhow::{Context, Result};
use bytes::Bytes;
use scylla::{
    client::{PoolSize, session::Session, session_builder::SessionBuilder},
    statement::{Consistency, prepared::PreparedStatement},
};
use std::sync::Arc;

use crate::workload::{Driver, draw::key};

/// To each node, as many as its figures were taken with elsewhere.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::MIN;
const KEYSPACE: &str = "CREATE KEYSPACE IF NOT EXISTS bench \
                        WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 3}";
const TABLE: &str = "CREATE TABLE IF NOT EXISTS bench.kv (k blob PRIMARY KEY, v blob)";

/// A connected client: QUORUM reads and writes of three replicas.
#[derive(Clone)]
pub struct Cassandra {
    session: Arc<Session>,
    get: Arc<PreparedStatement>,
    put: Arc<PreparedStatement>,
}

impl Cassandra {
    /// Connects, and makes the table where there is none.
    ///
    /// # Errors
    /// No node answers, or one refuses.
    pub async fn connect(endpoints: &[&str]) -> Result<Self> {
        let session = SessionBuilder::new()
            .known_nodes(endpoints)
            .pool_size(PoolSize::PerHost(CONNECTIONS))
            .connection_timeout(Duration::from_secs(20))
            .build()
            .await
            .with_context(|| format!("Cassandra can't be reached at {}", endpoints.join(", ")))?;
        for statement in [KEYSPACE, TABLE] {
            session.query_unpaged(statement, &[]).await?;
        }
        session.await_schema_agreement().await?;
        let mut get = session.prepare("SELECT v FROM bench.kv WHERE k = ?").await?;
        let mut put = session.prepare("INSERT INTO bench.kv (k, v) VALUES (?, ?)").await?;
        for statement in [&mut get, &mut put] {
            statement.set_consistency(Consistency::Quorum);
            statement.set_is_idempotent(true);
        }
        Ok(Self { session: Arc::new(session), get: Arc::new(get), put: Arc::new(put) })
    }
}

impl Driver for Cassandra {
    async fn get(&self, _: usize, number: u64) -> Result<Option<usize>> {
        let rows = self.session.execute_unpaged(&self.get, (&key(number)[..],)).await?.into_rows_result()?;
        Ok(rows.maybe_first_row::<(&[u8],)>()?.map(|(value,)| value.len()))
    }

    async fn put(&self, _: usize, number: u64, value: Bytes) -> Result<()> {
        self.session.execute_unpaged(&self.put, (&key(number)[..], &value[..])).await?;
        Ok(())
    }
}
