//! Which node a request goes to.

use dynamo_client::{Client, Delete, Routing};
use dynamo_wire::v1::session_request::Request;

use crate::support::{Cluster, asked_until, bytes, get, put};

#[tokio::test]
async fn every_request_goes_to_the_first_home_of_its_key() {
    let cluster = Cluster::start(5).await;
    let client = cluster.client().await;
    for number in 0..40 {
        let key = format!("key-{number}");
        get(&client, &key).await.unwrap();
        put(&client, &key).await.unwrap();
        let delete = Delete { bucket: "default".to_owned(), key: bytes(&key), context: bytes("c"), w: None };
        assert_eq!(client.delete(delete).await.unwrap().context, format!("context of {key}"));
        assert_eq!(cluster.walk(&key)[0].keys(), [&key, &key, &key]);
        assert_eq!(cluster.asked(), 3);
        cluster.forget();
    }
}

#[tokio::test]
async fn a_new_client_does_not_begin_with_a_node_that_is_said_to_be_down() {
    let cluster = Cluster::start(5).await;
    let [first, second] = [0, 1].map(|place| cluster.walk("k")[place].address.clone());
    for node in &cluster.nodes {
        let mut described = node.state.description.lock().unwrap();
        let members = &mut described.as_mut().unwrap().members;
        members.iter_mut().find(|member| member.client_address == first).unwrap().state = "down".to_owned();
    }
    let client = cluster.client().await;
    get(&client, "k").await.unwrap();
    let asked = |address: &String| cluster.nodes.iter().find(|node| node.address == *address).unwrap().asked();
    assert_eq!((asked(&first), asked(&second)), (0, 1));
}

#[tokio::test]
async fn a_request_carries_what_was_asked() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    client.get("carts", "k", Some(2)).await.unwrap();
    let put = dynamo_client::Put { context: bytes("seen"), w: Some(3), ..dynamo_client::Put::new("carts", "k", "v") };
    client.put(put).await.unwrap();
    let seen = cluster.nodes[0].state.seen.lock().unwrap().clone();
    let Request::Get(get) = &seen[0].0 else { panic!("{seen:?}") };
    assert_eq!((get.bucket.as_str(), &get.key[..], get.r), ("carts", &b"k"[..], 2));
    let Request::Put(put) = &seen[1].0 else { panic!("{seen:?}") };
    assert_eq!((put.bucket.as_str(), &put.key[..], &put.value[..]), ("carts", &b"k"[..], &b"v"[..]));
    assert_eq!((&put.context[..], put.w), (&b"seen"[..], 3));
}

#[tokio::test]
async fn with_server_routing_every_request_goes_to_the_endpoint() {
    let cluster = Cluster::start(5).await;
    let mut config = cluster.config();
    config.routing = Routing::Server;
    config.endpoints = vec![cluster.nodes[3].address.clone(), cluster.nodes[1].address.clone()];
    let client = Client::connect(config).await.unwrap();
    for number in 0..20 {
        put(&client, &format!("key-{number}")).await.unwrap();
        get(&client, &format!("key-{number}")).await.unwrap();
    }
    assert_eq!((cluster.nodes[3].asked(), cluster.asked()), (40, 40));
}

#[tokio::test]
async fn with_server_routing_the_next_endpoint_takes_over_for_one_that_is_lost() {
    let cluster = Cluster::start(3).await;
    let mut config = cluster.config();
    config.routing = Routing::Server;
    config.endpoints = vec![cluster.nodes[2].address.clone(), cluster.nodes[0].address.clone()];
    let client = Client::connect(config).await.unwrap();
    cluster.nodes[2].die().await;
    put(&client, "k").await.unwrap();
    get(&client, "k").await.unwrap();
    assert_eq!((cluster.nodes[0].asked(), cluster.nodes[1].asked()), (2, 0));
}

#[tokio::test]
async fn requests_for_a_home_that_is_down_go_to_the_next_of_the_preference_list() {
    let cluster = Cluster::start(5).await;
    cluster.nodes[1].die().await;
    let client = cluster.client().await;
    let key = cluster.key_of(1);
    put(&client, &key).await.unwrap();
    get(&client, &key).await.unwrap();
    assert_eq!(cluster.walk(&key)[1].keys(), [&key, &key]);
    assert_eq!(cluster.asked(), 2);
}

#[tokio::test]
async fn a_home_that_dies_under_a_client_is_replaced_and_gets_its_requests_again_when_it_is_back() {
    let cluster = Cluster::start(5).await;
    let client = cluster.client().await;
    let key = cluster.key_of(2);
    get(&client, &key).await.unwrap();
    assert_eq!(cluster.nodes[2].asked(), 1);

    cluster.nodes[2].die().await;
    get(&client, &key).await.unwrap();
    put(&client, &key).await.unwrap();
    assert_eq!(cluster.walk(&key)[1].asked(), 2);

    cluster.nodes[2].come_back();
    asked_until("the home is asked", || get(&client, &key), || cluster.nodes[2].asked() > 1).await;
    let (home, others) = (cluster.nodes[2].asked(), cluster.asked());
    put(&client, &key).await.unwrap();
    assert_eq!((cluster.nodes[2].asked(), cluster.asked()), (home + 1, others + 1));
}

#[tokio::test]
async fn nodes_that_stand_in_are_asked_when_all_homes_are_down() {
    let cluster = Cluster::start(5).await;
    let client = cluster.client().await;
    let key = cluster.key_of(0);
    let walk = cluster.walk(&key);
    for home in &walk[..3] {
        home.die().await;
    }
    put(&client, &key).await.unwrap();
    get(&client, &key).await.unwrap();
    assert_eq!((walk[3].asked(), walk[4].asked()), (2, 0));
}

#[tokio::test]
async fn the_endpoint_is_asked_when_no_advertised_address_can_be_reached() {
    let cluster = Cluster::start(3).await;
    // As behind a port-forward: what the nodes say of themselves leads nowhere.
    let nowhere = |name: &str| (name.to_owned(), "127.0.0.1:1".to_owned());
    cluster.describe_as("fake", &["node-1", "node-2", "node-3"].map(nowhere));
    let mut config = cluster.config();
    config.endpoints.truncate(1);
    let client = Client::connect(config).await.unwrap();
    put(&client, "k").await.unwrap();
    get(&client, "k").await.unwrap();
    assert_eq!(cluster.nodes[0].asked(), 2);
}
