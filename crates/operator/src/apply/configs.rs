//! ConfigMaps of former templates: each stays as long as a pod may come back that reads it.

use std::collections::BTreeSet;

use dynamo_crd::names;
use k8s_openapi::api::{apps::v1::ControllerRevision, core::v1::PodSpec};
use kube::{Api, api::ListParams};
use serde_json::Value;

use super::{ApplyError, Call, Live, Work};

impl Work<'_> {
    /// Takes those out that a StatefulSet, one of its revisions or a pod refers to. Revisions are read from the API server, where there
    /// is anything to delete at all.
    pub(super) async fn keep_what_is_referred_to(
        &self,
        spare: &mut Vec<(String, String)>,
        live: &impl Live,
    ) -> Result<(), ApplyError> {
        let mounted = live.mounted(&self.namespace(), &self.cluster());
        spare.retain(|(name, _)| !mounted.contains(name));
        if spare.is_empty() {
            return Ok(());
        }
        let revisions: Api<ControllerRevision> = Api::namespaced(self.client.clone(), &self.namespace());
        let selector = format!("{}={}", names::LABEL_CLUSTER, self.cluster());
        let found = revisions.list(&ListParams::default().labels(&selector)).await;
        let found = found.map_err(|source| {
            let (resource, namespace) = ("controllerrevisions", self.namespace());
            ApplyError::of(Call { verb: "list", resource, namespace, name: String::new() }, source)
        })?;
        let data = found.items.iter().filter_map(|revision| Some(&revision.data.as_ref()?.0));
        let mounted: BTreeSet<String> = data.flat_map(mounted_by_revision).collect();
        spare.retain(|(name, _)| !mounted.contains(name));
        Ok(())
    }
}

/// The ConfigMaps that a pod of this kind mounts.
pub fn mounted_by(pod: &PodSpec) -> impl Iterator<Item = String> {
    let volumes = pod.volumes.iter().flatten();
    volumes.filter_map(|volume| Some(volume.config_map.as_ref()?.name.clone()))
}

/// The same of a revision, which is a patch of a StatefulSet.
fn mounted_by_revision(data: &Value) -> Vec<String> {
    let volumes = data["spec"]["template"]["spec"]["volumes"].as_array();
    let name = |volume: &Value| Some(volume["configMap"]["name"].as_str()?.to_owned());
    volumes.into_iter().flatten().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_revision_says_what_its_pods_mount() {
        let data = json!({"spec": {"template": {"spec": {"volumes": [
            {"name": "config", "configMap": {"name": "shop-config-1"}},
            {"name": "signer", "projected": {}},
        ], "$patch": "replace"}}}});
        assert_eq!(mounted_by_revision(&data), ["shop-config-1"]);
        assert!(mounted_by_revision(&json!({})).is_empty());
    }
}
