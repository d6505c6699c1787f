//! Applying, by a real API server: what it fills in, who owns which field, what it refuses.

use std::{collections::BTreeSet, fs};

use dynamo_control_plane::{ControlPlane, Controllers, Mark, Writes};
use dynamo_crd::{DynamoCluster, names};
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, StatefulSet},
        core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Pod, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        rbac::v1::{ClusterRole, ClusterRoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{APPLIED, ApplyError, Changed, Live, beside, mounted_by};
use crate::render::{
    Kind, Rendered, objects,
    samples::{self, Sample},
    stateful_set,
};

/// The operator's user, with the rights that the manifests give.
const USER: &str = "operator";

struct World {
    plane: ControlPlane,
    admin: Client,
    operator: Client,
}

/// What the API server has at this moment.
struct Fresh {
    objects: Vec<(Kind, Value)>,
    sets: Vec<StatefulSet>,
    claims: Vec<PersistentVolumeClaim>,
}

impl Live for Fresh {
    fn get(&self, kind: Kind, _: &str, name: &str) -> Option<Value> {
        let found = self.objects.iter().find(|(of, object)| *of == kind && object["metadata"]["name"] == name);
        found.map(|(_, object)| object.clone())
    }

    fn of(&self, kind: Kind, _: &str, _: &str) -> Vec<Value> {
        self.objects.iter().filter(|(of, _)| *of == kind).map(|(_, object)| object.clone()).collect()
    }

    fn mounted(&self, _: &str, _: &str) -> BTreeSet<String> {
        let pods = self.sets.iter().filter_map(|set| set.spec.as_ref()?.template.spec.as_ref());
        pods.flat_map(mounted_by).collect()
    }

    fn claims(&self, _: &str, _: &str) -> Vec<PersistentVolumeClaim> {
        self.claims.clone()
    }
}

fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

impl World {
    /// With the definition, and an operator that may do what manifests/operator lets it.
    async fn start(test: &str) -> Option<World> {
        let plane = ControlPlane::start(test, Controllers::None).await?;
        let admin = plane.admin();
        let definitions: Api<CustomResourceDefinition> = Api::all(admin.clone());
        definitions.create(&PostParams::default(), &dynamo_crd::definition()).await.unwrap();
        let operator = plane.user(USER, None).await;
        let world = World { plane, admin, operator };
        world.give_rights().await;
        while world.api::<DynamoCluster>("default").list(&ListParams::default()).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Some(world)
    }

    async fn give_rights(&self) {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/operator/operator.yaml");
        let text = fs::read_to_string(file).unwrap();
        let documents = serde_yaml::Deserializer::from_str(&text).map(|document| {
            let document: Value = serde::Deserialize::deserialize(document).unwrap();
            document
        });
        let is_role = |object: &Value| {
            object["kind"] == "ClusterRole" && object["metadata"]["name"] == "dynamo-system-dynamo-operator"
        };
        let role: ClusterRole = typed(documents.into_iter().find(is_role).expect("the operator's rights"));
        let binding: ClusterRoleBinding = typed(json!({
            "metadata": {"name": USER},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.name_any()},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
        }));
        Api::all(self.admin.clone()).create(&PostParams::default(), &role).await.unwrap();
        Api::all(self.admin.clone()).create(&PostParams::default(), &binding).await.unwrap();
    }

    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.admin.clone(), namespace)
    }

    /// A namespace that enforces Pod Security, and a cluster `shop` in it.
    async fn found(&self, namespace: &str, spec: Value) -> Sample {
        let restricted: Namespace = typed(json!({"metadata": {"name": namespace, "labels": {
            "pod-security.kubernetes.io/enforce": "restricted",
        }}}));
        Api::all(self.admin.clone()).create(&PostParams::default(), &restricted).await.unwrap();
        let mut sample = Sample::named(namespace, "shop", spec);
        self.store(&mut sample).await;
        sample
    }

    async fn store(&self, sample: &mut Sample) {
        sample.cluster.metadata.uid = None;
        let namespace = sample.cluster.namespace().unwrap();
        sample.cluster = self.api(&namespace).create(&PostParams::default(), &sample.cluster).await.unwrap();
    }

    async fn fresh(&self, sample: &Sample) -> Fresh {
        let namespace = sample.cluster.namespace().unwrap();
        let selector = format!("{}={}", names::LABEL_CLUSTER, sample.cluster.name_any());
        let params = ListParams::default().labels(&selector);
        let mut objects = Vec::new();
        for kind in [Kind::ConfigMap, Kind::ServiceAccount, Kind::Service, Kind::NetworkPolicy] {
            let api: Api<DynamicObject> = Api::namespaced_with(self.admin.clone(), &namespace, &kind.resource());
            let found = api.list(&params).await.unwrap().items;
            objects.extend(found.into_iter().map(|object| (kind, serde_json::to_value(object).unwrap())));
        }
        let sets = self.api::<StatefulSet>(&namespace).list(&params).await.unwrap().items;
        let claims = self.api::<PersistentVolumeClaim>(&namespace).list(&params).await.unwrap().items;
        Fresh { objects, sets, claims }
    }

    /// One pass of the operator.
    async fn pass(&self, sample: &Sample) -> Result<Changed, ApplyError> {
        let live = self.fresh(sample).await;
        let basis = crate::render::Basis { service_monitors: false, ..sample.basis() };
        beside(&self.operator, &live, &basis).await
    }

    /// A pass that finds nothing to do, by the API server's own word.
    async fn is_settled(&self, sample: &Sample) {
        let mark = self.plane.mark();
        let changed = self.pass(sample).await.unwrap();
        assert!(changed.is_empty(), "{changed:?}");
        let writes = self.writes_since(mark);
        assert!(writes.is_empty(), "{writes}");
    }

    fn writes_since(&self, mark: Mark) -> Writes {
        self.plane.writes_since(mark).of(USER)
    }

    async fn edit<K>(&self, sample: &Sample, name: &str, patch: Value)
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let api = self.api::<K>(&sample.cluster.namespace().unwrap());
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_rendered_is_written_once_and_put_back_when_somebody_changes_it() {
    let Some(world) = World::start("what is rendered is written once").await else { return };
    let mut sample = world.found("shop", json!({"clients": {"serviceAnnotations": {"theirs": "before"}}})).await;

    let changed = world.pass(&sample).await.unwrap();
    assert_eq!((changed.applied.len(), changed.deleted.len()), (5, 0), "{changed:?}");
    world.is_settled(&sample).await;

    // By hand.
    let selector = json!({"spec": {"selector": {"only": "some"}}});
    world.edit::<Service>(&sample, "shop", selector).await;
    world.edit::<Service>(&sample, "shop-nodes", json!({"spec": {"publishNotReadyAddresses": false}})).await;
    world.edit::<ServiceAccount>(&sample, "shop-node", json!({"automountServiceAccountToken": true})).await;
    world.edit::<NetworkPolicy>(&sample, "shop", json!({"spec": {"ingress": [{}]}})).await;
    let config = crate::render::config_map_name("shop", &crate::render::template(&sample.basis()));
    world.api::<ConfigMap>("shop").delete(&config, &DeleteParams::default()).await.unwrap();
    let changed = world.pass(&sample).await.unwrap();
    assert_eq!(changed.applied.len(), 5, "{changed:?}");
    let service = world.api::<Service>("shop").get("shop").await.unwrap();
    assert_eq!(service.spec.unwrap().selector.unwrap(), names::selector("shop"));
    let policy = world.api::<NetworkPolicy>("shop").get("shop").await.unwrap();
    assert_eq!(policy.spec.unwrap().ingress.unwrap().len(), 2);
    world.is_settled(&sample).await;

    // What others set beside stays.
    world
        .edit::<Service>(&sample, "shop", json!({"metadata": {"labels": {"team": "x"}, "annotations": {"a": "b"}}}))
        .await;
    world.is_settled(&sample).await;

    // What is rendered no longer is taken out, and what others set still stays.
    sample.cluster.spec.clients.service_annotations.clear();
    assert_eq!(world.pass(&sample).await.unwrap().applied.len(), 1);
    let service = world.api::<Service>("shop").get("shop").await.unwrap();
    assert!(!service.annotations().contains_key("theirs") && service.annotations().contains_key("a"));
    assert_eq!(service.labels()["team"], "x");
    world.is_settled(&sample).await;

    // And what is not wanted at all is deleted.
    sample.cluster.spec.network_policies = false;
    let changed = world.pass(&sample).await.unwrap();
    assert_eq!((changed.applied.len(), changed.deleted.len()), (0, 1), "{changed:?}");
    world.is_settled(&sample).await;
}

