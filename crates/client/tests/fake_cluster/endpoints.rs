//! Endpoints behind which there is no node.

use std::time::Duration;

use dynamo_client::{Client, Code, Config, Error};
use dynamo_wire::v1::admin_server::AdminServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;

use crate::support::{Cluster, LONG, get, put};

/// Something that listens, and does this with each connection. Gives its address.
async fn listen<F: Future<Output = ()> + Send + 'static>(with: impl Fn(TcpStream) -> F + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(with(stream));
        }
    });
    address
}

async fn speaks_http_1(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 1024]).await;
    let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
    while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
}

async fn closes(stream: TcpStream) {
    drop(stream);
}

async fn keeps_silent(stream: TcpStream) {
    std::future::pending::<()>().await;
    drop(stream);
}

/// Connecting there fails, with a sentence that names the endpoint and says what became of the data.
async fn refused(endpoint: &str) -> Error {
    refused_within(endpoint, LONG).await
}

async fn refused_within(endpoint: &str, connect_timeout: Duration) -> Error {
    let mut config = Config::parse(endpoint).unwrap();
    config.connect_timeout = connect_timeout;
    let error = tokio::time::timeout(2 * LONG, Client::connect(config)).await.unwrap().map(|_| ()).unwrap_err();
    assert!(error.message.contains(endpoint) && error.message.contains("nothing was read or written"), "{error}");
    error
}

#[tokio::test]
async fn a_server_that_speaks_something_else_is_no_node() {
    let error = refused(&listen(speaks_http_1).await).await;
    assert_eq!(error.code, Code::BadEndpoint, "{error}");
    assert!(error.message.contains("check the address"), "{error}");
}

#[tokio::test]
async fn a_listener_that_closes_at_once_can_not_be_reached() {
    for _ in 0..20 {
        let error = refused(&listen(closes).await).await;
        assert_eq!(error.code, Code::Unreachable, "{error}");
    }
}

#[tokio::test]
async fn a_listener_that_never_answers_can_not_be_reached() {
    let error = refused_within(&listen(keeps_silent).await, Duration::from_millis(200)).await;
    assert_eq!(error.code, Code::Unreachable, "{error}");
    assert!(error.message.contains("does not answer"), "{error}");
}

#[tokio::test]
async fn a_port_on_which_nobody_listens_can_not_be_reached() {
    let error = refused("127.0.0.1:1").await;
    assert_eq!(error.code, Code::Unreachable, "{error}");
    assert!(error.message.contains("is the node running?") && error.message.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_name_that_leads_nowhere_can_not_be_reached() {
    let error = refused("no-such-host.invalid:7400").await;
    assert_eq!(error.code, Code::Unreachable, "{error}");
}

#[tokio::test]
async fn another_grpc_server_is_no_node() {
    let cluster = Cluster::start(1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = cluster.nodes[0].service();
    let other = tonic::transport::Server::builder().add_service(AdminServer::new(service));
    tokio::spawn(other.serve_with_incoming(TcpListenerStream::new(listener)));
    let error = refused(&address).await;
    assert_eq!(error.code, Code::BadEndpoint, "{error}");
    assert!(error.message.contains("no node of a Dynamo cluster"), "{error}");
}

#[tokio::test]
async fn a_ring_that_can_not_be_read_or_is_not_told_is_an_error_in_words() {
    let cluster = Cluster::start(1).await;
    let set = |described| *cluster.nodes[0].state.description.lock().unwrap() = described;
    set(Ok(Default::default()));
    let error = Client::connect(cluster.config()).await.map(|_| ()).unwrap_err();
    assert!(error.code == Code::Internal && error.message.contains("the ring of cluster"), "{error}");
    set(Err(Status::unavailable("not today")));
    let error = Client::connect(cluster.config()).await.map(|_| ()).unwrap_err();
    assert!(error.code == Code::BadEndpoint && error.message.contains("not today"), "{error}");
}

#[tokio::test]
async fn the_first_endpoint_that_is_a_node_is_enough() {
    let cluster = Cluster::start(3).await;
    let bad = [listen(speaks_http_1).await, listen(closes).await, "127.0.0.1:1".to_owned()];
    let config = Config::new([&bad[..], &[cluster.nodes[1].address.clone()]].concat());
    let client = Client::connect(config).await.unwrap();
    get(&client, "k").await.unwrap();
    assert_eq!(cluster.walk("k")[0].asked(), 1);
}

#[tokio::test]
async fn of_several_endpoints_the_one_that_is_no_node_is_named_before_those_that_are_down() {
    let http = listen(speaks_http_1).await;
    let error = Client::connect(Config::parse(&format!("127.0.0.1:1,{http},127.0.0.1:1")).unwrap()).await;
    let error = error.map(|_| ()).unwrap_err();
    assert!(error.code == Code::BadEndpoint && error.message.contains(&http), "{error}");
    let error = Client::connect(Config::parse("127.0.0.1:1,localhost:1").unwrap()).await.map(|_| ()).unwrap_err();
    assert!(error.code == Code::Unreachable && error.message.contains("127.0.0.1:1, localhost:1"), "{error}");
}

#[tokio::test]
async fn no_endpoint_is_said_to_be_none() {
    let error = Client::connect(Config::new(Vec::new())).await.map(|_| ()).unwrap_err();
    assert!(error.code == Code::BadEndpoint && error.message.contains("no endpoint"), "{error}");
}

#[tokio::test]
async fn an_address_that_something_else_has_taken_over_is_passed_over() {
    let cluster = Cluster::start(3).await;
    let key = cluster.key_of(1);
    for address in [listen(speaks_http_1).await, listen(closes).await] {
        let mut addresses = cluster.addresses();
        addresses[1].1 = address;
        cluster.describe_as("fake", &addresses);
        let mut config = cluster.config();
        config.endpoints.truncate(1);
        let client = Client::connect(config).await.unwrap();
        put(&client, &key).await.unwrap();
        get(&client, &key).await.unwrap();
    }
    assert_eq!(cluster.nodes[1].asked(), 0);
}
