//! The HTTP port: /metrics for Prometheus, /healthz (the process answers) and /readyz (it takes requests).
//!
//! It is always in plaintext and asks nobody who he is: kubelet has nothing to show. So with TLS the figures are on the
//! clients' port, and what is left here are two words.
//!
//! `POST /prestop` hands over before a stop, and is for whoever is on this machine alone.
//!
//! Readiness never depends on peers: a node that waited for a quorum to be ready would keep the quorum from forming.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{ConnectInfo, RawQuery, connect_info::Connected},
    http::StatusCode,
    routing::{get, post},
    serve::IncomingStream,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, sync::watch};

use crate::handover::{Ends, Handover, PATIENCE_MAX_S};

/// Whether the node takes requests.
#[derive(Debug, Default)]
pub struct Readiness(AtomicU8);

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

impl Readiness {
    /// It does, unless it was told to hand over while it started.
    pub fn ready(&self) {
        let _ = self.0.compare_exchange(STARTING, READY, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Not yet, and it was not told to hand over.
    pub fn is_starting(&self) -> bool {
        self.0.load(Ordering::Relaxed) == STARTING
    }

    /// No longer.
    pub fn draining(&self) {
        self.0.store(DRAINING, Ordering::Relaxed);
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        match self.0.load(Ordering::Relaxed) {
            READY => (StatusCode::OK, "ready\n"),
            DRAINING => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        }
    }
}

const ELSEWHERE: &str = "with TLS, metrics are on the clients' port, for those who may see them\n";

impl Connected<IncomingStream<'_, TcpListener>> for Ends {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self { from: *stream.remote_addr(), at: stream.io().local_addr().ok() }
    }
}

/// Hands over, if whoever asks is on this machine.
async fn prestop(handover: Arc<Handover>, ends: Ends, query: Option<String>) -> (StatusCode, String) {
    match patience(ends, query.as_deref()) {
        Ok(patience) => (StatusCode::OK, handover.run(patience).await),
        Err(refused) => refused,
    }
}

/// For how long at most, of who may ask.
fn patience(ends: Ends, query: Option<&str>) -> Result<Duration, (StatusCode, String)> {
    if !ends.are_here() {
        let why = "only a process of the node's own machine may ask for this: nothing was done\n";
        return Err((StatusCode::FORBIDDEN, why.to_owned()));
    }
    let seconds = query.and_then(|query| query.strip_prefix("seconds=")?.parse::<u64>().ok());
    let seconds = seconds.filter(|seconds| *seconds <= PATIENCE_MAX_S);
    let unsaid = || {
        let why = format!("say for how long at most, ?seconds=0 to {PATIENCE_MAX_S}: nothing was done\n");
        (StatusCode::BAD_REQUEST, why)
    };
    seconds.map(Duration::from_secs).ok_or_else(unsaid)
}

/// Serves until `stop` turns true; without metrics where they are elsewhere.
pub async fn serve(
    listener: TcpListener,
    metrics: Option<PrometheusHandle>,
    handover: Handover,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let (readiness, handover) = (handover.readiness.clone(), Arc::new(handover));
    let ask = move |ConnectInfo(ends): ConnectInfo<Ends>, RawQuery(query): RawQuery| prestop(handover, ends, query);
    let app = Router::new()
        .route("/metrics", get(move || std::future::ready(figures(metrics.as_ref()))))
        .route("/healthz", get(|| std::future::ready("ok\n")))
        .route("/readyz", get(move || std::future::ready(readiness.answer())))
        .route("/prestop", post(ask));
    let app = app.into_make_service_with_connect_info::<Ends>();
    axum::serve(listener, app).with_graceful_shutdown(async move { drop(stop.wait_for(|stop| *stop).await) }).await
}

fn figures(metrics: Option<&PrometheusHandle>) -> (StatusCode, String) {
    match metrics {
        Some(metrics) => (StatusCode::OK, metrics.render()),
        None => (StatusCode::FORBIDDEN, ELSEWHERE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_told_to_hand_over_while_it_started_does_not_get_ready() {
        let (started, stopped) = (Readiness::default(), Readiness::default());
        assert!(started.is_starting() && started.answer() == (StatusCode::SERVICE_UNAVAILABLE, "starting\n"));
        started.ready();
        assert_eq!((started.is_starting(), started.answer().0), (false, StatusCode::OK));
        stopped.draining();
        stopped.ready();
        assert_eq!((stopped.is_starting(), stopped.answer().1), (false, "draining\n"));
    }

    #[test]
    fn who_is_elsewhere_is_refused_and_who_is_here_says_for_how_long() {
        let ends = |from: &str| Ends { from: from.parse().unwrap(), at: Some("10.0.0.7:9400".parse().unwrap()) };
        let code = |from: &str, query| patience(ends(from), query).map_err(|(code, _)| code);
        assert_eq!(code("10.0.0.8:4000", Some("seconds=1")), Err(StatusCode::FORBIDDEN));
        assert_eq!(code("10.0.0.7:4000", Some("seconds=1")), Ok(Duration::from_secs(1)));
        for query in [None, Some(""), Some("seconds"), Some("seconds=-1"), Some("seconds=3601"), Some("minutes=1")] {
            assert_eq!(code("127.0.0.1:4000", query), Err(StatusCode::BAD_REQUEST), "{query:?}");
        }
    }
}
