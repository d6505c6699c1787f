//! Other stores, started and stopped by the scripts of a peers checkout: $DYNAMO_PEERS/STORE/cluster.sh fetch|start|stop|wipe|pids.
//!
//! Each is three nodes on 127.0.0.1 to 3. A script may download and build what it starts; what it needs stands in that checkout's README.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::drivers::{
    Connected,
    cassandra::Cassandra,
    etcd::{Etcd, Reads},
};

/// The folder of the checkout.
pub const VARIABLE: &str = "DYNAMO_PEERS";
const HOSTS: [&str; 3] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
/// Load before the first figure, so that a JVM has compiled what will be used.
const JIT: Duration = Duration::from_secs(440);

/// What to stand beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Peer {
    /// QUORUM, commit log synced every 10 s: weaker than fsync
    Cassandra,
    /// QUORUM, commit log synced every 15 ms, before the answer
    CassandraGroup,
    /// QUORUM, commit log synced before the answer
    CassandraBatch,
    /// Linearizable reads, synced before the answer
    Etcd,
    /// The same, but reads see whatever the asked node has
    EtcdSerializable,
}

impl Peer {
    /// The store's folder in the checkout. Only one of each can run: they have the same addresses.
    fn folder(self) -> &'static str {
        match self {
            Self::Cassandra | Self::CassandraGroup | Self::CassandraBatch => "cassandra",
            Self::Etcd | Self::EtcdSerializable => "etcd",
        }
    }

    /// The store's name and what it promises, as rows have them.
    pub fn label(self) -> (&'static str, &'static str) {
        match self {
            Self::Cassandra => ("cassandra", "periodic"),
            Self::CassandraGroup => ("cassandra", "group"),
            Self::CassandraBatch => ("cassandra", "batch"),
            Self::Etcd => ("etcd", "fsync"),
            Self::EtcdSerializable => ("etcd-serializable", "fsync"),
        }
    }

    /// What its answers promise, for whoever sees it beside ours.
    pub fn promises(self) -> &'static str {
        match self {
            Self::Cassandra => {
                "cassandra periodic: quorum reads; a write is in buffers when it is acknowledged, synced every 10 s"
            }
            Self::CassandraGroup => {
                "cassandra group: quorum reads; a write is on disk when it is acknowledged, within 15 ms"
            }
            Self::CassandraBatch => "cassandra batch: quorum reads; a write is on disk when it is acknowledged",
            Self::Etcd => {
                "etcd: its reads are linearizable, ours are quorum reads, which promise less; a write is on disk"
            }
            Self::EtcdSerializable => {
                "etcd-serializable: a read sees what one node has, which may be old: less than a quorum read"
            }
        }
    }
}

/// Refuses two that can't run beside each other.
///
/// # Errors
/// There are two of one store.
pub fn check(peers: &[Peer]) -> Result<()> {
    for (place, peer) in peers.iter().enumerate() {
        if let Some(other) = peers[..place].iter().find(|other| other.folder() == peer.folder()) {
            bail!("{other:?} and {peer:?} have the same addresses: compare with each in a run of its own");
        }
    }
    Ok(())
}

/// A peer's cluster. Stopped with this.
pub struct Cluster {
    peer: Peer,
    script: PathBuf,
    started: bool,
    pids: Vec<u32>,
}

impl Cluster {
    /// Finds its script.
    ///
    /// # Errors
    /// The variable is not set, or names no such folder.
    pub fn find(peer: Peer) -> Result<Self> {
        let (name, _) = peer.label();
        let folder = env::var_os(VARIABLE).with_context(|| {
            format!("no {name} can be started: {VARIABLE} is not set. It names the folder of a peers checkout; without --peers ours is measured alone")
        })?;
        Self::of(peer, PathBuf::from(folder))
    }

    fn of(peer: Peer, folder: PathBuf) -> Result<Self> {
        let folder = std::path::absolute(folder)?;
        let script = folder.join(peer.folder()).join("cluster.sh");
        ensure!(script.is_file(), "{VARIABLE} is {}, and {} is not there", folder.display(), script.display());
        Ok(Self { peer, script, started: false, pids: Vec::new() })
    }

    /// Which one it is.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The running processes.
    pub fn pids(&self) -> Vec<u32> {
        self.pids.clone()
    }

    /// Has it running for values of another size. Tells how long it has to be loaded before it is measured: a JVM that was
    /// started, until it has compiled what is used. etcd begins empty: it keeps old revisions.
    ///
    /// # Errors
    /// Its script failed: with what it said.
    pub async fn renew(&mut self) -> Result<Duration> {
        if self.started && self.peer.folder() == "cassandra" {
            return Ok(Duration::ZERO);
        }
        self.call("wipe").await?;
        // Before the start, so that half a cluster is stopped too.
        self.started = true;
        self.call("start").await?;
        self.pids = parse_pids(&self.call("pids").await?)?;
        Ok(if self.peer.folder() == "cassandra" { JIT } else { Duration::ZERO })
    }

