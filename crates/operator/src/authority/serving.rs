//! The certificate of the signer's own port, by an authority of the operator's.
//!
//! The authority's keys are in one Secret of the operator's namespace, which all its replicas read; the certificate is in
//! memory. Every cluster's trust ConfigMap has the authorities' certificates. Another authority is made when two thirds of
//! one's life are over, and signs when it is a day old: by then kubelet has brought it to every node. A node that comes too
//! early asks again.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use dynamo_crd::names;
use dynamo_planner::certificates::Life;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, ResourceExt, api::PostParams};
use rcgen::KeyPair;
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use super::{
    ca::{Ca, Leaf, Unusable},
    credentials::{chain_of, key_of, provider},
    objects::{AuthorityError, Call, Kept},
    state::Data,
};

/// The Secret of the operator's namespace.
pub const SECRET: &str = "dynamo-operator-signer";
const DAY_S: u64 = 86_400;
const CA_S: u64 = 3650 * DAY_S;
const LEAF_S: u64 = 30 * DAY_S;
/// How old an authority is before it signs, where there is another.
const KNOWN_S: u64 = DAY_S;
/// How often all of it is looked at.
const LOOK: Duration = Duration::from_secs(600);

/// The signer's certificate.
pub struct Serving {
    client: kube::Client,
    namespace: String,
    host: String,
    now: ArcSwapOption<Loaded>,
}

struct Loaded {
    bundle: String,
    signed_by: String,
    renew_at_s: u64,
    certified: Arc<CertifiedKey>,
}

/// As rustls asks for it.
impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("host", &self.host).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.now.load().as_ref().map(|loaded| loaded.certified.clone())
    }
}

impl Serving {
    /// For the host that nodes call the signer by.
    pub fn new(client: kube::Client, namespace: &str, host: &str) -> Arc<Serving> {
        let now = ArcSwapOption::empty();
        Arc::new(Serving { client, namespace: namespace.to_owned(), host: host.to_owned(), now })
    }

    /// The authorities that the signer's certificate may be of; empty until they have been read.
    pub fn bundle(&self) -> String {
        self.now.load().as_ref().map(|loaded| loaded.bundle.clone()).unwrap_or_default()
    }

    /// Whether there is a certificate to show.
    pub fn is_ready(&self) -> bool {
        self.now.load().is_some()
    }

