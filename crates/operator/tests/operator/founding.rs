//! A cluster comes to be, and then nothing is written any more.

use std::{sync::Arc, time::Duration};

use kube::ResourceExt;
use serde_json::json;

use crate::support::{OPERATOR, SECOND, World, faults::Faults};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_founded_once_and_a_settled_one_is_not_written_to() {
    let Some(world) = World::start("founding").await else { return };
    let _operator = world.operator().await;
    let resource = world.create(5, json!({})).await;
    world.settles_at(5).await;

    let sizes: Vec<_> =
        world.sets().await.iter().map(|set| (set.name_any(), set.spec.as_ref().unwrap().replicas.unwrap())).collect();
    assert_eq!(sizes, [("c-a".into(), 2), ("c-b".into(), 2), ("c-c".into(), 1)]);
    let founders = world.config_map("c-founders").await.unwrap();
    let zones = founders.data.clone().unwrap();
    assert_eq!(zones, [("a", "2"), ("b", "2"), ("c", "1")].map(|(zone, count)| (zone.into(), count.into())).into());
    let uid = resource.uid().unwrap();
    let name = format!("shop/c/{}", &uid[..8]);
    assert_eq!(founders.annotations()["dynamo-k8s.io/cluster-name"], name);
    assert_eq!(world.cluster.changes(), 0, "founders join nothing");

    // What is told when all are there (hints are delivered, pods may be evicted) is told first. Then two minutes of its own
    // clock at least, in which it looks at everything.
    world.rests().await;
    let mark = world.plane.mark();
    tokio::time::sleep(Duration::from_secs(16)).await;
    let written = world.plane.writes_since(mark).of(OPERATOR);
    assert!(written.is_empty(), "a settled cluster was written to:\n{written}");

    // Founders are what they were, whatever the spec says by now.
    world.edit(json!({"replicas": 3})).await;
    world.settles_at(3).await;
    assert_eq!(world.config_map("c-founders").await.unwrap().data.unwrap(), zones);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zones_are_found_once_and_recorded() {
    let Some(world) = World::start("zones").await else { return };
    let _operator = world.operator().await;
    world.create(3, json!({"zones": []})).await;
    world.settles_at(3).await;
    let zones: Vec<_> = world
        .resource()
        .await
        .status
        .unwrap()
        .zones
        .into_iter()
        .map(|zone| (zone.name, zone.node_label_value))
        .collect();
    assert_eq!(zones, ["a", "b", "c"].map(|zone| (zone.to_owned(), zone.to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_that_work_at_once_do_no_harm() {
    let Some(world) = World::start("two operators").await else { return };
    let faults = Arc::new(Faults::default());
    let second = world.client(SECOND, None, &faults).await;
    let _operators = (world.operator().await, world.operate(second));
    world.create(3, json!({})).await;
    world.settles_at(3).await;
    world.edit(json!({"replicas": 6})).await;
    world.settles_at(6).await;
    world.edit(json!({"replicas": 4})).await;
    world.settles_at(4).await;
    assert_eq!(world.cluster.changes(), 2, "no change of the ring was made twice");
    world.rests().await;
}
