//! The table, and what else only a server knows, before a real kube-apiserver.

use std::{fs, path::PathBuf};

use dynamo_crd::{DynamoCluster, DynamoClusterSpec};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PostParams},
};
use serde_json::{Value, json};

use crate::{
    applied, cases,
    server::{self, apply, delete, person, told},
};

#[tokio::test]
async fn rules_served_refuse_what_they_should_and_nothing_else() {
    let Some((_plane, clusters)) = server::start("rules").await else { return };
    let cases = cases::all();
    let mut wrong = vec![];
    for case in &cases {
        if let Some(before) = &case.before
            && let Err(said) = apply(&clusters, case.name, before).await
        {
            wrong.push(format!("{}: the server refuses what is before: {said}", case.what));
        }
        let said = apply(&clusters, case.name, &case.spec).await.map(|_| ());
        wrong.extend(applied::judge("the server", case, &said).err());
        delete(&clusters, case.name).await;
    }
    applied::conclude(cases.len(), &wrong);
}

#[tokio::test]
async fn a_server_fills_in_what_our_types_would() {
    let Some((plane, clusters)) = server::start("defaults").await else { return };
    let stored = apply(&clusters, "shop", &json!({})).await.unwrap();
    assert_eq!(stored.spec, DynamoClusterSpec::default());

    let without_spec = json!({
        "apiVersion": "dynamo-k8s.io/v1alpha1", "kind": "DynamoCluster", "metadata": { "name": "bare" },
    });
    let bare = clusters.patch("bare", &person(), &Patch::Apply(&without_spec)).await.unwrap();
    assert_eq!(bare.spec, DynamoClusterSpec::default(), "a resource without a spec is one with an empty spec");

    // As a client sends it that writes its empty fields out.
    let nulls = json!({ "replicas": null, "image": null, "zones": null, "tls": { "secretName": null } });
    let nulls: DynamicObject = serde_json::from_value(applied::resource("nulls", &nulls)).unwrap();
    let kind = ApiResource::erase::<DynamoCluster>(&());
    let untyped = Api::<DynamicObject>::namespaced_with(plane.admin(), "default", &kind);
    untyped.create(&PostParams::default(), &nulls).await.unwrap();
    let stored = clusters.get("nulls").await.unwrap();
    assert_eq!(stored.spec, DynamoClusterSpec::default(), "null is the same as nothing");
}

#[tokio::test]
async fn bounds_are_kept() {
    let Some((_plane, clusters)) = server::start("bounds").await else { return };
    let zones = |count: u32| (0..count).map(|n| json!({ "name": format!("z{n}") })).collect::<Vec<_>>();
    let table = [
        (json!({ "replicas": 0 }), "spec.replicas"),
        (json!({ "replicas": 1001, "partitions": 1024 }), "spec.replicas"),
        (json!({ "replicas": "3" }), "spec.replicas"),
        (json!({ "replicas": 20, "zones": zones(17) }), "spec.zones"),
        (json!({ "zones": [] }), "spec.zones"),
        (json!({ "zones": [{ "name": "a" }, { "name": "a" }] }), "duplicate entries for key"),
        (json!({ "zones": [{ "weight": 2 }] }), "omits all key fields"),
        (json!({ "zones": [{ "name": "a", "weight": 0 }] }), "weight"),
        (json!({ "zones": [{ "name": "a23456789012345678901234" }] }), "spec.zones[0].name"),
        (json!({ "replication": { "factor": 17 } }), "spec.replication.factor"),
        (json!({ "replication": { "r": 0 } }), "spec.replication.r"),
        (json!({ "durability": "never" }), "spec.durability"),
        (json!({ "tls": { "mode": "Off" } }), "spec.tls.mode"),
        (json!({ "tls": { "mode": false } }), "spec.tls.mode"),
        (json!({ "buckets": [{ "name": "two words" }] }), "spec.buckets[0].name"),
        (json!({ "maintenance": { "restartRequestedAt": "now" } }), "restartRequestedAt"),
        (json!({ "maintenance": { "replace": [{ "node": "shop-a-0", "claimUid": "7" }] } }), "replace"),
        (json!({ "version": "a b" }), "spec.version"),
        (json!({ "slo": { "p99": 50 } }), "p99"),
        (json!({ "podTemplate": { "labels": { "team": "two words" } } }), "spec.podTemplate.labels.team"),
        (
            json!({ "podTemplate": { "nodeSelector": { "disk": "s".repeat(64) } } }),
            "spec.podTemplate.nodeSelector.disk",
        ),
        (json!({ "sloppy": true }), "sloppy"),
    ];
    let mut wrong = vec![];
    for (spec, blamed) in table {
        match apply(&clusters, "shop", &spec).await {
            Ok(_) => wrong.push(format!("the server takes {spec}")),
            Err(said) if said.contains(blamed) => {}
            Err(said) => wrong.push(format!("{spec} is refused, but not for {blamed}: {said}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Applies a document as it is written: the server reads YAML itself, and otherwise than we do (1.1, where `n` is false).
async fn apply_text(client: &Client, name: &str, text: &str) -> Result<DynamoCluster, String> {
    let path = format!(
        "/apis/dynamo-k8s.io/v1alpha1/namespaces/default/dynamoclusters/{name}?fieldManager=person&fieldValidation=Strict"
    );
    let request = http::Request::patch(path)
        .header(http::header::CONTENT_TYPE, "application/apply-patch+yaml")
        .body(text.as_bytes().to_vec())
        .unwrap();
    client.request(request).await.map_err(|error| told(&error))
}

#[tokio::test]
async fn examples_are_taken_as_they_are_written() {
    let Some((plane, _)) = server::start("the examples").await else { return };
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../manifests/examples");
    let mut taken = 0;
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        for text in fs::read_to_string(&file).unwrap().split("\n---\n") {
            let document: Value = serde_yaml::from_str(text).unwrap();
            if document["kind"] == "DynamoCluster" {
                let name = document["metadata"]["name"].as_str().expect("a name");
                let stored = apply_text(&plane.admin(), name, text).await;
                let stored = stored.unwrap_or_else(|said| panic!("{}: {said}", file.display()));
                let ours: DynamoCluster = serde_json::from_value(document).unwrap();
                assert_eq!(stored.spec, ours.spec, "{}: the server reads it otherwise", file.display());
                taken += 1;
            }
        }
    }
    assert!(taken >= 4, "only {taken} examples were found");
}
