//! What the two objects of a cluster's authorities say, and what a step makes of them: pure, so that it can be stopped
//! between any two writes.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_crd::DynamoCluster;
use dynamo_planner::certificates::{Authorities, Life, Step};
use kube::ResourceExt;

use super::ca::{Anchor, Ca, Unusable};
use crate::render;

/// The bundle in the ConfigMap: whom nodes and clients trust, the one that signs first.
pub const TRUST_KEY: &str = render::TRUST_KEY;
/// In the same ConfigMap: whose certificate the signer may have.
pub const SIGNER_KEY: &str = render::SIGNER_TRUST_KEY;
/// The entry of the Secret that names who signs.
pub const SIGNING_KEY: &str = "signing";
/// The entry of the Secret that is a copy of the key which seals contexts.
pub const CONTEXT_KEY: &str = "context-key";

const DAY_S: u64 = 86_400;

/// What a Secret holds, and a ConfigMap.
pub type Data = BTreeMap<String, String>;

/// A write of one object; what it does not name stays as it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Write {
    /// Entries of the Secret; None: it goes.
    Secret(BTreeMap<String, Option<String>>),
    /// Entries of the ConfigMap.
    Trust(Data),
}

/// What was read.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Those whose keys there are.
    keys: BTreeMap<String, Ca>,
    /// Whom the Secret names.
    signing: Option<String>,
    /// The bundle.
    trusted: Vec<Anchor>,
    /// The ConfigMap as it is.
    trust: Data,
    /// The versions that were read; None: there is no such object.
    pub(super) secret_version: Option<String>,
    pub(super) trust_version: Option<String>,
    /// The ConfigMap goes with the resource and should not, or should and does not.
    pub(super) trust_misowned: bool,
}

