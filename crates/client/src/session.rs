//! One stream to one node, shared by all requests to it (§6.4): requests are queued and travel many to a frame, answers
//! come as they finish and are matched by number. No task per request.
//!
//! Large requests are calls of their own on the same connection: one that is larger than the node takes fails alone.

use std::sync::Arc;

use dynamo_wire::v1::{
    SessionRequest, SessionResponses, kv_client::KvClient, session_request::Request, session_response::Response,
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::AbortHandle,
    time::{sleep_until, timeout_at},
};
use tonic::{Status, Streaming};

use crate::{
    alone,
    attempt::{Failed, Kind, Patience},
    error::cause_of,
    frames::{FRAME_BYTES, Frames, bytes_of},
    line::Line,
    pending::{Outcome, Pending, Waiting},
};

/// Requests that wait for the connection. When full, a request waits, and goes elsewhere if it waits for too long.
const QUEUE: usize = 4096;
/// A frame of answers: a node sends no larger one.
const ANSWERS_BYTES: usize = 256 << 20;

/// An open session.
pub(crate) struct Session {
    requests: mpsc::Sender<SessionRequest>,
    pending: Arc<Pending>,
    reader: AbortHandle,
    line: Line,
    node: String,
}

impl Session {
    /// Opens the stream. Waits for the node's consent, for as long as the caller likes.
    pub(crate) async fn open(line: Line, node: &str) -> Result<Self, Status> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let pending = Arc::new(Pending::new());
        let mut client = KvClient::new(line.clone()).max_decoding_message_size(ANSWERS_BYTES);
        let answers = client.session(Frames::new(queue, pending.clone())).await?.into_inner();
        let reader = tokio::spawn(read(answers, pending.clone(), requests.downgrade())).abort_handle();
        Ok(Self { requests, pending, reader, line, node: node.to_owned() })
    }

    /// Whether it still takes requests.
    pub(crate) fn is_open(&self) -> bool {
        self.pending.is_open()
    }

    /// Requests that have no answer yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&self, request: Request, patience: Patience) -> Result<Response, Failed> {
        let kind = Kind::of(&request);
        let answer = if bytes_of(Some(&request)) > FRAME_BYTES {
            alone::ask(&self.line, &self.node, request, patience).await?
        } else {
            let waiting = self.pending.enter().map_err(|why| Failed::closed_before(&self.node, &why))?;
            let outcome = self.send_and_wait(waiting, request, kind, patience).await?;
            self.answer(outcome, kind)?
        };
        match answer {
            Response::Failure(failure) => Err(Failed::answered(failure.code, failure.message)),
            answer if kind.is_answered_by(&answer) => Ok(answer),
            _ => Err(Failed::nonsense(&self.node, kind)),
        }
    }

    async fn send_and_wait(
        &self,
        mut waiting: Waiting<'_>,
        request: Request,
        kind: Kind,
        patience: Patience,
    ) -> Result<Outcome, Failed> {
        if let Some(outcome) = self.queue(&mut waiting, request, patience).await? {
            return Ok(outcome);
        }
        match timeout_at(patience.to_send, &mut waiting.outcome).await {
            Ok(outcome) => Ok(outcome.expect(GIVEN)),
            Err(_) if waiting.take_back() => Err(Failed::stalled(&self.node)),
            Err(_) => match timeout_at(patience.to_answer, &mut waiting.outcome).await {
                Ok(outcome) => Ok(outcome.expect(GIVEN)),
                Err(_) => Err(Failed::silent(&self.node, kind)),
            },
        }
    }

    /// Queues the request; when the queue is full, waits for a place in it. Gives the outcome if the session ends
    /// meanwhile.
    async fn queue(
        &self,
        waiting: &mut Waiting<'_>,
        request: Request,
        patience: Patience,
    ) -> Result<Option<Outcome>, Failed> {
        let request = SessionRequest { id: waiting.id, request: Some(request) };
        let request = match self.requests.try_send(request) {
            Ok(()) => return Ok(None),
            Err(TrySendError::Full(request)) => request,
            Err(TrySendError::Closed(_)) => return Err(Failed::closed_before(&self.node, CLOSED)),
        };
        tokio::select! {
            biased;
            outcome = &mut waiting.outcome => {
                Ok(Some(outcome.expect(GIVEN)))
            }
            queued = self.requests.send(request) => match queued {
                Ok(()) => Ok(None),
                Err(_) => Err(Failed::closed_before(&self.node, CLOSED)),
            },
            () = sleep_until(patience.to_send) => Err(Failed::stalled(&self.node)),
        }
    }

    fn answer(&self, outcome: Outcome, kind: Kind) -> Result<Response, Failed> {
        match outcome {
            Outcome::Answered(Some(response)) => Ok(response),
            Outcome::Answered(None) => Err(Failed::nonsense(&self.node, kind)),
            Outcome::Closed { why, in_doubt: true } => Err(Failed::lost(&self.node, &why, kind)),
            Outcome::Closed { why, in_doubt: false } => Err(Failed::closed_before(&self.node, &why)),
        }
    }
}

impl Drop for Session {
    /// Nobody waits any more, so nobody needs the stream: a node that never ends it must not keep it open.
    fn drop(&mut self) {
        self.reader.abort();
    }
}

const CLOSED: &str = "it closed the connection";
/// Why a caller that waits gets an outcome.
const GIVEN: &str = "whoever takes an entry out of the table gives it its outcome";

const ENDED: &str = "it ended the session";

/// Hands out the answers until the stream ends.
async fn read(
    mut answers: Streaming<SessionResponses>,
    pending: Arc<Pending>,
    requests: mpsc::WeakSender<SessionRequest>,
) {
    loop {
        match answers.message().await {
            Ok(Some(SessionResponses { responses, ended })) => {
                pending.answered(responses.into_iter().map(|answer| (answer.id, answer.response)));
                if ended {
                    pending.close_answered(ENDED);
                    break;
                }
            }
            Ok(None) => return pending.close(CLOSED),
            Err(status) => return pending.close(&cause_of(&status)),
        }
    }
    // Wakes the stream of requests, which finds the session closed and ends: the node waits for that.
    if let Some(requests) = requests.upgrade() {
        let _ = requests.try_send(SessionRequest::default());
    }
}
