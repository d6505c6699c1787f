//! What an attempt to reach a peer that failed says of the peer (§4.8.3): that it does not run, or nothing yet.
//!
//! A node whose machine has just come back has no routes and no names for a moment. What its own network answers then is
//! no word of its peers: only who is there, or the host where nobody listens, can refuse.

use std::{
    error::Error,
    io::{self, ErrorKind},
};

use tonic::{Code, ConnectError, Status};

/// Why a connection could not be had or was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Nothing listens there, or the peer closed, or whoever is there will have nothing to do with this node: no request can
    /// be sent there.
    Refused,
    /// No answer in time, or no way there and no name for it: the peer may be well.
    Timeout,
    /// It was open, and broke. Whether the peer runs shows a moment later, when it is connected to again: a node that stood still
    /// itself finds all its connections broken, and all its peers well.
    Broke,
}

/// What a failed call or connection says of who was called.
pub fn lost(status: &Status) -> Lost {
    if dynamo_tls::refusal(status).is_some() {
        return Lost::Refused;
    }
    let of_peer = match io_error(status) {
        Some(error) => is_of_peer(error.kind()),
        None => !is_silence(status),
    };
    match (of_peer, was_open(status)) {
        (false, _) => Lost::Timeout,
        (true, true) => Lost::Broke,
        (true, false) => Lost::Refused,
    }
}

/// Whether there was a connection: it is neither the peer's answer, which has no cause here, nor could it not be connected to.
fn was_open(status: &Status) -> bool {
    let mut cause = status.source();
    let caused = cause.is_some();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return false;
        }
        cause = error.source();
    }
    caused
}

/// Whether only the peer's host, or what runs there, can have brought this about. All else, that there is no route, that the
/// name is not known, that this process has too many files open, is of this side or of the way.
fn is_of_peer(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::InvalidData
    )
}

/// Where the words are all that is left: who says nothing, or could not be asked since no address of it is known.
fn is_silence(status: &Status) -> bool {
    let text = status.message();
    matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled | Code::InvalidArgument)
        || ["TimedOut", "Elapsed", "keep-alive"].iter().any(|word| text.contains(word))
}

/// The innermost error of the operating system among what an error was made of.
fn io_error(status: &Status) -> Option<&io::Error> {
    let (mut next, mut found) = (status.source(), None);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        found = io.or(found);
        // An `io::Error` hides what it was made of from `source`.
        next = match io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, sync::Arc, time::Duration};

    use dynamo_wire::v1::{GossipEnvelope, gossip_client::GossipClient};
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::link::endpoint;

    /// As a link connects, and as gossip's first message on a connection that is made for it.
    async fn dialled(address: &str) -> [Lost; 2] {
        let endpoint = endpoint(address, Duration::from_millis(500)).unwrap();
        let mut status = Status::unavailable("");
        status.set_source(Arc::new(endpoint.connect().await.expect_err("nobody is there")));
        let told = GossipClient::new(endpoint.connect_lazy()).tell(GossipEnvelope::default()).await;
        [lost(&status), lost(&told.expect_err("nobody is there"))]
    }

    #[tokio::test]
    async fn a_host_where_nothing_listens_refuses() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(dialled(&free.to_string()).await, [Lost::Refused; 2]);
    }

    #[tokio::test]
    async fn a_name_that_is_not_known_is_no_word_of_the_peer() {
        // Longer than a name's part may be: no server of names is asked.
        let name = format!("{}.invalid:8400", "a".repeat(70));
        assert_eq!(dialled(&name).await, [Lost::Timeout; 2]);
    }

    #[tokio::test]
    async fn a_way_that_this_machine_does_not_have_is_no_word_of_the_peer() {
        // A connection to a broadcast address is turned away by this machine itself.
        assert_eq!(dialled("255.255.255.255:8400").await, [Lost::Timeout; 2]);
    }

    /// The peer, or the way to it, has closed a connection that gossip was about to use: whoever stood still finds that of all.
    #[tokio::test]
    async fn a_connection_that_was_closed_meanwhile_is_no_word_of_the_peer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = endpoint(&listener.local_addr().unwrap().to_string(), Duration::from_secs(5)).unwrap();
        let closes = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            // Once something was asked.
            connection.read_exact(&mut [0; 64]).await.unwrap();
        });
        let told = GossipClient::new(endpoint.connect_lazy()).tell(GossipEnvelope::default()).await;
        closes.await.unwrap();
        assert_eq!(lost(&told.unwrap_err()), Lost::Broke);
    }

    #[test]
    fn an_error_of_the_network_says_nothing_of_the_peer_however_deep_it_lies() {
        let cases = [
            (ErrorKind::ConnectionRefused, Lost::Refused),
            (ErrorKind::ConnectionReset, Lost::Refused),
            (ErrorKind::HostUnreachable, Lost::Timeout),
            (ErrorKind::NetworkUnreachable, Lost::Timeout),
            (ErrorKind::NetworkDown, Lost::Timeout),
            (ErrorKind::AddrNotAvailable, Lost::Timeout),
            (ErrorKind::PermissionDenied, Lost::Timeout),
            (ErrorKind::TimedOut, Lost::Timeout),
            (ErrorKind::Other, Lost::Timeout),
        ];
        for (kind, expected) in cases {
            let mut status = Status::unavailable("error trying to connect");
            status.set_source(Arc::new(ConnectError(io::Error::other(io::Error::from(kind)).into())));
            assert_eq!(lost(&status), expected, "{kind:?}");
        }
    }

    #[test]
    fn a_status_is_an_answer_unless_it_tells_of_silence() {
        assert_eq!(lost(&Status::failed_precondition("another cluster")), Lost::Refused);
        assert_eq!(lost(&Status::unavailable("the peer closed the stream")), Lost::Refused);
        assert_eq!(lost(&Status::deadline_exceeded("no receipt in time")), Lost::Timeout);
        assert_eq!(lost(&endpoint("", Duration::ZERO).unwrap_err()), Lost::Timeout, "no address is known");
    }
}
