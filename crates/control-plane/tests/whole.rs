//! What tests rely on of their control plane.

use std::{collections::BTreeMap, time::Duration};

use dynamo_control_plane::{ADMIN, ControlPlane, Controllers};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Pod, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, Error,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn from<K: DeserializeOwned>(document: Value) -> K {
    serde_json::from_value(document).unwrap()
}

fn maps(client: Client) -> Api<ConfigMap> {
    Api::namespaced(client, "default")
}

fn map(name: &str) -> ConfigMap {
    from(json!({ "metadata": { "name": name }, "data": { "a": "b" } }))
}

fn code<T: std::fmt::Debug>(said: Result<T, Error>) -> u16 {
    match said {
        Err(Error::Api(status)) => status.code,
        other => panic!("it was not refused: {other:?}"),
    }
}

#[tokio::test]
async fn users_and_accounts_may_what_roles_say_and_each_write_is_counted_as_theirs() {
    let Some(plane) = ControlPlane::start("users and writes", Controllers::None).await else { return };
    let (admin, put) = (plane.admin(), PostParams::default());
    Api::<ServiceAccount>::namespaced(admin.clone(), "default")
        .create(&put, &from(json!({ "metadata": { "name": "keeper" } })))
        .await
        .unwrap();
    let rules = json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "patch"] }]);
    Api::<Role>::namespaced(admin.clone(), "default")
        .create(&put, &from(json!({ "metadata": { "name": "writer" }, "rules": rules })))
        .await
        .unwrap();
    let binding = json!({
        "metadata": { "name": "writer" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "writer" },
        "subjects": [
            { "kind": "ServiceAccount", "name": "keeper", "namespace": "default" },
            { "kind": "Group", "name": "writers", "apiGroup": "rbac.authorization.k8s.io" },
        ],
    });
    Api::<RoleBinding>::namespaced(admin.clone(), "default").create(&put, &from(binding)).await.unwrap();
    let account = maps(plane.service_account("default", "keeper").await);
    let (member, stranger) = (maps(plane.user("mia", Some("writers")).await), maps(plane.user("sam", None).await));
    wait_for("the binding to count", async || account.get("nothing").await.is_err_and(|error| is_not_found(&error)))
        .await;

    let mark = plane.mark();
    account.create(&put, &map("one")).await.unwrap();
    member.create(&put, &map("two")).await.unwrap();
    let patch = Patch::Merge(json!({ "data": { "a": "c" } }));
    account.patch("two", &PatchParams::default(), &patch).await.unwrap();
    account.get("two").await.unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    account.create(&dry, &map("never")).await.unwrap();
    assert_eq!(code(stranger.create(&put, &map("three")).await), 403);
    assert_eq!(code(account.delete("one", &DeleteParams::default()).await), 403);

    // By now each is answered, so each is in the log, though perhaps not yet its answer.
    let writes = plane.writes_since(mark);
    let keeper = "system:serviceaccount:default:keeper";
    let expected = [((keeper, "configmaps"), 3), (("mia", "configmaps"), 1), (("sam", "configmaps"), 1)];
    let people = writes.that(|write| !write.user.starts_with("system:") || write.user == keeper);
    assert_eq!(people.counted(), BTreeMap::from(expected), "{writes}");
    assert_eq!(writes.of(keeper).that(|write| write.verb == "patch").len(), 1, "{writes}");
    wait_for("the answers to be logged", async || {
        plane.writes_since(mark).of("sam").0.iter().all(|write| write.code == Some(403))
    })
    .await;
    assert!(plane.writes_since(plane.mark()).of(ADMIN).is_empty());
}

fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404)
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart() {
    let Some(mut plane) = ControlPlane::start("a restart", Controllers::None).await else { return };
    let maps = maps(plane.admin());
    maps.create(&PostParams::default(), &map("kept")).await.unwrap();
    plane.restart().await;
    assert_eq!(maps.get("kept").await.unwrap().data, map("kept").data);
}

#[tokio::test]
async fn controllers_make_the_pods_of_a_stateful_set_and_nobody_runs_them() {
    let controllers = Controllers::AllBut(&["pod-garbage-collector-controller"]);
    let Some(plane) = ControlPlane::start("controllers", controllers).await else { return };
    let set = json!({
        "metadata": { "name": "shop" },
        "spec": {
            "serviceName": "shop",
            "replicas": 2,
            "podManagementPolicy": "Parallel",
            "selector": { "matchLabels": { "a": "b" } },
            "template": {
                "metadata": { "labels": { "a": "b" } },
                "spec": { "containers": [{ "name": "c", "image": "i" }] },
            },
        },
    });
    let mark = plane.mark();
    Api::<StatefulSet>::namespaced(plane.admin(), "default").create(&PostParams::default(), &from(set)).await.unwrap();
    let pods = Api::<Pod>::namespaced(plane.admin(), "default");
    wait_for("two pods", async || pods.list(&ListParams::default()).await.unwrap().items.len() == 2).await;
    let controller = "system:serviceaccount:kube-system:statefulset-controller";
    assert_eq!(plane.writes_since(mark).of(controller).counted()[&(controller, "pods")], 2);
    let pod = pods.get("shop-1").await.unwrap();
    assert_eq!(pod.status.and_then(|status| status.phase).as_deref(), Some("Pending"));
    assert_eq!(pod.spec.and_then(|spec| spec.service_account_name).as_deref(), Some("default"));
}

/// Asks until it is so. The bound is there for a test that would never end.
async fn wait_for(what: &str, so: impl AsyncFn() -> bool) {
    for _ in 0..1200 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited in vain for {what}");
}