#[tokio::test]
async fn what_belongs_to_others_is_left_and_told() {
    let Some(world) = World::start("what belongs to others is left").await else { return };
    let sample = world.found("shop", json!({})).await;
    let theirs: Service = typed(json!({
        "metadata": {"name": "shop"}, "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]},
    }));
    world.api("shop").create(&PostParams::default(), &theirs).await.unwrap();
    // Labelled as the cluster's, yet nothing that this operator made.
    let labelled: ConfigMap = typed(json!({"metadata": {"name": "notes", "labels": names::labels("shop")}}));
    world.api("shop").create(&PostParams::default(), &labelled).await.unwrap();

    let error = world.pass(&sample).await.unwrap_err();
    assert!(error.to_string().contains("services shop"), "{error}");
    let service = world.api::<Service>("shop").get("shop").await.unwrap();
    assert_eq!(service.spec.unwrap().selector.unwrap()["app"], "theirs");
    assert!(!service.metadata.annotations.unwrap_or_default().contains_key(APPLIED));
    world.api::<ConfigMap>("shop").get("notes").await.unwrap();
    // The others were seen to all the same.
    world.api::<NetworkPolicy>("shop").get("shop").await.unwrap();
    world.api::<Service>("shop").get("shop-nodes").await.unwrap();

    // What a resource owns that is there is not taken up by one that is not.
    let other = Sample::named("shop", "shop", json!({}));
    let Err(ApplyError::NotOurs { .. }) = world.pass(&other).await else { panic!("another's objects were taken over") };

    let nobody = world.plane.user("nobody", None).await;
    let live = Fresh { objects: vec![], sets: vec![], claims: vec![] };
    let error = beside(&nobody, &live, &sample.basis()).await.unwrap_err().to_string();
    for part in ["cannot get resource \"configmaps\"", "namespace \"shop\"", "give the operator's ServiceAccount"] {
        assert!(error.contains(part), "{part} in: {error}");
    }
}

