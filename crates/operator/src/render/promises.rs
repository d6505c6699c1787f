//! What holds of every object that is rendered.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_crd::names;
use serde_json::{Value, json};

use super::{
    CLIENT_PORT, HTTP_PORT, Kind, PEER_PORT, objects,
    samples::{self, Sample},
};

fn of_kind<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
    all.iter().filter(|object| object["kind"] == kind).collect()
}

/// The pods' specs.
fn pods(all: &[Value]) -> Vec<&Value> {
    of_kind(all, "StatefulSet").into_iter().map(|set| &set["spec"]["template"]["spec"]).collect()
}

/// Every sample, and clusters with names as long as they may be.
fn everything() -> Vec<(&'static str, Sample)> {
    let longest = Sample::named(
        &"n".repeat(63),
        &"c".repeat(28),
        json!({"zones": [{"name": "z".repeat(23)}], "replicas": 1000, "replication": {"factor": 16}, "partitions": 65536,
            "serviceMonitor": true, "tls": {"clientAuth": "Certificate"}}),
    );
    samples::all().into_iter().chain([("longest", longest)]).collect()
}

#[test]
fn every_pod_meets_pod_security_restricted() {
    for (name, sample) in everything() {
        let all = sample.all();
        let pods = pods(&all);
        assert!(!pods.is_empty());
        for pod in pods {
            assert_eq!(restricted(pod), Vec::<String>::new(), "{name}");
        }
    }
}

#[test]
fn what_breaks_pod_security_is_noticed() {
    let all = Sample::of(json!({})).all();
    let pod = pods(&all)[0];
    for (path, value) in [
        ("/hostNetwork", json!(true)),
        ("/securityContext/runAsNonRoot", json!(false)),
        ("/securityContext/runAsUser", json!(0)),
        ("/securityContext/seccompProfile/type", json!("Unconfined")),
        ("/containers/0/securityContext/allowPrivilegeEscalation", json!(true)),
        ("/containers/0/securityContext/privileged", json!(true)),
        ("/containers/0/securityContext/capabilities/drop", json!([])),
        ("/containers/0/securityContext/capabilities/add", json!(["NET_ADMIN"])),
        ("/containers/0/securityContext/readOnlyRootFilesystem", json!(false)),
        ("/volumes/0", json!({"name": "host", "hostPath": {"path": "/"}})),
        ("/containers/0/ports/0/hostPort", json!(7400)),
    ] {
        let mut bad = pod.clone();
        put(&mut bad, path, value);
        assert!(!restricted(&bad).is_empty(), "{path}");
    }
}

fn put(document: &mut Value, path: &str, value: Value) {
    let (parent, key) = path.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Array(values) => values[key.parse::<usize>().unwrap()] = value,
        object => object[key] = value,
    }
}

/// What in a pod's spec does not meet the standard, and this project's own demand of a root that is not written to.
fn restricted(pod: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    let mut demand = |holds: bool, what: &str| {
        if !holds {
            broken.push(what.to_owned());
        }
    };
    for shared in ["hostNetwork", "hostPID", "hostIPC"] {
        demand(pod.get(shared).is_none_or(|value| value == false), shared);
    }
    let context = &pod["securityContext"];
    demand(context["runAsNonRoot"] == true, "runAsNonRoot");
    demand(context["runAsUser"].as_i64().is_some_and(|user| user > 0), "runAsUser");
    demand(context["seccompProfile"]["type"] == "RuntimeDefault", "seccompProfile");
    demand(pod["automountServiceAccountToken"] == false, "the token of the API server");
    let allowed = ["configMap", "emptyDir", "projected", "secret", "persistentVolumeClaim"];
    for volume in pod["volumes"].as_array().unwrap() {
        let types: Vec<_> = volume.as_object().unwrap().keys().filter(|key| *key != "name").collect();
        demand(types.len() == 1 && allowed.contains(&types[0].as_str()), "volumes");
    }
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        demand(context["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation");
        demand(context.get("privileged").is_none_or(|value| value == false), "privileged");
        demand(context["capabilities"]["drop"] == json!(["ALL"]), "capabilities");
        demand(context["capabilities"].get("add").is_none(), "added capabilities");
        demand(context["readOnlyRootFilesystem"] == true, "readOnlyRootFilesystem");
        let ports = container["ports"].as_array().unwrap();
        demand(ports.iter().all(|port| port.get("hostPort").is_none()), "hostPort");
    }
    broken
}

