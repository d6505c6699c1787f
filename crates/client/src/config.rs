//! How a client finds and uses a cluster.

use std::{net::Ipv6Addr, sync::Arc, time::Duration};

use dynamo_tls::{Caller, CallerFiles};

use crate::{
    error::{Code, Error},
    nodes::bad_endpoint,
};

/// Which node a request goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// A home replica of the key: one hop less (§6.4).
    Coordinator,
    /// The given endpoints, in their order: for port-forwards and proxies.
    Server,
}

/// A client's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to begin, host:port each, tried in order.
    pub endpoints: Vec<String>,
    /// Which node a request goes to.
    pub routing: Routing,
    /// For one request, its retries included. An update counts as one.
    pub timeout: Duration,
    /// For one connection, the node's first answer included.
    pub connect_timeout: Duration,
    /// Whom to trust and what to show; nothing: plaintext.
    pub tls: Option<CallerFiles>,
    /// An endpoint was given as `https://`: nothing is sent in plaintext.
    pub wants_tls: bool,
}

impl Config {
    /// The defaults: straight to the coordinator, 10 s a request, 2 s a connection.
    pub fn new(endpoints: Vec<String>) -> Self {
        let (timeout, connect_timeout) = (Duration::from_secs(10), Duration::from_secs(2));
        Self { endpoints, routing: Routing::Coordinator, timeout, connect_timeout, tls: None, wants_tls: false }
    }

    /// From a comma-separated list, `http://` or `https://` allowed before each.
    ///
    /// # Errors
    /// Something in it is no endpoint.
    pub fn parse(list: &str) -> Result<Self, Error> {
        let endpoints = list.split(',').map(|endpoint| parse_endpoint(endpoint.trim())).collect::<Result<_, _>>()?;
        let wants_tls = list.split(',').any(|endpoint| endpoint.trim().starts_with("https://"));
        Ok(Self { wants_tls, ..Self::new(endpoints) })
    }

    /// What to connect with, as its files have it now.
    ///
    /// # Errors
    /// They can't be used, or TLS is asked for and nobody is trusted.
    pub(crate) fn caller(&self) -> Result<Option<Arc<Caller>>, Error> {
        match &self.tls {
            Some(files) => match Caller::open(files.clone()) {
                Ok(caller) => Ok(Some(caller)),
                Err(why) => Err(Error::new(Code::BadCredentials, format!("{why}; nothing was read or written"))),
            },
            None if self.wants_tls => {
                let message = "an endpoint is https://, and it is not said whose certificate it may have: nothing was read or written; give the file of the authorities that are trusted (--tls-ca or DYNAMO_TLS_CA)";
                Err(Error::new(Code::BadCredentials, message))
            }
            None => Ok(None),
        }
    }
}

fn parse_endpoint(given: &str) -> Result<String, Error> {
    if given.is_empty() {
        let message = "an endpoint is empty: expected host:port, comma separated, for example 127.0.0.1:7400";
        return Err(Error::new(Code::BadEndpoint, message));
    }
    let endpoint = ["http://", "https://"].into_iter().find_map(|scheme| given.strip_prefix(scheme)).unwrap_or(given);
    let endpoint = endpoint.strip_suffix('/').unwrap_or(endpoint);
    if is_endpoint(endpoint) { Ok(endpoint.to_owned()) } else { Err(bad_endpoint(given)) }
}

/// Whether this is host:port: a name or an IPv4 address, or an IPv6 address in brackets, and a port that can be listened
/// on.
fn is_endpoint(endpoint: &str) -> bool {
    let Some((host, port)) = endpoint.rsplit_once(':') else { return false };
    let host_is_good = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    };
    let port_is_good = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    host_is_good && port_is_good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_endpoints_is_taken_apart() {
        let config = Config::parse("a:1, http://b:2/ ,[::1]:7400,node-1.shop_x.svc:65535").unwrap();
        assert_eq!(config.endpoints, ["a:1", "b:2", "[::1]:7400", "node-1.shop_x.svc:65535"]);
    }

    #[test]
    fn what_is_no_endpoint_is_refused_and_named() {
        let no_host_or_port = ["host", ":1", "a:", "a:0", "a:99999", "a:+1", "a:-1", "a: 1", "a:1:2:x", "::1:7400"];
        let strange_characters = ["a b:1", "a\n:1", "a@b:1", "ä:1", "a/b:1", "a:1/x", "a:1?x", "a:1#x", "\0:1"];
        let no_address = ["[::1]", "[]:1", "[a]:1", "[::1:1", "ftp://a:1", "http://", "http://http://a:1", "a:1//"];
        for list in no_host_or_port.into_iter().chain(strange_characters).chain(no_address) {
            for list in [list.to_owned(), format!("a:1,{list},b:2")] {
                let error = Config::parse(&list).unwrap_err();
                assert_eq!(error.code, Code::BadEndpoint, "{list:?}");
                assert!(error.message.contains("host:port"), "{error}");
            }
        }
    }

    #[test]
    fn nothing_is_no_endpoint_and_said_to_be_nothing() {
        for list in ["", " ", ",", "a:1,,b:2", "a:1,"] {
            let error = Config::parse(list).unwrap_err();
            assert!(error.code == Code::BadEndpoint && error.message.contains("is empty"), "{list:?}: {error}");
        }
    }

    #[test]
    fn who_asks_for_tls_is_not_given_plaintext() {
        let config = Config::parse("a:1, https://b:2/").unwrap();
        assert_eq!(config.endpoints, ["a:1", "b:2"]);
        let error = config.caller().err().unwrap();
        assert!(error.code == Code::BadCredentials && error.message.contains("--tls-ca"), "{error}");
        assert!(Config::parse("http://a:1,b:2").unwrap().caller().unwrap().is_none());
    }

    #[test]
    fn files_that_can_not_be_used_are_named() {
        let tls = CallerFiles { trust: "/nowhere/ca.pem".into(), certificate: None, token: None, server_name: None };
        let config = Config { tls: Some(tls), ..Config::new(vec!["a:1".into()]) };
        let error = config.caller().err().unwrap();
        assert!(error.code == Code::BadCredentials && error.message.contains("/nowhere/ca.pem"), "{error}");
    }

    #[test]
    fn no_text_panics_and_every_endpoint_that_is_taken_is_a_uri() {
        let pieces = ["a", ":", "1", "[", "]", "::", "http://", "/", ",", " ", "ß", "%", "+", "0"];
        for number in 0..pieces.len().pow(4) {
            let digit = |place: u32| pieces[number / pieces.len().pow(place) % pieces.len()];
            let list = [digit(0), digit(1), digit(2), digit(3)].concat();
            for endpoint in Config::parse(&list).map(|config| config.endpoints).unwrap_or_default() {
                assert!(tonic::transport::Endpoint::from_shared(format!("http://{endpoint}")).is_ok(), "{list:?}");
            }
        }
    }
}
