//! A connection with what is to be shown over it: each call carries the token as it is by then.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use dynamo_tls::Caller;
use http::{Request, header::AUTHORIZATION};
use tonic::{body::Body, transport::Channel};
use tower_service::Service;

/// A connection to a node.
#[derive(Clone)]
pub(crate) struct Line {
    channel: Channel,
    caller: Option<Arc<Caller>>,
}

impl Line {
    /// Over this connection; with nothing to show, where there is no caller.
    pub(crate) fn new(channel: Channel, caller: Option<Arc<Caller>>) -> Self {
        Self { channel, caller }
    }
}

impl Service<Request<Body>> for Line {
    type Response = <Channel as Service<Request<Body>>>::Response;
    type Error = <Channel as Service<Request<Body>>>::Error;
    type Future = <Channel as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<Body>>::poll_ready(&mut self.channel, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(token) = self.caller.as_ref().and_then(|caller| caller.authorization()) {
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        self.channel.call(request)
    }
}
