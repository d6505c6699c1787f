//! Nodes that are started one by one, each with a file of its own, as an administrator does it without `dynamo local`: so
//! that they can join later, come with another address, an empty disk, or a name that another has.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use dynamo_client::{CallerFiles, Config};
use serde_json::{Value, json};

use crate::{
    cluster::{DYNAMO, PATIENCE, ten_ports},
    http,
};

/// How many in one block of ports.
const AT_MOST: usize = 10;

struct Node {
    zone: String,
    /// Of clients.
    port: u16,
    dir: PathBuf,
    cluster: String,
    /// Its standard input closes with this process, and it stops then.
    process: Option<Child>,
}

/// Nodes of one cluster, and of others that meet it. They are killed with the test, also when it fails.
pub struct Nodes {
    dir: tempfile::TempDir,
    founders: Value,
    /// Settings in place of those that are good for a test.
    settings: Value,
    /// What clients trust and show; nothing in plaintext.
    caller: Option<CallerFiles>,
    nodes: Mutex<BTreeMap<String, Node>>,
    ports: Mutex<Vec<u16>>,
}

impl Nodes {
    /// Founds a cluster of so many nodes in three zones.
    pub fn start(founders: usize) -> Self {
        Self::start_with(founders, &json!({}))
    }

    /// The same with other settings: whole sections, in which `$NODE` is the node's name.
    pub fn start_with(founders: usize, settings: &Value) -> Self {
        Self::start_for(founders, settings, None)
    }

    /// The same for clients that trust and show something.
    pub fn start_for(founders: usize, settings: &Value, caller: Option<CallerFiles>) -> Self {
        let nodes = Self::put_down_for(founders, settings, caller);
        let names: Vec<String> = nodes.nodes.lock().unwrap().keys().cloned().collect();
        names.iter().for_each(|name| nodes.launch(name));
        names.iter().for_each(|name| nodes.until_ready(name));
        // Until its homes have compared their empty disks, nobody knows that nothing was ever lost.
        nodes.until_settled();
        nodes
    }

    /// So many that will found a cluster; none of them runs.
    pub fn put_down_only(founders: usize) -> Self {
        Self::put_down_with(founders, &json!({}))
    }

    /// The same with other settings.
    pub fn put_down_with(founders: usize, settings: &Value) -> Self {
        Self::put_down_for(founders, settings, None)
    }

    fn put_down_for(founders: usize, settings: &Value, caller: Option<CallerFiles>) -> Self {
        let ports = Mutex::new(free_ports());
        let names: Vec<String> = (1..=founders).map(|number| format!("node-{number}")).collect();
        let taken: Vec<u16> = names.iter().map(|_| ports.lock().unwrap().remove(0)).collect();
        let member = |(at, (name, port)): (usize, (&String, &u16))| json!({ "name": name, "zone": zone(at + 1), "address": address(port + 1000), "client_address": address(*port) });
        let members: Vec<Value> = names.iter().zip(&taken).enumerate().map(member).collect();
        let nodes = Self {
            dir: tempfile::tempdir().unwrap(),
            founders: members.into(),
            settings: settings.clone(),
            caller,
            nodes: Mutex::default(),
            ports,
        };
        for (number, (name, port)) in (1..).zip(names.iter().zip(taken)) {
            nodes.put_down(name, &zone(number), port, "ours");
        }
        nodes
    }

    /// Starts a node that is no founder. Who is there already are its seeds.
    pub fn add(&self, name: &str, zone: &str) {
        self.add_of(name, zone, "ours");
    }

    /// The same with flags that the others do not have.
    pub fn add_with(&self, name: &str, zone: &str, flags: &[&str]) {
        let port = self.ports.lock().unwrap().remove(0);
        self.put_down(name, zone, port, "ours");
        self.restart_with(name, flags);
    }

    /// The same of a cluster with this name.
    pub fn add_of(&self, name: &str, zone: &str, cluster: &str) {
        let port = self.ports.lock().unwrap().remove(0);
        self.put_down(name, zone, port, cluster);
        self.restart(name);
    }

