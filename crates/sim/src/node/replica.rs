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
        Err(error) => {
            // Who sent it may have an older ring, and asks for the newer one.
            let epoch = if let StoreError::Sealed { fence } = error { fence } else { 0 };
            Reply::Refusal(refusal_of_store(&error), epoch)
        }
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
        StoreError::Sealed { .. } => Refusal::Sealed,
        StoreError::Closed => Refusal::Stopping,
        _ => Refusal::Invalid,
    }
}

impl Node {
    /// Serves one request of a peer.
    pub fn serve(&mut self, stream: u16, generation: u32, request: ReplicaRequest, kernel: &mut Kernel) {
        let ReplicaRequest { id, epoch, ask } = request;
        let (from, ..) = kernel.network.ends(stream);
        if epoch > self.epoch() {
            self.pull_ring_from(from, kernel);
        }
        let place = (stream, generation, id);
        let refused = match ask {
            ReplicaAsk::Write(_) | ReplicaAsk::Read { .. } if self.is_too_old_for(epoch) => {
                cover!("doubt.newer_refused");
                Err((Refusal::Sealed, self.epoch()))
            }
            ReplicaAsk::Write(write) => {
                self.check_sender(from).and_then(|()| self.serve_write(place, epoch, write, kernel))
            }
            // What its sender has may have been collected, and would look new beside what is here.
            ReplicaAsk::Read { .. } if epoch < self.view.charter.last_barrier().epoch => {
                cover!("collect.old_read_refused");
                Err((Refusal::Sealed, self.epoch()))
            }
            ReplicaAsk::Read { key, digest, strict } => {
                // Who is outside and does not know it counts its own copy, which may be older than what was collected.
                let known = if epoch < self.epoch() { self.check_sender(from) } else { Ok(()) };
                known.and_then(|()| self.serve_read(place, epoch, (key, digest, strict), kernel))
            }
            ReplicaAsk::Keep(question) => {
                self.keeper_asked(from, place, *question, kernel);
                Ok(())
            }
            ReplicaAsk::Put { key, write } => {
                let write = Write { key, ask: write, forwarded: true };
                self.take_write(write, ReplyTo::Peer { stream, generation, id }, kernel);
                Ok(())
            }
        };
        if let Err((refusal, epoch)) = refused {
            say!(kernel, "node-{} refuses what node-{from} asks: {refusal:?}, epoch {epoch}", self.me);
            let reply = ReplicaReply { id, reply: Reply::Refusal(refusal, epoch) };
            kernel.send_reply(stream, generation, reply, 0);
        }
    }

    fn serve_write(
        &mut self,
        (stream, generation, id): (u16, u32, u64),
        epoch: u64,
        write: ReplicaWrite,
        kernel: &mut Kernel,
    ) -> Result<(), (Refusal, u64)> {
        let ReplicaWrite { key, set, digest, mode, hint_for, sync, why } = write;
        if hint_for.is_none() {
            self.check_home(key, epoch, kernel)?;
        }
        if why == Why::Repair && kernel.known_bad == Some(KnownBad::RepairOverwrites) {
            self.store.forget(&self.shape.key(key).record);
        }
        say!(kernel, "node-{} takes {why:?} of key-{key}{}", self.me, for_whom(hint_for));
        let durable = self.store.is_durable(sync);
        let hint_home = hint_for.map(index_of);
        let key = self.shape.key(key).record.clone();
        let op = Op::Merge { key, set, digest, mode, hint_for, epoch, sync };
        let done = Done::Peer { stream, generation, id, durable, hint_for: hint_home };
        self.submit(op, done, kernel);
        Ok(())
    }

    /// What somebody has who is outside may be older than what was collected since he was in.
    fn check_sender(&self, from: u8) -> Result<(), (Refusal, u64)> {
        if self.keeping.keeper.charter().takes_from(id_of(from)) {
            return Ok(());
        }
        cover!("collect.outsider_refused");
        Err((Refusal::Sealed, self.epoch()))
    }

    /// Whether this node is a home of the key in a ring that is not older than the request's. (Whether it still takes
    /// requests of the request's epoch is the engine's to know.)
    fn check_home(&self, key: u16, epoch: u64, kernel: &Kernel) -> Result<(), (Refusal, u64)> {
        let own = self.epoch();
        if epoch > own {
            cover!("ring.behind");
            return Err((Refusal::Sealed, own));
        }
        let serves_on = kernel.known_bad == Some(KnownBad::TurnWithoutSeals) && epoch < own;
        if !serves_on && !self.view.is_home(self.shape.partition(key), self.me) {
            cover!("ring.no_home_any_more");
            return Err((Refusal::Sealed, own));
        }
        Ok(())
    }

    fn check_whole(&self, key: u16) -> Result<(), (Refusal, u64)> {
        if self.is_whole(self.shape.partition(key)) {
            return Ok(());
        }
        cover!("get.refilling");
        Err((Refusal::Refilling, 0))
    }

    fn serve_read(
        &mut self,
        (stream, generation, id): (u16, u32, u64),
        epoch: u64,
        (key, digest, strict): (u16, bool, bool),
        kernel: &mut Kernel,
    ) -> Result<(), (Refusal, u64)> {
        if strict {
            self.check_home(key, epoch, kernel)?;
            self.check_whole(key)?;
        }
        let bucket = usize::from(self.shape.key(key).bucket);
        let mode = if self.buckets[bucket] { self.shape.buckets[bucket].mode } else { Mode::Siblings };
        // A sloppy read takes what there is, wherever the partition is going.
        let epoch = if strict { epoch } else { u64::MAX };
        let result = self.read_now(&self.state_of(key, mode, epoch, digest));
        self.note_read(key, &result);
        if let Err(error) = &result {
            self.report_damage(error, kernel);
        }
        let delay = self.read_time();
        kernel.send_reply(stream, generation, reply(id, result, false), delay);
        Ok(())
    }

    /// The question for a key's state here.
    pub(super) fn state_of(&self, key: u16, mode: Mode, epoch: u64, digest_only: bool) -> Read {
        let (hints, key) = (self.hints_to_read(key), self.shape.key(key).record.clone());
        Read::State { key, hints, mode, epoch, digest_only }
    }

    /// Whose hints a read here has to look at: none where this node is a home, all homes' where it is a fallback.
    fn hints_to_read(&self, key: u16) -> SmallVec<[NodeId; 2]> {
        let homes = self.view.homes(self.shape.partition(key));
        if homes.contains(&self.me) {
            return SmallVec::new();
        }
        homes.iter().map(|home| id_of(*home)).collect()
    }

    pub(super) fn note_read(&self, key: u16, result: &Result<Outcome, StoreError>) {
        let found = matches!(result, Ok(Outcome::State(Some(_))));
        if found && !self.view.is_home(self.shape.partition(key), self.me) {
            cover!("get.from_hints");
        }
    }
}

pub fn for_whom(hint_for: Option<NodeId>) -> String {
    hint_for.map_or_else(String::new, |home| format!(" as a hint for node-{}", index_of(home)))
}
