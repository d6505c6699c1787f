//! This node as a replica: what peers ask of its engine.

use std::sync::Arc;

use bytes::Bytes;
use dynamo_quorum::{Durability, Refusal};
use dynamo_ring::{NodeId, Partition, Position};
use dynamo_storage::{Op, Read, RecordKey};
use dynamo_version::Mode;
use dynamo_wire::v1::{
    ReplicaRead, ReplicaReply, ReplicaRequest, ReplicaWrite, replica_reply::Reply, replica_request::Request,
};
use tokio::sync::mpsc::OwnedPermit;

use crate::{
    completion::Done,
    coordinator::{Coordinator, wire_refusal},
    request::{ClientRequest, ReplyTo},
};

/// Serves peers' requests.
pub struct Replicas {
    coordinator: Arc<Coordinator>,
}

impl Replicas {
    /// In front of the coordinator's store.
    pub fn new(coordinator: Arc<Coordinator>) -> Self {
        Self { coordinator }
    }

    /// Serves one request; its reply goes to `place`, now or when the engine is done.
    pub fn serve(&self, request: ReplicaRequest, place: OwnedPermit<ReplicaReply>) {
        let id = request.id;
        let refused = match request.request {
            Some(Request::Write(write)) => self.write(id, write, place),
            Some(Request::Read(read)) => self.read(id, read, place),
            Some(Request::Put(put)) => {
                self.coordinator.begin(ClientRequest::Forwarded(put), ReplyTo::Peer { id, place });
                Ok(())
            }
            Some(Request::Keep(_)) | None => {
                Err((place, "a replica request of a kind that this node does not know".to_owned()))
            }
        };
        if let Err((place, message)) = refused {
            let refusal = wire_refusal(Refusal::Invalid, message);
            place.send(ReplicaReply { id, reply: Some(Reply::Refusal(refusal)) });
        }
    }

    fn write(&self, id: u64, write: ReplicaWrite, place: OwnedPermit<ReplicaReply>) -> Result<(), Rejected> {
        let key = match self.record(&write.bucket, &write.key) {
            Ok(key) => key,
            Err(message) => return Err((place, message)),
        };
        let hint_for = match <[u8; 16]>::try_from(&write.hint_for[..]) {
            Ok(home) => Some(NodeId(u128::from_be_bytes(home))),
            Err(_) if write.hint_for.is_empty() => None,
            Err(_) => return Err((place, "hint_for is no node id".to_owned())),
        };
        let mode = if write.last_write_wins { Mode::LastWriteWins } else { Mode::Siblings };
        let durable = self.coordinator.durable(write.sync);
        let hint = hint_for.map(|home| (self.coordinator.handoff.clone(), home));
        let (set, digest, sync) = (write.set, write.digest, write.sync);
        let op = Op::Merge { key, set, digest, mode, hint_for, epoch: peers_epoch(), sync };
        if let Err((done, busy)) = self.coordinator.store.submit(op, Done::Peer { id, place, durable, hint }) {
            done.not_taken(busy);
        }
        Ok(())
    }

    fn read(&self, id: u64, read: ReplicaRead, place: OwnedPermit<ReplicaReply>) -> Result<(), Rejected> {
        let key = match self.record(&read.bucket, &read.key) {
            Ok(key) => key,
            Err(message) => return Err((place, message)),
        };
        let mode = self.coordinator.buckets.get(&read.bucket).map_or(Mode::Siblings, |bucket| bucket.mode);
        let hints = self.coordinator.hints_to_read(&key);
        let read = Read::State { key, hints, mode, epoch: peers_epoch(), digest_only: read.digest };
        if let Err((done, busy)) =
            self.coordinator.store.read(read, Done::Peer { id, place, durable: false, hint: None })
        {
            done.not_taken(busy);
        }
        Ok(())
    }

    fn record(&self, bucket: &str, key: &Bytes) -> Result<RecordKey, String> {
        let partition = self.partition(key);
        RecordKey::new(partition, bucket.as_bytes(), key, None).map_err(|error| error.to_string())
    }

    fn partition(&self, key: &Bytes) -> Partition {
        self.coordinator.cluster.view().ring.partitions().partition_of(Position::of(key))
    }
}

/// The epoch under which a peer's request is held against the partition's fence. While no ring changes nothing is fenced,
/// and no request is refused for its epoch; then it is to be the request's own.
fn peers_epoch() -> u64 {
    u64::MAX
}

impl Coordinator {
    /// Whether an engine write with this `sync` is on stable storage when it is done (§6.1).
    pub fn durable(&self, sync: bool) -> bool {
        match self.durability {
            Durability::AllDurable => true,
            Durability::OneDurable => sync,
            Durability::Buffered => false,
        }
    }
}

type Rejected = (OwnedPermit<ReplicaReply>, String);
