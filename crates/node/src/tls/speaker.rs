//! Who is at the other end of a connection that was accepted.

use std::{sync::Arc, time::Duration};

use dynamo_ring::NodeId;
use dynamo_tls::{Name, ServerConfig, names_of, tokio_rustls::TlsAcceptor};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tonic::{Extensions, Status};

use super::{NodeTls, ServerStream};

/// Who has not shaken hands by then has something else in mind.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long who was refused may take to hear why.
const PARTING: Duration = Duration::from_secs(1);

/// Whom a connection's certificate speaks for; of a connection in plaintext, nobody.
#[derive(Debug, Clone, Default)]
pub struct Speaker {
    /// The names; nothing where TLS is off.
    pub names: Option<Arc<[Name]>>,
}

impl Speaker {
    /// Whether a peer is the node that it says it is. In plaintext nobody can tell.
    ///
    /// # Errors
    /// It is another.
    pub fn check(extensions: &Extensions, cluster: &str, says: NodeId) -> Result<(), Status> {
        let names = match extensions.get::<Self>() {
            Some(Self { names: Some(names) }) => names,
            _ => return Ok(()),
        };
        let is_it = |name: &str| NodeId::initial(cluster, name) == says;
        if names.iter().any(|name| name.is_node(cluster, is_it)) {
            return Ok(());
        }
        let shown: Vec<String> = names.iter().map(Name::to_string).collect();
        Err(Status::failed_precondition(format!(
            "the caller says that it is node {says} of cluster {cluster:?}, and shows a certificate for {shown:?}: nothing was exchanged; give each node a certificate of its own name"
        )))
    }
}

/// Why somebody did not get in.
#[derive(Debug)]
pub enum NotIn {
    /// By what was shown.
    Refused(String),
    /// It went away, as a probe of the port does, or said nothing.
    Left(String),
}

/// Shakes hands with who connects to a port.
#[derive(Clone)]
pub struct Acceptor {
    tls: Arc<NodeTls>,
    peers: bool,
}

impl NodeTls {
    /// For the peers' port: nobody but nodes of this cluster.
    pub fn for_peers(self: &Arc<Self>) -> Acceptor {
        Acceptor { tls: self.clone(), peers: true }
    }

    /// For the clients' port: what somebody may do there is seen request by request.
    pub fn for_clients(self: &Arc<Self>) -> Acceptor {
        Acceptor { tls: self.clone(), peers: false }
    }
}

impl Acceptor {
    fn config(&self) -> Arc<ServerConfig> {
        let loaded = self.tls.loaded.load();
        if self.peers { loaded.peers.clone() } else { loaded.clients.clone() }
    }

    /// The connection inside TLS, and who is at its other end.
    ///
    /// # Errors
    /// Why not.
    pub async fn accept(&self, stream: TcpStream) -> Result<(ServerStream, Speaker), NotIn> {
        let shaking = TlsAcceptor::from(self.config()).accept(stream).into_fallible();
        let shaken = tokio::time::timeout(PATIENCE, shaking).await;
        let shaken = shaken.map_err(|_| NotIn::Left("no handshake in time".to_owned()))?;
        let stream = match shaken {
            Ok(stream) => stream,
            Err((error, stream)) => {
                part(stream).await;
                let left = || NotIn::Left(error.to_string());
                return Err(dynamo_tls::refusal(&error).map_or_else(left, NotIn::Refused));
            }
        };
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let names: Arc<[Name]> = shown.map(names_of).unwrap_or_default().into();
        let cluster = &self.tls.cluster;
        if self.peers && !names.iter().any(|name| name.is_node(cluster, |_| true)) {
            let shown: Vec<String> = names.iter().map(Name::to_string).collect();
            let why = format!("a certificate for {shown:?} is none of a node of cluster {cluster:?}");
            return Err(NotIn::Refused(why));
        }
        Ok((ServerStream::Tls(Box::new(stream)), Speaker { names: Some(names) }))
    }
}

/// Ends the connection so that the other end learns why. It may have sent its first request already (its handshake ends before
/// ours): closed with that unread, the connection is reset, and the alert that was sent before is lost on the way.
async fn part(mut stream: TcpStream) {
    let parting = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // Whatever becomes of it, it is over.
    let _ = tokio::time::timeout(PARTING, parting).await;
}
