//! A client's stream of requests (§6.4), and how it ends: each request that was begun is answered, and the last frame says so. Of
//! one that has no answer then its client knows that nothing was begun, and asks another node: nobody is left in doubt by a
//! node that is stopped in good order.

use std::{pin::Pin, sync::Arc, time::Duration};

use dynamo_wire::v1::{
    ErrorCode, SessionRequest, SessionRequests, SessionResponse, SessionResponses, session_request, session_response,
};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use crate::{
    batch::Frames,
    coordinator::Coordinator,
    request::{ClientRequest, Place, Refused, ReplyTo},
    tls::Grant,
};

const READS_ONLY: &str = "what you show is not enough for this: nothing was written; give a token or a certificate of a client of this cluster";

/// What a session's client receives.
pub type Answers = Pin<Box<dyn Stream<Item = Result<SessionResponses, Status>> + Send>>;

/// All open sessions.
#[derive(Debug, Clone)]
pub struct Sessions {
    /// Whether they are ending. Each open session holds a receiver.
    ending: Arc<watch::Sender<bool>>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { ending: Arc::new(watch::Sender::new(false)) }
    }
}

impl Sessions {
    /// Reads no more from any of them; each ends once its answers are given. Waits until their clients have closed them too, or
    /// for as long as said: a connection that closes with something unread in it may take the last answers along.
    pub async fn end(&self, patience: Duration) {
        self.ending.send_replace(true);
        let _ = tokio::time::timeout(patience, self.ending.closed()).await;
    }

    /// Opens one.
    ///
    /// # Errors
    /// The node is stopping.
    pub fn open(
        &self,
        coordinator: Arc<Coordinator>,
        requests: Streaming<SessionRequests>,
        grant: Option<Grant>,
    ) -> Result<Answers, Status> {
        let ending = self.ending.subscribe();
        if *ending.borrow() {
            return Err(Status::unavailable("the node is stopping: nothing was read or written; ask another node"));
        }
        // A request is taken only once its answer has a place: a client that doesn't read its answers is not read.
        let (answers, queue) = mpsc::channel(coordinator.limits.session_inflight);
        tokio::spawn(read(coordinator, requests, answers, grant, ending));
        let frames = Frames::new(queue, response_bytes, |responses| SessionResponses { responses, ended: false });
        // The queue ends when each place in it was used.
        let end = stream::iter([SessionResponses { responses: Vec::new(), ended: true }]);
        Ok(Box::pin(frames.chain(end).map(Ok)))
    }
}

/// Takes requests until the client closes or hangs up, or what it has shown is good no longer, or the node stops; those already
/// begun run to their end.
async fn read(
    coordinator: Arc<Coordinator>,
    mut requests: Streaming<SessionRequests>,
    answers: mpsc::Sender<SessionResponse>,
    mut grant: Option<Grant>,
    mut ending: watch::Receiver<bool>,
) {
    loop {
        let frame = tokio::select! {
            biased;
            _ = ending.wait_for(|ending| *ending) => break,
            frame = requests.message() => frame,
        };
        let Ok(Some(frame)) = frame else { return };
        if grant.as_mut().is_some_and(|grant| !grant.holds()) {
            return;
        }
        let may_write = grant.as_ref().is_none_or(Grant::may_write);
        for request in frame.requests {
            let Ok(place) = answers.clone().reserve_owned().await else { return };
            begin(&coordinator, request, place, may_write);
        }
    }
    drop(answers);
    // What is on its way still is taken and not begun, until the client has read the end and closes.
    while let Ok(Some(_)) = requests.message().await {}
}

fn begin(
    coordinator: &Arc<Coordinator>,
    request: SessionRequest,
    place: mpsc::OwnedPermit<SessionResponse>,
    may_write: bool,
) {
    let SessionRequest { id, request } = request;
    let delete = matches!(request, Some(session_request::Request::Delete(_)));
    let reply = ReplyTo::Session(Place::new(id, delete, place));
    match request {
        Some(session_request::Request::Get(get)) => coordinator.begin(ClientRequest::Get(get), reply),
        Some(_) if !may_write => reply.give(Err(Refused::new(ErrorCode::NotAllowed, READS_ONLY))),
        Some(session_request::Request::Put(put)) => coordinator.begin(ClientRequest::Put(put), reply),
        Some(session_request::Request::Delete(delete)) => coordinator.begin(ClientRequest::Delete(delete), reply),
        None => reply.give(Err(Refused::new(
            ErrorCode::InvalidArgument,
            "a session request without get, put or delete: nothing was done; is the client newer than the node?",
        ))),
    }
}

fn response_bytes(response: &SessionResponse) -> usize {
    64 + match &response.response {
        Some(session_response::Response::Get(get)) => get.values.iter().map(bytes::Bytes::len).sum(),
        _ => 0,
    }
}
