//! What travels: digest, delta, delta (§4.8), pings on behalf of others, and the bucket table.

use dynamo_ring::NodeId;

use crate::{
    buckets::Bucket,
    member::{NodeInfo, Version},
};

/// What the sender knows, by version (§4.8.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Digest {
    /// Each known node and how new the sender's knowledge of it is.
    pub entries: Vec<(NodeId, Version)>,
    /// Names the sender's bucket table: [`crate::BucketTable::digest`].
    pub buckets: u64,
}

/// A message between two nodes (§4.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Begins an exchange: answered by a delta.
    Digest(Digest),
    /// What the receiver lacks, and what the sender knows, so that the receiver can send back what the sender lacks.
    Delta {
        /// News, at most 256 nodes of them.
        nodes: Vec<(NodeInfo, Version)>,
        /// None in the last message of an exchange, and in what is told unasked.
        digest: Option<Digest>,
    },
    /// Are you there?
    Ping {
        /// To match the answer.
        seq: u64,
    },
    /// Yes.
    Ack {
        /// The ping's.
        seq: u64,
    },
    /// I get no answer from `target`: do you? (One bad link is no dead node, §4.8.3.)
    PingRequest {
        /// Whom to ping.
        target: NodeId,
        /// To match the answer.
        seq: u64,
    },
    /// It answers me. Sent only when it does.
    PingReply {
        /// Who answered.
        target: NodeId,
        /// The request's.
        seq: u64,
    },
    /// The sender's whole bucket table.
    Buckets(Vec<Bucket>),
}
