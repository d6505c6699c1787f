//! What is stored already, before a real API server with the present definition.

use std::{fs, path::PathBuf};

use dynamo_control_plane::{ControlPlane, Controllers};
use dynamo_crd::{DynamoCluster, DynamoClusterStatus, definition, definition_yaml_value, names, rules};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::server::{self, apply, told};

/// The clusters that older versions stored.
fn stored() -> Vec<DynamoCluster> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/stored");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let clusters = files.map(|file| serde_yaml::from_str(&fs::read_to_string(file).unwrap()).unwrap());
    clusters.collect()
}

async fn merge(clusters: &Api<DynamoCluster>, name: &str, change: &Value) -> Result<DynamoCluster, String> {
    let patched = clusters.patch(name, &PatchParams::default(), &Patch::Merge(change)).await;
    patched.map_err(|error| told(&error))
}

#[tokio::test]
async fn what_older_versions_stored_is_kept_whole_and_takes_edits() {
    let Some((_plane, clusters)) = server::start("what older versions stored").await else { return };
    let all = stored();
    assert!(!all.is_empty());
    for (number, mut old) in all.into_iter().enumerate() {
        let name = format!("old-{number}");
        old.metadata.name = Some(name.clone());
        clusters.create(&PostParams::default(), &old).await.expect("the spec is taken");
        let status = json!({ "status": old.status });
        clusters
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(&status))
            .await
            .expect("the status is taken");
        let now = clusters.get(&name).await.unwrap();
        assert_eq!((&now.spec, &now.status), (&old.spec, &old.status));

        // Read and written back as our types have it, nothing is lost.
        let back = clusters.replace(&name, &PostParams::default(), &now).await.unwrap();
        assert_eq!(back.metadata.resource_version, now.metadata.resource_version);

        for change in [
            json!({ "replicas": 7 }),
            json!({ "storage": { "size": "30Gi" } }),
            json!({ "version": "0.2.0" }),
            json!({ "maintenance": { "restartRequestedAt": "2026-02-01T12:00:00Z" } }),
            json!({ "tls": { "clientAuth": "None", "tokensSecretName": null } }),
        ] {
            let edited = merge(&clusters, &name, &json!({ "spec": change })).await;
            edited.unwrap_or_else(|said| panic!("{change}: {said}"));
        }
        let refused = merge(&clusters, &name, &json!({ "spec": { "partitions": 512 } })).await.unwrap_err();
        assert!(refused.contains(rules::PARTITIONS_ARE_FIXED.message), "{refused}");
    }
}

/// The definition as a version would have had it that knew no rules.
fn without_rules() -> CustomResourceDefinition {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.remove("x-kubernetes-validations");
                map.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut document = definition_yaml_value();
    strip(&mut document);
    serde_json::from_value(document).unwrap()
}

#[tokio::test]
async fn what_a_new_rule_refuses_is_still_told_of_and_can_be_mended() {
    let Some(plane) = ControlPlane::start("new rules", Controllers::None).await else {
        return;
    };
    let clusters = server::install(&plane.admin(), &without_rules()).await;
    let wrong = json!({ "image": "dynamo-node:1", "version": "0.1.0" });
    apply(&clusters, "shop", &wrong).await.unwrap();

    let definitions = Api::<CustomResourceDefinition>::all(plane.admin());
    let update = PatchParams::apply("helm").force();
    let name = definition().metadata.name.unwrap();
    definitions.patch(&name, &update, &Patch::Apply(definition())).await.unwrap();
    // Another name each time: what was taken before the rules counted is not held against them.
    let names = std::cell::Cell::new(0);
    let refused = async || {
        names.set(names.get() + 1);
        apply(&clusters, &format!("other-{}", names.get()), &wrong).await.is_err()
    };
    server::until("the rules count", refused).await;

    // The operator goes on telling, and a person is told what to do until it is done.
    let status = json!({
        "apiVersion": "dynamo-k8s.io/v1alpha1", "kind": "DynamoCluster", "status": { "summary": "waits for a person" },
    });
    let told_so =
        clusters.patch_status("shop", &PatchParams::apply(names::FIELD_MANAGER), &Patch::Apply(&status)).await;
    let expected = DynamoClusterStatus { summary: "waits for a person".into(), ..DynamoClusterStatus::default() };
    assert_eq!(told_so.expect("a status is taken").status, Some(expected));
    let said = merge(&clusters, "shop", &json!({ "spec": { "replicas": 4 } })).await.unwrap_err();
    assert!(said.contains(rules::IMAGE_OR_VERSION.message), "{said}");
    let mended = merge(&clusters, "shop", &json!({ "spec": { "replicas": 4, "version": null } })).await.unwrap();
    assert_eq!((mended.spec.replicas, mended.spec.version), (4, None));
}
