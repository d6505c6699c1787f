//! The table: for each rule what it refuses and, next to that, what it does not.

use dynamo_crd::rules::{self, Check};
use serde_json::{Value, json};

/// A spec that is applied, over another one or as a new resource, and the rule that it breaks, if any.
pub struct Case {
    /// What it is about.
    pub what: &'static str,
    /// The resource's name.
    pub name: &'static str,
    /// What was there before.
    pub before: Option<Value>,
    /// What is applied.
    pub spec: Value,
    /// The rule that refuses it; nothing: it is taken.
    pub breaks: Option<Check>,
    /// Which rule it is about, where it is taken.
    pub about: &'static [Check],
}

impl Case {
    fn new(what: &'static str, before: Option<Value>, spec: Value) -> Self {
        Self { what, name: "shop", before, spec, breaks: None, about: &[] }
    }

    fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    fn breaks(mut self, check: Check) -> Self {
        self.breaks = Some(check);
        self
    }

    fn keeps(mut self, about: &'static [Check]) -> Self {
        self.about = about;
        self
    }
}

fn new(what: &'static str, spec: Value) -> Case {
    Case::new(what, None, spec)
}

fn change(what: &'static str, before: Value, spec: Value) -> Case {
    Case::new(what, Some(before), spec)
}

/// All of them.
pub fn all() -> Vec<Case> {
    [names(), numbers(), zones(), volumes(), zone_volumes(), classes(), images(), tls(), buckets(), pods(), edits()]
        .into_iter()
        .flatten()
        .collect()
}

fn names() -> Vec<Case> {
    const ABOUT: &[Check] = &[rules::CLUSTER_NAME];
    vec![
        new("28 characters", json!({})).named("a234567890123456789012345678").keeps(ABOUT),
        new("29 characters", json!({})).named("a2345678901234567890123456789").breaks(rules::CLUSTER_NAME),
        new("a digit first", json!({})).named("1shop").breaks(rules::CLUSTER_NAME),
        new("a dot within", json!({})).named("my.shop").breaks(rules::CLUSTER_NAME),
        new("a hyphen within", json!({})).named("my-shop").keeps(ABOUT),
        new("the name of another's Service", json!({})).named("shop-nodes").breaks(rules::CLUSTER_NAME_OF_NODES),
        new("a name like that of a Service", json!({})).named("nodes").keeps(&[rules::CLUSTER_NAME_OF_NODES]),
    ]
}

