//! Status and events, as the API server gets them.

use dynamo_crd::{
    DynamoCluster, DynamoClusterStatus,
    status::{PlanStatus, PlannedStep, StepState},
};
use dynamo_operator::{
    events::{Recorder, Told},
    status,
};
use k8s_openapi::api::events::v1::Event;
use kube::Api;

use crate::stage::Stage;

#[tokio::test]
async fn a_status_is_written_when_it_changes_and_an_event_that_comes_again_counts_up() {
    let Some(stage) = Stage::set("status and events").await else { return };
    let clusters: Api<DynamoCluster> = stage.api();
    let read = async || clusters.get("shop").await.unwrap();
    let step = PlannedStep { what: "restart nodes".to_owned(), state: StepState::UnderWay, waits_for: vec![] };
    let wanted = DynamoClusterStatus {
        summary: "settled".to_owned(),
        cluster_name: Some("c".to_owned()),
        version: Some("0.1.0".to_owned()),
        plan: Some(PlanStatus { steps: vec![step] }),
        ..DynamoClusterStatus::default()
    };
    assert!(status::patch(&stage.client, &read().await, &wanted).await.unwrap());
    let mark = stage.plane.mark();
    let written = read().await;
    assert_eq!(written.status.as_ref(), Some(&wanted), "what is read back is what was written");
    assert!(!status::patch(&stage.client, &written, &wanted).await.unwrap());
    assert!(stage.plane.writes_since(mark).is_empty());
    // What is not said any more goes away.
    let less = DynamoClusterStatus { version: None, plan: None, ..wanted };
    assert!(status::patch(&stage.client, &written, &less).await.unwrap());
    assert_eq!(read().await.status, Some(less));

    let recorder = Recorder::new(stage.client.clone(), "operator-0");
    let told = |note: &str| Told { warning: true, reason: "NodeDown".to_owned(), note: note.to_owned() };
    for note in ["shop-a-0", "shop-a-0", "shop-a-0", "shop-b-0"] {
        recorder.send(&written, [told(note)]).await;
    }
    let events: Api<Event> = stage.api();
    let mut found: Vec<_> = events
        .list(&Default::default())
        .await
        .unwrap()
        .into_iter()
        .map(|event| (event.note.unwrap(), event.series.map(|series| series.count), event.type_.unwrap()))
        .collect();
    found.sort();
    let warning = "Warning".to_owned();
    assert_eq!(found, [("shop-a-0".to_owned(), Some(3), warning.clone()), ("shop-b-0".to_owned(), None, warning)]);
}
