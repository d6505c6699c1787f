//! Changes of the ring, for people and for the operator (`ring.proto`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use dynamo_gossip::PeerState;
use dynamo_keeper::ChangeError;
use dynamo_keeping::{
    edits::{self, Edit, EditError, Edits, Known, Next, Wanted},
    receipt::Receipt,
};
use dynamo_ring::{NodeId, Ring, charter::Charter, planner};
use dynamo_wire::v1::{
    ApplyRequest, ApplyResponse, CancelRequest, CancelResponse, PlanRequest, PlanResponse, PlannedNode, PlannedZone,
    ProgressRequest, ProgressResponse, ReceiptRequest, ReceiptResponse, RingChange, RingEdit, ViewRequest,
    ViewResponse, ring_admin_server::RingAdmin, ring_edit,
};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use crate::{
    coordinator::Coordinator,
    keeping::{Asked, KeeperEvents, KeeperNews, KeeperStatus, Looked},
    language,
    membership::{self, Membership},
    service::view::View,
};

/// How long who began a change waits for the others to have heard of it.
const SEEN: Duration = Duration::from_secs(2);

/// Serves `dynamo.v1.RingAdmin`.
pub struct RingService {
    coordinator: Arc<Coordinator>,
    membership: Arc<Membership>,
    keeper: KeeperEvents,
    status: Arc<ArcSwap<KeeperStatus>>,
    /// Least and greatest rate at which partitions are moved.
    bytes_per_s: (u64, u64),
}

impl RingService {
    /// Of the node with this keeper.
    pub fn new(
        coordinator: Arc<Coordinator>,
        membership: Arc<Membership>,
        keeper: KeeperEvents,
        status: Arc<ArcSwap<KeeperStatus>>,
        bytes_per_s: (u64, u64),
    ) -> Self {
        Self { coordinator, membership, keeper, status, bytes_per_s }
    }

    fn known(&self) -> Vec<Known> {
        let me = self.coordinator.cluster.me;
        let mut known: Vec<Known> = self.membership.with(|machine| {
            let known = machine.members().filter(|(info, _)| !info.name.is_empty());
            known
                .map(|(info, detector)| Known {
                    info: info.clone(),
                    state: if info.id == me { PeerState::Up } else { detector.state() },
                })
                .collect()
        });
        // What gossip carries of this node is a round old.
        if let Some(known) = known.iter_mut().find(|known| known.info.id == me) {
            known.info.load = membership::load(self.coordinator.store.counters());
        }
        known
    }

    /// How long ago each node was last heard from, milliseconds.
    fn heard_ms(&self) -> BTreeMap<NodeId, u64> {
        let (me, now) = (self.coordinator.cluster.me, self.coordinator.clock.now_us());
        let ago = |id: NodeId, heard_us: u64| if id == me { 0 } else { now.saturating_sub(heard_us) / 1000 };
        self.membership.with(|machine| {
            machine.members().map(|(info, detector)| (info.id, ago(info.id, detector.heard_us()))).collect()
        })
    }

    fn held<'a>(&self, charter: &'a Charter, known: &'a [Known], meant: (bool, bool)) -> Edits<'a> {
        let (allow_fewer, accept_loss) = meant;
        let needed = self.coordinator.buckets.homes_needed(charter.ring().n());
        let tokens_at_once = edits::tokens_at_once(charter.ring());
        let mismatch = language::mismatch;
        Edits { charter, known, allow_fewer, accept_loss, needed, tokens_at_once, mismatch }
    }

    async fn change(&self, expected: u64, charter: Charter) -> Result<u64, Status> {
        let (reply, made) = oneshot::channel();
        self.keeper.send(KeeperNews::Asked(Asked::Change { expected, charter: Box::new(charter), reply }));
        let made = made.await.map_err(|_| Status::unavailable("the node is stopping: look at `dynamo ring status`"))?;
        made.map_err(|error| match error {
            ChangeError::Outdated { .. } | ChangeError::Refused(_) => Status::failed_precondition(error.to_string()),
            _ => Status::unavailable(error.to_string()),
        })
    }

