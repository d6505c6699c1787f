//! Which edits of the resource make its nodes restart.
//!
//! The name is a hash of those parts of the spec, never of what is rendered from them: an operator that renders otherwise than the
//! one before restarts nobody. A part counts only where it is not what it is by default, so that a key which a later release adds
//! changes no name either.

use std::collections::BTreeMap;

use dynamo_crd::{Clients, DynamoClusterSpec, Maintenance, Tls};
use serde::Serialize;
use serde_json::Value;

use super::Basis;

/// Names what pods are made of.
pub fn template(basis: &Basis<'_>) -> String {
    let (spec, default) = (parts(&basis.cluster.spec), parts(&DynamoClusterSpec::default()));
    let differs = |(part, value): &(&&str, &Value)| default.get(**part) != Some(*value);
    let changed: Vec<_> = spec.iter().filter(differs).collect();
    let mut text = String::new();
    for (part, value) in changed {
        text += part;
        canonical(value, &mut text);
    }
    // It is a part of names and typed by people; forty bits are enough to tell one cluster's templates apart.
    format!("{:010x}", fnv1a(text.as_bytes()) >> 24)
}

/// The parts that restart. Every key of the spec is named here or there, so that one that is added is thought of.
fn parts(spec: &DynamoClusterSpec) -> BTreeMap<&'static str, Value> {
    let DynamoClusterSpec {
        durability,
        image,
        version,
        resources,
        tls,
        maintenance,
        slo,
        clients,
        pod_template,
        config,
        // Fixed when the cluster is created.
        replication: _,
        partitions: _,
        // Who the nodes are and on what disks, which is the ring's affair and the volumes'.
        replicas: _,
        zones: _,
        storage: _,
        // The operator's own.
        replace_after_seconds: _,
        network_policies: _,
        service_monitor: _,
        buckets: _,
    } = spec;
    let Tls { mode, secret_name, client_auth, tokens_secret_name, certificate_days: _, ca_days: _ } = tls;
    let Maintenance {
        restart_requested_at,
        plan_only: _,
        pause: _,
        certificates_requested_at: _,
        ca_requested_at: _,
        restart_anyway: _,
        replace: _,
    } = maintenance;
    let Clients { advertise, service_type: _, service_annotations: _ } = clients;
    BTreeMap::from([
        ("durability", value(durability)),
        ("image", value(image)),
        ("version", value(version)),
        ("resources", value(resources)),
        ("tls.mode", value(mode)),
        ("tls.secretName", value(secret_name)),
        ("tls.clientAuth", value(client_auth)),
        ("tls.tokensSecretName", value(tokens_secret_name)),
        ("maintenance.restartRequestedAt", value(restart_requested_at)),
        ("slo", value(slo)),
        ("clients.advertise", value(advertise)),
        ("podTemplate", value(pod_template)),
        ("config", value(config)),
    ])
}

fn value(part: impl Serialize) -> Value {
    serde_json::to_value(part).expect("a part of the spec can be written")
}

/// One text for one value, whichever way this build's JSON maps go.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            for (key, value) in sorted {
                *text += "{";
                *text += &Value::String(key.clone()).to_string();
                canonical(value, text);
            }
            *text += "}";
        }
        Value::Array(values) => {
            for value in values {
                *text += "[";
                canonical(value, text);
            }
            *text += "]";
        }
        plain => *text += &plain.to_string(),
    }
}

