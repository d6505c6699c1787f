//! A client: gets, puts, deletes, and read-merge-write (§4.1, 4.4).

use std::sync::Arc;

use bytes::Bytes;
use dynamo_ring::Ring;
use dynamo_wire::v1::{DeleteRequest, GetRequest, PutRequest, session_request::Request, session_response::Response};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::Instant;

use crate::{
    ask::Shared,
    config::Config,
    error::{Code, Error},
    map::{Map, describe},
    nodes::Nodes,
    requests::{Delete, Found, Put, Written},
};

/// Requests of one `get_many` or `put_many` that are under way at once: a node answers so many in a session, and the
/// time of those that come later has not begun.
const MANY: usize = 512;
/// How often an update begins anew because what it had read was no longer good enough to write.
const UPDATE_ROUNDS: u32 = 3;

/// A client of one cluster. Cheap to clone; all clones share connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

impl Client {
    /// Connects to the first endpoint that answers, and learns the ring.
    ///
    /// # Errors
    /// No endpoint answers, or one is no node.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let nodes = Nodes::new(config.connect_timeout, config.caller()?);
        let mut errors = Vec::new();
        for endpoint in &config.endpoints {
            match describe(&nodes, endpoint).await.and_then(|described| Ok((Map::of(&described)?, described))) {
                Ok((map, described)) => {
                    // A new client has tried nobody yet. What a node says is down need not be tried first.
                    let down = described
                        .members
                        .iter()
                        .filter(|member| member.state == "down" && !member.client_address.is_empty());
                    down.for_each(|member| nodes.failed(&member.client_address));
                    return Ok(Self { shared: Arc::new(Shared::new(config, nodes, map)) });
                }
                Err(error) => errors.push(error),
            }
        }
        Err(not_connected(&config.endpoints, errors))
    }

    /// The ring as last learnt.
    pub fn ring(&self) -> Arc<Ring> {
        self.shared.map().ring.clone()
    }

    /// Requests in sessions that have no answer yet.
    pub fn in_flight(&self) -> usize {
        self.shared.nodes.in_flight()
    }

    /// Reads all siblings of a key.
    ///
    /// # Errors
    /// See [`Code`].
    pub async fn get(&self, bucket: &str, key: impl Into<Bytes>, r: Option<u32>) -> Result<Found, Error> {
        self.get_until(bucket, key.into(), r, self.shared.deadline()).await
    }

    async fn get_until(&self, bucket: &str, key: Bytes, r: Option<u32>, until: Instant) -> Result<Found, Error> {
        check_quorum('R', r)?;
        let request = Request::Get(GetRequest { bucket: bucket.to_owned(), key: key.clone(), r: r.unwrap_or(0) });
        match self.shared.ask(&key, request, until).await? {
            Response::Get(get) => Ok(Found { values: get.values, context: get.context }),
            other => unreachable!("a session tells {other:?} from the answer to a get"),
        }
    }

    /// Writes a version that supersedes what its context covers.
    ///
    /// # Errors
    /// See [`Code`]. After [`Error::may_have_happened`] the key has to be read before the same is written again.
    pub async fn put(&self, put: Put) -> Result<Written, Error> {
        self.put_until(put, self.shared.deadline()).await
    }

    async fn put_until(&self, put: Put, until: Instant) -> Result<Written, Error> {
        let Put { bucket, key, value, context, w } = put;
        check_quorum('W', w)?;
        let request = Request::Put(PutRequest { bucket, key: key.clone(), value, context, w: w.unwrap_or(0) });
        match self.shared.ask(&key, request, until).await? {
            Response::Put(put) => Ok(Written { context: put.context, siblings: put.siblings }),
            other => unreachable!("a session tells {other:?} from the answer to a put"),
        }
    }

    /// Writes a tombstone that supersedes what its context covers.
    ///
    /// # Errors
    /// See [`Code`]. After [`Error::may_have_happened`] the key has to be read before it is deleted again.
    pub async fn delete(&self, delete: Delete) -> Result<Written, Error> {
        let Delete { bucket, key, context, w } = delete;
        check_quorum('W', w)?;
        let request = Request::Delete(DeleteRequest { bucket, key: key.clone(), context, w: w.unwrap_or(0) });
        match self.shared.ask(&key, request, self.shared.deadline()).await? {
            Response::Delete(delete) => Ok(Written { context: delete.context, siblings: 0 }),
            other => unreachable!("a session tells {other:?} from the answer to a delete"),
        }
    }

    /// Reads, merges all siblings into one value, and writes that with their context: the paper's cart (§4.4). The time
    /// of one request is for all of it. Reads and merges again when the write was refused because of what was read, and
    /// nothing was written.
    ///
    /// # Errors
    /// See [`Code`]. After an error of the write nothing is lost: the siblings are as they were, or merged.
    pub async fn update(
        &self,
        bucket: &str,
        key: impl Into<Bytes>,
        mut merge: impl FnMut(Vec<Bytes>) -> Bytes,
    ) -> Result<Written, Error> {
        let (key, until) = (key.into(), self.shared.deadline());
        let mut round = 1;
        loop {
            let Found { values, context } = self.get_until(bucket, key.clone(), None, until).await?;
            let put = Put { bucket: bucket.to_owned(), key: key.clone(), value: merge(values), context, w: None };
            match self.put_until(put, until).await {
                Err(error)
                    if round < UPDATE_ROUNDS && matches!(error.code, Code::TooManySiblings | Code::BadContext) =>
                {
                    round += 1;
                }
                ended => return ended,
            }
        }
    }

    /// Many gets at once; each has its own outcome, in their order.
    pub async fn get_many(&self, bucket: &str, keys: impl IntoIterator<Item = Bytes>) -> Vec<Result<Found, Error>> {
        let keys: Vec<Bytes> = keys.into_iter().collect();
        in_order(stream::iter(keys.into_iter().map(|key| self.get(bucket, key, None)))).await
    }

    /// Many puts at once; no atomicity across keys, each has its own outcome, in their order.
    pub async fn put_many(&self, puts: impl IntoIterator<Item = Put>) -> Vec<Result<Written, Error>> {
        let puts: Vec<Put> = puts.into_iter().collect();
        in_order(stream::iter(puts.into_iter().map(|put| self.put(put)))).await
    }
}

async fn in_order<F: Future>(requests: impl Stream<Item = F>) -> Vec<F::Output> {
    requests.buffered(MANY).collect().await
}

/// An endpoint that is no node is told before one that can't be reached: it will not be better in a minute.
fn not_connected(endpoints: &[String], mut errors: Vec<Error>) -> Error {
    if let Some(bad) = errors.iter().position(|error| error.code != Code::Unreachable) {
        return errors.swap_remove(bad);
    }
    match (errors.pop(), errors.is_empty()) {
        (None, _) => Error::new(Code::BadEndpoint, "no endpoint was given: nothing was read or written"),
        (Some(only), true) => only,
        (Some(last), false) => {
            let list = endpoints.join(", ");
            Error::new(
                last.code,
                format!(
                    "none of {list} can be reached: is the cluster running? (dynamo local starts one; --endpoint or DYNAMO_ENDPOINT names another)"
                ),
            )
        }
    }
}

fn check_quorum(letter: char, asked: Option<u32>) -> Result<(), Error> {
    match asked {
        Some(0) => Err(Error::new(
            Code::InvalidArgument,
            format!("{letter} = 0: at least one replica has to answer; nothing was read or written"),
        )),
        _ => Ok(()),
    }
}
