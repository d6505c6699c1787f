//! One connection to each pod, kept as long as the pod and what is shown to it are the same.
//!
//! It goes to the pod's address, and the certificate has to be for the node's stable name: addresses move.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dynamo_planner::PodId;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::context::ClusterId;

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(1);
/// How often a connection in use is tried, and how long an answer to that may take.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A pod that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which.
    pub pod: PodId,
    /// Which life of it.
    pub uid: String,
    /// Where it is.
    pub address: IpAddr,
    /// The name that its certificate is for.
    pub host: String,
    /// It says that it serves: asked first.
    pub ready: bool,
}

/// What is shown to nodes, and whom to trust; None: plaintext.
pub type Security = Option<Arc<ClientConfig>>;

struct Link {
    target: Target,
    security: Security,
    channel: Channel,
}

/// The connections of all clusters.
#[derive(Default)]
pub struct Links {
    open: Mutex<BTreeMap<(ClusterId, PodId), Link>>,
}

impl Links {
    /// The connection to a pod. It stands by the first call over it, and again after it broke.
    pub fn to(&self, cluster: &ClusterId, target: &Target, port: u16, security: &Security) -> Channel {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (cluster.clone(), target.pod.clone());
        let same = |link: &&Link| {
            let (old, new) = (link.security.as_ref(), security.as_ref());
            let shown = old.map(Arc::as_ptr) == new.map(Arc::as_ptr);
            shown && link.target.uid == target.uid && link.target.address == target.address
        };
        if let Some(link) = open.get(&key).filter(same) {
            return link.channel.clone();
        }
        let channel = connect(SocketAddr::new(target.address, port), &target.host, security.clone());
        let link = Link { target: target.clone(), security: security.clone(), channel: channel.clone() };
        open.insert(key, link);
        channel
    }

    /// A pod did not answer: the next call gets another connection.
    pub fn drop_one(&self, cluster: &ClusterId, pod: &PodId) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&(cluster.clone(), pod.clone()));
    }

    /// Only connections to these pods of a cluster stay.
    pub fn keep(&self, cluster: &ClusterId, targets: &[Target]) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(of, pod), _| of != cluster || targets.iter().any(|target| target.pod == *pod));
    }
}

fn connect(address: SocketAddr, host: &str, security: Security) -> Channel {
    // TLS is the connector's affair, so the address never says https.
    let uri: Uri = format!("http://{address}").parse().expect("an address makes a URI");
    let host = host.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let (host, security) = (host.clone(), security.clone());
        async move { stand(address, host, security).await.map(TokioIo::new) }
    });
    Endpoint::from(uri)
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .connect_with_connector_lazy(connector)
}

async fn stand(address: SocketAddr, host: String, security: Security) -> io::Result<Box<dyn Stream>> {
    let tcp = TcpStream::connect(address).await?;
    let Some(config) = security else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(Box::new(TlsConnector::from(config).connect(name, tcp).await?))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
