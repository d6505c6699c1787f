//! A fake node: it plans by no planner, and a change goes one answer further each time somebody asks how far it is.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
};

use dynamo_ring::{Member, NodeId, PartitionCount, Ring};
use dynamo_wire::v1::{
    ApplyRequest, ApplyResponse, BatchGetRequest, BatchGetResponse, BatchPutRequest, BatchPutResponse, CancelRequest,
    CancelResponse, CreateBucketRequest, CreateBucketResponse, DeleteRequest, DeleteResponse, DescribeBucketRequest,
    DescribeBucketResponse, DescribeRingRequest, DescribeRingResponse, GetRequest, GetResponse, ListBucketsRequest,
    ListBucketsResponse, NodeStatus, PlanRequest, PlanResponse, PlannedNode, PlannedZone, ProgressRequest,
    ProgressResponse, PutRequest, PutResponse, ReceiptRequest, ReceiptResponse, RingChange, RingMember,
    SessionRequests, SessionResponses, StatusRequest, StatusResponse, ViewRequest, ViewResponse,
    admin_server::{Admin, AdminServer},
    kv_server::{Kv, KvServer},
    ring_admin_server::{RingAdmin, RingAdminServer},
};
use futures_util::Stream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::server::{Server, TcpIncoming},
};

/// What it holds and what came.
pub struct State {
    pub version: u64,
    pub epoch: u64,
    /// What is planned, whatever the edits; its version is the ring's.
    pub plan: PlanResponse,
    /// What follows when a change is applied: an answer each time.
    pub course: Vec<RingChange>,
    /// What is left of it.
    pub ahead: Vec<RingChange>,
    /// In place of answers to plans and to changes.
    pub refuses: Option<Status>,
    /// A change is applied, and its answer never given.
    pub loses_answers: bool,
    /// So often the register gets another version just before a change is applied; and then does the plan become another one?
    pub moves_on: u32,
    pub moves_on_to: Option<PlanResponse>,
    /// Receipts, the last one again and again.
    pub receipts: Vec<ReceiptResponse>,
    /// The members' names, before and once a change is over.
    pub members: Vec<&'static str>,
    pub members_after: Vec<&'static str>,
    /// Members that are down; and homes to be filled, an answer each time.
    pub down: Vec<&'static str>,
    pub refilling: Vec<u32>,
    /// Whom the collection of tombstones waits for.
    pub waited_for: Vec<&'static str>,
    /// So many plans are refused, since nobody has heard of the node.
    pub unheard: u32,
    pub planned: Vec<PlanRequest>,
    pub applied: Vec<ApplyRequest>,
    pub cancelled: Vec<CancelRequest>,
}

/// A fake node that serves until the test ends.
pub struct Fake {
    pub address: String,
    state: Arc<Mutex<State>>,
}

pub const VERSION: u64 = 12;
/// What the change has that is applied.
pub const CHANGE: u64 = VERSION + 1;

impl Fake {
    pub async fn start() -> Self {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap().to_string();
        let state = State {
            version: VERSION,
            epoch: 9,
            plan: plan(),
            course: vec![at(0, 0), at(0, 20), at(1, 0), at(1, 39)],
            ahead: Vec::new(),
            refuses: None,
            loses_answers: false,
            moves_on: 0,
            moves_on_to: None,
            receipts: vec![receipt(true)],
            members: vec!["node-1", "node-2", "node-3"],
            members_after: vec!["node-1", "node-2", "node-3", "node-4"],
            down: Vec::new(),
            refilling: Vec::new(),
            waited_for: Vec::new(),
            unheard: 0,
            planned: Vec::new(),
            applied: Vec::new(),
            cancelled: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let service = Service(state.clone());
        let router = Server::builder()
            .add_service(KvServer::new(service.clone()))
            .add_service(AdminServer::new(service.clone()))
            .add_service(RingAdminServer::new(service));
        tokio::spawn(router.serve_with_incoming(incoming));
        Self { address, state }
    }

    /// Looks at it, or has it be otherwise.
    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }
}

