//! The control plane with the resource's definition, machines in three zones, and one operator or more.

use std::{borrow::Borrow, collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use dynamo_control_plane::{ControlPlane, Controllers};
use dynamo_crd::{DynamoCluster, definition, status::ConditionKind};
use dynamo_operator::{
    context::Clock,
    operator,
    settings::{Invocation, Settings},
};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, Namespace, Node, PersistentVolumeClaim, Pod},
        storage::v1::StorageClass,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use super::{
    faults::{FaultLayer, Faults},
    kubelet::Kubelet,
    rights,
    stub::{Cluster, free_port},
    tls::Tls,
};

/// What a cluster is called in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id {
    pub namespace: String,
    pub name: String,
}

impl Id {
    pub fn new(namespace: &str, name: &str) -> Id {
        Id { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// The user that the operator is: it may do what the manifests give it, and nothing else.
pub const OPERATOR: &str = "operator";
/// Another one, where there are two.
pub const SECOND: &str = "second";
/// So many times as fast as in life.
pub const SPEED: u32 = 8;

/// What has to come to be, sooner or later.
pub const PATIENCE: Duration = Duration::from_secs(240);
const ASK_EVERY: Duration = Duration::from_millis(250);

pub struct World {
    pub plane: ControlPlane,
    pub cluster: Arc<Cluster>,
    _kubelet: Kubelet,
    _certificates: JoinSet<()>,
}

/// Without a kubelet these would find every machine dead.
pub const CONTROLLERS: Controllers = Controllers::AllBut(&[
    "node-lifecycle-controller",
    "pod-garbage-collector-controller",
    "taint-eviction-controller",
]);

/// A control plane that has the resource's definition, these namespaces, machines in three zones and the operators' rights.
pub async fn prepared(plane: ControlPlane, namespaces: &[&str]) -> ControlPlane {
    let admin = plane.admin();
    let put = PostParams::default();
    Api::<CustomResourceDefinition>::all(admin.clone()).create(&put, &definition()).await.unwrap();
    for name in namespaces.iter().chain(&["dynamo-system"]) {
        let namespace: Namespace = from(json!({"metadata": {"name": name}}));
        Api::<Namespace>::all(admin.clone()).create(&put, &namespace).await.unwrap();
    }
    for zone in ["a", "b", "c"] {
        machines(&admin, zone).await;
    }
    let class: StorageClass = from(json!({"metadata": {"name": "static"}, "provisioner": "test/none",
        "allowVolumeExpansion": true}));
    Api::<StorageClass>::all(admin.clone()).create(&put, &class).await.unwrap();
    let clusters = Api::<DynamoCluster>::all(admin.clone());
    patient("the resource is served", async || clusters.list(&ListParams::default()).await.is_ok()).await;
    rights::grant(&admin, &[OPERATOR, SECOND]).await;
    plane
}

/// Three machines of a zone.
pub async fn machines(admin: &Client, zone: &str) {
    for number in 0..3 {
        let name = format!("{zone}{number}");
        let labels = json!({"topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": name});
        let node: Node = from(json!({"metadata": {"name": name, "labels": labels}}));
        Api::<Node>::all(admin.clone()).create(&PostParams::default(), &node).await.unwrap();
    }
}

/// The resource: three zones, no certificates; the rest as it is said.
pub fn resource(name: &str, replicas: u32, more: &Value) -> DynamoCluster {
    let mut spec = json!({
        "replicas": replicas,
        "zones": [{"name": "a"}, {"name": "b"}, {"name": "c"}],
        "tls": {"mode": "Plaintext"},
        "storage": {"size": "1Gi", "storageClassName": "static"},
    });
    for (key, value) in more.as_object().cloned().unwrap_or_default() {
        spec[key] = value;
    }
    from(json!({
        "apiVersion": "dynamo-k8s.io/v1alpha1", "kind": "DynamoCluster", "metadata": {"name": name}, "spec": spec,
    }))
}

/// Waits until something holds.
pub async fn patient(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = tokio::time::Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "it does not come to be: {what}");
        sleep(ASK_EVERY).await;
    }
}

/// An operator's process; it ends with this.
pub struct Operator(JoinHandle<()>);

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl World {
    /// None: the binaries are missing, which is told. What the operator reads is logged, as what everybody writes is.
    pub async fn start(test: &str) -> Option<World> {
        World::with(test, None).await
    }

    /// One whose nodes show certificates of the operator's authority.
    pub async fn secured(test: &str) -> Option<World> {
        World::with(test, Some(Arc::default())).await
    }

    async fn with(test: &str, tls: Option<Arc<Tls>>) -> Option<World> {
        let id = Id::new("shop", "c");
        let plane = ControlPlane::start_with_reads_of(&[OPERATOR], test, CONTROLLERS).await?;
        let plane = prepared(plane, &[&id.namespace]).await;
        let mut certificates = JoinSet::new();
        if let Some(tls) = &tls {
            certificates.spawn(Arc::clone(tls).run(plane.admin(), id.clone()));
        }
        let cluster = Cluster::shown(id, (1, free_port()), (3, SPEED), tls);
        let (kubelet, _) = Kubelet::start(plane.admin(), vec![Arc::clone(&cluster)]);
        Some(World { plane, cluster, _kubelet: kubelet, _certificates: certificates })
    }

    /// An operator with the rights that an installation gives it.
    pub async fn operator(&self) -> Operator {
        self.operate(self.client(OPERATOR, None, &Arc::new(Faults::default())).await)
    }

    pub fn operate(&self, client: Client) -> Operator {
        let settings = self.settings();
        Operator(tokio::spawn(operator::work(client, settings, Clock::fast(SPEED))))
    }

    pub fn settings(&self) -> Settings {
        let port = self.cluster.port.to_string();
        let arguments = ["dynamo-operator", "--node-port", &port, "--image-repository", "example.com/node"];
        <Invocation as clap::Parser>::parse_from(arguments).settings
    }

    /// A client of this user whose requests meet faults.
    pub async fn client(&self, user: &str, group: Option<&str>, faults: &Arc<Faults>) -> Client {
        let file = self.plane.kubeconfig(user, group);
        let kubeconfig = Kubeconfig::read_from(file).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        config.default_retry = false;
        ClientBuilder::try_from(config).unwrap().with_layer(&FaultLayer(Arc::clone(faults))).build()
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.plane.admin(), &self.cluster.id.namespace)
    }

