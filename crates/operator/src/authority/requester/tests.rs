use std::collections::BTreeMap;

use dynamo_crd::DynamoClusterSpec;
use k8s_openapi::{
    api::{authentication::v1::UserInfo, core::v1::PodSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::*;

fn reviewed() -> TokenReviewStatus {
    let extra = [(POD_NAME, "shop-a-0"), (POD_UID, "pod's uid")];
    let user = UserInfo {
        username: Some("system:serviceaccount:prod:shop-node".to_owned()),
        extra: Some(extra.map(|(key, value)| (key.to_owned(), vec![value.to_owned()])).into()),
        ..UserInfo::default()
    };
    TokenReviewStatus {
        authenticated: Some(true),
        audiences: Some(vec![AUDIENCE.to_owned()]),
        user: Some(user),
        error: None,
    }
}

fn owner(kind: &str, name: &str, uid: &str) -> OwnerReference {
    let (kind, name, uid) = (kind.to_owned(), name.to_owned(), uid.to_owned());
    OwnerReference { kind, name, uid, controller: Some(true), ..OwnerReference::default() }
}

fn pod() -> Pod {
    let metadata = ObjectMeta {
        name: Some("shop-a-0".to_owned()),
        uid: Some("pod's uid".to_owned()),
        labels: Some(BTreeMap::from([(names::LABEL_CLUSTER.to_owned(), "shop".to_owned())])),
        owner_references: Some(vec![owner("StatefulSet", "shop-a", "set's uid")]),
        ..ObjectMeta::default()
    };
    let spec = PodSpec { service_account_name: Some("shop-node".to_owned()), ..PodSpec::default() };
    Pod { metadata, spec: Some(spec), ..Pod::default() }
}

fn set() -> StatefulSet {
    let metadata = ObjectMeta {
        uid: Some("set's uid".to_owned()),
        owner_references: Some(vec![owner("DynamoCluster", "shop", "cluster's uid")]),
        ..ObjectMeta::default()
    };
    StatefulSet { metadata, ..StatefulSet::default() }
}

fn shop() -> DynamoCluster {
    let mut cluster = DynamoCluster::new("shop", DynamoClusterSpec::default());
    cluster.metadata.uid = Some("cluster's uid".to_owned());
    cluster
}

fn mine() -> Holder {
    holder(reviewed()).unwrap()
}

#[test]
fn a_bound_token_says_which_pod_it_is_of() {
    let expected = Holder {
        namespace: "prod".to_owned(),
        account: "shop-node".to_owned(),
        pod: "shop-a-0".to_owned(),
        uid: "pod's uid".to_owned(),
    };
    assert_eq!(mine(), expected);
}

#[test]
fn a_token_that_is_refused_for_others_or_bound_to_nothing_counts_for_nothing() {
    let refused = |change: &dyn Fn(&mut TokenReviewStatus)| {
        let mut status = reviewed();
        change(&mut status);
        assert!(matches!(holder(status.clone()), Err(Refusal::Unknown(_))), "{status:?}");
    };
    refused(&|status| status.authenticated = Some(false));
    refused(&|status| status.authenticated = None);
    refused(&|status| status.audiences = Some(vec!["https://kubernetes.default.svc".to_owned()]));
    refused(&|status| status.audiences = None);
    refused(&|status| status.user.as_mut().unwrap().extra = None);
    refused(&|status| status.user.as_mut().unwrap().username = Some("admin".to_owned()));
    refused(&|status| status.user = None);
}

#[test]
fn a_pod_that_a_cluster_s_stateful_set_made_is_a_node_of_it() {
    let (pod, cluster, by) = node_of(&mine(), Some(pod())).unwrap();
    assert_eq!((cluster.as_str(), by.name.as_str()), ("shop", "shop-a"));
    assert_eq!(cluster_of(&pod, &by, Some(set()), Some(shop())).unwrap().name_any(), "shop");
}

#[test]
fn a_pod_that_is_gone_another_s_or_not_made_by_the_cluster_is_no_node() {
    let refused = |change: &dyn Fn(&mut Pod)| {
        let mut other = pod();
        change(&mut other);
        let refusal = node_of(&mine(), Some(other)).unwrap_err();
        assert!(!refusal.to_string().is_empty());
        matches!(refusal, Refusal::NoNode(_))
    };
    assert!(matches!(node_of(&mine(), None), Err(Refusal::NoNode(_))));
    assert!(refused(&|pod| pod.metadata.uid = Some("another".to_owned())));
    assert!(refused(&|pod| pod.metadata.labels = None));
    assert!(refused(&|pod| pod
        .metadata
        .labels
        .as_mut()
        .unwrap()
        .values_mut()
        .for_each(|name| *name = "bank".to_owned())));
    assert!(refused(&|pod| pod.spec.as_mut().unwrap().service_account_name = Some("default".to_owned())));
    assert!(refused(&|pod| pod.metadata.owner_references.as_mut().unwrap()[0].name = "bank-a".to_owned()));
    assert!(
        refused(&|pod| pod.metadata.owner_references.as_mut().unwrap()[0].name = "shop".to_owned()),
        "a-0 is no number"
    );
    // Its StatefulSet may be being remade.
    assert!(!refused(&|pod| pod.metadata.owner_references = None));
}

#[test]
fn a_stateful_set_that_is_no_cluster_s_makes_no_nodes() {
    let by = owner("StatefulSet", "shop-a", "set's uid");
    let mut orphan = set();
    orphan.metadata.owner_references = None;
    assert!(matches!(cluster_of(&pod(), &by, Some(orphan), Some(shop())), Err(Refusal::NoNode(_))));
    assert!(matches!(cluster_of(&pod(), &by, Some(set()), None), Err(Refusal::NoNode(_))));
    let mut another = shop();
    another.metadata.uid = Some("that of the one before".to_owned());
    assert!(matches!(cluster_of(&pod(), &by, Some(set()), Some(another)), Err(Refusal::NoNode(_))));
    let mut others = shop();
    others.spec.tls.mode = TlsMode::Secret;
    assert!(matches!(cluster_of(&pod(), &by, Some(set()), Some(others)), Err(Refusal::NoNode(_))));
    assert!(matches!(cluster_of(&pod(), &by, None, Some(shop())), Err(Refusal::NotNow(_))));
}
