//! Clusters that tests render.

use std::collections::BTreeMap;

use dynamo_crd::DynamoCluster;
use dynamo_planner::Founders;
use serde_json::{Value, json};

use super::{Basis, Kind, Release, Rendered, ZonePlace, budget, objects, stateful_set};

/// A cluster and what was decided for it.
pub(crate) struct Sample {
    pub cluster: DynamoCluster,
    pub zones: Vec<ZonePlace>,
    pub founders: Founders,
    pub release: Release,
}

impl Sample {
    /// `prod/shop` with this spec: in the zones that it names, or else in a, b and c, with one founder each.
    pub fn of(spec: Value) -> Sample {
        Sample::named("prod", "shop", spec)
    }

    pub fn named(namespace: &str, name: &str, spec: Value) -> Sample {
        let cluster: DynamoCluster = serde_json::from_value(json!({
            "apiVersion": "dynamo-k8s.io/v1alpha1",
            "kind": "DynamoCluster",
            "metadata": {"name": name, "namespace": namespace, "uid": "1a2b3c4d-0000-4000-8000-000000000000"},
            "spec": spec,
        }))
        .unwrap();
        let spec = &cluster.spec;
        let discovered = ["a", "b", "c"].map(dynamo_crd::Zone::named).to_vec();
        let listed = if spec.zones.is_empty() { &discovered } else { &spec.zones };
        let zones: Vec<ZonePlace> = listed
            .iter()
            .map(|zone| ZonePlace {
                name: zone.name.clone(),
                label_value: zone.label_value().map(str::to_owned),
                weight: zone.weight,
                storage_bytes: spec.volume_bytes(zone).unwrap(),
                storage_class: spec.storage_class(zone).map(str::to_owned),
            })
            .collect();
        let counts: BTreeMap<_, _> =
            zones.iter().map(|zone| zone.name.clone()).zip(spec.nodes_by_zone(zones.len())).collect();
        let release = Release {
            image_repository: "dynamo-k8s/node".to_owned(),
            version: "0.1.0".to_owned(),
            signer_url: "https://dynamo-operator.dynamo-system.svc:9443/sign".to_owned(),
        };
        Sample { zones, founders: Founders { zones: counts }, release, cluster }
    }

    pub fn basis(&self) -> Basis<'_> {
        Basis {
            cluster: &self.cluster,
            name: "prod/shop/1a2b3c4d",
            zones: &self.zones,
            founders: &self.founders,
            release: &self.release,
            service_monitors: true,
        }
    }

    /// All that is rendered for it, StatefulSets of as many pods as there were founders and a budget among it.
    pub fn all(&self) -> Vec<Value> {
        let basis = self.basis();
        let mut all: Vec<Value> = objects(&basis).into_iter().map(|rendered| rendered.object).collect();
        for zone in &self.zones {
            let replicas = self.founders.zones[&zone.name];
            let set = stateful_set(&basis, zone, replicas, dynamo_planner::PARKED, zone.storage_bytes);
            all.push(serde_json::to_value(set).unwrap());
        }
        all.push(serde_json::to_value(budget(&basis, 1)).unwrap());
        all
    }

    pub fn rendered(&self, kind: Kind) -> Vec<Rendered> {
        objects(&self.basis()).into_iter().filter(|rendered| rendered.kind == kind).collect()
    }
}

/// Each sample whose rendering is kept, by its name.
pub(crate) fn all() -> Vec<(&'static str, Sample)> {
    vec![
        (
            "three-zones",
            Sample::of(json!({"replicas": 6, "resources": {
                "requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi"},
            }})),
        ),
        (
            "single-node",
            Sample::of(json!({
                "replicas": 1, "replication": {"factor": 1}, "partitions": 16,
                "zones": [{"name": "dev", "nodeLabelValue": ""}],
            })),
        ),
        ("one-zone", Sample::of(json!({"zones": [{"name": "a"}]}))),
        ("plaintext", Sample::of(json!({"tls": {"mode": "Plaintext"}, "serviceMonitor": true}))),
        (
            "secret",
            Sample::of(json!({
                "tls": {"mode": "Secret", "secretName": "shop-tls", "clientAuth": "Certificate"}, "serviceMonitor": true,
            })),
        ),
        (
            "tokens",
            Sample::of(json!({
                "tls": {"clientAuth": "Token", "tokensSecretName": "shop-tokens"}, "serviceMonitor": true,
            })),
        ),
        (
            "weights",
            Sample::of(json!({
                "replicas": 5, "partitions": 1024, "slo": {"p99Ms": 20},
                "zones": [
                    {"name": "big", "nodeLabelValue": "eu-west-1a", "weight": 2, "storage": {"size": "200Gi", "storageClassName": "fast"}},
                    {"name": "small-1", "nodeLabelValue": "eu-west-1b"},
                    {"name": "small-2", "nodeLabelValue": "eu-west-1c"},
                ],
                "storage": {"size": "100Gi"},
            })),
        ),
        ("overrides", Sample::of(overrides())),
    ]
}

fn overrides() -> Value {
    json!({
        "image": "registry.example/dynamo:test",
        "durability": "one-fsync",
        "networkPolicies": false,
        "clients": {
            "serviceType": "LoadBalancer", "serviceAnnotations": {"example.com/internal": "true"},
            "advertise": "{pod}.{zone}.example.com:7400",
        },
        "config": {"limits.value_bytes": "4194304", "log.level": "info,dynamo_node=debug"},
        "podTemplate": {
            "labels": {"team": "shop", "dynamo-k8s.io/zone": "not-theirs-to-say"},
            "annotations": {"example.com/scrape": "false"},
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "storage", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "arch", "operator": "In", "values": ["arm64"]}]},
                ]}},
                "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {
                    "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"noisy": "yes"}},
                }}]},
            },
            "priorityClassName": "high",
            "imagePullSecrets": [{"name": "registry"}],
            "terminationGracePeriodSeconds": 120,
        },
    })
}
