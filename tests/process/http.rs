//! What nodes' HTTP ports say.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// An answer as it comes, its head first. Whoever speaks TLS answers with something that is no text, or hangs up: then it
/// is what came until then.
pub fn get(address: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    Ok(answer)
}

/// A gauge of a node's; 0 where it has none yet, or does not answer.
pub fn gauge(address: &str, name: &str) -> u64 {
    let text = get(address, "/metrics").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |number| number.trim().parse::<f64>().unwrap() as u64)
}