fn numbers() -> Vec<Case> {
    use rules::*;
    vec![
        new("nothing at all", json!({})).keeps(&[N_NEEDS_REPLICAS, R_WITHIN_N, W_WITHIN_N]),
        new("one node of a cluster of three replicas", json!({ "replicas": 1 })).breaks(N_NEEDS_REPLICAS),
        new("one node, n 1", json!({ "replicas": 1, "replication": { "factor": 1 } })).keeps(&[N_NEEDS_REPLICAS]),
        new("n over the default of replicas", json!({ "replication": { "factor": 5 } })).breaks(N_NEEDS_REPLICAS),
        change("scaled below n", json!({ "replicas": 6 }), json!({ "replicas": 2 })).breaks(N_NEEDS_REPLICAS),
        change("replicas taken out", json!({ "replicas": 6 }), json!({})).keeps(&[N_NEEDS_REPLICAS]),
        change(
            "replicas taken out under an n of 5",
            json!({ "replicas": 6, "replication": { "factor": 5 } }),
            json!({ "replication": { "factor": 5 } }),
        )
        .breaks(N_NEEDS_REPLICAS),
        new("r over n", json!({ "replication": { "r": 4 } })).breaks(R_WITHIN_N),
        new("w over n", json!({ "replication": { "w": 4 } })).breaks(W_WITHIN_N),
        new("r and w are n", json!({ "replication": { "r": 3, "w": 3 } })).keeps(&[R_WITHIN_N, W_WITHIN_N]),
        change("r over n, where none was", json!({}), json!({ "replication": { "r": 4 } })).breaks(R_WITHIN_N),
        change("n is raised", json!({ "replicas": 9 }), json!({ "replicas": 9, "replication": { "factor": 5 } }))
            .breaks(N_IS_FIXED),
        change(
            "n is taken out, which puts it back to the default",
            json!({ "replicas": 9, "replication": { "factor": 5 } }),
            json!({ "replicas": 9 }),
        )
        .breaks(N_IS_FIXED),
        change("n is written down as it was", json!({}), json!({ "replication": { "factor": 3 } }))
            .keeps(&[N_IS_FIXED]),
        new("partitions are no power of two", json!({ "partitions": 100 })).breaks(PARTITIONS_ARE_A_POWER_OF_TWO),
        new("the most partitions", json!({ "partitions": 65536 })).keeps(&[PARTITIONS_ARE_A_POWER_OF_TWO]),
        change("more partitions", json!({ "partitions": 256 }), json!({ "partitions": 512 }))
            .breaks(PARTITIONS_ARE_FIXED),
        change("other partitions, where none were said", json!({}), json!({ "partitions": 512 }))
            .breaks(PARTITIONS_ARE_FIXED),
        change("partitions are taken out", json!({ "partitions": 512 }), json!({})).breaks(PARTITIONS_ARE_FIXED),
        change("partitions are written down as they were", json!({}), json!({ "partitions": 256 }))
            .keeps(&[PARTITIONS_ARE_FIXED]),
        new("more nodes than partitions", json!({ "replicas": 5, "partitions": 4 })).breaks(REPLICAS_NEED_PARTITIONS),
        new("as many nodes as partitions", json!({ "replicas": 4, "partitions": 4 }))
            .keeps(&[REPLICAS_NEED_PARTITIONS]),
    ]
}

fn zones() -> Vec<Case> {
    use rules::*;
    let named =
        |names: &[&str]| json!({ "zones": names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>() });
    vec![
        new("a zone for each node", named(&["a", "b", "c"])).keeps(&[ZONES_NEED_REPLICAS, ZONES_DIFFER, ZONE_NAME]),
        new("more zones than nodes", named(&["a", "b", "c", "d"])).breaks(ZONES_NEED_REPLICAS),
        change("zones are listed that were discovered", json!({}), named(&["a", "b"])).keeps(&[ZONES_NEED_REPLICAS]),
        change("more zones than nodes, where none were", json!({}), named(&["a", "b", "c", "d"]))
            .breaks(ZONES_NEED_REPLICAS),
        change("a zone goes and one comes", named(&["a", "b"]), named(&["b", "c"])).keeps(&[ZONE_STAYS_WHERE_IT_IS]),
        new("two zones are one place", json!({ "zones": [{ "name": "a" }, { "name": "b", "nodeLabelValue": "a" }] }))
            .breaks(ZONES_DIFFER),
        new(
            "names crossed with places",
            json!({ "zones": [{ "name": "a", "nodeLabelValue": "b" }, { "name": "b", "nodeLabelValue": "a" }] }),
        )
        .keeps(&[ZONES_DIFFER]),
        new(
            "zones that are only played",
            json!({ "zones": [{ "name": "a", "nodeLabelValue": "" }, { "name": "b", "nodeLabelValue": "" }] }),
        )
        .keeps(&[ZONES_DIFFER]),
        new("a capital in a zone's name", named(&["A"])).breaks(ZONE_NAME),
        new("a hyphen at the end of a zone's name", named(&["a-"])).breaks(ZONE_NAME),
        new("a zone like a provider's", named(&["eu-west-1a"])).keeps(&[ZONE_NAME]),
        change(
            "a zone moves",
            json!({ "zones": [{ "name": "a", "nodeLabelValue": "x" }] }),
            json!({ "zones": [{ "name": "a", "nodeLabelValue": "y" }] }),
        )
        .breaks(ZONE_STAYS_WHERE_IT_IS),
        change(
            "a zone moves that was where it is called",
            named(&["a"]),
            json!({ "zones": [{ "name": "a", "nodeLabelValue": "y" }] }),
        )
        .breaks(ZONE_STAYS_WHERE_IT_IS),
        change(
            "a zone moves to where it is called",
            json!({ "zones": [{ "name": "a", "nodeLabelValue": "y" }] }),
            named(&["a"]),
        )
        .breaks(ZONE_STAYS_WHERE_IT_IS),
        change(
            "a zone's place is written down as it was",
            named(&["a"]),
            json!({ "zones": [{ "name": "a", "nodeLabelValue": "a" }] }),
        )
        .keeps(&[ZONE_STAYS_WHERE_IT_IS]),
    ]
}

