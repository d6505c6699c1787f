//! One stream for many requests: answers find their callers, and nothing is left behind.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use dynamo_client::{Client, Routing};
use dynamo_wire::v1::ErrorCode;
use tokio::task::JoinSet;

use crate::support::{Cluster, Reply, asked_until, fail, get, normal, put, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_at_once_on_one_session_all_get_their_own_answer() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    // The later the key in the alphabet of its last digit, the sooner its answer: they come in another order.
    cluster.nodes[0].does(|request| {
        let answer = normal(request);
        let last = crate::support::key(request).last().copied().unwrap_or_default();
        Reply::Late(Duration::from_millis(u64::from(b'9'.saturating_sub(last)) * 3), answer)
    });
    let mut asking = JoinSet::new();
    for number in 0..1000 {
        let client = client.clone();
        asking.spawn(async move {
            let key = format!("key-{number}");
            if number % 2 == 0 {
                let found = get(&client, &key).await.unwrap();
                assert_eq!(found.values, [key.as_bytes()]);
                assert_eq!(found.context, format!("context of {key}"));
            } else {
                assert_eq!(put(&client, &key).await.unwrap().context, format!("context of {key}"));
            }
        });
    }
    while let Some(ended) = asking.join_next().await {
        ended.unwrap();
    }
    let node = &cluster.nodes[0];
    assert_eq!((node.asked(), node.sessions(), client.in_flight()), (1000, 1, 0));
    assert_eq!(node.keys().into_iter().collect::<BTreeSet<_>>().len(), 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_that_find_no_connection_make_one_attempt_and_hear_of_its_failure() {
    let cluster = Cluster::start(2).await;
    let client = cluster.client().await;
    let accepted = |node: usize| cluster.nodes[node].state.accepted.load(Ordering::Relaxed);
    let key = cluster.key_of(0);
    *cluster.nodes[0].state.no_session.lock().unwrap() = Some(tonic::Status::unavailable("starting"));
    let before = (accepted(0), accepted(1));
    let mut asking = JoinSet::new();
    for _ in 0..1000 {
        let (client, key) = (client.clone(), key.clone());
        asking.spawn(async move { put(&client, &key).await.unwrap() });
    }
    asking.join_all().await;
    assert_eq!(cluster.nodes[1].asked(), 1000);
    assert_eq!(cluster.nodes[1].sessions(), 1);
    // Not one for each: the first, a few that probe it later, and those that look for the ring.
    let made = (accepted(0) - before.0, accepted(1) - before.1);
    assert!(made.0 < 20 && made.1 < 20, "{made:?}");
}

#[tokio::test]
async fn answers_to_nobody_and_second_answers_are_ignored() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let node = &cluster.nodes[0];
    node.does(|request| Reply::Astray(normal(request)));
    assert_eq!(get(&client, "a").await.unwrap().values, ["a"]);
    node.does(|request| Reply::Twice(normal(request)));
    for key in ["b", "c", "d"] {
        assert_eq!(get(&client, key).await.unwrap().values, [key]);
        put(&client, key).await.unwrap();
    }
    assert_eq!((node.sessions(), client.in_flight()), (1, 0));
}

#[tokio::test]
async fn a_caller_that_drops_its_future_leaves_nothing_behind_and_its_late_answer_reaches_nobody() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let node = &cluster.nodes[0];
    node.does(|request| Reply::Late(Duration::from_millis(50), normal(request)));
    let mut asking = JoinSet::new();
    for number in 0..100 {
        let client = client.clone();
        asking.spawn(async move { get(&client, &format!("key-{number}")).await });
    }
    until("all were sent", || node.asked() == 100).await;
    asking.shutdown().await;
    assert_eq!(client.in_flight(), 0);
    for number in 0..100 {
        let key = format!("later-{number}");
        assert_eq!(get(&client, &key).await.unwrap().values, [key]);
    }
    assert_eq!((node.sessions(), client.in_flight()), (1, 0));
}

#[tokio::test]
async fn a_session_that_the_node_ends_is_followed_by_another() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let node = &cluster.nodes[0];
    for number in 1..=3 {
        node.does_once(Reply::HangUp);
        assert_eq!(get(&client, "k").await.unwrap().values, ["k"]);
        assert_eq!(node.sessions(), number + 1);
    }
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test]
async fn reads_under_way_survive_rubbish_on_the_wire() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let key = cluster.key_of(0);
    cluster.nodes[0].does(|_| Reply::Never);
    let mut asking = JoinSet::new();
    for _ in 0..50 {
        let (client, key) = (client.clone(), key.clone());
        asking.spawn(async move { get(&client, &key).await.unwrap().values });
    }
    until("all were sent", || cluster.nodes[0].asked() == 50).await;
    cluster.nodes[0].state.babble();
    for values in asking.join_all().await {
        assert_eq!(values, [key.as_bytes()]);
    }
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test]
async fn a_dropped_client_breaks_its_sessions_off_though_the_node_would_keep_them() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    get(&client, "k").await.unwrap();
    let clone = client.clone();
    drop(client);
    get(&clone, "k").await.unwrap();
    let broken_off = &cluster.nodes[0].state.broken_off;
    assert_eq!(broken_off.load(Ordering::Relaxed), 0);
    drop(clone);
    until("the session is broken off", || broken_off.load(Ordering::Relaxed) == 1).await;
}

#[tokio::test]
async fn a_node_that_refused_a_while_ago_is_asked_again() {
    let cluster = Cluster::start(2).await;
    let mut config = cluster.config();
    config.routing = Routing::Server;
    let client = Client::connect(config).await.unwrap();
    let node = &cluster.nodes[0];
    node.does_once(Reply::Say(fail(ErrorCode::Overloaded)));
    put(&client, "k").await.unwrap();
    assert_eq!((node.asked(), cluster.nodes[1].asked()), (1, 1));
    asked_until("the first is asked", || put(&client, "k"), || node.asked() > 1).await;
    assert_eq!(node.sessions(), 1);
}
