//! Requests that met the ring while it turned (§4.9): begun again, a moment later and under the newer ring. The
//! simulator's `node/src/coordinator/again.rs`.

use dynamo_quorum::{NotEnough, Refusal};

use super::{ReplyTo, Write};
use crate::{
    coverage::cover,
    node::Node,
    world::{Kernel, say},
};

/// How long until the next attempt, microseconds.
const PAUSE_US: u64 = 10_000;

/// What is begun again.
pub enum Once {
    Get(u16),
    Write(Write),
}

/// One that waits.
pub struct Waiting {
    what: Once,
    reply: ReplyTo,
    pub due_us: u64,
    /// The client's patience ends then.
    until_us: u64,
}

/// Whether homes refused because the ring turns.
pub fn is_turning(error: &NotEnough) -> bool {
    error.refusals.count(Refusal::Sealed) > 0
}

impl Node {
    /// Whether there is time for another attempt.
    pub(super) fn may_try_again(until_us: u64, kernel: &Kernel) -> bool {
        kernel.clock_us() + PAUSE_US < until_us
    }

    /// Has it begun again soon.
    pub(super) fn try_again(&mut self, what: Once, reply: ReplyTo, until_us: u64, kernel: &mut Kernel) {
        cover!("ring.request_again");
        say!(kernel, "node-{} begins a request again: the ring turns", self.me);
        let due_us = kernel.clock_us() + PAUSE_US;
        self.requests.again.push(Waiting { what, reply, due_us, until_us });
        self.plan_tick(Some(due_us), kernel);
    }

    /// Begins what is due.
    pub(super) fn begin_again(&mut self, now: u64, kernel: &mut Kernel) {
        let due: Vec<Waiting> = self.requests.again.extract_if(.., |waiting| waiting.due_us <= now).collect();
        for Waiting { what, reply, until_us, .. } in due {
            match what {
                Once::Get(key) => self.get_until(key, reply, until_us, kernel),
                Once::Write(write) => self.write_until(write, reply, until_us, kernel),
            }
        }
    }
}
