//! What can happen next.

use dynamo_gossip::Message;
use dynamo_storage::{Outcome, StoreError};

use crate::{
    message::{Answer, ClientRequest, Lost, ReplicaReply, ReplicaRequest},
    node::Done,
};

/// Something that will happen at its time.
pub enum Event {
    /// A node's own affairs; void when the node has been started again since.
    Node { node: u8, life: u32, what: NodeEvent },
    /// A client's request reaches a node.
    Request { node: u8, request: Box<ClientRequest> },
    /// A client begins its next operation.
    ClientBegins { client: u8 },
    /// An answer reaches a client.
    Answer { client: u8, attempt: u32, answer: Box<Answer> },
    /// A client finds nobody at a node.
    NobodyThere { client: u8, attempt: u32 },
    /// A client has waited long enough.
    ClientTimeout { client: u8, attempt: u32 },
    /// A request reaches the server's end of a stream.
    StreamRequest { stream: u16, generation: u32, request: Box<ReplicaRequest> },
    /// A reply reaches the client's end of a stream.
    StreamReply { stream: u16, generation: u32, reply: Box<ReplicaReply> },
    /// A stream is opened, if both ends are still the same and can reach each other.
    StreamOpens { stream: u16, client_life: u32, server_life: u32 },
    /// A stream could not be opened.
    StreamFails { stream: u16, client_life: u32, lost: Lost },
    /// The client's end notices that the stream is broken.
    StreamBreaks { stream: u16, generation: u32, lost: Lost },
    /// Silence has lasted: the stream is given up if it still does.
    StreamSilent { stream: u16, generation: u32 },
    /// What waited for a cut to end is sent again.
    StreamFlush { stream: u16, generation: u32 },
    /// A gossip message arrives; its number is the sender's.
    Gossip { from: u8, to: u8, from_life: u32, message: Box<Message> },
    /// A fault begins.
    FaultBegins { fault: u16 },
    /// A fault ends.
    FaultEnds { fault: u16 },
    /// An administrator asks for a change of the ring.
    AdminActs { edit: u16, tries: u8 },
    /// Somebody asks a node whether its ring is the newest; so many have asked before.
    OperatorLooks { number: u64 },
    /// A second of Kubernetes and of its operators.
    Tending,
    /// Somebody does something to the cluster in Kubernetes, or something befalls it.
    Deed { number: u16 },
    /// A flapping cut turns.
    FaultTurns { fault: u16, cut: bool },
}

/// A node's own affairs.
pub enum NodeEvent {
    /// Connects a stream (its class by number) to a peer.
    Connect { peer: u8, class: u8 },
    /// The receipt of a gossip message.
    GossipReceipt { peer: u8 },
    /// No receipt will come.
    GossipFailed { peer: u8, lost: Lost },
    /// Looks at links and disk; each tenth time a round of gossip.
    Look,
    /// The engine applies what waits.
    Apply,
    /// The engine has synced.
    Synced,
    /// The engine has read.
    Read { done: Done, result: Box<Result<Outcome, StoreError>> },
    /// Time for the requests in flight.
    Tick,
    /// Time for handoff.
    HandoffTick,
    /// Time for the keeper.
    KeeperTick,
    /// A write that no home took is coordinated here.
    CoordinateHere { write: Box<crate::node::Write>, reply: crate::node::ReplyTo },
    /// A stopping node has had its time to finish.
    Drained,
    /// Its disk is not what it took it for.
    Outlived,
}
