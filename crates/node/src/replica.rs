//! This node as a replica: what peers ask of its engine.

use std::sync::Arc;

use bytes::Bytes;
use dynamo_quorum::Durability;
use dynamo_ring::{NodeId, Partition, Position};
use dynamo_storage::{Op, Read, RecordKey};
use dynamo_version::Mode;
use dynamo_wire::v1::{
    ReplicaRead, ReplicaRefusal, ReplicaReply, ReplicaRequest, ReplicaWrite, replica_refusal::Reason,
    replica_reply::Reply, replica_request::Request,
};
use tokio::sync::mpsc::OwnedPermit;

use crate::{
    completion::Done,
    coordinator::Coordinator,
    keeping::{KeeperEvents, KeeperNews},
    request::{ClientRequest, ReplyTo},
};

/// Serves peers' requests.
pub struct Replicas {
    coordinator: Arc<Coordinator>,
    keeper: KeeperEvents,
}

/// Why a request is not served here, and under which ring that is so.
struct NotServed {
    reason: Reason,
    message: String,
    epoch: u64,
}

impl NotServed {
    fn invalid(message: String) -> Self {
        Self { reason: Reason::Invalid, message, epoch: 0 }
    }
}

impl Replicas {
    /// In front of the coordinator's store.
    pub fn new(coordinator: Arc<Coordinator>, keeper: KeeperEvents) -> Self {
        Self { coordinator, keeper }
    }

    /// Serves one request; its reply goes to `place`, now or when the engine is done.
    pub fn serve(&self, from: NodeId, request: ReplicaRequest, place: OwnedPermit<ReplicaReply>) {
        let ReplicaRequest { id, epoch, request } = request;
        let own = self.coordinator.cluster.view().ring.epoch();
        if epoch > own {
            self.keeper.send(KeeperNews::Newer(from));
        }
        let refused = match request {
            Some(Request::Write(write)) => match self.check_age(epoch).and_then(|()| self.check_sender(from, epoch)) {
                Ok(()) => self.write(id, epoch, write, place),
                Err(not_served) => Err((place, not_served)),
            },
            Some(Request::Read(read)) => match self.check_age(epoch).and_then(|()| self.check_reader(from, epoch)) {
                Ok(()) => self.read(id, epoch, read, place),
                Err(not_served) => Err((place, not_served)),
            },
            Some(Request::Put(put)) => {
                self.coordinator.begin(ClientRequest::Forwarded(put), ReplyTo::Peer { id, place });
                Ok(())
            }
            Some(Request::Keep(keep)) => {
                self.keeper.send(KeeperNews::Question { from, id, question: keep.question, place });
                Ok(())
            }
            None => {
                Err((place, NotServed::invalid("a replica request of a kind that this node does not know".to_owned())))
            }
        };
        if let Err((place, NotServed { reason, message, epoch })) = refused {
            let refusal = ReplicaRefusal { reason: reason as i32, message, epoch };
            place.send(ReplicaReply { id, reply: Some(Reply::Refusal(refusal)) });
        }
    }

    fn write(
        &self,
        id: u64,
        epoch: u64,
        write: ReplicaWrite,
        place: OwnedPermit<ReplicaReply>,
    ) -> Result<(), Rejected> {
        let key = match self.record(&write.bucket, &write.key) {
            Ok(key) => key,
            Err(message) => return Err((place, NotServed::invalid(message))),
        };
        let hint_for = match <[u8; 16]>::try_from(&write.hint_for[..]) {
            Ok(home) => Some(NodeId(u128::from_be_bytes(home))),
            Err(_) if write.hint_for.is_empty() => None,
            Err(_) => return Err((place, NotServed::invalid("hint_for is no node id".to_owned()))),
        };
        if hint_for.is_none()
            && let Err(not_served) = self.check_home(&key, epoch)
        {
            return Err((place, not_served));
        }
        let mode = if write.last_write_wins { Mode::LastWriteWins } else { Mode::Siblings };
        let durable = self.coordinator.durable(write.sync);
        let hint = hint_for.map(|home| (self.coordinator.handoff.clone(), home));
        let (set, digest, sync) = (write.set, write.digest, write.sync);
        let op = Op::Merge { key, set, digest, mode, hint_for, epoch, sync };
        if let Err((done, busy)) = self.coordinator.store.submit(op, Done::Peer { id, place, durable, hint }) {
            done.not_taken(busy);
        }
        Ok(())
    }

