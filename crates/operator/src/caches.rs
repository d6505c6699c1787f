//! What the API server was last heard to have, kept by watches: one cache a kind, shared by all who look.
//!
//! A cache may be old. Whoever writes by what it saw here names the version that it saw. Only objects that carry the label of
//! a cluster are kept, and of machines and volumes what there is; the latter are not watched at all where the operator
//! is to see only some namespaces.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use dynamo_crd::{DynamoCluster, names::LABEL_CLUSTER};
use futures_util::{StreamExt, pin_mut};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    storage::v1::StorageClass,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{ClusterResourceScope, NamespaceResourceScope},
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    apply::{Live, mounted_by},
    observe::host_view,
    render,
    settings::Settings,
};

/// So many clusters may wait to be looked at; whoever finds the queue full waits, and with it its watch.
const QUEUE: usize = 1024;

/// What is kept of one kind. A clone is another view of the same.
#[derive(Clone)]
pub struct Cache<K: Kind> {
    scopes: Vec<Scope<K>>,
}

/// What a kind has to be able to.
pub trait Kind: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

impl<K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static> Kind for K {}

#[derive(Clone)]
struct Scope<K: Kind> {
    /// None: all of them.
    namespace: Option<String>,
    store: Store<K>,
    trouble: Trouble,
}

/// Why a cache can't be gone by; None: it can.
type Trouble = Arc<Mutex<Option<Missing>>>;

/// A kind of which it is not known what there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// It was not heard yet.
    #[error("the API server was not heard yet on {0}: nothing was done")]
    Unheard(String),
    /// The API server does not let this operator look.
    #[error("{0}: nothing was done; give the operator's ServiceAccount that right")]
    Forbidden(String),
}

impl<K: Kind> Cache<K> {
    fn none() -> Cache<K> {
        Cache { scopes: Vec::new() }
    }

    /// The object of this name, which carries some cluster's label.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.scope(namespace)?.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// All objects that carry a cluster's label, by name.
    pub fn of(&self, namespace: &str, cluster: &str) -> BTreeMap<String, Arc<K>> {
        let Some(scope) = self.scope(namespace) else { return BTreeMap::new() };
        let belongs = |object: &K| {
            object.meta().namespace.as_deref() == Some(namespace)
                && object.labels().get(LABEL_CLUSTER).is_some_and(|name| name == cluster)
        };
        scope.store.state_filter(belongs).into_iter().map(|object| (object.name_any(), object)).collect()
    }

    /// All of a namespace.
    pub fn within(&self, namespace: &str) -> Vec<Arc<K>> {
        let Some(scope) = self.scope(namespace) else { return Vec::new() };
        scope.store.state_filter(|object: &K| object.meta().namespace.as_deref() == Some(namespace))
    }

    /// All there are, by name: of a kind that stands in no namespace. None: they are not to be seen.
    pub fn all(&self) -> Option<BTreeMap<String, Arc<K>>> {
        let [scope] = self.scopes.as_slice() else { return None };
        let seen = scope.missing().is_none();
        seen.then(|| scope.store.state().into_iter().map(|object| (object.name_any(), object)).collect())
    }

    /// Whether what this namespace has of it is known.
    ///
    /// # Errors
    /// Why not.
    pub fn is_known(&self, namespace: &str) -> Result<(), Missing> {
        let missing = self.scope(namespace).and_then(Scope::missing);
        missing.map_or(Ok(()), Err)
    }

    fn scope(&self, namespace: &str) -> Option<&Scope<K>> {
        self.scopes.iter().find(|scope| scope.namespace.as_deref().is_none_or(|name| name == namespace))
    }
}