fn size(size: &str) -> Value {
    json!({ "storage": { "size": size } })
}

fn volumes() -> Vec<Case> {
    use rules::*;
    vec![
        new("a size without a unit that is known", size("20GB")).breaks(SIZE_IS_A_SIZE),
        new("no size", size("big")).breaks(SIZE_IS_A_SIZE),
        new("too small a size", size("511Mi")).breaks(SIZE_IS_A_SIZE),
        new("the smallest size", size("512Mi")).keeps(&[SIZE_IS_A_SIZE]),
        new("a size with a point", size("1.5Ti")).keeps(&[SIZE_IS_A_SIZE]),
        new("a zone's size that is none", json!({ "zones": [{ "name": "a", "storage": { "size": "1" } }] }))
            .breaks(SIZE_IS_A_SIZE),
        change("a volume grows", size("10Gi"), size("20Gi")).keeps(&[VOLUMES_DO_NOT_SHRINK]),
        change("the same size in other words", size("1Ti"), size("1024Gi")).keeps(&[VOLUMES_DO_NOT_SHRINK]),
        change("a volume shrinks", size("20Gi"), size("19.9Gi")).breaks(VOLUMES_DO_NOT_SHRINK),
        change("a volume shrinks by taking its size out", size("20Gi"), json!({})).breaks(VOLUMES_DO_NOT_SHRINK),
        change("a volume shrinks that had the default's size", json!({}), size("5Gi")).breaks(VOLUMES_DO_NOT_SHRINK),
        change("a volume grows that had the default's size", json!({}), size("11Gi")).keeps(&[VOLUMES_DO_NOT_SHRINK]),
    ]
}

/// Zone `a` with volumes of this size.
fn zone_size(size: &str) -> Value {
    json!({ "zones": [{ "name": "a", "storage": { "size": size } }] })
}

fn zone_volumes() -> Vec<Case> {
    use rules::ZONE_VOLUMES_DO_NOT_SHRINK as SHRINK;
    const ABOUT: &[Check] = &[SHRINK];
    let listed = || json!({ "zones": [{ "name": "a" }] });
    vec![
        new("a zone begins with smaller volumes than the cluster's", zone_size("5Gi")).keeps(ABOUT),
        change("a zone's volumes grow", zone_size("20Gi"), zone_size("30Gi")).keeps(ABOUT),
        change("a zone's volumes shrink", zone_size("20Gi"), zone_size("15Gi")).breaks(SHRINK),
        change("a zone's volumes shrink to the cluster's", zone_size("20Gi"), listed()).breaks(SHRINK),
        change("a zone's volumes shrink from the cluster's", listed(), zone_size("5Gi")).breaks(SHRINK),
        change("a zone's volumes grow from the cluster's", listed(), zone_size("15Gi")).keeps(ABOUT),
        change("a zone's volumes grow to the cluster's", zone_size("5Gi"), listed()).keeps(ABOUT),
        change("a zone is listed with smaller volumes, where none was", json!({}), zone_size("5Gi")).breaks(SHRINK),
        change("a zone is listed with larger volumes, where none was", json!({}), zone_size("15Gi")).keeps(ABOUT),
        change("zones with larger volumes are listed no more", zone_size("20Gi"), json!({})).breaks(SHRINK),
        change("zones with smaller volumes are listed no more", zone_size("5Gi"), json!({})).keeps(ABOUT),
        change(
            "another zone has smaller volumes",
            zone_size("20Gi"),
            json!({ "zones": [{ "name": "b", "storage": { "size": "5Gi" } }] }),
        )
        .keeps(ABOUT),
    ]
}