    /// What the port is served with. Nodes speak TLS 1.3; what else looks at the port may speak 1.2.
    ///
    /// # Errors
    /// What rustls says of it.
    pub fn config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Looks again and again. What fails is told and tried again; the certificate that there is serves on.
    pub async fn run(self: Arc<Self>) {
        loop {
            let wait = match self.keep(wall_s()).await {
                Ok(()) => LOOK,
                Err(error) => {
                    tracing::error!("the signer's certificate could not be looked after: {error}");
                    Duration::from_secs(5)
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Makes what is missing or due, and loads what there is.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn keep(&self, now_s: u64) -> Result<(), AuthorityError> {
        let found = self.read().await?;
        let data = found.as_ref().map(Kept::data).unwrap_or_default();
        if let Some(wanted) = next(&data, &self.namespace, now_s)? {
            self.write(found, wanted).await?;
            // Read again: another replica may have been faster.
            let data = self.read().await?.as_ref().map(Kept::data).unwrap_or_default();
            return self.load(&data, now_s);
        }
        self.load(&data, now_s)
    }

    async fn read(&self) -> Result<Option<Secret>, AuthorityError> {
        self.api().get_opt(SECRET).await.map_err(|source| self.refused("get", source))
    }

    async fn write(&self, found: Option<Secret>, data: Data) -> Result<(), AuthorityError> {
        let params = PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let (verb, written) = match found {
            None => {
                let labels = BTreeMap::from([
                    ("app.kubernetes.io/name".to_owned(), names::FIELD_MANAGER.to_owned()),
                    ("app.kubernetes.io/component".to_owned(), "signer".to_owned()),
                ]);
                let metadata =
                    ObjectMeta { name: Some(SECRET.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
                let mut secret = Secret::empty(metadata);
                secret.set(data);
                ("create", self.api().create(&params, &secret).await)
            }
            Some(mut secret) => {
                secret.set(data);
                ("update", self.api().replace(&secret.name_any(), &params, &secret).await)
            }
        };
        match written {
            // Another replica was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            written => written.map(drop).map_err(|source| self.refused(verb, source)),
        }
    }

    fn load(&self, data: &Data, now_s: u64) -> Result<(), AuthorityError> {
        let authorities = authorities(data);
        let signer = signer(&authorities, now_s).ok_or_else(|| Unusable("the signer has no authority".to_owned()))?;
        let bundle: String = authorities.iter().map(|ca| ca.anchor.certificate.as_str()).collect();
        if let Some(loaded) = self.now.load().as_ref()
            && loaded.signed_by == signer.anchor.fingerprint
            && now_s < loaded.renew_at_s
            && loaded.bundle == bundle
        {
            return Ok(());
        }
        let key = KeyPair::generate().map_err(|error| Unusable(format!("no key can be made: {error}")))?;
        let hosts = vec![self.host.clone()];
        let leaf = Leaf { uri: None, common_name: names::FIELD_MANAGER.to_owned(), hosts, seconds: LEAF_S };
        let certificate = signer.sign(&key, &leaf, now_s)?;
        let certified = CertifiedKey::from_der(chain_of(&certificate)?, key_of(&key.serialize_pem())?, &provider());
        let certified = Arc::new(certified.map_err(|error| Unusable(error.to_string()))?);
        let signed_by = signer.anchor.fingerprint.clone();
        self.now.store(Some(Arc::new(Loaded { bundle, signed_by, renew_at_s: now_s + LEAF_S / 2, certified })));
        Ok(())
    }

    fn api(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn refused(&self, verb: &'static str, source: kube::Error) -> AuthorityError {
        let call = Call { verb, resource: "secrets", namespace: self.namespace.clone(), name: SECRET.to_owned() };
        AuthorityError::Api { call: Box::new(call), source }
    }
}

/// Those that can be used, the newest first.
fn authorities(data: &Data) -> Vec<Ca> {
    let of = |(name, certificate): (&String, &String)| {
        let key = data.get(&format!("{}.key", name.strip_suffix(".crt")?))?;
        Ca::read(certificate, key).ok()
    };
    let mut found: Vec<Ca> = data.iter().filter_map(of).collect();
    found.sort_by_key(|ca| std::cmp::Reverse((ca.anchor.life.from_s, ca.anchor.fingerprint.clone())));
    found
}

/// Who signs: the newest that every node has heard of, or else the oldest.
fn signer(authorities: &[Ca], now_s: u64) -> Option<&Ca> {
    let known = authorities.iter().find(|ca| ca.anchor.life.from_s + KNOWN_S <= now_s);
    known.or(authorities.last())
}

/// What the Secret is to hold; None: what it holds.
fn next(data: &Data, namespace: &str, now_s: u64) -> Result<Option<Data>, Unusable> {
    let found = authorities(data);
    let mut wanted = Data::new();
    let put = |wanted: &mut Data, ca: &Ca| {
        wanted.insert(format!("{}.crt", ca.anchor.fingerprint), ca.anchor.certificate.clone());
        wanted.insert(format!("{}.key", ca.anchor.fingerprint), ca.key.clone());
    };
    if found.first().is_none_or(|newest| newest.anchor.life.followed_at_s() <= now_s) {
        let common_name: String = format!("dynamo-operator {namespace}").chars().take(64).collect();
        put(&mut wanted, &Ca::make(&common_name, Life { from_s: now_s, until_s: now_s + CA_S })?);
    }
    found.iter().filter(|ca| ca.anchor.life.until_s > now_s).for_each(|ca| put(&mut wanted, ca));
    let named = |data: &Data| data.keys().cloned().collect::<Vec<_>>();
    Ok((named(&wanted) != named(data)).then_some(wanted))
}

/// The wall clock, in seconds.
pub fn wall_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(data: &Data, now_s: u64) -> Data {
        next(data, "dynamo-system", now_s).unwrap().unwrap_or_else(|| data.clone())
    }

    #[test]
    fn the_first_authority_is_made_once_and_signs_at_once() {
        let made = told(&Data::new(), 1000);
        assert_eq!(made.len(), 2, "a certificate and its key");
        assert_eq!(next(&made, "dynamo-system", 1001).unwrap(), None);
        assert!(signer(&authorities(&made), 1000).is_some());
    }

    #[test]
    fn an_authority_is_followed_by_one_that_signs_when_nodes_know_it_and_goes_at_its_end() {
        let first = told(&Data::new(), 1000);
        let old = authorities(&first)[0].anchor.fingerprint.clone();
        let due = authorities(&first)[0].anchor.life.followed_at_s();
        assert_eq!(told(&first, due - 1), first);
        let both = told(&first, due);
        assert_eq!(authorities(&both).len(), 2);
        let signs = |now_s| signer(&authorities(&both), now_s).unwrap().anchor.fingerprint.clone();
        assert_eq!(signs(due + KNOWN_S - 1), old);
        assert_ne!(signs(due + KNOWN_S), old);
        let later = told(&both, 1000 + CA_S);
        assert_eq!(authorities(&later).len(), 1);
        assert_ne!(authorities(&later)[0].anchor.fingerprint, old);
    }

    #[test]
    fn what_was_broken_by_hand_is_made_anew() {
        let mut data = told(&Data::new(), 1000);
        for (key, text) in &mut data {
            if key.ends_with(".key") {
                *text = "nonsense".to_owned();
            }
        }
        let mended = told(&data, 1000);
        assert_eq!((authorities(&data).len(), authorities(&mended).len(), mended.len()), (0, 1, 2));
    }
}
