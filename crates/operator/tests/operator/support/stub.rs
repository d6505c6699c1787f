//! The nodes: the planner's model of them, behind the calls that the operator makes, each node at an address of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use dynamo_cluster_model::Chance;
use dynamo_planner::{Edit, Founders, PodId, RingView};
use dynamo_ring::NodeId;
use dynamo_wire::v1::{
    self, ApplyRequest, ApplyResponse, CancelRequest, CancelResponse, CreateBucketRequest, CreateBucketResponse,
    DescribeBucketRequest, DescribeBucketResponse, GoneLife, ListBucketsRequest, ListBucketsResponse, NodeStatus,
    PlanRequest, PlanResponse, PreferenceList, ProgressRequest, ProgressResponse, ReceiptRequest, ReceiptResponse,
    RingChange, StatusRequest, StatusResponse, ViewChange, ViewNode, ViewRequest, ViewResponse, admin_server,
    ring_admin_server, ring_edit,
};
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use super::{nodes::Nodes, plane::Id, tls::Tls};

pub struct Cluster {
    pub id: Id,
    pub port: u16,
    /// Its nodes' addresses are 127.NET.*.*: those of another cluster are in another net.
    net: u8,
    speed: u32,
    began: Instant,
    inner: Mutex<Inner>,
    /// None: plaintext.
    pub tls: Option<Arc<Tls>>,
    /// How often a node was asked for the ring.
    pub asked: AtomicU64,
}

struct Inner {
    nodes: Nodes,
    chance: Chance,
    stepped: u64,
    serving: BTreeSet<PodId>,
    servers: JoinSet<()>,
    /// Pods as they run: each by the disk that it was started with.
    applied: u64,
}

impl Cluster {
    /// All clusters of one operator have one port, since it asks them there.
    pub fn new(id: Id, at: (u8, u16), n: u32, speed: u32) -> Arc<Cluster> {
        Cluster::shown(id, at, (n, speed), None)
    }

    /// Whose nodes show certificates, or speak plaintext.
    pub fn shown(id: Id, (net, port): (u8, u16), (n, speed): (u32, u32), tls: Option<Arc<Tls>>) -> Arc<Cluster> {
        let inner = Inner {
            nodes: Nodes { n, ..Nodes::default() },
            chance: Chance(net.into()),
            stepped: 0,
            serving: BTreeSet::new(),
            servers: JoinSet::new(),
            applied: 0,
        };
        let (inner, asked) = (Mutex::new(inner), AtomicU64::new(0));
        Arc::new(Cluster { id, port, net, speed, began: Instant::now(), inner, tls, asked })
    }

    fn now(&self) -> u64 {
        (self.began.elapsed() * self.speed).as_secs()
    }

