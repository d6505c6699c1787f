//! A client keeps up with its cluster, and with no other.

use std::sync::atomic::Ordering;

use crate::support::{Cluster, Node, asked_until, get};

#[tokio::test]
async fn a_node_that_has_moved_is_found_at_its_new_address() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let key = cluster.key_of(1);
    get(&client, &key).await.unwrap();
    let moved = Node::start("node-2").await;
    let mut addresses = cluster.addresses();
    addresses[1].1.clone_from(&moved.address);
    cluster.nodes[1].die().await;
    cluster.describe_as("fake", &addresses);
    asked_until("it is found", || get(&client, &key), || moved.asked() > 0).await;
}

#[tokio::test]
async fn an_address_that_was_unknown_at_first_is_learnt_without_a_failure() {
    let cluster = Cluster::start(3).await;
    let known = cluster.addresses();
    cluster.describe_as("fake", &known[..1]);
    let client = cluster.client().await;
    let key = cluster.key_of(1);
    get(&client, &key).await.unwrap();
    assert_eq!(cluster.nodes[0].asked(), 1);
    cluster.describe_as("fake", &known);
    asked_until("it is learnt", || get(&client, &key), || cluster.nodes[1].asked() > 0).await;
}

#[tokio::test]
async fn the_ring_of_another_cluster_is_not_taken_for_one_s_own() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let others = Cluster::named("other", 4).await;
    let theirs = others.nodes[0].state.description.lock().unwrap().clone();
    *cluster.nodes[0].state.description.lock().unwrap() = theirs;
    let key = cluster.key_of(1);
    cluster.nodes[1].die().await;
    let described = || cluster.nodes[2].state.described.load(Ordering::Relaxed) > 0;
    asked_until("another node is asked for the ring", || get(&client, &key), described).await;
    assert_eq!(client.ring().members(), cluster.ring.members());
    assert_eq!(others.asked(), 0);
}

#[tokio::test]
async fn the_ring_that_a_client_shows_is_the_cluster_s() {
    let cluster = Cluster::start(4).await;
    let client = cluster.client().await;
    assert_eq!(*client.ring(), cluster.ring);
    let described = client.describe_ring().await.unwrap();
    assert_eq!((described.cluster.as_str(), described.members.len()), ("fake", 4));
}
