//! Whether a node is ready: `GET /readyz` by hand, which needs no HTTP library.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the node answers 200. Anything else is "not yet".
pub async fn is_ready(address: &str) -> bool {
    timeout(PATIENCE, ask(address)).await.ok().flatten().is_some_and(|status| is_success(&status))
}

async fn ask(address: &str) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut status = vec![0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut status).await.ok()?;
    Some(status)
}

fn is_success(status: &[u8]) -> bool {
    status.starts_with(b"HTTP/1.") && status.ends_with(b" 200")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_is_what_answers_200_and_nothing_else() {
        for (answer, ready) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", false),
            ("SSH-2.0-OpenSSH_9.2\r\n", false),
            ("", false),
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 64];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
            assert_eq!(is_ready(&address).await, ready, "{answer}");
            server.await.unwrap();
            assert!(!is_ready(&address).await, "nobody listens any more");
        }
    }
}
