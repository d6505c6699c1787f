//! An operator that dies at every write, by turns before and after it was done, and is started again.

use dynamo_crd::{DynamoCluster, status::ConditionKind};
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim, core::v1::Pod};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;

use crate::support::{OPERATOR, World, faults::Faults, patient};

/// Runs this while the operator dies.
async fn while_it_dies(world: &World, life: impl Future<Output = ()>) {
    let faults = Faults::each(1);
    let client = world.client(OPERATOR, None, &faults).await;
    let deaths = async {
        loop {
            let _operator = world.operate(client.clone());
            faults.lost.notified().await;
        }
    };
    tokio::select! {
        () = deaths => {}
        () = life => {}
    }
}

fn image(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.containers.first()?.image.clone()
}

fn size(claim: &PersistentVolumeClaim) -> Option<String> {
    Some(claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.clone())
}

fn template_size(set: &StatefulSet) -> Option<String> {
    size(set.spec.as_ref()?.volume_claim_templates.as_ref()?.first()?)
}

fn is_two_gi(size: Option<String>) -> bool {
    size.is_some_and(|size| size == "2Gi" || size == "2147483648")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_dies_at_every_write_founds_and_resizes_a_cluster() {
    let Some(world) = World::start("deaths").await else { return };
    world.create(3, json!({})).await;
    while_it_dies(&world, async {
        world.settles_at(3).await;
        world.edit(json!({"replicas": 5})).await;
        world.settles_at(5).await;
        world.edit(json!({"replicas": 3})).await;
        world.settles_at(3).await;
    })
    .await;
    assert_eq!(world.cluster.changes(), 2, "no change of the ring was made twice");
    let available = world.condition(ConditionKind::Available).await;
    assert!(available.is_some_and(|(holds, ..)| holds));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_dies_at_every_write_rolls_grows_replaces_and_lets_go() {
    let Some(world) = World::start("more deaths").await else { return };
    let storage = json!({"size": "1Gi", "storageClassName": "static", "reclaim": {"onDelete": "Delete"}});
    world.create(3, json!({"image": "example.com/node:one", "storage": storage})).await;
    while_it_dies(&world, async {
        world.settles_at(3).await;
        let first: Vec<_> = world.pods().await.iter().map(ResourceExt::uid).collect();
        world.edit(json!({"image": "example.com/node:two"})).await;
        patient("all pods run the new one", async || {
            let pods = world.pods().await;
            pods.len() == 3 && pods.iter().all(|pod| image(pod).as_deref() == Some("example.com/node:two"))
        })
        .await;
        world.settles_at(3).await;
        let rolled: Vec<_> = world.pods().await.iter().map(ResourceExt::uid).collect();
        assert!(rolled.iter().all(|uid| !first.contains(uid)));

        world.edit(json!({"storage": {"size": "2Gi"}})).await;
        patient("claims and StatefulSets are larger", async || {
            let (claims, sets) = (world.claims().await, world.sets().await);
            (claims.len(), sets.len()) == (3, 3)
                && claims.iter().all(|claim| is_two_gi(size(claim)))
                && sets.iter().all(|set| is_two_gi(template_size(set)))
        })
        .await;
        world.settles_at(3).await;
        let grown: Vec<_> = world.pods().await.iter().map(ResourceExt::uid).collect();
        assert_eq!(grown, rolled, "no pod restarted by it");

        let claims = async || -> Vec<_> { world.claims().await.iter().map(ResourceExt::uid).collect() };
        let before = claims().await;
        world.api::<PersistentVolumeClaim>().delete("data-c-b-0", &DeleteParams::default()).await.unwrap();
        patient("there is another disk", async || {
            let now = claims().await;
            now.len() == 3 && now[1] != before[1]
        })
        .await;
        world.settles_at(3).await;
        let after = claims().await;
        assert_eq!((&after[0], &after[2]), (&before[0], &before[2]), "no other disk was given up");

        world.api::<DynamoCluster>().delete("c", &DeleteParams::default()).await.unwrap();
        patient("nothing of it is left", async || {
            let (pods, sets, claims) = (world.pods().await, world.sets().await, world.claims().await);
            let founders = world.config_map("c-founders").await;
            pods.is_empty() && sets.is_empty() && claims.is_empty() && founders.is_none()
        })
        .await;
    })
    .await;
    assert_eq!(world.cluster.changes(), 0, "the ring was not changed by any of it");
}