    /// Prepares a node with a copy of another's disk, which must not run. It is not started.
    pub fn add_clone(&self, name: &str, of: &str) {
        let port = self.ports.lock().unwrap().remove(0);
        let zone = self.with(of, |node| node.zone.clone());
        self.put_down(name, &zone, port, "ours");
        self.with(name, |node| self.copy_disk(of, &node.dir));
    }

    /// A second node with the name of one that is there, on ports of its own, with an empty disk or a copy of what the first
    /// has by now: what it prints when it ends.
    pub fn run_namesake(&self, name: &str, cloned: bool) -> Output {
        let port = self.ports.lock().unwrap().remove(0);
        let dir = self.dir.path().join(format!("namesake-of-{name}"));
        fs::create_dir_all(&dir).unwrap();
        if cloned {
            self.kill(name);
            self.copy_disk(name, &dir);
            self.restart(name);
        }
        let config = dir.join("node.yaml");
        let seeds = self.seeds(name);
        let node =
            Node { zone: self.with(name, |node| node.zone.clone()), port, dir, cluster: "ours".into(), process: None };
        fs::write(&config, self.configuration(name, &node, &seeds).to_string()).unwrap();
        let mut child = Command::new(DYNAMO)
            .args(["node", "--exit-with-stdin", "--config", config.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let until = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                let _ = child.kill();
                panic!("a second {name} runs: {:?}", child.wait_with_output());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        child.wait_with_output().unwrap()
    }

    /// kill -9; it is gone on return.
    pub fn kill(&self, name: &str) {
        if let Some(mut process) = self.with(name, |node| node.process.take()) {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts a node that does not run, and waits until it serves.
    pub fn restart(&self, name: &str) {
        self.launch(name);
        self.until_ready(name);
    }

    /// The same with a node that may have left meanwhile, and come back only with an empty disk.
    pub fn restart_or_begin_anew(&self, name: &str) {
        self.launch(name);
        if let Err(log) = self.is_ready_or_ends(name) {
            assert!(
                log.lines().last().is_some_and(|line| line.contains("left its cluster")),
                "{name} has ended: {log}"
            );
            self.wipe(name);
            self.restart(name);
        }
    }

    /// Starts a node that does not run and will not: its log, once it has ended.
    pub fn refuses_to_start(&self, name: &str) -> String {
        self.launch(name);
        self.has_ended(name)
    }

    /// The log of one that was launched and has failed, once it has ended.
    pub fn has_ended(&self, name: &str) -> String {
        let process = self.with(name, |node| node.process.take());
        let status = process.expect("it was just started").wait().unwrap();
        let log = self.log(name);
        assert!(!status.success(), "{name} has ended as if all were well: {log}");
        log
    }

    /// Asks all to stop, waits, and starts them again, each at another address. Founders are found in their files where
    /// they were; seeds say where they are.
    pub fn move_all(&self) {
        let mut nodes = self.nodes.lock().unwrap();
        for node in nodes.values_mut() {
            // Its standard input closes: it stops in order.
            drop(node.process.as_mut().and_then(|process| process.stdin.take()));
        }
        for node in nodes.values_mut() {
            let _ = node.process.take().map(|mut process| process.wait());
        }
        *self.ports.lock().unwrap() = free_ports();
        for node in nodes.values_mut() {
            node.port = self.ports.lock().unwrap().remove(0);
        }
        let names: Vec<String> = nodes.keys().cloned().collect();
        drop(nodes);
        names.iter().for_each(|name| self.launch(name));
        names.iter().for_each(|name| self.until_ready(name));
    }

    /// Its disk is lost. It must not run.
    pub fn wipe(&self, name: &str) {
        self.with(name, |node| {
            assert!(node.process.is_none(), "{name} runs");
            fs::remove_dir_all(node.dir.join("data")).unwrap();
        });
    }

    /// Names of nodes of our cluster that run.
    pub fn running(&self) -> Vec<String> {
        let nodes = self.nodes.lock().unwrap();
        let ours = nodes.iter().filter(|(_, node)| node.process.is_some() && node.cluster == "ours");
        ours.map(|(name, _)| name.clone()).collect()
    }

    /// Client endpoints of nodes of our cluster, also of those that are down.
    pub fn endpoints(&self) -> Vec<String> {
        let nodes = self.nodes.lock().unwrap();
        nodes.values().filter(|node| node.cluster == "ours").map(|node| address(node.port)).collect()
    }

    /// The client endpoint of one.
    pub fn endpoint(&self, name: &str) -> String {
        self.with(name, |node| address(node.port))
    }

    /// Where peers reach one.
    pub fn peer_address(&self, name: &str) -> String {
        self.with(name, |node| address(node.port + 1000))
    }

    /// Runs `dynamo-node` with a command of its own and the configuration of a node.
    pub fn run_beside(&self, name: &str, args: &[&str]) -> Output {
        let config = self.with(name, |node| node.dir.join("node.yaml"));
        let mut command = Command::new(DYNAMO);
        command.arg("node").args(args).arg("--config").arg(config).stdin(Stdio::null()).output().unwrap()
    }

    /// SIGTERM, and waits: how it ended, and how long that took.
    pub fn terminate(&self, name: &str) -> (std::process::ExitStatus, Duration) {
        let mut process = self.with(name, |node| node.process.take()).expect("it runs");
        let asked = Instant::now();
        assert!(Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap().success());
        // Waiting closes its standard input, which tells it to stop a second time.
        let _open = process.stdin.take();
        (process.wait().unwrap(), asked.elapsed())
    }

    /// Which life its disk is in.
    pub fn life(&self, name: &str) -> u64 {
        let identity = self.with(name, |node| fs::read_to_string(node.dir.join("data/identity.yaml")).unwrap());
        identity.lines().find_map(|line| line.strip_prefix("incarnation: ")).unwrap().parse().unwrap()
    }

    /// Whether its HTTP port says that it takes requests.
    pub fn is_ready(&self, name: &str) -> bool {
        is_ready(&self.with(name, |node| address(node.port + 2000)))
    }

    /// Runs `dynamo` against this cluster.
    pub fn run(&self, args: &[&str]) -> Output {
        self.run_as(self.caller.as_ref(), args)
    }

    /// The same as somebody else.
    pub fn run_as(&self, caller: Option<&CallerFiles>, args: &[&str]) -> Output {
        let mut command = Command::new(DYNAMO);
        command.args(args).env("DYNAMO_ENDPOINT", self.endpoints().join(",")).stdin(Stdio::null());
        if let Some(CallerFiles { trust, certificate, token, server_name }) = caller {
            command.env("DYNAMO_TLS_CA", trust);
            if let Some((certificate, key)) = certificate {
                command.env("DYNAMO_TLS_CERT", certificate).env("DYNAMO_TLS_KEY", key);
            }
            if let Some(token) = token {
                command.env("DYNAMO_TOKEN_FILE", token);
            }
            if let Some(name) = server_name {
                command.env("DYNAMO_TLS_SERVER_NAME", name);
            }
        }
        command.output().unwrap()
    }

    /// How a client of the library connects.
    pub fn client_config(&self) -> Config {
        Config { tls: self.caller.clone(), ..Config::new(self.endpoints()) }
    }

    /// Where one keeps what it has.
    pub fn data_dir(&self, name: &str) -> PathBuf {
        self.with(name, |node| node.dir.join("data"))
    }

    /// Where one says how it is, in plaintext.
    pub fn http_address(&self, name: &str) -> String {
        self.with(name, |node| address(node.port + 2000))
    }

    /// Standard output of a command that succeeds.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "dynamo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a node has printed in all its lives.
    pub fn log(&self, name: &str) -> String {
        self.with(name, |node| fs::read_to_string(node.dir.join("log")).unwrap_or_default())
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Node) -> T) -> T {
        let mut nodes = self.nodes.lock().unwrap();
        act(nodes.get_mut(name).unwrap_or_else(|| panic!("no {name}")))
    }

    fn copy_disk(&self, of: &str, into: &Path) {
        let from = self.dir.path().join(of).join("data");
        assert!(Command::new("cp").arg("-r").arg(from).arg(into).status().unwrap().success());
    }

    fn put_down(&self, name: &str, zone: &str, port: u16, cluster: &str) {
        let dir = self.dir.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        let node = Node { zone: zone.into(), port, dir, cluster: cluster.into(), process: None };
        self.nodes.lock().unwrap().insert(name.to_owned(), node);
    }

    /// Peers' addresses of the others of our cluster.
    fn seeds(&self, but: &str) -> Vec<String> {
        let nodes = self.nodes.lock().unwrap();
        let others = nodes.iter().filter(|(name, node)| *name != but && node.cluster == "ours");
        others.map(|(_, node)| address(node.port + 1000)).collect()
    }

    fn configuration(&self, name: &str, node: &Node, seeds: &[String]) -> Value {
        let mut document = json!({
            "cluster": {
                "name": node.cluster, "replication": 3, "partitions": 64, "members": self.founders, "seeds": seeds,
            },
            "node": {
                "name": name, "zone": node.zone, "data_dir": node.dir.join("data"),
                "client_listen": address(node.port), "advertise_client": address(node.port),
                "peer_listen": address(node.port + 1000), "advertise_peer": address(node.port + 1000),
                "http_listen": address(node.port + 2000),
            },
            "gossip": { "interval_ms": 100, "down_after_ms": 1000 },
            "background": { "compare_ms": 200 },
            "storage": { "reserve_mib": 16 },
            "log": { "level": "info" },
            "tls": { "mode": "plaintext" },
        });
        let sections: Value = serde_json::from_str(&self.settings.to_string().replace("$NODE", name)).unwrap();
        document.as_object_mut().unwrap().extend(sections.as_object().unwrap().clone());
        document
    }

    /// The same with flags that the others do not have.
    pub fn restart_with(&self, name: &str, flags: &[&str]) {
        self.launch_with(name, flags);
        self.until_ready(name);
    }

    fn launch(&self, name: &str) {
        self.launch_with(name, &[]);
    }

    /// Starts it, and waits for nothing.
    pub fn launch_with(&self, name: &str, flags: &[&str]) {
        let seeds = self.seeds(name);
        self.with(name, |node| {
            assert!(node.process.is_none(), "{name} runs already");
            let config = node.dir.join("node.yaml");
            fs::write(&config, self.configuration(name, node, &seeds).to_string()).unwrap();
            let log = File::options().create(true).append(true).open(node.dir.join("log")).unwrap();
            let process = Command::new(DYNAMO)
                .args(["node", "--exit-with-stdin", "--config", config.to_str().unwrap()])
                .args(flags)
                .stdin(Stdio::piped())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            node.process = Some(process);
        });
    }

    fn until_ready(&self, name: &str) {
        self.is_ready_or_ends(name).unwrap_or_else(|log| panic!("{name} has ended: {log}"));
    }

    /// Waits until a node serves; what it has logged if it ends before.
    fn is_ready_or_ends(&self, name: &str) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        let http = self.with(name, |node| address(node.port + 2000));
        while !is_ready(&http) {
            let ended = self.with(name, |node| {
                let ended = node.process.as_mut().unwrap().try_wait().unwrap().is_some();
                node.process.take_if(|_| ended).is_some()
            });
            if ended {
                return Err(self.log(name));
            }
            assert!(Instant::now() < until, "{name} is not ready in time: {}", self.log(name));
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let mut nodes = match self.nodes.lock() {
            Ok(nodes) => nodes,
            Err(poisoned) => poisoned.into_inner(),
        };
        for (name, node) in nodes.iter_mut() {
            if let Some(mut process) = node.process.take() {
                let _ = process.kill();
                let _ = process.wait();
            }
            if std::thread::panicking() {
                let text = fs::read_to_string(node.dir.join("log")).unwrap_or_default();
                let tail: Vec<_> = text.lines().rev().take(25).collect();
                eprintln!("--- {name}\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
        }
    }
}

/// Zones go round.
pub fn zone(number: usize) -> String {
    ["zone-a", "zone-b", "zone-c"][(number + 2) % 3].to_owned()
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Client ports, of which the ports for peers and HTTP are free as well. Another process may be quicker.
fn free_ports() -> Vec<u16> {
    for _ in 0..20 {
        let first = ten_ports();
        let ports: Vec<u16> = (first..).take(AT_MOST).collect();
        let all = ports.iter().flat_map(|port| [*port, port + 1000, port + 2000]);
        if all.map(|port| TcpListener::bind(address(port))).all(|bound| bound.is_ok()) {
            return ports;
        }
    }
    panic!("no ports are free");
}

fn is_ready(address: &str) -> bool {
    http::get(address, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
