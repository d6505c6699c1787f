//! Sending a write on to a home replica (§4.5, 6.4): the coordinator of a write is a home when one is alive.
//!
//! Only a home can go on from the dots that it has minted for the key; a fallback would begin a new key epoch for each.
//! Reads are not sent on: any node can gather them with as many hops.

use std::sync::Arc;

use dynamo_quorum::{Candidate, NodeState, Refusal};
use dynamo_ring::NodeId;
use dynamo_wire::v1::{ErrorCode, ForwardedPut, ForwardedResult, ReplicaRequest, replica_request};
use smallvec::SmallVec;

use super::{Coordinator, Entry, RequestId, put::Write, table::Ended};
use crate::{
    cluster::Candidates,
    request::{Refused, ReplyTo, forwarded_answer},
};

/// A write that a home coordinates for us.
pub(super) struct ForwardEntry {
    home: NodeId,
    tried: SmallVec<[NodeId; 4]>,
    candidates: Candidates,
    write: Write,
    deadline_us: u64,
    reply: Option<ReplyTo>,
}

/// Whether this node is to coordinate: it is a home that can write.
pub(super) fn coordinates_here(me: NodeId, candidates: &[Candidate]) -> bool {
    candidates.iter().any(|candidate| candidate.node == me && candidate.home && candidate.state == NodeState::Up)
}

/// The first home that can write and was not tried yet; a suspect only when there is no other.
pub(super) fn next_coordinator(candidates: &[Candidate], tried: &[NodeId]) -> Option<NodeId> {
    candidates
        .iter()
        .filter(|candidate| candidate.home && candidate.state == NodeState::Up && !tried.contains(&candidate.node))
        .min_by_key(|candidate| candidate.latency_us == u32::MAX)
        .map(|candidate| candidate.node)
}

/// Nobody takes what this node would keep for homes that are down: it left, or has not joined.
pub(super) fn outside() -> Refused {
    let message = "this node is no member of the ring and keeps no write for homes that do not answer: nothing was written; ask a member";
    Refused::new(ErrorCode::NotReady, message)
}

impl Coordinator {
    pub(super) fn forward(self: &Arc<Self>, home: NodeId, candidates: Candidates, write: Write, reply: ReplyTo) {
        self.metrics.forwarded.increment(1);
        let deadline_us = self.clock.now_us() + self.times.deadline_us;
        let entry = ForwardEntry { home, tried: SmallVec::new(), candidates, write, deadline_us, reply: Some(reply) };
        let id = self.insert(Entry::Forward(entry));
        self.table.step(id, |entry| match entry {
            Entry::Forward(forward) => self.send_on(id, forward),
            _ => Ended::No,
        });
    }

    /// Sends to the current home; on to the next when it can't be reached; coordinates here when none is left.
    fn send_on(self: &Arc<Self>, id: RequestId, entry: &mut ForwardEntry) -> Ended {
        loop {
            let put = ForwardedPut {
                bucket: entry.write.bucket.clone(),
                key: entry.write.key.clone(),
                value: entry.write.value.clone().unwrap_or_default(),
                tombstone: entry.write.value.is_none(),
                context: entry.write.context.clone(),
                w: entry.write.w,
            };
            let request =
                ReplicaRequest { id: id.0, epoch: self.epoch(), request: Some(replica_request::Request::Put(put)) };
            if self.send(entry.home, request).is_ok() {
                return Ended::No;
            }
            entry.tried.push(entry.home);
            match next_coordinator(&entry.candidates, &entry.tried) {
                Some(next) => entry.home = next,
                None => return self.coordinate_here(entry),
            }
        }
    }

    /// No home can be reached: this node stands in for one (§4.6).
    fn coordinate_here(self: &Arc<Self>, entry: &mut ForwardEntry) -> Ended {
        let Some(reply) = entry.reply.take() else { return Ended::Yes };
        if !self.cluster.view().is_member() {
            self.refuse(outside(), reply);
            return Ended::Yes;
        }
        let write = Write {
            bucket: std::mem::take(&mut entry.write.bucket),
            key: entry.write.key.clone(),
            value: entry.write.value.take(),
            context: entry.write.context.clone(),
            w: entry.write.w,
            forwarded: true,
        };
        // Not under this entry's lock: the new entry may live in the same shard.
        let coordinator = self.clone();
        tokio::spawn(async move { coordinator.begin_write(write, reply) });
        Ended::Yes
    }

    /// The home has answered.
    pub(super) fn forwarded(self: &Arc<Self>, id: RequestId, from: NodeId, result: ForwardedResult) {
        self.table.step(id, |entry| {
            let Entry::Forward(entry) = entry else { return Ended::No };
            if entry.home != from {
                return Ended::No;
            }
            if result.error == ErrorCode::NotReady as u32 {
                return self.forward_refused(id, entry, from, Refusal::Stopping);
            }
            match (forwarded_answer(result), entry.reply.take()) {
                (Ok(answer), Some(reply)) => reply.give(Ok(answer)),
                (Err(refused), Some(reply)) => self.refuse(refused, reply),
                (_, None) => {}
            }
            Ended::Yes
        });
    }

    /// The home refused to coordinate, or was lost. One that was lost may have written: the client is told so, and may
    /// retry. (A second coordinator could make a second version of one write.)
    pub(super) fn forward_refused(
        self: &Arc<Self>,
        id: RequestId,
        entry: &mut ForwardEntry,
        from: NodeId,
        refusal: Refusal,
    ) -> Ended {
        if entry.home != from {
            return Ended::No;
        }
        if refusal != Refusal::Unreachable {
            entry.tried.push(from);
            return match next_coordinator(&entry.candidates, &entry.tried) {
                Some(next) => {
                    entry.home = next;
                    self.send_on(id, entry)
                }
                None => self.coordinate_here(entry),
            };
        }
        if let Some(reply) = entry.reply.take() {
            let message = "the node that coordinated the write was lost before it answered: the write may or may not have happened; read the key, or write it again";
            self.refuse(Refused::new(ErrorCode::CoordinatorLost, message), reply);
        }
        Ended::Yes
    }

    pub(super) fn forward_time(self: &Arc<Self>, id: RequestId, entry: &mut ForwardEntry, now: u64) -> Ended {
        if now < entry.deadline_us {
            return Ended::No;
        }
        let home = entry.home;
        self.forward_refused(id, entry, home, Refusal::Unreachable)
    }
}
