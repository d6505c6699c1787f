//! Status, scale, and what `kubectl get` shows, before a real API server.

use std::time::{Duration, Instant};

use dynamo_control_plane::ControlPlane;
use dynamo_crd::{DynamoCluster, names, rules};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::server::{self, apply, told};

fn operator() -> PatchParams {
    PatchParams::apply(names::FIELD_MANAGER).validation_strict()
}

/// The operator says this of `shop`.
async fn say(clusters: &Api<DynamoCluster>, status: &Value) -> DynamoCluster {
    let document = json!({ "apiVersion": "dynamo-k8s.io/v1alpha1", "kind": "DynamoCluster", "status": status });
    clusters.patch_status("shop", &operator(), &Patch::Apply(&document)).await.expect("a status is taken")
}

fn condition(kind: &str, status: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": "Tested", "message": "", "lastTransitionTime": "2026-01-31T12:00:00Z",
    })
}

#[tokio::test]
async fn scaling_goes_through_the_same_rules_and_tells_which_pods_are_meant() {
    let Some((_plane, clusters)) = server::start("the scale subresource").await else { return };
    apply(&clusters, "shop", &json!({})).await.unwrap();
    let scale = async |replicas: u32| {
        let scale = json!({ "spec": { "replicas": replicas } });
        clusters.patch_scale("shop", &PatchParams::default(), &Patch::Merge(&scale)).await
    };
    let said = told(&scale(2).await.unwrap_err());
    assert!(said.contains(rules::N_NEEDS_REPLICAS.message), "{said}");
    scale(7).await.unwrap();
    assert_eq!(clusters.get("shop").await.unwrap().spec.replicas, 7);

    // Whoever applies without `replicas` leaves the scaler's number alone.
    let stored = apply(&clusters, "shop", &json!({ "durability": "interval" })).await.unwrap();
    assert_eq!(stored.spec.replicas, 7);

    let status = json!({ "status": {
        "replicas": 6, "readyReplicas": 5, "selector": names::selector_text("shop"), "summary": "3 -> 7 nodes",
    } });
    clusters.patch_status("shop", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    let scale = clusters.get_scale("shop").await.unwrap();
    let told = scale.status.expect("a status");
    assert_eq!((told.replicas, told.selector), (6, Some(names::selector_text("shop"))));
    assert_eq!(scale.spec.and_then(|spec| spec.replicas), Some(7));
}

#[tokio::test]
async fn a_person_and_the_operator_write_apart_from_each_other() {
    let Some((_plane, clusters)) = server::start("spec and status").await else { return };
    let spec = json!({ "replicas": 4, "zones": [{ "name": "a" }, { "name": "b" }], "buckets": [{ "name": "carts" }] });
    let applied = apply(&clusters, "shop", &spec).await.unwrap();
    let status = json!({ "summary": "settled", "conditions": [condition("Available", "True")], "replicas": 4 });
    let told = say(&clusters, &status).await;
    assert_eq!(told.metadata.generation, applied.metadata.generation, "a status is no change of what is wanted");
    assert_eq!(told.spec, applied.spec);

    // The same once more is no write, from either side: a settled cluster's resource keeps its version.
    let again = apply(&clusters, "shop", &spec).await.unwrap();
    assert_eq!(again.metadata.resource_version, told.metadata.resource_version);
    assert_eq!(say(&clusters, &status).await.metadata.resource_version, told.metadata.resource_version);
    assert_eq!(again.status, told.status, "a person's apply took the status out");

    // A spec through the status and a status through the spec come to nothing.
    let both = json!({ "spec": { "replicas": 9 }, "status": { "summary": "3 -> 9" } });
    clusters.patch_status("shop", &PatchParams::default(), &Patch::Merge(&both)).await.unwrap();
    assert_eq!(clusters.get("shop").await.unwrap().spec.replicas, 4);
    clusters
        .patch("shop", &PatchParams::default(), &Patch::Merge(json!({ "status": { "replicas": 7 } })))
        .await
        .unwrap();
    let now = clusters.get("shop").await.unwrap().status.unwrap();
    assert_eq!((now.summary.as_str(), now.replicas), ("3 -> 9", 4));

    // Conditions are a map: another writer's stay.
    let other = json!({
        "apiVersion": "dynamo-k8s.io/v1alpha1", "kind": "DynamoCluster",
        "status": { "conditions": [condition("Backed", "False")] },
    });
    clusters.patch_status("shop", &PatchParams::apply("another"), &Patch::Apply(&other)).await.unwrap();
    let kinds = say(&clusters, &json!({ "conditions": [] })).await.status.unwrap().conditions;
    assert_eq!(kinds.iter().map(|found| &found.type_[..]).collect::<Vec<_>>(), ["Backed"]);
}

/// A table as `kubectl get` asks for it: the headings, and the cells of the first row.
async fn table(plane: &ControlPlane) -> Vec<(String, Value)> {
    let request = http::Request::get("/apis/dynamo-k8s.io/v1alpha1/namespaces/default/dynamoclusters")
        .header(http::header::ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(vec![])
        .unwrap();
    let table: Value = plane.admin().request(request).await.unwrap();
    let headings = table["columnDefinitions"].as_array().unwrap().iter();
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    headings.map(|heading| heading["name"].as_str().unwrap().to_owned()).zip(cells.iter().cloned()).collect()
}

/// What the API server says that it serves, which comes a little later than that it serves it.
async fn listed(plane: &ControlPlane) -> Vec<APIResource> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match plane.admin().list_api_group_resources("dynamo-k8s.io/v1alpha1").await {
            Ok(list) => return list.resources,
            Err(kube::Error::Api(status)) if status.code == 404 && Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_list_shows_what_a_person_wants_to_know_under_a_short_name() {
    let Some((plane, clusters)) = server::start("columns").await else { return };
    apply(&clusters, "shop", &json!({})).await.unwrap();
    let empty = table(&plane).await;
    assert_eq!(empty[1], ("Nodes".into(), json!(3)), "before the operator has said anything: {empty:?}");

    say(
        &clusters,
        &json!({
            "readyReplicas": 2, "summary": "restarts shop-a-0", "version": "0.1.0", "balance": "1.04",
            "conditions": [condition("Available", "True"), condition("DataSafe", "False")],
            "ring": { "epoch": 7, "members": 3 },
        }),
    )
    .await;
    let shown: Vec<_> = table(&plane).await.into_iter().filter(|(heading, _)| heading != "Age").collect();
    let expected = [
        ("Name", json!("shop")),
        ("Nodes", json!(3)),
        ("Ready", json!(2)),
        ("Available", json!("True")),
        ("Safe", json!("False")),
        ("Status", json!("restarts shop-a-0")),
        ("Version", json!("0.1.0")),
        ("Epoch", json!(7)),
        ("Balance", json!("1.04")),
    ];
    assert_eq!(shown, expected.map(|(heading, cell)| (heading.to_owned(), cell)));

    let served = listed(&plane).await;
    let resource = served.iter().find(|resource| resource.name == "dynamoclusters").unwrap();
    assert_eq!(resource.short_names.as_deref(), Some(&["dc".to_owned()][..]));
    assert_eq!(resource.categories.as_deref(), Some(&["dynamo".to_owned()][..]));
    let parts: Vec<_> = served.iter().filter_map(|found| found.name.strip_prefix("dynamoclusters/")).collect();
    assert_eq!(parts, ["status", "scale"]);

    // Where there is a kubectl, a person's own words.
    if let Some(mut kubectl) = plane.kubectl() {
        let output = kubectl.args(["get", "dc", "shop"]).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        println!("{shown}");
        let rows: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["NAME", "NODES", "READY", "AVAILABLE", "SAFE", "STATUS", "AGE"]);
        assert_eq!(rows[1][..7], ["shop", "3", "2", "True", "False", "restarts", "shop-a-0"]);
    }
}
