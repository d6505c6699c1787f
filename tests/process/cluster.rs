//! A cluster for a test: started by the command, used by the command.

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;

/// The program.
pub const DYNAMO: &str = env!("CARGO_BIN_EXE_dynamo");
/// How long a cluster may take to be ready, or hints to be delivered: never an expectation of speed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running cluster.
pub struct Cluster {
    dir: tempfile::TempDir,
    supervisor: Child,
    pub endpoint: String,
}

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// The first of ten ports that no other test of this process has. Peers' ports are 1,000 higher, HTTP ports 2,000: 100
/// clusters in a block of 3,000.
pub fn ten_ports() -> u16 {
    10_000 + (std::process::id() % 7) as u16 * 3000 + NEXT_PORT.fetch_add(1, Ordering::Relaxed) * 10 % 1000
}

impl Cluster {
    /// Starts `nodes` nodes; `extra` are further flags of `dynamo local`.
    pub fn start(nodes: usize, extra: &[&str]) -> Self {
        Self::start_prepared(nodes, extra, |_| Command::new(DYNAMO))
    }

    /// The same, with the command that `launcher` makes for the cluster's folder in place of the plain program: flags
    /// are added at its end.
    pub fn start_prepared(nodes: usize, extra: &[&str], launcher: impl Fn(&Path) -> Command) -> Self {
        // Other tests of this process, and other processes, have ports too: a taken one is said so, and the next is tried.
        for _ in 0..20u16 {
            let port = ten_ports();
            let dir = tempfile::tempdir().unwrap();
            if let Some(cluster) = Self::try_start(dir, port, nodes, extra, &launcher) {
                return cluster;
            }
        }
        panic!("no cluster could be started");
    }

    fn try_start(
        dir: tempfile::TempDir,
        port: u16,
        nodes: usize,
        extra: &[&str],
        launcher: &impl Fn(&Path) -> Command,
    ) -> Option<Self> {
        let log = std::fs::File::create(dir.path().join("supervisor.log")).unwrap();
        let mut supervisor = launcher(&dir.path().join("c"))
            .args(["local", "--nodes", &nodes.to_string(), "--port", &port.to_string()])
            .arg("--dir")
            .arg(dir.path().join("c"))
            .args(extra)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let until = Instant::now() + PATIENCE;
        while !dir.path().join("c/cluster.json").exists() {
            if supervisor.try_wait().unwrap().is_some() {
                eprintln!("{}", std::fs::read_to_string(dir.path().join("supervisor.log")).unwrap());
                return None;
            }
            assert!(Instant::now() < until, "the cluster was not ready in time");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(Self { dir, supervisor, endpoint: format!("127.0.0.1:{port}") })
    }

    /// The cluster's folder.
    pub fn dir(&self) -> std::path::PathBuf {
        self.dir.path().join("c")
    }

    /// All nodes' endpoints.
    pub fn endpoints(&self) -> Vec<String> {
        let nodes = self.described()["nodes"].as_array().unwrap().clone();
        nodes.iter().map(|node| node["endpoint"].as_str().unwrap().to_owned()).collect()
    }

    /// DIR/cluster.json.
    pub fn described(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.dir().join("cluster.json")).unwrap()).unwrap()
    }

    /// A node's process.
    pub fn pid(&self, node: &str) -> i32 {
        let described = self.described();
        let nodes = described["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|row| row["id"] == node).unwrap();
        node["pid"].as_i64().unwrap() as i32
    }

    /// kill -9.
    pub fn kill(&self, node: &str) {
        self.kill_at_once(&[node]);
    }

    /// kill -9 of all of them in one go. On return they are gone, their ports and files free.
    pub fn kill_at_once(&self, nodes: &[&str]) {
        let pids: Vec<String> = nodes.iter().map(|node| self.pid(node).to_string()).collect();
        assert!(Command::new("kill").arg("-9").args(&pids).status().unwrap().success());
        let until = Instant::now() + PATIENCE;
        for pid in pids {
            let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
            // A zombie holds nothing any more.
            while stat().is_some_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z")) {
                assert!(Instant::now() < until, "process {pid} does not die");
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    /// Brings a killed node back.
    pub fn restart(&self, node: &str) {
        let dir = self.dir();
        // The supervisor notices a death a moment after the kill.
        self.until("a killed node is restarted", || {
            let output = self.run_with(&["local", "restart-node", node, "--dir", dir.to_str().unwrap()], None);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() || stderr.contains("still running"), "{stderr}");
            output.status.success()
        });
    }

    /// Runs `dynamo` against this cluster.
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_with(args, None)
    }

    /// The same with standard input.
    pub fn run_with(&self, args: &[&str], input: Option<&[u8]>) -> Output {
        let mut child = self
            .command(args)
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        if let Some(input) = input {
            // A child that refuses its input closes it: that is its exit code's matter.
            let _ = child.stdin.take().unwrap().write_all(input);
        }
        child.wait_with_output().unwrap()
    }

    /// The command, not started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(DYNAMO);
        command.args(args).env("DYNAMO_ENDPOINT", self.endpoints().join(","));
        command
    }

    /// Standard output of a command that succeeds.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "dynamo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// JSON of a command that succeeds.
    pub fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
        serde_json::from_str(&self.ok(&args)).unwrap()
    }

    /// Hints that each node holds, asked of the node itself.
    pub fn hints(&self) -> u64 {
        let mut hints = 0;
        for endpoint in self.endpoints() {
            let status = self.json(&["status", "--endpoint", &endpoint]);
            let asked = status["asked"].clone();
            let nodes = status["nodes"].as_array().unwrap();
            hints += nodes.iter().find(|row| row["id"] == asked).unwrap()["hints"].as_u64().unwrap();
        }
        hints
    }

    /// Waits until no node holds a hint.
    pub fn until_hints_drained(&self) {
        self.until("hints drain", || self.hints() == 0);
    }

    /// Waits for something that has to come true.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < until, "{what}: not in time");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in self.described()["nodes"].as_array().into_iter().flatten() {
                let log = Path::new(node["dir"].as_str().unwrap()).join("log");
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let tail: Vec<_> = text.lines().rev().take(15).collect();
                eprintln!("--- {}\n{}", log.display(), tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
        }
        let _ = Command::new("kill").args(["-INT", &self.supervisor.id().to_string()]).status();
        let _ = self.supervisor.wait();
    }
}
