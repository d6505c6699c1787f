//! What is seen of Kubernetes and of the ring, as the planner is told it. Nothing is written here, and nothing decided.
//!
//! `clash` whether another cluster has the names, `views` are single objects, `zones` where the zones are, `wanted` what the resource asks for.

mod clash;
mod views;
mod wanted;
mod zones;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use dynamo_crd::{DynamoCluster, names, quantity::QuantityError};
use dynamo_planner::{
    Founders, HostView, Observed, PodId, Wanted, certificates,
    record::{self, RecordError},
    turn::TurnRecord,
};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, Node, PersistentVolumeClaim, Pod},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;

use crate::{
    authority::{AuthorityError, Shown},
    caches::Missing,
    context::{ClusterId, Context, id_of},
    render::{Basis, Release, ZonePlace, retired},
    ring::{Heard, Security, StrangerError, Target, by_own_word, ring_view},
};

pub use views::{ANNOTATION_LEFT, host_view, is_ready, owns_template, pod_of_claim};

/// The annotation of the founders that has what the nodes call their cluster.
pub const ANNOTATION_NAME: &str = "dynamo-k8s.io/cluster-name";
/// The annotation of the founders that has the release which the cluster was founded with.
pub const ANNOTATION_VERSION: &str = "dynamo-k8s.io/version";
/// The annotation of the founders that has the uid of the resource which they were written for.
pub const ANNOTATION_UID: &str = "dynamo-k8s.io/founded-for";

/// What was seen, and when.
#[derive(Debug)]
pub struct Seen {
    /// When looking began: nothing that was decided by it is done five seconds later.
    pub taken: Instant,
    /// What is wanted.
    pub wanted: Wanted,
    /// What there is.
    pub observed: Observed,
    /// The zones, in the order in which they are filled.
    pub zones: Vec<ZonePlace>,
    /// Zones that nodes are leaving.
    pub former: Vec<ZonePlace>,
    /// What the nodes call their cluster.
    pub name: String,
    /// This operator's, with the release that the cluster was founded with.
    pub release: Release,
    /// The founders; none as long as there are none.
    pub founders: Founders,
    /// What the nodes said of the ring, and who said it.
    pub ring: Option<Heard>,
    /// Who can be asked.
    pub targets: Vec<Target>,
    /// What there is of certificates.
    pub authority: crate::authority::Seen,
    /// What is shown to them.
    pub security: Security,
    /// The objects that this was read from.
    pub objects: Objects,
}

/// Objects of a cluster, as they were last heard.
#[derive(Debug, Default)]
pub struct Objects {
    /// StatefulSets by name.
    pub sets: BTreeMap<String, Arc<StatefulSet>>,
    /// Pods.
    pub pods: BTreeMap<PodId, Arc<Pod>>,
    /// Claims by the pods that they are for.
    pub claims: BTreeMap<PodId, Arc<PersistentVolumeClaim>>,
    /// Who is in the first ring.
    pub founders: Option<Arc<ConfigMap>>,
    /// Whose turn it is.
    pub turn: Option<Arc<ConfigMap>>,
    /// Which lives have left.
    pub retired: Option<Arc<ConfigMap>>,
    /// Whom others may evict.
    pub budget: Option<Arc<PodDisruptionBudget>>,
}

