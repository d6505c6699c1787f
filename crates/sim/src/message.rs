//! What travels: between clients and nodes, and between nodes. The same as the node's wire messages, without the wire.

use bytes::Bytes;
use dynamo_keeper::{Answer as KeepAnswer, Question};
use dynamo_quorum::Refusal;
use dynamo_ring::NodeId;
use dynamo_version::Mode;
use smallvec::SmallVec;

use crate::history::WriteId;

/// A client's request.
#[derive(Debug, Clone)]
pub struct ClientRequest {
    /// Who waits for it, and which of its attempts this is.
    pub client: u8,
    pub attempt: u32,
    pub key: u16,
    pub ask: Ask,
}

/// What a client asks.
#[derive(Debug, Clone)]
pub enum Ask {
    Get,
    Write(WriteAsk),
}

/// A put or, without a value, a delete.
#[derive(Debug, Clone)]
pub struct WriteAsk {
    pub write: WriteId,
    pub value: Option<Bytes>,
    pub context: Bytes,
}

/// The answer to a client.
pub type Answer = Result<Response, Refused>;

/// What a client gets.
#[derive(Debug, Clone)]
pub enum Response {
    Got {
        values: SmallVec<[Bytes; 2]>,
        /// Deletes that stand beside the values, or alone. A client does not see them; its context covers them.
        deletes: SmallVec<[WriteId; 1]>,
        context: Bytes,
    },
    Written {
        context: Bytes,
    },
}

/// Why a request was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// R or W could not be met; whether anything was begun.
    NotEnough {
        begun: bool,
        timed_out: bool,
    },
    UnknownBucket,
    BadContext,
    DiskFull,
    TooManySiblings,
    NotReady,
    CoordinatorLost,
    Internal,
}

/// A request to a replica, with its number at the sender; 0: nobody waits for the reply.
#[derive(Debug, Clone)]
pub struct ReplicaRequest {
    pub id: u64,
    /// The epoch of the sender's ring.
    pub epoch: u64,
    pub ask: ReplicaAsk,
}

#[derive(Debug, Clone)]
pub enum ReplicaAsk {
    Write(ReplicaWrite),
    Read {
        key: u16,
        digest: bool,
        strict: bool,
    },
    /// A client's write, sent on to be coordinated.
    Put {
        key: u16,
        write: WriteAsk,
    },
    /// A question of the sender's keeper.
    Keep(Box<Question>),
}

#[derive(Debug, Clone)]
pub struct ReplicaWrite {
    pub key: u16,
    pub set: Bytes,
    pub digest: u64,
    pub mode: Mode,
    pub hint_for: Option<NodeId>,
    pub sync: bool,
    /// What it is sent for.
    pub why: Why,
}

/// What a replica write is for: no node looks at it, people and coverage do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Put,
    Repair,
    Handoff,
}

/// A replica's reply.
#[derive(Debug, Clone)]
pub struct ReplicaReply {
    pub id: u64,
    pub reply: Reply,
}

#[derive(Debug, Clone)]
pub enum Reply {
    Ack {
        durable: bool,
    },
    State(Option<(Bytes, u64)>),
    Put(Answer),
    /// The answer to a question of a keeper.
    Keep(Box<KeepAnswer>),
    /// And the epoch of the refusing node's ring, where that is the reason; else 0.
    Refusal(Refusal, u64),
}

/// Which of the two streams to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Requests that a client waits for, and their repairs.
    Foreground,
    /// Hinted handoff, and what keepers say.
    Background,
}

/// Why a connection could not be had or was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Nothing listens there, or the peer closed.
    Refused,
    /// No answer in time.
    Timeout,
}
