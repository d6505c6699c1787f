//! What people and the operator ask: status and buckets, and the ring's description for clients.

use std::sync::Arc;

use dynamo_gossip::{Creation, Detector, Disk, NodeInfo, PeerState, Phase};
use dynamo_version::Mode;
use dynamo_wire::v1::{
    CreateBucketRequest, CreateBucketResponse, DescribeBucketRequest, DescribeBucketResponse, DescribeRingResponse,
    ErrorCode, ListBucketsRequest, ListBucketsResponse, NodeStatus, RingMember, StatusRequest, StatusResponse,
    admin_server::Admin,
};
use tonic::{Request, Response, Status};

use crate::{
    buckets::BucketSettings,
    clock::Clock,
    coordinator::Coordinator,
    membership::{self, Membership},
    request::{Refused, status},
};

/// Serves `dynamo.v1.Admin`.
pub struct AdminService {
    coordinator: Arc<Coordinator>,
    membership: Arc<Membership>,
}

impl AdminService {
    /// Of the node with this coordinator and membership.
    pub fn new(coordinator: Arc<Coordinator>, membership: Arc<Membership>) -> Self {
        Self { coordinator, membership }
    }

    fn node_status(&self, info: &NodeInfo, detector: &Detector) -> NodeStatus {
        let me = info.id == self.coordinator.cluster.me;
        let now = self.coordinator.clock.now_us();
        let last_heard_ms = if me { 0 } else { now.saturating_sub(detector.heard_us()) / 1000 };
        // What gossip carries of this node is a round old.
        let load = if me { membership::load(self.coordinator.store.counters()) } else { info.load };
        NodeStatus {
            id: info.id.to_string(),
            name: info.name.clone(),
            zone: info.zone.clone(),
            state: state_name(if me { PeerState::Up } else { detector.state() }, info.phase).to_owned(),
            client_address: info.client_addr.clone(),
            peer_address: info.peer_addr.clone(),
            keys: load.keys,
            tombstones: load.tombstones,
            hints: load.hints_held,
            disk_bytes: load.bytes,
            disk_free_bytes: load.disk_free,
            disk: disk_name(info.disk).to_owned(),
            ring_epoch: info.ring_epoch,
            last_heard_ms,
            incarnation: info.incarnation,
            certificate: info.certificate.clone(),
            certificate_until_s: info.certificate_until_s,
            trusted: info.trusted.clone(),
            certificate_signed_by: info.certificate_signed_by.clone(),
            certificate_problem: info.certificate_problem.clone(),
            peer_protocol: info.protocol,
            refilling: info.refilling,
            leftovers: info.leftovers,
        }
    }
}

/// As the answers have it.
pub fn disk_name(disk: Disk) -> &'static str {
    match disk {
        Disk::Ok => "ok",
        Disk::Full => "full",
        Disk::Failing => "failing",
    }
}

/// As the answers have it.
pub fn state_name(state: PeerState, phase: Phase) -> &'static str {
    match (state, phase) {
        (PeerState::Up, Phase::Starting) => "starting",
        (PeerState::Up, Phase::Draining) => "draining",
        (PeerState::Up, Phase::Serving) => "up",
        (PeerState::Suspect, _) => "suspect",
        (PeerState::Down, _) => "down",
        (PeerState::Unknown, _) => "unknown",
    }
}

