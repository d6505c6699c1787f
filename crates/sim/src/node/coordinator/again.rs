//! Requests that met the ring while it turned (§4.9): begun again, a moment later and under the newer ring. The
//! simulator's `node/src/coordinator/again.rs`.

use bytes::Bytes;
use dynamo_quorum::{NotEnough, Put, Refusal, Resend};
use dynamo_ring::NodeId;
use dynamo_storage::{Outcome, Read};
use dynamo_version::Dot;
use smallvec::SmallVec;

use super::{ReplyTo, Write, not_enough};
use crate::{
    coverage::cover,
    history::WriteId,
    node::Node,
    world::{Kernel, View, id_of, say},
};

/// How long until the next attempt, microseconds.
const PAUSE_US: u64 = 10_000;

/// What is begun again.
pub enum Once {
    Get(u16),
    /// One that has no version yet.
    Write(Write),
    Made(Box<Made>),
}

/// A write with its version.
pub struct Made {
    pub key: u16,
    pub write: WriteId,
    pub set: Bytes,
    pub digest: u64,
    pub dot: Option<Dot>,
    /// The sealed context of the answer.
    pub context: Bytes,
    /// Under which epoch it was sent, and who were the key's homes then.
    pub epoch: u64,
    pub homes: SmallVec<[NodeId; 4]>,
    /// What the last attempt came to.
    pub last: NotEnough,
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
                Once::Made(made) => self.resend(*made, reply, until_us, kernel),
            }
        }
    }

    fn resend(&mut self, mut made: Made, reply: ReplyTo, until_us: u64, kernel: &mut Kernel) {
        let view = self.view.clone();
        let homes = homes_of(&view, self.shape.partition(made.key));
        match Resend::of((made.epoch, &made.homes), (view.epoch(), &homes), self.id()) {
            Resend::AsMade => {
                cover!("ring.sent_again");
                self.replicate(made, reply, until_us, kernel);
            }
            Resend::Nothing => self.cut_short(&made.last, reply, kernel),
            Resend::FromRecord => {
                let (key, mode) = (self.shape.key(made.key).record.clone(), self.shape.bucket_of(made.key).mode);
                let read = Read::State { key, hints: SmallVec::new(), mode, epoch: u64::MAX, digest_only: false };
                match self.read_now(&read) {
                    Ok(Outcome::State(Some((set, digest)))) if Resend::knows(&set, made.dot) => {
                        (made.set, made.digest) = (set, digest);
                        self.replicate(made, reply, until_us, kernel);
                    }
                    _ => self.cut_short(&made.last, reply, kernel),
                }
            }
        }
    }

    /// Another attempt at a write that has its version, under a newer ring.
    fn replicate(&mut self, made: Made, reply: ReplyTo, until_us: u64, kernel: &mut Kernel) {
        let now = kernel.clock_us();
        let settings = self.put_settings(made.key, until_us.saturating_sub(now));
        let candidates = self.candidates(made.key, self.shape.bucket_of(made.key).strict);
        match Put::again(self.id(), &candidates, settings, made.last.holding, now) {
            Ok(machine) => self.go_on(machine, made, reply, until_us, kernel),
            Err(_) => self.cut_short(&made.last, reply, kernel),
        }
    }

    /// A write whose version was made can't be gone on with: it may have been written.
    fn cut_short(&mut self, last: &NotEnough, reply: ReplyTo, kernel: &mut Kernel) {
        self.give(reply, Err(not_enough(&NotEnough { begun: true, ..*last })), kernel);
    }
}

/// A key's homes.
pub fn homes_of(view: &View, partition: dynamo_ring::Partition) -> SmallVec<[NodeId; 4]> {
    view.homes(partition).iter().map(|home| id_of(*home)).collect()
}
