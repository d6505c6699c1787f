//! Asks an operator whether it is ready: `dynamo-operator probe http://HOST:PORT/readyz`, for `helm test` and for images in which there
//! is no other program.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// In all. A container that has begun a moment ago may have no network yet.
const PATIENCE: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(1);
/// For one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// An answer that is longer is somebody else's.
const ANSWER_BYTES: u64 = 64 << 10;

/// Prints the answer, or why there was none.
pub fn main_with(url: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.context("no threads can be had").and_then(|runtime| runtime.block_on(probe(url))) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("dynamo-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Asks until the answer is 200.
///
/// # Errors
/// The last answer was another, or there was none.
pub async fn probe(url: &str) -> Result<String> {
    probe_for(url, PATIENCE).await
}

async fn probe_for(url: &str, patience: Duration) -> Result<String> {
    let rest = url.strip_prefix("http://").with_context(|| format!("{url:?} is no http:// address"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    ensure!(authority.contains(':'), "{url:?} names no port");
    let mut last = None;
    let asking = async {
        loop {
            match tokio::time::timeout(TIMEOUT, ask(authority, path)).await {
                Ok(Ok(answer)) => return answer,
                Ok(Err(error)) => last = Some(format!("{error:#}")),
                Err(_) => last = Some("no answer in time".to_owned()),
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    match tokio::time::timeout(patience, asking).await {
        Ok(answer) => Ok(answer),
        Err(_) => bail!("{url}: {}", last.unwrap_or_else(|| "no answer in time".to_owned())),
    }
}

async fn ask(authority: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(authority).await.context("connecting")?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.context("asking")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).await.context("reading the answer")?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("that is no answer of HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.split(' ').nth(1) == Some("200"), "it answers {status:?}: {}", body.trim());
    Ok(body.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::StatusCode, routing::get};
    use tokio::net::TcpListener;

    use super::*;

    async fn serve() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/readyz", get(|| std::future::ready("ready\n")))
            .route("/starting", get(|| std::future::ready((StatusCode::SERVICE_UNAVAILABLE, "starting\n"))));
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn ready_is_what_answers_200_and_nothing_else() {
        let base = serve().await;
        let short = Duration::from_millis(200);
        assert_eq!(probe(&format!("{base}/readyz")).await.unwrap(), "ready");
        let error = probe_for(&format!("{base}/starting"), short).await.unwrap_err().to_string();
        assert!(error.contains("503") && error.contains("starting"), "{error}");
        assert!(probe_for(&format!("{base}/nothing"), short).await.unwrap_err().to_string().contains("404"));
        let error = probe_for("http://127.0.0.1:1/readyz", short).await.unwrap_err().to_string();
        assert!(error.contains("connecting"), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_address_is_told_at_once() {
        for url in ["", "https://a:1/readyz", "http://a/readyz", "a:1"] {
            assert!(probe(url).await.is_err(), "{url}");
        }
    }
}
