//! The time of a request is kept, whatever the nodes do. The clock stands still but for what the tests let pass.

use std::time::Duration;

use dynamo_client::{Client, Code, Config};
use dynamo_wire::v1::ErrorCode;
use tokio::net::TcpListener;

use crate::support::{Clock, Cluster, Node, Reply, fail, get, normal, put};

/// Of a request, unless told otherwise; and more than passes at once in these tests.
const TIMEOUT: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(1);

/// A client that has a session with every node.
async fn connected(cluster: &Cluster) -> Client {
    connected_with(cluster, cluster.default_config()).await
}

async fn connected_with(cluster: &Cluster, config: Config) -> Client {
    let client = Client::connect(config).await.unwrap();
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
async fn who_is_refused_by_all_hears_why_when_time_is_up_and_was_not_a_nuisance() {
    let cluster = Cluster::start(3).await;
    let client = connected(&cluster).await;
    cluster.all_do(|_| Reply::Say(fail(ErrorCode::Overloaded)));
    let clock = Clock::stop();
    let (ended, took) = clock.pass(put(&client, "k")).await;
    let error = ended.unwrap_err();
    // On a machine that does nothing for a while the last try may still have been under way.
    if error.code != Code::Timeout {
        assert_eq!((error.code, error.may_have_happened()), (Code::Overloaded, false));
        assert!(error.message.starts_with("gave up after "), "{error}");
    }
    assert!(took <= TIMEOUT + SLACK, "{took:?}");
    assert!((2..200).contains(&cluster.asked()), "{} tries", cluster.asked());
}

#[tokio::test]
async fn a_short_time_is_shared_among_nodes_too() {
    let cluster = Cluster::start(3).await;
    let mut config = cluster.default_config();
    config.timeout = Duration::from_secs(4);
    let client = connected_with(&cluster, config).await;
    cluster.walk("k")[0].does(|_| Reply::Never);
    let clock = Clock::stop();
    assert_eq!(clock.pass(get(&client, "k")).await.0.unwrap().values, ["k"]);
}

#[tokio::test]
async fn no_time_at_all_is_an_error_and_all_the_time_in_the_world_is_no_limit() {
    let cluster = Cluster::start(1).await;
    let mut config = cluster.default_config();
    config.timeout = Duration::ZERO;
    let client = Client::connect(config.clone()).await.unwrap();
    cluster.all_do(|_| Reply::Never);
    assert!(get(&client, "k").await.is_err() && put(&client, "k").await.is_err());

    config.timeout = Duration::MAX;
    let client = Client::connect(config).await.unwrap();
    cluster.all_do(|request| Reply::Say(normal(request)));
    get(&client, "k").await.unwrap();
    put(&client, "k").await.unwrap();
    client.status().await.unwrap();
}

/// In place of these nodes: connections are accepted by the kernel, and nobody answers.
async fn fall_silent<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Vec<TcpListener> {
    let mut silent = Vec::new();
    for node in nodes {
        silent.push(node.fall_silent().await);
    }
    silent
}

#[tokio::test]
async fn what_is_asked_of_any_node_has_its_time_for_all_of_them() {
    let cluster = Cluster::start(8).await;
    let client = Client::connect(cluster.default_config()).await.unwrap();
    let _silent = fall_silent(&cluster.nodes).await;
    let clock = Clock::stop();
    let (ended, took) = clock.pass(client.status()).await;
    assert!(matches!(ended.unwrap_err().code, Code::Timeout | Code::Unreachable));
    assert!(took <= TIMEOUT + SLACK, "{took:?}");
    let (ended, took) = clock.pass(client.describe_ring()).await;
    assert_eq!(ended.unwrap_err().code, Code::Unreachable);
    assert!(took <= TIMEOUT + SLACK, "{took:?}");
}

#[tokio::test]
async fn a_write_that_found_no_connection_in_its_time_has_not_happened() {
    let cluster = Cluster::start(8).await;
    let client = Client::connect(cluster.default_config()).await.unwrap();
    let _silent = fall_silent(&cluster.nodes).await;
    let clock = Clock::stop();
    let (ended, took) = clock.pass(put(&client, "k")).await;
    let error = ended.unwrap_err();
    assert_eq!((error.code, error.may_have_happened()), (Code::Unreachable, false), "{error}");
    assert!(took <= TIMEOUT + SLACK, "{took:?}");
}

#[tokio::test]
async fn a_node_that_does_not_open_a_session_takes_no_longer_than_a_connection_may() {
    let cluster = Cluster::start(3).await;
    let client = Client::connect(cluster.default_config()).await.unwrap();
    let walk = cluster.walk("k");
    let last = cluster.nodes.iter().position(|node| node.name == walk[2].name).unwrap();
    get(&client, &cluster.key_of(last)).await.unwrap();
    let _silent = fall_silent(walk[..2].iter().copied()).await;
    let clock = Clock::stop();
    let (ended, took) = clock.pass(put(&client, "k")).await;
    ended.unwrap();
    assert!(took <= 2 * cluster.default_config().connect_timeout + SLACK, "{took:?}");
}

#[tokio::test]
async fn an_endpoint_that_never_answers_takes_no_longer_than_a_connection_may() {
    let cluster = Cluster::start(1).await;
    let _silent = fall_silent(&cluster.nodes).await;
    let config = cluster.default_config();
    let connect_timeout = config.connect_timeout;
    let clock = Clock::stop();
    let (ended, took) = clock.pass(Client::connect(config)).await;
    assert_eq!(ended.map(|_| ()).unwrap_err().code, Code::Unreachable);
    assert!(took <= connect_timeout + SLACK, "{took:?}");
}
