//! One node, and peers that this test plays: what it takes from whom, under which ring, and what it does once it is no member.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    pin::Pin,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dynamo_keeper::{Answer, Question};
use dynamo_node::config::{Config, Setting, load};
use dynamo_ring::{
    NodeId,
    charter::{Charter, Move, Proposed},
    register::Value,
};
use dynamo_version::{Actor, Causality, Dot, Mode, Payload, SiblingSet, Timestamp};
use dynamo_wire::{
    CLUSTER_METADATA, NODE_METADATA, PEER_PROTOCOL, PEER_PROTOCOL_LOWEST, PROTOCOL_LOWEST_METADATA, PROTOCOL_METADATA,
    v1::{
        ApplyRequest, ForwardedResult, GossipEnvelope, GossipReceipt, KeepAnswer, KeepQuestion, ProgressRequest,
        PutRequest, RemoveEdit, ReplicaAck, ReplicaRead, ReplicaRefusal, ReplicaReplies, ReplicaReply, ReplicaRequest,
        ReplicaRequests, ReplicaWrite, RingEdit,
        gossip_client::GossipClient,
        gossip_server::{Gossip, GossipServer},
        kv_client::KvClient,
        replica_client::ReplicaClient,
        replica_refusal::Reason,
        replica_reply::Reply,
        replica_request,
        replica_server::{Replica, ReplicaServer},
        ring_admin_client::RingAdminClient,
        ring_edit::Edit,
    },
};
use futures_util::{Stream, StreamExt, future::join_all};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server},
};

/// Somebody of whom no ring ever heard.
const STRANGER: NodeId = NodeId(77);

/// A node "a" that runs; "b" is a member too, and this test speaks in its name.
struct One {
    child: Child,
    _dir: tempfile::TempDir,
    config: Config,
    peer: String,
    client: String,
}