fn classes() -> Vec<Case> {
    use rules::{CLASS_IS_FIXED as FIXED, ZONE_CLASS_IS_FIXED as ZONE_FIXED};
    let class = |class: &str| json!({ "storage": { "storageClassName": class } });
    let zone = |class: &str| json!({ "zones": [{ "name": "a", "storage": { "storageClassName": class } }] });
    let listed = || json!({ "zones": [{ "name": "a" }] });
    vec![
        change("the same class", class("fast"), class("fast")).keeps(&[FIXED]),
        change("another class", class("fast"), class("slow")).breaks(FIXED),
        change("a class where none was", json!({}), class("fast")).breaks(FIXED),
        change("no class where one was", class("fast"), json!({})).breaks(FIXED),
        change("a zone's same class", zone("fast"), zone("fast")).keeps(&[ZONE_FIXED]),
        change("a zone's other class", zone("fast"), zone("slow")).breaks(ZONE_FIXED),
        change("a zone's class where it had none", listed(), zone("fast")).breaks(ZONE_FIXED),
        change("no class of a zone that had one", zone("fast"), listed()).breaks(ZONE_FIXED),
        change("a zone is listed with a class, where none was", json!({}), zone("fast")).breaks(ZONE_FIXED),
        change("a zone is listed without a class, where none was", json!({}), listed()).keeps(&[ZONE_FIXED]),
        change("a zone with a class is listed no more", zone("fast"), json!({})).breaks(ZONE_FIXED),
        change(
            "a new zone has a class of its own",
            listed(),
            json!({ "zones": [{ "name": "a" }, { "name": "b", "storage": { "storageClassName": "fast" } }] }),
        )
        .keeps(&[ZONE_FIXED]),
    ]
}

fn images() -> Vec<Case> {
    use rules::*;
    vec![
        new("an image", json!({ "image": "registry.example/dynamo-node:1" })).keeps(&[IMAGE_OR_VERSION]),
        new("a version", json!({ "version": "0.1.0" })).keeps(&[IMAGE_OR_VERSION]),
        new("both", json!({ "image": "dynamo-node:1", "version": "0.1.0" })).breaks(IMAGE_OR_VERSION),
        change(
            "a version beside an image that was there",
            json!({ "image": "dynamo-node:1" }),
            json!({ "image": "dynamo-node:1", "version": "0.1.0" }),
        )
        .breaks(IMAGE_OR_VERSION),
        new(
            "keys of the configuration",
            json!({ "config": { "limits.value_bytes": "4194304", "log.level": "debug" } }),
        )
        .keeps(&[CONFIG_OF_OTHERS]),
        new("the cluster's name", json!({ "config": { "cluster.name": "x" } })).breaks(CONFIG_OF_OTHERS),
        new("the node's zone", json!({ "config": { "node.zone": "x" } })).breaks(CONFIG_OF_OTHERS),
        new("the nodes' TLS", json!({ "config": { "tls.mode": "off" } })).breaks(CONFIG_OF_OTHERS),
        new("the engine", json!({ "config": { "storage.engine": "memory" } })).breaks(CONFIG_OF_OTHERS),
        change(
            "the durability in other words, where there was no key",
            json!({}),
            json!({ "config": { "storage.durability": "interval" } }),
        )
        .breaks(CONFIG_OF_OTHERS),
    ]
}

