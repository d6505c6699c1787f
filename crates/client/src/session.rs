//! One stream to one node, shared by all requests to it (§6.4): requests are queued and travel many to a frame, answers
//! come as they finish and are matched by number. No task per request.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dynamo_wire::v1::{
    SessionRequest, SessionRequests, kv_client::KvClient, session_request::Request, session_response::Response,
};
use futures_util::Stream;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Channel;

use crate::error::{Code, Error};

/// Requests that wait for the connection. When full, a request waits.
const QUEUE: usize = 4096;
/// A frame is closed when it holds so many requests, or bytes.
const FRAME_REQUESTS: usize = 256;
const FRAME_BYTES: usize = 256 * 1024;

type Waiting = Mutex<Option<HashMap<u64, oneshot::Sender<Result<Response, Error>>>>>;

/// An open session.
pub(crate) struct Session {
    requests: mpsc::Sender<SessionRequest>,
    /// None once the stream is closed.
    waiting: Arc<Waiting>,
    next: AtomicU64,
    node: String,
}

impl Session {
    /// Opens the stream.
    pub(crate) async fn open(channel: Channel, node: &str, patience: Duration) -> Result<Self, Error> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let mut client =
            KvClient::new(channel).max_decoding_message_size(256 << 20).max_encoding_message_size(256 << 20);
        let unreachable = |what: &str| {
            Error::new(
                Code::Unreachable,
                format!("{node} can't be reached ({what}): try again, or name another endpoint"),
            )
        };
        let mut answers = tokio::time::timeout(patience, client.session(frames(queue)))
            .await
            .map_err(|_| unreachable("no answer in time"))?
            .map_err(|status| Error::from_status(&status, node))?
            .into_inner();
        let waiting: Arc<Waiting> = Arc::new(Mutex::new(Some(HashMap::new())));
        let (shared, name) = (waiting.clone(), node.to_owned());
        tokio::spawn(async move {
            let mut why = "it closed the connection".to_owned();
            loop {
                match answers.message().await {
                    Ok(Some(frame)) => {
                        let mut waiting = shared.lock();
                        let Some(waiting) = waiting.as_mut() else { break };
                        for answer in frame.responses {
                            if let (Some(asker), Some(response)) = (waiting.remove(&answer.id), answer.response) {
                                let _ = asker.send(Ok(response));
                            }
                        }
                    }
                    Ok(None) => break,
                    Err(status) => {
                        why = status.message().to_owned();
                        break;
                    }
                }
            }
            close(&shared, &lost(&name, &why));
        });
        Ok(Self { requests, waiting, next: AtomicU64::new(1), node: node.to_owned() })
    }

    /// Whether it still takes requests.
    pub(crate) fn is_open(&self) -> bool {
        self.waiting.lock().is_some()
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&self, request: Request) -> Result<Response, Error> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (asker, answer) = oneshot::channel();
        match self.waiting.lock().as_mut() {
            Some(waiting) => waiting.insert(id, asker),
            None => return Err(lost(&self.node, "it closed the connection")),
        };
        let forget = Forget { session: self, id };
        if self.requests.send(SessionRequest { id, request: Some(request) }).await.is_err() {
            return Err(lost(&self.node, "it closed the connection"));
        }
        let answered = answer.await.unwrap_or_else(|_| Err(lost(&self.node, "it closed the connection")));
        drop(forget);
        match answered? {
            Response::Failure(failure) => Err(Error::from_code(failure.code, failure.message)),
            response => Ok(response),
        }
    }
}

/// A caller that stops waiting leaves nothing behind.
struct Forget<'a> {
    session: &'a Session,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.session.waiting.lock().as_mut() {
            waiting.remove(&self.id);
        }
    }
}

fn lost(node: &str, why: &str) -> Error {
    let message = format!(
        "{node} was lost before it answered ({why}): a write may or may not have happened; read the key, or try again"
    );
    Error::new(Code::CoordinatorLost, message)
}

fn close(waiting: &Waiting, error: &Error) {
    let waiting = waiting.lock().take();
    for (_, asker) in waiting.into_iter().flatten() {
        let _ = asker.send(Err(error.clone()));
    }
}

fn frames(mut queue: mpsc::Receiver<SessionRequest>) -> impl Stream<Item = SessionRequests> {
    futures_util::stream::poll_fn(move |cx| {
        queue.poll_recv(cx).map(|first| {
            let first = first?;
            let mut bytes = bytes_of(&first);
            let mut requests = Vec::with_capacity((1 + queue.len()).min(FRAME_REQUESTS));
            requests.push(first);
            while requests.len() < FRAME_REQUESTS && bytes < FRAME_BYTES {
                let Ok(next) = queue.try_recv() else { break };
                bytes += bytes_of(&next);
                requests.push(next);
            }
            Some(SessionRequests { requests })
        })
    })
}

fn bytes_of(request: &SessionRequest) -> usize {
    64 + match &request.request {
        Some(Request::Put(put)) => put.value.len(),
        _ => 0,
    }
}
