//! `dynamo-node prestop`: asks the node that runs here to hand over before it is told to stop. An image without a shell has
//! nothing else that could ask.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

/// Connecting to a port of this machine.
const CONNECT: Duration = Duration::from_secs(2);
/// Beyond the time that the node was given.
const MORE: Duration = Duration::from_secs(5);

/// Asks the node with this `node.http_listen` to hand over within so many seconds; what it says.
///
/// # Errors
/// There is none, or it does not answer in time.
pub fn ask(http_listen: &str, seconds: u64) -> io::Result<String> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no address");
    for address in http_listen.to_socket_addrs()? {
        match ask_at(to_connect(address), seconds) {
            Ok(said) => return Ok(said),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Who listens on all addresses is there on the loopback one.
fn to_connect(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn ask_at(address: SocketAddr, seconds: u64) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT)?;
    stream.set_read_timeout(Some(Duration::from_secs(seconds) + MORE))?;
    let request = format!(
        "POST /prestop?seconds={seconds} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.starts_with("HTTP/1.1 200 ") {
        return Ok(body.to_owned());
    }
    let what = head.lines().next().unwrap_or("nothing");
    Err(io::Error::other(format!("{address} answered {what:?}: {}", body.trim_end())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_on_the_loopback_address() {
        for (listen, connect) in
            [("0.0.0.0:9400", "127.0.0.1:9400"), ("[::]:9400", "[::1]:9400"), ("10.1.2.3:1", "10.1.2.3:1")]
        {
            assert_eq!(to_connect(listen.parse().unwrap()), connect.parse().unwrap());
        }
    }

    #[test]
    fn a_node_that_is_not_there_and_one_that_refuses_are_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let length = stream.read(&mut asked).unwrap();
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\nnot from here\n").unwrap();
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        let error = ask(&address, 7).unwrap_err().to_string();
        assert!(error.contains("403") && error.ends_with("not from here"), "{error}");
        assert!(server.join().unwrap().starts_with("POST /prestop?seconds=7 HTTP/1.1\r\n"));
        assert!(ask(&address, 7).is_err(), "nobody listens any more");
    }
}