fn tls() -> Vec<Case> {
    use rules::*;
    let tls = |tls: Value| json!({ "tls": tls });
    let secret = || json!({ "tls": { "mode": "Secret", "secretName": "shop-tls" } });
    let plaintext = || json!({ "tls": { "mode": "Plaintext" } });
    let tokens = || json!({ "tls": { "clientAuth": "Token", "tokensSecretName": "tokens" } });
    vec![
        new("a Secret that is named", secret()).keeps(&[SECRET_IS_NAMED, SECRET_IS_FOR_MODE_SECRET]),
        new("a Secret that is not named", tls(json!({ "mode": "Secret" }))).breaks(SECRET_IS_NAMED),
        new("a Secret for the operator's own CA", tls(json!({ "secretName": "shop-tls" })))
            .breaks(SECRET_IS_FOR_MODE_SECRET),
        change("from the operator's CA to a Secret", json!({}), secret()).keeps(&[PLAINTEXT_IS_FIXED]),
        change("to plaintext, where nothing was said", json!({}), plaintext()).breaks(PLAINTEXT_IS_FIXED),
        change("from plaintext to nothing said", plaintext(), json!({})).breaks(PLAINTEXT_IS_FIXED),
        change("from plaintext to a Secret", plaintext(), secret()).breaks(PLAINTEXT_IS_FIXED),
        change("plaintext as before", plaintext(), plaintext()).keeps(&[PLAINTEXT_IS_FIXED]),
        new("certificates of clients in plaintext", tls(json!({ "mode": "Plaintext", "clientAuth": "Certificate" })))
            .breaks(CLIENT_AUTH_NEEDS_TLS),
        new(
            "tokens in plaintext",
            tls(json!({ "mode": "Plaintext", "clientAuth": "Token", "tokensSecretName": "tokens" })),
        )
        .breaks(CLIENT_AUTH_NEEDS_TLS),
        new("plaintext that asks for nothing", tls(json!({ "mode": "Plaintext", "clientAuth": "None" })))
            .keeps(&[CLIENT_AUTH_NEEDS_TLS]),
        new("tokens that are named", tokens()).keeps(&[TOKENS_ARE_NAMED, TOKENS_ARE_FOR_MODE_TOKEN]),
        new("tokens that are not named", tls(json!({ "clientAuth": "Token" }))).breaks(TOKENS_ARE_NAMED),
        new("tokens that are not asked for", tls(json!({ "tokensSecretName": "tokens" })))
            .breaks(TOKENS_ARE_FOR_MODE_TOKEN),
        change("tokens are asked for no more and still named", tokens(), tls(json!({ "tokensSecretName": "tokens" })))
            .breaks(TOKENS_ARE_FOR_MODE_TOKEN),
        new("a CA as short as its certificates", tls(json!({ "certificateDays": 90, "caDays": 179 })))
            .breaks(CA_OUTLIVES_CERTIFICATES),
        new("a CA twice as long", tls(json!({ "certificateDays": 90, "caDays": 180 })))
            .keeps(&[CA_OUTLIVES_CERTIFICATES]),
    ]
}

