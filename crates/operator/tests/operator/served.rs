//! What may or may not be served or allowed where an operator is installed: volumes that grow, ServiceMonitors, a scaler.

use dynamo_crd::status::ConditionKind;
use k8s_openapi::{
    api::{
        autoscaling::v2::HorizontalPodAutoscaler, core::v1::PersistentVolumeClaim, core::v1::Pod,
        storage::v1::StorageClass,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::support::{OPERATOR, World, patient, plane::from};

fn size(claim: &PersistentVolumeClaim) -> String {
    claim.spec.as_ref().unwrap().resources.as_ref().unwrap().requests.as_ref().unwrap()["storage"].0.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_of_a_class_that_does_not_let_them_grow_stay_as_they_are_until_it_does() {
    let Some(world) = World::start("a rigid class").await else { return };
    let classes = Api::<StorageClass>::all(world.plane.admin());
    let rigid: StorageClass = from(json!({"metadata": {"name": "rigid"}, "provisioner": "test/none"}));
    classes.create(&PostParams::default(), &rigid).await.unwrap();
    let _operator = world.operator().await;
    world.create(3, json!({"storage": {"size": "1Gi", "storageClassName": "rigid"}})).await;
    world.settles_at(3).await;
    world.rests().await;
    let mark = world.plane.mark();
    world.edit(json!({"storage": {"size": "2Gi"}})).await;
    let mut told = String::new();
    patient("it is told", async || {
        let condition = world.condition(ConditionKind::Degraded).await;
        let Some((true, reason, message)) = condition else { return false };
        told = message;
        reason == "VolumesCannotGrow"
    })
    .await;
    assert!(told.contains("allowVolumeExpansion"), "{told}");
    // The API server would refuse it: it is not asked.
    let asked = world.plane.writes_since(mark).of(OPERATOR).that(|write| write.resource == "persistentvolumeclaims");
    assert!(asked.is_empty(), "{asked}");
    assert!(world.claims().await.iter().all(|claim| size(claim) == "1Gi"));

    let allow = Patch::Merge(json!({"allowVolumeExpansion": true}));
    classes.patch("rigid", &PatchParams::default(), &allow).await.unwrap();
    patient("they grow", async || {
        world.claims().await.iter().all(|claim| ["2Gi", "2147483648"].contains(&size(claim).as_str()))
    })
    .await;
    world.settles_at(3).await;
    let condition = world.condition(ConditionKind::Degraded).await;
    assert!(condition.is_some_and(|(holds, ..)| !holds), "it is no longer told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_monitor_is_made_where_that_kind_is_served() {
    let Some(world) = World::start("service monitors").await else { return };
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("monitoring.coreos.com", "v1", "ServiceMonitor"));
    let monitors: Api<DynamicObject> = Api::namespaced_with(world.plane.admin(), "shop", &kind);
    {
        let _operator = world.operator().await;
        world.create(3, json!({"serviceMonitor": true})).await;
        world.settles_at(3).await;
    }
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition: CustomResourceDefinition = from(json!({
        "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "names": {"kind": "ServiceMonitor", "plural": "servicemonitors"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    }));
    Api::<CustomResourceDefinition>::all(world.plane.admin())
        .create(&PostParams::default(), &definition)
        .await
        .unwrap();
    patient("the kind is served", async || monitors.list(&ListParams::default()).await.is_ok()).await;
    let _operator = world.operator().await;
    patient("it is made", async || monitors.get_opt("c").await.unwrap().is_some()).await;
    let monitor = monitors.get("c").await.unwrap();
    assert_eq!(monitor.labels()["dynamo-k8s.io/cluster"], "c");
    assert!(monitor.data["spec"]["endpoints"].as_array().is_some_and(|ports| !ports.is_empty()), "{monitor:?}");
    // Once.
    world.rests().await;
    world.edit(json!({"serviceMonitor": false})).await;
    patient("it goes where it is not wanted any more", async || monitors.get_opt("c").await.unwrap().is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scaler_finds_the_pods_by_the_selector_and_scales_the_resource() {
    let Some(world) = World::start("a scaler").await else { return };
    let _operator = world.operator().await;
    world.create(3, json!({})).await;
    world.settles_at(3).await;
    let status = world.resource().await.status.unwrap();
    let stranger: Pod = from(json!({"metadata": {"name": "stranger", "labels": {"app.kubernetes.io/name": "dynamo"}},
        "spec": {"containers": [{"name": "one", "image": "one"}]}}));
    world.api().create(&PostParams::default(), &stranger).await.unwrap();
    let selected = ListParams::default().labels(&status.selector);
    let mut selected: Vec<String> =
        world.api::<Pod>().list(&selected).await.unwrap().iter().map(ResourceExt::name_any).collect();
    selected.sort();
    assert_eq!(selected, ["c-a-0", "c-b-0", "c-c-0"], "by {}", status.selector);
    assert_eq!(status.replicas, 3);

    // A real one, which has no figures to go by and keeps to its bounds.
    let scaler: HorizontalPodAutoscaler = from(json!({"metadata": {"name": "c"}, "spec": {
        "scaleTargetRef": {"apiVersion": "dynamo-k8s.io/v1alpha1", "kind": "DynamoCluster", "name": "c"},
        "minReplicas": 4, "maxReplicas": 6,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 50}}}],
    }}));
    let scalers = world.api::<HorizontalPodAutoscaler>();
    scalers.create(&PostParams::default(), &scaler).await.unwrap();
    world.settles_at(4).await;
    assert_eq!(world.resource().await.spec.replicas, 4);
    let mut told = String::new();
    patient("it looks for figures of the pods that are selected", async || {
        let status = scalers.get("c").await.unwrap().status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        told = format!("{conditions:?}");
        status.current_replicas == Some(4)
            && conditions
                .iter()
                .any(|one| one.type_ == "ScalingActive" && one.reason.as_deref() == Some("FailedGetResourceMetric"))
    })
    .await;
    assert!(!told.contains("InvalidSelector"), "{told}");
}