/// Who may reach a port by the cluster's policies: everybody, the cluster's own pods, or nobody.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Reach {
    Nobody,
    Own,
    Everybody,
}

fn reach(policy: &Value, port: i64, own: &BTreeMap<String, String>) -> Reach {
    let rules = policy["spec"]["ingress"].as_array().unwrap();
    let of_rule = |rule: &Value| {
        let named =
            rule["ports"].as_array().unwrap().iter().any(|open| open["port"] == port && open["protocol"] == "TCP");
        match rule.get("from") {
            _ if !named => Reach::Nobody,
            None => Reach::Everybody,
            Some(from) if *from == json!([{"podSelector": {"matchLabels": own}}]) => Reach::Own,
            Some(from) => panic!("a rule for {from}"),
        }
    };
    rules.iter().map(of_rule).max().unwrap_or(Reach::Nobody)
}

#[test]
fn every_port_in_use_is_open_to_whom_it_has_to_be_and_no_other_is() {
    let wanted: BTreeMap<i64, Reach> = [
        (i64::from(CLIENT_PORT), Reach::Everybody),
        (i64::from(PEER_PORT), Reach::Own),
        (i64::from(HTTP_PORT), Reach::Everybody),
    ]
    .into();
    for (name, sample) in everything().into_iter().filter(|(_, sample)| sample.cluster.spec.network_policies) {
        let all = sample.all();
        let policies = of_kind(&all, "NetworkPolicy");
        let [policy] = policies.as_slice() else { panic!("{name}: {policies:?}") };
        let own = names::selector(sample.cluster.metadata.name.as_ref().unwrap());
        assert_eq!(policy["spec"]["podSelector"]["matchLabels"], json!(own));
        for pod in pods(&all) {
            let ports = pod["containers"][0]["ports"].as_array().unwrap();
            let ports: BTreeSet<i64> = ports.iter().map(|port| port["containerPort"].as_i64().unwrap()).collect();
            assert_eq!(ports, wanted.keys().copied().collect(), "a port that nobody thought of here");
        }
        for (port, wanted) in &wanted {
            assert_eq!(reach(policy, *port, &own), *wanted, "{name}: {port}");
        }
        assert_eq!(reach(policy, 1, &own), Reach::Nobody);
    }
}

#[test]
fn services_and_probes_and_addresses_name_ports_that_the_pods_have() {
    for (name, sample) in everything() {
        let all = sample.all();
        let pods = pods(&all);
        let container = &pods[0]["containers"][0];
        let ports: BTreeMap<&str, i64> = container["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| (port["name"].as_str().unwrap(), port["containerPort"].as_i64().unwrap()))
            .collect();
        for service in of_kind(&all, "Service") {
            for port in service["spec"]["ports"].as_array().unwrap() {
                let target = port["targetPort"].as_str().unwrap();
                assert_eq!(ports.get(target).copied(), port["port"].as_i64(), "{name}: {target}");
            }
        }
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            assert!(ports.contains_key(container[probe]["httpGet"]["port"].as_str().unwrap()));
        }
        for monitor in of_kind(&all, "ServiceMonitor") {
            let endpoint = &monitor["spec"]["endpoints"][0];
            assert!(ports.contains_key(endpoint["port"].as_str().unwrap()));
        }
        for address in members(&sample).iter().map(|member| member["address"].as_str().unwrap().to_owned()) {
            assert!(address.ends_with(&format!(":{PEER_PORT}")), "{address}");
        }
    }
}

/// The configuration of a sample's nodes.
fn node_yaml(sample: &Sample) -> Value {
    let config = sample.rendered(Kind::ConfigMap).pop().unwrap();
    let yaml: serde_yaml::Value = serde_yaml::from_str(config.object["data"]["node.yaml"].as_str().unwrap()).unwrap();
    serde_json::to_value(yaml).unwrap()
}

