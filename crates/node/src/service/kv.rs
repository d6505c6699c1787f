//! The clients' service: unary calls, batches, sessions and the ring's description (§4.1, 6.4).
//!
//! Decides nothing: every request goes to the [`Coordinator`], whose answer comes back through [`ReplyTo`].

use std::sync::Arc;

use dynamo_wire::v1::{
    BatchGetRequest, BatchGetResponse, BatchPutRequest, BatchPutResponse, DeleteRequest, DeleteResponse,
    DescribeRingRequest, DescribeRingResponse, ErrorCode, GetRequest, GetResponse, PutRequest, PutResponse,
    SessionRequests, batch_get_response, batch_put_response, kv_server::Kv,
};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use super::{
    admin::describe_ring,
    session::{Answers, Sessions},
};
use crate::{
    coordinator::Coordinator,
    membership::Membership,
    request::{Answer, ClientRequest, ClientResponse, Refused, ReplyTo, failure, status},
    tls::Grant,
};

/// Serves `dynamo.v1.Kv`.
pub struct KvService {
    coordinator: Arc<Coordinator>,
    membership: Arc<Membership>,
    sessions: Sessions,
}

impl KvService {
    /// The service in front of `coordinator`.
    pub fn new(coordinator: Arc<Coordinator>, membership: Arc<Membership>, sessions: Sessions) -> Self {
        Self { coordinator, membership, sessions }
    }

    async fn call(&self, request: ClientRequest) -> Answer {
        let (caller, answer) = oneshot::channel();
        self.coordinator.begin(request, ReplyTo::Call(caller));
        answer.await.unwrap_or_else(|_| Err(Refused::lost()))
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

    type SessionStream = Answers;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequests>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let grant = request.extensions().get::<Grant>().cloned();
        self.sessions.open(self.coordinator.clone(), request.into_inner(), grant).map(Response::new)
    }
}
