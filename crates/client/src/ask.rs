//! From node to node until one answers, an answer is final, or time is up (§6.4).

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use dynamo_wire::v1::{session_request::Request, session_response::Response};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    attempt::{Failed, Kind, Next, Patience},
    config::{Config, Routing},
    error::{Code, Error},
    map::{Map, describe},
    nodes::{Nodes, unreachable},
};

/// Between rounds over all nodes.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How long one node may take before another is asked: a paused node must not hold a request for its whole time.
const ATTEMPT: Duration = Duration::from_secs(6);
/// A write is not tried again with less time left than this.
const LAST_WRITE: Duration = Duration::from_millis(250);
/// Between two looks at the ring.
const REFRESH_PAUSE: Duration = Duration::from_millis(500);
/// Who gives a request more time than this means "no limit".
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What all clones of a client share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// The configured endpoints.
    endpoints: Vec<Arc<str>>,
    pub(crate) nodes: Nodes,
    map: ArcSwap<Map>,
    refresh: Mutex<Refresh>,
}

struct Refresh {
    running: bool,
    not_before: Instant,
}

impl Shared {
    pub(crate) fn new(config: Config, nodes: Nodes, map: Map) -> Self {
        let endpoints = config.endpoints.iter().map(|endpoint| endpoint.as_str().into()).collect();
        let refresh = Mutex::new(Refresh { running: false, not_before: Instant::now() });
        Self { config, endpoints, nodes, map: ArcSwap::from_pointee(map), refresh }
    }

    pub(crate) fn map(&self) -> Guard<Arc<Map>> {
        self.map.load()
    }

    /// Of a request that begins now.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.config.timeout.min(FOREVER)
    }

    /// How long one node may take: some of the time has to be left for another.
    pub(crate) fn attempt(&self) -> Duration {
        ATTEMPT.min(self.config.timeout.saturating_mul(3) / 5)
    }

    /// Asks node after node. A request that one of them may have begun goes on only if it reads.
    pub(crate) async fn ask(self: &Arc<Self>, key: &[u8], request: Request, until: Instant) -> Result<Response, Error> {
        let kind = Kind::of(&request);
        let mut tries = Tries::default();
        let mut pause = PAUSE_MIN;
        if self.map().is_old() {
            self.refresh_soon();
        }
        loop {
            let mut asked = Vec::new();
            while let Some(address) = self.next(key, &asked) {
                let failed = match self.ask_one(&address, request.clone(), kind, until).await {
                    Ok(response) => {
                        self.nodes.answered(&address);
                        return Ok(response);
                    }
                    Err(failed) => failed,
                };
                if failed.avoid {
                    self.nodes.failed(&address);
                    self.refresh_soon();
                } else {
                    self.nodes.answered(&address);
                }
                if tries.end_with(failed, kind) || !self.is_time_for_another(kind, Instant::now(), until) {
                    return Err(tries.error());
                }
                asked.push(address);
            }
            pause = jittered(pause);
            if !self.is_time_for_another(kind, Instant::now() + pause, until) {
                return Err(tries.error());
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Whether to try again then. A write that is sent at the last moment would be given up before its answer can be there:
    /// then nobody knew whether it happened, where until now it is known that it has not.
    fn is_time_for_another(&self, kind: Kind, then: Instant, until: Instant) -> bool {
        let needed = if kind.reads() { Duration::ZERO } else { LAST_WRITE.min(self.config.timeout / 10) };
        until.saturating_duration_since(then) > needed
    }

    async fn ask_one(&self, address: &str, request: Request, kind: Kind, until: Instant) -> Result<Response, Failed> {
        let to_send = until.min(Instant::now() + self.attempt());
        // A write that was sent can't go to another node, so there is nothing better to do than to wait for it.
        let to_answer = if kind.reads() { to_send } else { until };
        let session = match self.nodes.open_session(address) {
            Some(session) => session,
            None => match timeout_at(to_send, self.nodes.session(address)).await {
                Ok(session) => session.map_err(Failed::unsent)?,
                Err(_) => return Err(Failed::unsent(unreachable(address, "not connected in time"))),
            },
        };
        session.ask(request, Patience { to_send, to_answer }).await
    }

    /// Whom to ask now, best first: the key's homes in order of preference, the nodes that stand in for them, then the
    /// endpoints; those that failed a moment ago last.
    fn next(&self, key: &[u8], asked: &[Arc<str>]) -> Option<Arc<str>> {
        let map = self.map();
        let walk = (self.config.routing == Routing::Coordinator).then(|| map.walk(key));
        let mut avoided = None;
        for address in walk.into_iter().flatten().chain(&self.endpoints) {
            if asked.contains(address) {
                continue;
            }
            if self.nodes.claim(address) {
                return Some(address.clone());
            }
            avoided.get_or_insert(address);
        }
        avoided.cloned()
    }

    /// All nodes, those that failed a moment ago last.
    pub(crate) fn everyone(&self) -> Vec<Arc<str>> {
        let mut everyone = self.endpoints.clone();
        if self.config.routing == Routing::Coordinator {
            for address in self.map().addresses() {
                if !everyone.contains(address) {
                    everyone.push(address.clone());
                }
            }
        }
        let (avoided, mut usable): (Vec<_>, Vec<_>) =
            everyone.into_iter().partition(|address| self.nodes.is_avoided(address));
        usable.extend(avoided);
        usable
    }

    /// Learns the ring anew, once however many requests ask for it, and not too often.
    fn refresh_soon(self: &Arc<Self>) {
        {
            let mut refresh = self.refresh.lock();
            if refresh.running || Instant::now() < refresh.not_before {
                return;
            }
            refresh.running = true;
        }
        let running = Running(Arc::downgrade(self));
        let shared = self.clone();
        tokio::spawn(async move {
            let _running = running;
            shared.refresh().await;
        });
    }

    async fn refresh(&self) {
        for address in self.everyone() {
            let learnt = describe(&self.nodes, &address).await.and_then(|description| Map::of(&description));
            match learnt.and_then(|newer| self.map().followed_by(newer)) {
                Ok(map) => {
                    let of_use = |address: &str| {
                        self.endpoints.iter().chain(map.addresses()).any(|used| used.as_ref() == address)
                    };
                    self.nodes.keep_only(of_use);
                    return self.map.store(Arc::new(map));
                }
                Err(error) => tracing::debug!(%address, %error, "the ring could not be learnt anew"),
            }
        }
    }
}

/// The task that learns the ring. However it ends, another may follow.
struct Running(Weak<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            *shared.refresh.lock() = Refresh { running: false, not_before: Instant::now() + REFRESH_PAUSE };
        }
    }
}

