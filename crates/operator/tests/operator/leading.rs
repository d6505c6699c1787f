//! One operator works, and another one when that is gone.

use std::time::Duration;

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
