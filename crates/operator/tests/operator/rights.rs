//! A right that lacks is told by name, and nothing else stops; and what nodes have no right to.

use std::sync::Arc;

use dynamo_crd::status::ConditionKind;
use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    core::v1::Secret,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{
    World,
    faults::Faults,
    patient,
    plane::{Operator, from},
};

/// Everything that the operator needs, but for writing these.
fn rules_without(read_only: &str) -> Value {
    let core = [
        "configmaps",
        "services",
        "pods",
        "persistentvolumeclaims",
        "persistentvolumes",
        "nodes",
        "secrets",
        "serviceaccounts",
        "events",
    ];
    let verbs = |resource: &str| if resource == read_only { json!(["get", "list", "watch"]) } else { json!(["*"]) };
    let mut rules = vec![
        json!({"apiGroups": ["dynamo-k8s.io"], "resources": ["*"], "verbs": ["*"]}),
        json!({"apiGroups": ["apps", "policy", "networking.k8s.io", "storage.k8s.io"], "resources": ["*"], "verbs": ["*"]}),
    ];
    rules.extend(core.map(|resource| json!({"apiGroups": [""], "resources": [resource], "verbs": verbs(resource)})));
    json!(rules)
}

/// An operator that may not write objects of this kind.
async fn limited(world: &World, resource: &str) -> Operator {
    let (roles, put) = (Api::<ClusterRole>::all(world.plane.admin()), PostParams::default());
    let role = json!({"metadata": {"name": "limited"}, "rules": rules_without(resource)});
    roles.create(&put, &from(role)).await.unwrap();
    let binding: ClusterRoleBinding = from(json!({
        "metadata": {"name": "limited"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "limited"},
        "subjects": [{"kind": "User", "name": "limited", "apiGroup": "rbac.authorization.k8s.io"}],
    }));
    Api::<ClusterRoleBinding>::all(world.plane.admin()).create(&put, &binding).await.unwrap();
    world.operate(world.client("limited", None, &Arc::new(Faults::default())).await)
}

/// It is given the right.
async fn unlimited(world: &World) {
    let patch = Patch::Merge(json!({"rules": rules_without("none of them")}));
    let roles = Api::<ClusterRole>::all(world.plane.admin());
    roles.patch("limited", &PatchParams::default(), &patch).await.unwrap();
}

/// An operator that may not write objects of this kind says so, until it may.
async fn lacks(test: &str, resource: &str, verb: &str) {
    let Some(world) = World::start(test).await else { return };
    let _operator = limited(&world, resource).await;
    world.create(3, json!({})).await;
    let mut told = (String::new(), String::new());
    let lacks_it = [format!("cannot {verb}"), format!("\"{resource}\""), "namespace \"shop\"".to_owned()];
    patient("what lacks is told", async || {
        let condition = world.condition(ConditionKind::Degraded).await;
        let Some((true, reason, message)) = condition else { return false };
        let names_it = lacks_it.iter().all(|part| message.contains(part));
        told = (reason, message);
        names_it
    })
    .await;
    assert_eq!(told.0, "Forbidden", "{}", told.1);
    assert!(told.1.contains("give the operator's ServiceAccount that right"), "{}", told.1);
    unlimited(&world).await;
    world.settles_at(3).await;
    let condition = world.condition(ConditionKind::Degraded).await;
    assert!(condition.is_some_and(|(holds, ..)| !holds), "it is no longer told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_lacks_is_a_condition_that_names_it_until_it_is_given() {
    lacks("rights", "configmaps", "create").await;
}

/// What needs no plan is applied, which is another way of writing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_lacks_where_something_is_applied_is_told_the_same() {
    lacks("rights to apply", "services", "patch").await;
}

/// Such as one of before kubelets were called, with the rights of then: new certificates come later, and the status is told as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_call_kubelets_says_so_beside_all_else() {
    let Some(world) = World::secured("rights to call").await else { return };
    let _operator = limited(&world, "pods").await;
    world.create(3, json!({"tls": {"mode": "OperatorCA"}})).await;
    world.settles_at(3).await;
    world.api::<Secret>().delete("c-ca", &DeleteParams::default()).await.unwrap();
    patient("the right that lacks is told beside the rotation", async || {
        let (degraded, progressing) =
            (world.condition(ConditionKind::Degraded).await, world.condition(ConditionKind::Progressing).await);
        let told = degraded.is_some_and(|(holds, reason, message)| {
            holds && reason == "Forbidden" && message.contains("cannot patch") && message.contains("\"pods\"")
        });
        told && progressing.is_some_and(|(holds, ..)| holds)
    })
    .await;
    unlimited(&world).await;
    world.settles_at(3).await;
    patient("it is no longer told", async || {
        world.condition(ConditionKind::Degraded).await.is_some_and(|(holds, ..)| !holds)
    })
    .await;
}

/// Whether an account may do this with Secrets, by the API server's own word.
async fn may(world: &World, account: &str, verb: &str, name: &str) -> bool {
    let namespace = &world.cluster.id.namespace;
    let asked: SubjectAccessReview = from(json!({"metadata": {}, "spec": {
        "user": format!("system:serviceaccount:{namespace}:{account}"),
        "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}"), "system:authenticated"],
        "resourceAttributes": {"namespace": namespace, "verb": verb, "resource": "secrets", "name": name},
    }}));
    let reviews = Api::<SubjectAccessReview>::all(world.plane.admin());
    reviews.create(&PostParams::default(), &asked).await.unwrap().status.unwrap().allowed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_that_nodes_run_as_reads_no_secret() {
    let Some(world) = World::start("the nodes' account").await else { return };
    let _operator = world.operator().await;
    world.create(3, json!({})).await;
    world.settles_at(3).await;
    let pods = world.pods().await;
    let accounts: Vec<_> = pods.iter().map(|pod| pod.spec.as_ref().unwrap().service_account_name.clone()).collect();
    assert_eq!(accounts, vec![Some("c-node".to_owned()); 3]);
    for verb in ["get", "list", "watch", "create", "update", "patch", "delete", "*"] {
        for name in ["c-ca", "c-secret", ""] {
            assert!(!may(&world, "c-node", verb, name).await, "{verb} {name}");
        }
    }
    // With a token such as its pods have, on a Secret that is there.
    let node = world.plane.service_account("shop", "c-node").await;
    assert!(world.api::<Secret>().get_opt("c-secret").await.unwrap().is_some());
    for refused in [
        Api::<Secret>::namespaced(node.clone(), "shop").get("c-secret").await.map(drop),
        Api::<Secret>::namespaced(node, "shop").list(&Default::default()).await.map(drop),
    ] {
        assert!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 403), "{refused:?}");
    }

    // What is asked here is answered otherwise where somebody lets it.
    let role: Role = from(json!({"metadata": {"name": "too-much"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}));
    world.api().create(&PostParams::default(), &role).await.unwrap();
    let binding: RoleBinding = from(json!({
        "metadata": {"name": "too-much"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "too-much"},
        "subjects": [{"kind": "ServiceAccount", "name": "c-node", "namespace": "shop"}],
    }));
    world.api().create(&PostParams::default(), &binding).await.unwrap();
    patient("it is let", async || may(&world, "c-node", "get", "c-ca").await).await;
}