    /// Creates the resource; what is not said is as [`resource`] has it.
    pub async fn create(&self, replicas: u32, more: Value) -> DynamoCluster {
        let cluster = resource(&self.cluster.id.name, replicas, &more);
        self.api().create(&PostParams::default(), &cluster).await.unwrap()
    }

    pub async fn edit(&self, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.api::<DynamoCluster>().patch(&self.cluster.id.name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub async fn resource(&self) -> DynamoCluster {
        self.api().get(&self.cluster.id.name).await.unwrap()
    }

    /// Whether a condition is said to hold, and why.
    pub async fn condition(&self, kind: ConditionKind) -> Option<(bool, String, String)> {
        let status = self.resource().await.status?;
        let condition = status.condition(kind)?;
        Some((condition.status == "True", condition.reason.clone(), condition.message.clone()))
    }

    pub async fn pods(&self) -> Vec<Pod> {
        self.all().await
    }

    pub async fn sets(&self) -> Vec<StatefulSet> {
        self.all().await
    }

    pub async fn claims(&self) -> Vec<PersistentVolumeClaim> {
        self.all().await
    }

    pub async fn config_map(&self, name: &str) -> Option<ConfigMap> {
        self.api().get_opt(name).await.unwrap()
    }

    async fn all<K>(&self) -> Vec<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let listed = self.api::<K>().list(&ListParams::default().labels("dynamo-k8s.io/cluster")).await;
        let mut items = listed.unwrap().items;
        items.sort_by_key(ResourceExt::name_any);
        items
    }

    /// Waits until there are exactly these members, their pods and their disks, and nothing goes on.
    pub async fn settles_at(&self, replicas: usize) {
        let what = format!("{replicas} nodes, and nothing else");
        let began = tokio::time::Instant::now();
        loop {
            let found = self.what_is_not(replicas).await;
            let Some(why) = found else { return };
            if began.elapsed() >= PATIENCE {
                let status = serde_json::to_string_pretty(&self.resource().await.status).unwrap();
                panic!("it does not come to be: {what}: {why}\n{status}");
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// Waits until no operator has written anything for a while.
    pub async fn rests(&self) {
        patient("nobody writes any more", async || {
            let mark = self.plane.mark();
            sleep(Duration::from_secs(8)).await;
            let written = self.plane.writes_since(mark);
            written.of(OPERATOR).is_empty() && written.of(SECOND).is_empty()
        })
        .await;
    }

    async fn what_is_not(&self, replicas: usize) -> Option<String> {
        let turn = format!("{}-turn", self.cluster.id.name);
        let turn = self.config_map(&turn).await.and_then(|map| map.data).unwrap_or_default();
        let (pods, claims) = (self.pods().await, self.claims().await);
        what_is_not(&self.cluster, replicas, (&pods, claims.len()), &turn, &self.resource().await)
    }
}

/// What a cluster lacks of having so many members, their pods and their disks, and nothing that goes on.
pub fn what_is_not(
    cluster: &Cluster,
    replicas: usize,
    (pods, claims): (&[impl Borrow<Pod>], usize),
    turn: &BTreeMap<String, String>,
    resource: &DynamoCluster,
) -> Option<String> {
    let members = cluster.members();
    let ready = pods.iter().filter(|pod| dynamo_operator::observe::is_ready((*pod).borrow())).count();
    if members.len() != replicas || pods.len() != replicas || ready != replicas || claims != replicas {
        return Some(format!(
            "{} members, {} pods of which {ready} are ready, {claims} claims",
            members.len(),
            pods.len()
        ));
    }
    if turn.contains_key("work") || cluster.is_moving() {
        return Some(format!("turn {turn:?}"));
    }
    let status = resource.status.clone().unwrap_or_default();
    let holds = |kind| status.condition(kind).is_some_and(|condition: &_| condition.status == "True");
    let settled = status.observed_generation == resource.metadata.generation
        && holds(ConditionKind::Available)
        && holds(ConditionKind::RingSettled)
        && !holds(ConditionKind::Progressing);
    (!settled).then(|| format!("{:?}", status.conditions))
}

pub fn from<K: DeserializeOwned>(document: Value) -> K {
    serde_json::from_value(document).unwrap()
}
