//! Metrics, and the port where they and the operator's health are.
//!
//! Volatile figures of clusters are here and not in their status. A figure of a cluster that is no more, or of a reason that
//! holds no more, goes away by itself: what is not set for some minutes is not shown.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{Request, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use dynamo_crd::DynamoCluster;
use dynamo_planner::{Observed, Plan, PodId, Why};
use kube::ResourceExt;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tokio::{net::TcpListener, sync::watch};
use tower::{Layer, Service};

/// Longer than a settled cluster is left alone.
const SHOWN: Duration = Duration::from_secs(300);
const SECONDS: [f64; 10] = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

/// Makes the metrics known; once a process.
///
/// # Errors
/// Somebody else has installed a recorder.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .idle_timeout(MetricKindMask::GAUGE, Some(SHOWN))
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?;
    let handle = builder.install_recorder()?;
    describe();
    Ok(handle)
}

fn describe() {
    describe_counter!("dynamo_operator_reconciles_total", "Looks at a cluster, by how they ended");
    describe_histogram!("dynamo_operator_reconcile_seconds", "How long a look at a cluster takes");
    describe_counter!("dynamo_operator_errors_total", "What failed, by kind");
    describe_counter!(
        "dynamo_operator_api_writes_total",
        "Writes that were sent to the API server, by verb and resource"
    );
    describe_counter!("dynamo_operator_signed_total", "Requests to the signer, by what came of them");
    describe_gauge!("dynamo_cluster_waits", "1 where something of the cluster waits for this reason");
    describe_gauge!("dynamo_cluster_nodes", "Nodes of the cluster: wanted, pods, members, up");
    describe_gauge!("dynamo_cluster_ring_epoch", "The epoch of the cluster's ring");
    describe_gauge!("dynamo_cluster_condition", "1 where the condition holds");
    describe_gauge!("dynamo_node_hints_held", "Hints that a node holds for others");
    describe_gauge!("dynamo_node_refilling_partitions", "Partitions that a node is not whole in");
}

/// How a look at a cluster ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// There was nothing to do.
    Settled,
    /// Something was done.
    Acted,
    /// Something waits.
    Waits,
    /// It failed.
    Failed,
}

/// A look at a cluster is over.
pub fn reconciled(ended: Ended, took: Duration) {
    let word = match ended {
        Ended::Settled => "settled",
        Ended::Acted => "acted",
        Ended::Waits => "waits",
        Ended::Failed => "failed",
    };
    counter!("dynamo_operator_reconciles_total", "outcome" => word).increment(1);
    histogram!("dynamo_operator_reconcile_seconds").record(took.as_secs_f64());
}

/// Something failed.
pub fn failed(kind: &'static str) {
    counter!("dynamo_operator_errors_total", "kind" => kind).increment(1);
}

/// What was seen of a cluster; after each look.
pub fn seen(cluster: &DynamoCluster, observed: &Observed, plan: &Plan) {
    let labels = [("namespace", cluster.namespace().unwrap_or_default()), ("cluster", cluster.name_any())];
    let reasons: BTreeSet<String> = plan.waits.iter().map(Why::name).collect();
    for reason in reasons {
        gauge!("dynamo_cluster_waits", &with(&labels, "reason", reason)).set(1.0);
    }
    for condition in dynamo_planner::conditions(observed, plan) {
        let labels = with(&labels, "condition", condition.kind.to_owned());
        gauge!("dynamo_cluster_condition", &labels).set(if condition.holds { 1.0 } else { 0.0 });
    }
    let count = |what: &str, count: usize| {
        gauge!("dynamo_cluster_nodes", &with(&labels, "what", what.to_owned())).set(count as f64);
    };
    count("wanted", cluster.spec.replicas as usize);
    count("pods", observed.pods.len());
    let Some(ring) = &observed.ring else { return };
    count("members", ring.members.len());
    count("up", ring.members.keys().filter(|pod| ring.nodes.get(*pod).is_some_and(|node| node.up)).count());
    gauge!("dynamo_cluster_ring_epoch", &labels).set(ring.epoch as f64);
    for (pod, node) in &ring.nodes {
        let labels = with(&labels, "node", PodId::to_string(pod));
        gauge!("dynamo_node_hints_held", &labels).set(node.hints as f64);
        gauge!("dynamo_node_refilling_partitions", &labels).set(f64::from(node.refilling));
    }
}