impl<K: Kind> Scope<K> {
    fn missing(&self) -> Option<Missing> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All caches.
pub struct Caches {
    /// The resources themselves.
    pub clusters: Cache<DynamoCluster>,
    /// One a zone.
    pub sets: Cache<StatefulSet>,
    /// The nodes' pods.
    pub pods: Cache<Pod>,
    /// Their claims.
    pub claims: Cache<PersistentVolumeClaim>,
    /// Configuration, and what is written down.
    pub config_maps: Cache<ConfigMap>,
    /// Keys.
    pub secrets: Cache<Secret>,
    /// For clients, and for nodes.
    pub services: Cache<Service>,
    /// The nodes'.
    pub accounts: Cache<ServiceAccount>,
    /// One a cluster.
    pub budgets: Cache<PodDisruptionBudget>,
    /// Who may reach what.
    pub policies: Cache<NetworkPolicy>,
    /// Machines.
    pub machines: Cache<Node>,
    /// What claims are bound to.
    pub volumes: Cache<PersistentVolume>,
    /// What volumes can do.
    pub classes: Cache<StorageClass>,
}

/// The watches that keep them; they end with this.
pub struct Watches {
    client: Client,
    tasks: JoinSet<()>,
    scopes: Vec<Option<String>>,
    wakes: Vec<mpsc::Sender<ObjectRef<DynamoCluster>>>,
    queues: Vec<Queue>,
}

/// The clusters of one namespace, or of all, that are to be looked at.
pub struct Queue {
    /// The clusters there.
    pub store: Store<DynamoCluster>,
    /// Who is to be looked at.
    pub wakes: mpsc::Receiver<ObjectRef<DynamoCluster>>,
}

impl Caches {
    /// Starts to watch.
    pub fn start(client: &Client, settings: &Settings) -> (Caches, Watches) {
        let scopes = settings.scopes();
        let (wakes, receivers): (Vec<_>, Vec<_>) = scopes.iter().map(|_| mpsc::channel(QUEUE)).unzip();
        let mut watches = Watches { client: client.clone(), tasks: JoinSet::new(), scopes, wakes, queues: Vec::new() };
        let clusters = watches.keep("", false, |cluster: &DynamoCluster| Some(ObjectRef::from_obj(cluster)));
        let stores = clusters.scopes.iter().map(|scope| scope.store.clone());
        watches.queues = stores.zip(receivers).map(|(store, wakes)| Queue { store, wakes }).collect();
        let sees_machines = settings.sees_machines();
        let machines = if sees_machines { watches.machines(&clusters) } else { Cache::none() };
        let caches = Caches {
            sets: watches.parts(false),
            pods: watches.parts(true),
            claims: watches.parts(false),
            config_maps: watches.parts(false),
            secrets: watches.parts(false),
            services: watches.parts(false),
            accounts: watches.parts(false),
            budgets: watches.parts(false),
            policies: watches.parts(false),
            machines,
            volumes: if sees_machines { watches.quietly() } else { Cache::none() },
            classes: if sees_machines { watches.quietly() } else { Cache::none() },
            clusters,
        };
        (caches, watches)
    }

    /// Whether all is known that a cluster of this namespace is judged by.
    ///
    /// # Errors
    /// What is not.
    pub fn are_known(&self, namespace: &str) -> Result<(), Missing> {
        self.sets.is_known(namespace)?;
        self.pods.is_known(namespace)?;
        self.claims.is_known(namespace)?;
        self.config_maps.is_known(namespace)?;
        self.secrets.is_known(namespace)?;
        self.services.is_known(namespace)?;
        self.accounts.is_known(namespace)?;
        self.budgets.is_known(namespace)?;
        self.policies.is_known(namespace)
    }
}

impl Live for Caches {
    fn get(&self, kind: render::Kind, namespace: &str, name: &str) -> Option<Value> {
        match kind {
            render::Kind::ConfigMap => self.config_maps.get(namespace, name).map(written),
            render::Kind::ServiceAccount => self.accounts.get(namespace, name).map(written),
            render::Kind::Service => self.services.get(namespace, name).map(written),
            render::Kind::NetworkPolicy => self.policies.get(namespace, name).map(written),
            render::Kind::ServiceMonitor => None,
        }
    }

    fn of(&self, kind: render::Kind, namespace: &str, cluster: &str) -> Vec<Value> {
        match kind {
            render::Kind::ConfigMap => all_written(self.config_maps.of(namespace, cluster)),
            render::Kind::ServiceAccount => all_written(self.accounts.of(namespace, cluster)),
            render::Kind::Service => all_written(self.services.of(namespace, cluster)),
            render::Kind::NetworkPolicy => all_written(self.policies.of(namespace, cluster)),
            render::Kind::ServiceMonitor => Vec::new(),
        }
    }

    fn mounted(&self, namespace: &str, cluster: &str) -> BTreeSet<String> {
        let sets = self.sets.of(namespace, cluster);
        let sets = sets.values().filter_map(|set| set.spec.as_ref()?.template.spec.as_ref());
        let pods = self.pods.of(namespace, cluster);
        let pods = pods.values().filter_map(|pod| pod.spec.as_ref());
        sets.chain(pods).flat_map(mounted_by).collect()
    }

    fn claims(&self, namespace: &str, cluster: &str) -> Vec<PersistentVolumeClaim> {
        self.claims.of(namespace, cluster).into_values().map(Arc::unwrap_or_clone).collect()
    }
}

fn written<K: Serialize>(object: Arc<K>) -> Value {
    serde_json::to_value(&*object).expect("what was read can be written")
}

fn all_written<K: Serialize>(objects: BTreeMap<String, Arc<K>>) -> Vec<Value> {
    objects.into_values().map(written).collect()
}

impl Watches {
    /// Who is to be looked at, namespace by namespace. Once.
    pub fn queues(&mut self) -> Vec<Queue> {
        std::mem::take(&mut self.queues)
    }

    /// A kind of which each object belongs to the cluster that its label names.
    fn parts<K: Kind + Resource<Scope = NamespaceResourceScope>>(&mut self, slim: bool) -> Cache<K> {
        self.keep(LABEL_CLUSTER, slim, |object: &K| {
            let (cluster, namespace) = (object.labels().get(LABEL_CLUSTER)?, object.meta().namespace.as_ref()?);
            Some(ObjectRef::new(cluster).within(namespace))
        })
    }