fn members(sample: &Sample) -> Vec<Value> {
    node_yaml(sample)["cluster"]["members"].as_array().unwrap().clone()
}

#[test]
fn names_and_labels_are_such_as_kubernetes_takes_however_long_a_cluster_s_are() {
    for (name, sample) in everything() {
        for object in sample.all() {
            let metadata = &object["metadata"];
            let label = |text: &str| text.len() <= 63 && !text.starts_with('-') && !text.ends_with('-');
            let called = metadata["name"].as_str().unwrap();
            assert!(label(called), "{name}: {called}");
            let pod_labels = &object["spec"]["template"]["metadata"]["labels"];
            for labels in [&metadata["labels"], pod_labels].into_iter().filter_map(Value::as_object) {
                assert!(labels.values().all(|value| value.as_str().unwrap().len() <= 63), "{name}: {labels:?}");
            }
            if object["kind"] == "StatefulSet" {
                // The revision label of its pods has a dash and ten characters more, and pods a number of four digits.
                assert!(called.len() + 11 <= 63, "{called}");
                for volume in object["spec"]["template"]["spec"]["volumes"].as_array().unwrap() {
                    let of = [&volume["configMap"]["name"], &volume["secret"]["secretName"]];
                    assert!(of.into_iter().filter_map(Value::as_str).all(label));
                }
            }
        }
        for member in members(&sample) {
            assert!(member["name"].as_str().unwrap().len() <= 63 && member["address"].as_str().unwrap().len() <= 253);
        }
        let size = node_yaml(&sample).to_string().len();
        assert!(size < 900 << 10, "{name}: a ConfigMap has at most a mebibyte: {size}");
    }
}

#[test]
fn everything_goes_with_the_cluster_and_is_labelled_as_its() {
    for (name, sample) in everything() {
        for object in sample.all() {
            let owner = &object["metadata"]["ownerReferences"][0];
            assert_eq!(owner["uid"], "1a2b3c4d-0000-4000-8000-000000000000", "{name}");
            assert_eq!(owner["controller"], true);
            let cluster = sample.cluster.metadata.name.as_ref().unwrap();
            assert_eq!(object["metadata"]["labels"][names::LABEL_CLUSTER], *cluster);
        }
    }
}

#[test]
fn nothing_is_mounted_in_a_way_that_kubelet_never_renews() {
    for (name, sample) in everything() {
        let all = sample.all();
        for pod in pods(&all) {
            let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
            assert!(mounts.iter().all(|mount| mount.get("subPath").is_none()), "{name}");
            let volumes: BTreeSet<_> =
                pod["volumes"].as_array().unwrap().iter().map(|volume| &volume["name"]).map(Value::to_string).collect();
            let mounted: BTreeSet<_> =
                mounts.iter().map(|mount| mount["name"].to_string()).filter(|name| name != "\"data\"").collect();
            assert_eq!(volumes, mounted, "{name}");
        }
    }
}

/// Every text in it that is this one.
fn mentions(value: &Value, text: &str) -> usize {
    match value {
        Value::String(one) => usize::from(one == text),
        Value::Array(all) => all.iter().map(|one| mentions(one, text)).sum(),
        Value::Object(all) => all.values().map(|one| mentions(one, text)).sum(),
        _ => 0,
    }
}

#[test]
fn no_pod_is_given_the_keys_of_the_authority() {
    for (name, sample) in everything() {
        let (all, cluster) = (sample.all(), sample.cluster.metadata.name.clone().unwrap());
        for pod in pods(&all) {
            // As a volume, a projected one, an environment variable or a whole environment: each names the Secret.
            assert_eq!(mentions(pod, &names::authority(&cluster)), 0, "{name}");
            assert_eq!(mentions(pod, &names::context_key(&cluster)), 1, "{name}: that one it has to have");
        }
        // And nobody lets their account read it.
        let kinds: BTreeSet<&str> = all.iter().filter_map(|object| object["kind"].as_str()).collect();
        assert!(kinds.contains("ServiceAccount") && !kinds.iter().any(|kind| kind.contains("Role")), "{kinds:?}");
    }
}

