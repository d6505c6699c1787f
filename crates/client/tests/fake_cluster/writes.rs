//! Writes whose session breaks: sent again only where nobody can have them.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use dynamo_client::{Client, Code, Delete, Error, Put};

use crate::support::{Cluster, Reply, bytes, get, normal, put, until};

fn assert_unclear(error: &Error) {
    assert_eq!((error.code, error.may_have_happened()), (Code::CoordinatorLost, true), "{error}");
    assert!(error.message.contains("may or may not have happened"), "{error}");
}

#[tokio::test]
async fn a_write_whose_session_breaks_after_it_was_sent_is_told_to_be_unclear_and_not_repeated() {
    for breaks in [Reply::Cut, Reply::HangUp, Reply::Babble] {
        let cluster = Cluster::start(3).await;
        let client = cluster.client().await;
        let home = cluster.walk("k")[0];
        home.does(move |_| breaks.clone());
        assert_unclear(&put(&client, "k").await.unwrap_err());
        assert_eq!((home.asked(), cluster.asked()), (1, 1));

        home.does(|request| Reply::Say(normal(request)));
        put(&client, "k").await.unwrap();
        assert_eq!(cluster.asked(), 2);
    }
}

#[tokio::test]
async fn a_write_whose_session_ends_in_good_order_without_an_answer_was_not_begun_and_is_done_elsewhere() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let home = cluster.walk("k")[0];
    home.does(|_| Reply::End);
    put(&client, "k").await.unwrap();
    assert_eq!((home.asked(), cluster.asked()), (1, 2));
    // The client has closed it, too: the node needs not wait.
    until("the session is closed", || home.state.broken_off.load(Ordering::Relaxed) == 1).await;
}

#[tokio::test]
async fn a_delete_is_a_write_like_any_other() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.all_do(|_| Reply::Cut);
    let delete = Delete { bucket: "default".to_owned(), key: bytes("k"), context: bytes("c"), w: None };
    assert_unclear(&client.delete(delete).await.unwrap_err());
    assert_eq!(cluster.asked(), 1);
}

#[tokio::test]
async fn a_read_whose_session_breaks_succeeds_elsewhere() {
    for breaks in [Reply::Cut, Reply::HangUp, Reply::Babble] {
        let cluster = Cluster::start(3).await;
        let client = cluster.client().await;
        cluster.walk("k")[0].does(move |_| breaks.clone());
        assert_eq!(get(&client, "k").await.unwrap().values, ["k"]);
        assert_eq!(cluster.asked(), 2);
    }
}

/// Puts of some size, so many that one node can't have them all if it does not read.
fn start_puts(client: &Client, count: usize) -> Vec<tokio::task::JoinHandle<Result<String, Error>>> {
    let start = |number: usize| {
        let client = client.clone();
        tokio::spawn(async move {
            let key = format!("put-{number}");
            let put = Put::new("default", key.clone(), Bytes::from(vec![b'x'; 10_000]));
            client.put(put).await.map(|_| key)
        })
    };
    (0..count).map(start).collect()
}

#[tokio::test]
async fn of_the_writes_of_a_broken_session_those_go_elsewhere_that_were_not_sent() {
    let cluster = Cluster::start(2).await;
    let mut config = cluster.config();
    config.routing = dynamo_client::Routing::Server;
    let client = Client::connect(config).await.unwrap();
    let (deaf, other) = (&cluster.nodes[0], &cluster.nodes[1]);
    deaf.state.reads.send_replace(false);
    let puts = start_puts(&client, 500);
    until("all wait", || client.in_flight() == 500).await;
    // The connection takes what its window has room for.
    tokio::time::sleep(Duration::from_millis(100)).await;
    deaf.die().await;

    let (mut done, mut unclear) = (BTreeSet::new(), 0);
    for put in puts {
        match put.await.unwrap() {
            Ok(key) => assert!(done.insert(Bytes::from(key))),
            Err(error) => {
                assert_unclear(&error);
                unclear += 1;
            }
        }
    }
    assert!(!done.is_empty() && unclear > 0, "{} done, {unclear} unclear", done.len());
    assert_eq!(other.asked(), done.len(), "each once");
    assert_eq!(other.keys().into_iter().collect::<BTreeSet<_>>(), done);
}

#[tokio::test]
async fn a_write_that_went_elsewhere_because_its_node_takes_nothing_is_never_sent_there_later() {
    let cluster = Cluster::start(2).await;
    let mut config = cluster.config();
    config.routing = dynamo_client::Routing::Server;
    config.timeout = Duration::from_secs(4);
    let client = Client::connect(config).await.unwrap();
    let (deaf, other) = (&cluster.nodes[0], &cluster.nodes[1]);
    deaf.state.reads.send_replace(false);
    let puts = start_puts(&client, 500);
    until("the other is asked", || other.asked() > 0).await;
    deaf.state.reads.send_replace(true);
    for put in puts {
        let _ = put.await.unwrap();
    }
    let (here, there): (BTreeSet<_>, BTreeSet<_>) =
        (deaf.keys().into_iter().collect(), other.keys().into_iter().collect());
    assert!(here.is_disjoint(&there), "written twice: {:?}", here.intersection(&there).collect::<Vec<_>>());
    assert!(!there.is_empty());
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test]
async fn a_write_of_a_caller_that_left_while_it_was_queued_is_never_sent() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    get(&client, "k").await.unwrap();
    let node = &cluster.nodes[0];
    node.state.reads.send_replace(false);
    node.forget();
    let puts = start_puts(&client, 500);
    // The node may have been about to read one more frame.
    until("nearly all wait", || client.in_flight() > 400).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    puts.iter().for_each(tokio::task::JoinHandle::abort);
    until("all have left", || client.in_flight() == 0).await;
    node.state.reads.send_replace(true);
    get(&client, "last").await.unwrap();
    assert!(node.asked() < 250, "{} of 500 were sent", node.asked());
    assert_eq!(node.sessions(), 1);
}
