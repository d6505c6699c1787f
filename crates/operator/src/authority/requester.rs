//! Which pod a token is of, and whether that pod is a node of a cluster: all by what the API server says.
//!
//! A token of a ServiceAccount that is bound to a pod says which pod mounts it; the API server reviews it and refuses it once
//! the pod is gone. Whoever may make pods in a namespace may have any ServiceAccount of it; so the pod also has to be made by the
//! StatefulSet of a cluster, which is looked up, too.

use dynamo_crd::{DynamoCluster, TlsMode, names};
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus},
        core::v1::{ConfigMap, Pod},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Api, ResourceExt, api::PostParams};

use crate::{observe::ANNOTATION_NAME, render};

/// Whom a node's token is for.
pub const AUDIENCE: &str = render::AUDIENCE;

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Why nothing is signed; a sentence for the node's log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The token is none that counts here.
    #[error("{0}")]
    Unknown(String),
    /// It counts, and its pod is no node.
    #[error("{0}")]
    NoNode(String),
    /// It may be otherwise in a moment.
    #[error("{0}")]
    NotNow(String),
}

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its namespace.
    pub namespace: String,
    /// Its ServiceAccount.
    pub account: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub uid: String,
}

/// A node that asks.
#[derive(Debug, Clone)]
pub struct Requester {
    /// Its cluster.
    pub cluster: DynamoCluster,
    /// What the nodes call that.
    pub called: String,
    /// Its pod, which is its name.
    pub pod: String,
    /// Its zone.
    pub zone: String,
}

/// Has the API server review a token.
pub async fn review(client: &kube::Client, token: &str) -> Result<Holder, Refusal> {
    let reviews: Api<TokenReview> = Api::all(client.clone());
    let spec = TokenReviewSpec { audiences: Some(vec![AUDIENCE.to_owned()]), token: Some(token.to_owned()) };
    let asked = TokenReview { spec, ..TokenReview::default() };
    let answer = reviews.create(&PostParams::default(), &asked).await.map_err(|error| asks_again(&error))?;
    holder(answer.status.unwrap_or_default())
}

/// Whose token it is, by the API server's answer.
pub fn holder(status: TokenReviewStatus) -> Result<Holder, Refusal> {
    let unknown = |why: &str| Err(Refusal::Unknown(why.to_owned()));
    if status.authenticated != Some(true) {
        return unknown(
            "the API server does not accept the token: it has expired, its pod is gone, or it is for somebody else",
        );
    }
    // An API server that knows no audiences accepts tokens that are for anybody.
    if !status.audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE) {
        return unknown("the token is not for the audience dynamo-operator");
    }
    let user = status.user.unwrap_or_default();
    let extra = user.extra.unwrap_or_default();
    let one = |key: &str| extra.get(key).and_then(|values| values.first()).cloned();
    let username = user.username.unwrap_or_default();
    let account = username.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let Some((namespace, account)) = account else { return unknown("the token is not of a ServiceAccount") };
    let (Some(pod), Some(uid)) = (one(POD_NAME), one(POD_UID)) else {
        return unknown("the token is not bound to a pod: it has to be a projected one");
    };
    Ok(Holder { namespace: namespace.to_owned(), account: account.to_owned(), pod, uid })
}

/// Looks the pod up, and what made it.
pub async fn look_up(client: &kube::Client, holder: &Holder) -> Result<Requester, Refusal> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &holder.namespace);
    let pod = pods.get_opt(&holder.pod).await.map_err(|error| asks_again(&error))?;
    let (pod, cluster, set) = node_of(holder, pod)?;
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &holder.namespace);
    let found = sets.get_opt(&set.name).await.map_err(|error| asks_again(&error))?;
    let clusters: Api<DynamoCluster> = Api::namespaced(client.clone(), &holder.namespace);
    let resource = clusters.get_opt(&cluster).await.map_err(|error| asks_again(&error))?;
    let cluster = cluster_of(&pod, &set, found, resource)?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &holder.namespace);
    let founders = maps.get_opt(&names::founders(&cluster.name_any())).await.map_err(|error| asks_again(&error))?;
    let called = founders.and_then(|founders| founders.annotations().get(ANNOTATION_NAME).cloned());
    let called = called.ok_or_else(|| Refusal::NotNow("the cluster is not founded yet: ask again".to_owned()))?;
    let zone = pod.labels().get(names::LABEL_ZONE).cloned().unwrap_or_default();
    Ok(Requester { cluster, called, pod: holder.pod.clone(), zone })
}

/// The pod, if it is the token's; the cluster that its label names; the StatefulSet that made it.
pub fn node_of(holder: &Holder, pod: Option<Pod>) -> Result<(Pod, String, OwnerReference), Refusal> {
    let refused = |why: String| Err(Refusal::NoNode(why));
    let name = &holder.pod;
    let Some(pod) = pod.filter(|pod| pod.uid().as_ref() == Some(&holder.uid)) else {
        return refused(format!("pod {name} is not there any more, or is another by now"));
    };
    let Some(cluster) = pod.labels().get(names::LABEL_CLUSTER).cloned() else {
        return refused(format!("pod {name} has no label {}: it is no node of a cluster", names::LABEL_CLUSTER));
    };
    let account = names::node_account(&cluster);
    let runs_as = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
    if holder.account != account || runs_as != Some(&account) {
        return refused(format!("pod {name} does not run as ServiceAccount {account}, as the nodes of {cluster} do"));
    }
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
    let Some(set) = owner.filter(|owner| owner.kind == "StatefulSet").cloned() else {
        // While its StatefulSet is being remade it has none for a moment.
        return Err(Refusal::NotNow(format!("pod {name} belongs to no StatefulSet: ask again")));
    };
    let number = name.strip_prefix(&format!("{}-", set.name));
    if !number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())) {
        return refused(format!("pod {name} is not called as the pods of StatefulSet {} are", set.name));
    }
    Ok((pod, cluster, set))
}

/// The cluster, if the StatefulSet is there and the cluster's own.
pub fn cluster_of(
    pod: &Pod,
    set: &OwnerReference,
    found: Option<StatefulSet>,
    resource: Option<DynamoCluster>,
) -> Result<DynamoCluster, Refusal> {
    let name = pod.name_any();
    let Some(found) = found.filter(|found| found.uid().as_ref() == Some(&set.uid)) else {
        return Err(Refusal::NotNow(format!("StatefulSet {} of pod {name} is not there: ask again", set.name)));
    };
    let owns = |resource: &DynamoCluster| {
        found.owner_references().iter().any(|owner| Some(&owner.uid) == resource.uid().as_ref())
    };
    let Some(resource) = resource.filter(owns) else {
        let why = format!("StatefulSet {} of pod {name} belongs to no DynamoCluster that is there", set.name);
        return Err(Refusal::NoNode(why));
    };
    if resource.spec.tls.mode != TlsMode::OperatorCA {
        let why = format!("the operator issues no certificates for {}: its tls.mode is another", resource.name_any());
        return Err(Refusal::NoNode(why));
    }
    Ok(resource)
}

/// What the API server refuses the operator is told to the operator's people by its log, and not to who asks.
pub(super) fn asks_again(error: &kube::Error) -> Refusal {
    tracing::warn!("the signer could not ask the API server: {error}");
    Refusal::NotNow("the API server could not be asked: ask again".to_owned())
}

#[cfg(test)]
mod tests;