    /// The nodes, as they have gone on until now.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        while inner.stepped < now {
            inner.stepped += 1;
            let Inner { nodes, chance, stepped, .. } = &mut *inner;
            nodes.step(*stepped, chance);
        }
        inner
    }

    pub fn found(&self, founders: &Founders) {
        let mut inner = self.lock();
        if inner.nodes.members.is_empty() {
            let pods = founders.zones.iter().flat_map(|(zone, count)| {
                (0..*count).map(move |ordinal| (PodId::new(&format!("{}-{zone}", self.id.name), ordinal), 1))
            });
            inner.nodes.found(pods.collect());
        }
    }

    pub fn members(&self) -> BTreeSet<PodId> {
        self.lock().nodes.members.keys().cloned().collect()
    }

    /// How many changes of the ring were begun.
    pub fn changes(&self) -> u64 {
        self.lock().applied
    }

    pub fn is_moving(&self) -> bool {
        let inner = self.lock();
        inner.nodes.change.is_some() || !inner.nodes.leavers.is_empty()
    }

    pub fn stop(&self, pod: &PodId) {
        let now = self.now();
        self.lock().nodes.stop(pod, now);
    }

    /// Whoever has no pod runs no more.
    pub fn only(&self, pods: &[PodId]) {
        let now = self.now();
        let mut inner = self.lock();
        let gone: Vec<PodId> = inner.nodes.up.keys().filter(|pod| !pods.contains(pod)).cloned().collect();
        gone.iter().for_each(|pod| inner.nodes.stop(pod, now));
    }

    /// Where it serves; None: it refuses to start on this disk.
    pub async fn start(self: &Arc<Self>, pod: &PodId, disk: &String, retired: Option<u64>) -> Option<String> {
        let address = self.address_of(pod);
        let now = self.now();
        let is_new = {
            let mut inner = self.lock();
            if inner.nodes.members.is_empty() {
                return None;
            }
            let runs = inner.nodes.up.get(pod) == Some(disk);
            if !runs && !inner.nodes.start(pod, disk, retired, now) {
                return None;
            }
            inner.serving.insert(pod.clone())
        };
        if is_new {
            let mut listener = tokio::net::TcpListener::bind(SocketAddr::new(address, self.port)).await.unwrap();
            if let Some(tls) = &self.tls {
                let plain = tokio::net::TcpListener::bind(SocketAddr::new(address, 0)).await.unwrap();
                let outer = std::mem::replace(&mut listener, plain);
                let front = tls.front(&pod.to_string(), outer, listener.local_addr().unwrap());
                self.lock().servers.spawn(front);
            }
            let node = Node { pod: pod.clone(), cluster: Arc::clone(self) };
            let serve = Server::builder()
                .add_service(admin_server::AdminServer::new(node.clone()))
                .add_service(ring_admin_server::RingAdminServer::new(node))
                .serve_with_incoming(TcpListenerStream::new(listener));
            self.lock().servers.spawn(async move { serve.await.unwrap() });
        }
        Some(address.to_string())
    }

    /// Pods get the same address each time, as if it were free.
    fn address_of(&self, pod: &PodId) -> IpAddr {
        let zone = pod.set.bytes().last().unwrap_or_default();
        Ipv4Addr::new(127, self.net, zone, 10 + u8::try_from(pod.ordinal).unwrap()).into()
    }
}

/// One that nobody has.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[derive(Clone)]
struct Node {
    pod: PodId,
    cluster: Arc<Cluster>,
}

impl Node {
    fn up(&self) -> Result<MutexGuard<'_, Inner>, Status> {
        let inner = self.cluster.lock();
        if inner.nodes.is_up(&self.pod) { Ok(inner) } else { Err(Status::unavailable("it is down")) }
    }
}

/// What it has loaded is asked of each node itself.
#[tonic::async_trait]
impl admin_server::Admin for Node {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        drop(self.up()?);
        let name = self.pod.to_string();
        let has = self.cluster.tls.as_ref().and_then(|tls| tls.all().remove(&name)).unwrap_or_default();
        let certificate_signed_by = has.signed_by.unwrap_or_default();
        let node = NodeStatus { name, trusted: has.trusts, certificate_signed_by, ..NodeStatus::default() };
        Ok(Response::new(StatusResponse { nodes: vec![node], ..StatusResponse::default() }))
    }

    async fn create_bucket(&self, _: Request<CreateBucketRequest>) -> Result<Response<CreateBucketResponse>, Status> {
        Err(Status::unimplemented("no test has buckets"))
    }

    async fn list_buckets(&self, _: Request<ListBucketsRequest>) -> Result<Response<ListBucketsResponse>, Status> {
        Err(Status::unimplemented("no test has buckets"))
    }

    async fn describe_bucket(
        &self,
        _: Request<DescribeBucketRequest>,
    ) -> Result<Response<DescribeBucketResponse>, Status> {
        Err(Status::unimplemented("no test has buckets"))
    }
}

#[tonic::async_trait]
impl ring_admin_server::RingAdmin for Node {
    async fn plan(&self, _: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        Err(Status::unimplemented("the operator plans by itself"))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let mut inner = self.up()?;
        let request = request.into_inner();
        let edits: Vec<Edit> = request.edits.iter().map(edit).collect();
        let Inner { nodes, chance, applied, .. } = &mut *inner;
        nodes.apply(request.version, &edits, chance).map_err(Status::failed_precondition)?;
        *applied += 1;
        Ok(Response::new(ApplyResponse { change: nodes.version, steps: 1 }))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        let (now, change) = (self.cluster.now(), request.into_inner().change);
        self.up()?.nodes.cancel(change, now).map_err(Status::failed_precondition)?;
        Ok(Response::new(CancelResponse { change, steps: 1 }))
    }

    async fn progress(&self, _: Request<ProgressRequest>) -> Result<Response<ProgressResponse>, Status> {
        Err(Status::unimplemented("the operator asks for the view"))
    }

