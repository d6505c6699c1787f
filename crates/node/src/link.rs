//! The outgoing half of a peer connection: one long-lived stream per peer and class of traffic.
//!
//! A link takes requests without waiting ([`Link::send`]) and hands each reply to [`LinkEvents`], on the task that
//! reads the stream: there is no task and no future per replica call. When the stream breaks, [`LinkEvents::down`]
//! says so once, and whoever waits for replies of that peer counts them as refused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use dynamo_ring::NodeId;
use dynamo_wire::{
    CLUSTER_METADATA, NODE_METADATA, PROTOCOL_LOWEST_METADATA, PROTOCOL_METADATA, RING_METADATA, TARGET_METADATA,
    v1::{
        ReplicaReplies, ReplicaReply, ReplicaRequest, ReplicaRequests, replica_client::ReplicaClient, replica_request,
    },
};
use tokio::sync::{Notify, mpsc, watch};
use tonic::{Code, Request, Status, Streaming, transport::Endpoint};

use crate::{
    batch::Frames,
    clock::Clock,
    language::Spoken,
    lost::{Lost, lost},
    ring_mark::RingMark,
    tls::NodeTls,
};

/// Requests that wait for a slow peer. When full, [`Link::send`] refuses and the request counts as refused by the
/// peer: a node that can't keep up is not given more.
const QUEUE: usize = 16 * 1024;
/// Bytes that may be under way in one stream before the receiver has taken them.
const STREAM_WINDOW: u32 = 8 << 20;
/// Bytes that may be under way in one connection.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Largest frame taken from a peer: a sibling set at its limit, with room.
pub const PEER_MESSAGE_BYTES: usize = 256 << 20;
const RECONNECT_MIN: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// A peer that left is listened to no longer than this: no request waits so long.
const LEAVE: Duration = Duration::from_secs(60);

/// What a link is used for. Hints must not stand in front of requests that a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Requests that a client waits for, and their repairs.
    Foreground,
    /// Hinted handoff.
    Background,
}

/// Who hears of a link's replies. Called on the link's task: must not block.
pub trait LinkEvents: Send + Sync + 'static {
    /// The stream to the peer is open.
    fn up(&self, peer: NodeId, class: Class);
    /// A reply to a request sent over this link.
    fn reply(&self, peer: NodeId, class: Class, reply: ReplicaReply);
    /// The stream is closed, or could not be opened: no reply to what was sent before will come.
    fn down(&self, peer: NodeId, class: Class, lost: Lost);
}

/// The request was not sent: the link is down or its queue is full.
#[derive(Debug)]
pub struct Unsent;

/// Handle of a link; its task runs until the node stops.
pub struct Link {
    /// Who is at the other end.
    pub peer: NodeId,
    class: Class,
    address: ArcSwap<String>,
    sender: ArcSwapOption<mpsc::Sender<ReplicaRequest>>,
    clock: Clock,
    /// When the oldest request without any reply since was sent; 0: nothing is awaited.
    waiting_since_us: AtomicU64,
    /// When the peer last sent anything over this link.
    heard_us: AtomicU64,
    /// Turns true when the peer is no longer talked to.
    retired: watch::Sender<bool>,
    /// Ends the pause before the next attempt to connect.
    hurry: Notify,
}

impl Link {
    /// A link to `peer` at `address`, not yet running.
    pub fn new(peer: NodeId, class: Class, address: String, clock: Clock) -> Self {
        Self {
            peer,
            class,
            address: ArcSwap::from_pointee(address),
            sender: ArcSwapOption::empty(),
            clock,
            waiting_since_us: AtomicU64::new(0),
            heard_us: AtomicU64::new(0),
            retired: watch::Sender::new(false),
            hurry: Notify::new(),
        }
    }

    /// Queues a request. Never waits.
    pub fn send(&self, request: ReplicaRequest) -> Result<(), Unsent> {
        let sender = self.sender.load();
        let Some(sender) = sender.as_ref() else { return Err(Unsent) };
        sender.try_send(request).map_err(|_| Unsent)?;
        if self.waiting_since_us.load(Ordering::Relaxed) == 0 {
            self.waiting_since_us.store(self.clock.now_us().max(1), Ordering::Relaxed);
        }
        Ok(())
    }