    /// Connects with it.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn connect(&self) -> Result<Connected> {
        let addresses = |port: u16| HOSTS.map(|host| format!("{host}:{port}"));
        let etcd = async |reads| Etcd::connect(&addresses(2379).each_ref().map(String::as_str), reads).await;
        match self.peer {
            Peer::Etcd => etcd(Reads::Linearizable).await.map(Connected::Etcd),
            Peer::EtcdSerializable => etcd(Reads::Serializable).await.map(Connected::Etcd),
            Peer::Cassandra | Peer::CassandraGroup | Peer::CassandraBatch => {
                let cassandra = Cassandra::connect(&addresses(9042).each_ref().map(String::as_str)).await?;
                Ok(Connected::Cassandra(cassandra))
            }
        }
    }

    /// Runs the script elsewhere: it may take minutes.
    async fn call(&self, what: &'static str) -> Result<String> {
        let (command, script) = (self.command(what), self.script.display().to_string());
        tokio::task::spawn_blocking(move || said(command, &script, what)).await?
    }

    fn command(&self, what: &str) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(&self.script);
        command.arg(what).stdin(Stdio::null());
        // A group of its own, so that Ctrl-C does not stop its nodes behind our back.
        command.process_group(0);
        if let (name @ "cassandra", durability) = self.peer.label() {
            debug_assert_eq!(name, self.peer.folder());
            command.env("SYNC", durability);
        }
        command
    }
}

fn said(mut command: Command, script: &str, what: &str) -> Result<String> {
    let output = command.output().with_context(|| format!("{script} can't be run"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{script} {what} failed ({}): {}", output.status, errors.trim_end());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn parse_pids(text: &str) -> Result<Vec<u32>> {
    let pids: Result<Vec<u32>, _> = text.trim().split(',').map(str::parse).collect();
    pids.with_context(|| format!("the peer's processes are told as {text:?}: expected numbers with commas"))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.started
            && let Err(error) = said(self.command("stop"), &self.script.display().to_string(), "stop")
        {
            eprintln!("{error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn checkout(script: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cassandra/cluster.sh");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        dir
    }

    #[test]
    fn two_that_have_the_same_addresses_are_refused() {
        assert!(check(&[Peer::Cassandra, Peer::Etcd]).is_ok() && check(&[]).is_ok());
        for pair in [[Peer::Cassandra, Peer::CassandraBatch], [Peer::Etcd, Peer::Etcd]] {
            assert!(check(&pair).unwrap_err().to_string().contains("same addresses"));
        }
    }

    #[test]
    fn a_checkout_without_the_store_is_named_with_the_variable() {
        let dir = tempfile::tempdir().unwrap();
        let error = Cluster::of(Peer::Etcd, dir.path().into()).err().expect("it is empty").to_string();
        assert!(error.contains(VARIABLE) && error.contains("etcd/cluster.sh"), "{error}");
    }

    #[tokio::test]
    async fn a_store_is_wiped_started_asked_for_its_processes_and_stopped_in_the_end() {
        let dir = checkout("echo \"$1 $SYNC\" >> \"$(dirname \"$0\")/calls\"; [ $1 != pids ] || echo 7,8,9");
        let mut cluster = Cluster::of(Peer::CassandraBatch, dir.path().into()).unwrap();
        assert_eq!(cluster.renew().await.unwrap(), JIT);
        assert_eq!(cluster.pids(), [7, 8, 9]);
        assert_eq!(cluster.renew().await.unwrap(), Duration::ZERO, "its JIT is warm");
        drop(cluster);
        let calls = fs::read_to_string(dir.path().join("cassandra/calls")).unwrap();
        assert_eq!(calls, "wipe batch\nstart batch\npids batch\nstop batch\n");
    }

    #[tokio::test]
    async fn what_a_script_says_when_it_fails_is_told_and_half_a_cluster_stopped() {
        let dir =
            checkout("[ $1 != start ] || { echo no java >&2; exit 1; }; echo \"$1\" >> \"$(dirname \"$0\")/calls\"");
        let mut cluster = Cluster::of(Peer::Cassandra, dir.path().into()).unwrap();
        let error = cluster.renew().await.unwrap_err().to_string();
        assert!(error.contains("no java") && error.contains("start failed"), "{error}");
        drop(cluster);
        assert!(fs::read_to_string(dir.path().join("cassandra/calls")).unwrap().ends_with("stop\n"));
        assert!(parse_pids("7,x").unwrap_err().to_string().contains("\"7,x\""));
    }
}
