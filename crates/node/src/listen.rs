//! Binding the ports that the configuration names.

use std::io;

use tokio::net::TcpListener;

/// Listens on `host:port`, the first address of the host that can be bound. `key` is where the address is configured.
///
/// # Errors
/// The host is not known or not this machine's, or the port is taken: with the key, the address and what to do.
pub async fn listen(key: &str, address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let advice = advice(&error);
        anyhow::Error::new(error).context(format!("{key}: can't listen on {address}: {advice}; nothing was changed"))
    })
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process uses the port, stop it or choose another port",
        io::ErrorKind::AddrNotAvailable => "choose an address of this machine, or 0.0.0.0 for all of them",
        io::ErrorKind::PermissionDenied => "choose a port that this user may use, such as one above 1023",
        _ => "choose a name that resolves to an address of this machine, or 0.0.0.0 for all of them",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_resolved_and_listened_on() {
        let listener = listen("node.client_listen", "localhost:0").await.unwrap();
        assert!(listener.local_addr().unwrap().ip().is_loopback());
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_bound_is_told_with_its_key_and_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let taken = taken.local_addr().unwrap().to_string();
        for (address, says) in [
            (taken.as_str(), "another process uses the port"),
            ("no-such-host.invalid:7400", "choose a name that resolves"),
            // Of the addresses that are for examples only.
            ("192.0.2.1:7400", "choose an address of this machine"),
        ] {
            let error = format!("{:#}", listen("node.peer_listen", address).await.unwrap_err());
            let begin = format!("node.peer_listen: can't listen on {address}: ");
            assert!(error.starts_with(&begin) && error.contains(says), "{error}");
        }
    }
}