#[tokio::test]
async fn what_a_resource_left_behind_is_taken_up_by_the_next_of_its_name() {
    let Some(world) = World::start("what a resource left behind").await else { return };
    let sample = world.found("shop", json!({})).await;
    world.pass(&sample).await.unwrap();
    let uids = async || {
        let found = world.fresh(&sample).await.objects;
        found.into_iter().map(|(_, object)| object["metadata"]["uid"].clone()).collect::<Vec<_>>()
    };
    let before = uids().await;
    // One is nobody's, and one was taken by somebody else meanwhile. The others are of a uid that will be no more.
    world.edit::<Service>(&sample, "shop", json!({"metadata": {"ownerReferences": []}})).await;
    let theirs = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop", "controller": true,
        "uid": "9a2b3c4d-0000-4000-8000-000000000000"}]);
    world.edit::<NetworkPolicy>(&sample, "shop", json!({"metadata": {"ownerReferences": theirs}})).await;
    world.api::<DynamoCluster>("shop").delete("shop", &DeleteParams::default()).await.unwrap();
    let mut again = Sample::named("shop", "shop", json!({}));
    world.store(&mut again).await;

    let Err(ApplyError::NotOurs { resource, .. }) = world.pass(&again).await else { panic!("another's was taken up") };
    assert_eq!(resource, "networkpolicies");
    let uid = again.cluster.uid().unwrap();
    for (kind, object) in world.fresh(&again).await.objects {
        let owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        let taken = owners.len() == 1 && owners[0]["uid"] == *uid;
        assert_eq!(taken, kind != Kind::NetworkPolicy, "{object}");
    }
    assert_eq!(uids().await, before);
    world.edit::<NetworkPolicy>(&again, "shop", json!({"metadata": {"ownerReferences": []}})).await;
    // Taken up by one look, and set right by the next.
    world.pass(&again).await.unwrap();
    world.pass(&again).await.unwrap();
    world.is_settled(&again).await;
}

#[tokio::test]
async fn a_former_configuration_stays_while_a_pod_may_come_back_that_reads_it() {
    let Some(world) = World::start("a former configuration stays").await else { return };
    let mut sample = world.found("shop", json!({})).await;
    world.pass(&sample).await.unwrap();
    let zone = sample.zones[0].clone();
    let set = stateful_set(&sample.basis(), &zone, 1, 0, zone.storage_bytes);
    let revision: ControllerRevision = typed(json!({
        "metadata": {"name": "shop-a-1", "labels": names::zone_labels("shop", "a")},
        "revision": 1,
        "data": {"spec": {"template": set.spec.as_ref().unwrap().template}},
    }));
    let set = world.api::<StatefulSet>("shop").create(&PostParams::default(), &set).await.unwrap();
    world.is_settled(&sample).await;
    world.api::<ControllerRevision>("shop").create(&PostParams::default(), &revision).await.unwrap();

    sample.cluster.spec.slo.p99_ms = 20;
    let changed = world.pass(&sample).await.unwrap();
    assert_eq!((changed.applied.len(), changed.deleted.len()), (1, 0), "{changed:?}");
    world.is_settled(&sample).await;
    // The StatefulSet has moved on, and one of its revisions has not.
    world.api::<StatefulSet>("shop").delete(&set.name_any(), &DeleteParams::default()).await.unwrap();
    world.is_settled(&sample).await;
    world.api::<ControllerRevision>("shop").delete("shop-a-1", &DeleteParams::default()).await.unwrap();
    let changed = world.pass(&sample).await.unwrap();
    assert_eq!((changed.applied.len(), changed.deleted.len()), (0, 1), "{changed:?}");
    assert_eq!(world.fresh(&sample).await.of(Kind::ConfigMap, "shop", "shop").len(), 1);
}

