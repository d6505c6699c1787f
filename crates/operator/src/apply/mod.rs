//! Objects that need no decision, written only where what there is differs from what is to be.
//!
//! Server-side apply with one field manager: what others set beside is left, what they changed of ours is changed back, and what is
//! rendered no longer is taken out. What is not wanted any more is deleted, if this operator made it for this very
//! resource. An object of somebody else's that has the name is left as it is, and told.

mod claims;
mod configs;
mod contained;
mod kinds;
mod left;
#[cfg(test)]
mod real;

use std::collections::BTreeSet;

use dynamo_crd::names;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};

use crate::{
    act::right_that_lacks,
    render::{Basis, Kind, Rendered, objects},
};

pub use configs::mounted_by;
pub use contained::{contained, difference};
pub use kinds::Call;

/// The annotation that says what was applied last, as a hash: a field that is rendered no longer is noticed by it, and what does not
/// have it was not made here and is never deleted.
pub const APPLIED: &str = "dynamo-k8s.io/applied";

/// What there is, by caches that may be old.
pub trait Live {
    /// The object of this name, if it is known to belong to a cluster.
    fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value>;
    /// All objects that are labelled as this cluster's.
    fn of(&self, kind: Kind, namespace: &str, cluster: &str) -> Vec<Value>;
    /// The ConfigMaps that its StatefulSets and pods mount.
    fn mounted(&self, namespace: &str, cluster: &str) -> BTreeSet<String>;
    /// Its pods' claims.
    fn claims(&self, namespace: &str, cluster: &str) -> Vec<PersistentVolumeClaim>;
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changed {
    /// What was applied.
    pub applied: Vec<Call>,
    /// What was deleted.
    pub deleted: Vec<Call>,
}

impl Changed {
    /// Nothing was.
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.deleted.is_empty()
    }
}

/// Why an object is not as it is to be. The others are.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused, or was not reached.
    #[error("{call}: {source}")]
    Api {
        /// What was asked.
        call: Call,
        /// What it said.
        source: kube::Error,
    },
    /// The operator lacks a right.
    #[error("{0}: the object was left as it is; give the operator's ServiceAccount that right")]
    Forbidden(String),
    /// Somebody else's object has the name.
    #[error(
        "{resource} {name} is there and is not this cluster's: it was left as it is; rename or delete it, and the operator makes \
         its own (one of a cluster of this name that was deleted goes by itself)"
    )]
    NotOurs {
        /// Of which kind, in plural.
        resource: &'static str,
        /// Its name.
        name: String,
    },
}

impl ApplyError {
    fn of(call: Call, source: kube::Error) -> ApplyError {
        match right_that_lacks(&source) {
            Some(right) => ApplyError::Forbidden(right.to_owned()),
            None => ApplyError::Api { call, source },
        }
    }

    /// In one CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            ApplyError::Forbidden(_) => "Forbidden",
            ApplyError::Api { .. } | ApplyError::NotOurs { .. } => "NotApplied",
        }
    }
}

/// Sees to all objects of a cluster that need no decision.
///
/// # Errors
/// The first of those that could not be seen to; the others were, all the same.
pub async fn beside(client: &Client, live: &impl Live, basis: &Basis<'_>) -> Result<Changed, ApplyError> {
    let mut work = Work { client, basis, changed: Changed::default(), failed: None };
    let wanted = objects(basis);
    for rendered in &wanted {
        let done = work.see_to(rendered, live).await;
        work.note(done);
    }
    for kind in Kind::ALL {
        let names: BTreeSet<&str> =
            wanted.iter().filter(|rendered| rendered.kind == kind).map(|rendered| rendered.name.as_str()).collect();
        let done = work.prune(kind, &names, live).await;
        work.note(done);
    }
    let done = work.own_claims(live).await;
    work.note(done);
    match work.failed {
        Some(error) => Err(error),
        None => Ok(work.changed),
    }
}

struct Work<'a> {
    client: &'a Client,
    basis: &'a Basis<'a>,
    changed: Changed,
    failed: Option<ApplyError>,
}