    /// Asks a majority of the members whether what this node knows of the ring is the newest.
    async fn look(&self) -> Result<Looked, Status> {
        let (reply, looked) = oneshot::channel();
        self.keeper.send(KeeperNews::Asked(Asked::Look { reply }));
        looked.await.map_err(|_| Status::unavailable("the node is stopping: ask another one"))
    }

    /// This node had not heard yet of a change that somebody has begun.
    fn overtaken_by(&self) -> Option<Status> {
        let under_way = edits::under_way(&self.status.load().charter)?;
        Some(status_of(edits::is_blocked(&under_way)))
    }

    /// Waits, but not long, until all nodes that answer show what was begun: whoever asks next may ask another one.
    async fn until_seen(&self, version: u64) {
        let until = tokio::time::Instant::now() + SEEN;
        let lacks = |known: &Known| known.state == PeerState::Up && known.info.ring_version < version;
        while self.known().iter().any(lacks) && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn plan_response(&self, status: &KeeperStatus, wanted: Wanted, known: &[Known]) -> PlanResponse {
        let ring = status.charter.ring();
        let bytes = bytes_moved(ring, wanted.replicas.0, known);
        let (nodes, zones) = compared(ring, &wanted, known);
        PlanResponse {
            version: status.version,
            epoch: ring.epoch(),
            n: ring.n().into(),
            partitions: ring.partitions().get(),
            nodes,
            zones,
            tokens_moved: wanted.tokens as u32,
            replicas_moved: wanted.replicas.0 as u32,
            replicas_least: wanted.replicas.1 as u32,
            bytes_moved: bytes,
            seconds: bytes.div_ceil(self.bytes_per_s.1.max(1)),
            seconds_at_most: bytes.div_ceil(self.bytes_per_s.0.max(1)),
            steps: wanted.proposed.steps.len() as u32,
            skips: planner::skips(&wanted.after) as u32,
            blocked_by: wanted.blocked_by,
            warnings: wanted.warnings,
        }
    }
}

fn status_of(error: EditError) -> Status {
    let what = error.to_string();
    match error {
        EditError::Invalid(_) => Status::invalid_argument(what),
        EditError::Unknown(_) => Status::not_found(what),
        EditError::Unfit(_) => Status::failed_precondition(what),
    }
}

fn edits_of(asked: Vec<RingEdit>) -> Result<Vec<Edit>, Status> {
    let edit = |edit: RingEdit| match edit.edit {
        Some(ring_edit::Edit::Join(join)) => Ok(Edit::Join { node: join.node, weight: join.weight }),
        Some(ring_edit::Edit::Leave(leave)) => Ok(Edit::Leave { node: leave.node }),
        Some(ring_edit::Edit::Remove(remove)) => Ok(Edit::Remove { node: remove.node }),
        Some(ring_edit::Edit::Replace(replace)) => Ok(Edit::Replace { node: replace.node, with: replace.with }),
        Some(ring_edit::Edit::Update(update)) => {
            Ok(Edit::Update { node: update.node, weight: update.weight, zone: update.zone })
        }
        None => Err(Status::invalid_argument("an edit of a kind that this version does not know")),
    };
    asked.into_iter().map(edit).collect()
}

/// What a node would receive and give, estimated from what all say that they store.
fn bytes_moved(ring: &Ring, replicas: usize, known: &[Known]) -> u64 {
    let stored: u64 =
        known.iter().filter(|known| ring.member(known.info.id).is_some()).map(|known| known.info.load.bytes).sum();
    let held = ring.partitions().get() as usize * ring.homes();
    (u128::from(stored) * replicas as u128 / held.max(1) as u128) as u64
}

/// Partitions that nodes hold and are no home of.
pub fn leftovers(ring: &Ring, known: &[Known]) -> u32 {
    // What one said last that has left and was switched off is no news any more.
    let there = |known: &&Known| known.state != PeerState::Down || ring.member(known.info.id).is_some();
    known.iter().filter(there).map(|known| known.info.leftovers).sum()
}

/// The change under way, and how far it is.
pub fn change_under_way(status: &KeeperStatus, known: &[Known]) -> Option<RingChange> {
    let change = status.charter.change()?;
    let progress = status.progress.clone().unwrap_or_default();
    let (done, left) = (change.undo.len() as u32, change.steps.len() as u32);
    let copies: usize = dynamo_keeper::step::copies(&status.charter);
    Some(RingChange {
        change: change.id,
        what: change.what.clone(),
        cancelled: change.cancelled,
        accept_loss: change.accept_loss,
        steps: done + left,
        steps_done: done,
        phase: if progress.phase.is_empty() { "copying" } else { progress.phase }.to_owned(),
        copies: progress.copies as u32,
        copies_done: progress.copies_done as u32,
        bytes_moved: progress.bytes,
        bytes_expected: bytes_moved(status.charter.ring(), copies, known),
        blocked_by: progress.blocked_by,
    })
}

#[derive(Clone, Copy, Default)]
struct Load {
    tokens: usize,
    replicas: usize,
    fair: f64,
}

fn loads(ring: &Ring) -> BTreeMap<NodeId, Load> {
    let fair = planner::fair_shares(ring.members(), ring.partitions(), ring.n());
    let load = |fair| Load { fair, ..Load::default() };
    let mut loads: BTreeMap<NodeId, Load> =
        ring.members().iter().zip(fair).map(|(member, fair)| (member.id, load(fair))).collect();
    for partition in ring.partitions().iter() {
        loads.entry(ring.owner(partition).id).or_default().tokens += 1;
        for home in ring.preference_list(partition) {
            loads.entry(home).or_default().replicas += 1;
        }
    }
    loads
}

fn compared(before: &Ring, wanted: &Wanted, known: &[Known]) -> (Vec<PlannedNode>, Vec<PlannedZone>) {
    let (old_loads, new_loads) = (loads(before), loads(&wanted.after));
    let mut ids: Vec<NodeId> = before.members().iter().chain(wanted.after.members()).map(|member| member.id).collect();
    ids.sort();
    ids.dedup();
    let (mut nodes, mut zones) = (Vec::new(), BTreeMap::<String, PlannedZone>::new());
    for id in ids {
        let Some(member) = wanted.after.member(id).or(before.member(id)) else { continue };
        let (old, new) =
            (old_loads.get(&id).copied().unwrap_or_default(), new_loads.get(&id).copied().unwrap_or_default());
        let bytes = known.iter().find(|known| known.info.id == id).map_or(0, |known| known.info.load.bytes);
        let zone = zones
            .entry(member.zone.clone())
            .or_insert_with(|| PlannedZone { name: member.zone.clone(), ..Default::default() });
        zone.tokens_before += old.tokens as u32;
        zone.tokens_after += new.tokens as u32;
        zone.replicas_before += old.replicas as u32;
        zone.replicas_after += new.replicas as u32;
        nodes.push(PlannedNode {
            name: member.name.clone(),
            zone: member.zone.clone(),
            weight: member.weight,
            tokens_before: old.tokens as u32,
            tokens_after: new.tokens as u32,
            replicas_before: old.replicas as u32,
            replicas_after: new.replicas as u32,
            fair_after: new.fair,
            change: wanted.roles.get(&id).copied().unwrap_or("stays").to_owned(),
            bytes,
        });
    }
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    (nodes, zones.into_values().collect())
}

#[tonic::async_trait]
impl RingAdmin for RingService {
    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        let PlanRequest { edits, allow_fewer_than_n, accept_loss } = request.into_inner();
        let (status, known) = (self.status.load_full(), self.known());
        let held = self.held(&status.charter, &known, (allow_fewer_than_n, accept_loss));
        let wanted = held.wanted(&edits_of(edits)?).map_err(status_of)?;
        Ok(Response::new(self.plan_response(&status, wanted, &known)))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let ApplyRequest { edits, version, allow_fewer_than_n, accept_loss } = request.into_inner();
        let (status, known) = (self.status.load_full(), self.known());
        if version != 0 && version != status.version {
            return Err(Status::failed_precondition(ChangeError::Outdated { version: status.version }.to_string()));
        }
        let held = self.held(&status.charter, &known, (allow_fewer_than_n, accept_loss));
        let (charter, steps) = match held.next(status.version, &edits_of(edits)?).map_err(status_of)? {
            Next::Nothing => return Ok(Response::new(ApplyResponse { change: 0, steps: 0 })),
            Next::Released(charter) => {
                let change = self.change(status.version, charter).await?;
                return Ok(Response::new(ApplyResponse { change, steps: 0 }));
            }
            Next::Begun(charter, steps) => (charter, steps as u32),
        };
        let change = match self.change(status.version, charter).await {
            Ok(change) => change,
            Err(refused) => return Err(self.overtaken_by().unwrap_or(refused)),
        };
        self.until_seen(change).await;
        Ok(Response::new(ApplyResponse { change, steps }))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        let asked = request.into_inner().change;
        // A step may turn at the same moment: then the ring is looked at again.
        for _ in 0..20 {
            let status = self.status.load_full();
            let (charter, change) = edits::cancelled(&status.charter, asked).map_err(status_of)?;
            let steps = charter.change().map_or(0, |change| change.steps.len() as u32);
            match self.change(status.version, charter).await {
                Ok(_) => return Ok(Response::new(CancelResponse { change, steps })),
                Err(refused) if refused.code() == tonic::Code::FailedPrecondition => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Status::unavailable("the ring kept changing: nothing was taken back; try again"))
    }

