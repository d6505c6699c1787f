//! Who may do what on the clients' port.

use std::sync::Arc;

use dynamo_tls::{Name, Role, Token};

use super::NodeTls;
use crate::config::ClientAuth;

/// What somebody may do; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// See the node's figures.
    Metrics,
    /// Read, and see how the cluster is.
    Read,
    /// Write, too.
    Write,
    /// Make buckets, and change the ring.
    Admin,
}

impl Right {
    /// What the tokens of a file with this name give: `RIGHT`, or `RIGHT.WHOSE`.
    pub(super) fn of_file(name: &str) -> Option<Self> {
        match name.split_once('.').map_or(name, |(right, _)| right) {
            "metrics" => Some(Self::Metrics),
            "read" => Some(Self::Read),
            "client" => Some(Self::Write),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    /// What a call takes. One that is not known takes the most: a new one has to be thought of here before others get it.
    pub(super) fn needed(path: &str) -> Self {
        match path {
            "/metrics" => Self::Metrics,
            // Of a session each request is looked at by itself.
            "/dynamo.v1.Kv/Get" | "/dynamo.v1.Kv/BatchGet" | "/dynamo.v1.Kv/DescribeRing" | "/dynamo.v1.Kv/Session" => {
                Self::Read
            }
            "/dynamo.v1.Kv/Put" | "/dynamo.v1.Kv/Delete" | "/dynamo.v1.Kv/BatchPut" => Self::Write,
            "/dynamo.v1.Admin/Status" | "/dynamo.v1.Admin/ListBuckets" | "/dynamo.v1.Admin/DescribeBucket" => {
                Self::Read
            }
            "/dynamo.v1.RingAdmin/Plan"
            | "/dynamo.v1.RingAdmin/Progress"
            | "/dynamo.v1.RingAdmin/Receipt"
            | "/dynamo.v1.RingAdmin/View" => Self::Read,
            _ => {
                let open = ["/grpc.health.v1.Health/", "/grpc.reflection."];
                if open.iter().any(|prefix| path.starts_with(prefix)) { Self::Read } else { Self::Admin }
            }
        }
    }
}

impl NodeTls {
    /// What somebody may do who showed these; nothing: nobody knows them.
    pub(super) fn right_of(&self, names: &[Name], token: Option<&Token>) -> Option<Right> {
        let of_name = |name: &Name| match name.role {
            Role::Client => Right::Write,
            // A node can do all that among its peers.
            Role::Admin | Role::Node => Right::Admin,
        };
        let by_name = names.iter().filter(|name| name.cluster == self.cluster).map(of_name).max();
        let by_token = token.and_then(|token| self.right_of_token(token));
        let by_default = (self.settings.client_auth == ClientAuth::None).then_some(Right::Write);
        by_name.max(by_token).max(by_default)
    }

    fn right_of_token(&self, token: &Token) -> Option<Right> {
        let held = self.tokens.load();
        // All are looked through, whichever it is.
        held.files.iter().filter_map(|file| file.tokens.have(token).then_some(file.right)).max()
    }

    /// Which state of the tokens this is.
    pub(super) fn tokens_number(&self) -> u64 {
        self.tokens.load().number
    }
}

/// What a stream was opened with: a token that is taken back ends it, at the next thing that is asked over it.
#[derive(Clone)]
pub struct Grant {
    pub(super) tls: Arc<NodeTls>,
    pub(super) names: Arc<[Name]>,
    pub(super) token: Option<Token>,
    pub(super) needed: Right,
    pub(super) held: Right,
    pub(super) number: u64,
}

impl Grant {
    /// Whether it is still good.
    pub fn holds(&mut self) -> bool {
        let number = self.tls.tokens_number();
        if number == self.number {
            return true;
        }
        self.number = number;
        let Some(held) = self.tls.right_of(&self.names, self.token.as_ref()) else { return false };
        self.held = held;
        held >= self.needed
    }

    /// Whether it is good for writes, too.
    pub fn may_write(&self) -> bool {
        self.held >= Right::Write
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    /// As much of the compiled descriptors as is needed here.
    #[derive(Clone, PartialEq, Message)]
    struct Set {
        #[prost(message, repeated, tag = "1")]
        file: Vec<File>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct File {
        #[prost(string, tag = "2")]
        package: String,
        #[prost(message, repeated, tag = "6")]
        service: Vec<Service>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Service {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, repeated, tag = "2")]
        method: Vec<Method>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Method {
        #[prost(string, tag = "1")]
        name: String,
    }

    /// The paths of all calls that a node serves.
    fn served() -> Vec<String> {
        let set = Set::decode(dynamo_wire::FILE_DESCRIPTOR_SET).unwrap();
        let mut paths = Vec::new();
        for file in &set.file {
            for service in &file.service {
                let path = |method: &Method| format!("/{}.{}/{}", file.package, service.name, method.name);
                paths.extend(service.method.iter().map(path));
            }
        }
        paths
    }

    #[test]
    fn every_call_that_there_is_takes_what_it_should_and_an_unknown_one_the_most() {
        let served = served();
        let changing = ["/dynamo.v1.Admin/CreateBucket", "/dynamo.v1.RingAdmin/Apply", "/dynamo.v1.RingAdmin/Cancel"];
        let writing = ["/dynamo.v1.Kv/Put", "/dynamo.v1.Kv/Delete", "/dynamo.v1.Kv/BatchPut"];
        let is_served = |path: &&str| served.iter().any(|served| served == path);
        assert!(served.len() > 10 && changing.iter().chain(&writing).all(is_served));
        for path in &served {
            let of_peers = path.starts_with("/dynamo.v1.Replica/") || path.starts_with("/dynamo.v1.Gossip/");
            let expected = match path.as_str() {
                path if of_peers || changing.contains(&path) => Right::Admin,
                path if writing.contains(&path) => Right::Write,
                _ => Right::Read,
            };
            assert_eq!(Right::needed(path), expected, "{path}");
        }
        for path in ["", "/", "/metrics/", "/dynamo.v1.Kv", "/dynamo.v2.Kv/Get", "/dynamo.v1.Admin/status"] {
            assert_eq!(Right::needed(path), Right::Admin, "{path}");
        }
        assert_eq!(Right::needed("/metrics"), Right::Metrics);
    }

    #[test]
    fn a_file_of_tokens_gives_what_its_name_begins_with_and_nothing_by_accident() {
        for (name, right) in [
            ("metrics", Some(Right::Metrics)),
            ("read.dashboard", Some(Right::Read)),
            ("client", Some(Right::Write)),
            ("client.shop.eu", Some(Right::Write)),
            ("admin.operator", Some(Right::Admin)),
            ("administrators", None),
            ("Admin", None),
            ("admin-operator", None),
            ("shop.admin", None),
            ("", None),
        ] {
            assert_eq!(Right::of_file(name), right, "{name}");
        }
    }
}
