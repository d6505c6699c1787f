//! The nodes that a client may talk to: their addresses, sessions, and which to leave alone for a while.

use std::{collections::HashMap, sync::Arc, time::Duration};

use dynamo_tls::Caller;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tonic::transport::Endpoint;

use crate::{
    error::{Code, Error, cause_of},
    line::Line,
    session::Session,
};

/// A node that failed is left alone for this long, twice as long each time, up to the longest.
const AVOID_MIN: Duration = Duration::from_millis(100);
const AVOID_MAX: Duration = Duration::from_secs(2);
/// So long a node that was left alone for its time has to prove itself with one request, before it gets another.
const PROBE: Duration = AVOID_MAX;

/// What is known of a node from the requests that it got.
#[derive(Debug, Clone, Copy, Default)]
enum Health {
    #[default]
    Well,
    /// Failed so often in a row, and is left alone until then.
    Failed { times: u32, until: Instant },
    /// Failed so often in a row, and has got one request to prove itself, at least until then.
    Probed { times: u32, until: Instant },
}

impl Health {
    fn is_avoided(self, now: Instant) -> bool {
        match self {
            Self::Well => false,
            Self::Failed { until, .. } | Self::Probed { until, .. } => now < until,
        }
    }

    /// A thousand requests that fail together are one failure.
    fn failed(self, now: Instant) -> Self {
        let times = match self {
            Self::Well => 1,
            Self::Failed { until, .. } if now < until => return self,
            Self::Failed { times, .. } | Self::Probed { times, .. } => times.saturating_add(1),
        };
        let avoid = AVOID_MIN.saturating_mul(1 << (times - 1).min(16)).min(AVOID_MAX);
        Self::Failed { times, until: now + avoid }
    }

    /// Whether to use the node now. Of those who ask after its time alone, the first is told to, and the others not
    /// before it has answered: a node that hangs must not hold up more than one of them.
    fn claim(&mut self, now: Instant) -> bool {
        match *self {
            Self::Well => true,
            _ if self.is_avoided(now) => false,
            Self::Failed { times, .. } | Self::Probed { times, .. } => {
                *self = Self::Probed { times, until: now + PROBE };
                true
            }
        }
    }
}

type Connecting = Shared<BoxFuture<'static, Result<Arc<Session>, Error>>>;

#[derive(Default)]
struct Node {
    session: Option<Arc<Session>>,
    /// Which credentials the session was opened with.
    shown: u64,
    /// While a connection is under way, so that a thousand waiting requests make one, and hear of one failure.
    connecting: Option<Connecting>,
    health: Health,
}

/// By address.
#[derive(Clone)]
pub(crate) struct Nodes {
    nodes: Arc<Mutex<HashMap<String, Node>>>,
    connect_timeout: Duration,
    /// With what to connect; nothing in plaintext.
    caller: Option<Arc<Caller>>,
}

impl Nodes {
    pub(crate) fn new(connect_timeout: Duration, caller: Option<Arc<Caller>>) -> Self {
        Self { nodes: Arc::default(), connect_timeout, caller }
    }

    /// Which credentials there are now. A session of earlier ones is left to the requests that it has, and another is
    /// opened: before the nodes take them back.
    fn shown(&self) -> u64 {
        self.caller.as_ref().map_or(0, |caller| caller.number())
    }

    /// How long connecting to a node may take, its first answer included.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Whether the node failed a moment ago.
    pub(crate) fn is_avoided(&self, address: &str) -> bool {
        self.nodes.lock().get(address).is_some_and(|node| node.health.is_avoided(Instant::now()))
    }

    /// Whether to use the node now: no for one that failed a moment ago. After a yes the caller has to use it.
    pub(crate) fn claim(&self, address: &str) -> bool {
        self.nodes.lock().get_mut(address).is_none_or(|node| node.health.claim(Instant::now()))
    }

    /// The node failed.
    pub(crate) fn failed(&self, address: &str) {
        let mut nodes = self.nodes.lock();
        let node = nodes.entry(address.to_owned()).or_default();
        node.health = node.health.failed(Instant::now());
        node.session.take_if(|session| !session.is_open());
    }

    /// The node answered.
    pub(crate) fn answered(&self, address: &str) {
        if let Some(node) = self.nodes.lock().get_mut(address) {
            node.health = Health::Well;
        }
    }

    /// Forgets the nodes that are no longer of use. Requests under way with them go on.
    pub(crate) fn keep_only(&self, of_use: impl Fn(&str) -> bool) {
        let mut gone = Vec::new();
        self.nodes.lock().retain(|address, node| {
            let keep = of_use(address);
            if !keep {
                gone.push(std::mem::take(node));
            }
            keep
        });
        // Sessions close here, not under the lock.
        drop(gone);
    }

