//! A write sent on to a home of its key (§4.5): the coordinator is a home when one is alive.

use dynamo_quorum::{Candidate, Refusal};
use dynamo_ring::NodeId;
use smallvec::SmallVec;

use super::{DEADLINE_US, Ended, Entry, ReplyTo, Write, put::is_writable_home};
use crate::{
    coverage::cover,
    message::{Answer, Class, Refused, ReplicaAsk, ReplicaRequest},
    node::{Node, cluster::Candidates},
    world::{Kernel, NodeEvent, index_of, say},
};

/// A write that a home coordinates for us.
pub(in crate::node) struct ForwardEntry {
    home: NodeId,
    tried: SmallVec<[NodeId; 4]>,
    candidates: Candidates,
    write: Write,
    pub(super) deadline_us: u64,
    reply: Option<ReplyTo>,
}

/// Whether this node is to coordinate: it is a home that can write.
pub(super) fn coordinates_here(me: NodeId, candidates: &[Candidate]) -> bool {
    candidates.iter().any(|candidate| candidate.node == me && is_writable_home(candidate))
}

/// The first home that can write and was not tried yet; a suspect only when there is no other.
pub(super) fn next_coordinator(candidates: &[Candidate], tried: &[NodeId]) -> Option<NodeId> {
    candidates
        .iter()
        .filter(|candidate| is_writable_home(candidate) && !tried.contains(&candidate.node))
        .min_by_key(|candidate| candidate.latency_us == u32::MAX)
        .map(|candidate| candidate.node)
}

impl Node {
    pub(super) fn forward(
        &mut self,
        home: NodeId,
        candidates: Candidates,
        write: Write,
        reply: ReplyTo,
        kernel: &mut Kernel,
    ) {
        cover!("put.forwarded");
        let deadline_us = kernel.clock_us() + DEADLINE_US;
        let entry = ForwardEntry { home, tried: SmallVec::new(), candidates, write, deadline_us, reply: Some(reply) };
        let id = self.insert(Entry::Forward(Box::new(entry)), kernel);
        self.with_entry(id, kernel, |node, entry, kernel| match entry {
            Entry::Forward(forward) => node.send_on(id, forward, kernel),
            _ => Ended::No,
        });
    }

    /// Sends to the current home; on to the next when it can't be reached; coordinates here when none is left.
    fn send_on(&mut self, id: u64, entry: &mut ForwardEntry, kernel: &mut Kernel) -> Ended {
        loop {
            let ask = ReplicaAsk::Put { key: entry.write.key, write: entry.write.ask.clone() };
            let peer = index_of(entry.home);
            say!(kernel, "node-{} sends write {} on to node-{peer}", self.me, entry.write.ask.write);
            if self.send(peer, Class::Foreground, ReplicaRequest { id, epoch: self.epoch(), ask }, kernel).is_ok() {
                return Ended::No;
            }
            entry.tried.push(entry.home);
            match next_coordinator(&entry.candidates, &entry.tried) {
                Some(next) => entry.home = next,
                None => return self.coordinate_here(entry, kernel),
            }
        }
    }

    /// No home can be reached: this node stands in for one (§4.6).
    fn coordinate_here(&mut self, entry: &mut ForwardEntry, kernel: &mut Kernel) -> Ended {
        let Some(reply) = entry.reply.take() else { return Ended::Yes };
        if !self.is_member() {
            cover!("collect.outsider_mints_nothing");
            self.give(reply, Err(Refused::NotReady), kernel);
            return Ended::Yes;
        }
        let write = Box::new(Write { forwarded: true, ..entry.write.clone() });
        kernel.node_after(0, self.me, self.life, NodeEvent::CoordinateHere { write, reply });
        Ended::Yes
    }

    /// The home has answered.
    pub(super) fn forwarded(&mut self, id: u64, from: u8, answer: Answer, kernel: &mut Kernel) {
        self.with_entry(id, kernel, |node, entry, kernel| {
            let Entry::Forward(entry) = entry else { return Ended::No };
            if index_of(entry.home) != from {
                return Ended::No;
            }
            if let Some(reply) = entry.reply.take() {
                node.give(reply, answer, kernel);
            }
            Ended::Yes
        });
    }

    /// The home refused to coordinate, or was lost. One that was lost may have written: the client is told so.
    pub(super) fn forward_refused(
        &mut self,
        id: u64,
        entry: &mut ForwardEntry,
        from: u8,
        refusal: Refusal,
        kernel: &mut Kernel,
    ) -> Ended {
        if index_of(entry.home) != from {
            return Ended::No;
        }
        if refusal != Refusal::Unreachable {
            entry.tried.push(entry.home);
            return match next_coordinator(&entry.candidates, &entry.tried) {
                Some(next) => {
                    entry.home = next;
                    self.send_on(id, entry, kernel)
                }
                None => self.coordinate_here(entry, kernel),
            };
        }
        cover!("put.coordinator_lost");
        if let Some(reply) = entry.reply.take() {
            self.give(reply, Err(Refused::CoordinatorLost), kernel);
        }
        Ended::Yes
    }

    pub(super) fn forward_time(&mut self, id: u64, entry: &mut ForwardEntry, now: u64, kernel: &mut Kernel) -> Ended {
        if now < entry.deadline_us {
            return Ended::No;
        }
        let home = index_of(entry.home);
        self.forward_refused(id, entry, home, Refusal::Unreachable, kernel)
    }
}
