//! A cluster whose nodes show certificates of the operator's authority, and take nobody else's.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use dynamo_crd::{DynamoCluster, status::ConditionKind};
use dynamo_operator::authority::{SIGNING_KEY, TRUST_KEY};
use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;

use crate::support::{OPERATOR, World, patient, plane::SPEED, tls::Loaded};

impl World {
    /// Three nodes that show certificates, and nothing to be done.
    async fn secure(&self) -> DynamoCluster {
        self.create(3, json!({"tls": {"mode": "OperatorCA"}})).await;
        self.settles_at(3).await;
        patient("one authority has signed for all", async || self.signer().await.is_some()).await;
        self.resource().await
    }

    fn loaded(&self) -> BTreeMap<String, Loaded> {
        self.cluster.tls.as_ref().expect("it was started with certificates").all()
    }

    /// Who signs, once nobody trusts and shows anybody else.
    async fn signer(&self) -> Option<String> {
        let secret = self.api::<Secret>().get_opt("c-ca").await.unwrap()?;
        let signing = String::from_utf8(secret.data?.remove(SIGNING_KEY)?.0).unwrap();
        let is_alone = |node: &Loaded| node.trusts == [signing.clone()] && node.signed_by.as_ref() == Some(&signing);
        let loaded = self.loaded();
        (loaded.len() == 3 && loaded.values().all(is_alone)).then_some(signing)
    }

    /// Each node takes what each other shows.
    fn nobody_is_cut_off(&self) {
        let loaded = self.loaded();
        for (node, shown) in loaded.iter().filter_map(|(node, has)| Some((node, has.signed_by.as_ref()?))) {
            for (other, has) in &loaded {
                assert!(has.trusts.contains(shown), "{other} refuses {node}: {loaded:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_cluster_with_certificates_is_not_written_to_for_ten_minutes() {
    let Some(world) = World::secured("ten minutes").await else { return };
    let _operator = world.operator().await;
    world.secure().await;
    world.rests().await;
    let (mark, asked) = (world.plane.mark(), world.cluster.asked.load(Ordering::Relaxed));
    // Of its own clock.
    tokio::time::sleep(Duration::from_secs(600) / SPEED).await;
    let written = world.plane.writes_since(mark).of(OPERATOR);
    assert!(written.is_empty(), "a settled cluster was written to:\n{written}");
    let looks = world.cluster.asked.load(Ordering::Relaxed) - asked;
    assert!(looks >= 5, "it was looked at {looks} times: at least each minute is due");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_deleted_are_followed_by_others_and_no_node_is_cut_off() {
    let Some(world) = World::secured("keys that are deleted").await else { return };
    let _operator = world.operator().await;
    world.secure().await;
    let first = world.signer().await.unwrap();
    let pods: Vec<_> = world.pods().await.iter().map(ResourceExt::uid).collect();
    let sealed = world.api::<Secret>().get("c-secret").await.unwrap().data;

    world.api::<Secret>().delete("c-ca", &DeleteParams::default()).await.unwrap();
    let mut bundles = Vec::new();
    patient("another authority has signed for all", async || {
        world.nobody_is_cut_off();
        let trust = world.config_map("c-trust").await.and_then(|map| map.data).unwrap_or_default();
        let trusted = trust.get(TRUST_KEY).map_or(0, |bundle| bundle.matches("BEGIN CERTIFICATE").count());
        if bundles.last() != Some(&trusted) {
            bundles.push(trusted);
        }
        world.signer().await.is_some_and(|signer| signer != first)
    })
    .await;
    world.nobody_is_cut_off();
    assert_eq!(bundles, [1, 2, 1], "both are trusted in between");
    world.settles_at(3).await;
    let keys = world.api::<Secret>().get("c-ca").await.unwrap().data.unwrap();
    assert_eq!(keys.keys().filter(|name| name.ends_with(".key")).count(), 1, "{:?}", keys.keys());
    assert_eq!(world.pods().await.iter().map(ResourceExt::uid).collect::<Vec<_>>(), pods, "no pod restarted by it");
    assert_eq!(
        world.api::<Secret>().get("c-secret").await.unwrap().data,
        sealed,
        "contexts are sealed by the same key"
    );
    let condition = world.condition(ConditionKind::Available).await;
    assert!(condition.is_some_and(|(holds, ..)| holds));
}
