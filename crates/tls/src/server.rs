//! What rustls needs of a node that is connected to.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::TLS13,
};

use crate::{HTTP2, Material, provider};

/// Who has to show a certificate. One that is shown has to be trusted in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificates {
    /// Everybody.
    Required,
    /// Who likes: it is asked for, and what somebody may do without one is decided request by request.
    Asked,
}

/// What a port is served with.
///
/// # Errors
/// What rustls says of it: the files were good one by one, so this is a kind of key that it does not take.
pub fn config(material: &Material, certificates: Certificates) -> Result<ServerConfig, String> {
    let verifier = WebPkiClientVerifier::builder_with_provider(material.trust.roots.clone(), provider());
    let verifier: Arc<dyn ClientCertVerifier> = match certificates {
        Certificates::Required => verifier.build(),
        Certificates::Asked => verifier.allow_unauthenticated().build(),
    }
    .map_err(|error| error.to_string())?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_single_cert(material.chain.clone(), material.key.clone_key())
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