#[test]
fn files_that_the_configuration_names_are_mounted() {
    for (name, sample) in everything() {
        let all = sample.all();
        let mounts = pods(&all)[0]["containers"][0]["volumeMounts"].as_array().unwrap();
        let folders: Vec<&str> = mounts.iter().map(|mount| mount["mountPath"].as_str().unwrap()).collect();
        let tls = node_yaml(&sample)["tls"].clone();
        let files = tls.as_object().unwrap().iter().filter(|(key, _)| key.ends_with("_file") || key.ends_with("_dir"));
        for (key, file) in files {
            assert!(folders.iter().any(|folder| file.as_str().unwrap().starts_with(folder)), "{name}: {key} {file}");
        }
    }
}

#[test]
fn a_monitor_is_made_only_where_it_is_wanted_and_served() {
    let wanted = Sample::of(json!({"serviceMonitor": true}));
    let is_there = |sample: &Sample, served| {
        let basis = super::Basis { service_monitors: served, ..sample.basis() };
        objects(&basis).iter().any(|object| object.kind == Kind::ServiceMonitor)
    };
    assert!(is_there(&wanted, true) && !is_there(&wanted, false));
    assert!(!is_there(&Sample::of(json!({})), true));
}

#[test]
fn nodes_of_a_zone_must_stand_apart_where_zones_are_fewer_than_replicas() {
    let anti = |zones: Value, n: u32| {
        let all = Sample::of(json!({"zones": zones, "replication": {"factor": n}})).all();
        pods(&all)[0]["affinity"]["podAntiAffinity"].clone()
    };
    let must = "requiredDuringSchedulingIgnoredDuringExecution";
    let may = "preferredDuringSchedulingIgnoredDuringExecution";
    let two = anti(json!([{"name": "a"}, {"name": "b"}]), 3);
    assert_eq!(two[must][0]["labelSelector"]["matchLabels"]["dynamo-k8s.io/zone"], "a");
    assert!(two.get(may).is_none());
    let three = anti(json!([{"name": "a"}, {"name": "b"}, {"name": "c"}]), 3);
    assert!(three.get(must).is_none() && three[may][0]["weight"] == 100);
}

#[test]
fn kubernetes_puts_nothing_into_what_people_write() {
    let all = Sample::of(json!({
        "config": {"log.level": "$(POD_NAME)"}, "clients": {"advertise": "{pod}.$(HOME).{zone}:7400"},
    }))
    .all();
    let container = &pods(&all)[0]["containers"][0];
    assert_eq!(container["args"], json!(["--set=log.level=$$(POD_NAME)"]));
    let mut told = container["env"].as_array().unwrap().iter();
    let advertised = told.find(|told| told["name"] == "DYNAMO_NODE__NODE__ADVERTISE_CLIENT").unwrap();
    assert_eq!(advertised["value"], "$(POD_NAME).$$(HOME).a:7400");
}

/// What docs/OPERATIONS.md says to do when the operator has moved.
#[test]
fn nodes_learn_where_the_signer_is_by_a_restart_that_is_asked_for() {
    let configured = |spec: Value, signer: &str| {
        let mut sample = Sample::of(spec);
        sample.release.signer_url = signer.to_owned();
        let config = objects(&sample.basis()).into_iter().find(|object| object.kind == Kind::ConfigMap).unwrap();
        (config.name, config.object["data"]["node.yaml"].as_str().unwrap().contains(signer))
    };
    let (before, _) = configured(json!({}), "https://here:1/sign");
    let (moved, _) = configured(json!({}), "https://there:1/sign");
    assert_eq!(before, moved, "nobody restarts, and what is mounted is immutable");
    let asked = json!({"maintenance": {"restartRequestedAt": "2026-01-31T12:00:00Z"}});
    let (restarted, tells) = configured(asked, "https://there:1/sign");
    assert!(restarted != before && tells);
}