fn buckets() -> Vec<Case> {
    use rules::*;
    let bucket = |settings: Value| {
        let mut bucket = settings;
        bucket["name"] = json!("carts");
        json!({ "buckets": [bucket] })
    };
    let with = |mut spec: Value, key: &str, value: Value| {
        spec[key] = value;
        spec
    };
    vec![
        new("a bucket", bucket(json!({ "mode": "last-write-wins", "r": 3, "w": 1, "sloppy": false }))).keeps(&[
            BUCKET_R_WITHIN_N,
            BUCKET_W_WITHIN_N,
            BUCKET_IS_NOT_DEFAULT,
        ]),
        new("a bucket that there is", json!({ "buckets": [{ "name": "default" }] })).breaks(BUCKET_IS_NOT_DEFAULT),
        new("a bucket's r over n", bucket(json!({ "r": 4 }))).breaks(BUCKET_R_WITHIN_N),
        new("a bucket's w over n", bucket(json!({ "w": 4 }))).breaks(BUCKET_W_WITHIN_N),
        change("a bucket comes", json!({}), bucket(json!({ "r": 1 }))).keeps(&[BUCKETS_ARE_FIXED]),
        change("a bucket goes from the list", bucket(json!({ "r": 1 })), json!({})).keeps(&[BUCKETS_ARE_FIXED]),
        change("a bucket's mode changes", bucket(json!({})), bucket(json!({ "mode": "last-write-wins" })))
            .breaks(BUCKETS_ARE_FIXED),
        change("a bucket's r, where none was", bucket(json!({})), bucket(json!({ "r": 1 }))).breaks(BUCKETS_ARE_FIXED),
        change("a bucket's r is taken out", bucket(json!({ "r": 1 })), bucket(json!({}))).breaks(BUCKETS_ARE_FIXED),
        change("a bucket's r is written down as it was", bucket(json!({})), bucket(json!({ "r": 2 })))
            .keeps(&[BUCKETS_ARE_FIXED]),
        change("a bucket's w changes", bucket(json!({ "w": 1 })), bucket(json!({ "w": 2 }))).breaks(BUCKETS_ARE_FIXED),
        change("a bucket becomes strict", bucket(json!({})), bucket(json!({ "sloppy": false })))
            .breaks(BUCKETS_ARE_FIXED),
        change(
            "the cluster's r under a bucket that has none of its own",
            bucket(json!({})),
            with(bucket(json!({})), "replication", json!({ "r": 1 })),
        )
        .breaks(BUCKETS_ARE_FIXED),
        change(
            "the cluster's r beside a bucket that now says what it was",
            bucket(json!({})),
            with(bucket(json!({ "r": 2 })), "replication", json!({ "r": 1 })),
        )
        .keeps(&[BUCKETS_ARE_FIXED]),
    ]
}

fn pods() -> Vec<Case> {
    use rules::*;
    let pods = |pods: Value| json!({ "podTemplate": pods });
    vec![
        new("labels", pods(json!({ "labels": { "team": "shop", "example.com/tier": "1" } })))
            .keeps(&[LABELS_OF_OTHERS]),
        new("a label of the operator's", pods(json!({ "labels": { "dynamo-k8s.io/zone": "a" } })))
            .breaks(LABELS_OF_OTHERS),
        new("a label that it selects by", pods(json!({ "labels": { "app.kubernetes.io/name": "a" } })))
            .breaks(LABELS_OF_OTHERS),
        new("annotations", pods(json!({ "annotations": { "example.com/a": "b" } }))).keeps(&[ANNOTATIONS_OF_OTHERS]),
        new("an annotation of the operator's", pods(json!({ "annotations": { "dynamo-k8s.io/a": "b" } })))
            .breaks(ANNOTATIONS_OF_OTHERS),
        new("an address for each pod", json!({ "clients": { "advertise": "{pod}.dynamo.example.com:7400" } }))
            .keeps(&[ADVERTISED_NAMES_POD]),
        new("one address for all", json!({ "clients": { "advertise": "dynamo.example.com:7400" } }))
            .breaks(ADVERTISED_NAMES_POD),
        new("an address without a port", json!({ "clients": { "advertise": "{pod}.dynamo.example.com" } }))
            .breaks(ADVERTISED_NAMES_POD),
    ]
}

