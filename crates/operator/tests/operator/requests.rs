//! What the operator asks the API server for, by that one's own log.

use dynamo_control_plane::Writes;
use serde_json::json;

use crate::support::{OPERATOR, World};

fn gets(reads: &Writes, resource: &str) -> Writes {
    reads.of(OPERATOR).that(|read| read.verb == "get" && read.resource == resource)
}

/// Keys are watched as all else is: they are asked for by name only where something is to be written by them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_watched_is_not_asked_for_at_each_look() {
    let Some(world) = World::start("requests").await else { return };
    let _operator = world.operator().await;
    world.create(3, json!({})).await;
    world.settles_at(3).await;
    world.rests().await;
    let mark = world.plane.mark();
    world.edit(json!({"replicas": 6})).await;
    world.settles_at(6).await;
    let reads = world.plane.reads_since(mark);
    assert!(gets(&reads, "secrets").is_empty(), "{}", gets(&reads, "secrets"));
    // The turn is read from the API server itself before each thing that is done in it.
    assert!(!gets(&reads, "configmaps").is_empty(), "reads are not logged: nothing is proven\n{reads}");
}
