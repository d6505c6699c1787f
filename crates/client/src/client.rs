//! The requests: each goes to the first usable home replica of its key, and on to the next when that fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use dynamo_ring::{Position, Ring};
use dynamo_wire::v1::{
    self, CreateBucketRequest, DeleteRequest, DescribeBucketRequest, DescribeRingRequest, GetRequest,
    ListBucketsRequest, PutRequest, StatusRequest, admin_client::AdminClient, kv_client::KvClient,
    session_request::Request, session_response::Response,
};
use tonic::{Status, transport::Channel};

use crate::{
    config::{Config, Routing},
    error::{Code, Error},
    nodes::Nodes,
};

/// Between rounds over all nodes.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How long one node may take before another is asked: a paused node must not hold a request for its whole time.
const ATTEMPT: Duration = Duration::from_secs(6);

/// What a get found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// None: absent or deleted. More than one: siblings, to be reconciled.
    pub values: Vec<Bytes>,
    /// For the put that follows. Empty when the key was never written.
    pub context: Bytes,
}

/// A put.
#[derive(Debug, Clone)]
pub struct Put {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// From a get or put of this key; empty when nothing was read.
    pub context: Bytes,
    /// Replicas that have to have it; None: the bucket's W.
    pub w: Option<u32>,
}

impl Put {
    /// A put that has read nothing.
    pub fn new(bucket: impl Into<String>, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { bucket: bucket.into(), key: key.into(), value: value.into(), context: Bytes::new(), w: None }
    }
}

/// A delete.
#[derive(Debug, Clone)]
pub struct Delete {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: Bytes,
    /// From a get.
    pub context: Bytes,
    /// Replicas that have to have it; None: the bucket's W.
    pub w: Option<u32>,
}

/// What a put or delete made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Covers the write and what its context covered.
    pub context: Bytes,
    /// Versions at the coordinator; above 1 the key has siblings. 0 for a delete.
    pub siblings: u32,
}

struct Map {
    ring: Ring,
    /// Client addresses, by index of the ring's members.
    addresses: Vec<String>,
}

struct Shared {
    config: Config,
    nodes: Nodes,
    map: ArcSwap<Map>,
    refreshing: AtomicBool,
}

