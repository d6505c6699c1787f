//! Nodes of this project on 127.0.0.1 and up, three of them unless said, each a process of its own with a disk's folder of its own, in
//! three zones: N = 3, R = W = 2.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use dynamo_client::{CallerFiles, Routing};
use dynamo_tls::Role;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::authority::Authority;

const CLUSTER: &str = "bench";
/// N
pub const REPLICATION: usize = 3;
const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];
/// Peers' ports are so much above clients', HTTP ports twice as much.
const PORTS_APART: u16 = 1000;
const READY_WITHIN: Duration = Duration::from_secs(120);
const PROBE_EVERY: Duration = Duration::from_millis(20);
const PROBE_WITHIN: Duration = Duration::from_secs(2);
/// A node that has not ended so long after SIGTERM is killed.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// What statfs says of a file system in memory.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// W replicas have it on stable storage
    Fsync,
    /// One of them has, the others in their operating system's buffers
    OneFsync,
    /// All have it in buffers, which are synced every 100 ms
    Interval,
}

impl Durability {
    /// As the nodes' configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::OneFsync => "one-fsync",
            Self::Interval => "interval",
        }
    }
}

/// How the nodes are started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// On which disk.
    pub dir: PathBuf,
    /// The clients' port, the same on each address.
    pub port: u16,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// Whether all speak TLS and show certificates.
    pub tls: bool,
    /// SECTION.KEY=VALUE, for each node.
    pub sets: Vec<String>,
    /// How many; no fewer than [`REPLICATION`].
    pub nodes: usize,
    /// Whom clients ask.
    pub routing: Routing,
}

/// The nodes, running or not. Their files go with this.
pub struct Cluster {
    settings: Settings,
    files: TempDir,
    authority: Option<Authority>,
    nodes: Vec<Child>,
}

/// Nobody writes any more when the files go.
impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let killed = node.start_kill().is_ok();
            while killed && matches!(node.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

impl Cluster {
    /// Empty, and not started.
    ///
    /// # Errors
    /// The folder can't be made, or is in memory: nothing is synced there.
    pub fn make(settings: Settings) -> Result<Self> {
        let cannot = || format!("no folder for the nodes' files can be made in {}", settings.dir.display());
        fs::create_dir_all(&settings.dir).with_context(cannot)?;
        let files = tempfile::Builder::new().prefix("dynamo-bench-").tempdir_in(&settings.dir).with_context(cannot)?;
        ensure!(
            rustix::fs::statfs(files.path())?.f_type != TMPFS,
            "{} is in memory, and an fsync there costs nothing: name a folder on a disk with --dir",
            settings.dir.display()
        );
        let authority = settings.tls.then(|| Authority::make(&files.path().join("tls"), CLUSTER)).transpose()?;
        let cluster = Self { settings, files, authority, nodes: Vec::new() };
        (0..cluster.settings.nodes).try_for_each(|node| cluster.configure(node))?;
        Ok(cluster)
    }

    /// Where clients connect.
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.settings.nodes).map(|node| self.address(node, 0)).collect()
    }

    /// Whom clients ask.
    pub fn routing(&self) -> Routing {
        self.settings.routing
    }

    /// What clients show; nothing in plaintext.
    ///
    /// # Errors
    /// Their certificate can't be made.
    pub fn caller(&self) -> Result<Option<CallerFiles>> {
        self.authority.as_ref().map(Authority::caller).transpose()
    }

    /// The running processes.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(Child::id).collect()
    }

    /// Whether the nodes were started, and not stopped or killed.
    pub fn is_running(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// Starts all nodes, and waits until all are ready.
    ///
    /// # Errors
    /// One ended, or was not ready in time: with the end of its log.
    pub async fn start(&mut self) -> Result<()> {
        self.nodes = (0..self.settings.nodes).map(|node| self.launch(node)).collect::<Result<_>>()?;
        for node in 0..self.settings.nodes {
            self.until_ready(node).await?;
        }
        Ok(())
    }

    /// kill -9 of all of them. On return they are gone.
    ///
    /// # Errors
    /// One can't be killed.
    pub async fn kill(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Child::start_kill).context("a node can't be killed")?;
        for mut node in self.nodes.drain(..) {
            node.wait().await?;
        }
        Ok(())
    }

    /// Stops all of them as a supervisor would.
    ///
    /// # Errors
    /// One can't be waited for.
    pub async fn stop(&mut self) -> Result<()> {
        for pid in self.pids().into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
            // None but one that has ended by itself can't be told, and that is none to be waited for.
            let _ = kill_process(pid, Signal::TERM);
        }
        for mut node in self.nodes.drain(..) {
            match timeout(STOP_WITHIN, node.wait()).await {
                Ok(ended) => drop(ended?),
                Err(_) => node.kill().await?,
            }
        }
        Ok(())
    }

    fn address(&self, node: usize, ports_above: u16) -> String {
        format!("127.0.0.{}:{}", node + 1, self.settings.port + ports_above * PORTS_APART)
    }

    fn dir(&self, node: usize) -> PathBuf {
        self.files.path().join(format!("node-{}", node + 1))
    }

    /// JSON, which is YAML.
    fn configure(&self, node: usize) -> Result<()> {
        let members: Vec<Value> = (0..self.settings.nodes)
            .map(|member| {
                json!({
                    "name": format!("node-{}", member + 1), "zone": ZONES[member % ZONES.len()], "weight": 1,
                    "address": self.address(member, 1), "client_address": self.address(member, 0),
                })
            })
            .collect();
        let tls = match &self.authority {
            None => json!({ "mode": "plaintext" }),
            Some(authority) => {
                let own =
                    authority.give(Role::Node, &format!("node-{}", node + 1), &format!("127.0.0.{}", node + 1))?;
                json!({ "mode": "tls", "trust_file": authority.trust(), "certificate_file": own, "key_file": own })
            }
        };
        let document = json!({
            "cluster": { "name": CLUSTER, "secret": CLUSTER, "replication": REPLICATION, "members": members },
            "node": {
                "name": format!("node-{}", node + 1), "data_dir": self.dir(node).join("data"),
                "client_listen": self.address(node, 0), "peer_listen": self.address(node, 1),
                "http_listen": self.address(node, 2),
            },
            "storage": { "durability": self.settings.durability.name() },
            "tls": tls,
        });
        fs::create_dir_all(self.dir(node))?;
        fs::write(self.dir(node).join("node.yaml"), format!("{document:#}")).context("a node can't be configured")
    }

    /// A process that ends with this one, however that ends: its standard input closes then.
    fn launch(&self, node: usize) -> Result<Child> {
        let log = File::options().create(true).append(true).open(self.log(node))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("node").arg("--config").arg(self.dir(node).join("node.yaml")).arg("--exit-with-stdin");
        command.args(self.settings.sets.iter().flat_map(|set| ["--set", set]));
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        // A group of its own: Ctrl-C on the terminal is for the bench, which stops its nodes.
        command.process_group(0).kill_on_drop(true);
        command.spawn().with_context(|| format!("node-{} can't be started", node + 1))
    }

    fn log(&self, node: usize) -> PathBuf {
        self.dir(node).join("log")
    }

    async fn until_ready(&mut self, node: usize) -> Result<()> {
        let address = self.address(node, 2);
        let until = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.nodes[node].try_wait()? {
                bail!(
                    "node-{} ended before it was ready ({status}). Its log ends:\n{}",
                    node + 1,
                    tail(&self.log(node))
                );
            }
            if is_ready(&address).await {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("node-{} was not ready in time. Its log ends:\n{}", node + 1, tail(&self.log(node)));
            }
            sleep(PROBE_EVERY).await;
        }
    }
}

