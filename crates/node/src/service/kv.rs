//! The clients' service: unary calls, batches, sessions and the ring's description (§4.1, 6.4).
//!
//! Decides nothing: every request goes to the [`Coordinator`], whose answer comes back through [`ReplyTo`].

use std::{pin::Pin, sync::Arc};

use dynamo_wire::v1::{
    BatchGetRequest, BatchGetResponse, BatchPutRequest, BatchPutResponse, DeleteRequest, DeleteResponse,
    DescribeRingRequest, DescribeRingResponse, ErrorCode, GetRequest, GetResponse, PutRequest, PutResponse,
    SessionRequest, SessionRequests, SessionResponse, SessionResponses, batch_get_response, batch_put_response,
    kv_server::Kv, session_request, session_response,
};
use futures_util::{Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status, Streaming};

use super::admin::describe_ring;
use crate::{
    batch::Frames,
    coordinator::Coordinator,
    membership::Membership,
    request::{Answer, ClientRequest, ClientResponse, Refused, ReplyTo, failure, status},
    tls::Grant,
};

/// Serves `dynamo.v1.Kv`.
pub struct KvService {
    coordinator: Arc<Coordinator>,
    membership: Arc<Membership>,
}

impl KvService {
    /// The service in front of `coordinator`.
    pub fn new(coordinator: Arc<Coordinator>, membership: Arc<Membership>) -> Self {
        Self { coordinator, membership }
    }

    async fn call(&self, request: ClientRequest) -> Answer {
        let (caller, answer) = oneshot::channel();
        self.coordinator.begin(request, ReplyTo::Call(caller));
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    fn batch_fits(&self, items: usize) -> Result<(), Status> {
        let limit = self.coordinator.limits.batch_items;
        if items <= limit {
            return Ok(());
        }
        Err(status(Refused::new(
            ErrorCode::InvalidArgument,
            format!("a batch of {items} items is over the limit of {limit}: nothing was done; send several batches"),
        )))
    }
}

const READS_ONLY: &str = "what you show is not enough for this: nothing was written; give a token or a certificate of a client of this cluster";

fn stopping() -> Refused {
    // Not "not ready", which says that nothing was begun: a client would write again.
    Refused::new(
        ErrorCode::CoordinatorLost,
        "the node stopped before it could answer: a write may or may not have happened; read the key, or ask another node",
    )
}

fn written(answer: Answer) -> Result<PutResponse, Refused> {
    match answer? {
        ClientResponse::Written { context, siblings } => Ok(PutResponse { context, siblings }),
        ClientResponse::Get(_) => unreachable!("a write is answered as a write"),
    }
}

fn found(answer: Answer) -> Result<GetResponse, Refused> {
    match answer? {
        ClientResponse::Get(get) => Ok(get),
        ClientResponse::Written { .. } => unreachable!("a get is answered as a get"),
    }
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        found(self.call(ClientRequest::Get(request.into_inner())).await).map(Response::new).map_err(status)
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        written(self.call(ClientRequest::Put(request.into_inner())).await).map(Response::new).map_err(status)
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let written = written(self.call(ClientRequest::Delete(request.into_inner())).await).map_err(status)?;
        Ok(Response::new(DeleteResponse { context: written.context }))
    }

    async fn batch_get(&self, request: Request<BatchGetRequest>) -> Result<Response<BatchGetResponse>, Status> {
        use batch_get_response::{Result as Item, result::Result as Outcome};
        let gets = request.into_inner().gets;
        self.batch_fits(gets.len())?;
        let answers = gets.into_iter().map(|get| self.call(ClientRequest::Get(get)));
        let results = futures_util::future::join_all(answers).await.into_iter().map(|answer| Item {
            result: Some(match found(answer) {
                Ok(response) => Outcome::Found(response),
                Err(refused) => Outcome::Failure(failure(refused)),
            }),
        });
        Ok(Response::new(BatchGetResponse { results: results.collect() }))
    }

    async fn batch_put(&self, request: Request<BatchPutRequest>) -> Result<Response<BatchPutResponse>, Status> {
        use batch_put_response::{Result as Item, result::Result as Outcome};
        let puts = request.into_inner().puts;
        self.batch_fits(puts.len())?;
        let answers = puts.into_iter().map(|put| self.call(ClientRequest::Put(put)));
        let results = futures_util::future::join_all(answers).await.into_iter().map(|answer| Item {
            result: Some(match written(answer) {
                Ok(response) => Outcome::Written(response),
                Err(refused) => Outcome::Failure(failure(refused)),
            }),
        });
        Ok(Response::new(BatchPutResponse { results: results.collect() }))
    }

    async fn describe_ring(&self, _: Request<DescribeRingRequest>) -> Result<Response<DescribeRingResponse>, Status> {
        Ok(Response::new(describe_ring(&self.coordinator, &self.membership)))
    }

    type SessionStream = Pin<Box<dyn Stream<Item = Result<SessionResponses, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequests>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        // A request is taken only once its answer has a place: a client that doesn't read its answers is not read.
        let (answers, queue) = mpsc::channel(self.coordinator.limits.session_inflight);
        let grant = request.extensions().get::<Grant>().cloned();
        tokio::spawn(read_session(self.coordinator.clone(), request.into_inner(), answers, grant));
        let frames = Frames::new(queue, response_bytes, |responses| SessionResponses { responses });
        Ok(Response::new(Box::pin(frames.map(Ok))))
    }
}

/// Takes requests until the client closes or hangs up, or what it has shown is good no longer; those already begun run to
/// their end.
async fn read_session(
    coordinator: Arc<Coordinator>,
    mut requests: Streaming<SessionRequests>,
    answers: mpsc::Sender<SessionResponse>,
    mut grant: Option<Grant>,
) {
    while let Ok(Some(frame)) = requests.message().await {
        if grant.as_mut().is_some_and(|grant| !grant.holds()) {
            return;
        }
        let may_write = grant.as_ref().is_none_or(Grant::may_write);
        for SessionRequest { id, request } in frame.requests {
            let Ok(place) = answers.clone().reserve_owned().await else { return };
            let delete = matches!(request, Some(session_request::Request::Delete(_)));
            let reply = ReplyTo::Session { id, delete, place };
            match request {
                Some(session_request::Request::Get(get)) => coordinator.begin(ClientRequest::Get(get), reply),
                Some(_) if !may_write => reply.give(Err(Refused::new(ErrorCode::NotAllowed, READS_ONLY))),
                Some(session_request::Request::Put(put)) => coordinator.begin(ClientRequest::Put(put), reply),
                Some(session_request::Request::Delete(delete)) => {
                    coordinator.begin(ClientRequest::Delete(delete), reply);
                }
                None => reply.give(Err(Refused::new(
                    ErrorCode::InvalidArgument,
                    "a session request without get, put or delete: nothing was done; is the client newer than the node?",
                ))),
            }
        }
    }
}

fn response_bytes(response: &SessionResponse) -> usize {
    64 + match &response.response {
        Some(session_response::Response::Get(get)) => get.values.iter().map(bytes::Bytes::len).sum(),
        _ => 0,
    }
}