    /// Requests in sessions that have no answer yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.nodes.lock().values().filter_map(|node| node.session.as_ref()).map(|session| session.in_flight()).sum()
    }

    /// The session with a node, if there is one.
    pub(crate) fn open_session(&self, address: &str) -> Option<Arc<Session>> {
        let shown = self.shown();
        let nodes = self.nodes.lock();
        let node = nodes.get(address).filter(|node| node.shown == shown)?;
        node.session.clone().filter(|session| session.is_open())
    }

    /// The session with a node, opened if there is none.
    pub(crate) async fn session(&self, address: &str) -> Result<Arc<Session>, Error> {
        let connecting = {
            let shown = self.shown();
            let mut nodes = self.nodes.lock();
            let node = nodes.entry(address.to_owned()).or_default();
            let of_now = node.session.clone().filter(|session| node.shown == shown && session.is_open());
            if let Some(session) = of_now {
                return Ok(session);
            }
            // One that is over and still stands here was broken off with its task.
            node.connecting.take_if(|connecting| connecting.peek().is_some());
            node.connecting.get_or_insert_with(|| self.connecting(address)).clone()
        };
        connecting.await
    }

    /// Connects in a task of its own: callers with little patience must not begin it anew each time.
    fn connecting(&self, address: &str) -> Connecting {
        let (nodes, address) = (self.clone(), address.to_owned());
        let task = tokio::spawn(async move {
            // Before it is opened: what changes meanwhile makes it old.
            let shown = nodes.shown();
            let opened = nodes.open(&address).await;
            let old = {
                let mut nodes = nodes.nodes.lock();
                let node = nodes.entry(address).or_default();
                node.connecting = None;
                node.shown = shown;
                std::mem::replace(&mut node.session, opened.clone().ok())
            };
            // It closes here, not under the lock, unless somebody still waits for an answer in it.
            drop(old);
            opened
        });
        let joined = task.map(|opened| {
            opened
                .unwrap_or_else(|_| Err(Error::new(Code::Unreachable, "the client stops: nothing was read or written")))
        });
        joined.boxed().shared()
    }

    async fn open(&self, address: &str) -> Result<Arc<Session>, Error> {
        let opening = async {
            let line = self.line(address).await?;
            match Session::open(line, address).await {
                Ok(session) => Ok(Arc::new(session)),
                Err(status) => match Error::from_status(&status, address) {
                    // Nothing was asked yet, so nothing can have happened.
                    Error { code: Code::CoordinatorLost, .. } => Err(unreachable(address, &cause_of(&status))),
                    error => Err(error),
                },
            }
        };
        timeout(self.connect_timeout, opening).await.unwrap_or_else(|_| Err(unreachable(address, "no answer in time")))
    }

    /// A connection to a node.
    pub(crate) async fn line(&self, address: &str) -> Result<Line, Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| bad_endpoint(address))?;
        let endpoint = endpoint
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(16 << 20)
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5));
        let connected = match &self.caller {
            None => endpoint.connect().await,
            Some(caller) => endpoint.connect_with_connector(caller.connector()).await,
        };
        let channel = connected.map_err(|error| match dynamo_tls::refusal(&error) {
            Some(why) => untrusted(address, &why),
            None => unreachable(address, &cause_of(&error)),
        })?;
        Ok(Line::new(channel, self.caller.clone()))
    }
}

/// TLS can't be spoken with whoever is there.
pub(crate) fn untrusted(address: &str, why: &str) -> Error {
    Error::new(Code::Untrusted, format!("{address}: {why}; nothing was read or written"))
}

/// There is no connection to a node.
pub(crate) fn unreachable(address: &str, why: &str) -> Error {
    let message = format!(
        "{address} can't be reached ({why}): nothing was read or written; is the node running? Start it, or name another endpoint"
    );
    Error::new(Code::Unreachable, message)
}

/// What was given is no address.
pub(crate) fn bad_endpoint(address: &str) -> Error {
    Error::new(Code::BadEndpoint, format!("{address:?} is no endpoint: expected host:port, for example 127.0.0.1:7400"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "127.0.0.1:1";

    async fn pass(time: Duration) {
        tokio::time::advance(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_failed_is_left_alone_for_longer_and_longer_but_not_forever() {
        let nodes = Nodes::new(Duration::from_secs(2), None);
        assert!(nodes.claim(NODE));
        for avoided in [100, 200, 400, 800, 1600, 2000, 2000] {
            nodes.failed(NODE);
            pass(Duration::from_millis(avoided - 1)).await;
            assert!(nodes.is_avoided(NODE) && !nodes.claim(NODE));
            pass(Duration::from_millis(1)).await;
            assert!(!nodes.is_avoided(NODE) && nodes.claim(NODE));
        }
        nodes.answered(NODE);
        nodes.failed(NODE);
        pass(AVOID_MIN).await;
        assert!(nodes.claim(NODE));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_fail_together_are_one_failure() {
        let nodes = Nodes::new(Duration::from_secs(2), None);
        (0..1000).for_each(|_| nodes.failed(NODE));
        pass(AVOID_MIN).await;
        assert!(nodes.claim(NODE));
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_proves_a_node_for_all_others() {
        let nodes = Nodes::new(Duration::from_secs(2), None);
        nodes.failed(NODE);
        pass(AVOID_MIN).await;
        assert!(nodes.claim(NODE));
        assert!(!nodes.claim(NODE), "the first has no answer yet");
        nodes.answered(NODE);
        assert!(nodes.claim(NODE) && nodes.claim(NODE));

        nodes.failed(NODE);
        pass(AVOID_MIN).await;
        assert!(nodes.claim(NODE));
        pass(PROBE).await;
        assert!(nodes.claim(NODE), "the first was given up");
    }
}
