//! Many messages a flush: turns a bounded queue into a gRPC stream whose every item carries all that was queued.
//!
//! Under load the queue fills while the previous frame is written, so frames grow by themselves and the cost of a
//! frame (a poll, a header, a system call) is shared; when idle a message goes out alone and at once. There is no
//! timer and no task.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::Stream;
use tokio::sync::mpsc;

/// A frame is closed once it holds so many messages.
const FRAME_MESSAGES: usize = 256;
/// A frame is closed once its messages reach so many bytes: large values must not delay the small ones behind them.
const FRAME_BYTES: usize = 256 * 1024;

/// Stream of frames made from a queue of messages. Ends when all senders are gone and the queue is empty.
pub struct Frames<T, F> {
    queue: mpsc::Receiver<T>,
    bytes_of: fn(&T) -> usize,
    frame: fn(Vec<T>) -> F,
}

impl<T, F> Frames<T, F> {
    /// `bytes_of` estimates a message's size; `frame` wraps the messages of one frame.
    pub fn new(queue: mpsc::Receiver<T>, bytes_of: fn(&T) -> usize, frame: fn(Vec<T>) -> F) -> Self {
        Self { queue, bytes_of, frame }
    }
}

impl<T, F> Stream for Frames<T, F> {
    type Item = F;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F>> {
        let first = match self.queue.poll_recv(cx) {
            Poll::Ready(Some(first)) => first,
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let mut bytes = (self.bytes_of)(&first);
        let mut messages = Vec::with_capacity((1 + self.queue.len()).min(FRAME_MESSAGES));
        messages.push(first);
        while messages.len() < FRAME_MESSAGES && bytes < FRAME_BYTES {
            let Ok(next) = self.queue.try_recv() else { break };
            bytes += (self.bytes_of)(&next);
            messages.push(next);
        }
        Poll::Ready(Some((self.frame)(messages)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(queue: mpsc::Receiver<usize>) -> Frames<usize, Vec<usize>> {
        Frames::new(queue, |bytes| *bytes, |messages| messages)
    }

    #[tokio::test]
    async fn what_is_queued_travels_together_in_order() {
        let (sender, queue) = mpsc::channel(16);
        for n in 0..5 {
            sender.try_send(n).unwrap();
        }
        drop(sender);
        let mut frames = frames(queue);
        let first = futures_util::future::poll_fn(|cx| Pin::new(&mut frames).poll_next(cx)).await;
        assert_eq!(first, Some(vec![0, 1, 2, 3, 4]));
        let end = futures_util::future::poll_fn(|cx| Pin::new(&mut frames).poll_next(cx)).await;
        assert_eq!(end, None);
    }

    #[tokio::test]
    async fn a_frame_is_closed_when_it_holds_enough_bytes() {
        let (sender, queue) = mpsc::channel(16);
        for _ in 0..3 {
            sender.try_send(FRAME_BYTES).unwrap();
        }
        let mut frames = frames(queue);
        let first = futures_util::future::poll_fn(|cx| Pin::new(&mut frames).poll_next(cx)).await;
        assert_eq!(first.map(|messages| messages.len()), Some(1));
    }
}