/// A client of one cluster. Cheap to clone; all clones share connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    /// Connects to the first endpoint that answers, and learns the ring.
    ///
    /// # Errors
    /// No endpoint answers, or one is no node.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let nodes = Nodes::new(config.connect_timeout);
        let mut last = Error::new(Code::BadEndpoint, "no endpoint was given");
        for endpoint in &config.endpoints {
            match describe(&nodes, endpoint).await.and_then(|description| map(&description)) {
                Ok(map) => {
                    let map = ArcSwap::from_pointee(map);
                    let shared = Shared { config, nodes, map, refreshing: AtomicBool::new(false) };
                    return Ok(Self { shared: Arc::new(shared) });
                }
                Err(error) => last = error,
            }
        }
        if config.endpoints.len() > 1 && last.code == Code::Unreachable {
            let list = config.endpoints.join(", ");
            last.message = format!(
                "none of {list} can be reached: is the cluster running? (dynamo local starts one; --endpoint or DYNAMO_ENDPOINT names another)"
            );
        }
        Err(last)
    }

    /// The ring as last learnt.
    pub fn ring(&self) -> Arc<Ring> {
        Arc::new(self.shared.map.load().ring.clone())
    }

    /// Reads all siblings of a key.
    ///
    /// # Errors
    /// See [`Code`].
    pub async fn get(&self, bucket: &str, key: impl Into<Bytes>, r: Option<u32>) -> Result<Found, Error> {
        let key = key.into();
        check_quorum('R', r)?;
        let request = Request::Get(GetRequest { bucket: bucket.to_owned(), key: key.clone(), r: r.unwrap_or(0) });
        match self.ask(&key, request).await? {
            Response::Get(get) => Ok(Found { values: get.values, context: get.context }),
            _ => Err(nonsense()),
        }
    }

    /// Writes a version that supersedes what its context covers.
    ///
    /// # Errors
    /// See [`Code`].
    pub async fn put(&self, put: Put) -> Result<Written, Error> {
        let Put { bucket, key, value, context, w } = put;
        check_quorum('W', w)?;
        let request = Request::Put(PutRequest { bucket, key: key.clone(), value, context, w: w.unwrap_or(0) });
        match self.ask(&key, request).await? {
            Response::Put(put) => Ok(Written { context: put.context, siblings: put.siblings }),
            _ => Err(nonsense()),
        }
    }

    /// Writes a tombstone that supersedes what its context covers.
    ///
    /// # Errors
    /// See [`Code`].
    pub async fn delete(&self, delete: Delete) -> Result<Written, Error> {
        let Delete { bucket, key, context, w } = delete;
        check_quorum('W', w)?;
        let request = Request::Delete(DeleteRequest { bucket, key: key.clone(), context, w: w.unwrap_or(0) });
        match self.ask(&key, request).await? {
            Response::Delete(delete) => Ok(Written { context: delete.context, siblings: 0 }),
            _ => Err(nonsense()),
        }
    }

    /// Reads, merges all siblings into one value, and writes that with their context: the paper's cart (§4.4).
    ///
    /// # Errors
    /// See [`Code`]. After an error of the write nothing is lost: the siblings are as they were, or merged.
    pub async fn update(
        &self,
        bucket: &str,
        key: impl Into<Bytes>,
        mut merge: impl FnMut(Vec<Bytes>) -> Bytes,
    ) -> Result<Written, Error> {
        let key = key.into();
        let Found { values, context } = self.get(bucket, key.clone(), None).await?;
        let value = merge(values);
        self.put(Put { bucket: bucket.to_owned(), key, value, context, w: None }).await
    }

    /// Many gets at once; each has its own outcome, in their order.
    pub async fn get_many(&self, bucket: &str, keys: impl IntoIterator<Item = Bytes>) -> Vec<Result<Found, Error>> {
        futures_util::future::join_all(keys.into_iter().map(|key| self.get(bucket, key, None))).await
    }

    /// Many puts at once; no atomicity across keys, each has its own outcome, in their order.
    pub async fn put_many(&self, puts: impl IntoIterator<Item = Put>) -> Vec<Result<Written, Error>> {
        futures_util::future::join_all(puts.into_iter().map(|put| self.put(put))).await
    }

    /// Creates a bucket; false if it was there with the same settings.
    ///
    /// # Errors
    /// It exists with other settings, or can't be.
    pub async fn create_bucket(&self, bucket: v1::Bucket) -> Result<(v1::Bucket, bool), Error> {
        let request = CreateBucketRequest { bucket: Some(bucket) };
        let response = self
            .admin(async |mut admin: AdminClient<Channel>| {
                admin.create_bucket(request.clone()).await.map(tonic::Response::into_inner)
            })
            .await?;
        Ok((response.bucket.unwrap_or_default(), response.created))
    }

    /// All buckets.
    ///
    /// # Errors
    /// No node answers.
    pub async fn list_buckets(&self) -> Result<Vec<v1::Bucket>, Error> {
        let list = async |mut admin: AdminClient<Channel>| {
            admin.list_buckets(ListBucketsRequest {}).await.map(tonic::Response::into_inner)
        };
        Ok(self.admin(list).await?.buckets)
    }

    /// One bucket.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn describe_bucket(&self, name: &str) -> Result<v1::Bucket, Error> {
        let request = DescribeBucketRequest { name: name.to_owned() };
        let describe = async |mut admin: AdminClient<Channel>| {
            admin.describe_bucket(request.clone()).await.map(tonic::Response::into_inner)
        };
        Ok(self.admin(describe).await?.bucket.unwrap_or_default())
    }

    /// The cluster as the first node that answers sees it.
    ///
    /// # Errors
    /// No node answers.
    pub async fn status(&self) -> Result<v1::StatusResponse, Error> {
        self.admin(async |mut admin: AdminClient<Channel>| {
            admin.status(StatusRequest {}).await.map(tonic::Response::into_inner)
        })
        .await
    }

    /// The ring and its members.
    ///
    /// # Errors
    /// No node answers.
    pub async fn describe_ring(&self) -> Result<v1::DescribeRingResponse, Error> {
        let mut last = unreachable();
        for address in self.everyone() {
            match describe(&self.shared.nodes, &address).await {
                Ok(description) => return Ok(description),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn admin<T>(&self, call: impl AsyncFn(AdminClient<Channel>) -> Result<T, Status>) -> Result<T, Error> {
        let mut last = unreachable();
        for address in self.everyone() {
            let channel = match self.shared.nodes.channel(&address).await {
                Ok(channel) => channel,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            match tokio::time::timeout(self.shared.config.timeout, call(AdminClient::new(channel))).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => last = Error::from_status(&status, &address),
                Err(_) => last = Error::new(Code::Timeout, format!("{address} did not answer in time: try again")),
            }
            if last.code != Code::Unreachable && last.code != Code::Timeout {
                return Err(last);
            }
        }
        Err(last)
    }

    /// Asks node after node until one answers, or an answer is final, or time is up.
    async fn ask(&self, key: &Bytes, request: Request) -> Result<Response, Error> {
        let until = Instant::now() + self.shared.config.timeout;
        let mut pause = PAUSE_MIN;
        let mut last = unreachable();
        loop {
            for address in self.route(key) {
                let Some(left) = until.checked_duration_since(Instant::now()) else { return Err(timed_out(&last)) };
                let attempt = tokio::time::timeout(left.min(ATTEMPT), self.ask_one(&address, request.clone()));
                match attempt.await {
                    Ok(Ok(response)) => {
                        self.shared.nodes.answered(&address);
                        return Ok(response);
                    }
                    Ok(Err(error)) if !error.is_transient() => return Err(error),
                    Ok(Err(error)) => {
                        // A strict quorum or a small cluster without enough nodes: another coordinator knows no more.
                        if error.code == Code::NotEnoughReplicas {
                            return Err(error);
                        }
                        last = error;
                    }
                    Err(_) => {
                        last = Error::new(
                            Code::Timeout,
                            format!("{address} did not answer in time: a write may or may not have happened"),
                        );
                    }
                }
                self.shared.nodes.failed(&address);
                self.refresh_soon();
            }
            if Instant::now() + pause >= until {
                return Err(timed_out(&last));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn ask_one(&self, address: &str, request: Request) -> Result<Response, Error> {
        self.shared.nodes.session(address).await?.ask(request).await
    }

    /// Whom to ask, best first: the key's homes in order of preference, then all others; those that failed a moment
    /// ago last.
    fn route(&self, key: &[u8]) -> Vec<String> {
        if self.shared.config.routing == Routing::Server {
            return self.shared.config.endpoints.clone();
        }
        let map = self.shared.map.load();
        let partition = map.ring.partitions().partition_of(Position::of(key));
        let address = |index: &u16| map.addresses[usize::from(*index)].as_str();
        let usable = |address: &&str| !address.is_empty() && !self.shared.nodes.is_avoided(address);
        let walk = map.ring.walk_ids(partition);
        if let Some(first) = walk.first().map(address).filter(usable) {
            // The common case takes one look; the rest is worked out when it is needed.
            let mut route = Vec::with_capacity(4);
            route.push(first.to_owned());
            route.extend(walk[1..].iter().map(address).filter(usable).map(str::to_owned));
            return route;
        }
        let (good, avoided): (Vec<_>, Vec<_>) =
            walk.iter().map(address).filter(|address| !address.is_empty()).partition(|address| usable(address));
        let route: Vec<String> = good.into_iter().chain(avoided).map(str::to_owned).collect();
        if route.is_empty() { self.shared.config.endpoints.clone() } else { route }
    }

    fn everyone(&self) -> Vec<String> {
        let mut everyone = self.shared.config.endpoints.clone();
        if self.shared.config.routing == Routing::Coordinator {
            let map = self.shared.map.load();
            for address in map.addresses.iter().filter(|address| !address.is_empty()) {
                if !everyone.contains(address) {
                    everyone.push(address.clone());
                }
            }
        }
        everyone.sort_by_key(|address| self.shared.nodes.is_avoided(address));
        everyone
    }

    /// Learns the ring anew, once however many requests ask for it.
    fn refresh_soon(&self) {
        if self.shared.refreshing.swap(true, Ordering::Relaxed) {
            return;
        }
        let client = self.clone();
        tokio::spawn(async move {
            match client.describe_ring().await.and_then(|description| map(&description)) {
                Ok(map) => client.shared.map.store(Arc::new(map)),
                Err(error) => tracing::debug!(%error, "the ring could not be learnt anew"),
            }
            tokio::time::sleep(PAUSE_MAX).await;
            client.shared.refreshing.store(false, Ordering::Relaxed);
        });
    }
}

async fn describe(nodes: &Nodes, address: &str) -> Result<v1::DescribeRingResponse, Error> {
    let mut client = KvClient::new(nodes.channel(address).await?).max_decoding_message_size(64 << 20);
    let asked = tokio::time::timeout(Duration::from_secs(5), client.describe_ring(DescribeRingRequest {})).await;
    match asked {
        Ok(Ok(response)) => Ok(response.into_inner()),
        // Whatever listens there and answers a gRPC call with something else.
        Ok(Err(status)) => {
            let error = Error::from_status(&status, address);
            let unreachable = error.code == Code::Unreachable;
            Err(if unreachable {
                Error::new(
                    Code::BadEndpoint,
                    format!(
                        "{address} does not answer as a node of a Dynamo cluster ({}): nothing was read or written; check the address",
                        status.message()
                    ),
                )
            } else {
                error
            })
        }
        Err(_) => Err(Error::new(
            Code::Unreachable,
            format!("{address} accepts connections but does not answer: is it a node? Nothing was read or written"),
        )),
    }
}

fn map(description: &v1::DescribeRingResponse) -> Result<Map, Error> {
    let ring = Ring::decode(&description.ring)
        .map_err(|error| Error::new(Code::Internal, format!("the cluster's ring can't be read: {error}")))?;
    let address = |id: String| {
        description.members.iter().find(|member| member.id == id).map(|member| member.client_address.clone())
    };
    let addresses = ring.members().iter().map(|member| address(member.id.to_string()).unwrap_or_default()).collect();
    Ok(Map { ring, addresses })
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

fn unreachable() -> Error {
    Error::new(
        Code::Unreachable,
        "no node of the cluster can be reached: nothing was read or written; is the cluster running?",
    )
}

fn timed_out(last: &Error) -> Error {
    Error::new(last.code, format!("gave up after several tries: {}", last.message))
}

fn nonsense() -> Error {
    Error::new(Code::Internal, "the node answered something that was not asked; is it of another version?")
}
