//! More and fewer nodes, edited again while it is under way; volumes that grow; another template.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use serde_json::json;

use crate::support::{World, patient};

fn size(claim: &PersistentVolumeClaim) -> String {
    claim.spec.as_ref().unwrap().resources.as_ref().unwrap().requests.as_ref().unwrap()["storage"].0.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_become_six_and_then_four_and_edits_in_between_leave_nothing_behind() {
    let Some(world) = World::start("scaling").await else { return };
    let _operator = world.operator().await;
    world.create(3, json!({})).await;
    world.settles_at(3).await;
    world.edit(json!({"replicas": 6})).await;
    world.settles_at(6).await;
    assert_eq!(world.cluster.changes(), 1, "all new nodes join at once");

    world.edit(json!({"replicas": 4})).await;
    world.settles_at(4).await;
    let claims: Vec<String> = world.claims().await.iter().map(ResourceExt::name_any).collect();
    assert_eq!(claims, ["data-c-a-0", "data-c-a-1", "data-c-b-0", "data-c-c-0"]);

    world.edit(json!({"replicas": 7})).await;
    patient("a pod has come", async || world.pods().await.len() > 4).await;
    world.edit(json!({"replicas": 3})).await;
    patient("it is seen", async || world.resource().await.status.unwrap().observed_generation >= Some(5)).await;
    world.edit(json!({"replicas": 5})).await;
    world.settles_at(5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_that_are_kept_are_emptied_before_their_nodes_come_back() {
    let Some(world) = World::start("kept disks").await else { return };
    let _operator = world.operator().await;
    let storage = json!({"size": "1Gi", "storageClassName": "static", "reclaim": {"onScaleDown": "Retain"}});
    world.create(4, json!({"storage": storage})).await;
    world.settles_at(4).await;
    world.edit(json!({"replicas": 3})).await;
    patient("a node has left", async || world.pods().await.len() == 3).await;
    let kept = world.claims().await.into_iter().find(|claim| claim.name_any() == "data-c-a-1").expect("it was kept");
    let mark = kept.annotations()["dynamo-k8s.io/left"].clone();
    assert!(mark.starts_with("left ") && mark.ends_with(" kept"), "{mark}");
    let life = mark.split(' ').nth(1).unwrap().to_owned();
    patient("the nodes are told which life left", async || {
        let retired = world.config_map("c-retired").await.and_then(|map| map.data).unwrap_or_default();
        retired.get("c-a-1") == Some(&life)
    })
    .await;

    world.edit(json!({"replicas": 4})).await;
    world.settles_at(4).await;
    let back = world.claims().await.into_iter().find(|claim| claim.name_any() == "data-c-a-1").unwrap();
    assert_eq!((back.uid(), back.annotations().get("dynamo-k8s.io/left")), (kept.uid(), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_grow_and_no_pod_restarts_by_it() {
    let Some(world) = World::start("growth").await else { return };
    let _operator = world.operator().await;
    world.create(3, json!({})).await;
    world.settles_at(3).await;
    let pods: Vec<_> = world.pods().await.iter().map(ResourceExt::uid).collect();
    let sets: Vec<_> = world.sets().await.iter().map(ResourceExt::uid).collect();
    world.edit(json!({"storage": {"size": "2Gi"}})).await;
    patient("claims ask for more, and so do StatefulSets", async || {
        let claims = world.claims().await;
        let sets = world.sets().await;
        let templates =
            sets.iter().flat_map(|set| set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten()));
        sets.len() == 3 && claims.iter().chain(templates).all(|claim| size(claim) == "2Gi")
    })
    .await;
    world.settles_at(3).await;
    assert_eq!(world.pods().await.iter().map(ResourceExt::uid).collect::<Vec<_>>(), pods, "pods were made anew");
    assert!(world.sets().await.iter().all(|set| !sets.contains(&set.uid())), "StatefulSets were made anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_image_stops_at_the_first_pod_and_a_good_one_gets_through() {
    let Some(world) = World::start("rollout").await else { return };
    let _operator = world.operator().await;
    world.create(3, json!({"image": "example.com/node:one"})).await;
    world.settles_at(3).await;
    let before: Vec<_> = world.pods().await.iter().map(ResourceExt::uid).collect();
    let anew = async || {
        let pods = world.pods().await;
        (pods.len(), pods.iter().filter(|pod| !before.contains(&pod.uid())).count())
    };
    world.edit(json!({"image": "example.com/node:bad"})).await;
    patient("one pod was made anew", async || anew().await == (3, 1)).await;
    let waits = "UpdatedNotReady";
    patient("it is told that it does not come back", async || {
        let condition = world.condition(dynamo_crd::status::ConditionKind::Degraded).await;
        condition.is_some_and(|(holds, reason, _)| holds && reason == waits)
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(anew().await, (3, 1), "no other pod restarts while one does not come back");

    world.edit(json!({"image": "example.com/node:two"})).await;
    patient("all pods run the good one", async || {
        let pods = world.pods().await;
        let image = |pod: &k8s_openapi::api::core::v1::Pod| pod.spec.as_ref().unwrap().containers[0].image.clone();
        pods.len() == 3 && pods.iter().all(|pod| image(pod).as_deref() == Some("example.com/node:two"))
    })
    .await;
    world.settles_at(3).await;
}
