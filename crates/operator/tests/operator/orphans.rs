//! A resource that is deleted without its objects, and made again.

use dynamo_crd::{DynamoCluster, status::ConditionKind};
use k8s_openapi::api::{core::v1::Service, networking::v1::NetworkPolicy, policy::v1::PodDisruptionBudget};
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, PropagationPolicy},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::support::{World, patient};

/// The uid of an object, and those of its owners.
async fn owned<K>(world: &World, name: &str) -> (Option<String>, Vec<String>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let object = world.api::<K>().get(name).await.unwrap();
    (object.uid(), object.owner_references().iter().map(|owner| owner.uid.clone()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_that_is_made_again_takes_up_what_was_left_of_it() {
    let Some(world) = World::start("orphans").await else { return };
    let operator = world.operator().await;
    world.create(4, json!({})).await;
    world.settles_at(4).await;
    let pods: Vec<_> = world.pods().await.iter().map(ResourceExt::uid).collect();
    let (service, _) = owned::<Service>(&world, "c-nodes").await;

    let orphan = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    world.api::<DynamoCluster>().delete("c", &orphan).await.unwrap();
    patient("the resource is gone", async || world.api::<DynamoCluster>().get_opt("c").await.unwrap().is_none()).await;
    // Also by an operator that knows nothing of before.
    drop(operator);
    let _operator = world.operator().await;
    let uid = world.create(4, json!({})).await.uid().unwrap();
    world.settles_at(4).await;
    patient("nothing hinders it", async || {
        world.condition(ConditionKind::Degraded).await.is_some_and(|(holds, ..)| !holds)
    })
    .await;
    assert_eq!(world.pods().await.iter().map(ResourceExt::uid).collect::<Vec<_>>(), pods, "pods were made anew");
    assert_eq!(owned::<Service>(&world, "c-nodes").await, (service, vec![uid.clone()]));
    for (name, owners) in [
        ("Service", owned::<Service>(&world, "c").await.1),
        ("NetworkPolicy", owned::<NetworkPolicy>(&world, "c").await.1),
        ("PodDisruptionBudget", owned::<PodDisruptionBudget>(&world, "c").await.1),
    ] {
        assert_eq!(owners, std::slice::from_ref(&uid), "{name}");
    }
    // It is worked with as with any other.
    world.edit(json!({"replicas": 3})).await;
    world.settles_at(3).await;
    world.rests().await;
}