/// Whole specs, and edits that a person makes: nothing refuses them.
fn edits() -> Vec<Case> {
    let whole = || {
        json!({
            "replicas": 6,
            "zones": [
                { "name": "a", "nodeLabelValue": "eu-west-1a", "weight": 2 },
                { "name": "b", "storage": { "size": "200Gi", "storageClassName": "fast" } },
                { "name": "c" },
            ],
            "replication": { "factor": 3, "r": 2, "w": 2, "sloppy": true },
            "partitions": 1024,
            "durability": "one-fsync",
            "storage": {
                "size": "100Gi", "storageClassName": "slow",
                "reclaim": { "onScaleDown": "Retain", "onDelete": "Delete" },
            },
            "version": "0.1.0",
            "resources": { "requests": { "cpu": "500m", "memory": "1Gi" }, "limits": { "memory": "2Gi" } },
            "tls": { "mode": "OperatorCA", "clientAuth": "Token", "tokensSecretName": "tokens" },
            "maintenance": {
                "planOnly": true, "restartRequestedAt": "2026-01-31T12:00:00Z",
                "restartAnyway": "4f2a",
                "replace": [{ "node": "shop-a-0", "claimUid": "0f6ac0de-7f3e-3c6b-9a43-6d1a9d3f2b10" }],
            },
            "slo": { "p99Ms": 20 },
            "replaceAfterSeconds": 60,
            "networkPolicies": false,
            "serviceMonitor": true,
            "clients": { "serviceType": "LoadBalancer", "serviceAnnotations": { "example.com/a": "b" } },
            "podTemplate": {
                "tolerations": [{ "key": "dedicated", "operator": "Exists" }],
                "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "disk", "operator": "Exists" }] }],
                } } },
                "imagePullSecrets": [{ "name": "registry" }],
            },
            "config": { "log.level": "debug" },
            "buckets": [{ "name": "carts", "r": 1 }, { "name": "sessions", "mode": "last-write-wins" }],
        })
    };
    let edited = |edit: fn(&mut Value)| {
        let mut spec = whole();
        edit(&mut spec);
        spec
    };
    vec![
        new("everything that there is", whole()),
        change("the same again", whole(), whole()),
        change(
            "a person's edits, all at once",
            whole(),
            edited(|spec| {
                spec["replicas"] = json!(4);
                spec["zones"].as_array_mut().unwrap().remove(0);
                spec["zones"].as_array_mut().unwrap().push(json!({ "name": "d" }));
                spec["zones"][0]["weight"] = json!(3);
                spec["durability"] = json!("fsync");
                spec["storage"]["size"] = json!("1Ti");
                spec["zones"][0]["storage"]["size"] = json!("2Ti");
                spec["version"] = json!("0.2.0");
                spec["tls"] = json!({ "clientAuth": "Certificate" });
                spec["maintenance"] = json!({});
                spec["buckets"].as_array_mut().unwrap().push(json!({ "name": "orders" }));
            }),
        ),
        change(
            "everything comes to what was empty",
            json!({}),
            json!({
                "resources": { "requests": { "cpu": "1" } },
                "durability": "interval",
                "maintenance": { "pause": true },
                "config": { "log.level": "debug" },
                "image": "dynamo-node:1",
            }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_refuses_something_and_lets_its_neighbour_pass() {
        let cases = all();
        for check in rules::ALL {
            let refused = cases.iter().filter(|case| case.breaks == Some(*check));
            assert!(refused.count() > 0, "nothing breaks the rule {:?}", check.name);
            let kept = cases.iter().filter(|case| case.breaks.is_none() && case.about.contains(check));
            assert!(kept.count() > 0, "nothing is next to breaking the rule {:?}", check.name);
        }
    }

    #[test]
    fn each_rule_of_transitions_meets_a_value_where_none_was() {
        let cases = all();
        for check in rules::ALL.iter().filter(|check| check.transition) {
            let about = cases.iter().filter(|case| case.breaks == Some(*check) || case.about.contains(check));
            let unset_then_set = |case: &&Case| {
                case.before.as_ref().is_some_and(|before| {
                    let sets = |spec: &Value| spec.to_string().len();
                    before != &case.spec && sets(before) < sets(&case.spec)
                })
            };
            assert!(about.filter(unset_then_set).count() > 0, "{:?} is never set where it was not", check.name);
        }
    }
}
