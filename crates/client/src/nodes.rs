//! The nodes that a client may talk to: their addresses, sessions, and which to leave alone for a while.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tonic::transport::{Channel, Endpoint};

use crate::{
    error::{Code, Error},
    session::Session,
};

/// A node that failed is left alone for this long, twice as long each time, up to the longest.
const AVOID_MIN: Duration = Duration::from_millis(100);
const AVOID_MAX: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Node {
    session: Option<Arc<Session>>,
    /// Held while somebody connects, so that a thousand waiting requests do not make a thousand connections.
    connecting: Arc<tokio::sync::Mutex<()>>,
    avoid_until: Option<Instant>,
    failures: u32,
}

/// By address.
pub(crate) struct Nodes {
    nodes: Mutex<HashMap<String, Node>>,
    connect_timeout: Duration,
}

impl Nodes {
    pub(crate) fn new(connect_timeout: Duration) -> Self {
        Self { nodes: Mutex::default(), connect_timeout }
    }

    /// Whether the node failed a moment ago.
    pub(crate) fn is_avoided(&self, address: &str) -> bool {
        let nodes = self.nodes.lock();
        nodes.get(address).and_then(|node| node.avoid_until).is_some_and(|until| until > Instant::now())
    }

    /// The node failed.
    pub(crate) fn failed(&self, address: &str) {
        let mut nodes = self.nodes.lock();
        let node = nodes.entry(address.to_owned()).or_default();
        node.failures = (node.failures + 1).min(10);
        node.avoid_until = Some(Instant::now() + (AVOID_MIN * (1 << (node.failures - 1))).min(AVOID_MAX));
        if node.session.as_ref().is_some_and(|session| !session.is_open()) {
            node.session = None;
        }
    }

    /// The node answered.
    pub(crate) fn answered(&self, address: &str) {
        let mut nodes = self.nodes.lock();
        if let Some(node) = nodes.get_mut(address).filter(|node| node.failures > 0) {
            (node.failures, node.avoid_until) = (0, None);
        }
    }

    /// The session with a node, opened if there is none.
    pub(crate) async fn session(&self, address: &str) -> Result<Arc<Session>, Error> {
        if let Some(session) = self.open_session(address) {
            return Ok(session);
        }
        let connecting = self.nodes.lock().entry(address.to_owned()).or_default().connecting.clone();
        let _one = connecting.lock().await;
        if let Some(session) = self.open_session(address) {
            return Ok(session);
        }
        let session = Arc::new(Session::open(self.channel(address).await?, address, self.connect_timeout).await?);
        self.nodes.lock().entry(address.to_owned()).or_default().session = Some(session.clone());
        Ok(session)
    }

    fn open_session(&self, address: &str) -> Option<Arc<Session>> {
        let nodes = self.nodes.lock();
        nodes.get(address)?.session.clone().filter(|session| session.is_open())
    }

    /// A connection to a node.
    pub(crate) async fn channel(&self, address: &str) -> Result<Channel, Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| bad_endpoint(address))?;
        let endpoint = endpoint
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(16 << 20)
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5));
        endpoint.connect().await.map_err(|error| {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Error::new(
                Code::Unreachable,
                format!(
                    "{address} can't be reached ({cause}): is the node running? Name another endpoint, or start it"
                ),
            )
        })
    }
}

pub(crate) fn bad_endpoint(address: &str) -> Error {
    Error::new(Code::BadEndpoint, format!("{address:?} is no endpoint: expected host:port, for example 127.0.0.1:7400"))
}
