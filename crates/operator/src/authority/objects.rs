//! The two objects, read from the API server and written back: each write names the version that it was planned on.

use std::{collections::BTreeMap, sync::Arc};

use dynamo_crd::{DynamoCluster, ReclaimPolicy, names};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Api, Resource, ResourceExt, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    ca::Unusable,
    state::{Data, State, Write},
};
use crate::caches::Cache;

/// What was asked of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `get`, `create`, `update`.
    pub verb: &'static str,
    /// `secrets`, `configmaps` and so on.
    pub resource: &'static str,
    /// Of which namespace.
    pub namespace: String,
    /// Of which object.
    pub name: String,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {} in namespace {}", self.verb, self.resource, self.name, self.namespace)
    }
}

/// Why certificates are not as they should be. Nodes go on with those that they have.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The API server refused, or was not reached.
    #[error("{call}: {source}")]
    Api {
        /// What was asked.
        call: Box<Call>,
        /// What it said.
        source: kube::Error,
    },
    /// Somebody else's object has the name.
    #[error("{kind} {name} is there and belongs to somebody else: rename or delete it, and the operator makes its own")]
    NotOurs {
        /// Of which kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// It can't be used.
    #[error("{0}")]
    Unusable(#[from] Unusable),
    /// The resource itself can't be.
    #[error("the resource has no namespace or no uid: it was not read from an API server")]
    Nameless,
}

/// The caches of the kinds that this room writes.
#[derive(Clone)]
pub struct Watched {
    /// Keys.
    pub secrets: Cache<Secret>,
    /// Whom to trust.
    pub config_maps: Cache<ConfigMap>,
}

/// The objects of one cluster.
pub(super) struct Objects {
    client: kube::Client,
    /// None: everything is read from the API server.
    watched: Option<Watched>,
    pub(super) namespace: String,
    pub(super) cluster: String,
    owner: OwnerReference,
    /// Whether these go with the resource. Where volumes stay, so do they: who takes the volumes up again goes on with the
    /// same authority, and opens the same contexts.
    goes: bool,
}

/// A kind whose data this room writes.
pub(super) trait Kept:
    Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
{
    const RESOURCE: &'static str;
    const KIND: &'static str;
    fn cached(watched: &Watched, namespace: &str, name: &str) -> Option<Arc<Self>>;
    fn data(&self) -> Data;
    fn set(&mut self, data: Data);
    fn empty(metadata: ObjectMeta) -> Self;
}

impl Kept for Secret {
    const RESOURCE: &'static str = "secrets";
    const KIND: &'static str = "Secret";

    fn cached(watched: &Watched, namespace: &str, name: &str) -> Option<Arc<Self>> {
        watched.secrets.get(namespace, name)
    }

    fn data(&self) -> Data {
        let text = |(key, bytes): (&String, &ByteString)| Some((key.clone(), String::from_utf8(bytes.0.clone()).ok()?));
        self.data.iter().flatten().filter_map(text).collect()
    }

    fn set(&mut self, data: Data) {
        self.data = Some(data.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))).collect());
    }

    fn empty(metadata: ObjectMeta) -> Self {
        Secret { metadata, ..Secret::default() }
    }
}

impl Kept for ConfigMap {
    const RESOURCE: &'static str = "configmaps";
    const KIND: &'static str = "ConfigMap";

    fn cached(watched: &Watched, namespace: &str, name: &str) -> Option<Arc<Self>> {
        watched.config_maps.get(namespace, name)
    }

    fn data(&self) -> Data {
        self.data.clone().unwrap_or_default()
    }

    fn set(&mut self, data: Data) {
        self.data = Some(data);
    }

    fn empty(metadata: ObjectMeta) -> Self {
        ConfigMap { metadata, ..ConfigMap::default() }
    }
}

impl Objects {
    pub(super) fn of(client: &kube::Client, cluster: &DynamoCluster) -> Result<Self, AuthorityError> {
        let owner = cluster.controller_owner_ref(&()).ok_or(AuthorityError::Nameless)?;
        let namespace = cluster.namespace().ok_or(AuthorityError::Nameless)?;
        let goes = cluster.spec.storage.reclaim.on_delete == ReclaimPolicy::Delete;
        Ok(Self { client: client.clone(), watched: None, namespace, cluster: cluster.name_any(), owner, goes })
    }

    /// The same, which go by what was last heard where nothing is written by it.
    pub(super) fn watched(self, watched: Option<Watched>) -> Self {
        Self { watched, ..self }
    }

    pub(super) async fn read(&self) -> Result<State, AuthorityError> {
        let secret: Option<Secret> = self.get(&names::authority(&self.cluster)).await?;
        let trust: Option<ConfigMap> = self.get(&names::trust(&self.cluster)).await?;
        let mut state = State::read(
            &secret.as_ref().map(Kept::data).unwrap_or_default(),
            &trust.as_ref().map(Kept::data).unwrap_or_default(),
        );
        state.trust_misowned = trust.as_ref().is_some_and(|trust| self.rightly_owned(trust).is_some());
        state.secret_version = secret.and_then(|secret| secret.resource_version());
        state.trust_version = trust.and_then(|trust| trust.resource_version());
        Ok(state)
    }

