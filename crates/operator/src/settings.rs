//! What the operator is told at its start: each is a flag and an environment variable.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::render::Release;

/// Tends DynamoClusters: finds out how they are, decides what to do next, does it, and tells.
///
/// It carries no data and is on no request's way: while it is away everything but resizing, repair of lost disks and renewal
/// of certificates goes on.
#[derive(Debug, Clone, Parser)]
#[command(name = "dynamo-operator", version, args_conflicts_with_subcommands = true)]
pub struct Invocation {
    /// How it works.
    #[command(flatten)]
    pub settings: Settings,
    /// Something else than to work.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What else this program does.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Asks until the answer is 200, for a minute, and prints it: for tests of an installation, in an image that has nothing
    /// else
    Probe {
        /// Such as `http://dynamo-operator.dynamo-system.svc:8080/readyz`
        #[arg(value_name = "URL")]
        url: String,
    },
}

/// What the operator is told.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Namespaces whose DynamoClusters are tended, with commas between them. Default: all. With it no right on
    /// objects outside of these is needed: zones have to be named in each resource then, and machines that are gone for
    /// good are not noticed.
    #[arg(long, env = "DYNAMO_OPERATOR_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE,...")]
    pub namespaces: Vec<String>,

    /// The namespace that the operator itself is in: its Lease is there, and nodes find its signer there.
    #[arg(long, env = "DYNAMO_OPERATOR_NAMESPACE", default_value = "dynamo-system", value_name = "NAMESPACE")]
    pub namespace: String,

    /// Where the images of nodes are, without a tag.
    #[arg(long, env = "DYNAMO_OPERATOR_IMAGE_REPOSITORY", default_value = "dynamo-k8s/node")]
    pub image_repository: String,

    /// The release that a new cluster gets which names none. Clusters that are there keep theirs. Default: the operator's own.
    #[arg(long, env = "DYNAMO_OPERATOR_NODE_VERSION", default_value = env!("CARGO_PKG_VERSION"), value_name = "VERSION")]
    pub node_version: String,

    /// Where nodes have their certificates signed.
    #[arg(long, env = "DYNAMO_OPERATOR_SIGNER_LISTEN", default_value = "0.0.0.0:9443", value_name = "ADDRESS")]
    pub signer_listen: SocketAddr,

    /// The address of that as nodes have to call it, with its path, /sign. Default: the Service `dynamo-operator` of the operator's namespace.
    #[arg(long, env = "DYNAMO_OPERATOR_SIGNER_URL", value_name = "URL")]
    pub signer_url: Option<String>,

    /// Where /metrics, /healthz and /readyz are.
    #[arg(long, env = "DYNAMO_OPERATOR_HTTP_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub http_listen: SocketAddr,

    /// The name under which this process holds the Lease: another one for each. Default: the pod's name.
    #[arg(long, env = "HOSTNAME", default_value = "dynamo-operator", value_name = "NAME")]
    pub identity: String,

    /// The Lease that decides who works where several operators run.
    #[arg(long, env = "DYNAMO_OPERATOR_LEASE_NAME", default_value = "dynamo-operator", value_name = "NAME")]
    pub lease_name: String,

    /// The port at which nodes are asked.
    #[arg(long, env = "DYNAMO_OPERATOR_NODE_PORT", default_value_t = 7400, hide = true)]
    pub node_port: u16,

    /// How the log looks: `text` for people, `json` with one object a line.
    #[arg(long, env = "DYNAMO_OPERATOR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// error, warn, info, debug, trace or off; or a filter such as info,dynamo_operator=debug.
    #[arg(long, env = "DYNAMO_OPERATOR_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
}

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Settings {
    /// The namespaces to look at, each apart; None: all of them at once.
    pub fn scopes(&self) -> Vec<Option<String>> {
        let mut named: Vec<&String> = self.namespaces.iter().filter(|name| !name.is_empty()).collect();
        named.sort_unstable();
        named.dedup();
        if named.is_empty() { vec![None] } else { named.into_iter().cloned().map(Some).collect() }
    }

    /// Whether objects outside of namespaces may be looked at.
    pub fn sees_machines(&self) -> bool {
        self.scopes() == [None]
    }

    /// The host of the signer's address, which its certificate is for.
    pub fn signer_host(&self) -> String {
        let url = self.release().signer_url;
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']').to_owned()
    }

    /// What this operator brings.
    pub fn release(&self) -> Release {
        let default = || format!("https://dynamo-operator.{}.svc:9443/sign", self.namespace);
        Release {
            image_repository: self.image_repository.clone(),
            version: self.node_version.clone(),
            signer_url: self.signer_url.clone().unwrap_or_else(default),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    fn of(arguments: &[&str]) -> Settings {
        Invocation::parse_from([&["dynamo-operator"], arguments].concat()).settings
    }

    #[test]
    fn the_arguments_fit_together() {
        Invocation::command().debug_assert();
    }

    #[test]
    fn without_namespaces_all_are_tended_and_machines_are_seen() {
        assert_eq!((of(&[]).scopes(), of(&[]).sees_machines()), (vec![None], true));
        let named = of(&["--namespaces", "b,a,b"]);
        assert_eq!(named.scopes(), [Some("a".to_owned()), Some("b".to_owned())]);
        assert!(!named.sees_machines());
    }

    #[test]
    fn nodes_find_the_signer_by_the_operators_service_unless_it_is_said_otherwise() {
        assert_eq!(of(&["--namespace", "ops"]).release().signer_url, "https://dynamo-operator.ops.svc:9443/sign");
        assert_eq!(of(&["--signer-url", "https://a:1"]).release().signer_url, "https://a:1");
    }
}
