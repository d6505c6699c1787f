//! Claims on volumes.

use dynamo_crd::names;
use dynamo_planner::{Mark, PodId};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::json;

use super::{failure::Failure, hand::Hand};
use crate::{observe::ANNOTATION_LEFT, render};

const CLAIMS: &str = "persistentvolumeclaims";

fn claim_of(pod: &PodId) -> String {
    names::volume_claim(&pod.to_string())
}

impl Hand<'_> {
    pub async fn mark_claim(&self, pod: &PodId, version: &str, mark: Option<Mark>) -> Result<(), Failure> {
        let mark = mark.map(|mark| mark.to_string());
        let patch = json!({"metadata": {"resourceVersion": version, "annotations": {ANNOTATION_LEFT: mark}}});
        self.merge::<PersistentVolumeClaim>(CLAIMS, &claim_of(pod), patch).await
    }

    /// As the resource spells it: nothing is rounded.
    pub async fn grow_claim(&self, pod: &PodId, version: &str, bytes: u64) -> Result<(), Failure> {
        let resources = json!({"requests": {"storage": render::size(self.cluster, bytes)}});
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"resources": resources}});
        self.merge::<PersistentVolumeClaim>(CLAIMS, &claim_of(pod), patch).await
    }

    pub async fn delete_claim(&self, pod: &PodId, uid: &str, version: &str) -> Result<(), Failure> {
        self.delete::<PersistentVolumeClaim>(CLAIMS, &claim_of(pod), (uid, version), false).await
    }
}
