//! Two resources whose objects would have the same names: the older has them, and the younger waits until it goes.

use dynamo_crd::{DynamoCluster, status::ConditionKind};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::support::{
    World,
    kubelet::Kubelet,
    patient,
    plane::{self, Id, SPEED, machines},
    stub::Cluster,
};

const YOUNGER: &str = "c-a";

async fn labelled<K>(world: &World) -> Vec<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let its = ListParams::default().labels(&format!("dynamo-k8s.io/cluster={YOUNGER}"));
    world.api::<K>().list(&its).await.unwrap().items
}

/// All that there is of the younger one.
async fn made(world: &World) -> Vec<String> {
    async fn named<K>(world: &World) -> Vec<String>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        labelled::<K>(world).await.iter().map(|object| format!("{} {}", K::kind(&()), object.name_any())).collect()
    }
    let mut found = named::<StatefulSet>(world).await;
    found.extend(named::<ConfigMap>(world).await);
    found.extend(named::<Secret>(world).await);
    found.extend(named::<Service>(world).await);
    found.extend(named::<ServiceAccount>(world).await);
    found.extend(named::<NetworkPolicy>(world).await);
    found.extend(named::<PodDisruptionBudget>(world).await);
    found.extend(named::<PersistentVolumeClaim>(world).await);
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_clusters_that_want_one_name_the_younger_waits_until_the_older_goes() {
    let Some(world) = World::start("two want one name").await else { return };
    machines(&world.plane.admin(), "a-b").await;
    let younger = Cluster::new(Id::new("shop", YOUNGER), (2, world.cluster.port), 3, SPEED);
    let _kubelet = Kubelet::start(world.plane.admin(), vec![younger.clone()]);
    let _operator = world.operator().await;
    let reclaim = json!({"size": "1Gi", "storageClassName": "static", "reclaim": {"onDelete": "Delete"}});
    let zones = json!([{"name": "a"}, {"name": "c"}, {"name": "a-b"}]);
    world.create(3, json!({"zones": zones, "storage": reclaim})).await;
    world.settles_at(3).await;

    // `c-a-b` is the zone `a-b` of `c`, and the zone `b` of `c-a`.
    let resource = plane::resource(YOUNGER, 3, &json!({"zones": [{"name": "b"}]}));
    world.api().create(&PostParams::default(), &resource).await.unwrap();
    let read = async || world.api::<DynamoCluster>().get(YOUNGER).await.unwrap();
    let degraded = async || {
        let status = read().await.status?;
        let condition = status.condition(ConditionKind::Degraded)?;
        Some((condition.status == "True", condition.reason.clone(), condition.message.clone()))
    };
    let mut told = String::new();
    patient("the younger is told", async || {
        let Some((true, reason, message)) = degraded().await else { return false };
        told = message;
        reason == "NameIsTaken"
    })
    .await;
    assert!(told.contains("the StatefulSet c-a-b is that of the DynamoCluster c, too"), "{told}");

    // The older goes on as if it were alone.
    world.edit(json!({"replicas": 4})).await;
    world.settles_at(4).await;
    assert_eq!(made(&world).await, Vec::<String>::new(), "of the younger nothing is made");
    let condition = world.condition(ConditionKind::Degraded).await;
    assert!(condition.is_some_and(|(holds, ..)| !holds), "the older is not disturbed");

    world.api::<DynamoCluster>().delete("c", &DeleteParams::default()).await.unwrap();
    patient("the younger has its nodes", async || {
        let (pods, claims) = (labelled::<Pod>(&world).await, labelled::<PersistentVolumeClaim>(&world).await);
        plane::what_is_not(&younger, 3, (&pods, claims.len()), &Default::default(), &read().await).is_none()
    })
    .await;
    let set: StatefulSet = world.api().get("c-a-b").await.unwrap();
    assert_eq!(set.owner_references()[0].uid, read().await.uid().unwrap());
    assert!(degraded().await.is_some_and(|(holds, ..)| !holds), "it is no longer told");
}
