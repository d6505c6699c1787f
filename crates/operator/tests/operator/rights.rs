//! A right that lacks is told by name, and nothing else stops.

use std::sync::Arc;

use dynamo_crd::status::ConditionKind;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{World, faults::Faults, patient, plane::from};

fn rules(with_maps: bool) -> Value {
    let maps = if with_maps { json!(["*"]) } else { json!(["get", "list", "watch"]) };
    json!([
        {"apiGroups": ["dynamo-k8s.io"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": ["apps", "policy", "networking.k8s.io", "storage.k8s.io"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": maps},
        {"apiGroups": [""], "resources": ["pods", "persistentvolumeclaims", "persistentvolumes", "nodes", "secrets",
            "services", "serviceaccounts", "events"], "verbs": ["*"]},
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_lacks_is_a_condition_that_names_it_until_it_is_given() {
    let Some(world) = World::start("rights").await else { return };
    let (roles, put) = (Api::<ClusterRole>::all(world.plane.admin()), PostParams::default());
    roles.create(&put, &from(json!({"metadata": {"name": "limited"}, "rules": rules(false)}))).await.unwrap();
    let binding: ClusterRoleBinding = from(json!({
        "metadata": {"name": "limited"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "limited"},
        "subjects": [{"kind": "User", "name": "limited", "apiGroup": "rbac.authorization.k8s.io"}],
    }));
    Api::<ClusterRoleBinding>::all(world.plane.admin()).create(&put, &binding).await.unwrap();
    let _operator = world.operate(world.client("limited", None, &Arc::new(Faults::default())).await);
    world.create(3, json!({})).await;
    let mut told = String::new();
    patient("the right is named", async || {
        let condition = world.condition(ConditionKind::Degraded).await;
        let Some((true, reason, message)) = condition else { return false };
        told = message;
        reason == "Forbidden"
    })
    .await;
    for part in ["cannot create", "\"configmaps\"", "namespace \"shop\""] {
        assert!(told.contains(part), "{part} in: {told}");
    }
    let patch = Patch::Merge(json!({"rules": rules(true)}));
    roles.patch("limited", &PatchParams::default(), &patch).await.unwrap();
    world.settles_at(3).await;
    let condition = world.condition(ConditionKind::Degraded).await;
    assert!(condition.is_some_and(|(holds, ..)| !holds), "it is no longer told");
}
