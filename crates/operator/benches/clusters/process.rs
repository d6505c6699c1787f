//! The operator's process, and what it uses.

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use dynamo_operator::probe::probe;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    stage::Stage,
    support::{OPERATOR, stub::free_port},
};

/// In which /proc counts, on every Linux.
const TICKS_PER_S: f64 = 100.0;

pub struct Operator {
    child: Mutex<Child>,
    pid: u32,
    http: SocketAddr,
}

pub struct Usage {
    pub cpu_s: f64,
    pub memory_kib: u64,
    pub memory_peak_kib: u64,
}

impl Drop for Operator {
    fn drop(&mut self) {
        let child = self.child.get_mut().expect("nobody panics with it");
        // It may be gone already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Operator {
    /// One with the rights of an installation, which is ready to work.
    pub async fn start(stage: &Stage, log_level: &str) -> Operator {
        let local = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (http, signer) = (local(), local());
        let mut command = Command::new(env!("CARGO_BIN_EXE_dynamo-operator"));
        command
            .args(["--node-port", &stage.port.to_string(), "--image-repository", "example.com/node"])
            .args(["--http-listen", &http.to_string(), "--signer-listen", &signer.to_string()])
            .args(["--identity", "bench", "--log-level", log_level])
            .env("KUBECONFIG", stage.plane.kubeconfig(OPERATOR, None))
            .stdin(Stdio::null());
        let child = command.spawn().expect("the operator starts");
        let operator = Operator { pid: child.id(), child: Mutex::new(child), http };
        probe(&format!("http://{http}/readyz")).await.expect("the operator gets ready");
        operator
    }

    /// Fails if it has ended; its last words are on the terminal.
    pub fn expect_running(&self) {
        let ended = self.child.lock().expect("nobody panics with it").try_wait().expect("the state of a child");
        assert!(ended.is_none(), "the operator ended: {ended:?}");
    }

    pub fn usage(&self) -> Usage {
        let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.pid)).expect("it runs");
        let (stat, status) = (read("stat"), read("status"));
        // The name, in brackets, may have anything in it.
        let fields: Vec<&str> = stat[stat.rfind(')').expect("a name") + 2..].split(' ').collect();
        let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number")).sum();
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a process has memory");
            line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().expect("a number")
        };
        Usage { cpu_s: ticks / TICKS_PER_S, memory_kib: kib("VmRSS"), memory_peak_kib: kib("VmHWM") }
    }

    /// How often it has looked at a cluster.
    pub async fn looks(&self) -> u64 {
        let mut stream = TcpStream::connect(self.http).await.expect("its port");
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http);
        stream.write_all(request.as_bytes()).await.expect("it listens");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("it answers");
        let answer = String::from_utf8_lossy(&answer);
        let counts = answer.lines().filter(|line| line.starts_with("dynamo_operator_reconciles_total{"));
        counts.map(|line| line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()).expect("a count")).sum()
    }
}
