//! How another `dynamo` asks the one that supervises the nodes: JSON lines over a socket in the directory.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
};

use super::layout::Layout;
use crate::failure::{Exit, Failure};

/// A request is a short line.
const REQUEST_BYTES_MAX: u64 = 4096;

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Starts a node that has ended.
    Restart(String),
    /// Ends a node as `kill -9` does.
    Kill(String),
    /// What is known of a node.
    Find(String),
    /// Starts another node, or the one again that is being added.
    Add {
        /// Its zone; without one, zones go round.
        zone: Option<String>,
        /// Its share of the load.
        weight: Option<u32>,
    },
    /// The node that was being added is a member.
    Joined(String),
    /// Stops a node that has left the ring, and keeps its directory under another name.
    Remove(String),
    /// Stops a node, keeps its directory under another name, and starts it with an empty disk; or does the rest of it.
    Replace(String),
    /// The node that was being filled anew is full.
    Refilled(String),
}

/// A node as `cluster.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub id: String,
    /// Its zone.
    pub zone: String,
    /// Of its last process.
    pub pid: u32,
    /// For clients.
    pub endpoint: String,
    /// Its directory.
    pub dir: String,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// Done; the node now.
    Done(Row),
    /// The node is there, and not known to be a member of the ring yet.
    Joining(Row),
    /// The node is there, and is being filled anew.
    Refilling(Row),
    /// The node has left; its files are in this directory.
    Left(String),
    /// Wrongly asked: the same again fails again.
    Refused(String),
    /// It did not work out.
    Failed(String),
}

/// A request and where its reply goes.
pub type Asked = (Request, oneshot::Sender<Reply>);

/// Listens, while this lives.
pub struct Control {
    files: Vec<PathBuf>,
}

impl Drop for Control {
    fn drop(&mut self) {
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
    }
}

impl Control {
    /// Listens and hands requests on. The directory must be locked: what is left of an earlier socket is removed.
    ///
    /// # Errors
    /// The socket can't be made.
    pub fn listen(layout: &Layout, requests: mpsc::Sender<Asked>) -> Result<Self, Failure> {
        let socket = layout.control_socket();
        let cannot = |error: io::Error| Failure::file(format!("can't listen on {}", socket.display()), &error);
        let _ = fs::remove_file(&socket);
        let _ = fs::remove_file(layout.control_path_file());
        let listener = UnixListener::bind(&socket).map_err(cannot)?;
        let mut files = vec![socket.clone()];
        if socket.parent() != Some(layout.dir()) {
            let path = socket.to_str().expect("a temporary directory's name is text");
            fs::write(layout.control_path_file(), path).map_err(cannot)?;
            files.push(layout.control_path_file());
        }
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, requests.clone()));
            }
        });
        Ok(Self { files })
    }
}

