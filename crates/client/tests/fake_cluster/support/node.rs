//! One fake node: its port, its connections, its life and death.

use std::{
    io::Write,
    net::{Shutdown, TcpStream as StdStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use dynamo_wire::v1::{
    DescribeRingResponse, ProgressResponse, admin_server::AdminServer, kv_server::KvServer,
    ring_admin_server::RingAdminServer, session_request::Request, session_response::Response,
};
use futures_util::StreamExt;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;

use super::{
    ring::{RingAnswer, RingCall, RingReply, RingScript},
    script::{Reply, Script, key_of, normal},
    service::Service,
};

/// What a real node takes unless it is told otherwise.
const MESSAGE_BYTES: usize = 16 << 20;

/// What the node's services, the test and the node's life share.
pub struct State {
    pub script: Mutex<Script>,
    /// Requests, in the order in which they came; with true those that came alone, not in a session.
    pub seen: Mutex<Vec<(Request, bool)>>,
    /// What it says of the ring; an error in place of it.
    pub description: Mutex<Result<DescribeRingResponse, Status>>,
    /// In place of answers to what is asked of any node.
    pub admin: Mutex<Option<Status>>,
    /// What it does with each call about changes of the ring, and those that came.
    pub ring: Mutex<RingScript>,
    pub ring_calls: Mutex<Vec<RingCall>>,
    /// In place of a session.
    pub no_session: Mutex<Option<Status>>,
    /// Whether it reads what comes in sessions.
    pub reads: watch::Sender<bool>,
    pub described: AtomicUsize,
    pub sessions: AtomicUsize,
    /// Sessions that the client has broken off.
    pub broken_off: AtomicUsize,
    /// Connections that it has accepted.
    pub accepted: AtomicUsize,
    connections: Mutex<Vec<StdStream>>,
}

impl State {
    pub fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    pub fn babble(&self) {
        for mut connection in self.connections.lock().unwrap().iter() {
            let _ = connection.write_all(&[0xff; 64]);
        }
    }

    fn accept(&self, stream: TcpStream) -> std::io::Result<TcpStream> {
        let stream = stream.into_std()?;
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.connections.lock().unwrap().push(stream.try_clone()?);
        TcpStream::from_std(stream)
    }
}

/// A socket that does not listen yet. Several may have a port, and those that listen get the connections.
fn bound(address: &str) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address.parse().unwrap()).unwrap();
    socket
}

/// A fake node.
pub struct Node {
    pub name: String,
    pub address: String,
    pub state: Arc<State>,
    message_bytes: usize,
    serving: Mutex<Option<JoinHandle<()>>>,
    /// Holds the port while nobody listens: else a node of another test could get it.
    _port: TcpSocket,
}

impl Node {
    /// Serves on a free port; answers normally until it is told otherwise.
    pub async fn start(name: &str) -> Self {
        let port = bound("127.0.0.1:0");
        let address = port.local_addr().unwrap().to_string();
        let state = State {
            script: Mutex::new(Arc::new(|request: &Request| Reply::Say(normal(request)))),
            seen: Mutex::default(),
            description: Mutex::new(Ok(DescribeRingResponse::default())),
            admin: Mutex::default(),
            ring: Mutex::new(Arc::new(|_| RingReply::Say(RingAnswer::Progress(ProgressResponse::default())))),
            ring_calls: Mutex::default(),
            no_session: Mutex::default(),
            reads: watch::channel(true).0,
            described: AtomicUsize::default(),
            sessions: AtomicUsize::default(),
            broken_off: AtomicUsize::default(),
            accepted: AtomicUsize::default(),
            connections: Mutex::default(),
        };
        let node = Self {
            name: name.to_owned(),
            address,
            _port: port,
            state: Arc::new(state),
            message_bytes: MESSAGE_BYTES,
            serving: Mutex::default(),
        };
        node.come_back();
        node
    }

    /// Takes messages of so many bytes from now on, in new connections.
    pub async fn limit_messages(&mut self, bytes: usize) {
        self.message_bytes = bytes;
        self.die().await;
        self.come_back();
    }

    /// What it serves.
    pub fn service(&self) -> Service {
        Service { name: self.name.clone(), state: self.state.clone() }
    }

    fn serve(&self, listener: TcpListener) {
        let state = self.state.clone();
        let incoming = TcpListenerStream::new(listener).map(move |stream| state.accept(stream?));
        let service = self.service();
        let kv = KvServer::new(service.clone())
            .max_decoding_message_size(self.message_bytes)
            .max_encoding_message_size(256 << 20);
        let router = tonic::transport::Server::builder()
            .add_service(kv)
            .add_service(RingAdminServer::new(service.clone()))
            .add_service(AdminServer::new(service));
        let serving = tokio::spawn(async move { router.serve_with_incoming(incoming).await.unwrap() });
        *self.serving.lock().unwrap() = Some(serving);
    }

    /// Nobody listens any more, and all connections end.
    pub async fn die(&self) {
        let serving = self.serving.lock().unwrap().take().expect("it is alive");
        serving.abort();
        let _ = serving.await;
        self.state.cut();
    }

    /// On the same port.
    pub fn come_back(&self) {
        self.serve(self.listener());
    }

    /// Connections are accepted by the kernel from now on, and nobody answers, for as long as this is kept.
    pub async fn fall_silent(&self) -> TcpListener {
        self.die().await;
        self.listener()
    }

    fn listener(&self) -> TcpListener {
        bound(&self.address).listen(1024).unwrap()
    }

    /// Does this with each request from now on.
    pub fn does(&self, script: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Arc::new(script);
    }

    /// Says this to each request from now on.
    pub fn says(&self, response: Response) {
        self.does(move |_| Reply::Say(response.clone()));
    }

    /// Does this with the first request, and answers the others normally.
    pub fn does_once(&self, reply: Reply) {
        let first = Mutex::new(Some(reply));
        self.does(move |request| first.lock().unwrap().take().unwrap_or_else(|| Reply::Say(normal(request))));
    }

    /// Does this with each call about changes of the ring from now on.
    pub fn does_to_the_ring(&self, script: impl Fn(&RingCall) -> RingReply + Send + Sync + 'static) {
        *self.state.ring.lock().unwrap() = Arc::new(script);
    }

    /// The calls about changes of the ring that came.
    pub fn ring_calls(&self) -> Vec<RingCall> {
        self.state.ring_calls.lock().unwrap().clone()
    }

    /// The keys that it was asked for, in the order in which it was.
    pub fn keys(&self) -> Vec<Bytes> {
        self.state.seen.lock().unwrap().iter().map(|(request, _)| key_of(request).clone()).collect()
    }

    /// How many requests came.
    pub fn asked(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }

    /// How many of them came alone, not in a session.
    pub fn asked_alone(&self) -> usize {
        self.state.seen.lock().unwrap().iter().filter(|(_, alone)| *alone).count()
    }

    pub fn sessions(&self) -> usize {
        self.state.sessions.load(Ordering::Relaxed)
    }

    /// Forgets what came so far.
    pub fn forget(&self) {
        self.state.seen.lock().unwrap().clear();
    }
}
