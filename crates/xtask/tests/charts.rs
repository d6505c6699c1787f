//! The charts, by a real helm: `DYNAMO_HELM`, on the PATH, or where e2e/kind/build leaves it. Where there is none a test says so
//! and does nothing; with `DYNAMO_REQUIRE_HELM=1` that is a failure.

#[path = "../src/helm.rs"]
mod helm;

use std::{
    collections::BTreeSet,
    env, fs,
    path::PathBuf,
    process::{Command, Output},
};

use dynamo_crd::DynamoCluster;
use serde::Deserialize;
use serde_json::{Value, json};

const OPERATOR: &str = "charts/dynamo-operator";
const CLUSTER: &str = "charts/dynamo-cluster";

struct Helm(PathBuf);

impl Helm {
    fn find(test: &str) -> Option<Helm> {
        let found = helm::helm();
        if found.is_none() {
            let required = env::var("DYNAMO_REQUIRE_HELM").is_ok_and(|value| value == "1");
            assert!(!required, "helm is not found, and DYNAMO_REQUIRE_HELM is 1");
            eprintln!("NOT RUN: {test}: helm is neither in DYNAMO_HELM nor on the PATH");
        }
        found.map(Helm)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.0);
        command.args(arguments).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).output().unwrap()
    }

    /// What a chart is rendered to as release `r` in namespace `ns` with these values; or what helm has against it.
    fn template(&self, chart: &str, values: &[&str]) -> Result<Vec<Value>, String> {
        let mut arguments = vec!["template", "r", chart, "--namespace", "ns"];
        for value in values {
            arguments.extend(["--set-json", value]);
        }
        let output = self.run(&arguments);
        if !output.status.success() {
            return Err(String::from_utf8(output.stderr).unwrap());
        }
        let text = String::from_utf8(output.stdout).unwrap();
        let documents = serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap());
        Ok(documents.filter(|document| !document.is_null()).collect())
    }
}

fn of_kind<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
    all.iter().filter(|object| object["kind"] == kind).collect()
}

