//! A node as a replica: what peers ask of its engine. The simulator's `node/src/replica.rs`.

use dynamo_quorum::Refusal;
use dynamo_ring::NodeId;
use dynamo_storage::{Op, Outcome, Read, StoreError};
use dynamo_version::Mode;
use smallvec::SmallVec;

use super::{Done, Node, ReplyTo, Write};
use crate::{
    coverage::cover,
    known_bad::KnownBad,
    message::{ReplicaAsk, ReplicaReply, ReplicaRequest, ReplicaWrite, Reply, Why},
    world::{Kernel, id_of, index_of, say},
};

/// What a peer is told of an operation.
pub fn reply(id: u64, result: Result<Outcome, StoreError>, durable: bool) -> ReplicaReply {
    let reply = match result {
        Ok(Outcome::State(state)) => Reply::State(state),
        Ok(_) => Reply::Ack { durable },
        Err(error) => Reply::Refusal(refusal_of_store(&error)),
    };
    ReplicaReply { id, reply }
}

/// How a failed engine operation counts in a quorum.
pub fn refusal_of_store(error: &StoreError) -> Refusal {
    match error {
        StoreError::DiskFull | StoreError::DiskFailing(_) => Refusal::DiskFull,
        StoreError::HintsFull { .. } => Refusal::HintsFull,
        StoreError::Corrupt { .. } => Refusal::Corrupt,
        StoreError::Overloaded => Refusal::Overloaded,
        StoreError::Closed => Refusal::Stopping,
        _ => Refusal::Invalid,
    }
}

impl Node {
    /// Serves one request of a peer.
    pub fn serve(&mut self, stream: u16, generation: u32, request: ReplicaRequest, kernel: &mut Kernel) {
        let id = request.id;
        match request.ask {
            ReplicaAsk::Write(write) => self.serve_write(stream, generation, id, write, kernel),
            ReplicaAsk::Read { key, digest } => self.serve_read(stream, generation, id, key, digest, kernel),
            ReplicaAsk::Put { key, write } => {
                let write = Write { key, ask: write, forwarded: true };
                self.take_write(write, ReplyTo::Peer { stream, generation, id }, kernel);
            }
        }
    }

    fn serve_write(&mut self, stream: u16, generation: u32, id: u64, write: ReplicaWrite, kernel: &mut Kernel) {
        let ReplicaWrite { key, set, digest, mode, hint_for, sync, why } = write;
        if why == Why::Repair && kernel.known_bad == Some(KnownBad::RepairOverwrites) {
            self.store.forget(&self.shape.key(key).record);
        }
        say!(kernel, "node-{} takes {why:?} of key-{key}{}", self.me, for_whom(hint_for));
        let durable = self.store.is_durable(sync);
        let hint_home = hint_for.map(index_of);
        let (key, epoch) = (self.shape.key(key).record.clone(), self.epoch());
        let op = Op::Merge { key, set, digest, mode, hint_for, epoch, sync };
        let done = Done::Peer { stream, generation, id, durable, hint_for: hint_home };
        self.submit(op, done, kernel);
    }

    fn serve_read(&mut self, stream: u16, generation: u32, id: u64, key: u16, digest: bool, kernel: &mut Kernel) {
        let bucket = usize::from(self.shape.key(key).bucket);
        let mode = if self.buckets[bucket] { self.shape.buckets[bucket].mode } else { Mode::Siblings };
        let result = self.read_now(&self.state_of(key, mode, digest));
        self.note_read(key, &result);
        let delay = self.read_time();
        kernel.send_reply(stream, generation, reply(id, result, false), delay);
    }

    /// The question for a key's state here.
    pub(super) fn state_of(&self, key: u16, mode: Mode, digest_only: bool) -> Read {
        let (hints, key) = (self.hints_to_read(key), self.shape.key(key).record.clone());
        Read::State { key, hints, mode, epoch: u64::MAX, digest_only }
    }

    /// Whose hints a read here has to look at: none where this node is a home, all homes' where it is a fallback.
    fn hints_to_read(&self, key: u16) -> SmallVec<[NodeId; 2]> {
        let homes = self.shape.homes(key);
        if homes.contains(&u16::from(self.me)) {
            return SmallVec::new();
        }
        homes.iter().map(|home| id_of(*home as u8)).collect()
    }

    pub(super) fn note_read(&self, key: u16, result: &Result<Outcome, StoreError>) {
        let found = matches!(result, Ok(Outcome::State(Some(_))));
        if found && !self.shape.homes(key).contains(&u16::from(self.me)) {
            cover!("get.from_hints");
        }
    }
}

pub fn for_whom(hint_for: Option<NodeId>) -> String {
    hint_for.map_or_else(String::new, |home| format!(" as a hint for node-{}", index_of(home)))
}
