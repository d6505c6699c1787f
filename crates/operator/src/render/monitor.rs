//! The Prometheus operator's ServiceMonitor.
//!
//! Without TLS metrics are on the HTTP port; with it on the clients' port, for those who may see them (docs/SECURITY.md).

use dynamo_crd::{ClientAuth, TlsMode, names};
use serde_json::{Value, json};

use super::{Basis, LABEL_SERVICE, TRUST_KEY};

/// The Secret that Prometheus shows with `tls.clientAuth: Certificate`: a certificate of role `client`, and its key. Whoever issues
/// the clients' certificates makes it.
fn metrics_secret(cluster: &str) -> String {
    format!("{cluster}-metrics")
}

pub(super) fn monitor(basis: &Basis<'_>) -> Value {
    let cluster = basis.resource();
    let mut selector = names::selector(&cluster);
    selector.insert(LABEL_SERVICE.to_owned(), "nodes".to_owned());
    json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": basis.metadata(cluster),
        "spec": {
            "selector": {"matchLabels": selector},
            "endpoints": [endpoint(basis)],
            "podTargetLabels": [names::LABEL_CLUSTER, names::LABEL_ZONE],
        },
    })
}

fn endpoint(basis: &Basis<'_>) -> Value {
    let (cluster, tls) = (basis.resource(), &basis.cluster.spec.tls);
    let authorities = match tls.mode {
        TlsMode::Plaintext => return json!({"port": "http", "path": "/metrics", "scheme": "http"}),
        TlsMode::OperatorCA => json!({"configMap": {"name": names::trust(&cluster), "key": TRUST_KEY}}),
        TlsMode::Secret => json!({"secret": {"name": tls.secret_name, "key": "ca.crt"}}),
    };
    let host = format!("{}.{}.svc", names::client_service(&cluster), basis.namespace());
    let mut endpoint = json!({
        "port": "client",
        "path": "/metrics",
        "scheme": "https",
        "tlsConfig": {"ca": authorities, "serverName": host},
    });
    match tls.client_auth {
        ClientAuth::None => {}
        ClientAuth::Token => {
            let credentials = json!({"name": tls.tokens_secret_name, "key": "metrics"});
            endpoint["authorization"] = json!({"type": "Bearer", "credentials": credentials});
        }
        ClientAuth::Certificate => {
            let secret = metrics_secret(&cluster);
            endpoint["tlsConfig"]["cert"] = json!({"secret": {"name": secret, "key": "tls.crt"}});
            endpoint["tlsConfig"]["keySecret"] = json!({"name": secret, "key": "tls.key"});
        }
    }
    endpoint
}