    fn read(&self, id: u64, epoch: u64, read: ReplicaRead, place: OwnedPermit<ReplicaReply>) -> Result<(), Rejected> {
        let key = match self.record(&read.bucket, &read.key) {
            Ok(key) => key,
            Err(message) => return Err((place, NotServed::invalid(message))),
        };
        if read.strict
            && let Err(not_served) = self.check_home(&key, epoch).and_then(|()| self.check_whole(&key))
        {
            return Err((place, not_served));
        }
        let mode = self.coordinator.buckets.get(&read.bucket).map_or(Mode::Siblings, |bucket| bucket.mode);
        let hints = self.coordinator.hints_to_read(&key);
        // A sloppy read takes what there is, wherever the partition is going.
        let epoch = if read.strict { epoch } else { u64::MAX };
        let read = Read::State { key, hints, mode, epoch, digest_only: read.digest };
        if let Err((done, busy)) =
            self.coordinator.store.read(read, Done::Peer { id, place, durable: false, hint: None })
        {
            done.not_taken(busy);
        }
        Ok(())
    }

    /// A disk in doubt serves nobody whose ring is newer: what it has may be older than what was collected for that, and what
    /// it would take might go with it.
    fn check_age(&self, epoch: u64) -> Result<(), NotServed> {
        let cluster = &self.coordinator.cluster;
        let own = cluster.view().ring.epoch();
        if epoch <= own || !cluster.is_in_doubt() {
            return Ok(());
        }
        let message = format!(
            "this node's ring has epoch {own}, the request {epoch}, and it is not known yet whether its disk is an old copy"
        );
        Err(NotServed { reason: Reason::Behind, message, epoch: own })
    }

    /// What somebody has who is outside may be older than what was collected since he was in.
    fn check_sender(&self, from: NodeId, epoch: u64) -> Result<(), NotServed> {
        let view = self.coordinator.cluster.view();
        let own = view.ring.epoch();
        if view.takes_from(from) {
            return Ok(());
        }
        let (reason, why) = match epoch > own {
            true => (Reason::Behind, "this node is fetching the newer ring"),
            false => (Reason::Sealed, "nothing is taken from it; it can join again with an empty data directory"),
        };
        let message = format!("the sender is no member of the ring in epoch {own}: {why}");
        Err(NotServed { reason, message, epoch: own })
    }

    /// Who is outside and does not know it counts itself among the homes, and its own copy may be older than what was
    /// collected: joined with what others have, that would look new. So would what somebody has who has not heard of the last
    /// collection yet.
    fn check_reader(&self, from: NodeId, epoch: u64) -> Result<(), NotServed> {
        let view = self.coordinator.cluster.view();
        if epoch < view.floor() {
            let (own, floor) = (view.ring.epoch(), view.floor());
            let message = format!("something was collected in epoch {floor}: ask under the present ring");
            return Err(NotServed { reason: Reason::Sealed, message, epoch: own });
        }
        if epoch < self.coordinator.cluster.view().ring.epoch() { self.check_sender(from, epoch) } else { Ok(()) }
    }

    /// Whether this node is a home of the key in a ring that is not older than the request's. (Whether it still takes
    /// requests of the request's epoch is the engine's to know: its fence stands between the operations.)
    fn check_home(&self, key: &RecordKey, epoch: u64) -> Result<(), NotServed> {
        let view = self.coordinator.cluster.view();
        let own = view.ring.epoch();
        if epoch > own {
            let message =
                format!("this node's ring has epoch {own}, the request {epoch}: it is fetching the newer one");
            return Err(NotServed { reason: Reason::Behind, message, epoch: own });
        }
        if !view.ring.is_home(key.partition(), self.coordinator.cluster.me) {
            let message = format!("this node is no home of the key in epoch {own}: ask under the present ring");
            return Err(NotServed { reason: Reason::Sealed, message, epoch: own });
        }
        Ok(())
    }

    fn check_whole(&self, key: &RecordKey) -> Result<(), NotServed> {
        if self.coordinator.cluster.is_whole(key.partition()) {
            return Ok(());
        }
        let message = "this node's disk was emptied and is being filled from its replicas: ask another home".to_owned();
        Err(NotServed { reason: Reason::Refilling, message, epoch: 0 })
    }

    fn record(&self, bucket: &str, key: &Bytes) -> Result<RecordKey, String> {
        let partition = self.partition(key);
        RecordKey::new(partition, bucket.as_bytes(), key, None).map_err(|error| error.to_string())
    }

    fn partition(&self, key: &Bytes) -> Partition {
        self.coordinator.cluster.view().ring.partitions().partition_of(Position::of(key))
    }
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

type Rejected = (OwnedPermit<ReplicaReply>, NotServed);