impl Drop for One {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        // Gone already: then there is nothing to wait for but its exit code.
        let _ = kill_process(pid, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// An address of its own each time: a port of 127.0.0.1 can go to an outgoing connection before a node listens there.
fn free() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let host = NEXT.fetch_add(1, Ordering::Relaxed);
    let listener = std::net::TcpListener::bind(format!("127.77.{}.{host}:0", std::process::id() % 256)).unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn channel(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

impl One {
    fn start() -> One {
        One::start_with("127.0.0.1:1")
    }

    /// With "b" at this address.
    fn start_with(b: &str) -> One {
        One::start_with_homes(b, 2)
    }

    /// Where each key has so many homes.
    fn start_with_homes(b: &str, homes: usize) -> One {
        let replication = format!("cluster.replication={homes}");
        let dir = tempfile::tempdir().unwrap();
        let (peer, client) = (free(), free());
        let members = format!(
            "cluster.members=[{{name: a, zone: z, address: \"{peer}\"}}, {{name: b, zone: y, address: \"{b}\"}}]"
        );
        let data = format!("node.data_dir={}", dir.path().display());
        let peer_listen = format!("node.peer_listen={peer}");
        let client_listen = format!("node.client_listen={client}");
        let settings = [
            &members,
            &replication,
            "cluster.partitions=8",
            "storage.engine=memory",
            "tls.mode=plaintext",
            "node.name=a",
            &data,
            &peer_listen,
            &client_listen,
            "node.http_listen=127.0.0.1:0",
        ];
        let flags: Vec<Setting> = settings.iter().map(|setting| Setting::from_flag(setting).unwrap()).collect();
        let config = load(None, [], &flags).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dynamo-node"));
        command.env_clear().stderr(Stdio::piped()).args(settings.iter().flat_map(|setting| ["--set", setting]));
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains(" ready ") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it was ready");
        }
        // What it says later is read by nobody, and must not hold it up.
        std::thread::spawn(move || log.lines().count());
        One { child, _dir: dir, config, peer, client }
    }

    fn id(&self, name: &str) -> NodeId {
        self.first().ring().members().iter().find(|member| member.name == name).unwrap().id
    }

    fn first(&self) -> Charter {
        Charter::first(self.config.first_ring().unwrap())
    }

    /// What a peer says first over a stream, with the versions that it speaks.
    fn hello<T>(&self, from: NodeId, (lowest, highest): (Option<u32>, Option<u32>), said: T) -> Request<T> {
        let mut stream = Request::new(said);
        let headers = stream.metadata_mut();
        headers.insert(CLUSTER_METADATA, self.config.cluster.name.parse().unwrap());
        headers.insert(NODE_METADATA, from.to_string().parse().unwrap());
        highest.into_iter().for_each(|highest| drop(headers.insert(PROTOCOL_METADATA, highest.into())));
        lowest.into_iter().for_each(|lowest| drop(headers.insert(PROTOCOL_LOWEST_METADATA, lowest.into())));
        stream
    }

    /// Opens a stream as a peer that speaks these versions: the one that is answered with.
    async fn opens(&self, speaks: (Option<u32>, Option<u32>)) -> Result<String, Status> {
        let stream = self.hello(self.id("b"), speaks, futures_util::stream::empty());
        let answer = ReplicaClient::new(channel(&self.peer).await).exchange(stream).await?;
        Ok(answer.metadata().get(PROTOCOL_METADATA).unwrap().to_str().unwrap().to_owned())
    }

    /// The same with an envelope of gossip.
    async fn tells(&self, (lowest, highest): (Option<u32>, Option<u32>)) -> Result<(), Status> {
        let envelope = GossipEnvelope {
            cluster: self.config.cluster.name.clone(),
            from: Bytes::copy_from_slice(&self.id("b").0.to_be_bytes()),
            protocol_lowest: lowest.unwrap_or_default(),
            protocol: highest.unwrap_or_default(),
            ..GossipEnvelope::default()
        };
        GossipClient::new(channel(&self.peer).await).tell(envelope).await.map(drop)
    }

    /// One request of a peer, and its reply.
    async fn ask(&self, from: NodeId, epoch: u64, request: replica_request::Request) -> Reply {
        let requests = vec![ReplicaRequest { id: 5, epoch, request: Some(request) }];
        // The stream stays open until the reply is there.
        let (send, queue) = tokio::sync::mpsc::channel(1);
        send.send(ReplicaRequests { requests }).await.unwrap();
        let queue = futures_util::stream::unfold(queue, async |mut queue| Some((queue.recv().await?, queue)));
        let stream = self.hello(from, (None, Some(PEER_PROTOCOL)), queue);
        let mut client = ReplicaClient::new(channel(&self.peer).await);
        let mut replies = client.exchange(stream).await.unwrap().into_inner();
        let replies = replies.message().await.unwrap().expect("a reply").replies;
        drop(send);
        let [ReplicaReply { id: 5, reply: Some(reply) }] = &replies[..] else { panic!("{replies:?}") };
        reply.clone()
    }

    async fn question(&self, question: &Question) -> Answer {
        let question = Bytes::from(question.encode());
        let ask = replica_request::Request::Keep(KeepQuestion { question });
        match self.ask(self.id("b"), 1, ask).await {
            Reply::Keep(keep) => Answer::decode(&keep.answer).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Tells it that these are chosen, one after the other, and waits until it goes by the last.
    async fn learns(&self, charters: &[Charter]) -> u64 {
        let first = self.first();
        let mut value = Value::first(first.voters(), first.encode()).unwrap();
        for charter in charters {
            value = value.next(charter.voters(), charter.encode()).unwrap();
        }
        let epoch = charters.last().unwrap().ring().epoch();
        self.question(&Question::Tell(value)).await;
        // It says so itself: what a member sends under that epoch is not too new for it any more.
        until(async || {
            (self.write(self.id("b"), epoch).await.map_err(|why| why.0) != Err(Reason::Behind)).then_some(())
        })
        .await;
        epoch
    }

    /// A replica's write of a peer: acknowledged, or why not, in words, and under which epoch.
    async fn write(&self, from: NodeId, epoch: u64) -> Result<(), (Reason, String, u64)> {
        let mut set = SiblingSet::new();
        let dot = Dot { actor: Actor { node: from.0, incarnation: 1, key_epoch: 1 }, counter: 1 };
        set.write(&Causality::new(), dot, Timestamp(1), Payload::Value(Bytes::from("v")), Mode::Siblings);
        let set = set.encode();
        let (bucket, key, digest) = ("default".to_owned(), Bytes::from("key"), SiblingSet::digest(&set));
        let write = ReplicaWrite { bucket, key, set, digest, ..ReplicaWrite::default() };
        answer(self.ask(from, epoch, replica_request::Request::Write(write)).await).map(drop)
    }

    async fn read(&self, from: NodeId, epoch: u64, key: &'static str) -> Result<Option<u64>, (Reason, String, u64)> {
        let (bucket, key) = ("default".to_owned(), Bytes::from(key));
        let read = ReplicaRead { bucket, key, ..ReplicaRead::default() };
        answer(self.ask(from, epoch, replica_request::Request::Read(read)).await)
    }
}

/// The other member: takes writes once it is told to, and remembers under which epoch they came. What it is to coordinate it
/// answers once it is told to.
#[derive(Clone)]
struct Other {
    id: NodeId,
    address: String,
    takes: Arc<AtomicBool>,
    refused: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<(u64, ReplicaWrite)>>>,
    /// So many writes are not answered: the stream breaks.
    breaks: Arc<AtomicU32>,
    /// How many writes it is to coordinate, and whether it answers them.
    coordinates: Arc<AtomicU32>,
    coordinated: Arc<watch::Sender<bool>>,
    /// Which version it answers streams with; 0: it does not say, as nodes did before it was said.
    answers: Arc<AtomicU32>,
    /// The versions that streams were opened with: the oldest and the newest.
    opened: Arc<Mutex<Vec<[u32; 2]>>>,
}

impl Other {
    /// It answers at this address from now on.
    fn start(id: NodeId, address: String) -> Other {
        let listen = address.parse().unwrap();
        let (takes, refused, taken, breaks, coordinates, coordinated, answers, opened) = Default::default();
        let other = Other { id, address, takes, refused, taken, breaks, coordinates, coordinated, answers, opened };
        let server = Server::builder().add_service(ReplicaServer::new(other.clone()));
        let server = server.add_service(GossipServer::new(other.clone()));
        tokio::spawn(async move { server.serve(listen).await.unwrap() });
        other
    }

    fn breaks(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.breaks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    async fn reply(&self, ReplicaRequest { id, epoch, request }: ReplicaRequest) -> ReplicaReply {
        let reply = match request {
            Some(replica_request::Request::Keep(_)) => {
                Reply::Keep(KeepAnswer { answer: Answer::Unable.encode().into() })
            }
            Some(replica_request::Request::Write(write)) if self.takes.load(Ordering::Relaxed) => {
                self.taken.lock().push((epoch, write));
                Reply::Ack(ReplicaAck { durable: true })
            }
            Some(replica_request::Request::Put(_)) => {
                self.coordinates.fetch_add(1, Ordering::Relaxed);
                self.coordinated.subscribe().wait_for(|coordinated| *coordinated).await.unwrap();
                Reply::Put(ForwardedResult { siblings: 1, ..ForwardedResult::default() })
            }
            _ => {
                self.refused.store(true, Ordering::Relaxed);
                Reply::Refusal(ReplicaRefusal { reason: Reason::Overloaded as i32, ..ReplicaRefusal::default() })
            }
        };
        ReplicaReply { id, reply: Some(reply) }
    }
}

fn is_write(request: &ReplicaRequest) -> bool {
    matches!(request.request, Some(replica_request::Request::Write(_)))
}

#[tonic::async_trait]
impl Replica for Other {
    type ExchangeStream = Pin<Box<dyn Stream<Item = Result<ReplicaReplies, Status>> + Send>>;

    async fn exchange(
        &self,
        request: Request<Streaming<ReplicaRequests>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let other = self.clone();
        let said = |key| request.metadata().get(key).unwrap().to_str().unwrap().parse().unwrap();
        self.opened.lock().push([said(PROTOCOL_LOWEST_METADATA), said(PROTOCOL_METADATA)]);
        let replies = request.into_inner().then(move |frame| {
            let other = other.clone();
            async move {
                let requests = frame?.requests;
                if other.takes.load(Ordering::Relaxed) && requests.iter().any(is_write) && other.breaks() {
                    return Err(Status::unavailable("it broke"));
                }
                let replies = requests.into_iter().map(|request| other.reply(request));
                Ok(ReplicaReplies { replies: join_all(replies).await })
            }
        });
        let mut response: Response<Self::ExchangeStream> = Response::new(Box::pin(replies));
        match self.answers.load(Ordering::Relaxed) {
            0 => {}
            version => drop(response.metadata_mut().insert(PROTOCOL_METADATA, version.into())),
        }
        Ok(response)
    }
}

/// Who gives no receipts is down, and nothing is handed over to it.
#[tonic::async_trait]
impl Gossip for Other {
    async fn tell(&self, _: Request<GossipEnvelope>) -> Result<Response<GossipReceipt>, Status> {
        let from = Bytes::copy_from_slice(&self.id.0.to_be_bytes());
        Ok(Response::new(GossipReceipt { from, address: self.address.clone() }))
    }
}

/// Asks until there is an answer. What never comes fails the test instead of holding it up for ever.
async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asks = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), asks).await.expect("it did not come about within two minutes")
}

fn answer(reply: Reply) -> Result<Option<u64>, (Reason, String, u64)> {
    match reply {
        Reply::Ack(_) => Ok(None),
        Reply::State(state) => Ok(Some(state.digest)),
        Reply::Refusal(refusal) => Err((refusal.reason(), refusal.message, refusal.epoch)),
        other => panic!("{other:?}"),
    }
}

fn put(key: &'static str) -> PutRequest {
    let (bucket, key, value) = ("default".to_owned(), Bytes::from(key), Bytes::from("v"));
    PutRequest { bucket, key, value, w: 1, ..PutRequest::default() }
}

/// Begins and ends a change in which a member gives the other all that it has.
fn without(first: &Charter, leaves: NodeId) -> [Charter; 2] {
    let ring = first.ring();
    let members: Vec<_> = ring.members().iter().filter(|member| member.id != leaves).cloned().collect();
    let to = members[0].id;
    let moves = ring.partitions().iter().filter(|partition| ring.owner(*partition).id == leaves);
    let steps = vec![moves.map(|partition| Move { partition, to }).collect()];
    let (what, lives) = ("one leaves".to_owned(), BTreeMap::from([(leaves, 5)]));
    let begun = first.begin(2, Proposed { what, members, steps, lost: vec![], accept_loss: false, lives }).unwrap();
    let turned = begun.turn().unwrap();
    [begun, turned]
}

#[tokio::test]
async fn what_a_stranger_sends_is_not_taken_and_what_it_reads_under_an_old_ring_is_refused() {
    let node = One::start();
    assert_eq!(node.write(node.id("b"), 1).await, Ok(()));
    let (reason, why, epoch) = node.write(STRANGER, 1).await.unwrap_err();
    assert!((reason, epoch) == (Reason::Sealed, 1) && why.contains("no member of the ring in epoch 1"), "{why}");
    // One that has heard of a newer ring may be a member of that.
    let (reason, why, epoch) = node.write(STRANGER, 9).await.unwrap_err();
    assert!((reason, epoch) == (Reason::Behind, 1) && why.contains("fetching the newer ring"), "{why}");
    // A coordinator that has just joined reads before everybody knows it; who is outside and behind is told.
    assert!(node.read(STRANGER, 1, "key").await.unwrap().is_some_and(|digest| digest != 0));
    let (reason, why, epoch) = node.read(STRANGER, 0, "key").await.unwrap_err();
    assert!((reason, epoch) == (Reason::Sealed, 1) && why.contains("no member"), "{why}");
    assert!(node.read(node.id("b"), 0, "key").await.is_ok());
}

#[tokio::test]
async fn a_refusal_of_what_is_too_old_names_the_fence() {
    let node = One::start();
    assert_eq!(node.write(node.id("b"), 1).await, Ok(()));
    let barrier = node.first().raise_barrier(3).unwrap();
    assert_eq!(node.learns(&[barrier]).await, 2);
    let (reason, why, epoch) = node.write(node.id("b"), 1).await.unwrap_err();
    assert_eq!((reason, epoch), (Reason::Sealed, 2), "{why}");
    assert_eq!(node.write(node.id("b"), 2).await, Ok(()));
}

/// It was refused under epoch 1, and nothing of epoch 1 is taken any more when it is delivered.
#[tokio::test]
async fn a_hint_that_was_kept_before_the_ring_turned_is_handed_over_under_the_newer_one() {
    let b = free();
    let node = One::start_with(&b);
    let other = Other::start(node.id("b"), b);
    let mut kv = KvClient::new(channel(&node.client).await);
    kv.put(put("hinted")).await.unwrap();
    until(async || other.refused.load(Ordering::Relaxed).then_some(())).await;
    let barrier = node.first().raise_barrier(3).unwrap();
    assert_eq!(node.learns(&[barrier]).await, 2);
    other.takes.store(true, Ordering::Relaxed);
    let of_key = |(_, write): &&(u64, ReplicaWrite)| write.key == "hinted" && write.hint_for.is_empty();
    let (epoch, write) = until(async || other.taken.lock().iter().find(of_key).cloned()).await;
    let set = SiblingSet::decode(write.set).unwrap();
    assert_eq!((epoch, &set.values()[..]), (2, &[&Bytes::from("v")][..]));
}

#[tokio::test]
async fn who_left_and_does_not_answer_may_be_given_up() {
    let node = One::start();
    let [begun, turned] = without(&node.first(), node.id("b"));
    assert!(turned.leavers().contains(&node.id("b")));
    node.learns(&[begun, turned]).await;
    assert_eq!(node.write(node.id("b"), 2).await, Ok(()), "it hands over");
    let mut admin = RingAdminClient::new(channel(&node.client).await);
    let waits = async |admin: &mut RingAdminClient<Channel>| {
        admin.progress(ProgressRequest {}).await.unwrap().into_inner().collecting_waits_for
    };
    assert_eq!(waits(&mut admin).await, ["b"]);
    let edits = vec![RingEdit { edit: Some(Edit::Remove(RemoveEdit { node: "b".into() })) }];
    let applied = admin.apply(ApplyRequest { edits, ..ApplyRequest::default() }).await.unwrap().into_inner();
    assert_eq!((applied.change, applied.steps), (4, 0));
    until(async || (waits(&mut admin).await != ["b"]).then_some(())).await;
    let (reason, why, _) = node.write(node.id("b"), 2).await.unwrap_err();
    assert!(reason == Reason::Sealed && why.contains("empty data directory"), "{why}");
}

/// It finishes what it has begun, and says so: nobody is told that such a write may or may not have happened.
#[tokio::test]
async fn what_a_member_coordinates_while_it_leaves_is_answered() {
    let b = free();
    let node = One::start_with_homes(&b, 1);
    let other = Other::start(node.id("b"), b);
    let kv = KvClient::new(channel(&node.client).await);
    let mut puts = Vec::new();
    // Until it is taken for up this node stands in for it.
    until(async || {
        puts.extend(["1", "2", "3", "4", "5", "6", "7", "8"].map(|key| {
            let mut kv = kv.clone();
            tokio::spawn(async move { kv.put(put(key)).await })
        }));
        (other.coordinates.load(Ordering::Relaxed) > 0).then_some(())
    })
    .await;
    node.learns(&without(&node.first(), other.id)).await;
    // Its streams' ends would have come by now.
    tokio::time::sleep(Duration::from_millis(200)).await;
    other.coordinated.send_replace(true);
    for put in puts {
        let answer = put.await.unwrap();
        assert!(answer.is_ok(), "{answer:?}");
    }
}

/// A node that stood still finds all its streams broken, and its peers well: what it is asked then waits for new ones.
#[tokio::test]
async fn a_write_whose_stream_breaks_is_sent_again_over_the_next() {
    let b = free();
    let node = One::start_with(&b);
    let other = Other::start(node.id("b"), b);
    other.takes.store(true, Ordering::Relaxed);
    let mut kv = KvClient::new(channel(&node.client).await);
    // Until it is taken for up.
    until(async || kv.put(PutRequest { w: 2, ..put("before") }).await.ok()).await;
    other.breaks.store(1, Ordering::Relaxed);
    kv.put(PutRequest { w: 2, ..put("broken") }).await.unwrap();
    let sets: Vec<Bytes> =
        other.taken.lock().iter().filter(|of| of.1.key == "broken").map(|of| of.1.set.clone()).collect();
    assert!(!sets.is_empty() && sets.iter().all(|set| *set == sets[0]), "one version, however often it is sent");
    assert_eq!(other.breaks.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_coordinator_that_is_no_member_mints_nothing() {
    let node = One::start();
    let mut kv = KvClient::new(channel(&node.client).await);
    kv.put(put("before")).await.unwrap();
    node.learns(&without(&node.first(), node.id("a"))).await;
    let refused = kv.put(put("after")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
    let b = node.id("b");
    assert_eq!(node.read(b, 2, "after").await, Ok(Some(0)), "it has a version that it must not have made");
    assert!(node.read(b, 2, "before").await.unwrap().is_some_and(|digest| digest != 0));
}

#[tokio::test]
async fn peers_speak_the_newest_version_that_both_know_and_none_where_there_is_none() {
    let node = One::start();
    let (lowest, highest) = (PEER_PROTOCOL_LOWEST, PEER_PROTOCOL);
    for speaks in [
        (Some(lowest), Some(highest)),
        (Some(lowest.saturating_sub(1)), Some(highest)),
        (Some(highest), Some(highest + 7)),
        // Before nodes said it.
        (None, Some(highest)),
        (None, None),
    ] {
        assert_eq!(node.opens(speaks).await.unwrap(), highest.to_string(), "{speaks:?}");
        node.tells(speaks).await.unwrap();
    }
    for (speaks, shown, what) in [
        (highest + 1..=highest + 2, format!("versions {} to {}", highest + 1, highest + 2), "upgrade this node first"),
        (lowest - 1..=lowest - 1, format!("version {}", lowest - 1), "upgrade the caller first"),
    ] {
        let speaks = (Some(*speaks.start()), Some(*speaks.end()));
        for refused in [node.opens(speaks).await.map(drop), node.tells(speaks).await] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused:?}");
            let ours = format!("this node version {highest}");
            assert!([&shown, &ours, what].iter().all(|words| refused.message().contains(*words)), "{refused:?}");
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_to_who_answers_in_an_unknown_version_and_who_says_none_is_an_old_peer() {
    let b = free();
    let node = One::start_with(&b);
    let other = Other::start(node.id("b"), b);
    other.answers.store(PEER_PROTOCOL + 1, Ordering::Relaxed);
    other.takes.store(true, Ordering::Relaxed);
    let mut kv = KvClient::new(channel(&node.client).await);
    kv.put(put("first")).await.unwrap();
    // It tries again and again, over both of its streams.
    until(async || (other.opened.lock().len() >= 6).then_some(())).await;
    assert!(other.opened.lock().iter().all(|said| *said == [PEER_PROTOCOL_LOWEST, PEER_PROTOCOL]));
    assert!(other.taken.lock().is_empty() && !other.refused.load(Ordering::Relaxed));
    other.answers.store(0, Ordering::Relaxed);
    until(async || other.taken.lock().iter().any(|(_, write)| write.key == "first").then_some(())).await;
}
