//! An API server that is lost at a write: before it was done, or before its answer came.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use http::{Method, Request, Response};
use kube::client::Body;
use tokio::sync::Notify;
use tower::{BoxError, Layer, Service};

/// Which writes are lost.
#[derive(Debug, Default)]
pub struct Faults {
    writes: AtomicU64,
    /// Each of so many; 0: none.
    pub each: AtomicU64,
    /// One was lost: whoever plays the operator's death waits for this.
    pub lost: Notify,
}

impl Faults {
    /// Every so many writes one is lost, by turns before and after it was done.
    pub fn each(count: u64) -> Arc<Faults> {
        let faults = Faults::default();
        faults.each.store(count, Ordering::SeqCst);
        Arc::new(faults)
    }

    /// What becomes of the next write.
    fn next(&self) -> Fault {
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        let each = self.each.load(Ordering::SeqCst);
        if each == 0 || !number.is_multiple_of(each) {
            return Fault::None;
        }
        if (number / each).is_multiple_of(2) { Fault::Before } else { Fault::After }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Before,
    After,
}

#[derive(Clone)]
pub struct FaultLayer(pub Arc<Faults>);

impl<S> Layer<S> for FaultLayer {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty { inner, faults: Arc::clone(&self.0) }
    }
}

#[derive(Clone)]
pub struct Faulty<S> {
    inner: S,
    faults: Arc<Faults>,
}

impl<S, B> Service<Request<Body>> for Faulty<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let writes = request.method() != Method::GET && !request.uri().path().contains("/leases");
        let fault = if writes { self.faults.next() } else { Fault::None };
        let faults = Arc::clone(&self.faults);
        let sent = (fault != Fault::Before).then(|| self.inner.call(request));
        Box::pin(async move {
            let answer = match sent {
                Some(sent) => Some(sent.await),
                None => None,
            };
            match (answer, fault) {
                (Some(answer), Fault::None) => answer,
                _ => {
                    faults.lost.notify_one();
                    // Whoever waits for this answer dies.
                    std::future::pending().await
                }
            }
        })
    }
}
