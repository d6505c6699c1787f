//! Single writes, each sent once.

use std::{fmt::Debug, time::Duration};

use dynamo_crd::{DynamoCluster, names::FIELD_MANAGER};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::timeout;

use super::failure::{Dropped, Failure, of_kube};
use crate::{
    context::{ClusterId, Context, id_of},
    observe::Seen,
    render::Basis,
};

/// A kind that is written.
pub trait Written:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned
{
}

impl<K> Written for K where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned
{
}

/// Who writes, and by what it saw.
pub struct Hand<'a> {
    pub context: &'a Context,
    pub cluster: &'a DynamoCluster,
    pub seen: &'a Seen,
}

/// Waits so long for a write and no longer: one that is sent late may be a wrong one by then.
pub async fn once<T>(patience: Duration, write: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(patience, write).await.unwrap_or(Err(Failure::Dropped(Dropped::Late)))
}

impl<'a> Hand<'a> {
    pub fn new(context: &'a Context, cluster: &'a DynamoCluster, seen: &'a Seen) -> Hand<'a> {
        Hand { context, cluster, seen }
    }

    pub fn namespace(&self) -> String {
        self.cluster.namespace().unwrap_or_default()
    }

    pub fn cluster_name(&self) -> String {
        self.cluster.name_any()
    }

    pub fn id(&self) -> ClusterId {
        id_of(self.cluster)
    }

    pub fn basis(&self) -> Basis<'a> {
        self.seen.basis(self.cluster, false)
    }

    pub fn api<K: Written>(&self) -> Api<K> {
        Api::namespaced(self.context.client.clone(), &self.namespace())
    }

    pub fn failed(&self, verb: &'static str, resource: &'static str, name: &str, error: kube::Error) -> Failure {
        of_kube(verb, resource, name, &error)
    }

    pub async fn create<K: Written>(&self, resource: &'static str, object: &K) -> Result<(), Failure> {
        let made = self.api::<K>().create(&params(), object).await;
        made.map(drop).map_err(|error| self.failed("create", resource, &object.name_any(), error))
    }

    /// The object has its version in it: another one by now is not replaced.
    pub async fn replace<K: Written>(&self, resource: &'static str, object: &K) -> Result<(), Failure> {
        let name = object.name_any();
        let replaced = self.api::<K>().replace(&name, &params(), object).await;
        replaced.map(drop).map_err(|error| self.failed("update", resource, &name, error))
    }

    pub async fn merge<K: Written>(&self, resource: &'static str, name: &str, patch: Value) -> Result<(), Failure> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patched = self.api::<K>().patch(name, &params, &Patch::Merge(patch)).await;
        patched.map(drop).map_err(|error| self.failed("patch", resource, name, error))
    }

    pub async fn apply<K: Written>(&self, resource: &'static str, object: &K) -> Result<(), Failure> {
        let name = object.name_any();
        let mut whole = serde_json::to_value(object).unwrap_or_default();
        whole["apiVersion"] = K::api_version(&()).into();
        whole["kind"] = K::kind(&()).into();
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let applied = self.api::<K>().patch(&name, &params, &Patch::Apply(whole)).await;
        applied.map(drop).map_err(|error| self.failed("patch", resource, &name, error))
    }

    /// Deletes this life of an object, as long as nobody has written to it since it was seen.
    pub async fn delete<K: Written>(
        &self,
        resource: &'static str,
        name: &str,
        (uid, version): (&str, &str),
        orphan: bool,
    ) -> Result<(), Failure> {
        let policy = if orphan { PropagationPolicy::Orphan } else { PropagationPolicy::Background };
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: Some(version.to_owned()),
                uid: Some(uid.to_owned()),
            }),
            propagation_policy: Some(policy),
            ..DeleteParams::default()
        };
        let deleted = self.api::<K>().delete(name, &params).await;
        deleted.map(drop).map_err(|error| self.failed("delete", resource, name, error))
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}