/// The failed attempts of a request.
#[derive(Default)]
struct Tries {
    count: u32,
    last: Option<Error>,
    /// What the first node said of those that could answer, and whose answer was bad news.
    opinion: Option<Error>,
}

impl Tries {
    /// Takes note of a failed attempt; true if there is to be no other.
    fn end_with(&mut self, failed: Failed, kind: Kind) -> bool {
        self.count += 1;
        let goes_on = match failed.next {
            Next::Elsewhere => true,
            Next::IfRead => kind.reads(),
            Next::OneOther => self.opinion.is_none(),
            Next::SecondOpinion => kind.reads() && self.opinion.is_none(),
            Next::Nobody => false,
        };
        if !goes_on {
            // It speaks for itself, whatever was tried before.
            (self.count, self.opinion, self.last) = (1, None, Some(failed.error));
        } else if matches!(failed.next, Next::OneOther | Next::SecondOpinion) {
            self.opinion = Some(failed.error);
        } else {
            self.last = Some(failed.error);
        }
        !goes_on
    }

    fn error(self) -> Error {
        let nobody = || Error::new(Code::Unreachable, "no node of the cluster is known: nothing was read or written");
        let error = self.opinion.or(self.last).unwrap_or_else(nobody);
        if self.count <= 1 {
            return error;
        }
        Error::new(error.code, format!("gave up after {} tries: {}", self.count, error.message))
    }
}

/// Half of it to all of it: requests that failed together must not come back together.
fn jittered(pause: Duration) -> Duration {
    // Each has new keys. Chance enough to spread requests, without a dependency.
    let chance = RandomState::new().hash_one(0u8) % 512;
    pause / 2 + pause * chance as u32 / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(next: Next, words: &str) -> Failed {
        Failed { error: Error::new(Code::Internal, words), next, avoid: false }
    }

    #[test]
    fn a_pause_is_never_longer_than_asked_and_not_always_the_same() {
        let pauses: Vec<Duration> = (0..64).map(|_| jittered(PAUSE_MAX)).collect();
        assert!(pauses.iter().all(|pause| (PAUSE_MAX / 2..=PAUSE_MAX).contains(pause)));
        assert!(pauses.windows(2).any(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_read_asks_for_a_second_opinion_and_not_for_a_third() {
        let mut tries = Tries::default();
        assert!(!tries.end_with(failed(Next::SecondOpinion, "one"), Kind::Get));
        assert!(tries.end_with(failed(Next::SecondOpinion, "two"), Kind::Get));
        assert!(Tries::default().end_with(failed(Next::SecondOpinion, "one"), Kind::Put));
    }

    /// A node that has just come back takes the others for down; the next one does not.
    #[test]
    fn a_write_that_a_node_did_not_begin_goes_to_one_other_and_to_no_third() {
        let mut tries = Tries::default();
        assert!(!tries.end_with(failed(Next::OneOther, "one"), Kind::Put));
        assert!(tries.end_with(failed(Next::OneOther, "two"), Kind::Put));
        assert_eq!(tries.error().message, "two");
        let mut tries = Tries::default();
        assert!(!tries.end_with(failed(Next::OneOther, "one"), Kind::Put));
        assert!(tries.end_with(failed(Next::SecondOpinion, "it may be written"), Kind::Put));
        assert_eq!(tries.error().message, "it may be written");
    }

    #[test]
    fn an_opinion_tells_more_than_the_nodes_that_could_not_be_asked_for_another() {
        let mut tries = Tries::default();
        assert!(!tries.end_with(failed(Next::SecondOpinion, "two of three are down"), Kind::Get));
        assert!(!tries.end_with(failed(Next::IfRead, "lost"), Kind::Get));
        assert_eq!(tries.error().message, "gave up after 2 tries: two of three are down");
    }
}
