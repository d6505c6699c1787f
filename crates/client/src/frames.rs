//! Many requests to a frame: turns the queue of a session into the stream that is sent.
//!
//! Whatever is queued when the connection can take more travels together; a request alone goes at once.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use dynamo_wire::v1::{SessionRequest, SessionRequests, session_request::Request};
use futures_util::Stream;
use tokio::sync::mpsc;

use crate::pending::{Pending, Sending};

/// A frame is closed when it holds so many requests.
const FRAME_REQUESTS: usize = 256;
/// No frame is larger. A node takes messages of any size that it is configured for, at least this: one larger than it
/// takes would end the session, with all the requests in it. Larger requests do not go through a session.
pub(crate) const FRAME_BYTES: usize = 64 * 1024;

/// The stream of a session's frames. Ends with the session.
pub(crate) struct Frames {
    queue: mpsc::Receiver<SessionRequest>,
    pending: Arc<Pending>,
    /// Did not fit into the last frame.
    left_over: Option<SessionRequest>,
}

impl Frames {
    pub(crate) fn new(queue: mpsc::Receiver<SessionRequest>, pending: Arc<Pending>) -> Self {
        Self { queue, pending, left_over: None }
    }

    /// `first` and what is queued behind it; empty if all their callers have left, None if the session is closed.
    fn fill(&mut self, first: SessionRequest) -> Option<Vec<SessionRequest>> {
        let mut requests = Vec::with_capacity((1 + self.queue.len()).min(FRAME_REQUESTS));
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(request) = next {
            bytes += bytes_of(request.request.as_ref());
            if bytes > FRAME_BYTES && !requests.is_empty() {
                self.left_over = Some(request);
                break;
            }
            match self.pending.sending(request.id) {
                Sending::Yes => requests.push(request),
                Sending::Left => {}
                Sending::Closed => return None,
            }
            next = if requests.len() < FRAME_REQUESTS { self.queue.try_recv().ok() } else { None };
        }
        Some(requests)
    }
}

impl Stream for Frames {
    type Item = SessionRequests;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SessionRequests>> {
        loop {
            let first = match self.left_over.take() {
                Some(first) => first,
                None => match self.queue.poll_recv(cx) {
                    Poll::Ready(Some(first)) => first,
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => return Poll::Pending,
                },
            };
            match self.fill(first) {
                Some(requests) if requests.is_empty() => {}
                Some(requests) => return Poll::Ready(Some(SessionRequests { requests })),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// How long a request is on the wire, at most.
pub(crate) fn bytes_of(request: Option<&Request>) -> usize {
    // Numbers, and the tags and lengths of the fields.
    64 + match request {
        Some(Request::Get(get)) => get.bucket.len() + get.key.len(),
        Some(Request::Put(put)) => put.bucket.len() + put.key.len() + put.value.len() + put.context.len(),
        Some(Request::Delete(delete)) => delete.bucket.len() + delete.key.len() + delete.context.len(),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use dynamo_wire::v1::PutRequest;
    use futures_util::StreamExt;

    use super::*;

    fn put(id: u64, bytes: usize) -> SessionRequest {
        let put = PutRequest { value: vec![0; bytes].into(), ..PutRequest::default() };
        SessionRequest { id, request: Some(Request::Put(put)) }
    }

    /// The numbers of requests, frame by frame.
    async fn framed(pending: Arc<Pending>, requests: Vec<SessionRequest>) -> Vec<Vec<u64>> {
        let (sender, queue) = mpsc::channel(requests.len().max(1));
        requests.into_iter().for_each(|request| sender.try_send(request).unwrap());
        drop(sender);
        let frames = Frames::new(queue, pending);
        frames.map(|frame| frame.requests.iter().map(|request| request.id).collect()).collect().await
    }

    #[tokio::test]
    async fn what_does_not_fit_opens_the_next_frame_in_order() {
        let pending = Arc::new(Pending::new());
        let waiting: Vec<_> = (0..5).map(|_| pending.enter().unwrap()).collect();
        let sizes = [1000, FRAME_BYTES - 2000, 2000, FRAME_BYTES * 2, 10];
        let requests = waiting.iter().zip(sizes).map(|(waiting, bytes)| put(waiting.id, bytes)).collect();
        let ids: Vec<u64> = waiting.iter().map(|waiting| waiting.id).collect();
        let expected = [vec![ids[0], ids[1]], vec![ids[2]], vec![ids[3]], vec![ids[4]]];
        assert_eq!(framed(pending.clone(), requests).await, expected);
    }

    #[tokio::test]
    async fn a_frame_holds_so_many_requests_and_no_more() {
        let pending = Arc::new(Pending::new());
        let waiting: Vec<_> = (0..300).map(|_| pending.enter().unwrap()).collect();
        let requests = waiting.iter().map(|waiting| put(waiting.id, 1)).collect();
        let lengths: Vec<usize> = framed(pending.clone(), requests).await.iter().map(Vec::len).collect();
        assert_eq!(lengths, [256, 44]);
    }

    #[tokio::test]
    async fn requests_whose_callers_have_left_are_not_sent() {
        let pending = Arc::new(Pending::new());
        let stays = pending.enter().unwrap();
        let requests = vec![put(1000, 1), put(stays.id, 1), put(1001, 1)];
        assert_eq!(framed(pending.clone(), requests).await, [vec![stays.id]]);
        assert_eq!(framed(pending.clone(), vec![put(1000, 1)]).await, [[0; 0]; 0]);
        pending.close("over");
        assert_eq!(framed(pending.clone(), vec![put(stays.id, 1)]).await, [[0; 0]; 0]);
    }
}
