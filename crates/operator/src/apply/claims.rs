//! Whether claims go with the resource: they do if they have it as their owner, and garbage collection then deletes them, whether an
//! operator is there or not.

use dynamo_crd::{ReclaimPolicy, names};
use k8s_openapi::{api::core::v1::PersistentVolumeClaim, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{ApplyError, Call, Live, Work};
use crate::render::owner;

impl Work<'_> {
    pub(super) async fn own_claims(&mut self, live: &impl Live) -> Result<(), ApplyError> {
        let policy = self.basis.cluster.spec.storage.reclaim.on_delete;
        let mut owner = owner(self.basis.cluster);
        // Its pods come and go with their StatefulSet; no controller of claims is meant.
        owner.controller = None;
        for claim in live.claims(&self.namespace(), &self.cluster()) {
            let owned = claim.owner_references().iter().any(|of| of.uid == owner.uid);
            if owned == (policy == ReclaimPolicy::Delete) || claim.metadata.deletion_timestamp.is_some() {
                continue;
            }
            self.set_owners(&claim, &owner, !owned).await?;
        }
        Ok(())
    }

    /// Whoever else owns it stays; the version that was seen is a precondition.
    async fn set_owners(
        &mut self,
        claim: &PersistentVolumeClaim,
        owner: &OwnerReference,
        owned: bool,
    ) -> Result<(), ApplyError> {
        let name = claim.name_any();
        let others = claim.owner_references().iter().filter(|of| of.uid != owner.uid);
        let owners: Vec<_> = others.chain(owned.then_some(owner)).collect();
        let patch = json!({"metadata": {"resourceVersion": claim.resource_version(), "ownerReferences": owners}});
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &self.namespace());
        let (resource, namespace) = ("persistentvolumeclaims", self.namespace());
        let call = Call { verb: "patch", resource, namespace, name: name.clone() };
        let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let done = claims.patch(&name, &params, &Patch::Merge(&patch)).await;
        done.map_err(|source| ApplyError::of(call.clone(), source))?;
        self.changed.applied.push(call);
        Ok(())
    }
}
