//! Who may talk to the nodes, and how it is kept from others.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// Certificates. Between nodes both sides always show one; clients see the nodes' certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::SECRET_IS_NAMED,
    validation = rules::SECRET_IS_FOR_MODE_SECRET,
    validation = rules::CLIENT_AUTH_NEEDS_TLS,
    validation = rules::TOKENS_ARE_NAMED,
    validation = rules::TOKENS_ARE_FOR_MODE_TOKEN,
    validation = rules::CA_OUTLIVES_CERTIFICATES
)]
pub struct Tls {
    /// Where certificates come from. `OperatorCA` (the default): the operator keeps a certificate authority for this
    /// cluster, issues each node a certificate of its own and renews it. `Secret`: from a Secret that somebody else
    /// keeps, cert-manager for one. `Plaintext`: there are none, and anyone who reaches a node can read and write
    /// everything. A cluster cannot change between plaintext and the others.
    #[serde(default)]
    pub mode: TlsMode,
    /// With mode `Secret`: the Secret of this namespace with `tls.crt`, `tls.key` and `ca.crt` that all nodes share. The
    /// certificate has the URI in status.tls.nodesUri among its names, and is for servers and clients. What changes in the
    /// Secret is taken up without a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
    /// What a client has to show. `None` (the default): nothing, whoever trusts the nodes' certificates reads and writes.
    /// `Certificate`: a certificate of the authority that the nodes trust. `Token`: a token of tokensSecretName, or a
    /// certificate. Changing it restarts the nodes.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// With clientAuth `Token`: the Secret of this namespace with the keys `read` (tokens that read), `client` (that read and
    /// write), `admin` (that change the ring and make buckets, too) and `metrics` (that read metrics and nothing else), any of
    /// which may be missing; one token a line. A key may go on with whose they are: `client.shop`. Tokens that are added or
    /// removed count without a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub tokens_secret_name: Option<String>,
    /// With mode `OperatorCA`: days for which a node's certificate is valid; it is renewed, without a restart, when two
    /// thirds of them are over. 2 to 3650, default 90: nodes then restart well with the operator down for 30 days.
    #[serde(default = "ninety")]
    #[schemars(range(min = 2, max = 3650))]
    pub certificate_days: u32,
    /// With mode `OperatorCA`: days for which the certificate authority is valid; it is renewed, without a restart and in
    /// steps, when two thirds of them are over. 4 to 36500, at least twice certificateDays, default 3650.
    #[serde(default = "ten_years")]
    #[schemars(range(min = 4, max = 36500))]
    pub ca_days: u32,
}

/// Where certificates come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// From an authority of the operator's, one for each cluster.
    #[default]
    OperatorCA,
    /// From a Secret that somebody else keeps.
    Secret,
    /// There are none. (Not called `Off`: YAML reads that as false.)
    Plaintext,
}

/// What a client has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ClientAuth {
    /// Nothing.
    #[default]
    None,
    /// A certificate.
    Certificate,
    /// A token, or a certificate.
    Token,
}

fn ninety() -> u32 {
    90
}

fn ten_years() -> u32 {
    3650
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            mode: TlsMode::OperatorCA,
            secret_name: None,
            client_auth: ClientAuth::None,
            tokens_secret_name: None,
            certificate_days: ninety(),
            ca_days: ten_years(),
        }
    }
}