/// A change in its first or second step.
pub fn at(steps_done: u32, copies_done: u32) -> RingChange {
    RingChange {
        accept_loss: false,
        change: CHANGE,
        what: "node-4 joins".into(),
        cancelled: false,
        steps: 2,
        steps_done,
        phase: "copying".into(),
        copies: 40,
        copies_done,
        bytes_moved: u64::from(copies_done) << 20,
        bytes_expected: 80 << 20,
        blocked_by: Vec::new(),
    }
}

pub fn receipt(complete: bool) -> ReceiptResponse {
    let missing = if complete { vec![] } else { vec!["17 hints wait for node-3, which is down".to_owned()] };
    let hints = if complete { 0 } else { 17 };
    ReceiptResponse { node: "node-1".into(), complete, epoch: 10, hints, missing, ..ReceiptResponse::default() }
}

fn plan() -> PlanResponse {
    let node = |name: &str, zone: &str, change: &str, tokens: (u32, u32)| PlannedNode {
        name: name.into(),
        zone: zone.into(),
        weight: 1,
        tokens_before: tokens.0,
        tokens_after: tokens.1,
        replicas_before: tokens.0 * 3,
        replicas_after: tokens.1 * 3,
        fair_after: 48.0,
        change: change.into(),
        bytes: u64::from(tokens.0) * 7_654_321,
    };
    let zone = |name: &str, before: u32, after: u32| PlannedZone {
        name: name.into(),
        tokens_before: before,
        tokens_after: after,
        replicas_before: before * 3,
        replicas_after: after * 3,
    };
    PlanResponse {
        epoch: 9,
        n: 3,
        partitions: 64,
        nodes: vec![
            node("node-1", "zone-a", "stays", (22, 16)),
            node("node-2", "zone-b", "stays", (21, 21)),
            node("node-3", "zone-c", "stays", (21, 16)),
            node("node-4", "zone-a", "joins", (0, 11)),
        ],
        zones: vec![zone("zone-a", 22, 27), zone("zone-b", 21, 21), zone("zone-c", 21, 16)],
        tokens_moved: 11,
        replicas_moved: 40,
        replicas_least: 38,
        bytes_moved: 80 << 20,
        seconds: 130,
        seconds_at_most: 900,
        steps: 2,
        warnings: vec!["zone-c has one node only.".into()],
        ..PlanResponse::default()
    }
}

#[derive(Clone)]
struct Service(Arc<Mutex<State>>);

#[tonic::async_trait]
impl RingAdmin for Service {
    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        state.planned.push(request.into_inner());
        if state.unheard > 0 {
            state.unheard -= 1;
            return Err(Status::not_found("nobody has heard of a node \"node-4\""));
        }
        match &state.refuses {
            Some(status) => Err(status.clone()),
            None => Ok(Response::new(PlanResponse { version: state.version, ..state.plan.clone() })),
        }
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let loses_answers = {
            let mut state = self.0.lock().unwrap();
            let request = request.into_inner();
            if state.moves_on > 0 {
                state.moves_on -= 1;
                state.version += 1;
                state.plan = state.moves_on_to.take().unwrap_or_else(|| state.plan.clone());
            }
            if request.version != state.version {
                return Err(Status::failed_precondition("the ring has moved on"));
            }
            state.applied.push(request);
            if state.course.is_empty() {
                return Ok(Response::new(ApplyResponse::default()));
            }
            state.version += 1;
            state.ahead = state.course.clone();
            state.loses_answers
        };
        if loses_answers {
            return Err(Status::unknown("the connection broke"));
        }
        Ok(Response::new(ApplyResponse { change: CHANGE, steps: 2 }))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        state.cancelled.push(request.into_inner());
        if state.ahead.is_empty() {
            return Err(Status::failed_precondition("no change is under way: the ring is settled at epoch 9"));
        }
        state.version += 1;
        state.ahead = vec![RingChange { cancelled: true, ..at(1, 10) }];
        Ok(Response::new(CancelResponse { change: CHANGE, steps: 1 }))
    }

    async fn progress(&self, _: Request<ProgressRequest>) -> Result<Response<ProgressResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        let change = if state.ahead.is_empty() { None } else { Some(state.ahead.remove(0)) };
        if change.is_some() && state.ahead.is_empty() {
            (state.version, state.epoch) = (state.version + 1, state.epoch + 1);
            if !change.as_ref().is_some_and(|change| change.cancelled) {
                state.members = state.members_after.clone();
            }
            let version = state.version - 1;
            return Ok(Response::new(ProgressResponse { version, epoch: 9, change, ..ProgressResponse::default() }));
        }
        let refilling = if state.refilling.is_empty() { 0 } else { state.refilling.remove(0) };
        let (version, epoch) = (state.version, state.epoch);
        let collecting_waits_for = state.waited_for.iter().map(ToString::to_string).collect();
        Ok(Response::new(ProgressResponse {
            version,
            epoch,
            change,
            refilling,
            collecting_waits_for,
            ..ProgressResponse::default()
        }))
    }

    async fn receipt(&self, request: Request<ReceiptRequest>) -> Result<Response<ReceiptResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        let node = request.into_inner().node;
        if node == "ghost" {
            return Err(Status::not_found("no node has the name \"ghost\"; there are node-1, node-2, node-3"));
        }
        let receipt = if state.receipts.len() > 1 { state.receipts.remove(0) } else { state.receipts[0].clone() };
        Ok(Response::new(ReceiptResponse { node, ..receipt }))
    }

    async fn view(&self, _: Request<ViewRequest>) -> Result<Response<ViewResponse>, Status> {
        Err(Status::unimplemented("no command asks for it"))
    }
}