fn with(labels: &[(&'static str, String)], key: &'static str, value: String) -> Vec<(&'static str, String)> {
    labels.iter().cloned().chain([(key, value)]).collect()
}

/// Whether the operator works.
#[derive(Debug, Clone, Default)]
pub struct Health {
    ready: Arc<AtomicBool>,
}

impl Health {
    /// What it needs to begin is there: caches, the signer's certificate.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }
}

/// Serves /metrics, /healthz and /readyz until `stop` turns true.
///
/// # Errors
/// The port can't be had.
pub async fn serve(
    listen: SocketAddr,
    handle: PrometheusHandle,
    health: Health,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let upkeep = {
        let handle = handle.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(5)).await;
                handle.run_upkeep();
            }
        })
    };
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let served = axum::serve(listener, router(handle, health)).with_graceful_shutdown(stopped).await;
    upkeep.abort();
    Ok(served?)
}

fn router(handle: PrometheusHandle, health: Health) -> Router {
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    let readyz = async |State(health): State<Health>| match health.ready.load(Ordering::Relaxed) {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    };
    Router::new()
        .route("/metrics", get(async move || (text, handle.render()).into_response()))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(health)
}

/// Counts the writes that are sent to the API server.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountWrites;

/// See [`CountWrites`].
#[derive(Debug, Clone)]
pub struct Counting<S>(S);

impl<S> Layer<S> for CountWrites {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting(inner)
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Counting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        if let Some((verb, resource)) = write_of(request.method().as_str(), request.uri().path()) {
            counter!("dynamo_operator_api_writes_total", "verb" => verb, "resource" => resource).increment(1);
        }
        self.0.call(request)
    }
}

/// The verb and the resource of a write; None: nothing is written.
fn write_of(method: &str, path: &str) -> Option<(&'static str, String)> {
    let verb = match method {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => return None,
    };
    let mut parts = path.trim_matches('/').split('/');
    let skipped = if parts.next()? == "api" { 1 } else { 2 };
    let mut rest: Vec<&str> = parts.skip(skipped).collect();
    if rest.first() == Some(&"namespaces") && rest.len() > 2 {
        rest.drain(..2);
    }
    // Questions about tokens and rights are sent like writes, and nothing is written.
    let resource = *rest.first().filter(|resource| !resource.ends_with("reviews"))?;
    let part = rest.get(2).map(|part| format!("/{part}")).unwrap_or_default();
    Some((verb, format!("{resource}{part}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_told_by_verb_and_resource_and_questions_are_none() {
        let of = |method: &str, path: &str| {
            let (verb, resource) = write_of(method, path)?;
            Some(format!("{verb} {resource}"))
        };
        let clusters = "/apis/dynamo-k8s.io/v1alpha1/namespaces/prod/dynamoclusters";
        assert_eq!(of("PATCH", &format!("{clusters}/shop/status")).unwrap(), "patch dynamoclusters/status");
        assert_eq!(of("POST", "/api/v1/namespaces/prod/configmaps").unwrap(), "create configmaps");
        assert_eq!(of("DELETE", "/api/v1/namespaces/prod/pods/shop-a-0").unwrap(), "delete pods");
        assert_eq!(of("PUT", "/api/v1/namespaces/prod/secrets/shop-ca").unwrap(), "update secrets");
        assert_eq!(of("GET", clusters), None);
        assert_eq!(of("POST", "/apis/authentication.k8s.io/v1/tokenreviews"), None);
    }

    #[test]
    fn a_reason_is_shown_while_it_is_set() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let mut cluster = DynamoCluster::new("shop", dynamo_crd::DynamoClusterSpec::default());
        cluster.metadata.namespace = Some("prod".to_owned());
        let plan = Plan { waits: vec![Why::NoNodeAnswers], ..Plan::default() };
        metrics::with_local_recorder(&recorder, || seen(&cluster, &Observed::default(), &plan));
        let shown = recorder.handle().render();
        let waits = r#"dynamo_cluster_waits{namespace="prod",cluster="shop",reason="NoNodeAnswers"} 1"#;
        assert!(shown.contains(waits), "{shown}");
        assert!(shown.contains(r#"condition="Available"} 0"#), "{shown}");
    }
}
