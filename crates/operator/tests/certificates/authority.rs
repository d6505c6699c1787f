//! The authority's objects, made, rotated and mended.

use dynamo_crd::{ReclaimPolicy, names};
use dynamo_operator::authority::{AuthorityError, SIGNER_KEY, SIGNING_KEY, Shown, TRUST_KEY};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::stage::{NOW_S, Stage, from};

fn bundle(trust: &ConfigMap) -> String {
    trust.data.as_ref().unwrap()[TRUST_KEY].clone()
}

fn signing(secret: &Secret) -> String {
    String::from_utf8(secret.data.as_ref().unwrap()[SIGNING_KEY].0.clone()).unwrap()
}

#[tokio::test]
async fn an_authority_is_made_once_mended_where_it_was_touched_and_left_alone_otherwise() {
    let Some(stage) = Stage::set("authorities").await else { return };
    stage.settle(NOW_S).await;
    let (secret, trust) = (stage.secret().await.unwrap(), stage.trust().await.unwrap());
    assert!(secret.owner_references().is_empty(), "volumes are kept, and so is what their nodes believe");
    assert_eq!(trust.data.as_ref().unwrap()[SIGNER_KEY], stage.serving.bundle());
    assert!(!bundle(&trust).contains("PRIVATE KEY"), "a key stands where everybody reads");

    let mark = stage.plane.mark();
    stage.settle(NOW_S + 1000).await;
    let writes = stage.plane.writes_since(mark);
    assert!(writes.is_empty(), "a settled cluster was written to:\n{writes}");

    // Somebody deletes the bundle, and writes into it.
    let maps: Api<ConfigMap> = stage.api();
    maps.delete(&names::trust("shop"), &DeleteParams::default()).await.unwrap();
    stage.settle(NOW_S).await;
    assert_eq!(bundle(&stage.trust().await.unwrap()), bundle(&trust));
    let nonsense = Patch::Merge(json!({ "data": { TRUST_KEY: "nonsense", "theirs": "stays" } }));
    maps.patch(&names::trust("shop"), &PatchParams::default(), &nonsense).await.unwrap();
    stage.settle(NOW_S).await;
    let mended = stage.trust().await.unwrap();
    assert_eq!((bundle(&mended), mended.data.unwrap()["theirs"].as_str()), (bundle(&trust), "stays"));

    // Somebody deletes the keys: they can't be made again, so another authority follows.
    let secrets: Api<Secret> = stage.api();
    let sealed: Secret = secrets.get(&names::context_key("shop")).await.unwrap();
    secrets.delete(&names::authority("shop"), &DeleteParams::default()).await.unwrap();
    stage.settle(NOW_S).await;
    assert_ne!(signing(&stage.secret().await.unwrap()), signing(&secret));
    assert_ne!(bundle(&stage.trust().await.unwrap()), bundle(&trust));

    // The key that seals contexts is the same for ever, whichever copy was lost.
    for name in [names::context_key("shop"), names::authority("shop")] {
        secrets.delete(&name, &DeleteParams::default()).await.unwrap();
        stage.settle(NOW_S).await;
        assert_eq!(secrets.get(&names::context_key("shop")).await.unwrap().data, sealed.data);
    }
}

#[tokio::test]
async fn what_nodes_believe_goes_with_the_volumes_and_stays_with_them() {
    let Some(mut stage) = Stage::set("authorities kept").await else { return };
    stage.settle(NOW_S).await;
    let before = stage.secret().await.unwrap();
    let all = || [names::authority("shop"), names::context_key("shop"), names::trust("shop")];
    stage.cluster.spec.storage.reclaim.on_delete = ReclaimPolicy::Delete;
    stage.settle(NOW_S).await;
    for (kind, owners) in stage.owners(all()).await {
        assert_eq!(owners, [stage.cluster.uid().unwrap()], "{kind}");
    }
    stage.cluster.spec.storage.reclaim.on_delete = ReclaimPolicy::Retain;
    stage.settle(NOW_S).await;
    for (kind, owners) in stage.owners(all()).await {
        assert!(owners.is_empty(), "{kind}");
    }
    // The next resource of the name goes on with them.
    stage.cluster.metadata.uid = Some("another".to_owned());
    stage.settle(NOW_S).await;
    assert_eq!(stage.secret().await.unwrap().data, before.data);
}

#[tokio::test]
async fn who_saw_an_old_authority_writes_nothing_and_what_is_somebody_else_s_stays() {
    let Some(stage) = Stage::set("authorities of others").await else { return };
    let early = stage.authority.keep(&stage.cluster).await.unwrap();
    stage.settle(NOW_S).await;
    let (secret, trust) = (stage.secret().await.unwrap(), stage.trust().await.unwrap());
    // An operator that slept since before there was an authority.
    let step = dynamo_planner::certificates::Step::Make;
    let late = stage.authority.step(&stage.cluster, &early, &step, NOW_S).await;
    assert!(matches!(late, Err(AuthorityError::Api { .. })), "{late:?}");
    assert_eq!(stage.secret().await.unwrap().data, secret.data);

    let seen = stage.authority.keep(&stage.cluster).await.unwrap();
    let Ok(Shown::Tls(first)) = stage.authority.credentials(stage.called(), &seen, NOW_S).await else { panic!() };
    let Ok(Shown::Tls(same)) = stage.authority.credentials(stage.called(), &seen, NOW_S + 3600).await else { panic!() };
    let Ok(Shown::Tls(later)) = stage.authority.credentials(stage.called(), &seen, NOW_S + 50_000).await else {
        panic!()
    };
    assert_eq!((first.certificate == same.certificate, first.certificate == later.certificate), (true, false));
    assert!(bundle(&trust).contains(first.trust.trim()));
    assert!(!format!("{first:?}").contains("PRIVATE"));

    let maps: Api<ConfigMap> = stage.api();
    maps.delete(&names::trust("shop"), &DeleteParams::default()).await.unwrap();
    let theirs: ConfigMap = from(json!({ "metadata": { "name": names::trust("shop") }, "data": { "a": "b" } }));
    maps.create(&PostParams::default(), &theirs).await.unwrap();
    match stage.authority.keep(&stage.cluster).await {
        Err(AuthorityError::NotOurs { kind: "ConfigMap", name }) => assert_eq!(name, names::trust("shop")),
        other => panic!("{other:?}"),
    }
    assert_eq!(stage.trust().await.unwrap().data.unwrap()["a"], "b");
}
