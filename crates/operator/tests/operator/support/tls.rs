//! TLS in front of the nodes of [`super::stub`], which speak plaintext behind it: each has its own bundle and certificate, loaded one
//! node after the other as kubelets bring them, and takes nobody whom its bundle does not name. These kubelets never look by
//! themselves: they bring what changed when their pod was written to for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest;
use dynamo_operator::{
    act::ANNOTATION_TRUST,
    authority::{self, SIGNING_KEY, TRUST_KEY},
};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{Api, Client, ResourceExt, api::ListParams};
use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
    time_provider::TimeProvider,
    version::TLS13,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use super::plane::Id;

const EVERY: Duration = Duration::from_millis(200);

/// What one node has loaded.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// PEM, as it stands in the ConfigMap.
    bundle: String,
    /// Fingerprints, in their order.
    pub trusts: Vec<String>,
    /// By whom its certificate is.
    pub signed_by: Option<String>,
    /// PEM: the certificate, and its key.
    shown: Option<(String, String)>,
}

/// Of all nodes of a cluster, by their names.
#[derive(Default)]
pub struct Tls {
    loaded: Mutex<BTreeMap<String, Loaded>>,
}

impl Tls {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each node has.
    pub fn all(&self) -> BTreeMap<String, Loaded> {
        self.lock().clone()
    }

    /// A node begins to listen here, and what it is sent goes on to where it speaks plaintext.
    pub fn front(
        self: &Arc<Tls>,
        node: &str,
        listener: TcpListener,
        plain: SocketAddr,
    ) -> impl Future<Output = ()> + use<> {
        self.lock().entry(node.to_owned()).or_default();
        let (tls, node) = (Arc::clone(self), node.to_owned());
        async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // Who has nothing to show hangs up.
                let Some(config) = tls.config(&node) else { continue };
                tokio::spawn(async move {
                    let Ok(mut near) = TlsAcceptor::from(config).accept(stream).await else { return };
                    let Ok(mut far) = TcpStream::connect(plain).await else { return };
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        }
    }

    fn config(&self, node: &str) -> Option<Arc<ServerConfig>> {
        let loaded = self.lock().get(node).cloned()?;
        let (certificate, key) = loaded.shown?;
        let mut roots = RootCertStore::empty();
        for anchor in CertificateDer::pem_slice_iter(loaded.bundle.as_bytes()) {
            roots.add(anchor.unwrap()).unwrap();
        }
        let provider = Arc::new(default_provider());
        let believed = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_details(provider, Arc::new(Ahead))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_client_cert_verifier(believed.build().unwrap())
            .with_single_cert(vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Some(Arc::new(config))
    }

    /// What kubelets bring and the signer answers, for ever.
    pub async fn run(self: Arc<Tls>, client: Client, id: Id) {
        let maps = Api::<ConfigMap>::namespaced(client.clone(), &id.namespace);
        let pods = Api::<Pod>::namespaced(client.clone(), &id.namespace);
        let its = ListParams::default().labels(&format!("dynamo-k8s.io/cluster={}", id.name));
        let secrets = Api::<Secret>::namespaced(client, &id.namespace);
        loop {
            sleep(EVERY).await;
            // Where the object is gone kubelet leaves what is mounted.
            let Ok(Some(trust)) = maps.get_opt(&format!("{}-trust", id.name)).await else { continue };
            let Ok(pods) = pods.list(&its).await else { continue };
            let version = trust.resource_version();
            let is_called = |pod: &&Pod| pod.annotations().get(ANNOTATION_TRUST) == version.as_ref();
            let called = pods.items.iter().filter(is_called).map(ResourceExt::name_any).collect();
            let bundle = trust.data.unwrap_or_default().remove(TRUST_KEY).unwrap_or_default();
            if self.load(&bundle, &called) {
                continue;
            }
            let Ok(Some(founders)) = maps.get_opt(&format!("{}-founders", id.name)).await else { continue };
            let Ok(Some(keys)) = secrets.get_opt(&format!("{}-ca", id.name)).await else { continue };
            self.sign(&founders.annotations()["dynamo-k8s.io/cluster-name"], &keys);
        }
    }

    /// One node that has not loaded it yet does, if its pod has just begun or was called.
    fn load(&self, bundle: &str, called: &BTreeSet<String>) -> bool {
        let mut loaded = self.lock();
        let is_due = |(name, node): &(&String, &mut Loaded)| {
            node.bundle != bundle && (node.bundle.is_empty() || called.contains(*name))
        };
        let Some((_, node)) = loaded.iter_mut().find(is_due) else { return false };
        bundle.clone_into(&mut node.bundle);
        let anchors = CertificateDer::pem_slice_iter(bundle.as_bytes()).map(|anchor| fingerprint(&anchor.unwrap()));
        node.trusts = anchors.collect();
        true
    }

    /// One node that shows a certificate of another than the first of its bundle gets one, if that one signs.
    fn sign(&self, called: &str, keys: &Secret) {
        let entry = |name: &str| Some(String::from_utf8(keys.data.as_ref()?.get(name)?.0.clone()).unwrap());
        let Some(signing) = entry(SIGNING_KEY) else { return };
        let pair = (entry(&format!("{signing}.crt")), entry(&format!("{signing}.key")));
        let (Some(certificate), Some(key)) = pair else { return };
        let mut loaded = self.lock();
        let is_due =
            |node: &&mut Loaded| node.trusts.first() == Some(&signing) && node.signed_by.as_ref() != Some(&signing);
        let Some(node) = loaded.values_mut().find(is_due) else { return };
        let issuer = Issuer::from_ca_cert_pem(&certificate, KeyPair::from_pem(&key).unwrap()).unwrap();
        let mut params = CertificateParams::default();
        let uri = authority::any_node(called);
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().unwrap()));
        let own = KeyPair::generate().unwrap();
        node.shown = Some((params.signed_by(&own, &issuer).unwrap().pem(), own.serialize_pem()));
        node.signed_by = Some(signing);
    }
}

fn fingerprint(der: &CertificateDer<'_>) -> String {
    digest::digest(&digest::SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The operator's clock goes faster than the machine's, and so what it signs is of some minutes later.
#[derive(Debug)]
struct Ahead;

impl TimeProvider for Ahead {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() + 3600)))
    }
}