/// Without the keys.
impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("keys", &self.keys.keys())
            .field("signing", &self.signing)
            .field("trusted", &self.trusted.iter().map(|anchor| &anchor.fingerprint).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl State {
    /// From what the objects hold. An entry that can't be read is as if it were not there: it was edited by hand, and its
    /// authority is followed by another.
    pub fn read(secret: &Data, trust: &Data) -> State {
        let mut keys = BTreeMap::new();
        for (name, certificate) in secret {
            let Some(name) = name.strip_suffix(".crt") else { continue };
            let key = secret.get(&key_entry(name)).map(String::as_str).unwrap_or_default();
            match Ca::read(certificate, key) {
                Ok(ca) if ca.anchor.fingerprint == name => drop(keys.insert(name.to_owned(), ca)),
                Ok(_) => tracing::warn!(entry = name, "a certificate authority stands under another's name: not used"),
                Err(why) => tracing::warn!(entry = name, "a certificate authority is not used: {why}"),
            }
        }
        let signing = secret.get(SIGNING_KEY).cloned();
        let trusted = Anchor::all_of(trust.get(TRUST_KEY).map(String::as_str).unwrap_or_default());
        State { keys, signing, trusted, trust: trust.clone(), ..State::default() }
    }

    /// Who signs. Where the Secret was lost it is still the first of the bundle: nodes have its certificates, and go over to
    /// another only when all trust that.
    fn signing(&self) -> Option<String> {
        let named = self.signing.clone().filter(|name| self.keys.contains_key(name) || self.trusts(name));
        named.or_else(|| self.trusted.first().map(|anchor| anchor.fingerprint.clone()))
    }

    fn trusts(&self, name: &str) -> bool {
        self.trusted.iter().any(|anchor| anchor.fingerprint == name)
    }

    /// The authority that signs, if its key is there.
    pub fn signer(&self) -> Option<&Ca> {
        self.keys.get(&self.signing()?).filter(|ca| self.trusts(&ca.anchor.fingerprint))
    }

    /// By whom what the operator itself shows is signed: the one that signs, or where its key is lost or it has ended the newest
    /// that nodes are to trust. Who has not loaded that yet refuses it, and that is what there is to know of him.
    pub fn speaker(&self, wall_s: u64) -> Option<&Ca> {
        let lives = |ca: &&Ca| ca.anchor.life.until_s > wall_s;
        let trusted = self.keys.values().filter(|ca| self.trusts(&ca.anchor.fingerprint)).filter(lives);
        let newest = || trusted.max_by_key(|ca| (ca.anchor.life.from_s, ca.anchor.fingerprint.clone()));
        self.signer().filter(lives).or_else(newest)
    }

    /// The bundle.
    pub fn bundle(&self) -> String {
        self.trusted.iter().map(|anchor| anchor.certificate.as_str()).collect()
    }

    /// Those that are trusted, the one that signs first.
    pub fn anchors(&self) -> &[Anchor] {
        &self.trusted
    }

    /// As the planner sees it.
    pub fn observed(&self, cluster: &DynamoCluster, wall_s: u64) -> Authorities {
        let lives: BTreeMap<String, Life> = self.keys.iter().map(|(name, ca)| (name.clone(), ca.anchor.life)).collect();
        let trusted: BTreeSet<String> = self.trusted.iter().map(|anchor| anchor.fingerprint.clone()).collect();
        let mut authorities = Authorities { lives, wall_s, trusted, signing: self.signing(), rotate: None };
        let newest = authorities.newest().cloned();
        let older = |name: &String| requested_s(cluster).is_some_and(|asked| authorities.lives[name].from_s < asked);
        authorities.rotate = newest.filter(older);
        authorities
    }

    /// What is not as it follows from the rest: the bundle's order, who signs, and what was deleted or edited by hand.
    pub fn tidy(&self, signer_bundle: &str) -> Option<Write> {
        let mut wanted = Data::new();
        let bundle = self.in_order();
        if !bundle.is_empty() && self.trust.get(TRUST_KEY) != Some(&bundle) {
            wanted.insert(TRUST_KEY.to_owned(), bundle);
        }
        if !signer_bundle.is_empty() && self.trust.get(SIGNER_KEY).map(String::as_str) != Some(signer_bundle) {
            wanted.insert(SIGNER_KEY.to_owned(), signer_bundle.to_owned());
        }
        if !wanted.is_empty() {
            return Some(Write::Trust(wanted));
        }
        // Written down, so that it is known also where the bundle is lost.
        let signing = self.signing().filter(|name| self.signing.as_ref() != Some(name))?;
        Some(Write::Secret([(SIGNING_KEY.to_owned(), Some(signing))].into()))
    }

    /// The bundle as it should stand. One that was lost trusts all whose keys there are: the nodes' certificates are of
    /// these.
    fn in_order(&self) -> String {
        let mut anchors: Vec<Anchor> = match self.trusted.is_empty() {
            true => self.keys.values().map(|ca| ca.anchor.clone()).collect(),
            false => self.trusted.clone(),
        };
        let first = self.signing();
        anchors.sort_by_key(|anchor| (Some(&anchor.fingerprint) != first.as_ref(), anchor.fingerprint.clone()));
        anchors.into_iter().map(|anchor| anchor.certificate).collect()
    }

    /// The write that a step is; None: it is done already.
    ///
    /// # Errors
    /// No key can be made, or the step's authority is not there any more.
    pub fn after(&self, cluster: &DynamoCluster, step: &Step, wall_s: u64) -> Result<Option<Write>, Unusable> {
        match step {
            Step::Make => {
                let made = Ca::make(&common_name(cluster), self.next_life(cluster, wall_s))?;
                let name = &made.anchor.fingerprint;
                let entries = [(certificate_entry(name), made.anchor.certificate.clone()), (key_entry(name), made.key)];
                let entries = entries.into_iter().map(|(entry, text)| (entry, Some(text)));
                Ok(Some(Write::Secret(entries.collect())))
            }
            Step::Trust(name) if self.trusts(name) => Ok(None),
            Step::Trust(name) => {
                let gone = || Unusable(format!("authority {name} is not there any more"));
                let certificate = &self.keys.get(name).ok_or_else(gone)?.anchor.certificate;
                Ok(Some(self.trust(format!("{}{certificate}", self.bundle()))))
            }
            Step::Sign(name) if self.signing.as_ref() == Some(name) => Ok(None),
            Step::Sign(name) => Ok(Some(Write::Secret([(SIGNING_KEY.to_owned(), Some(name.clone()))].into()))),
            Step::Distrust(name) => {
                let stay = self.trusted.iter().filter(|anchor| anchor.fingerprint != *name);
                Ok(Some(self.trust(stay.map(|anchor| anchor.certificate.as_str()).collect())))
            }
            Step::Forget(name) => {
                Ok(Some(Write::Secret([(certificate_entry(name), None), (key_entry(name), None)].into())))
            }
        }
    }

    fn trust(&self, bundle: String) -> Write {
        Write::Trust([(TRUST_KEY.to_owned(), bundle)].into())
    }

    /// Later than all that there are, also where this clock is behind the one that made them.
    fn next_life(&self, cluster: &DynamoCluster, wall_s: u64) -> Life {
        let latest = self.keys.values().map(|ca| ca.anchor.life.from_s + 1).max();
        let from_s = latest.unwrap_or_default().max(wall_s);
        Life { from_s, until_s: from_s + u64::from(cluster.spec.tls.ca_days) * DAY_S }
    }
}

/// When a person asked for another authority. New certificates for all nodes come the same way: a node asks for another one
/// when the authority is another.
fn requested_s(cluster: &DynamoCluster) -> Option<u64> {
    let maintenance = &cluster.spec.maintenance;
    let asked = [&maintenance.ca_requested_at, &maintenance.certificates_requested_at];
    asked.into_iter().flatten().filter_map(|time| u64::try_from(time.0.as_second()).ok()).max()
}

fn common_name(cluster: &DynamoCluster) -> String {
    // A common name has at most 64 characters.
    let name = format!("dynamo {}/{}", cluster.namespace().unwrap_or_default(), cluster.name_any());
    name.chars().take(64).collect()
}

fn certificate_entry(name: &str) -> String {
    format!("{name}.crt")
}

fn key_entry(name: &str) -> String {
    format!("{name}.key")
}

#[cfg(test)]
mod tests;