/// Who is up.
#[tonic::async_trait]
impl Admin for Service {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let state = self.0.lock().unwrap();
        let node = |name: &&str| NodeStatus {
            name: (*name).to_owned(),
            state: if state.down.contains(name) { "down" } else { "up" }.to_owned(),
            ..NodeStatus::default()
        };
        let nodes = state.members.iter().map(node).collect();
        Ok(Response::new(StatusResponse { nodes, ..StatusResponse::default() }))
    }

    async fn create_bucket(&self, _: Request<CreateBucketRequest>) -> Result<Response<CreateBucketResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_buckets(&self, _: Request<ListBucketsRequest>) -> Result<Response<ListBucketsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn describe_bucket(
        &self,
        _: Request<DescribeBucketRequest>,
    ) -> Result<Response<DescribeBucketResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// Enough of the rest for a client to connect.
#[tonic::async_trait]
impl Kv for Service {
    async fn describe_ring(&self, _: Request<DescribeRingRequest>) -> Result<Response<DescribeRingResponse>, Status> {
        let (names, down) = {
            let state = self.0.lock().unwrap();
            (state.members.clone(), state.down.clone())
        };
        let member = |name: &&str| Member {
            id: NodeId::initial("fake", name),
            name: (*name).to_owned(),
            zone: format!("zone of {name}"),
            weight: 1,
        };
        let partitions = PartitionCount::try_from(64).unwrap();
        let ring = Ring::bootstrap(3, partitions, names.iter().map(member).collect()).unwrap();
        let state = |name: &&str| if down.contains(name) { "down" } else { "up" }.to_owned();
        let described =
            |name: &&'static str| RingMember { name: (*name).to_owned(), state: state(name), ..RingMember::default() };
        let members = names.iter().map(described).collect();
        let (cluster, ring) = ("fake".to_owned(), ring.encode().into());
        Ok(Response::new(DescribeRingResponse { cluster, ring, members, ..DescribeRingResponse::default() }))
    }

    async fn get(&self, _: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn put(&self, _: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn delete(&self, _: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn batch_get(&self, _: Request<BatchGetRequest>) -> Result<Response<BatchGetResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn batch_put(&self, _: Request<BatchPutRequest>) -> Result<Response<BatchPutResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    type SessionStream = Pin<Box<dyn Stream<Item = Result<SessionResponses, Status>> + Send>>;

    async fn session(&self, _: Request<Streaming<SessionRequests>>) -> Result<Response<Self::SessionStream>, Status> {
        Err(Status::unimplemented(""))
    }
}
