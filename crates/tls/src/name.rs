//! Whom a certificate speaks for: a URI among its names, `dynamo:/CLUSTER/ROLE/NAME`.
//!
//! The cluster is part of it, so that one authority can sign for many clusters. A name that is no host name can't be
//! mistaken for one, nor one for it: what a node is called decides about data, what it is reached by does not.

use std::fmt;

use rustls::pki_types::CertificateDer;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// The name of a certificate that all nodes of a cluster share.
pub const ANY: &str = "*";

const SCHEME: &str = "dynamo:/";

/// What somebody is to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads and writes.
    Client,
    /// Changes the ring and makes buckets.
    Admin,
    /// Is one of the nodes.
    Node,
}

impl Role {
    const ALL: [Self; 3] = [Self::Client, Self::Admin, Self::Node];

    fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Admin => "admin",
            Self::Node => "node",
        }
    }
}

/// Whom a certificate speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The cluster.
    pub cluster: String,
    /// What it is to the cluster.
    pub role: Role,
    /// What it is called there; [`ANY`] for any node.
    pub name: String,
}

impl Name {
    /// The name of somebody.
    pub fn new(cluster: impl Into<String>, role: Role, name: impl Into<String>) -> Self {
        Self { cluster: cluster.into(), role, name: name.into() }
    }

    /// From a certificate's URI; nothing where that is something else.
    pub fn parse(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix(SCHEME)?.split('/');
        let (cluster, role, name) = (parts.next()?, parts.next()?, parts.next()?);
        let role = Role::ALL.into_iter().find(|known| known.word() == role)?;
        let name = if name == ANY { ANY.to_owned() } else { unescape(name)? };
        // A node that is called "*" would be all of them.
        let parsed = Self { cluster: unescape(cluster)?, role, name };
        (parts.next().is_none() && !parsed.cluster.is_empty() && !parsed.name.is_empty()).then_some(parsed)
    }

    /// Whether it speaks for this node, or for every one.
    pub fn is_node(&self, cluster: &str, mut is_it: impl FnMut(&str) -> bool) -> bool {
        self.role == Role::Node && self.cluster == cluster && (self.name == ANY || is_it(&self.name))
    }
}

/// As a certificate has it.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name == ANY { ANY.to_owned() } else { escape(&self.name) };
        write!(f, "{SCHEME}{}/{}/{name}", escape(&self.cluster), self.role.word())
    }
}

/// Whom a certificate speaks for: nobody, where it has no such name or can't be read.
pub fn names_of(certificate: &CertificateDer<'_>) -> Vec<Name> {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return Vec::new() };
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Name::parse(uri),
        _ => None,
    };
    names.value.general_names.iter().filter_map(uri).collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let [high, low, after @ ..] = after else { return None };
            let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
            bytes.push(digit(*high)? << 4 | digit(*low)?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_as_it_was_written_and_is_a_uri_without_a_host() {
        for cluster in ["shop", "prod/shop/1a2b3c4d", "a b%c", "ünï"] {
            for (role, name) in
                [(Role::Node, "shop-a-0"), (Role::Client, "a/b"), (Role::Admin, "%2F"), (Role::Node, ANY)]
            {
                let written = Name::new(cluster, role, name);
                let uri = written.to_string();
                assert!(uri.is_ascii() && uri.starts_with("dynamo:/") && !uri.starts_with("dynamo://"), "{uri}");
                assert_eq!(Name::parse(&uri), Some(written), "{uri}");
            }
        }
        assert_eq!(Name::new("prod/shop", Role::Node, "a-0").to_string(), "dynamo:/prod%2Fshop/node/a-0");
    }

    #[test]
    fn what_is_no_such_name_speaks_for_nobody() {
        for uri in [
            "",
            "dynamo:",
            "dynamo:/",
            "dynamo://c/node/a",
            "dynamo:/c/node",
            "dynamo:/c/node/",
            "dynamo:/c/node/a/b",
            "dynamo:/c/king/a",
            "dynamo:/c/Node/a",
            "dynamo:/c/node/%",
            "dynamo:/c/node/%4",
            "dynamo:/c/node/%FF",
            "dynamo://node/a",
            "https://c/node/a",
        ] {
            assert_eq!(Name::parse(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_node_is_itself_in_its_own_cluster_and_nobody_else() {
        let is = |uri: &str| Name::parse(uri).unwrap().is_node("c", |name| name == "a");
        assert!(is("dynamo:/c/node/a") && is("dynamo:/c/node/*"));
        for other in
            ["dynamo:/c/node/b", "dynamo:/d/node/a", "dynamo:/d/node/*", "dynamo:/c/admin/a", "dynamo:/c/node/%2Ab"]
        {
            assert!(!is(other), "{other}");
        }
    }
}
