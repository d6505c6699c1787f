//! The time of a request is kept, whatever the nodes do. The clock stands still but for what the tests let pass.

use std::time::Duration;

use dynamo_client::{Client, Code};

use crate::support::{Clock, Cluster, Reply, get, normal, put, until};

/// Of a request, unless told otherwise; and more than passes at once in these tests.
const TIMEOUT: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(1);

/// A client that has a session with every node.
async fn connected(cluster: &Cluster) -> Client {
    let client = cluster.client().await;
    for node in 0..cluster.nodes.len() {
        get(&client, &cluster.key_of(node)).await.unwrap();
    }
    cluster.forget();
    client
}

#[tokio::test]
async fn a_read_that_nobody_answers_ends_when_its_time_is_up() {
    let cluster = Cluster::start(3).await;
    let client = connected(&cluster).await;
    cluster.all_do(|_| Reply::Never);
    let clock = Clock::stop();
    let (ended, took) = clock.pass(get(&client, "k")).await;
    let error = ended.unwrap_err();
    assert!(matches!(error.code, Code::Timeout | Code::CoordinatorLost), "{error}");
    assert!(error.message.starts_with("gave up after ") && error.message.contains("nothing was changed"), "{error}");
    assert!(took <= TIMEOUT + SLACK, "{took:?}");
    assert!(cluster.asked() >= 2, "one silent node must not hold a read for all of its time");
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test]
async fn a_read_leaves_a_silent_node_for_the_next() {
    let cluster = Cluster::start(3).await;
    let client = connected(&cluster).await;
    let walk = cluster.walk("k");
    walk[0].does(|_| Reply::Never);
    let clock = Clock::stop();
    let (found, took) = clock.pass(get(&client, "k")).await;
    assert_eq!(found.unwrap().values, ["k"]);
    assert!(took < TIMEOUT, "{took:?}");
    assert_eq!((walk[0].asked(), walk[1].asked()), (1, 1));
}

#[tokio::test]
async fn a_silent_node_holds_up_one_read_at_a_time_once_it_is_known_to_be_silent() {
    let cluster = Cluster::start(3).await;
    let client = connected(&cluster).await;
    let silent = cluster.walk("k")[0];
    silent.does(|_| Reply::Never);
    let clock = Clock::stop();
    clock.pass(get(&client, "k")).await.0.unwrap();
    tokio::time::advance(SLACK).await;
    silent.forget();
    let reads = futures_util::future::join_all((0..50).map(|_| get(&client, "k")));
    for found in clock.pass(reads).await.0 {
        found.unwrap();
    }
    assert!(silent.asked() <= 2, "{} of 50 reads waited for it", silent.asked());
}

#[tokio::test]
async fn a_write_waits_for_the_node_that_has_it_and_tells_that_it_may_have_happened() {
    let cluster = Cluster::start(3).await;
    let client = connected(&cluster).await;
    cluster.all_do(|_| Reply::Never);
    let clock = Clock::stop();
    let (ended, took) = clock.pass(put(&client, "k")).await;
    let error = ended.unwrap_err();
    assert!(error.may_have_happened() && error.message.contains("may or may not have happened"), "{error}");
    assert!(took <= TIMEOUT + SLACK, "{took:?}");
    assert_eq!((cluster.asked(), client.in_flight()), (1, 0));
}

#[tokio::test]
async fn a_write_that_is_answered_late_but_in_time_succeeds() {
    let cluster = Cluster::start(3).await;
    let client = connected(&cluster).await;
    cluster.all_do(|request| Reply::Late(Duration::from_secs(8), normal(request)));
    let clock = Clock::stop();
    clock.pass(put(&client, "k")).await.0.unwrap();
    assert_eq!(cluster.asked(), 1);
}

#[tokio::test]
async fn a_short_time_is_shared_among_nodes_too() {
    let cluster = Cluster::start(3).await;
    let mut config = cluster.config();
    config.timeout = Duration::from_secs(4);
    let client = Client::connect(config).await.unwrap();
    cluster.walk("k")[0].does(|_| Reply::Never);
    assert_eq!(get(&client, "k").await.unwrap().values, ["k"]);
}

#[tokio::test]
async fn no_time_at_all_is_an_error_and_no_limit_is_none() {
    let cluster = Cluster::start(1).await;
    let mut config = cluster.config();
    config.timeout = Duration::ZERO;
    let client = Client::connect(config.clone()).await.unwrap();
    cluster.all_do(|_| Reply::Never);
    assert!(get(&client, "k").await.is_err() && put(&client, "k").await.is_err() && client.status().await.is_err());

    config.timeout = Duration::MAX;
    let client = Client::connect(config).await.unwrap();
    cluster.all_do(|request| Reply::Say(normal(request)));
    get(&client, "k").await.unwrap();
    put(&client, "k").await.unwrap();
    client.status().await.unwrap();
}

#[tokio::test]
async fn what_is_asked_of_any_node_has_its_time_for_all_of_them() {
    let cluster = Cluster::start(5).await;
    let mut config = cluster.config();
    config.timeout = Duration::from_millis(500);
    let client = Client::connect(config).await.unwrap();
    // Connections are accepted by the kernel, and nobody answers.
    let mut silent = Vec::new();
    for node in &cluster.nodes {
        node.die().await;
        silent.push(tokio::net::TcpListener::bind(&node.address).await.unwrap());
    }
    let began = std::time::Instant::now();
    let error = client.status().await.unwrap_err();
    assert!(matches!(error.code, Code::Timeout | Code::Unreachable), "{error}");
    let error = client.describe_ring().await.unwrap_err();
    assert_eq!(error.code, Code::Unreachable, "{error}");
    let error = put(&client, "k").await.unwrap_err();
    assert_eq!((error.code, error.may_have_happened()), (Code::Unreachable, false), "{error}");
    assert!(began.elapsed() < Duration::from_secs(15));
    until("nothing waits", || client.in_flight() == 0).await;
}
