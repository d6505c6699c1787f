//! The peers' gossip service: takes a message, gives a receipt, and lets the machine answer by messages of its own.

use std::sync::Arc;

use dynamo_wire::v1::{GossipEnvelope, GossipReceipt, gossip_server::Gossip};
use tonic::{Request, Response, Status};

use crate::{
    gossip_wire,
    language::Spoken,
    membership::{self, Membership},
    tls::Speaker,
};

/// Serves `dynamo.v1.Gossip`.
pub struct GossipService {
    cluster: String,
    membership: Arc<Membership>,
}

impl GossipService {
    /// Of a node of `cluster`.
    pub fn new(cluster: String, membership: Arc<Membership>) -> Self {
        Self { cluster, membership }
    }
}

#[tonic::async_trait]
impl Gossip for GossipService {
    async fn tell(&self, request: Request<GossipEnvelope>) -> Result<Response<GossipReceipt>, Status> {
        let (_, extensions, envelope) = request.into_parts();
        if envelope.cluster != self.cluster {
            return Err(Status::failed_precondition(format!(
                "this node belongs to cluster {:?}, the caller to {:?}: nothing was taken; check the addresses",
                self.cluster, envelope.cluster
            )));
        }
        let from = gossip_wire::id_from_wire(&envelope.from)
            .ok_or_else(|| Status::invalid_argument("the envelope names no sender"))?;
        Speaker::check(&extensions, &self.cluster, from)?;
        Spoken::said(envelope.protocol_lowest, envelope.protocol).common().map_err(Status::failed_precondition)?;
        self.membership.check_namesake(from, &envelope.from_address).await?;
        if let Some(message) = membership::message_of(envelope.message) {
            self.membership.on_message(from, message);
        }
        Ok(Response::new(self.membership.receipt()))
    }
}
