//! What a fake node does with calls about changes of the ring: by its script, and noted.

use std::sync::Arc;

use dynamo_wire::v1::{
    ApplyRequest, ApplyResponse, CancelRequest, CancelResponse, PlanRequest, PlanResponse, ProgressRequest,
    ProgressResponse, ReceiptRequest, ReceiptResponse, ViewRequest, ViewResponse, ring_admin_server::RingAdmin,
};
use tonic::{Request, Response, Status};

use super::service::Service;

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub enum RingCall {
    Plan(PlanRequest),
    Apply(ApplyRequest),
    Cancel(CancelRequest),
    Progress,
    Receipt(ReceiptRequest),
    View(ViewRequest),
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum RingAnswer {
    Plan(PlanResponse),
    Apply(ApplyResponse),
    Cancel(CancelResponse),
    Progress(ProgressResponse),
    Receipt(ReceiptResponse),
    View(Box<ViewResponse>),
}

/// What is done.
#[derive(Debug, Clone)]
pub enum RingReply {
    Say(RingAnswer),
    Refuse(Status),
    /// Keeps silent.
    Never,
    /// Cuts all its connections.
    Cut,
}

/// Of each call.
pub type RingScript = Arc<dyn Fn(&RingCall) -> RingReply + Send + Sync>;

impl Service {
    async fn on_ring(&self, call: RingCall) -> Result<RingAnswer, Status> {
        self.state.ring_calls.lock().unwrap().push(call.clone());
        let script = self.state.ring.lock().unwrap().clone();
        match script(&call) {
            RingReply::Say(answer) => Ok(answer),
            RingReply::Refuse(status) => Err(status),
            RingReply::Never => std::future::pending().await,
            RingReply::Cut => {
                self.state.cut();
                std::future::pending().await
            }
        }
    }
}

#[tonic::async_trait]
impl RingAdmin for Service {
    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        match self.on_ring(RingCall::Plan(request.into_inner())).await? {
            RingAnswer::Plan(plan) => Ok(Response::new(plan)),
            other => panic!("{other:?} to a plan"),
        }
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        match self.on_ring(RingCall::Apply(request.into_inner())).await? {
            RingAnswer::Apply(apply) => Ok(Response::new(apply)),
            other => panic!("{other:?} to a change"),
        }
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        match self.on_ring(RingCall::Cancel(request.into_inner())).await? {
            RingAnswer::Cancel(cancel) => Ok(Response::new(cancel)),
            other => panic!("{other:?} to a cancel"),
        }
    }

    async fn progress(&self, _: Request<ProgressRequest>) -> Result<Response<ProgressResponse>, Status> {
        match self.on_ring(RingCall::Progress).await? {
            RingAnswer::Progress(progress) => Ok(Response::new(progress)),
            other => panic!("{other:?} to a question for progress"),
        }
    }

    async fn receipt(&self, request: Request<ReceiptRequest>) -> Result<Response<ReceiptResponse>, Status> {
        match self.on_ring(RingCall::Receipt(request.into_inner())).await? {
            RingAnswer::Receipt(receipt) => Ok(Response::new(receipt)),
            other => panic!("{other:?} to a question for a receipt"),
        }
    }

    async fn view(&self, request: Request<ViewRequest>) -> Result<Response<ViewResponse>, Status> {
        match self.on_ring(RingCall::View(request.into_inner())).await? {
            RingAnswer::View(view) => Ok(Response::new(*view)),
            other => panic!("{other:?} to a question for a view"),
        }
    }
}