#[tokio::test]
async fn claims_go_with_the_resource_exactly_while_they_are_to() {
    let Some(world) = World::start("claims go with the resource").await else { return };
    let mut sample = world.found("shop", json!({})).await;
    let another =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "9a2b3c4d-0000-4000-8000-000000000000"});
    let claim: PersistentVolumeClaim = typed(json!({
        "metadata": {"name": "data-shop-a-0", "labels": names::zone_labels("shop", "a"), "ownerReferences": [another]},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }));
    world.api("shop").create(&PostParams::default(), &claim).await.unwrap();
    world.pass(&sample).await.unwrap();
    let owners = async || {
        let claim = world.api::<PersistentVolumeClaim>("shop").get("data-shop-a-0").await.unwrap();
        claim.owner_references().iter().map(|owner| owner.kind.clone()).collect::<Vec<_>>()
    };
    assert_eq!(owners().await, ["ConfigMap"]);
    sample.cluster.spec.storage.reclaim.on_delete = dynamo_crd::ReclaimPolicy::Delete;
    world.pass(&sample).await.unwrap();
    assert_eq!(owners().await, ["ConfigMap", "DynamoCluster"]);
    world.is_settled(&sample).await;
    sample.cluster.spec.storage.reclaim.on_delete = dynamo_crd::ReclaimPolicy::Retain;
    world.pass(&sample).await.unwrap();
    assert_eq!(owners().await, ["ConfigMap"]);
    world.is_settled(&sample).await;
}

#[tokio::test]
async fn everything_that_is_rendered_is_taken_under_pod_security_restricted() {
    let Some(world) = World::start("everything that is rendered is taken").await else { return };
    let strict = PatchParams::apply("test").force().validation_strict();
    for (at, (name, mut sample)) in samples::all().into_iter().enumerate() {
        let namespace = format!("of-{at}");
        world.found(&namespace, json!({})).await;
        sample.cluster.metadata.namespace = Some(namespace.clone());
        for Rendered { kind, name: object, object: document } in objects(&sample.basis()) {
            if kind == Kind::ServiceMonitor {
                continue;
            }
            let api: Api<DynamicObject> = Api::namespaced_with(world.admin.clone(), &namespace, &kind.resource());
            let taken = api.patch(&object, &strict, &Patch::Apply(document)).await;
            taken.unwrap_or_else(|error| panic!("{name}: {object}: {error}"));
        }
        for zone in &sample.zones {
            let set = stateful_set(&sample.basis(), zone, 1, dynamo_planner::PARKED, zone.storage_bytes);
            let (called, sets) = (set.name_any(), world.api::<StatefulSet>(&namespace));
            let taken = sets.patch(&called, &strict, &Patch::Apply(&set)).await;
            let taken = taken.unwrap_or_else(|error| panic!("{name}: {called}: {error}"));
            let differs = super::difference(Kind::ServiceAccount, &typed(json!(set)), &typed(json!(taken)));
            assert_eq!(differs, None, "{name}: {called}");
            // As its controller would: what Pod Security refuses is refused here.
            let template = set.spec.unwrap().template;
            let mut pod = Pod { metadata: template.metadata.unwrap(), spec: template.spec, ..Pod::default() };
            pod.metadata.name = Some(format!("{called}-0"));
            let data = json!({"name": "data", "persistentVolumeClaim": {"claimName": "data"}});
            let spec = pod.spec.as_mut().unwrap();
            spec.volumes.get_or_insert_default().push(typed(data));
            spec.priority_class_name = None;
            let taken = world.api::<Pod>(&namespace).create(&PostParams::default(), &pod).await;
            taken.unwrap_or_else(|error| panic!("{name}: a pod of {called}: {error}"));
        }
    }
}