    pub(super) async fn write(&self, state: &State, write: Write) -> Result<(), AuthorityError> {
        match write {
            Write::Secret(entries) => {
                self.put::<Secret>(&names::authority(&self.cluster), state.secret_version.as_deref(), entries).await
            }
            Write::Trust(entries) => {
                let entries = entries.into_iter().map(|(key, text)| (key, Some(text))).collect();
                self.put::<ConfigMap>(&names::trust(&self.cluster), state.trust_version.as_deref(), entries).await
            }
        }
    }

    /// As it was last heard, or from the API server itself where it is not known to be there: somebody else's may have the name, and
    /// one that has lost its label is not watched. What was heard may be old, so each write names the version that it was planned on.
    pub(super) async fn get<K: Kept>(&self, name: &str) -> Result<Option<K>, AuthorityError> {
        let heard = self.watched.as_ref().and_then(|watched| K::cached(watched, &self.namespace, name));
        match heard.filter(|heard| self.owns(&**heard)) {
            Some(heard) => Ok(Some(Arc::unwrap_or_clone(heard))),
            None => self.read_one(name).await,
        }
    }

    async fn read_one<K: Kept>(&self, name: &str) -> Result<Option<K>, AuthorityError> {
        let found = self.api::<K>().get_opt(name).await.map_err(|error| self.refused::<K>("get", name, error))?;
        match found {
            Some(found) if !self.owns(&found) => Err(AuthorityError::NotOurs { kind: K::KIND, name: name.to_owned() }),
            found => Ok(found),
        }
    }

    /// Creates it where nobody had one when it was read, and changes these entries of it otherwise.
    pub(super) async fn put<K: Kept>(
        &self,
        name: &str,
        version: Option<&str>,
        entries: BTreeMap<String, Option<String>>,
    ) -> Result<(), AuthorityError> {
        let Some(version) = version else {
            let mut object = K::empty(self.metadata(name));
            object.set(entries.into_iter().filter_map(|(key, text)| Some((key, text?))).collect());
            let created = self.api::<K>().create(&params(), &object).await;
            return created.map(drop).map_err(|error| self.refused::<K>("create", name, error));
        };
        let Some(mut object) = self.read_one::<K>(name).await? else { return Ok(()) };
        object.meta_mut().resource_version = Some(version.to_owned());
        if let Some(owners) = self.rightly_owned(&object) {
            object.meta_mut().owner_references = Some(owners);
        }
        let mut data = object.data();
        for (key, text) in entries {
            match text {
                Some(text) => drop(data.insert(key, text)),
                None => drop(data.remove(&key)),
            }
        }
        object.set(data);
        let replaced = self.api::<K>().replace(name, &params(), &object).await;
        replaced.map(drop).map_err(|error| self.refused::<K>("update", name, error))
    }

    pub(super) async fn own_trust(&self) -> Result<bool, AuthorityError> {
        match self.get::<ConfigMap>(&names::trust(&self.cluster)).await? {
            Some(trust) => self.own(&trust).await,
            None => Ok(false),
        }
    }

    /// Sets right with whom an object goes. Whether it was to be.
    pub(super) async fn own<K: Kept>(&self, found: &K) -> Result<bool, AuthorityError> {
        let Some(owners) = self.rightly_owned(found) else { return Ok(false) };
        let mut object = found.clone();
        object.meta_mut().owner_references = Some(owners);
        let name = object.name_any();
        let replaced = self.api::<K>().replace(&name, &params(), &object).await;
        replaced.map(|_| true).map_err(|error| self.refused::<K>("update", &name, error))
    }

    pub(super) fn is_rightly_owned(&self, object: &impl Resource) -> bool {
        self.rightly_owned(object).is_none()
    }

    /// This cluster's: by its owner, or by its label where it was kept for whoever comes next. A cluster that is made anew under the
    /// name takes nothing up that the former one owns, since the garbage collector is about to delete it.
    fn owns(&self, object: &impl Resource) -> bool {
        let owners = object.owner_references();
        let kept = owners.is_empty() && object.labels().get(names::LABEL_CLUSTER) == Some(&self.cluster);
        kept || owners.iter().any(|owner| owner.uid == self.owner.uid)
    }

    /// Whose it should be; None: it is.
    fn rightly_owned(&self, object: &impl Resource) -> Option<Vec<OwnerReference>> {
        let is_mine = |owner: &&OwnerReference| owner.uid == self.owner.uid;
        let (mine, others): (Vec<_>, Vec<_>) = object.owner_references().iter().partition(is_mine);
        let owner = self.goes.then(|| self.owner.clone());
        (mine.is_empty() == self.goes).then(|| others.into_iter().cloned().chain(owner).collect())
    }

    fn metadata(&self, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.clone()),
            labels: Some(names::labels(&self.cluster)),
            owner_references: self.goes.then(|| vec![self.owner.clone()]),
            ..ObjectMeta::default()
        }
    }

    fn api<K: Kept>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn refused<K: Kept>(&self, verb: &'static str, name: &str, source: kube::Error) -> AuthorityError {
        let call = Call { verb, resource: K::RESOURCE, namespace: self.namespace.clone(), name: name.to_owned() };
        AuthorityError::Api { call: Box::new(call), source }
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() }
}
