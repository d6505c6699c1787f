//! How a client finds and uses a cluster.

use std::time::Duration;

use crate::{error::Error, nodes::bad_endpoint};

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
    /// For one request, its retries included.
    pub timeout: Duration,
    /// For one connection.
    pub connect_timeout: Duration,
}

impl Config {
    /// The defaults: straight to the coordinator, 10 s a request, 2 s a connection.
    pub fn new(endpoints: Vec<String>) -> Self {
        let (timeout, connect_timeout) = (Duration::from_secs(10), Duration::from_secs(2));
        Self { endpoints, routing: Routing::Coordinator, timeout, connect_timeout }
    }

    /// From a comma-separated list, `http://` allowed before each.
    ///
    /// # Errors
    /// Something in it is no endpoint.
    pub fn parse(list: &str) -> Result<Self, Error> {
        let endpoints: Vec<String> = list
            .split(',')
            .map(|endpoint| endpoint.trim().trim_start_matches("http://").trim_end_matches('/').to_owned())
            .collect();
        for endpoint in &endpoints {
            let port = endpoint
                .rsplit_once(':')
                .filter(|(host, _)| !host.is_empty())
                .and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none_or(|port| port == 0) || endpoint.contains(['/', ' ', '@']) {
                return Err(bad_endpoint(endpoint));
            }
        }
        Ok(Self::new(endpoints))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_endpoints_is_taken_apart() {
        let config = Config::parse("a:1, http://b:2/").unwrap();
        assert_eq!(config.endpoints, ["a:1", "b:2"]);
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for list in ["", "host", ":1", "a:0", "a:99999", "a:1,,b:2", "ftp://a:1", "a b:1"] {
            assert!(Config::parse(list).is_err(), "{list:?}");
        }
    }
}