    /// For how many microseconds requests have been out without a single reply; 0 when none is.
    pub fn silent_us(&self, now_us: u64) -> u64 {
        match self.waiting_since_us.load(Ordering::Relaxed) {
            0 => 0,
            since => now_us.saturating_sub(since),
        }
    }

    /// When the peer last replied over this link; 0: never.
    pub fn heard_us(&self) -> u64 {
        self.heard_us.load(Ordering::Relaxed)
    }

    /// Where to connect from now on.
    pub fn set_address(&self, address: &str) {
        if self.address.load().as_str() != address {
            self.address.store(Arc::new(address.to_owned()));
        }
    }

    /// The peer was just heard of: one that is not connected is not kept waiting for it, since requests count on it from now on.
    pub fn hurry(&self) {
        if !self.is_open() {
            self.hurry.notify_one();
        }
    }

    /// Whether the stream is open.
    pub fn is_open(&self) -> bool {
        self.sender.load().is_some()
    }

    /// Ends the link: the peer has left the ring. A foreground link takes nothing more, and ends when all that was sent is
    /// answered: who left finishes what it coordinates.
    pub fn retire(&self) {
        self.retired.send_replace(true);
    }

    /// Connects, reads replies, and reconnects, until `stop` turns true or the link is retired and has ended.
    pub async fn run(
        self: Arc<Self>,
        identity: StreamIdentity,
        events: Arc<dyn LinkEvents>,
        mut stop: watch::Receiver<bool>,
    ) {
        let (mut pause, mut refused) = (RECONNECT_MIN, String::new());
        let mut retired = self.retired.subscribe();
        while !*stop.borrow() && !*retired.borrow() {
            let outcome = tokio::select! {
                outcome = self.session(&identity, &*events) => outcome,
                _ = stop.wait_for(|stop| *stop) => Ok(()),
            };
            let connected = self.sender.swap(None).is_some() || *retired.borrow();
            self.waiting_since_us.store(0, Ordering::Relaxed);
            self.heard_us.store(0, Ordering::Relaxed);
            pause = match outcome {
                Ok(()) => RECONNECT_MIN,
                Err(status) => {
                    self.note(&status, &mut refused);
                    events.down(self.peer, self.class, if connected { Lost::Broke } else { lost(&status) });
                    if connected { RECONNECT_MIN } else { (pause * 2).min(RECONNECT_MAX) }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.hurry.notified() => {}
                _ = stop.wait_for(|stop| *stop) => {}
                _ = retired.wait_for(|retired| *retired) => {}
            }
        }
    }

    /// A peer that refuses says why: for people, but not each second.
    fn note(&self, status: &Status, refused: &mut String) {
        let (peer, class) = (self.peer, self.class);
        // That this node's own certificate was refused shows only when the peer is first heard of again.
        let why = match (status.code(), dynamo_tls::refusal(status)) {
            (_, Some(why)) => why,
            (Code::FailedPrecondition, None) => status.message().to_owned(),
            _ => String::new(),
        };
        if !why.is_empty() && *refused != why {
            tracing::warn!(%peer, ?class, "the peer refuses the stream, or is refused: {why}");
            *refused = why;
        } else {
            tracing::debug!(%peer, ?class, %status, "no stream to the peer");
        }
    }

    async fn session(&self, identity: &StreamIdentity, events: &dyn LinkEvents) -> Result<(), Status> {
        let mut retired = self.retired.subscribe();
        let (sender, replies) = tokio::select! {
            opened = self.open(identity) => opened?,
            _ = retired.wait_for(|retired| *retired) => return Err(left()),
        };
        self.sender.store(Some(Arc::new(sender)));
        events.up(self.peer, self.class);
        tokio::select! {
            status = self.read(replies, events) => Err(status),
            status = self.taken_leave(retired) => Err(status),
        }
    }

    /// Hands on what the peer replies, until the stream ends.
    async fn read(&self, mut replies: Streaming<ReplicaReplies>, events: &dyn LinkEvents) -> Status {
        loop {
            let frame = match replies.message().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return Status::unavailable("the peer closed the stream"),
                Err(status) => return status,
            };
            self.heard_us.store(self.clock.now_us(), Ordering::Relaxed);
            self.waiting_since_us.store(0, Ordering::Relaxed);
            for reply in frame.replies {
                events.reply(self.peer, self.class, reply);
            }
        }
    }

