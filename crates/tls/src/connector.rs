//! Making a connection: TCP, then a handshake with what is loaded at that moment.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower_service::Service;

use crate::{Name, Stranger, names_of};

/// A connection that is made.
pub type Stream = TokioIo<TlsStream<TcpStream>>;

/// What is loaded now.
type Current = Arc<dyn Fn() -> Result<Arc<ClientConfig>, String> + Send + Sync>;
/// Whether whoever these names are of is the one that was looked for; if not, why.
type Check = Arc<dyn Fn(&[Name]) -> Result<(), String> + Send + Sync>;

/// Whom to connect with.
#[derive(Clone)]
pub enum Dial {
    /// Whoever is at the host, which its certificate has to name; or this name in place of the host's, as with a
    /// forwarded port.
    Host(Option<ServerName<'static>>),
    /// The node for which this is true, wherever it is.
    Node(Check),
}

/// Makes connections; as tonic takes it. Each reads what is loaded anew.
#[derive(Clone)]
pub struct Connector {
    current: Current,
    dial: Dial,
}

impl Connector {
    /// With what `current` gives at the time.
    pub fn new(current: impl Fn() -> Result<Arc<ClientConfig>, String> + Send + Sync + 'static, dial: Dial) -> Self {
        Self { current: Arc::new(current), dial }
    }

    /// Connects to a host's port.
    ///
    /// # Errors
    /// It can't be reached, or whoever is there is not the one.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<TlsStream<TcpStream>> {
        let config = (self.current)().map_err(io::Error::other)?;
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let asked = match &self.dial {
            Dial::Host(Some(name)) => name.clone(),
            _ => ServerName::try_from(host.to_owned())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("{host}: {error}")))?,
        };
        let stream = TlsConnector::from(config).connect(asked, stream).await?;
        if let Dial::Node(check) = &self.dial {
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let names = shown.map(names_of).unwrap_or_default();
            check(&names).map_err(|why| io::Error::other(Stranger(why)))?;
        }
        Ok(stream)
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default();
            // An IPv6 address stands in brackets.
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            connector.connect(host, uri.port_u16().unwrap_or(443)).await.map(TokioIo::new)
        })
    }
}
