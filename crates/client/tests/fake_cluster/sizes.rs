//! Small, large and too large.

use std::time::Duration;

use bytes::Bytes;
use dynamo_client::{Client, Code, Error, Put, Written};
use dynamo_wire::v1::{ErrorCode, GetResponse, session_request::Request, session_response::Response};
use tokio::task::JoinSet;

use crate::support::{Cluster, Reply, bytes, fail, get, normal, put};

async fn put_value(client: &Client, key: &str, bytes: usize) -> Result<Written, Error> {
    client.put(Put::new("default", key.to_owned(), Bytes::from(vec![b'v'; bytes]))).await
}

#[tokio::test]
async fn values_of_any_size_up_to_the_node_s_limit_arrive_as_they_are() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let sizes = [0, 1, 1000, 65_000, 65_400, 65_500, 65_536, 65_537, 1 << 20, (16 << 20) - 100];
    for size in sizes {
        put_value(&client, "k", size).await.unwrap_or_else(|error| panic!("{size}: {error}"));
    }
    let arrived: Vec<usize> = cluster.nodes[0]
        .state
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|(request, _)| if let Request::Put(put) = request { put.value.len() } else { 0 })
        .collect();
    assert_eq!(arrived, sizes);
    assert_eq!(cluster.nodes[0].sessions(), 1);
}

#[tokio::test]
async fn a_value_over_the_message_limit_is_refused_alone_and_the_session_goes_on() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let node = &cluster.nodes[0];
    get(&client, "k").await.unwrap();
    node.does(|request| Reply::Late(Duration::from_millis(300), normal(request)));
    let mut asking = JoinSet::new();
    for number in 0..100 {
        let client = client.clone();
        asking.spawn(async move { put(&client, &format!("key-{number}")).await.map(drop) });
    }
    for size in [16 << 20, 40 << 20, 70 << 20] {
        let error = put_value(&client, "big", size).await.unwrap_err();
        assert_eq!((error.code, error.may_have_happened()), (Code::InvalidArgument, false), "{size}: {error}");
        assert!(error.message.contains("nothing was read or written") && error.message.contains("16777216"), "{error}");
    }
    for ended in asking.join_all().await {
        ended.unwrap();
    }
    assert_eq!((node.sessions(), node.asked()), (1, 101));
}

#[tokio::test]
async fn what_no_node_takes_is_not_even_sent() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let error = put_value(&client, "big", 100 << 20).await.unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
    assert!(error.message.contains("64 MiB") && error.message.contains("nothing was read or written"), "{error}");
    assert_eq!(cluster.asked(), 0);
}

#[tokio::test]
async fn requests_that_travel_together_stay_under_the_smallest_limit_that_a_node_can_have() {
    let mut cluster = Cluster::start(1).await;
    // limits.message_bytes is at least 64 KiB more than the largest value.
    cluster.nodes[0].limit_messages((64 << 10) + 1).await;
    let client = cluster.client().await;
    let mut asking = JoinSet::new();
    for number in 0..600 {
        let client = client.clone();
        let size = [1, 100, 1000, 20_000, 40_000, 60_000][number % 6];
        asking.spawn(async move { put_value(&client, &format!("key-{number}"), size).await });
    }
    for ended in asking.join_all().await {
        ended.unwrap();
    }
    assert_eq!((cluster.nodes[0].sessions(), cluster.nodes[0].asked_alone()), (1, 0));
}

#[tokio::test]
async fn long_keys_and_contexts_count_as_much_as_values() {
    let mut cluster = Cluster::start(1).await;
    cluster.nodes[0].limit_messages((64 << 10) + 1).await;
    let client = cluster.client().await;
    let mut asking = JoinSet::new();
    for number in 0..100 {
        let client = client.clone();
        asking.spawn(async move {
            let key = format!("{number:032000}");
            assert_eq!(client.get("default", key.clone(), None).await.unwrap().values, [key.as_bytes()]);
            let context = Bytes::from(vec![b'c'; 30_000]);
            client.put(Put { context, ..Put::new("default", key, "v") }).await.unwrap();
        });
    }
    while let Some(ended) = asking.join_next().await {
        ended.unwrap();
    }
    assert_eq!(cluster.nodes[0].sessions(), 1);
}

#[tokio::test]
async fn many_large_siblings_come_back_in_one_answer() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let values: Vec<Bytes> = (0..20u8).map(|sibling| Bytes::from(vec![sibling; 1 << 20])).collect();
    cluster.nodes[0].says(Response::Get(GetResponse { values: values.clone(), context: bytes("all") }));
    let found = get(&client, "k").await.unwrap();
    assert!(found.values == values && found.context == "all");
}

#[tokio::test]
async fn a_large_write_goes_elsewhere_only_if_nobody_has_begun_it() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.walk("k")[0].says(fail(ErrorCode::NotReady));
    put_value(&client, "k", 1 << 20).await.unwrap();
    assert_eq!((cluster.walk("k")[0].asked_alone(), cluster.walk("k")[1].asked_alone()), (1, 1));
    cluster.forget();

    for lost in [Reply::Cut, Reply::HangUp, Reply::Babble, Reply::Say(fail(ErrorCode::CoordinatorLost))] {
        let cluster = Cluster::start(3).await;
        let client = cluster.client().await;
        cluster.all_do(move |_| lost.clone());
        let error = put_value(&client, "k", 1 << 20).await.unwrap_err();
        assert_eq!((error.code, cluster.asked()), (Code::CoordinatorLost, 1), "{error}");
    }
}
