//! What is asked of any node.

use dynamo_client::{Code, Routing};
use dynamo_wire::{
    CODE_METADATA,
    v1::{Bucket, ErrorCode},
};
use tonic::Status;

use crate::support::Cluster;

fn refusal(code: ErrorCode) -> Option<Status> {
    let mut status = Status::unavailable("the fake node refuses");
    status.metadata_mut().insert(CODE_METADATA, code.as_str_name().parse().unwrap());
    Some(status)
}

#[tokio::test]
async fn the_next_node_is_asked_when_one_is_down_or_not_ready() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    assert_eq!(client.status().await.unwrap().asked, "node-1");
    cluster.nodes[0].die().await;
    *cluster.nodes[1].state.admin.lock().unwrap() = refusal(ErrorCode::NotReady);
    assert_eq!(client.status().await.unwrap().asked, "node-3");
    assert_eq!(client.list_buckets().await.unwrap()[0].name, "node-3");
    assert_eq!(client.describe_bucket("carts").await.unwrap().name, "carts");
    let (bucket, created) =
        client.create_bucket(Bucket { name: "carts".to_owned(), ..Bucket::default() }).await.unwrap();
    assert_eq!((bucket.name.as_str(), created), ("carts", true));
}

#[tokio::test]
async fn nodes_that_are_no_endpoints_are_asked_too_unless_the_server_is_to_choose() {
    let cluster = Cluster::start(2).await;
    let mut config = cluster.config();
    config.endpoints.truncate(1);
    let client = dynamo_client::Client::connect(config.clone()).await.unwrap();
    config.routing = Routing::Server;
    let server_routed = dynamo_client::Client::connect(config).await.unwrap();
    cluster.nodes[0].die().await;
    assert_eq!(client.status().await.unwrap().asked, "node-2");
    assert_eq!(server_routed.status().await.unwrap_err().code, Code::Unreachable);
}

#[tokio::test]
async fn a_refusal_that_all_would_give_is_told_at_once() {
    let cluster = Cluster::start(2).await;
    let client = cluster.client().await;
    *cluster.nodes[0].state.admin.lock().unwrap() = refusal(ErrorCode::BucketConflict);
    let error = client.create_bucket(Bucket::default()).await.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (Code::BucketConflict, "the fake node refuses"));
}

#[tokio::test]
async fn a_node_that_is_lost_before_it_answers_leaves_it_open_whether_a_change_was_made() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    *cluster.nodes[0].state.admin.lock().unwrap() = Some(Status::unknown("lost"));
    let error = client.create_bucket(Bucket::default()).await.unwrap_err();
    assert!(error.may_have_happened() && error.message.contains("may or may not have been made"), "{error}");
}
