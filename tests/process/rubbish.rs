//! Bytes that nobody meant, to every method of every port: refused or ignored, and the node goes on.

use bytes::{Buf, BufMut, Bytes};
use dynamo_wire::v1;
use prost::Message;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::{Channel, Endpoint},
};

use crate::cluster::Cluster;

const ROUNDS: usize = 400;

/// Sends what it is given, as a message's bytes.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;
    fn encoder(&mut self) -> Raw {
        Raw
    }
    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, bytes: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(bytes);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining())))
    }
}

/// Paths of methods, each with a message.
type Methods = Vec<(&'static str, Vec<u8>)>;

/// Of clients' and of peers' ports: each method with a message that it would understand.
fn methods() -> (Methods, Methods) {
    let (bucket, key, value) = ("default".to_owned(), Bytes::from("rubbish"), Bytes::from("v"));
    let get = v1::GetRequest { bucket: bucket.clone(), key: key.clone(), ..Default::default() };
    let put = v1::PutRequest { bucket: bucket.clone(), key: key.clone(), value: value.clone(), ..Default::default() };
    let session = v1::session_request::Request::Put(put.clone());
    let session = v1::SessionRequest { id: 7, request: Some(session) };
    let write = v1::ReplicaWrite { bucket: bucket.clone(), key: key.clone(), set: value.clone(), ..Default::default() };
    let replica = |request| v1::ReplicaRequest { id: 7, epoch: 1, request: Some(request) };
    let node = v1::GossipNode { id: Bytes::from_static(&[9; 16]), name: "x".into(), ..Default::default() };
    let delta = v1::gossip_message::Message::Delta(v1::GossipDelta { nodes: vec![node], digest: None });
    let clients = vec![
        ("/dynamo.v1.Kv/Get", get.encode_to_vec()),
        ("/dynamo.v1.Kv/Put", put.encode_to_vec()),
        (
            "/dynamo.v1.Kv/Delete",
            v1::DeleteRequest { bucket: bucket.clone(), key: key.clone(), ..Default::default() }.encode_to_vec(),
        ),
        ("/dynamo.v1.Kv/BatchGet", v1::BatchGetRequest { gets: vec![get; 3] }.encode_to_vec()),
        ("/dynamo.v1.Kv/BatchPut", v1::BatchPutRequest { puts: vec![put; 3] }.encode_to_vec()),
        ("/dynamo.v1.Kv/DescribeRing", vec![]),
        ("/dynamo.v1.Kv/Session", v1::SessionRequests { requests: vec![session] }.encode_to_vec()),
        ("/dynamo.v1.Admin/Status", vec![]),
        (
            "/dynamo.v1.Admin/CreateBucket",
            v1::CreateBucketRequest { bucket: Some(v1::Bucket { name: "b".into(), ..Default::default() }) }
                .encode_to_vec(),
        ),
        ("/dynamo.v1.Admin/DescribeBucket", v1::DescribeBucketRequest { name: bucket }.encode_to_vec()),
        ("/grpc.health.v1.Health/Check", vec![]),
        ("/dynamo.v1.Nothing/Nothing", vec![]),
    ];
    let peers = vec![
        (
            "/dynamo.v1.Replica/Exchange",
            v1::ReplicaRequests { requests: vec![replica(v1::replica_request::Request::Write(write))] }.encode_to_vec(),
        ),
        (
            "/dynamo.v1.Gossip/Tell",
            v1::GossipEnvelope {
                cluster: "local".into(),
                from: Bytes::from_static(&[8; 16]),
                message: Some(v1::GossipMessage { message: Some(delta) }),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
    ];
    (clients, peers)
}

/// The message cut, flipped, lengthened, or replaced.
fn spoiled(message: &[u8], random: &mut StdRng) -> Bytes {
    let mut bytes = message.to_vec();
    match random.random_range(0..4) {
        0 => bytes.truncate(random.random_range(0..=message.len())),
        1 => bytes = (0..random.random_range(0..300)).map(|_| random.random()).collect(),
        2 => bytes.extend((0..random.random_range(1..50)).map(|_| random.random::<u8>())),
        _ => {}
    }
    for _ in 0..random.random_range(0..4) {
        let place = random.random_range(0..bytes.len().max(1));
        bytes.get_mut(place).into_iter().for_each(|byte| *byte ^= 1 << random.random_range(0..8));
    }
    bytes.into()
}

async fn channel(address: String) -> Channel {
    Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// Whatever the answer is; a stream is read to its end, which comes when this end has said all.
async fn tell(channel: Channel, method: &'static str, bytes: Bytes, stranger: bool) {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let mut request = Request::new(futures_util::stream::iter([bytes]));
    let cluster = if stranger { "elsewhere" } else { "local" };
    request.metadata_mut().insert(dynamo_wire::CLUSTER_METADATA, cluster.parse().unwrap());
    request.metadata_mut().insert(dynamo_wire::NODE_METADATA, uuid_of(8).parse().unwrap());
    request.metadata_mut().insert(dynamo_wire::PROTOCOL_METADATA, "1".parse().unwrap());
    let Ok(answer) = grpc.streaming(request, method.parse().unwrap(), Raw).await else { return };
    let mut answers = answer.into_inner();
    while let Ok(Some(_)) = answers.message().await {}
}

fn uuid_of(byte: u8) -> String {
    dynamo_ring::NodeId(u128::from_be_bytes([byte; 16])).to_string()
}

#[test]
fn spoiled_messages_to_every_method_do_no_harm() {
    let cluster = Cluster::start(3, &["--zones", "3", "--set", "cluster.name=local"]);
    cluster.ok(&["put", "k", "v"]);
    let pids: Vec<i32> = ["node-1", "node-2", "node-3"].map(|node| cluster.pid(node)).into();
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let client: std::net::SocketAddr = cluster.endpoint.parse().unwrap();
    let peer = std::net::SocketAddr::new(client.ip(), client.port() + 1000);
    let (clients, peers) = methods();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for (address, methods) in [(client, clients), (peer, peers)] {
            let channel = channel(address.to_string()).await;
            for round in 0..ROUNDS {
                let (method, message) = &methods[round % methods.len()];
                let bytes = spoiled(message, &mut random);
                let told = tell(channel.clone(), method, bytes, random.random_ratio(1, 8));
                tokio::time::timeout(std::time::Duration::from_secs(30), told).await.expect("every call ends");
            }
        }
    });
    assert_eq!(cluster.ok(&["get", "k"]).trim_end(), "v");
    for (node, pid) in ["node-1", "node-2", "node-3"].into_iter().zip(pids) {
        assert_eq!(cluster.pid(node), pid, "{node} was started anew");
        let log = std::fs::read_to_string(cluster.dir().join("nodes").join(node).join("log")).unwrap();
        assert!(!log.contains("panicked"), "{log}");
    }
}
