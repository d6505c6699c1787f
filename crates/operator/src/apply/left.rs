//! What a resource of this name has left behind: deleted with `--cascade=orphan` it leaves its objects to nobody, or, where the
//! garbage collector has not come to them, to a uid that is no more. The resource that is made again takes them up.
//!
//! What is somebody else's stays so: what another kind of controller owns, what lacks the labels or was not made by an operator, and
//! what a resource owns that is there.

use dynamo_crd::{DynamoCluster, GROUP, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{APPLIED, ApplyError, Work};
use crate::render::{Kind, owner};

impl Work<'_> {
    /// Takes an object up that was left. Whether it was.
    pub(super) async fn take_up(&mut self, kind: Kind, name: &str, found: &Value) -> Result<bool, ApplyError> {
        if !was_left(found, self.basis.cluster) || !self.is_the_resource().await? {
            return Ok(false);
        }
        let owners = owners(found).into_iter().filter(|one| one.controller != Some(true));
        let owners: Vec<OwnerReference> = owners.chain([owner(self.basis.cluster)]).collect();
        let (uid, version) = (&found["metadata"]["uid"], &found["metadata"]["resourceVersion"]);
        let patch = json!({"metadata": {"uid": uid, "resourceVersion": version, "ownerReferences": owners}});
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let call = self.call("patch", kind, name);
        let api: Api<DynamicObject> = self.api(kind);
        let done = api.patch(name, &params, &Patch::Merge(&patch)).await;
        done.map_err(|source| ApplyError::of(call.clone(), source))?;
        tracing::info!(cluster = self.cluster(), namespace = self.namespace(), %call, "it was left by an earlier resource of this name, and is taken up");
        self.changed.applied.push(call);
        Ok(true)
    }

    /// That this very resource is there, by the API server's own word: then no other of its name is. One that is gone itself would
    /// give its objects to the garbage collector.
    async fn is_the_resource(&self) -> Result<bool, ApplyError> {
        let clusters: Api<DynamoCluster> = Api::namespaced(self.client.clone(), &self.namespace());
        let found = clusters.get_opt(&self.cluster()).await;
        let call = || super::Call {
            verb: "get",
            resource: "dynamoclusters",
            namespace: self.namespace(),
            name: self.cluster(),
        };
        let found = found.map_err(|source| ApplyError::of(call(), source))?;
        Ok(found.is_some_and(|found| found.uid() == self.basis.cluster.uid()))
    }
}

/// Whether an operator made it for a resource of this name, and nobody else owns it now.
fn was_left(found: &Value, cluster: &DynamoCluster) -> bool {
    let metadata = &found["metadata"];
    let labelled = names::labels(&cluster.name_any()).iter().all(|(key, value)| metadata["labels"][key] == **value);
    let made_here = !metadata["annotations"][APPLIED].is_null() && metadata["deletionTimestamp"].is_null();
    let of_the_name = |one: &OwnerReference| {
        one.kind == "DynamoCluster"
            && one.api_version.starts_with(&format!("{GROUP}/"))
            && one.name == cluster.name_any()
            && Some(&one.uid) != cluster.uid().as_ref()
    };
    let mut controllers = owners(found).into_iter().filter(|one| one.controller == Some(true));
    labelled && made_here && controllers.all(|one| of_the_name(&one))
}

fn owners(found: &Value) -> Vec<OwnerReference> {
    serde_json::from_value(found["metadata"]["ownerReferences"].clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::samples::Sample;

    #[test]
    fn only_what_nobody_owns_any_more_was_left() {
        let sample = Sample::of(json!({}));
        let cluster = &sample.cluster;
        let object = |owners: Value| {
            json!({"metadata": {"labels": names::labels(&cluster.name_any()), "annotations": {APPLIED: "x"},
                "ownerReferences": owners}})
        };
        let by = |kind: &str, name: &str, uid: &str| json!([{"apiVersion": "dynamo-k8s.io/v1alpha1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
        let name = cluster.name_any();
        assert!(was_left(&object(Value::Null), cluster));
        assert!(was_left(&object(by("DynamoCluster", &name, "gone")), cluster));
        let mine = cluster.uid().unwrap();
        for owners in
            [by("DynamoCluster", &name, &mine), by("DynamoCluster", "other", "gone"), by("ReplicaSet", &name, "x")]
        {
            assert!(!was_left(&object(owners.clone()), cluster), "{owners}");
        }
        let mut theirs = object(Value::Null);
        theirs["metadata"]["labels"][names::LABEL_CLUSTER] = json!("other");
        assert!(!was_left(&theirs, cluster));
        let mut by_hand = object(Value::Null);
        by_hand["metadata"]["annotations"] = Value::Null;
        assert!(!was_left(&by_hand, cluster));
    }
}