    /// The peer has left the ring. Without a sender the requests' half of the stream ends, and the peer ends the other half
    /// when it has answered all. What nobody waits for in the foreground is asked of others at once.
    async fn taken_leave(&self, mut retired: watch::Receiver<bool>) -> Status {
        let _ = retired.wait_for(|retired| *retired).await;
        if self.class == Class::Foreground {
            self.sender.store(None);
            tokio::time::sleep(LEAVE).await;
        }
        left()
    }

    /// A stream to the peer, and the queue of what is sent over it.
    async fn open(
        &self,
        identity: &StreamIdentity,
    ) -> Result<(mpsc::Sender<ReplicaRequest>, Streaming<ReplicaReplies>), Status> {
        let endpoint = endpoint(&self.address.load(), identity.connect_timeout)?;
        let channel = match &identity.tls {
            None => endpoint.connect().await,
            Some(tls) => endpoint.connect_with_connector(tls.connector(Some(self.peer))).await,
        };
        let channel = channel.map_err(|error| match dynamo_tls::refusal(&error) {
            Some(why) => Status::failed_precondition(why),
            None => {
                let mut status = Status::unavailable(format!("{error:?}"));
                status.set_source(Arc::new(error));
                status
            }
        })?;
        let (sender, queue) = mpsc::channel(QUEUE);
        let mut request = Request::new(Frames::new(queue, request_bytes, |requests| ReplicaRequests { requests }));
        identity.write(self.peer, request.metadata_mut())?;
        let mut client = ReplicaClient::new(channel)
            .max_decoding_message_size(PEER_MESSAGE_BYTES)
            .max_encoding_message_size(PEER_MESSAGE_BYTES);
        let replies = tokio::time::timeout(identity.connect_timeout, client.exchange(request))
            .await
            .map_err(|_| Status::deadline_exceeded("the peer did not open the stream in time"))??;
        let common = Spoken::answered(replies.metadata().get(PROTOCOL_METADATA).map(|version| version.as_bytes()))
            .map_err(Status::failed_precondition)?;
        tracing::debug!(peer = %self.peer, class = ?self.class, common, "the stream is open, in the newest common language");
        Ok((sender, replies.into_inner()))
    }
}

fn left() -> Status {
    Status::unavailable("the peer has left the ring")
}

/// What a stream's first headers say of the sender.
#[derive(Clone)]
pub struct StreamIdentity {
    /// Name of the cluster; a stream from another is refused.
    pub cluster: String,
    /// The sender.
    pub node: NodeId,
    /// The ring that it goes by; a stream from one with another ring of the same epoch is refused.
    pub ring: Arc<RingMark>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// What is shown, and whom it is shown to; nothing in plaintext.
    pub tls: Option<Arc<NodeTls>>,
}

impl StreamIdentity {
    fn write(&self, to: NodeId, metadata: &mut tonic::metadata::MetadataMap) -> Result<(), Status> {
        let invalid = |_| Status::invalid_argument("the cluster's name is no header value");
        metadata.insert(CLUSTER_METADATA, self.cluster.parse().map_err(invalid)?);
        metadata.insert(NODE_METADATA, self.node.to_string().parse().map_err(invalid)?);
        metadata.insert(TARGET_METADATA, to.to_string().parse().map_err(invalid)?);
        metadata.insert(PROTOCOL_METADATA, Spoken::HERE.highest.into());
        metadata.insert(PROTOCOL_LOWEST_METADATA, Spoken::HERE.lowest.into());
        metadata.insert(RING_METADATA, self.ring.text().parse().map_err(invalid)?);
        Ok(())
    }
}

/// An endpoint of a peer with the settings that all peer connections share.
pub fn endpoint(address: &str, connect_timeout: Duration) -> Result<Endpoint, Status> {
    Ok(Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| Status::invalid_argument(format!("{address:?} is no address of a peer: {error}")))?
        .connect_timeout(connect_timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true))
}

fn request_bytes(request: &ReplicaRequest) -> usize {
    64 + match &request.request {
        Some(replica_request::Request::Write(write)) => write.set.len(),
        Some(replica_request::Request::Put(put)) => put.value.len(),
        Some(replica_request::Request::Keep(keep)) => keep.question.len(),
        _ => 0,
    }
}
