//! A cluster as the API server has it: the resource, a StatefulSet and its pods, none of which runs.

use std::{sync::Arc, time::Duration};

use dynamo_control_plane::{ControlPlane, Controllers};
use dynamo_crd::{DynamoCluster, DynamoClusterSpec, names};
use dynamo_operator::authority::{Authority, Serving};
use dynamo_planner::{Action, NodeView, Observed, Plan, PodId, PodView, RingView, certificates};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{ConfigMap, Namespace, Pod, Secret, ServiceAccount},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

pub const NAMESPACE: &str = "prod";
pub const CALLED: &str = "prod/shop/1a2b3c4d";
/// The wall clock of what is made here.
pub const NOW_S: u64 = 1_800_000_000;

pub struct Stage {
    pub plane: ControlPlane,
    pub client: Client,
    pub cluster: DynamoCluster,
    pub serving: Arc<Serving>,
    pub authority: Authority,
}

impl Stage {
    /// A founded cluster; None where there is no control plane to be had.
    pub async fn set(test: &str) -> Option<Stage> {
        let plane = ControlPlane::start(test, Controllers::None).await?;
        let client = plane.admin();
        define(&client).await;
        for name in [NAMESPACE, "dynamo-system"] {
            let namespace: Namespace = from(json!({ "metadata": { "name": name } }));
            Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        }
        let cluster = found(&client, "shop").await;
        let serving = Serving::new(client.clone(), "dynamo-system", "localhost");
        serving.keep(dynamo_operator::authority::wall_s()).await.unwrap();
        let authority = Authority::new(client.clone(), serving.clone());
        Some(Stage { plane, client, cluster, serving, authority })
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// The resource, and what its nodes call it.
    pub fn called(&self) -> (&DynamoCluster, Option<&str>) {
        (&self.cluster, Some(CALLED))
    }

    /// With whom Secrets and ConfigMaps go, by their names.
    pub async fn owners(&self, of: [String; 3]) -> Vec<(String, Vec<String>)> {
        let mut found = Vec::new();
        for name in of {
            let secret = self.api::<Secret>().get_opt(&name).await.unwrap().map(|secret| secret.metadata);
            let map = self.api::<ConfigMap>().get_opt(&name).await.unwrap().map(|map| map.metadata);
            let owners = secret.or(map).unwrap().owner_references.unwrap_or_default();
            found.push((name, owners.into_iter().map(|owner| owner.uid).collect()));
        }
        found
    }

    pub async fn secret(&self) -> Option<Secret> {
        self.api().get_opt(&names::authority("shop")).await.unwrap()
    }

    pub async fn trust(&self) -> Option<ConfigMap> {
        self.api().get_opt(&names::trust("shop")).await.unwrap()
    }

    /// Operators look until there is nothing more to do; each dies after one step.
    pub async fn settle(&self, wall_s: u64) {
        for _ in 0..20 {
            if !self.look(wall_s).await {
                return;
            }
        }
        panic!("the authorities do not settle");
    }

    async fn look(&self, wall_s: u64) -> bool {
        let operator = Authority::new(self.client.clone(), self.serving.clone());
        let seen = operator.keep(&self.cluster).await.unwrap();
        let authorities = operator.observed(&self.cluster, &seen, wall_s).unwrap();
        // Nodes have loaded all that there is.
        let node = NodeView {
            up: true,
            trusts: authorities.trusted.clone(),
            signed_by: authorities.signing.clone(),
            ..NodeView::default()
        };
        let pod = PodId::new("shop-a", 0);
        let view = PodView { uid: String::new(), host: None, ready: true, template: String::new(), deleting: false };
        let observed = Observed {
            authorities: Some(authorities),
            pods: [(pod.clone(), view)].into(),
            ring: Some(RingView { nodes: [(pod, node)].into(), ..RingView::default() }),
            ..Observed::default()
        };
        let mut plan = Plan::default();
        certificates::plan(&observed, &mut plan);
        let step = plan.actions.into_iter().find_map(|action| match action {
            Action::Certificates(step) => Some(step),
            _ => None,
        });
        let Some(step) = step else { return false };
        operator.step(&self.cluster, &seen, &step, wall_s).await.unwrap();
        true
    }

    /// A pod of a StatefulSet of the cluster, with changes to what it would be.
    pub async fn pod(&self, name: &str, change: impl FnOnce(&mut Value)) -> Pod {
        let set: StatefulSet = self.api().get("shop-a").await.unwrap();
        let mut labels = names::zone_labels("shop", "a");
        labels.insert("app".to_owned(), "test".to_owned());
        let mut pod = json!({
            "metadata": {
                "name": name,
                "labels": labels,
                "ownerReferences": [set.controller_owner_ref(&()).unwrap()],
            },
            "spec": {
                "serviceAccountName": "shop-node",
                "containers": [{ "name": "node", "image": "node" }],
            },
        });
        change(&mut pod);
        self.api().create(&PostParams::default(), &from(pod)).await.unwrap()
    }

    /// A token of a pod's account, bound to it.
    pub async fn token(&self, pod: &Pod, audience: &str) -> String {
        let account = pod.spec.as_ref().unwrap().service_account_name.clone().unwrap();
        let bound = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.name_any()),
            uid: pod.uid(),
        };
        self.ask_token(&account, audience, Some(bound)).await
    }

    pub async fn ask_token(&self, account: &str, audience: &str, bound: Option<BoundObjectReference>) -> String {
        let spec = TokenRequestSpec {
            audiences: vec![audience.to_owned()],
            bound_object_ref: bound,
            expiration_seconds: Some(3600),
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let accounts: Api<ServiceAccount> = self.api();
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
        answer.status.unwrap().token
    }

    /// Without the time that a kubelet would take.
    pub async fn delete_pod(&self, name: &str) {
        let pods: Api<Pod> = self.api();
        pods.delete(name, &DeleteParams::default().grace_period(0)).await.unwrap();
        while pods.get_opt(name).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// The resource is served.
async fn define(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = dynamo_crd::definition();
    definitions.create(&PostParams::default(), &definition).await.unwrap();
    let clusters: Api<DynamoCluster> = Api::namespaced(client.clone(), "default");
    while clusters.list(&Default::default()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn found(client: &Client, name: &str) -> DynamoCluster {
    let clusters: Api<DynamoCluster> = Api::namespaced(client.clone(), NAMESPACE);
    let cluster = DynamoCluster::new(name, DynamoClusterSpec::default());
    let cluster = clusters.create(&PostParams::default(), &cluster).await.unwrap();
    let account: ServiceAccount = from(json!({ "metadata": { "name": names::node_account(name) } }));
    Api::namespaced(client.clone(), NAMESPACE).create(&PostParams::default(), &account).await.unwrap();
    let account: ServiceAccount = from(json!({ "metadata": { "name": "stranger" } }));
    Api::namespaced(client.clone(), NAMESPACE).create(&PostParams::default(), &account).await.unwrap();
    let labels = names::zone_labels(name, "a");
    let set: StatefulSet = from(json!({
        "metadata": {
            "name": format!("{name}-a"),
            "labels": labels,
            "ownerReferences": [cluster.controller_owner_ref(&()).unwrap()],
        },
        "spec": {
            "serviceName": names::nodes_service(name),
            "selector": { "matchLabels": { "app": "test" } },
            "template": {
                "metadata": { "labels": { "app": "test" } },
                "spec": { "containers": [{ "name": "node", "image": "node" }] },
            },
        },
    }));
    Api::namespaced(client.clone(), NAMESPACE).create(&PostParams::default(), &set).await.unwrap();
    let founders: ConfigMap = from(json!({"metadata": {
        "name": names::founders(name), "annotations": {"dynamo-k8s.io/cluster-name": CALLED},
    }}));
    Api::namespaced(client.clone(), NAMESPACE).create(&PostParams::default(), &founders).await.unwrap();
    cluster
}
