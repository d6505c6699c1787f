//! Certificates of a cluster: its authority, who signs, and what the operator itself shows.
//!
//! An authority for each cluster: its keys are in the Secret `<cluster>-ca`, which no pod mounts, with the name of the one
//! that signs; the certificates that are trusted are in the ConfigMap `<cluster>-trust`, the one that signs first. The
//! planner says which step of a rotation is next ([`dynamo_planner::certificates`]); each is one write, refused when the
//! object has changed since it was read. Nothing is remembered.
//!
//! Where things are: `state` what the two objects say, and what a step makes of them: pure; `ca` keys and certificates;
//! `names` whom a certificate speaks for; `requester` which pod a token is of; [`signer`] the endpoint where nodes have
//! theirs signed; `serving` the certificate of that endpoint; `credentials` what the operator shows to nodes.

mod ca;
mod context_key;
mod credentials;
mod limits;
mod names;
mod objects;
mod requester;
mod serving;
pub mod signer;
mod state;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use dynamo_crd::{DynamoCluster, TlsMode};
use dynamo_planner::certificates::{Authorities, Step};
use kube::ResourceExt;

pub use ca::Unusable;
pub use credentials::Credentials;
pub use names::any_node;
pub use objects::{AuthorityError, Call, Watched};
pub use requester::AUDIENCE;
pub use serving::{Serving, wall_s};
pub use state::{CONTEXT_KEY, SIGNER_KEY, SIGNING_KEY, State, TRUST_KEY};

/// Tends the authorities of all clusters.
pub struct Authority {
    client: kube::Client,
    serving: Arc<Serving>,
    /// What is looked at; None: the API server itself.
    watched: Option<Watched>,
    /// By the cluster's uid.
    shown: Mutex<BTreeMap<String, Arc<Credentials>>>,
}

/// What was seen of a cluster's authorities, to be given to [`Authority::step`].
#[derive(Debug, Clone)]
pub struct Seen {
    /// None: certificates are somebody else's, or there are none.
    state: Option<State>,
}

impl Seen {
    /// The version of the ConfigMap that says whom to trust, where it is the operator's.
    pub fn trust_version(&self) -> Option<&str> {
        self.state.as_ref()?.trust_version.as_deref()
    }
}

/// What the operator shows to nodes.
#[derive(Debug, Clone)]
pub enum Shown {
    /// Nothing: they speak plaintext.
    Plaintext,
    /// There is nothing yet that they would take: no authority signs, or the cluster is not founded.
    NotYet,
    /// This.
    Tls(Arc<Credentials>),
}

impl Authority {
    /// With the certificate of the signer, which all clusters' bundles are told.
    pub fn new(client: kube::Client, serving: Arc<Serving>) -> Self {
        Self { client, serving, watched: None, shown: Mutex::default() }
    }

    /// The same, which looks at these caches. What is to be written is planned on what the API server says.
    pub fn watching(self, watched: Watched) -> Self {
        Self { watched: Some(watched), ..self }
    }

    /// Reads what there is; writes nothing.
    ///
    /// # Errors
    /// The API server refuses, or somebody else owns an object of this name.
    pub async fn look(&self, cluster: &DynamoCluster) -> Result<Seen, AuthorityError> {
        if cluster.spec.tls.mode != TlsMode::OperatorCA {
            return Ok(Seen { state: None });
        }
        let state = objects::Objects::of(&self.client, cluster)?.watched(self.watched.clone()).read().await?;
        Ok(Seen { state: Some(state) })
    }

    /// Restores what was deleted or edited by hand, and brings the key that seals contexts into being. Whether anything of the
    /// authority was written: then it is to be looked at again.
    ///
    /// # Errors
    /// The API server refuses, or somebody else owns an object of this name.
    pub async fn mend(&self, cluster: &DynamoCluster, seen: &Seen) -> Result<bool, AuthorityError> {
        let objects = objects::Objects::of(&self.client, cluster)?;
        let heard = objects::Objects::of(&self.client, cluster)?.watched(self.watched.clone());
        if !context_key::is_kept(&heard).await? && context_key::keep(&objects).await? {
            return Ok(true);
        }
        let Some(state) = &seen.state else { return Ok(false) };
        let bundle = self.serving.bundle();
        if !state.trust_misowned && state.tidy(&bundle).is_none() {
            return Ok(false);
        }
        // What was seen may be old: what is to be mended is seen once more.
        let state = objects.read().await?;
        if state.trust_misowned && objects.own_trust().await? {
            return Ok(true);
        }
        let Some(write) = state.tidy(&bundle) else { return Ok(false) };
        objects.write(&state, write).await?;
        Ok(true)
    }

    /// Both, until nothing is to be mended any more.
    ///
    /// # Errors
    /// As they have.
    pub async fn keep(&self, cluster: &DynamoCluster) -> Result<Seen, AuthorityError> {
        loop {
            let seen = self.look(cluster).await?;
            if !self.mend(cluster, &seen).await? {
                return Ok(seen);
            }
        }
    }

    /// What the planner is to know of it.
    pub fn observed(&self, cluster: &DynamoCluster, seen: &Seen, wall_s: u64) -> Option<Authorities> {
        seen.state.as_ref().map(|state| state.observed(cluster, wall_s))
    }

    /// Takes a step that the planner asks for.
    ///
    /// # Errors
    /// The API server refuses, or the objects have changed since they were seen: to be tried again from the start.
    pub async fn step(
        &self,
        cluster: &DynamoCluster,
        seen: &Seen,
        step: &Step,
        wall_s: u64,
    ) -> Result<(), AuthorityError> {
        let Some(state) = &seen.state else { return Ok(()) };
        let objects = objects::Objects::of(&self.client, cluster)?;
        match state.after(cluster, step, wall_s)? {
            Some(write) => objects.write(state, write).await,
            None => Ok(()),
        }
    }

    /// What the operator shows to the nodes of a cluster, which they call so; None: it is not founded yet. A name is not made up
    /// here: a certificate for another would be a stranger's.
    ///
    /// # Errors
    /// The Secret that the resource names is not there or can't be used.
    pub async fn credentials(
        &self,
        (cluster, called): (&DynamoCluster, Option<&str>),
        seen: &Seen,
        wall_s: u64,
    ) -> Result<Shown, AuthorityError> {
        let uid = cluster.uid().unwrap_or_default();
        let Some(called) = called else { return Ok(Shown::NotYet) };
        let secret = match cluster.spec.tls.mode {
            TlsMode::Plaintext => return Ok(Shown::Plaintext),
            TlsMode::Secret => Some(credentials::of_secret(&self.client, cluster, called).await?),
            TlsMode::OperatorCA => None,
        };
        // The same object as before while nothing has changed: connections are kept by it.
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let made = match (secret, &seen.state) {
            (Some(secret), _) => match shown.get(&uid).filter(|former| former.is_same_as(&secret)) {
                Some(former) => former.clone(),
                None => Arc::new(secret),
            },
            (None, None) => return Ok(Shown::NotYet),
            (None, Some(state)) => match shown.get(&uid).filter(|former| former.is_good(state, wall_s)) {
                Some(former) => former.clone(),
                None => match credentials::issue(called, state, wall_s)? {
                    Some(issued) => Arc::new(issued),
                    None => return Ok(Shown::NotYet),
                },
            },
        };
        shown.insert(uid, made.clone());
        Ok(Shown::Tls(made))
    }

    /// A cluster is no more.
    pub fn forget(&self, uid: &str) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}
