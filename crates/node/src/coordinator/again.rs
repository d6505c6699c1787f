//! Requests that met what passes in a moment: they are begun again then, and the client need not know.
//!
//! The ring turned (§4.9): a partition that moves is sealed for some milliseconds, its homes take nothing of the old epoch any more,
//! and the new one is not there yet. Or streams to peers broke: a node that stood still finds that of all, and opens them anew.
//!
//! A write that has its version keeps it: a second one beside it could come back as a sibling of what somebody wrote over
//! the first. What of it may be sent: see [`Resend`].

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use dynamo_quorum::{NotEnough, Put, Refusal, Resend};
use dynamo_ring::NodeId;
use dynamo_storage::{Outcome, Read, RecordKey};
use dynamo_version::Dot;
use dynamo_wire::v1::GetRequest;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::{Coordinator, answers::cut_short, put::Write};
use crate::{buckets::BucketSettings, cluster::View, completion::Done, request::ReplyTo};

/// How long until the next attempt, microseconds.
const PAUSE_US: u64 = 10_000;

/// A stream that broke is open again after so long, or its peer is known to be down.
const REOPEN_US: u64 = 1_000_000;

/// What is begun again.
pub(super) enum Once {
    Get(GetRequest),
    /// One that has no version yet.
    Write(Write),
    Made(Box<Made>),
}

/// A write with its version.
pub(super) struct Made {
    pub record: RecordKey,
    pub bucket: Arc<BucketSettings>,
    pub key: Bytes,
    pub set: Bytes,
    pub digest: u64,
    pub dot: Option<Dot>,
    pub siblings: u32,
    /// The sealed context of the answer.
    pub context: Bytes,
    pub w: u32,
    pub began_us: u64,
    /// Under which epoch it was sent, and who were the key's homes then.
    pub epoch: u64,
    pub homes: SmallVec<[NodeId; 4]>,
    /// What the last attempt came to.
    pub last: NotEnough,
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

impl Coordinator {
    /// Whether what kept a request from its quorum will have passed in a moment.
    pub(super) fn is_passing(&self, error: &NotEnough) -> bool {
        let broke_us = self.broke_us.load(Ordering::Relaxed);
        let reopened = broke_us == 0 || self.clock.now_us() > broke_us + REOPEN_US;
        let turning = error.refusals.count(Refusal::Sealed) > 0;
        turning || (!reopened && error.refusals.count(Refusal::Unreachable) > 0)
    }

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
                Once::Made(made) => self.resend(made, reply, until_us),
            }
        }
    }

    fn resend(self: &Arc<Self>, mut made: Box<Made>, reply: ReplyTo, until_us: u64) {
        // One view for the decision, the reading and the sending: what is read now must not be sent under a later epoch.
        let view = Arc::clone(&self.cluster.view());
        let (homes, me) = (view.ring.preference_list(made.record.partition()), self.cluster.me);
        match Resend::of((made.epoch, &made.homes), (view.ring.epoch(), &homes), me) {
            Resend::AsMade => self.replicate(&view, *made, reply, until_us),
            Resend::Nothing => {
                let why = "this node can't tell whether the version was written over since; read the key";
                self.refuse(cut_short(&made.last, why), reply);
            }
            Resend::FromRecord => {
                let (done, read) = oneshot::channel();
                let (key, mode) = (made.record.clone(), made.bucket.mode);
                let hints = SmallVec::new();
                self.read(Read::State { key, hints, mode, epoch: u64::MAX, digest_only: false }, Done::Task(done));
                let coordinator = self.clone();
                // A task, for nobody may wait here; a ring turns rarely.
                self.runtime.spawn(async move {
                    match read.await {
                        Ok(Ok(Outcome::State(Some((set, digest))))) if Resend::knows(&set, made.dot) => {
                            (made.set, made.digest) = (set, digest);
                            coordinator.replicate(&view, *made, reply, until_us);
                        }
                        _ => {
                            let why = "this node's own record does not have the version any more; read the key";
                            coordinator.refuse(cut_short(&made.last, why), reply);
                        }
                    }
                });
            }
        }
    }

    /// Another attempt at a write that has its version, under a newer ring.
    fn replicate(self: &Arc<Self>, view: &View, made: Made, reply: ReplyTo, until_us: u64) {
        let now = self.clock.now_us();
        let settings = self.put_settings(view, &made.bucket, made.w, until_us.saturating_sub(now));
        let candidates = view.candidates(made.record.partition(), made.bucket.strict);
        let holding = made.last.holding;
        let machine = settings.and_then(|settings| {
            Put::again(self.cluster.me, &candidates, settings, holding, now)
                .map_err(|error| super::answers::not_enough(&error))
        });
        match machine {
            Ok(machine) => self.go_on(view, machine, &candidates, made, (reply, until_us)),
            Err(refused) => self.refuse(cut_short(&made.last, &refused.message), reply),
        }
    }
}
