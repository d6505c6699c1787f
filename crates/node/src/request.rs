//! A client's request and where its answer goes, whichever way it came: unary call, session, or forwarded by a peer.

use dynamo_wire::v1::{
    DeleteRequest, DeleteResponse, ErrorCode, Failure, ForwardedPut, ForwardedResult, GetRequest, GetResponse,
    PutRequest, PutResponse, ReplicaReply, SessionResponse, replica_reply, session_response,
};
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Status};

/// What a client asks.
#[derive(Debug)]
pub enum ClientRequest {
    /// Read all siblings.
    Get(GetRequest),
    /// Write a version.
    Put(PutRequest),
    /// Write a tombstone.
    Delete(DeleteRequest),
    /// A put or delete that a peer sent on, because it is no home replica of the key.
    Forwarded(ForwardedPut),
}

/// What a client gets.
#[derive(Debug)]
pub enum ClientResponse {
    /// Of a get.
    Get(GetResponse),
    /// Of a put, a delete, or either forwarded.
    Written {
        /// Sealed; covers the writer's context and the write.
        context: bytes::Bytes,
        /// Versions at the coordinator after the write.
        siblings: u32,
    },
}

/// Why a request was not done: for people, and for programs.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// For programs.
    pub code: ErrorCode,
    /// What failed, what became of the data, what to do.
    pub message: String,
}

impl Refused {
    /// A refusal with its sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The node ends with it under way.
    pub fn lost() -> Self {
        // Not "not ready", which says that nothing was begun: a client would write again.
        Self::new(
            ErrorCode::CoordinatorLost,
            "the node stopped before it could answer: a write may or may not have happened; read the key, or ask another node",
        )
    }
}

/// The outcome of a client's request.
pub type Answer = Result<ClientResponse, Refused>;

/// Where an answer goes. Each has its place reserved beforehand, so that giving it never waits.
pub enum ReplyTo {
    /// A unary call that awaits it; `true`: it was a delete.
    Call(oneshot::Sender<Answer>),
    /// A client's session.
    Session(Place),
    /// The peer that sent it on.
    Peer {
        /// The peer's number for it.
        id: u64,
        /// Its place in the stream's queue.
        place: mpsc::OwnedPermit<ReplicaReply>,
    },
}

/// A place in a session's queue, for the answer to one request. One that is dropped says that the answer is lost: who is told that
/// a session has ended takes what has no answer as never begun.
pub struct Place {
    /// The client's number for the request.
    id: u64,
    /// A put's answer and a delete's have types of their own.
    delete: bool,
    permit: Option<mpsc::OwnedPermit<SessionResponse>>,
}

impl Place {
    /// For the request that the client numbered `id`.
    pub fn new(id: u64, delete: bool, permit: mpsc::OwnedPermit<SessionResponse>) -> Self {
        Self { id, delete, permit: Some(permit) }
    }

    fn fill(mut self, answer: Answer) {
        self.send(answer);
    }

    fn send(&mut self, answer: Answer) {
        if let Some(permit) = self.permit.take() {
            permit.send(SessionResponse { id: self.id, response: Some(session_response(answer, self.delete)) });
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.send(Err(Refused::lost()));
    }
}

impl ReplyTo {
    /// Gives the answer. One whose asker has hung up is dropped.
    pub fn give(self, answer: Answer) {
        match self {
            Self::Call(caller) => {
                let _ = caller.send(answer);
            }
            Self::Session(place) => place.fill(answer),
            Self::Peer { id, place } => {
                place.send(ReplicaReply { id, reply: Some(replica_reply::Reply::Put(forwarded_result(answer))) });
            }
        }
    }
}

fn session_response(answer: Answer, delete: bool) -> session_response::Response {
    use session_response::Response;
    match answer {
        Ok(ClientResponse::Get(get)) => Response::Get(get),
        Ok(ClientResponse::Written { context, .. }) if delete => Response::Delete(DeleteResponse { context }),
        Ok(ClientResponse::Written { context, siblings }) => Response::Put(PutResponse { context, siblings }),
        Err(refused) => Response::Failure(failure(refused)),
    }
}

fn forwarded_result(answer: Answer) -> ForwardedResult {
    match answer {
        Ok(ClientResponse::Written { context, siblings }) => {
            ForwardedResult { context, siblings, error: 0, message: String::new() }
        }
        Ok(ClientResponse::Get(_)) => unreachable!("only writes are forwarded"),
        Err(Refused { code, message }) => {
            ForwardedResult { context: bytes::Bytes::new(), siblings: 0, error: code as u32, message }
        }
    }
}

/// The answer that a peer gave to a forwarded write.
pub fn forwarded_answer(result: ForwardedResult) -> Answer {
    if result.error == 0 {
        return Ok(ClientResponse::Written { context: result.context, siblings: result.siblings });
    }
    let code = i32::try_from(result.error).ok().and_then(|code| ErrorCode::try_from(code).ok());
    Err(Refused::new(code.unwrap_or(ErrorCode::Internal), result.message))
}

/// As batches and sessions carry it.
pub fn failure(refused: Refused) -> Failure {
    Failure { code: refused.code as i32, message: refused.message }
}

/// As unary calls carry it: a gRPC status, with the error's own name beside it.
pub fn status(refused: Refused) -> Status {
    let code = match refused.code {
        ErrorCode::InvalidArgument | ErrorCode::BadContext => Code::InvalidArgument,
        ErrorCode::UnknownBucket => Code::NotFound,
        ErrorCode::NotEnoughReplicas | ErrorCode::NotReady => Code::Unavailable,
        ErrorCode::DiskFull | ErrorCode::Overloaded => Code::ResourceExhausted,
        ErrorCode::TooManySiblings => Code::FailedPrecondition,
        ErrorCode::BucketConflict => Code::AlreadyExists,
        ErrorCode::CoordinatorLost | ErrorCode::MayBeWritten => Code::Aborted,
        ErrorCode::NotAllowed => Code::PermissionDenied,
        ErrorCode::Internal | ErrorCode::Unspecified => Code::Internal,
    };
    named(code, refused)
}

/// The same under a status of the caller's choice.
pub fn named(code: Code, refused: Refused) -> Status {
    let mut status = Status::new(code, refused.message);
    if let Ok(name) = refused.code.as_str_name().parse() {
        status.metadata_mut().insert(dynamo_wire::CODE_METADATA, name);
    }
    status
}