/// `GET /readyz` by hand, which needs no HTTP library. Anything but 200 is "not yet".
async fn is_ready(address: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut status = [0; "HTTP/1.1 200".len()];
        stream.read_exact(&mut status).await.ok()?;
        Some(status.ends_with(b" 200"))
    };
    timeout(PROBE_WITHIN, ask).await.ok().flatten().unwrap_or(false)
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_memory_is_refused_since_nothing_is_synced_there() {
        let settings = |dir: &str| Settings {
            dir: dir.into(),
            port: 27400,
            durability: Durability::Fsync,
            tls: false,
            sets: Vec::new(),
            nodes: REPLICATION,
            routing: Routing::Coordinator,
        };
        let in_memory = Path::new("/dev/shm");
        let is_tmpfs = rustix::fs::statfs(in_memory).is_ok_and(|found| found.f_type == TMPFS);
        assert!(is_tmpfs, "every Linux has one there");
        let error = Cluster::make(settings("/dev/shm")).err().expect("it is in memory").to_string();
        assert!(error.contains("--dir") && error.contains("/dev/shm"), "{error}");
        let error = Cluster::make(settings("/proc/nowhere")).err().expect("no folder").to_string();
        assert!(error.contains("/proc/nowhere"), "{error}");
    }

    #[test]
    fn each_node_has_an_address_a_folder_and_with_tls_a_certificate_of_its_own() {
        let dir = tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
        let cluster = Cluster::make(Settings {
            dir: dir.path().into(),
            port: 27400,
            durability: Durability::OneFsync,
            tls: true,
            sets: Vec::new(),
            nodes: REPLICATION,
            routing: Routing::Coordinator,
        })
        .unwrap();
        assert_eq!(cluster.endpoints(), ["127.0.0.1:27400", "127.0.0.2:27400", "127.0.0.3:27400"]);
        let config = fs::read_to_string(cluster.dir(2).join("node.yaml")).unwrap();
        for part in ["127.0.0.3:28400", "127.0.0.3:29400", "one-fsync", "node-3.pem", "zone-b"] {
            assert!(config.contains(part), "{part} is not in {config}");
        }
        let caller = cluster.caller().unwrap().expect("it speaks TLS");
        assert!(caller.trust.exists() && caller.certificate.unwrap().0.exists());
        assert!(!cluster.is_running() && cluster.pids().is_empty());
    }
}