/// Why it is not known how a cluster is. Nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The API server was not heard on something.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// What is written down can't be read.
    #[error("{object}: {source}")]
    Record {
        /// Where.
        object: String,
        /// What of it.
        source: RecordError,
    },
    /// There is somebody in the ring who is no pod.
    #[error(transparent)]
    Stranger(#[from] StrangerError),
    /// A size in the spec is none.
    #[error(transparent)]
    Size(#[from] QuantityError),
    /// Another cluster has a name that this one needs.
    #[error("{0}; nothing was done")]
    Clash(names::Clash),
    /// Certificates can't be read.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl Seen {
    /// What objects are rendered from.
    pub fn basis<'a>(&'a self, cluster: &'a DynamoCluster, service_monitors: bool) -> Basis<'a> {
        let (zones, founders, release) = (&self.zones, &self.founders, &self.release);
        Basis { cluster, name: &self.name, zones, founders, release, service_monitors }
    }

    /// A zone, whether it is wanted or being left.
    pub fn place(&self, zone: &str) -> Option<&ZonePlace> {
        self.zones.iter().chain(&self.former).find(|place| place.name == zone)
    }
}

/// Looks at a cluster: at the caches, and at what its nodes say.
///
/// # Errors
/// It can't be known how it is.
pub async fn observe(context: &Context, cluster: &DynamoCluster) -> Result<Seen, ObserveError> {
    let (taken, id) = (Instant::now(), id_of(cluster));
    context.caches.are_known(&id.0)?;
    let objects = objects(context, &id, cluster)?;
    let mut observed = of_kubernetes(context, &id, cluster, &objects)?;
    let labels = machines(context).iter().filter_map(zone_label).collect();
    let places = zones::Places { cluster, sets: &objects.sets, labels };
    let zones = places.zones(&observed)?;
    let others = context.caches.clusters.within(&id.0);
    if let Some(clash) = clash::with_an_older(cluster, &zones, others.into_iter()) {
        return Err(ObserveError::Clash(clash));
    }
    let is_former = |zone: &&String| zones.iter().all(|place| place.name != **zone);
    let former: BTreeSet<String> = leaving(&id.1, &observed).iter().filter(is_former).cloned().collect();
    let former = former.iter().map(|zone| places.place(zone)).collect::<Result<_, _>>()?;
    let is_founded = observed.founders.is_some();
    let (name, release) = decided_once(context, cluster, objects.founders.as_deref().filter(|_| is_founded));
    let founders = observed.founders.clone().unwrap_or_default();
    let authority = context.authority.look(cluster).await?;
    let wall_s = context.clock.now_s();
    observed.authorities = context.authority.observed(cluster, &authority, wall_s);
    let called = is_founded.then_some(name.as_str());
    let shown = context.authority.credentials((cluster, called), &authority, wall_s).await?;
    let security: Security = match &shown {
        Shown::Tls(credentials) => Some(credentials.config.clone()),
        Shown::Plaintext | Shown::NotYet => None,
    };
    // Who has nothing to show asks nobody: the nodes would refuse plaintext.
    let targets = match shown {
        Shown::NotYet => Vec::new(),
        Shown::Plaintext | Shown::Tls(_) => targets(&id, &objects.pods),
    };
    let ring = ask(context, &id, (&targets, &security), &mut observed).await?;
    let wanted = {
        let basis = Basis {
            cluster,
            name: &name,
            zones: &zones,
            founders: &founders,
            release: &release,
            service_monitors: false,
        };
        wanted::wanted(&basis)?
    };
    Ok(Seen {
        taken,
        wanted,
        observed,
        zones,
        former,
        name,
        release,
        founders,
        ring,
        targets,
        authority,
        security,
        objects,
    })
}

fn machines(context: &Context) -> Vec<Arc<Node>> {
    context.caches.machines.all().unwrap_or_default().into_values().collect()
}

fn zone_label(machine: &Arc<Node>) -> Option<(String, String)> {
    let label = machine.labels().get(names::LABEL_NODE_ZONE)?;
    Some((names::dns_safe(label), label.clone()))
}

/// Zones that anything of the cluster stands in.
fn leaving(cluster: &str, observed: &Observed) -> BTreeSet<String> {
    let of = |pod: &PodId| pod.set.strip_prefix(&format!("{cluster}-")).map(str::to_owned);
    let members = observed.ring.iter().flat_map(|ring| ring.members.keys());
    let pods = observed.pods.keys().chain(observed.claims.keys()).chain(members).filter_map(of);
    observed.sets.values().map(|set| set.zone.clone()).chain(pods).collect()
}

fn objects(context: &Context, id: &ClusterId, cluster: &DynamoCluster) -> Result<Objects, ObserveError> {
    let (namespace, name) = id;
    let caches = &context.caches;
    // Of two clusters whose names run into one another each sees its own.
    let mut sets = caches.sets.of(namespace, name);
    // One that is being deleted has no controller any more.
    sets.retain(|_, set| belongs(&**set, cluster) && set.meta().deletion_timestamp.is_none());
    let mut pods = BTreeMap::new();
    for (pod, object) in caches.pods.of(namespace, name) {
        // A pod that somebody else has labelled like this is no node.
        if let Some(id) = pod.parse::<PodId>().ok().filter(|id| id.set.starts_with(&format!("{name}-"))) {
            pods.insert(id, object);
        }
    }
    let mut claims = BTreeMap::new();
    for (claim, object) in caches.claims.of(namespace, name) {
        if let Ok(pod) = pod_of_claim(&claim) {
            claims.insert(pod, object);
        }
    }
    let config_map = |named: String| caches.config_maps.get(namespace, &named);
    Ok(Objects {
        sets,
        pods,
        claims,
        founders: config_map(names::founders(name)),
        turn: config_map(turn_name(name)),
        retired: config_map(retired::config_map_name(name)),
        budget: caches.budgets.get(namespace, &names::disruption_budget(name)),
    })
}

/// The ConfigMap that says whose turn it is.
pub fn turn_name(cluster: &str) -> String {
    format!("{cluster}-turn")
}

/// Whether an object is this resource's, or nobody's: one that was orphaned is taken up again.
pub fn belongs<K: kube::Resource>(object: &K, cluster: &DynamoCluster) -> bool {
    let owners = object.meta().owner_references.iter().flatten();
    let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
    controller.is_none_or(|owner| Some(&owner.uid) == cluster.meta().uid.as_ref())
}

use kube::Resource as _;

fn of_kubernetes(
    context: &Context,
    id: &ClusterId,
    cluster: &DynamoCluster,
    objects: &Objects,
) -> Result<Observed, ObserveError> {
    let caches = &context.caches;
    let (machines, volumes) = (caches.machines.all(), caches.volumes.all());
    let named = views::Machines::of(machines.iter().flat_map(BTreeMap::values).map(|machine| &**machine));
    let mut claims = BTreeMap::new();
    for (pod, claim) in &objects.claims {
        let view = views::claim_view(claim, volumes.as_ref(), &named);
        claims.insert(pod.clone(), view.map_err(|source| of_object("claim", &**claim, source))?);
    }
    let hosts = machines.map(|machines| {
        let views = machines.iter().map(|(name, machine)| (name.clone(), host_view(machine)));
        zones::hosts(views.collect::<BTreeMap<String, HostView>>(), cluster)
    });
    let status = cluster.status.as_ref();
    let pods: BTreeMap<PodId, _> =
        objects.pods.iter().map(|(pod, object)| (pod.clone(), views::pod_view(object))).collect();
    let founders = objects.founders.as_deref().filter(|founders| !is_of_the_past(founders, cluster, &pods, &claims));
    let founders = founders.map(|founders| {
        let read = record::founders_of_data(&data(founders));
        read.map_err(|source| of_object("ConfigMap", founders, source))
    });
    Ok(Observed {
        now_s: context.clock.now_s(),
        founders: founders.transpose()?,
        recorded_zones: status
            .map_or_else(Vec::new, |status| status.zones.iter().map(|zone| zone.name.clone()).collect()),
        hosts,
        sets: objects.sets.iter().map(|(name, set)| (name.clone(), views::set_view(set))).collect(),
        pods,
        claims,
        turn: turn(objects.turn.as_deref())?,
        budget: objects.budget.as_deref().and_then(allowed),
        retired: retired_lives(objects.retired.as_deref())?,
        expandable: expandable(context, id, objects),
        ..Observed::default()
    })
}

/// Founders of a resource that is gone, of whose nodes nothing is left: the next one of its name is founded anew.
fn is_of_the_past(
    founders: &ConfigMap,
    cluster: &DynamoCluster,
    pods: &BTreeMap<PodId, dynamo_planner::PodView>,
    claims: &BTreeMap<PodId, dynamo_planner::ClaimView>,
) -> bool {
    let other = founders.annotations().get(ANNOTATION_UID).is_some_and(|uid| Some(uid) != cluster.meta().uid.as_ref());
    other && pods.is_empty() && claims.is_empty()
}

fn of_object<K: ResourceExt>(kind: &str, object: &K, source: RecordError) -> ObserveError {
    ObserveError::Record { object: format!("{kind} {}", object.name_any()), source }
}

/// A ConfigMap's data.
pub fn data(object: &ConfigMap) -> record::Data {
    object.data.clone().unwrap_or_default()
}

/// Whose turn it is, as an object says.
///
/// # Errors
/// Somebody has edited it so that it can't be read.
pub fn turn(object: Option<&ConfigMap>) -> Result<TurnRecord, ObserveError> {
    let Some(object) = object else { return Ok(TurnRecord::default()) };
    let read = record::turn_of_data(&data(object));
    let (last, turn) = read.map_err(|source| of_object("ConfigMap", object, source))?;
    Ok(TurnRecord { version: object.resource_version(), last, turn })
}

fn retired_lives(object: Option<&ConfigMap>) -> Result<BTreeMap<PodId, u64>, ObserveError> {
    let Some(object) = object else { return Ok(BTreeMap::new()) };
    let data = data(object);
    let read = retired::lives(&data).map(|(pod, life)| {
        let pod: PodId = pod.parse().map_err(|source| of_object("ConfigMap", object, source))?;
        // A life that can't be read is none that left: what follows writes it down again.
        Ok((pod, life.parse().unwrap_or_default()))
    });
    read.collect()
}

fn allowed(budget: &PodDisruptionBudget) -> Option<u32> {
    match budget.spec.as_ref()?.max_unavailable.as_ref()? {
        IntOrString::Int(number) => u32::try_from(*number).ok(),
        IntOrString::String(_) => None,
    }
}

/// Whether the classes of all claims let them grow.
fn expandable(context: &Context, (namespace, _): &ClusterId, objects: &Objects) -> Option<bool> {
    let classes = context.caches.classes.all()?;
    tracing::trace!(%namespace, "looking at storage classes");
    let named = objects.claims.values().filter_map(|claim| claim.spec.as_ref()?.storage_class_name.clone());
    let named: BTreeSet<String> = named.collect();
    let grows = |class: &String| classes.get(class).is_some_and(|class| class.allow_volume_expansion == Some(true));
    (!named.is_empty()).then(|| named.iter().all(grows))
}

/// What was decided when the cluster was founded: its name, and the release of its nodes where the spec names none.
fn decided_once(context: &Context, cluster: &DynamoCluster, founders: Option<&ConfigMap>) -> (String, Release) {
    let of_status =
        |read: fn(&dynamo_crd::DynamoClusterStatus) -> Option<String>| cluster.status.as_ref().and_then(read);
    let written = |key: &str| founders.and_then(|founders| founders.annotations().get(key).cloned());
    let name = written(ANNOTATION_NAME).or_else(|| of_status(|status| status.cluster_name.clone()));
    let mut release = context.release.clone();
    if let Some(version) = written(ANNOTATION_VERSION).or_else(|| of_status(|status| status.version.clone())) {
        release.version = version;
    }
    (name.unwrap_or_else(|| new_name(cluster)), release)
}

/// What the nodes of a cluster that is founded call it: two that have one name after each other stay apart.
fn new_name(cluster: &DynamoCluster) -> String {
    let (namespace, name) = id_of(cluster);
    names::inner(&namespace, &name, &cluster.uid().unwrap_or_default())
}

fn targets((namespace, cluster): &ClusterId, pods: &BTreeMap<PodId, Arc<Pod>>) -> Vec<Target> {
    let target = |(pod, object): (&PodId, &Arc<Pod>)| {
        let address = object.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
        let host = names::host(cluster, namespace, &pod.to_string());
        Some(Target { pod: pod.clone(), uid: object.uid()?, address, host, ready: is_ready(object) })
    };
    pods.iter().filter_map(target).collect()
}

/// Asks for the ring, and those who are none of it what they still have: after that, so that no receipt is older than the ring
/// by which it counts.
async fn ask(
    context: &Context,
    id: &ClusterId,
    (targets, security): (&[Target], &Security),
    observed: &mut Observed,
) -> Result<Option<Heard>, ObserveError> {
    let nodes = context.rings.nodes(id.clone(), targets.to_vec(), security.clone());
    let Some(heard) = nodes.view().await else { return Ok(None) };
    let sets = observed.sets.iter().flat_map(|(set, view)| (0..view.replicas).map(|ordinal| PodId::new(set, ordinal)));
    let known = observed.pods.keys().chain(observed.claims.keys()).chain(observed.retired.keys()).cloned().chain(sets);
    let ring = ring_view(&heard.view, &known.collect())?;
    let strangers: Vec<PodId> = observed.pods.keys().filter(|pod| !ring.concerns(pod)).cloned().collect();
    if ring.confirmed && !strangers.is_empty() {
        observed.receipts = nodes.receipts(&strangers).await;
    }
    observed.ring = Some(ring);
    if certificates::rests_on_nodes(observed) {
        let own = nodes.loaded().await;
        if let Some(ring) = &mut observed.ring {
            by_own_word(ring, own);
        }
    }
    Ok(Some(heard))
}
