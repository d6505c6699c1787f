//! The requests of one session that have no answer yet, and how far each has come.
//!
//! A request is queued, then sent, then answered. Its caller may leave at any time; one that leaves before it was sent
//! takes it along, so that what is known as "not sent" is never sent later.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dynamo_wire::v1::session_response::Response;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The node answered; None: in a way that this client does not know.
    Answered(Option<Response>),
    /// The stream ended first.
    Closed {
        /// For people.
        why: Arc<str>,
        /// Whether the node may have begun the request.
        in_doubt: bool,
    },
}

struct Entry {
    caller: oneshot::Sender<Outcome>,
    sent: bool,
}

enum Table {
    Open(HashMap<u64, Entry>),
    /// With the reason, for those who come later.
    Closed(Arc<str>),
}

/// The table.
pub(crate) struct Pending {
    table: Mutex<Table>,
    next: AtomicU64,
}

/// Whether a request may be put on the wire.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// It counts as sent from now on.
    Yes,
    /// Its caller has left.
    Left,
    /// The session is closed.
    Closed,
}

impl Pending {
    pub(crate) fn new() -> Self {
        Self { table: Mutex::new(Table::Open(HashMap::new())), next: AtomicU64::new(1) }
    }

    /// A place for an answer, or why there will be none.
    pub(crate) fn enter(&self) -> Result<Waiting<'_>, Arc<str>> {
        let (caller, outcome) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        match &mut *self.table.lock() {
            Table::Open(table) => table.insert(id, Entry { caller, sent: false }),
            Table::Closed(why) => return Err(why.clone()),
        };
        Ok(Waiting { pending: self, id, outcome })
    }

    /// The request is about to be put on the wire.
    pub(crate) fn sending(&self, id: u64) -> Sending {
        match &mut *self.table.lock() {
            Table::Closed(_) => Sending::Closed,
            Table::Open(table) => match table.get_mut(&id) {
                Some(entry) => {
                    entry.sent = true;
                    Sending::Yes
                }
                None => Sending::Left,
            },
        }
    }

    /// The node answered. Answers to nobody (unknown, answered before, or the caller has left) are dropped.
    pub(crate) fn answered(&self, answers: impl IntoIterator<Item = (u64, Option<Response>)>) {
        let Table::Open(table) = &mut *self.table.lock() else { return };
        for (id, response) in answers {
            if let Some(entry) = table.remove(&id) {
                let _ = entry.caller.send(Outcome::Answered(response));
            }
        }
    }

    /// The stream broke: all who wait hear of it, and nobody else may enter.
    pub(crate) fn close(&self, why: &str) {
        self.end(why, true);
    }

    /// The same, and the node said that it has answered all that it has begun.
    pub(crate) fn close_answered(&self, why: &str) {
        self.end(why, false);
    }

    fn end(&self, why: &str, in_doubt: bool) {
        let why: Arc<str> = why.into();
        let table = {
            let mut table = self.table.lock();
            match &*table {
                Table::Open(_) => std::mem::replace(&mut *table, Table::Closed(why.clone())),
                Table::Closed(_) => return,
            }
        };
        let Table::Open(table) = table else { return };
        for Entry { caller, sent } in table.into_values() {
            let _ = caller.send(Outcome::Closed { why: why.clone(), in_doubt: sent && in_doubt });
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(*self.table.lock(), Table::Open(_))
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        match &*self.table.lock() {
            Table::Open(table) => table.len(),
            Table::Closed(_) => 0,
        }
    }
}

/// A caller that waits. Dropped, it leaves nothing behind.
pub(crate) struct Waiting<'a> {
    pending: &'a Pending,
    pub(crate) id: u64,
    pub(crate) outcome: oneshot::Receiver<Outcome>,
}

impl Waiting<'_> {
    /// Takes the request back; false if it was sent, or is over.
    pub(crate) fn take_back(&self) -> bool {
        let Table::Open(table) = &mut *self.pending.table.lock() else { return false };
        match table.get(&self.id) {
            Some(entry) if !entry.sent => table.remove(&self.id).is_some(),
            _ => false,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Over: whoever gave the outcome has taken the entry out.
        if self.outcome.is_terminated() {
            return;
        }
        if let Table::Open(table) = &mut *self.pending.table.lock() {
            table.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(outcome: Outcome) -> (String, bool) {
        match outcome {
            Outcome::Closed { why, in_doubt } => (why.to_string(), in_doubt),
            Outcome::Answered(_) => panic!("answered"),
        }
    }

    #[test]
    fn a_caller_that_leaves_before_its_request_is_sent_takes_it_along() {
        let pending = Pending::new();
        let waiting = pending.enter().unwrap();
        assert!(waiting.take_back());
        assert_eq!(pending.sending(waiting.id), Sending::Left);
        let waiting = pending.enter().unwrap();
        assert_eq!(pending.sending(waiting.id), Sending::Yes);
        assert!(!waiting.take_back());
        drop(waiting);
        assert_eq!(pending.len(), 0);
    }

    #[tokio::test]
    async fn those_who_wait_when_the_stream_ends_hear_whether_they_were_sent() {
        let pending = Pending::new();
        let (mut queued, mut sent) = (pending.enter().unwrap(), pending.enter().unwrap());
        assert_eq!(pending.sending(sent.id), Sending::Yes);
        pending.close("reset");
        pending.close("again");
        assert_eq!(closed((&mut queued.outcome).await.unwrap()), ("reset".to_owned(), false));
        assert_eq!(closed((&mut sent.outcome).await.unwrap()), ("reset".to_owned(), true));
        assert_eq!(pending.sending(queued.id), Sending::Closed);
        assert!(!queued.take_back());
        assert_eq!(pending.enter().map(|_| ()).unwrap_err().as_ref(), "reset");
        assert_eq!((pending.is_open(), pending.len()), (false, 0));
    }

    #[tokio::test]
    async fn when_all_that_was_begun_is_answered_nobody_who_waits_is_in_doubt() {
        let pending = Pending::new();
        let (mut queued, mut sent) = (pending.enter().unwrap(), pending.enter().unwrap());
        assert_eq!(pending.sending(sent.id), Sending::Yes);
        pending.close_answered("it stops");
        pending.close("reset");
        assert_eq!(closed((&mut queued.outcome).await.unwrap()), ("it stops".to_owned(), false));
        assert_eq!(closed((&mut sent.outcome).await.unwrap()), ("it stops".to_owned(), false));
        assert!(!pending.is_open());
    }

    #[tokio::test]
    async fn the_second_answer_to_a_request_and_one_to_nobody_are_dropped() {
        let pending = Pending::new();
        let mut waiting = pending.enter().unwrap();
        pending.answered([(waiting.id + 1, None), (waiting.id, None), (waiting.id, None)]);
        assert!(matches!((&mut waiting.outcome).await.unwrap(), Outcome::Answered(None)));
        assert_eq!(pending.len(), 0);
    }
}