/// Each value of charts/dynamo-operator, set to something else than its default.
const OPERATOR_VALUES: [(&str, &str); 35] = [
    ("replicas", "2"),
    ("image.repository", r#""elsewhere/operator""#),
    ("image.tag", r#""9.9.9""#),
    ("image.pullPolicy", r#""Always""#),
    ("imagePullSecrets", r#"[{"name": "registry"}]"#),
    ("nodeImage.repository", r#""elsewhere/node""#),
    ("nodeImage.version", r#""9.9.9""#),
    ("namespaces", r#"["shop", "billing"]"#),
    ("crds.install", "false"),
    ("rbac.create", "false"),
    ("rbac.tokenReviews", "false"),
    ("serviceAccount.create", "false"),
    ("serviceAccount.name", r#""other""#),
    ("serviceAccount.annotations", r#"{"a": "b"}"#),
    ("log.format", r#""text""#),
    ("log.level", r#""debug""#),
    ("resources.requests.cpu", r#""1""#),
    ("resources.requests.memory", r#""1Gi""#),
    ("resources.limits.memory", r#""1Gi""#),
    ("podDisruptionBudget.create", "true"),
    ("metrics.serviceMonitor.create", "true"),
    // Seen where there is a monitor.
    ("metrics.serviceMonitor.interval", r#""7s""#),
    ("metrics.serviceMonitor.labels", r#"{"release": "prometheus"}"#),
    ("networkPolicy.create", "false"),
    ("networkPolicy.httpFrom", r#"[{"namespaceSelector": {}}]"#),
    ("service.annotations", r#"{"a": "b"}"#),
    ("podLabels", r#"{"team": "shop"}"#),
    ("podAnnotations", r#"{"a": "b"}"#),
    ("nodeSelector", r#"{"disk": "fast"}"#),
    ("tolerations", r#"[{"key": "infra", "operator": "Exists"}]"#),
    ("affinity", r#"{"nodeAffinity": {}}"#),
    ("priorityClassName", r#""system-cluster-critical""#),
    ("extraEnv", r#"[{"name": "RUST_BACKTRACE", "value": "1"}]"#),
    ("fullnameOverride", r#""other""#),
    ("global", r#"{"of": "a parent chart"}"#),
];

/// The keys of a chart's values, down to those that hold no others.
fn leaves(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value.as_object().filter(|map| !map.is_empty()) {
        Some(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(&path, value, found);
            }
        }
        None => drop(found.insert(path.to_owned())),
    }
}

#[test]
fn lint_finds_nothing_wrong() {
    let Some(helm) = Helm::find("lint_finds_nothing_wrong") else { return };
    for chart in [OPERATOR, CLUSTER] {
        let output = helm.run(&["lint", "--strict", chart]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn every_value_does_something() {
    let Some(helm) = Helm::find("every_value_does_something") else { return };
    let text =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/dynamo-operator/values.yaml")).unwrap();
    let mut known = BTreeSet::new();
    leaves("", &serde_yaml::from_str(&text).unwrap(), &mut known);
    let tried: BTreeSet<String> = OPERATOR_VALUES.iter().map(|(key, _)| (*key).to_owned()).collect();
    let untried: Vec<_> = known.difference(&tried).collect();
    assert!(untried.is_empty(), "values that no case tries: {untried:?}");
    for (key, value) in OPERATOR_VALUES {
        let set = format!("{key}={value}");
        let with_monitor = key.starts_with("metrics.serviceMonitor.") && !key.ends_with("create");
        let base: &[&str] = if with_monitor { &["metrics.serviceMonitor.create=true"] } else { &[] };
        let before = helm.template(OPERATOR, base).unwrap();
        let after = helm.template(OPERATOR, &[base, &[&set]].concat()).unwrap();
        assert_eq!(before == after, key == "global", "{set}");
        for pod in pods(&after) {
            assert_restricted(pod, &set);
        }
    }
}

#[test]
fn rubbish_is_refused_with_the_key_that_is_wrong() {
    let Some(helm) = Helm::find("rubbish_is_refused_with_the_key_that_is_wrong") else { return };
    for (chart, value, says) in [
        (OPERATOR, "replica=2", "replica"),
        (OPERATOR, r#"replicas="two""#, "replicas"),
        (OPERATOR, "replicas=-1", "replicas"),
        (OPERATOR, r#"image="operator:1""#, "image"),
        (OPERATOR, r#"image.tga="1""#, "tga"),
        (OPERATOR, r#"image.pullPolicy="Sometimes""#, "pullPolicy"),
        (OPERATOR, r#"namespaces="shop""#, "namespaces"),
        (OPERATOR, r#"namespaces=["Shop"]"#, "namespaces"),
        (OPERATOR, r#"namespaces=["shop","shop"]"#, "namespaces"),
        (OPERATOR, r#"log.format="xml""#, "format"),
        (OPERATOR, r#"metrics.serviceMonitor.interval="often""#, "interval"),
        (OPERATOR, r#"extraEnv=[{"value": "1"}]"#, "name"),
        (OPERATOR, r#"crds.install="yes""#, "install"),
        (CLUSTER, "replica=2", "replica"),
        (CLUSTER, "replicas=0", "replicas"),
        (CLUSTER, r#"zones=[{"nodeLabelValue": "a"}]"#, "name"),
        (CLUSTER, r#"storage.sise="1Gi""#, "sise"),
        (CLUSTER, r#"durability="sometimes""#, "durability"),
        (CLUSTER, r#"tls.mode="Off""#, "mode"),
        (CLUSTER, r#"nameOverride="-x""#, "nameOverride"),
    ] {
        let error = helm.template(chart, &[value]).expect_err(value);
        assert!(error.contains(says) && error.contains("schema"), "{value}: {error}");
    }
}

/// The specs of all pods that a release makes.
fn pods(all: &[Value]) -> Vec<&Value> {
    let deployments = of_kind(all, "Deployment").into_iter().map(|object| &object["spec"]["template"]["spec"]);
    deployments.chain(of_kind(all, "Pod").into_iter().map(|object| &object["spec"])).collect()
}

fn assert_restricted(pod: &Value, case: &str) {
    let context = &pod["securityContext"];
    assert_eq!(context["runAsNonRoot"], true, "{case}");
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{case}");
    assert!(pod.get("volumes").is_none() && pod.get("hostNetwork").is_none(), "{case}");
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false, "{case}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{case}");
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{case}");
    }
}

#[test]
fn the_definition_is_installed_with_the_release_and_stays_without_it() {
    let Some(helm) = Helm::find("the_definition_is_installed_with_the_release_and_stays_without_it") else { return };
    let all = helm.template(OPERATOR, &[]).unwrap();
    let definitions = of_kind(&all, "CustomResourceDefinition");
    let [definition] = definitions.as_slice() else { panic!("{definitions:?}") };
    assert_eq!(definition["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    let mut installed = (*definition).clone();
    installed["metadata"].as_object_mut().unwrap().remove("annotations");
    assert_eq!(installed, dynamo_crd::definition_yaml_value(), "helm changed it");
}

#[test]
fn an_operator_of_some_namespaces_has_rights_in_no_other() {
    let Some(helm) = Helm::find("an_operator_of_some_namespaces_has_rights_in_no_other") else { return };
    let rules = |all: &[Value], kind: &str| {
        let roles = of_kind(all, kind)
            .into_iter()
            .filter(|role| !role["metadata"]["name"].as_str().unwrap().ends_with("-edit"));
        let roles = roles.filter(|role| !role["metadata"]["name"].as_str().unwrap().ends_with("-view"));
        roles.flat_map(|role| role["rules"].as_array().unwrap().clone()).collect::<Vec<_>>()
    };
    let all = helm.template(OPERATOR, &[r#"namespaces=["shop"]"#]).unwrap();
    assert_eq!(
        rules(&all, "ClusterRole"),
        [json!({
            "apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"],
        })]
    );
    let namespaces: BTreeSet<_> =
        of_kind(&all, "Role").iter().map(|role| role["metadata"]["namespace"].to_string()).collect();
    assert_eq!(namespaces, [r#""ns""#.to_owned(), r#""shop""#.to_owned()].into());
    let none = helm.template(OPERATOR, &[r#"namespaces=["shop"]"#, "rbac.tokenReviews=false"]).unwrap();
    assert!(rules(&none, "ClusterRole").is_empty());
    // One that tends all of them has the same rights everywhere.
    let everywhere = rules(&helm.template(OPERATOR, &[]).unwrap(), "ClusterRole");
    for rule in rules(&all, "Role").iter().filter(|rule| !rule["resources"].to_string().contains("leases")) {
        let of_its_own = rule["resources"] == json!(["secrets"]) && rule["verbs"].as_array().unwrap().len() == 3;
        assert!(of_its_own || everywhere.contains(rule), "{rule}");
    }
}

#[test]
fn no_right_is_given_by_a_star_and_none_on_the_spec() {
    let Some(helm) = Helm::find("no_right_is_given_by_a_star_and_none_on_the_spec") else { return };
    let all = helm.template(OPERATOR, &[]).unwrap();
    let roles = of_kind(&all, "ClusterRole").into_iter().chain(of_kind(&all, "Role"));
    let roles =
        roles.filter(|role| role["metadata"]["labels"].get("rbac.authorization.k8s.io/aggregate-to-edit").is_none());
    for rule in roles.flat_map(|role| role["rules"].as_array().unwrap()) {
        assert!(!rule.to_string().contains('*'), "{rule}");
        let resources = rule["resources"].as_array().unwrap();
        if resources.contains(&json!("dynamoclusters")) {
            assert_eq!(rule["verbs"], json!(["get", "list", "watch"]), "the operator never writes a spec");
        }
    }
}

#[test]
fn every_port_of_the_operator_is_in_its_policy_and_only_nodes_reach_the_signer() {
    let Some(helm) = Helm::find("every_port_of_the_operator_is_in_its_policy_and_only_nodes_reach_the_signer") else {
        return;
    };
    let ingress = |values: &[&str]| {
        let all = helm.template(OPERATOR, values).unwrap();
        let [policy] = of_kind(&all, "NetworkPolicy")[..] else { panic!("{all:?}") };
        let [deployment] = of_kind(&all, "Deployment")[..] else { panic!("{all:?}") };
        assert_eq!(policy["spec"]["podSelector"], deployment["spec"]["selector"]);
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]));
        let ports = deployment["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().unwrap();
        let named = ports.iter().map(|port| json!([{"port": port["name"], "protocol": port["protocol"]}]));
        let rules = policy["spec"]["ingress"].as_array().unwrap().clone();
        assert_eq!(rules.iter().map(|rule| rule["ports"].clone()).collect::<Vec<_>>(), named.collect::<Vec<_>>());
        rules
    };
    let nodes = json!({"matchExpressions": [{"key": "dynamo-k8s.io/cluster", "operator": "Exists"}]});
    let everywhere = ingress(&[]);
    assert_eq!(everywhere[0]["from"], json!([{"namespaceSelector": {}, "podSelector": nodes}]));
    assert_eq!(everywhere[1].get("from"), None);
    let named = ingress(&[r#"namespaces=["shop","billing"]"#, r#"networkPolicy.httpFrom=[{"podSelector":{}}]"#]);
    let these = json!([{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop", "billing"]}]);
    assert_eq!(named[0]["from"][0]["namespaceSelector"]["matchExpressions"], these);
    assert_eq!(named[1]["from"], json!([{"podSelector": {}}]));
}

#[test]
fn a_cluster_by_helm_is_the_resource_with_what_was_said_and_nothing_else() {
    let Some(helm) = Helm::find("a_cluster_by_helm_is_the_resource_with_what_was_said_and_nothing_else") else {
        return;
    };
    let one = |values: &[&str]| {
        let all = helm.template(CLUSTER, values).unwrap();
        let [cluster] = all.as_slice() else { panic!("{all:?}") };
        cluster.clone()
    };
    let empty = one(&[]);
    assert_eq!((&empty["spec"], &empty["metadata"]["name"]), (&json!({}), &json!("r")), "an upgrade fights a scaler");
    let full = one(&[
        "replicas=6",
        r#"zones=[{"name": "a"}, {"name": "b", "weight": 2}]"#,
        r#"storage={"size": "20Gi", "reclaim": {"onDelete": "Delete"}}"#,
        r#"resources={"limits": {"cpu": 2, "memory": "2Gi"}}"#,
        r#"podTemplate={"tolerations": [{"key": "x"}]}"#,
        r#"config={"limits.value_bytes": "4194304"}"#,
        r#"labels={"team": "shop"}"#,
        r#"nameOverride="shop""#,
    ]);
    assert_eq!((&full["metadata"]["name"], &full["metadata"]["labels"]["team"]), (&json!("shop"), &json!("shop")));
    let full: DynamoCluster = serde_json::from_value(full).unwrap();
    assert_eq!((full.spec.replicas, full.spec.zones[1].weight, full.spec.storage.size.as_str()), (6, 2, "20Gi"));
    assert_eq!(full.spec.config["limits.value_bytes"], "4194304");
}