async fn serve(stream: UnixStream, requests: mpsc::Sender<Asked>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(REQUEST_BYTES_MAX)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let reply = match serde_json::from_str(&line) {
            Err(error) => Reply::Refused(format!("no such request: {error}")),
            Ok(request) => {
                let (sender, receiver) = oneshot::channel();
                let stopping = || Reply::Failed("the cluster is stopping".to_owned());
                match requests.send((request, sender)).await {
                    Ok(()) => receiver.await.unwrap_or_else(|_| stopping()),
                    Err(_) => stopping(),
                }
            }
        };
        let mut answer = serde_json::to_vec(&reply).expect("plain data can be written");
        answer.push(b'\n');
        if write.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Asks the `dynamo local` that runs in the directory for something that a node is there for.
///
/// # Errors
/// None runs there, it refused, or the node has left.
pub async fn ask(layout: &Layout, request: &Request) -> Result<Row, Failure> {
    match ask_any(layout, request).await? {
        Reply::Done(row) | Reply::Joining(row) | Reply::Refilling(row) => Ok(row),
        Reply::Left(kept) => Err(Failure::usage(format!("the node has left; its files are in {kept}"))),
        Reply::Refused(_) | Reply::Failed(_) => unreachable!("ask_any makes failures of them"),
    }
}

/// The same, where the node may have left: a reply that is no refusal.
///
/// # Errors
/// None runs there, or it refused.
pub async fn ask_any(layout: &Layout, request: &Request) -> Result<Reply, Failure> {
    let socket = match fs::read_to_string(layout.control_path_file()) {
        Ok(path) => PathBuf::from(path.trim_end()),
        Err(_) => layout.control_socket(),
    };
    let not_running = |_| {
        let dir = layout.given().display();
        Failure::usage(format!("no cluster is running in {dir}. Start it with `dynamo local --dir {dir}`"))
    };
    let stream = UnixStream::connect(&socket).await.map_err(not_running)?;
    let lost = |error: io::Error| Failure::file("`dynamo local` went away before it answered", &error);
    let (read, mut write) = stream.into_split();
    let mut line = serde_json::to_vec(request).expect("plain data can be written");
    line.push(b'\n');
    write.write_all(&line).await.map_err(lost)?;
    let mut answer = String::new();
    BufReader::new(read).read_line(&mut answer).await.map_err(lost)?;
    match serde_json::from_str(&answer) {
        Ok(Reply::Refused(message)) => Err(Failure::Told(Exit::Usage, message)),
        Ok(Reply::Failed(message)) => Err(Failure::unavailable(message)),
        Ok(reply) => Ok(reply),
        Err(error) => Err(lost(io::Error::other(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let (id, zone) = ("node-2".into(), "zone-b".into());
        Row { id, zone, pid: 7, endpoint: "127.0.0.1:7401".into(), dir: "d".into() }
    }

    #[test]
    fn requests_look_as_documented() {
        let line = serde_json::to_string(&Request::Restart("node-2".into())).unwrap();
        assert_eq!(line, r#"{"restart":"node-2"}"#);
        assert_eq!(serde_json::from_str::<Request>(r#"{"kill":"node-2"}"#).unwrap(), Request::Kill("node-2".into()));
        let add = serde_json::to_string(&Request::Add { zone: Some("zone-b".into()), weight: None }).unwrap();
        assert_eq!(add, r#"{"add":{"zone":"zone-b","weight":null}}"#);
    }

    #[tokio::test]
    async fn a_request_reaches_the_supervisor_and_its_reply_comes_back() {
        let short = tempfile::tempdir().unwrap();
        for dir in [short.path().to_owned(), short.path().join("x".repeat(120))] {
            let layout = Layout::new(&dir).unwrap();
            let (sender, mut receiver) = mpsc::channel::<Asked>(1);
            let control = Control::listen(&layout, sender).unwrap();
            tokio::spawn(async move {
                while let Some((request, reply)) = receiver.recv().await {
                    let answer = match request {
                        Request::Restart(_) => Reply::Done(row()),
                        Request::Remove(_) => Reply::Left("node-2.left-1".into()),
                        other => Reply::Refused(format!("no {other:?}")),
                    };
                    reply.send(answer).unwrap();
                }
            });
            assert_eq!(ask(&layout, &Request::Restart("node-2".into())).await.unwrap(), row());
            let refused = ask(&layout, &Request::Kill("x".into())).await;
            assert!(matches!(refused, Err(Failure::Told(Exit::Usage, message)) if message == "no Kill(\"x\")"));
            let left = ask_any(&layout, &Request::Remove("node-2".into())).await.unwrap();
            assert_eq!(left, Reply::Left("node-2.left-1".into()));
            assert!(ask(&layout, &Request::Remove("node-2".into())).await.is_err());
            drop(control);
            let gone = ask(&layout, &Request::Restart("node-2".into())).await;
            assert!(matches!(gone, Err(Failure::Told(_, message)) if message.contains("no cluster is running")));
        }
    }
}