    async fn receipt(&self, request: Request<ReceiptRequest>) -> Result<Response<ReceiptResponse>, Status> {
        let node = request.into_inner().node;
        assert_eq!(node, self.pod.to_string(), "a receipt is asked of the node itself");
        let receipt = self.up()?.nodes.receipt(&self.pod).ok_or_else(|| Status::unavailable("it is down"))?;
        let (complete, incarnation, missing) = (receipt.complete, receipt.incarnation, receipt.missing);
        Ok(Response::new(ReceiptResponse { node, complete, incarnation, missing, ..ReceiptResponse::default() }))
    }

    async fn view(&self, request: Request<ViewRequest>) -> Result<Response<ViewResponse>, Status> {
        let inner = self.up()?;
        let view = inner.nodes.view(self.cluster.now()).ok_or_else(|| Status::unavailable("there is no ring"))?;
        let mut response = answer(&view);
        response.asked = self.pod.to_string();
        response.confirmed &= request.into_inner().confirm;
        self.cluster.asked.fetch_add(1, Ordering::Relaxed);
        if let Some(tls) = &self.cluster.tls {
            let mut loaded = tls.all();
            for node in &mut response.nodes {
                let has = loaded.remove(&node.name).unwrap_or_default();
                (node.trusted, node.certificate_signed_by) = (has.trusts, has.signed_by.unwrap_or_default());
            }
        }
        Ok(Response::new(response))
    }
}

fn edit(edit: &v1::RingEdit) -> Edit {
    let pod = |name: &str| name.parse::<PodId>().expect("a pod's name");
    match edit.edit.as_ref().expect("an edit") {
        ring_edit::Edit::Join(join) => Edit::Join { pod: pod(&join.node), weight: join.weight },
        ring_edit::Edit::Leave(leave) => Edit::Leave { pod: pod(&leave.node) },
        ring_edit::Edit::Remove(remove) => Edit::Remove { pod: pod(&remove.node) },
        ring_edit::Edit::Update(update) => Edit::Reweigh { pod: pod(&update.node), weight: update.weight },
        ring_edit::Edit::Replace(_) => panic!("the operator replaces disks, not nodes"),
    }
}

/// What the planner is to see again.
fn answer(view: &RingView) -> ViewResponse {
    let names: BTreeSet<&PodId> = view.nodes.keys().chain(view.members.keys()).chain(&view.leavers).collect();
    let index: BTreeMap<&PodId, u32> = names.iter().copied().zip(0..).collect();
    let id = |pod: &PodId| NodeId::initial("stub", &pod.to_string()).to_string();
    let node = |pod: &&PodId| {
        let says = view.nodes.get(*pod).cloned().unwrap_or_default();
        ViewNode {
            id: id(pod),
            name: pod.to_string(),
            zone: pod.set.clone(),
            weight: view.members.get(*pod).copied().unwrap_or(1),
            member: view.members.contains_key(*pod),
            leaver: view.leavers.contains(*pod),
            behind: view.behind.contains(*pod),
            incarnation: says.incarnation,
            state: if says.up { "up" } else { "down" }.to_owned(),
            refilling: says.refilling,
            hints: says.hints,
            disk: "ok".to_owned(),
            ..ViewNode::default()
        }
    };
    let named = |pods: &BTreeSet<PodId>| pods.iter().map(PodId::to_string).collect();
    ViewResponse {
        cluster: "stub".to_owned(),
        version: view.version,
        epoch: view.epoch,
        confirmed: view.confirmed,
        nodes: names.iter().map(node).collect(),
        homes: view
            .homes
            .iter()
            .map(|pods| PreferenceList { nodes: pods.iter().map(|pod| index[pod]).collect() })
            .collect(),
        change: view.change.as_ref().map(|change| ViewChange {
            change: Some(RingChange {
                change: change.id,
                cancelled: change.cancelled,
                blocked_by: change.blocked_by.clone(),
                ..RingChange::default()
            }),
            joins: named(&change.joins),
            leaves: named(&change.leaves),
            ..ViewChange::default()
        }),
        gone: view
            .gone
            .iter()
            // Nobody remembers the names of those who left.
            .map(|(pod, life)| GoneLife { id: id(pod), name: String::new(), incarnation: *life })
            .collect(),
        quorum: view.quorum,
        sources: view.sources,
        ..ViewResponse::default()
    }
}
