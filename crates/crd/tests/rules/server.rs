//! A real API server that serves the resource.

use std::time::Duration;

use dynamo_control_plane::{ControlPlane, Controllers};
use dynamo_crd::{DynamoCluster, definition};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Error,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::Value;

use crate::applied;

/// A person's `kubectl apply --server-side`: what the last one had and this one has not is taken out.
pub fn person() -> PatchParams {
    PatchParams::apply("person").validation_strict()
}

/// An API server that serves the resource: it takes the definition only if no rule may cost too much. Nothing, where there is
/// no API server to be had.
pub async fn start(test: &str) -> Option<(ControlPlane, Api<DynamoCluster>)> {
    let plane = ControlPlane::start(test, Controllers::None).await?;
    let clusters = install(&plane.admin(), &definition()).await;
    Some((plane, clusters))
}

/// Installs a definition.
pub async fn install(client: &Client, definition: &CustomResourceDefinition) -> Api<DynamoCluster> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    definitions.create(&PostParams::default(), definition).await.expect("the definition is taken");
    let clusters = Api::<DynamoCluster>::namespaced(client.clone(), "default");
    until("the resource is served", async || clusters.list(&ListParams::default()).await.is_ok()).await;
    clusters
}

/// Asks until it is so. The bound is there for a test that would never end.
pub async fn until(what: &str, so: impl AsyncFn() -> bool) {
    for _ in 0..600 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited in vain until {what}");
}

/// As that person.
pub async fn apply(clusters: &Api<DynamoCluster>, name: &str, spec: &Value) -> Result<DynamoCluster, String> {
    let resource = applied::resource(name, spec);
    clusters.patch(name, &person(), &Patch::Apply(&resource)).await.map_err(|error| told(&error))
}

/// What the server says.
pub fn told(error: &Error) -> String {
    match error {
        Error::Api(status) => status.message.clone(),
        other => panic!("the server did not answer: {other}"),
    }
}

/// Whether it is there or not.
pub async fn delete(clusters: &Api<DynamoCluster>, name: &str) {
    match clusters.delete(name, &DeleteParams::default()).await {
        Ok(_) => {}
        Err(Error::Api(status)) if status.code == 404 => {}
        Err(other) => panic!("{name} cannot be deleted: {other}"),
    }
}