    fn keep<K: Kind + Resource<Scope = NamespaceResourceScope>>(
        &mut self,
        labels: &str,
        slim: bool,
        whose: impl Fn(&K) -> Option<ObjectRef<DynamoCluster>> + Copy + Send + Sync + 'static,
    ) -> Cache<K> {
        let mut kept = Vec::new();
        for (namespace, wake) in self.scopes.clone().into_iter().zip(self.wakes.clone()) {
            let api: Api<K> = match &namespace {
                Some(namespace) => Api::namespaced(self.client.clone(), namespace),
                None => Api::all(self.client.clone()),
            };
            let touched: Touched<K> = Box::new(move |object| whose(object).into_iter().collect());
            kept.push(self.spawn(api, (labels, slim), namespace, (touched, wake)));
        }
        Cache { scopes: kept }
    }

    /// Machines: all clusters are looked at when one comes, goes or is told to be off.
    fn machines(&mut self, clusters: &Cache<DynamoCluster>) -> Cache<Node> {
        let stores: Vec<_> = clusters.scopes.iter().map(|scope| scope.store.clone()).collect();
        let known = Mutex::new(BTreeMap::new());
        self.cluster_wide(Box::new(move |machine: &Node| {
            let view = (host_view(machine), machine.meta().deletion_timestamp.is_some());
            let before = known.lock().unwrap_or_else(PoisonError::into_inner).insert(machine.name_any(), view.clone());
            let all = || stores.iter().flat_map(|store| store.state()).map(|cluster| ObjectRef::from_obj(&*cluster));
            if before == Some(view) { Vec::new() } else { all().collect() }
        }))
    }

    fn quietly<K: Kind + Resource<Scope = ClusterResourceScope>>(&mut self) -> Cache<K> {
        self.cluster_wide(Box::new(|_: &K| Vec::new()))
    }

    fn cluster_wide<K: Kind + Resource<Scope = ClusterResourceScope>>(&mut self, touched: Touched<K>) -> Cache<K> {
        let Some(wake) = self.wakes.first().cloned() else { return Cache::none() };
        let api = Api::all(self.client.clone());
        Cache { scopes: vec![self.spawn(api, ("", true), None, (touched, wake))] }
    }

    fn spawn<K: Kind>(
        &mut self,
        api: Api<K>,
        (labels, slim): (&str, bool),
        namespace: Option<String>,
        (touched, wake): (Touched<K>, mpsc::Sender<ObjectRef<DynamoCluster>>),
    ) -> Scope<K> {
        let (store, writer) = reflector::store();
        let missing = Missing::Unheard(K::plural(&()).into_owned());
        let trouble: Trouble = Arc::new(Mutex::new(Some(missing)));
        let config =
            if labels.is_empty() { watcher::Config::default() } else { watcher::Config::default().labels(labels) };
        let watched = Watched { trouble: Arc::clone(&trouble), touched, wake, slim };
        self.tasks.spawn(watched.run(api, config, writer));
        Scope { namespace, store, trouble }
    }
}

/// Which clusters an object is about.
type Touched<K> = Box<dyn Fn(&K) -> Vec<ObjectRef<DynamoCluster>> + Send + Sync>;

struct Watched<K: Kind> {
    trouble: Trouble,
    touched: Touched<K>,
    wake: mpsc::Sender<ObjectRef<DynamoCluster>>,
    /// Who set which field is of no interest.
    slim: bool,
}

impl<K: Kind> Watched<K> {
    async fn run(self, api: Api<K>, config: watcher::Config, mut writer: Writer<K>) {
        let slim = self.slim;
        let strip = move |object: &mut K| {
            if slim {
                object.managed_fields_mut().clear();
            }
        };
        let events = watcher(api, config).default_backoff().modify(strip);
        pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.heard(&mut writer, &event).await,
                Err(error) => self.failed(&error),
            }
        }
    }

    async fn heard(&self, writer: &mut Writer<K>, event: &watcher::Event<K>) {
        writer.apply_watcher_event(event);
        let touched = match event {
            watcher::Event::Apply(object) | watcher::Event::Delete(object) => (self.touched)(object),
            watcher::Event::InitApply(_) | watcher::Event::Init => return,
            watcher::Event::InitDone => {
                let all = writer.as_reader().state();
                let mut all: Vec<_> = all.iter().flat_map(|object| (self.touched)(object)).collect();
                all.sort_by_key(ToString::to_string);
                all.dedup();
                all
            }
        };
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for cluster in touched {
            // Where nobody listens any more, the operator ends.
            let _ = self.wake.send(cluster).await;
        }
    }

    /// What can't be looked at any more is told. What was lost for a moment is as it was: writes name the versions that they
    /// go by.
    fn failed(&self, error: &watcher::Error) {
        let kind = K::plural(&());
        let status = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            | watcher::Error::WatchFailed(kube::Error::Api(status))
            | watcher::Error::WatchError(status) => Some(status),
            _ => None,
        };
        tracing::warn!(%kind, %error, "a watch failed and is begun again");
        if let Some(status) = status.filter(|status| status.is_forbidden()) {
            let missing = Missing::Forbidden(status.message.clone());
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(missing);
        }
    }
}
