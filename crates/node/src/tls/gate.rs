//! In front of every call on the clients' port: who asks, and whether they may.

use std::{future::ready, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use dynamo_tls::{Name, Token, bearer};
use dynamo_wire::v1::ErrorCode;
use metrics::{counter, describe_counter};
use metrics_exporter_prometheus::PrometheusHandle;
use tonic::{Code, service::Routes};

use super::{Grant, NodeTls, Right, Speaker};
use crate::request::{Refused, named};

const METRICS: &str = "/metrics";

/// The same calls for those who may make them; and the node's figures, which are seen nowhere else then.
pub fn gated(routes: Routes, tls: &Arc<NodeTls>, metrics: PrometheusHandle) -> Routes {
    describe_counter!("dynamo_calls_not_allowed_total", "Calls of those who may not make them, or are not known");
    let router = routes.into_axum_router().route(METRICS, get(move || ready(metrics.render())));
    router.layer(from_fn_with_state(tls.clone(), check)).into()
}

async fn check(State(tls): State<Arc<NodeTls>>, mut request: Request, next: Next) -> Response {
    let needed = Right::needed(request.uri().path());
    let names = match request.extensions().get::<Speaker>() {
        Some(Speaker { names: Some(names) }) => names.clone(),
        _ => Arc::<[Name]>::from([]),
    };
    let header = request.headers().get(AUTHORIZATION).and_then(|header| bearer(header.as_bytes()));
    let token = header.map(Token::of);
    let number = tls.tokens_number();
    let held = tls.right_of(&names, token.as_ref());
    let Some(held) = held.filter(|held| *held >= needed) else {
        let shown = !names.is_empty() || token.is_some();
        return refuse(request.uri().path(), held, needed, shown);
    };
    request.extensions_mut().insert(Grant { tls, names, token, needed, held, number });
    next.run(request).await
}

fn refuse(path: &str, held: Option<Right>, needed: Right, shown: bool) -> Response {
    counter!("dynamo_calls_not_allowed_total").increment(1);
    let (code, http, why) = match (held, shown) {
        (Some(_), _) => (Code::PermissionDenied, StatusCode::FORBIDDEN, "what you show is not enough for this"),
        (None, true) => (Code::Unauthenticated, StatusCode::UNAUTHORIZED, "what you show is not known here"),
        (None, false) => (Code::Unauthenticated, StatusCode::UNAUTHORIZED, "you have not shown who you are"),
    };
    let what = match needed {
        Right::Metrics => "a token for metrics",
        Right::Read => "a token that reads, or a certificate of a client",
        Right::Write => "a token or a certificate of a client",
        Right::Admin => "a token or a certificate of an administrator",
    };
    let message = format!("{why}: nothing was read or written; give {what} of this cluster");
    if path == METRICS {
        return (http, [("www-authenticate", "Bearer")], message + "\n").into_response();
    }
    named(code, Refused::new(ErrorCode::NotAllowed, message)).into_http()
}
