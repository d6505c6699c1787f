//! Handing over before the process is told to stop, as Kubernetes' `preStop` asks for: peers and balancers turn to other
//! nodes while this one still answers, and the hints that it holds go to those who are up.
//!
//! Requests are answered all the while: whoever has not heard yet must not see a failure. Nothing hangs on it: a node that is
//! stopped without it keeps its hints and delivers them when it is back.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use dynamo_gossip::Phase;
use dynamo_wire::v1::kv_server::KvServer;
use tokio::time::{Instant, sleep, timeout};
use tonic_health::server::HealthReporter;

use crate::{
    cluster::Standing, coordinator::Coordinator, http::Readiness, membership::Membership, service::kv::KvService,
};

/// How often it is looked whether all is done.
const LOOK: Duration = Duration::from_millis(20);
/// How long all peers may take to be told.
const TELL: Duration = Duration::from_secs(1);
/// So long requests have to stay away: a moment without one is none.
const QUIET: Duration = Duration::from_millis(200);
/// The longest that may be asked for.
pub const PATIENCE_MAX_S: u64 = 3600;

/// What hands over.
pub struct Handover {
    /// For its hints and its requests.
    pub coordinator: Arc<Coordinator>,
    /// To tell the others.
    pub membership: Arc<Membership>,
    /// To tell balancers that ask the HTTP port.
    pub readiness: Arc<Readiness>,
    /// To tell those that ask the clients' port.
    pub health: HealthReporter,
}

impl Handover {
    /// Hands over, for so long at most. In words, what came of it.
    pub async fn run(&self, patience: Duration) -> String {
        let until = Instant::now() + patience;
        tracing::info!(seconds = patience.as_secs(), "handing over before a stop");
        self.readiness.draining();
        self.health.set_not_serving::<KvServer<KvService>>().await;
        let _ = timeout(TELL.min(patience), self.membership.announce(Phase::Draining)).await;
        while self.deliverable() > 0 && Instant::now() < until {
            sleep(LOOK).await;
        }
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET && Instant::now() < until {
            sleep(LOOK).await;
            if self.coordinator.in_flight() > 0 {
                quiet_since = Instant::now();
            }
        }
        let (hints, requests) = (self.coordinator.store.counters().hints(), self.coordinator.in_flight());
        tracing::info!(hints, requests, "handed over: waiting to be told to stop");
        format!(
            "handed over: {hints} hints are held still, for nodes that are down, and {requests} requests are in flight\n"
        )
    }

    /// Hints for nodes that are up, or that left: those go to whoever has their keys now.
    fn deliverable(&self) -> u64 {
        let view = self.coordinator.cluster.view();
        let held = self.coordinator.store.counters().hints_by_target();
        let up =
            |id| view.ring.member(id).is_none() || view.peer(id).is_some_and(|peer| peer.standing() == Standing::Up);
        held.iter().filter(|(target, _)| up(**target)).map(|(_, held)| held.count).sum()
    }
}

/// Both ends of a connection to the HTTP port.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// Who asks.
    pub from: SocketAddr,
    /// Where it is asked; None: that is not known.
    pub at: Option<SocketAddr>,
}

impl Ends {
    /// Whether it came over the loopback interface: from a loopback address, or from the very address that it went to.
    pub fn are_here(&self) -> bool {
        let from = canonical(self.from);
        from.is_loopback() || self.at.is_some_and(|at| canonical(at) == from && !from.is_unspecified())
    }
}

/// An IPv4 address may be written as an IPv6 one.
fn canonical(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_here() {
        let ends = |from: &str, at: &str| Ends { from: from.parse().unwrap(), at: Some(at.parse().unwrap()) };
        for (from, at) in [
            ("127.0.0.1:5", "127.0.0.1:9400"),
            ("[::1]:5", "[::1]:9400"),
            ("[::ffff:127.0.0.1]:5", "[::ffff:127.0.0.1]:9400"),
            ("10.0.0.7:5", "10.0.0.7:9400"),
            ("[::ffff:10.0.0.7]:5", "10.0.0.7:9400"),
        ] {
            assert!(ends(from, at).are_here(), "{from}");
        }
        for (from, at) in
            [("10.0.0.8:5", "10.0.0.7:9400"), ("[fd00::1]:5", "[fd00::2]:9400"), ("0.0.0.0:5", "0.0.0.0:9400")]
        {
            assert!(!ends(from, at).are_here(), "{from}");
        }
        assert!(!Ends { from: "10.0.0.8:5".parse().unwrap(), at: None }.are_here());
    }
}
