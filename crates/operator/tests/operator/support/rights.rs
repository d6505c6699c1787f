//! What an operator may do where it was installed by `kubectl apply -k manifests/operator`: tests run it with that and no more.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::{Api, Client, ResourceExt, api::PostParams};
use serde::Deserialize;
use serde_json::{Value, json};

use super::plane::from;

const INSTALLED: &str = include_str!("../../../../../manifests/operator/operator.yaml");
const NAMESPACE: &str = "dynamo-system";

/// Gives these users the roles that the operator's ServiceAccount is bound to.
pub async fn grant(admin: &Client, users: &[&str]) {
    let put = PostParams::default();
    let subjects: Vec<Value> = users
        .iter()
        .map(|user| json!({"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}))
        .collect();
    let mut bound = 0;
    for document in serde_yaml::Deserializer::from_str(INSTALLED) {
        let mut object = Value::deserialize(document).unwrap();
        if object["kind"].as_str().is_some_and(|kind| kind.ends_with("Binding")) {
            object["subjects"] = json!(subjects);
            bound += 1;
        }
        match object["kind"].as_str() {
            Some("ClusterRole") => create(&Api::<ClusterRole>::all(admin.clone()), &put, object).await,
            Some("ClusterRoleBinding") => create(&Api::<ClusterRoleBinding>::all(admin.clone()), &put, object).await,
            Some("Role") => create(&Api::<Role>::namespaced(admin.clone(), NAMESPACE), &put, object).await,
            Some("RoleBinding") => {
                create(&Api::<RoleBinding>::namespaced(admin.clone(), NAMESPACE), &put, object).await
            }
            _ => {}
        }
    }
    assert!(bound > 0, "nothing is bound to anybody in manifests/operator");
}

async fn create<K>(api: &Api<K>, put: &PostParams, object: Value)
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + serde::Serialize,
{
    let object: K = from(object);
    let name = object.name_any();
    api.create(put, &object).await.unwrap_or_else(|error| panic!("{name}: {error}"));
}
