//! What nodes have mounted comes to them when their kubelet next looks, a minute or two later, or at once when somebody writes to
//! their pod. A rotation waits for that three times, so the pods are written to.

use dynamo_planner::{NodeView, PodId, certificates::Authorities};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

use super::{
    PATIENCE,
    failure::{ActError, Failure},
    hand::{Hand, once},
};

/// The annotation of a pod that has the version of the bundle which its kubelet was last called for.
pub const ANNOTATION_TRUST: &str = "dynamo-k8s.io/trust";

impl Hand<'_> {
    /// Writes to the pods of nodes that have not loaded what there is: how many. Each once for each version of it, so one whose kubelet
    /// is away is not written to again and again.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn hasten(&self, behind: &[PodId]) -> Result<usize, ActError> {
        let Some(version) = self.seen.authority.trust_version() else { return Ok(0) };
        if self.cluster.spec.maintenance.plan_only {
            return Ok(0);
        }
        let mut written = 0;
        for pod in behind {
            let Some(live) = self.seen.objects.pods.get(pod) else { continue };
            if live.annotations().get(ANNOTATION_TRUST).map(String::as_str) == Some(version) {
                continue;
            }
            // Its uid: another of this name has begun with what there is.
            let patch = json!({"metadata": {"uid": live.uid(), "annotations": {ANNOTATION_TRUST: version}}});
            match once(PATIENCE, self.merge::<Pod>("pods", &pod.to_string(), patch)).await {
                Ok(()) => written += 1,
                Err(Failure::Dropped(dropped)) => tracing::debug!(%pod, %dropped, "its kubelet was not called"),
                Err(Failure::Error(error)) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Whose nodes have not loaded what there is. Where no node answers, perhaps none trusts what the operator shows by now: all that
    /// run.
    pub fn behind(&self) -> Vec<PodId> {
        let observed = &self.seen.observed;
        let Some(authorities) = &observed.authorities else { return Vec::new() };
        let Some(ring) = &observed.ring else {
            return observed.pods.iter().filter(|(_, view)| view.ready).map(|(pod, _)| pod.clone()).collect();
        };
        let nodes = ring.nodes.iter().filter(|(_, node)| node.up && is_behind(node, authorities));
        nodes.map(|(pod, _)| pod.clone()).collect()
    }
}

fn is_behind(node: &NodeView, authorities: &Authorities) -> bool {
    node.trusts != authorities.trusted || node.signed_by != authorities.signing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_behind_that_trusts_or_shows_another() {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let authorities =
            Authorities { trusted: set(&["a", "b"]), signing: Some("b".to_owned()), ..Authorities::default() };
        let node = |trusts: &[&str], shows: &str| NodeView {
            trusts: set(trusts),
            signed_by: Some(shows.to_owned()),
            ..NodeView::default()
        };
        assert!(!is_behind(&node(&["a", "b"], "b"), &authorities));
        assert!(is_behind(&node(&["a"], "a"), &authorities), "it does not trust the new one");
        assert!(is_behind(&node(&["a", "b"], "a"), &authorities), "it has not asked the new one");
        let alone = Authorities { trusted: set(&["b"]), ..authorities };
        assert!(is_behind(&node(&["a", "b"], "b"), &alone), "it still trusts the former one");
    }
}
