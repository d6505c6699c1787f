//! Accepting connections: a bounded number, each noticed when its other end is gone.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt};
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tonic::transport::server::{Connected, TcpIncoming};

use crate::tls::{Acceptor, NotIn, ServerStream, Speaker};

/// An idle connection is asked after so long whether its other end is still there. HTTP/2's own pings only begin once a
/// client has spoken HTTP/2.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// So often it is told that somebody did not get in.
const TOLD: Duration = Duration::from_secs(10);

/// No file or memory left: the listener would say so again at once, for ever.
const RETRY: Duration = Duration::from_millis(200);

/// What a server takes its connections from.
pub type Incoming = Pin<Box<dyn Stream<Item = io::Result<Connection>> + Send>>;

/// The connections of one port, at most `limit` at a time. One more is accepted and closed at once: its client learns
/// it now, where a full backlog would leave it to a timeout. With TLS, a connection comes out when hands are shaken; until
/// then it has its place among the others.
pub fn incoming(listener: TcpListener, port: &'static str, limit: usize, tls: Option<Acceptor>) -> Incoming {
    describe_gauge!("dynamo_connections", "Open connections, by port");
    describe_counter!("dynamo_connections_refused_total", "Connections closed at once because the port had its limit");
    let (open, refused) =
        (gauge!("dynamo_connections", "port" => port), counter!("dynamo_connections_refused_total", "port" => port));
    let places = Arc::new(Semaphore::new(limit));
    let accepted = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE));
    let admitted = accepted.filter_map(move |accepted| {
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
    });
    match tls {
        None => Box::pin(admitted),
        Some(tls) => Box::pin(shaken(admitted, port, limit, tls)),
    }
}

/// Those of the connections that have shaken hands, as they do. Each in a task of its own: all cores take part, and one that
/// is slow holds up nobody.
fn shaken(
    admitted: impl Stream<Item = io::Result<Connection>> + Send + 'static,
    port: &'static str,
    limit: usize,
    tls: Acceptor,
) -> impl Stream<Item = io::Result<Connection>> + Send + 'static {
    describe_counter!("dynamo_tls_handshakes_failed_total", "Connections that ended before TLS was spoken, by port");
    let failed = counter!("dynamo_tls_handshakes_failed_total", "port" => port);
    let told = Arc::new(Mutex::new(None::<Instant>));
    let shaking = admitted.map(move |connection| {
        let (tls, failed, told) = (tls.clone(), failed.clone(), told.clone());
        async move {
            let connection = connection.ok()?;
            let from = connection.other_end();
            match tokio::spawn(connection.shake(tls)).await.ok()? {
                Ok(connection) => Some(Ok(connection)),
                Err(why) => {
                    failed.increment(1);
                    match why {
                        NotIn::Refused(why) if is_time(&told) => {
                            tracing::warn!(port, from, "a connection was refused (this is told now and then): {why}");
                        }
                        NotIn::Refused(why) => tracing::debug!(port, from, "a connection was refused: {why}"),
                        NotIn::Left(why) => {
                            tracing::debug!(port, from, "a connection ended before TLS was spoken: {why}")
                        }
                    }
                    None
                }
            }
        }
    });
    shaking.buffer_unordered(limit).filter_map(std::future::ready)
}

/// Whether it is time to tell again.
fn is_time(told: &Mutex<Option<Instant>>) -> bool {
    let mut told = told.lock();
    let is_time = told.is_none_or(|last| last.elapsed() >= TOLD);
    if is_time {
        *told = Some(Instant::now());
    }
    is_time
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
    let place = Place { open: open.clone(), _place: place };
    Some(Connection { stream: ServerStream::Plain(stream), speaker: Speaker::default(), _place: place })
}

/// An accepted connection that gives its place back when it ends.
pub struct Connection {
    stream: ServerStream,
    speaker: Speaker,
    /// Dropped last.
    _place: Place,
}

/// Its place among the others.
struct Place {
    open: Gauge,
    _place: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.decrement(1);
    }
}

impl Connection {
    fn other_end(&self) -> Option<String> {
        match &self.stream {
            ServerStream::Plain(stream) => stream.peer_addr().ok().map(|address| address.to_string()),
            ServerStream::Tls(_) => None,
        }
    }

    /// The same inside TLS.
    async fn shake(self, tls: Acceptor) -> Result<Self, NotIn> {
        let ServerStream::Plain(stream) = self.stream else { return Ok(self) };
        let (stream, speaker) = tls.accept(stream).await?;
        Ok(Self { stream, speaker, _place: self._place })
    }
}

impl Connected for Connection {
    type ConnectInfo = Speaker;

    fn connect_info(&self) -> Speaker {
        self.speaker.clone()
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
