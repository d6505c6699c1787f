//! Who speaks: certificates, trust and tokens, read from files and read again when they change.
//!
//! Where things are: [`Name`] is whom a certificate speaks for; [`Material`] what the files hold; [`server`] and
//! [`client`] what rustls needs of it; [`Connector`] how a connection is made; [`Tokens`] the bearer tokens that are taken;
//! [`Caller`] a client's own side; [`refusal()`] why a handshake failed, for people.
//!
//! What is deliberately not here: gRPC, a thread or task, and any decision on what somebody may do. TLS 1.3 only, and no
//! resumption: each connection shows its certificate, so that what was taken out of the trust is out for the next one.

#![forbid(unsafe_code)]

mod caller;
pub mod client;
mod connector;
mod material;
mod name;
mod refusal;
pub mod server;
mod tokens;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use caller::{Caller, CallerFiles};
pub use connector::{Connector, Dial, Stream};
pub use material::{Files, LoadError, Material, Trust, fingerprint};
pub use name::{ANY, Name, Role, names_of};
pub use refusal::{Stranger, refusal};
pub use rustls::{ClientConfig, ServerConfig, pki_types::CertificateDer};
pub use tokens::{TOKEN_BYTES_MIN, Token, Tokens, TokensError, bearer};
pub use tokio_rustls;

/// The one implementation of cryptography, named wherever one is needed: a process that has two of them linked in panics
/// where none is named.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// What is spoken inside TLS.
const HTTP2: &[u8] = b"h2";
