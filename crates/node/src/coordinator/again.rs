//! Requests that met the ring while it turned (§4.9): they are begun again, a moment later and under the newer ring.
//!
//! A partition that moves is sealed for some milliseconds: its homes take nothing of the old epoch any more, and the new one
//! is not there yet. The client need not know.

use std::sync::Arc;

use dynamo_quorum::{NotEnough, Refusal};
use dynamo_wire::v1::GetRequest;
use parking_lot::Mutex;

use super::{Coordinator, put::Write};
use crate::request::ReplyTo;

/// How long until the next attempt, microseconds.
const PAUSE_US: u64 = 10_000;

/// What is begun again.
pub(super) enum Once {
    Get(GetRequest),
    Write(Write),
}

struct Waiting {
    what: Once,
    reply: ReplyTo,
    due_us: u64,
    /// The client's patience ends then.
    until_us: u64,
}

/// Those that wait: bounded by the requests in flight, of which each was one.
#[derive(Default)]
pub(super) struct Again(Mutex<Vec<Waiting>>);

impl Again {
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

/// Whether homes refused because the ring turns.
pub(super) fn is_turning(error: &NotEnough) -> bool {
    error.refusals.count(Refusal::Sealed) > 0
}

impl Coordinator {
    /// Whether there is time for another attempt.
    pub(super) fn may_try_again(&self, until_us: u64) -> bool {
        self.clock.now_us() + PAUSE_US < until_us
    }

    /// Has it begun again soon. May be called under an entry's lock.
    pub(super) fn try_again(&self, what: Once, reply: ReplyTo, until_us: u64) {
        self.metrics.tried_again.increment(1);
        let due_us = self.clock.now_us() + PAUSE_US;
        self.again.0.lock().push(Waiting { what, reply, due_us, until_us });
        self.ticker.wake();
    }

    /// Begins what is due. Not under an entry's lock.
    pub(super) fn begin_again(self: &Arc<Self>, now: u64) {
        if self.again.0.lock().is_empty() {
            return;
        }
        let due: Vec<Waiting> = self.again.0.lock().extract_if(.., |waiting| waiting.due_us <= now).collect();
        for Waiting { what, reply, until_us, .. } in due {
            match what {
                Once::Get(get) => self.get_until(get, reply, until_us),
                Once::Write(write) => self.write_until(write, reply, until_us),
            }
        }
    }
}