    async fn progress(&self, _: Request<ProgressRequest>) -> Result<Response<ProgressResponse>, Status> {
        self.keeper.send(KeeperNews::Asked(Asked::Watch));
        let (status, known) = (self.status.load_full(), self.known());
        let ring = status.charter.ring();
        let members = || known.iter().filter(|known| ring.member(known.info.id).is_some());
        let behind = members().filter(|known| known.info.ring_version < status.version);
        let mut behind: Vec<String> = behind.map(|known| known.info.name.clone()).collect();
        behind.sort();
        let waits: BTreeSet<NodeId> = status.collecting.waiting_for.union(status.charter.leavers()).copied().collect();
        let name = |id: NodeId| {
            let known = known.iter().find(|known| known.info.id == id);
            known.map_or_else(|| id.to_string(), |known| known.info.name.clone())
        };
        Ok(Response::new(ProgressResponse {
            collecting_waits_for: waits.into_iter().map(name).collect(),
            version: status.version,
            epoch: ring.epoch(),
            change: change_under_way(&status, &known),
            behind,
            leftovers: leftovers(ring, &known),
            refilling: members().map(|known| known.info.refilling).sum(),
        }))
    }

    async fn view(&self, request: Request<ViewRequest>) -> Result<Response<ViewResponse>, Status> {
        self.keeper.send(KeeperNews::Asked(Asked::Watch));
        let (looked, status) = if request.into_inner().confirm {
            self.look().await?
        } else {
            (Err(String::new()), self.status.load_full())
        };
        let known = self.known();
        let cluster = &self.coordinator.cluster;
        let (n, buckets) = (status.charter.ring().n(), &self.coordinator.buckets);
        let name = known.iter().find(|known| known.info.id == cluster.me).map(|known| known.info.name.clone());
        let view = View { status: &status, known: &known, heard_ms: &self.heard_ms() };
        Ok(Response::new(ViewResponse {
            cluster: cluster.name.clone(),
            asked: name.unwrap_or_default(),
            confirmed: looked.is_ok(),
            unconfirmed: looked.err().unwrap_or_default(),
            quorum: buckets.quorum(n) as u32,
            sources: buckets.homes_needed(n) as u32,
            ..view.response()
        }))
    }

    async fn receipt(&self, request: Request<ReceiptRequest>) -> Result<Response<ReceiptResponse>, Status> {
        let name = request.into_inner().node;
        let (status, known) = (self.status.load_full(), self.known());
        let Some(known) = known.into_iter().find(|known| known.info.name == name) else {
            return Err(Status::not_found(format!("no node {name:?} is known")));
        };
        let receipt = Receipt::of(&status.charter, status.version, &known);
        let complete = receipt.is_complete();
        let Receipt { tokens, homes, leftovers, hints, incarnation, left, missing } = receipt;
        Ok(Response::new(ReceiptResponse {
            node: name,
            complete,
            epoch: status.charter.ring().epoch(),
            tokens: tokens as u32,
            homes: homes as u32,
            leftovers,
            hints,
            missing,
            incarnation,
            left,
        }))
    }
}
