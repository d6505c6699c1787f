//! Accepting connections: a bounded number, each noticed when its other end is gone.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};

/// An idle connection is asked after so long whether its other end is still there. HTTP/2's own pings only begin once a
/// client has spoken HTTP/2.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// No file or memory left: the listener would say so again at once, for ever.
const RETRY: Duration = Duration::from_millis(200);

/// What a server takes its connections from.
pub type Incoming = Pin<Box<dyn Stream<Item = io::Result<Connection>> + Send>>;

/// The connections of one port, at most `limit` at a time. One more is accepted and closed at once: its client learns
/// it now, where a full backlog would leave it to a timeout.
pub fn incoming(listener: TcpListener, port: &'static str, limit: usize) -> Incoming {
    describe_gauge!("dynamo_connections", "Open connections, by port");
    describe_counter!("dynamo_connections_refused_total", "Connections closed at once because the port had its limit");
    let (open, refused) =
        (gauge!("dynamo_connections", "port" => port), counter!("dynamo_connections_refused_total", "port" => port));
    let places = Arc::new(Semaphore::new(limit));
    let accepted = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE));
    Box::pin(accepted.filter_map(move |accepted| {
        let admitted = accepted.map(|stream| admit(stream, &places, &open, &refused));
        async move {
            match admitted {
                Ok(admitted) => admitted.map(Ok),
                // One that was reset before it was accepted is its own failure, not the server's.
                Err(error) if is_of_the_connection(&error) => None,
                Err(error) => {
                    tracing::warn!(%error, port, "a connection can't be accepted; trying again");
                    tokio::time::sleep(RETRY).await;
                    None
                }
            }
        }
    }))
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn admit(stream: TcpStream, places: &Arc<Semaphore>, open: &Gauge, refused: &Counter) -> Option<Connection> {
    let Ok(place) = places.clone().try_acquire_owned() else {
        refused.increment(1);
        return None;
    };
    open.increment(1);
    Some(Connection { stream, open: open.clone(), _place: place })
}

/// An accepted connection that gives its place back when it ends.
pub struct Connection {
    stream: TcpStream,
    open: Gauge,
    _place: OwnedSemaphorePermit,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.decrement(1);
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
