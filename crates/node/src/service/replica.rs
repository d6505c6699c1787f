//! The peers' service: takes a peer's replica requests from its stream and answers each as the engine finishes it.

use std::{pin::Pin, sync::Arc};

use dynamo_ring::NodeId;
use dynamo_wire::{
    CLUSTER_METADATA, NODE_METADATA, PROTOCOL_LOWEST_METADATA, PROTOCOL_METADATA, RING_METADATA, TARGET_METADATA,
    v1::{ReplicaReplies, ReplicaReply, ReplicaRequests, replica_reply, replica_server::Replica},
};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use crate::{batch::Frames, cluster::Cluster, language::Spoken, replica::Replicas, ring_mark::RingMark, tls::Speaker};

/// Replies that a slow peer may leave unread; then its requests are no longer read.
const REPLIES: usize = 16 * 1024;

/// Serves `dynamo.v1.Replica`.
pub struct ReplicaService {
    cluster: String,
    me: NodeId,
    ring: Arc<RingMark>,
    replicas: Arc<Replicas>,
}

impl ReplicaService {
    /// The service of a node of this cluster.
    pub fn new(cluster: &Cluster, replicas: Arc<Replicas>) -> Self {
        Self { cluster: cluster.name.clone(), me: cluster.me, ring: cluster.mark.clone(), replicas }
    }

    /// Who it is, and which version of the language is spoken.
    fn check(&self, metadata: &MetadataMap) -> Result<(NodeId, u32), Status> {
        let text = |key: &str| metadata.get(key).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let cluster = text(CLUSTER_METADATA);
        if cluster != self.cluster {
            return Err(Status::failed_precondition(format!(
                "this node belongs to cluster {:?}, the caller to {cluster:?}: nothing was exchanged; check the addresses",
                self.cluster
            )));
        }
        let version = |key| text(key).parse().unwrap_or_default();
        let theirs = Spoken::said(version(PROTOCOL_LOWEST_METADATA), version(PROTOCOL_METADATA));
        let common = theirs.common().map_err(Status::failed_precondition)?;
        // Addresses move from node to node: what is meant for another must not be acknowledged in its name.
        if metadata.contains_key(TARGET_METADATA) && text(TARGET_METADATA).parse() != Ok(self.me) {
            return Err(Status::failed_precondition(format!(
                "this node is {}, the caller looks for {}: nothing was exchanged; gossip tells where that one is now",
                self.me,
                text(TARGET_METADATA)
            )));
        }
        if let Some(epoch) = self.ring.contradicted_by(text(RING_METADATA)) {
            return Err(Status::failed_precondition(format!(
                "this node and the caller have different rings of epoch {epoch}: nothing was exchanged; their cluster.members, cluster.replication or cluster.partitions differ, or they are of two clusters with the name {cluster:?}"
            )));
        }
        let from = text(NODE_METADATA).parse();
        let from = from.map_err(|_| Status::invalid_argument("the stream's headers name no node id"))?;
        Ok((from, common))
    }
}

#[tonic::async_trait]
impl Replica for ReplicaService {
    type ExchangeStream = Pin<Box<dyn Stream<Item = Result<ReplicaReplies, Status>> + Send>>;

    async fn exchange(
        &self,
        request: Request<Streaming<ReplicaRequests>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let (from, common) = self.check(request.metadata())?;
        Speaker::check(request.extensions(), &self.cluster, from)?;
        let (replies, queue) = mpsc::channel(REPLIES);
        tokio::spawn(read(self.replicas.clone(), from, request.into_inner(), replies));
        let frames = Frames::new(queue, reply_bytes, |replies| ReplicaReplies { replies });
        let mut response: Response<Self::ExchangeStream> = Response::new(Box::pin(frames.map(Ok)));
        response.metadata_mut().insert(PROTOCOL_METADATA, common.into());
        Ok(response)
    }
}

async fn read(
    replicas: Arc<Replicas>,
    from: NodeId,
    mut requests: Streaming<ReplicaRequests>,
    replies: mpsc::Sender<ReplicaReply>,
) {
    while let Ok(Some(frame)) = requests.message().await {
        for request in frame.requests {
            let Ok(place) = replies.clone().reserve_owned().await else { return };
            replicas.serve(from, request, place);
        }
    }
}

fn reply_bytes(reply: &ReplicaReply) -> usize {
    32 + match &reply.reply {
        Some(replica_reply::Reply::State(state)) => state.set.len(),
        Some(replica_reply::Reply::Keep(keep)) => keep.answer.len(),
        _ => 0,
    }
}