/// The ring with what is known of its members.
pub fn describe_ring(coordinator: &Coordinator, membership: &Membership) -> DescribeRingResponse {
    let view = coordinator.cluster.view();
    let ring = &view.ring;
    let mut tokens = vec![0; ring.members().len()];
    ring.owners().iter().for_each(|owner| tokens[usize::from(*owner)] += 1);
    let members = membership.with(|machine| {
        let members = ring.members().iter().zip(tokens);
        members
            .map(|(member, tokens)| {
                let info = machine.info(member.id);
                RingMember {
                    id: member.id.to_string(),
                    name: member.name.clone(),
                    zone: member.zone.clone(),
                    weight: member.weight,
                    client_address: info.map(|info| info.client_addr.clone()).unwrap_or_default(),
                    tokens,
                    state: state_name(machine.state(member.id), info.map_or(Phase::Starting, |info| info.phase))
                        .to_owned(),
                }
            })
            .collect()
    });
    DescribeRingResponse {
        cluster: coordinator.cluster.name.clone(),
        epoch: ring.epoch(),
        partitions: ring.partitions().get(),
        replicas: ring.n().into(),
        members,
        ring: ring.encode().into(),
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let me = self.coordinator.cluster.me;
        let view = self.coordinator.cluster.view();
        // Of those that are no members only they that run are of interest: who left and is gone is not missed.
        let shown = |info: &NodeInfo, detector: &Detector| {
            info.id == me
                || view.ring.member(info.id).is_some()
                || matches!(detector.state(), PeerState::Up | PeerState::Suspect)
        };
        let mut nodes: Vec<NodeStatus> = self.membership.with(|machine| {
            let nodes = machine.members().filter(|(info, detector)| shown(info, detector));
            nodes.map(|(info, detector)| self.node_status(info, detector)).collect()
        });
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let asked = self.membership.with(|machine| machine.info(me).map(|info| info.name.clone())).unwrap_or_default();
        let cluster = self.coordinator.cluster.name.clone();
        Ok(Response::new(StatusResponse { cluster, asked, ring_epoch: view.ring.epoch(), nodes }))
    }

    async fn create_bucket(
        &self,
        request: Request<CreateBucketRequest>,
    ) -> Result<Response<CreateBucketResponse>, Status> {
        let asked = request.into_inner().bucket.unwrap_or_default();
        let n = self.coordinator.cluster.view().ring.n();
        let settings = BucketSettings::from_wire(&asked, n).map_err(status)?;
        let bucket = Some(settings.to_wire());
        let conflict = |existing: &BucketSettings| {
            let BucketSettings { name, mode, r, w, strict } = existing;
            let mode = match mode {
                Mode::Siblings => "siblings",
                Mode::LastWriteWins => "last-write-wins",
            };
            let quorum = if *strict { "strict" } else { "sloppy" };
            let shown = |value: &Option<u8>| value.map_or("majority".to_owned(), |value| value.to_string());
            let message = format!(
                "bucket {name:?} exists with other settings ({mode}, R {}, W {}, {quorum}): nothing was changed; use it as it is, or choose another name",
                shown(r),
                shown(w)
            );
            status(Refused::new(ErrorCode::BucketConflict, message))
        };
        if let Ok(existing) = self.coordinator.buckets.get(&settings.name) {
            if *existing == settings {
                return Ok(Response::new(CreateBucketResponse { bucket, created: false }));
            }
            return Err(conflict(&existing));
        }
        match self.membership.create_bucket(&settings, Clock::wall_ms()).await {
            Creation::Created => Ok(Response::new(CreateBucketResponse { bucket, created: true })),
            Creation::Same => Ok(Response::new(CreateBucketResponse { bucket, created: false })),
            Creation::Conflict(_) => match self.coordinator.buckets.get(&settings.name) {
                Ok(existing) => Err(conflict(&existing)),
                Err(refused) => Err(status(refused)),
            },
            Creation::Full => Err(status(Refused::new(
                ErrorCode::Overloaded,
                format!("the cluster has {} buckets, its limit: nothing was created", dynamo_gossip::BUCKETS_MAX),
            ))),
        }
    }

    async fn list_buckets(&self, _: Request<ListBucketsRequest>) -> Result<Response<ListBucketsResponse>, Status> {
        let buckets = self.coordinator.buckets.list().iter().map(|bucket| bucket.to_wire()).collect();
        Ok(Response::new(ListBucketsResponse { buckets }))
    }

    async fn describe_bucket(
        &self,
        request: Request<DescribeBucketRequest>,
    ) -> Result<Response<DescribeBucketResponse>, Status> {
        let bucket = self.coordinator.buckets.get(&request.into_inner().name).map_err(status)?;
        Ok(Response::new(DescribeBucketResponse { bucket: Some(bucket.to_wire()) }))
    }
}
