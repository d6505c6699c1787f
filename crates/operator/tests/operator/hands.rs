//! What others do to a cluster's objects by hand is undone, and no data goes by it.

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Service, policy::v1::PodDisruptionBudget};
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PropagationPolicy},
};
use serde_json::{Value, json};

use crate::support::{World, patient};

async fn patch_set(world: &World, name: &str, patch: Value) {
    let manager = PatchParams { field_manager: Some("by-hand".into()), ..PatchParams::default() };
    world.api::<StatefulSet>().patch(name, &manager, &Patch::Strategic(patch)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_or_edited_by_hand_is_as_it_was() {
    let Some(world) = World::start("hands").await else { return };
    let _operator = world.operator().await;
    world.create(6, json!({})).await;
    world.settles_at(6).await;
    let pods: Vec<_> = world.pods().await.iter().map(ResourceExt::uid).collect();

    // A StatefulSet is deleted and its pods stay: it comes back around them.
    let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    let old = world.api::<StatefulSet>().get("c-a").await.unwrap().uid();
    world.api::<StatefulSet>().delete("c-a", &orphan).await.unwrap();
    patient("the StatefulSet is back", async || {
        let set = world.api::<StatefulSet>().get_opt("c-a").await.unwrap();
        set.is_some_and(|set| set.uid() != old && set.spec.unwrap().replicas == Some(2))
    })
    .await;
    world.settles_at(6).await;
    assert_eq!(world.pods().await.iter().map(ResourceExt::uid).collect::<Vec<_>>(), pods);

    // What pods are made of, how they restart, and what becomes of their disks.
    let container = json!({"name": "extra", "image": "example.com/extra"});
    let policy = json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    let spec =
        json!({"template": {"spec": {"containers": [container]}}, "persistentVolumeClaimRetentionPolicy": policy});
    patch_set(&world, "c-b", json!({"spec": spec})).await;
    patient("the StatefulSet is as it was", async || {
        let spec = world.api::<StatefulSet>().get("c-b").await.unwrap().spec.unwrap();
        let policy = spec.persistent_volume_claim_retention_policy.unwrap();
        let names: Vec<String> = spec.template.spec.unwrap().containers.into_iter().map(|one| one.name).collect();
        !names.contains(&"extra".to_owned())
            && policy.when_deleted.as_deref() == Some("Retain")
            && policy.when_scaled.as_deref() == Some("Retain")
    })
    .await;
    world.settles_at(6).await;
    assert_eq!(world.pods().await.iter().map(ResourceExt::uid).collect::<Vec<_>>(), pods, "no pod restarted by it");

    // Fewer pods than the ring has nodes.
    patch_set(&world, "c-c", json!({"spec": {"replicas": 1}})).await;
    patient("there are as many as the ring needs", async || {
        world.api::<StatefulSet>().get("c-c").await.unwrap().spec.unwrap().replicas == Some(2)
    })
    .await;
    world.settles_at(6).await;

    // Others of its objects.
    world.api::<Service>().delete("c-nodes", &DeleteParams::default()).await.unwrap();
    world.api::<PodDisruptionBudget>().delete("c", &DeleteParams::default()).await.unwrap();
    patient("they are back", async || {
        let service = world.api::<Service>().get_opt("c-nodes").await.unwrap();
        let budget = world.api::<PodDisruptionBudget>().get_opt("c").await.unwrap();
        service.is_some_and(|service| service.meta().deletion_timestamp.is_none()) && budget.is_some()
    })
    .await;
    world.settles_at(6).await;
    world.rests().await;
}
