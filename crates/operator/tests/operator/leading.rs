//! One operator works, and another one when that is gone.

use std::time::Duration;

use dynamo_control_plane::{ControlPlane, Controllers};
use dynamo_operator::leader::Leadership;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::timeout;

use crate::support::World;

const A_WHILE: Duration = Duration::from_secs(60);

/// A renewal is one request: what was written last names the version that the next one is written on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_renewed_by_one_write_and_read_only_when_somebody_else_wrote_to_it() {
    let plane = ControlPlane::start_with_reads_of(&["leader"], "renewing", Controllers::None).await;
    let Some(plane) = plane else { return };
    let client = plane.user("leader", Some("system:masters")).await;
    let leader = Leadership::new(client, "default", "dynamo-operator", "leader");
    timeout(A_WHILE, leader.win()).await.expect("nobody else wants it");
    let mark = plane.mark();
    let held = async |seconds| {
        tokio::select! {
            lost = leader.hold() => panic!("{lost}"),
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
        }
    };
    held(16).await;
    let (written, read) = (plane.writes_since(mark).of("leader"), plane.reads_since(mark).of("leader"));
    assert!(written.len() >= 3, "{written}");
    assert!(read.is_empty(), "{read}");

    // What somebody writes beside costs one look, and loses nothing.
    let leases = Api::<Lease>::namespaced(plane.admin(), "default");
    let beside = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    leases.patch("dynamo-operator", &PatchParams::default(), &beside).await.unwrap();
    held(10).await;
    let (written, read) = (plane.writes_since(mark).of("leader"), plane.reads_since(mark).of("leader"));
    assert_eq!((written.that(|write| write.code == Some(409)).len(), read.len()), (1, 1), "{written}{read}");
    assert_eq!(leases.get("dynamo-operator").await.unwrap().metadata.labels.unwrap()["a"], "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_operator_holds_the_lease_until_it_is_released_or_taken() {
    let Some(world) = World::start("leading").await else { return };
    let candidate = |name: &str| Leadership::new(world.plane.admin(), "default", "dynamo-operator", name);
    let (first, second) = (candidate("first"), candidate("second"));
    timeout(A_WHILE, first.win()).await.expect("nobody else wants it");

    // While it is held and renewed nobody else works.
    tokio::select! {
        lost = first.hold() => panic!("{lost}"),
        () = second.win() => panic!("two hold the Lease"),
        () = tokio::time::sleep(Duration::from_secs(20)) => {}
    }
    first.release().await;
    timeout(A_WHILE, second.win()).await.expect("it was released");

    // Whoever finds another name in it stops at once.
    let leases = Api::<Lease>::namespaced(world.plane.admin(), "default");
    let taken = Patch::Merge(json!({"spec": {"holderIdentity": "third"}}));
    leases.patch("dynamo-operator", &PatchParams::default(), &taken).await.unwrap();
    let lost = timeout(A_WHILE, second.hold()).await.expect("it holds what it does not have");
    assert!(lost.contains("somebody else"), "{lost}");

    // And one that is not renewed any more counts no longer.
    timeout(A_WHILE, first.win()).await.expect("nobody renews it");
}