/// FNV-1a: a name is told from the one before by it, and nobody gains by two that are not.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render::samples::Sample;

    /// The name for a resource with this spec.
    fn of(spec: Value) -> String {
        template(&Sample::of(spec).basis())
    }

    #[test]
    fn an_edit_of_what_pods_are_made_of_is_another_template_and_back_again_the_former() {
        let restarts = [
            json!({"durability": "interval"}),
            json!({"image": "registry.example/dynamo:1"}),
            json!({"version": "9.9.9"}),
            json!({"resources": {"limits": {"memory": "2Gi"}}}),
            json!({"resources": {"requests": {"memory": "2Gi"}}}),
            json!({"tls": {"mode": "Plaintext"}}),
            json!({"tls": {"mode": "Secret", "secretName": "theirs"}}),
            json!({"tls": {"mode": "Secret", "secretName": "another"}}),
            json!({"tls": {"clientAuth": "Certificate"}}),
            json!({"tls": {"clientAuth": "Token", "tokensSecretName": "tokens"}}),
            json!({"tls": {"clientAuth": "Token", "tokensSecretName": "others"}}),
            json!({"maintenance": {"restartRequestedAt": "2026-01-31T12:00:00Z"}}),
            json!({"maintenance": {"restartRequestedAt": "2026-01-31T12:00:01Z"}}),
            json!({"slo": {"p99Ms": 20}}),
            json!({"clients": {"advertise": "{pod}.example:7400"}}),
            json!({"podTemplate": {"labels": {"team": "shop"}}}),
            json!({"podTemplate": {"annotations": {"team": "shop"}}}),
            json!({"podTemplate": {"nodeSelector": {"disk": "fast"}}}),
            json!({"podTemplate": {"tolerations": [{"key": "storage"}]}}),
            json!({"podTemplate": {"priorityClassName": "high"}}),
            json!({"podTemplate": {"imagePullSecrets": [{"name": "registry"}]}}),
            json!({"podTemplate": {"terminationGracePeriodSeconds": 61}}),
            json!({"config": {"storage.cache_mib": "128"}}),
            json!({"config": {"storage.cache_mib": "256"}}),
        ];
        let names: BTreeMap<String, &Value> = restarts.iter().map(|spec| (of(spec.clone()), spec)).collect();
        assert_eq!(names.len(), restarts.len(), "two of them have one name");
        assert!(!names.contains_key(&of(json!({}))), "an edit that restarts has the name of none");
        assert_eq!(of(restarts[0].clone()), of(restarts[0].clone()));
    }

    #[test]
    fn what_needs_no_restart_leaves_the_template_as_it_is() {
        let before = of(json!({}));
        for spec in [
            json!({"replicas": 9}),
            json!({"zones": [{"name": "a", "weight": 3}, {"name": "b", "nodeLabelValue": ""}]}),
            json!({"storage": {"size": "99Gi", "reclaim": {"onDelete": "Delete", "onScaleDown": "Retain"}}}),
            json!({"replication": {"r": 1, "w": 3, "sloppy": false}}),
            json!({"tls": {"certificateDays": 30, "caDays": 100}}),
            json!({"maintenance": {"planOnly": true, "pause": true, "restartAnyway": "x"}}),
            json!({"maintenance": {"caRequestedAt": "2026-01-31T12:00:00Z", "certificatesRequestedAt": "2026-01-31T12:00:00Z"}}),
            json!({"maintenance": {"replace": [{"node": "shop-a-0", "claimUid": "x"}]}}),
            json!({"replaceAfterSeconds": 1}),
            json!({"clients": {"serviceType": "LoadBalancer", "serviceAnnotations": {"a": "b"}}}),
            json!({"networkPolicies": false}),
            json!({"serviceMonitor": true}),
            json!({"buckets": [{"name": "carts"}]}),
            // What is said as it is by default.
            json!({"durability": "fsync", "tls": {"mode": "OperatorCA"}, "slo": {"p99Ms": 50}, "config": {}}),
        ] {
            assert_eq!(of(spec.clone()), before, "{spec}");
        }
    }

    #[test]
    fn what_this_operator_brings_restarts_nobody() {
        let mut sample = Sample::of(json!({}));
        let before = template(&sample.basis());
        sample.release.version = "99.0.0".to_owned();
        sample.release.image_repository = "elsewhere.example/node".to_owned();
        sample.release.signer_url = "https://elsewhere:1/sign".to_owned();
        assert_eq!(template(&sample.basis()), before);
    }

    #[test]
    fn names_are_the_same_in_the_next_release() {
        assert_eq!(of(json!({})), "cbf29ce484");
        let spec = json!({"durability": "interval", "resources": {"limits": {"memory": "2Gi", "cpu": "1"}}});
        assert_eq!(of(spec), "3363d1b792");
    }
}
