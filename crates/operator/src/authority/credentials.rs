//! What the operator shows to nodes, and which nodes it believes.
//!
//! A certificate of an administrator, by the cluster's own authority; it is in memory only, good for a day, and made anew when
//! half of that is over. Where certificates are somebody else's it is the nodes' own.

use std::sync::Arc;

use dynamo_crd::DynamoCluster;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use rcgen::KeyPair;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    version::TLS13,
};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::{
    ca::Unusable,
    names,
    objects::{AuthorityError, Call, Kept},
    state::State,
};

/// What the operator shows.
pub struct Credentials {
    /// To connect with: HTTP/2 in TLS 1.3. The name of the server is to be the node's stable host,
    /// `POD.CLUSTER-nodes.NAMESPACE.svc`: its first part is the node that is expected.
    pub config: Arc<ClientConfig>,
    /// PEM: whom it trusts.
    pub trust: String,
    /// PEM: the certificate.
    pub certificate: String,
    key: String,
    signed_by: String,
    good_until_s: u64,
}

/// Without the key.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("signed_by", &self.signed_by).finish_non_exhaustive()
    }
}

impl Credentials {
    /// PEM: the key of the certificate. For a connection only; never for a log.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether they are what would be made now, in all that matters.
    pub(super) fn is_good(&self, state: &State, wall_s: u64) -> bool {
        let signer = state.speaker(wall_s).map(|ca| ca.anchor.fingerprint.as_str());
        wall_s < self.good_until_s && signer == Some(&self.signed_by) && self.trust == state.bundle()
    }

    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        (&self.trust, &self.certificate, &self.key) == (&other.trust, &other.certificate, &other.key)
    }
}

/// From the cluster's authority; None: there is none yet that nodes trust.
pub(super) fn issue(called: &str, state: &State, wall_s: u64) -> Result<Option<Credentials>, Unusable> {
    let Some(signer) = state.speaker(wall_s) else { return Ok(None) };
    let leaf = names::operator(called);
    let key = KeyPair::generate().map_err(|error| Unusable(format!("no key can be made: {error}")))?;
    let certificate = signer.sign(&key, &leaf, wall_s)?;
    let (trust, key) = (state.bundle(), key.serialize_pem());
    let config = config(called, &trust, &certificate, &key)?;
    let signed_by = signer.anchor.fingerprint.clone();
    Ok(Some(Credentials { config, trust, certificate, key, signed_by, good_until_s: wall_s + leaf.seconds / 2 }))
}

/// From the Secret that the resource names, which somebody else keeps.
pub(super) async fn of_secret(
    client: &kube::Client,
    cluster: &DynamoCluster,
    called: &str,
) -> Result<Credentials, AuthorityError> {
    let namespace = cluster.namespace().ok_or(AuthorityError::Nameless)?;
    let name = cluster.spec.tls.secret_name.clone().unwrap_or_default();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let found = secrets.get_opt(&name).await.map_err(|source| {
        let call = Call { verb: "get", resource: "secrets", namespace, name: name.clone() };
        AuthorityError::Api { call: Box::new(call), source }
    })?;
    let secret = found.ok_or_else(|| {
        Unusable(format!("Secret {name}, which spec.tls.secretName names, is not there: nodes wait for it"))
    })?;
    let mut data = secret.data();
    let mut entry =
        |key: &str| data.remove(key).ok_or_else(|| Unusable(format!("Secret {name} has no {key}: nodes wait for it")));
    let (certificate, key, trust) = (entry("tls.crt")?, entry("tls.key")?, entry("ca.crt")?);
    let config = config(called, &trust, &certificate, &key).map_err(|why| Unusable(format!("Secret {name}: {why}")))?;
    Ok(Credentials { config, trust, certificate, key, signed_by: String::new(), good_until_s: u64::MAX })
}

/// The one implementation of cryptography, named wherever one is needed.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The certificates of a chain.
pub(super) fn chain_of(pem: &str) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(Unusable("the certificate is no PEM".to_owned())),
    }
}

/// A key, of which nothing is repeated.
pub(super) fn key_of(pem: &str) -> Result<PrivateKeyDer<'static>, Unusable> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| Unusable("the key is no PEM".to_owned()))
}

fn config(called: &str, trust: &str, certificate: &str, key: &str) -> Result<Arc<ClientConfig>, Unusable> {
    let words = |error: rustls::Error| Unusable(error.to_string());
    let mut roots = RootCertStore::empty();
    for anchor in chain_of(trust)? {
        roots.add(anchor).map_err(words)?;
    }
    let verifier =
        NodeOf { cluster: called.to_owned(), roots, algorithms: provider().signature_verification_algorithms };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(words)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain_of(certificate)?, key_of(key)?)
        .map_err(words)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Believes whoever speaks for the node that was looked for. Host names say nothing of that: where certificates are somebody
/// else's they may be any.
#[derive(Debug)]
struct NodeOf {
    cluster: String,
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for NodeOf {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, self.algorithms.all)?;
        let host = server_name.to_str();
        let pod = host.split('.').next().unwrap_or_default();
        let shown = uris_of(end_entity);
        let (it, any) = (names::uri(&self.cluster, "node", pod), names::any_node(&self.cluster));
        if shown.iter().any(|uri| *uri == it || *uri == any) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(format!("this is not {it}: its certificate is of {shown:?}")))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn uris_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return Vec::new() };
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(uri).collect()
}
