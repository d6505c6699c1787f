//! A control plane with so many clusters, their kubelets and their nodes.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use dynamo_control_plane::{ControlPlane, Mark, Writes};
use dynamo_crd::DynamoCluster;
use futures_util::{StreamExt, stream};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    runtime::reflector::{ObjectRef, Store},
};
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};

use crate::support::{
    OPERATOR,
    kubelet::{Heard, Kubelet, by_namespace, hear},
    plane::{CONTROLLERS, Id, prepared, resource, what_is_not},
    stub::{Cluster, free_port},
};

/// So many are created or edited at once.
const AT_ONCE: usize = 16;
const LOOK_EVERY: Duration = Duration::from_millis(250);
const TELL_EVERY: Duration = Duration::from_secs(15);
/// Whoever has written nothing for this long is at rest.
const REST: Duration = Duration::from_secs(15);

pub struct Stage {
    pub plane: ControlPlane,
    pub clusters: Vec<Arc<Cluster>>,
    /// Where each node listens, at an address of its own.
    pub port: u16,
    heard: Heard,
    resources: Store<DynamoCluster>,
    _kubelet: Kubelet,
    _tasks: JoinSet<()>,
}

impl Stage {
    /// None: the binaries are missing, which is told.
    pub async fn start(number: u8) -> Option<Stage> {
        eprintln!("{number} clusters: a control plane starts");
        let plane = ControlPlane::start_with_reads_of(&[OPERATOR], "the operator's benchmark", CONTROLLERS).await?;
        let ids: Vec<Id> = (1..=number).map(|net| Id::new(&format!("shop-{net}"), "c")).collect();
        let namespaces: Vec<&str> = ids.iter().map(|id| id.namespace.as_str()).collect();
        let plane = prepared(plane, &namespaces).await;
        let port = free_port();
        let clusters: Vec<_> = (1..=number).zip(ids).map(|(net, id)| Cluster::new(id, (net, port), 3, 1)).collect();
        let mut tasks = JoinSet::new();
        let resources = hear(&plane.admin(), None, &mut tasks);
        let (kubelet, heard) = Kubelet::start(plane.admin(), clusters.clone());
        Some(Stage { plane, clusters, port, heard, resources, _kubelet: kubelet, _tasks: tasks })
    }

    fn api(&self, cluster: &Cluster) -> Api<DynamoCluster> {
        Api::namespaced(self.plane.admin(), &cluster.id.namespace)
    }

    /// All clusters, of three nodes.
    pub async fn create(&self) {
        let each = stream::iter(&self.clusters).for_each_concurrent(AT_ONCE, async |cluster| {
            let made = resource(&cluster.id.name, 3, &json!({}));
            self.api(cluster).create(&PostParams::default(), &made).await.expect("it can be created");
        });
        each.await;
    }

    pub async fn scale(&self, nodes: u32) {
        let each = stream::iter(&self.clusters).for_each_concurrent(AT_ONCE, async |cluster| {
            let patch = Patch::Merge(json!({"spec": {"replicas": nodes}}));
            let patched = self.api(cluster).patch(&cluster.id.name, &PatchParams::default(), &patch).await;
            patched.expect("it can be edited");
        });
        each.await;
    }

    /// Waits until all clusters have so many nodes and nothing goes on; how long each took.
    pub async fn settle_at(&self, nodes: usize, patience: Duration, alive: impl Fn()) -> Vec<Duration> {
        let began = Instant::now();
        let mut told = began;
        let mut took: BTreeMap<usize, Duration> = BTreeMap::new();
        loop {
            alive();
            let why = self.look(nodes, &mut took, began);
            let Some(why) = why else { return took.into_values().collect() };
            assert!(began.elapsed() < patience, "{} of {} are settled: {why}", took.len(), self.clusters.len());
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                eprintln!("  {} of {} have settled at {nodes} nodes; {why}", took.len(), self.clusters.len());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Why one of them has not settled yet.
    fn look(&self, nodes: usize, took: &mut BTreeMap<usize, Duration>, began: Instant) -> Option<String> {
        let heard = &self.heard;
        let (pods, claims) = (by_namespace(&heard.pods), by_namespace(&heard.claims));
        let mut first = None;
        for (number, cluster) in self.clusters.iter().enumerate() {
            if took.contains_key(&number) {
                continue;
            }
            let named = |name: &str| ObjectRef::<DynamoCluster>::new(name).within(&cluster.id.namespace);
            let turn = ObjectRef::new(&format!("{}-turn", cluster.id.name)).within(&cluster.id.namespace);
            let turn = heard.maps.get(&turn).and_then(|map| map.data.clone()).unwrap_or_default();
            let pods = pods.get(&cluster.id.namespace).map(Vec::as_slice).unwrap_or_default();
            let claims = claims.get(&cluster.id.namespace).map_or(0, Vec::len);
            let why = match self.resources.get(&named(&cluster.id.name)) {
                Some(resource) => what_is_not(cluster, nodes, (pods, claims), &turn, &resource),
                None => Some("it is not there yet".to_owned()),
            };
            match why {
                Some(why) => first = first.or_else(|| Some(format!("{}: {why:.160}", cluster.id.namespace))),
                None => drop(took.insert(number, began.elapsed())),
            }
        }
        first
    }

    /// Waits until the operator has written nothing for a while.
    pub async fn rest(&self) {
        let mut last = Instant::now();
        while last.elapsed() < REST {
            let mark = self.plane.mark();
            sleep(LOOK_EVERY * 4).await;
            if !self.written_since(mark).is_empty() {
                last = Instant::now();
            }
        }
    }

    /// What the operator wrote, but for its Lease.
    pub fn written_since(&self, mark: Mark) -> Writes {
        self.plane.writes_since(mark).of(OPERATOR).that(|write| write.resource != "leases")
    }

    pub fn lease_writes_since(&self, mark: Mark) -> usize {
        self.plane.writes_since(mark).of(OPERATOR).that(|write| write.resource == "leases").len()
    }

    /// What the operator read, but for its Lease.
    pub fn read_since(&self, mark: Mark) -> Writes {
        self.plane.reads_since(mark).of(OPERATOR).that(|read| read.resource != "leases")
    }
}