impl Work<'_> {
    fn note(&mut self, done: Result<(), ApplyError>) {
        let Err(error) = done else { return };
        tracing::warn!(cluster = self.cluster(), namespace = self.namespace(), %error, "an object is not as it is to be");
        self.failed.get_or_insert(error);
    }

    fn namespace(&self) -> String {
        self.basis.cluster.namespace().unwrap_or_default()
    }

    fn cluster(&self) -> String {
        self.basis.cluster.name_any()
    }

    fn uid(&self) -> String {
        self.basis.cluster.uid().unwrap_or_default()
    }

    async fn see_to(&mut self, rendered: &Rendered, live: &impl Live) -> Result<(), ApplyError> {
        let seen = live.get(rendered.kind, &self.namespace(), &rendered.name);
        // What the caches do not have may be somebody else's, or there since a moment.
        let found = match seen {
            Some(found) => Some(found),
            None => self.read(rendered.kind, &rendered.name).await?,
        };
        let Some(found) = found else { return self.apply(rendered, None).await };
        let Some(uid) = self.ours(&found) else {
            // The next look finds it to be this cluster's, and sets right what else is another.
            if self.take_up(rendered.kind, &rendered.name, &found).await? {
                return Ok(());
            }
            return Err(ApplyError::NotOurs { resource: rendered.kind.plural(), name: rendered.name.clone() });
        };
        let Some(differs) = self.difference(rendered, &found) else { return Ok(()) };
        let (cluster, namespace, resource) = (self.cluster(), self.namespace(), rendered.kind.plural());
        tracing::info!(cluster, namespace, resource, name = rendered.name, differs, "applying it anew");
        self.apply(rendered, Some(uid)).await
    }

    /// An object's uid, if it belongs to this very resource.
    fn ours(&self, found: &Value) -> Option<String> {
        let owners = found["metadata"]["ownerReferences"].as_array()?;
        let owned = owners.iter().any(|owner| owner["uid"] == self.uid() && owner["controller"] == true);
        owned.then(|| found["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
    }

    fn difference(&self, rendered: &Rendered, found: &Value) -> Option<String> {
        if found["immutable"] == true {
            // It is as the operator rendered it that made it, and stays so.
            return None;
        }
        difference(rendered.kind, &stamped(rendered), found)
    }

    /// Where there is none yet nothing is forced: who has made one since it was looked for keeps it.
    async fn apply(&mut self, rendered: &Rendered, uid: Option<String>) -> Result<(), ApplyError> {
        let mut object = stamped(rendered);
        let mut params = PatchParams::apply(names::FIELD_MANAGER);
        if let Some(uid) = uid {
            object["metadata"]["uid"] = json!(uid);
            params = params.force();
        }
        let call = self.call("patch", rendered.kind, &rendered.name);
        let done = self.api(rendered.kind).patch(&rendered.name, &params, &Patch::Apply(&object)).await;
        done.map_err(|source| ApplyError::of(call.clone(), source))?;
        self.changed.applied.push(call);
        Ok(())
    }

    async fn read(&self, kind: Kind, name: &str) -> Result<Option<Value>, ApplyError> {
        let found = self.api(kind).get_opt(name).await;
        let found = found.map_err(|source| ApplyError::of(self.call("get", kind, name), source))?;
        Ok(found.map(|object| serde_json::to_value(object).expect("what was read can be written")))
    }

    /// Deletes what this operator made for this resource and is not wanted any more.
    async fn prune(&mut self, kind: Kind, wanted: &BTreeSet<&str>, live: &impl Live) -> Result<(), ApplyError> {
        let mut spare = Vec::new();
        for found in self.all(kind, live).await? {
            let name = found["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let made_here = found["metadata"]["annotations"].get(APPLIED).is_some();
            let going = !found["metadata"]["deletionTimestamp"].is_null();
            let Some(uid) = self.ours(&found) else {
                if made_here && !wanted.contains(name.as_str()) {
                    self.take_up(kind, &name, &found).await?;
                }
                continue;
            };
            if made_here && !going && !wanted.contains(name.as_str()) {
                spare.push((name, uid));
            }
        }
        if kind == Kind::ConfigMap {
            self.keep_what_is_referred_to(&mut spare, live).await?;
        }
        for (name, uid) in spare {
            self.delete(kind, &name, uid).await?;
        }
        Ok(())
    }

    async fn all(&self, kind: Kind, live: &impl Live) -> Result<Vec<Value>, ApplyError> {
        match kind {
            // It is not watched: there are few of them, and where it is not served there is nothing to watch.
            Kind::ServiceMonitor if self.basis.service_monitors => {
                Ok(self.read(kind, &self.cluster()).await?.into_iter().collect())
            }
            Kind::ServiceMonitor => Ok(Vec::new()),
            _ => Ok(live.of(kind, &self.namespace(), &self.cluster())),
        }
    }

    async fn delete(&mut self, kind: Kind, name: &str, uid: String) -> Result<(), ApplyError> {
        let params = DeleteParams::default().preconditions(Preconditions { uid: Some(uid), resource_version: None });
        let call = self.call("delete", kind, name);
        match self.api(kind).delete(name, &params).await {
            Ok(_) => self.changed.deleted.push(call),
            // It is gone, or another by now.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
            Err(source) => return Err(ApplyError::of(call, source)),
        }
        Ok(())
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace(), &kind.resource())
    }

    fn call(&self, verb: &'static str, kind: Kind, name: &str) -> Call {
        Call { verb, resource: kind.plural(), namespace: self.namespace(), name: name.to_owned() }
    }
}

/// What is applied: what was rendered, and its hash.
fn stamped(rendered: &Rendered) -> Value {
    let mut object = rendered.object.clone();
    let hash = kinds::hash(&object);
    let metadata = &mut object["metadata"];
    if metadata["annotations"].is_null() {
        metadata["annotations"] = json!({});
    }
    metadata["annotations"][APPLIED] = json!(hash);
    object
}
