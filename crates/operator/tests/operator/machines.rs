//! Machines: a zone that has none, and one that a person says is off.

use dynamo_crd::{DynamoCluster, status::ConditionKind};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{World, patient, plane::machines};

fn status_of(resource: &DynamoCluster) -> String {
    format!("{:?}", resource.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_without_a_machine_is_told_until_there_is_one_and_then_has_its_node() {
    let Some(world) = World::start("a zone without a machine").await else { return };
    let _operator = world.operator().await;
    world.create(3, json!({"zones": [{"name": "a"}, {"name": "b"}, {"name": "d"}]})).await;
    let mut told = String::new();
    patient("it is told", async || {
        let condition = world.condition(ConditionKind::Degraded).await;
        let Some((true, reason, message)) = condition else { return false };
        told = message;
        reason == "NoHostIn"
    })
    .await;
    assert!(told.starts_with("zone d has no machine: label one"), "{told}");
    // The others do not wait for it.
    patient("the ring is available without it", async || {
        let condition = world.condition(ConditionKind::Available).await;
        condition.is_some_and(|(holds, ..)| holds)
    })
    .await;
    let ready: Vec<String> = world
        .pods()
        .await
        .iter()
        .filter(|pod| dynamo_operator::observe::is_ready(pod))
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(ready, ["c-a-0", "c-b-0"]);

    machines(&world.plane.admin(), "d").await;
    world.settles_at(3).await;
    patient("it is no longer told, nor anything else", async || {
        let condition = world.condition(ConditionKind::Degraded).await;
        let status = status_of(&world.resource().await);
        condition.is_some_and(|(holds, ..)| !holds) && !status.contains("has no machine")
    })
    .await;
}

/// What `kubectl taint` writes.
async fn taint(world: &World, machine: &str, taints: Value) {
    let machines = Api::<Node>::all(world.plane.admin());
    machines.patch(machine, &PatchParams::default(), &Patch::Merge(json!({"spec": {"taints": taints}}))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_on_a_machine_that_a_person_says_is_off_is_given_up_and_no_other() {
    let Some(world) = World::start("out of service").await else { return };
    let _operator = world.operator().await;
    world.create(3, json!({"replaceAfterSeconds": 60})).await;
    world.settles_at(3).await;
    let claims = async || -> Vec<_> { world.claims().await.iter().map(ResourceExt::uid).collect() };
    let before = claims().await;

    // One that nobody can reach, or that is being drained, may come back.
    let unreachable = json!([
        {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
    ]);
    taint(&world, "b0", unreachable).await;
    let off = json!([{"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}]);
    taint(&world, "a0", off).await;
    patient("it is told that its disk will be given up", async || {
        let told = status_of(&world.resource().await);
        told.contains("c-a-0 is on machine a0, which is gone") && !told.contains("machine b0")
    })
    .await;
    patient("there is another disk", async || {
        let now = claims().await;
        now.len() == 3 && now[0] != before[0]
    })
    .await;
    world.settles_at(3).await;
    assert_eq!(claims().await[1..], before[1..], "no other disk was given up");
    let pods = world.pods().await;
    assert_eq!(pods[0].spec.as_ref().unwrap().node_name.as_deref(), Some("a1"));
}
