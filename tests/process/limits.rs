//! More than a node takes: connections, bytes of a message, requests of a session.

use std::{net::TcpStream, time::Duration};

use dynamo_wire::v1::{GetRequest, PutRequest, kv_client::KvClient};
use tonic::Code;

use crate::cluster::Cluster;

fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

async fn channel(cluster: &Cluster) -> tonic::transport::Channel {
    tonic::transport::Endpoint::new(format!("http://{}", cluster.endpoint)).unwrap().connect().await.unwrap()
}

fn address(cluster: &Cluster) -> std::net::SocketAddr {
    cluster.endpoint.parse().unwrap()
}

#[test]
fn ten_thousand_idle_connections_keep_nobody_out() {
    raise_file_limit();
    let cluster = Cluster::start(3, &["--zones", "3"]);
    cluster.ok(&["put", "k", "v"]);
    let idle: Vec<_> =
        (0..10_000).map(|_| TcpStream::connect_timeout(&address(&cluster), Duration::from_secs(30)).unwrap()).collect();
    assert_eq!(cluster.ok(&["get", "k", "--endpoint", &cluster.endpoint]).trim_end(), "v");
    cluster.ok(&["put", "k2", "v2", "--endpoint", &cluster.endpoint]);
    drop(idle);
    assert_eq!(cluster.ok(&["get", "k2"]).trim_end(), "v2");
}

#[test]
fn a_connection_over_the_limit_is_closed_at_once_and_a_place_that_is_given_back_is_taken() {
    use std::io::Read;
    let cluster = Cluster::start(1, &["--zones", "1", "--replication", "1", "--set", "limits.connections=20"]);
    let mut kept = Vec::new();
    let mut closed = false;
    for _ in 0..40 {
        let mut stream = TcpStream::connect(address(&cluster)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        // A server speaks first only to say goodbye; silence means that the connection is held.
        match stream.read(&mut [0; 64]) {
            Ok(0) => closed = true,
            _ if closed => panic!("a place was free after one was refused"),
            _ => kept.push(stream),
        }
        if closed {
            break;
        }
    }
    assert!(closed && kept.len() <= 20, "{} connections are held", kept.len());
    drop(kept);
    cluster.until("the places are free again", || cluster.run(&["put", "k", "v"]).status.success());
}

#[test]
fn a_message_over_the_limit_is_refused_and_the_node_goes_on() {
    let cluster = Cluster::start(1, &["--zones", "1", "--replication", "1", "--set", "limits.message_bytes=2097152"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut kv = KvClient::new(channel(&cluster).await);
        let put = |bytes: usize| PutRequest {
            bucket: "default".into(),
            key: "k".into(),
            value: vec![b'x'; bytes].into(),
            ..Default::default()
        };
        let refused = kv.put(put(3 << 20)).await.unwrap_err();
        assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
        let refused = kv.put(put((1 << 20) + 1)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains("1048576"), "{refused}");
        kv.put(put(1 << 20)).await.unwrap();
        let get = GetRequest { bucket: "default".into(), key: "k".into(), ..Default::default() };
        assert_eq!(kv.get(get).await.unwrap().into_inner().values.len(), 1);
    });
}
