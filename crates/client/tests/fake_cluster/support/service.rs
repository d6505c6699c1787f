//! What a fake node serves: sessions and calls by its script, and the little of the rest that a client needs.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use dynamo_wire::{
    CODE_METADATA,
    v1::{
        BatchGetRequest, BatchGetResponse, BatchPutRequest, BatchPutResponse, Bucket, CreateBucketRequest,
        CreateBucketResponse, DeleteRequest, DeleteResponse, DescribeBucketRequest, DescribeBucketResponse,
        DescribeRingRequest, DescribeRingResponse, GetRequest, GetResponse, ListBucketsRequest, ListBucketsResponse,
        PutRequest, PutResponse, SessionRequest, SessionRequests, SessionResponse, SessionResponses, StatusRequest,
        StatusResponse, admin_server::Admin, kv_server::Kv, session_request, session_response,
    },
};
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    node::State,
    script::{Reply, fail},
};

type Answers = mpsc::Sender<Result<SessionResponses, Status>>;

#[derive(Clone)]
pub struct Service {
    pub name: String,
    pub state: Arc<State>,
}

impl Service {
    fn reply_to(&self, request: &session_request::Request, alone: bool) -> Reply {
        self.state.seen.lock().unwrap().push((request.clone(), alone));
        let script = self.state.script.lock().unwrap().clone();
        script(request)
    }

    /// A call that came alone.
    async fn call(&self, request: session_request::Request) -> Result<session_response::Response, Status> {
        let response = match self.reply_to(&request, true) {
            Reply::Say(response) | Reply::Astray(response) | Reply::Twice(response) => response,
            Reply::Late(delay, response) => {
                tokio::time::sleep(delay).await;
                response
            }
            Reply::Empty | Reply::HangUp | Reply::End => return Err(Status::unknown("no answer")),
            Reply::Cut => self.cut().await,
            Reply::Babble => self.babble().await,
            Reply::Never => std::future::pending().await,
        };
        match response {
            session_response::Response::Failure(failure) => {
                let mut status = Status::unavailable(failure.message.clone());
                status.metadata_mut().insert(CODE_METADATA, failure.code().as_str_name().parse().unwrap());
                Err(status)
            }
            response => Ok(response),
        }
    }

    async fn cut(&self) -> session_response::Response {
        self.state.cut();
        std::future::pending().await
    }

    async fn babble(&self) -> session_response::Response {
        self.state.babble();
        std::future::pending().await
    }

    async fn run_session(self, mut requests: Streaming<SessionRequests>, answers: Answers) {
        let mut reads = self.state.reads.subscribe();
        loop {
            let _ = reads.wait_for(|reads| *reads).await;
            let Ok(Some(frame)) = requests.message().await else { break };
            for SessionRequest { id, request } in frame.requests {
                let reply = self.reply_to(&request.expect("a client asks something"), false);
                self.carry_out(id, reply, &answers).await;
            }
        }
        // A node that never ends the stream: the client has to.
        answers.closed().await;
        self.state.broken_off.fetch_add(1, Ordering::Relaxed);
    }

    async fn carry_out(&self, id: u64, reply: Reply, answers: &Answers) {
        match reply {
            Reply::Say(response) => send(answers, id, Some(response)).await,
            Reply::Empty => send(answers, id, None).await,
            Reply::Late(delay, response) => {
                let answers = answers.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    send(&answers, id, Some(response)).await;
                });
            }
            Reply::Never => {}
            Reply::Astray(response) => {
                send(answers, id + 1_000_000, Some(response.clone())).await;
                send(answers, id, Some(response)).await;
            }
            Reply::Twice(response) => {
                send(answers, id, Some(response)).await;
                send(answers, id, Some(fail(dynamo_wire::v1::ErrorCode::Internal))).await;
            }
            Reply::End => drop(answers.send(Ok(SessionResponses { responses: Vec::new(), ended: true })).await),
            Reply::HangUp => drop(answers.send(Err(Status::unavailable("the fake node hangs up"))).await),
            Reply::Cut => self.state.cut(),
            Reply::Babble => self.state.babble(),
        }
    }
}

async fn send(answers: &Answers, id: u64, response: Option<session_response::Response>) {
    let _ =
        answers.send(Ok(SessionResponses { responses: vec![SessionResponse { id, response }], ended: false })).await;
}

#[tonic::async_trait]
impl Kv for Service {
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        match self.call(session_request::Request::Get(request.into_inner())).await? {
            session_response::Response::Get(get) => Ok(Response::new(get)),
            other => panic!("{other:?} to a get"),
        }
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        match self.call(session_request::Request::Put(request.into_inner())).await? {
            session_response::Response::Put(put) => Ok(Response::new(put)),
            other => panic!("{other:?} to a put"),
        }
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        match self.call(session_request::Request::Delete(request.into_inner())).await? {
            session_response::Response::Delete(delete) => Ok(Response::new(delete)),
            other => panic!("{other:?} to a delete"),
        }
    }

    async fn batch_get(&self, _: Request<BatchGetRequest>) -> Result<Response<BatchGetResponse>, Status> {
        Err(Status::unimplemented("the client makes no batches"))
    }

    async fn batch_put(&self, _: Request<BatchPutRequest>) -> Result<Response<BatchPutResponse>, Status> {
        Err(Status::unimplemented("the client makes no batches"))
    }

    async fn describe_ring(&self, _: Request<DescribeRingRequest>) -> Result<Response<DescribeRingResponse>, Status> {
        self.state.described.fetch_add(1, Ordering::Relaxed);
        self.state.description.lock().unwrap().clone().map(Response::new)
    }

    type SessionStream = Pin<Box<dyn Stream<Item = Result<SessionResponses, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequests>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        self.state.sessions.fetch_add(1, Ordering::Relaxed);
        if let Some(refusal) = self.state.no_session.lock().unwrap().clone() {
            return Err(refusal);
        }
        let (answers, queue) = mpsc::channel(1024);
        tokio::spawn(self.clone().run_session(request.into_inner(), answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(queue))))
    }
}

impl Service {
    fn admin<T>(&self, answer: T) -> Result<Response<T>, Status> {
        match self.state.admin.lock().unwrap().clone() {
            Some(status) => Err(status),
            None => Ok(Response::new(answer)),
        }
    }
}

#[tonic::async_trait]
impl Admin for Service {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.admin(StatusResponse { asked: self.name.clone(), ..StatusResponse::default() })
    }

    async fn create_bucket(
        &self,
        request: Request<CreateBucketRequest>,
    ) -> Result<Response<CreateBucketResponse>, Status> {
        self.admin(CreateBucketResponse { bucket: request.into_inner().bucket, created: true })
    }

    async fn list_buckets(&self, _: Request<ListBucketsRequest>) -> Result<Response<ListBucketsResponse>, Status> {
        self.admin(ListBucketsResponse { buckets: vec![Bucket { name: self.name.clone(), ..Bucket::default() }] })
    }

    async fn describe_bucket(
        &self,
        request: Request<DescribeBucketRequest>,
    ) -> Result<Response<DescribeBucketResponse>, Status> {
        let bucket = Bucket { name: request.into_inner().name, ..Bucket::default() };
        self.admin(DescribeBucketResponse { bucket: Some(bucket) })
    }
}
