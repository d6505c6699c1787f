//! Who is there in a real local cluster: nodes that are removed, replaced and added through the supervisor's socket, and
//! what the same directory has when it is opened again. Whether the ring agrees is not asked here.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// For anything that is to happen at all.
const PATIENCE: Duration = Duration::from_secs(120);

struct Local {
    dir: PathBuf,
    supervisor: Child,
}

impl Local {
    /// Opens a directory; nothing if its ports are taken.
    fn open(dir: &Path, port: u16) -> Option<Self> {
        let log = fs::File::create(dir.join("supervisor.log")).unwrap();
        let dir = dir.join("c");
        let supervisor = Command::new(env!("CARGO_BIN_EXE_dynamo"))
            .args(["local", "--nodes", "3", "--port", &port.to_string(), "--dir"])
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut local = Self { dir, supervisor };
        let until = Instant::now() + PATIENCE;
        while !local.dir.join("cluster.json").exists() {
            if local.supervisor.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(Instant::now() < until, "the cluster was not ready in time");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(local)
    }

    /// In a new directory, on ports that are free.
    fn new(dir: &Path) -> (Self, u16) {
        let first = 31_000 + (std::process::id() % 80) as u16 * 10;
        let mut ports = (0..20).map(|more| first + more * 10);
        ports
            .find_map(|port| {
                let _ = fs::remove_dir_all(dir.join("c"));
                Some((Self::open(dir, port)?, port))
            })
            .expect("no ports are free")
    }

    fn ask(&self, request: &Value) -> Value {
        let mut stream = UnixStream::connect(self.dir.join("control.sock")).unwrap();
        writeln!(stream, "{request}").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    fn ids(&self) -> Vec<String> {
        let file: Value = serde_json::from_str(&fs::read_to_string(self.dir.join("cluster.json")).unwrap()).unwrap();
        file["nodes"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }

    fn record(&self) -> String {
        fs::read_to_string(self.dir.join("cluster.yaml")).unwrap()
    }

    fn stop(mut self) {
        assert!(Command::new("kill").args(["-INT", &self.supervisor.id().to_string()]).status().unwrap().success());
        assert!(self.supervisor.wait().unwrap().success());
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // The nodes end with it. It has ended already where the test went well.
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

#[test]
fn nodes_that_left_stay_away_and_their_files_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (local, port) = Local::new(dir.path());
    let kept = local.ask(&json!({"remove": "node-3"}))["left"].as_str().unwrap().to_owned();
    assert!(kept.contains("/nodes/node-3.left-") && Path::new(&kept).join("data").exists(), "{kept}");
    assert!(!local.dir.join("nodes/node-3").exists());
    assert_eq!(local.ids(), ["node-1", "node-2"]);
    for request in ["find", "remove", "restart"] {
        assert_eq!(local.ask(&json!({request: "node-3"}))["left"], kept.as_str(), "{request}");
    }
    let unknown = local.ask(&json!({"find": "node-9"}));
    assert_eq!(unknown["refused"], "there is no node node-9; there are node-1, node-2");
    local.stop();

    let local = Local::open(dir.path(), port).unwrap();
    assert_eq!(local.ids(), ["node-1", "node-2"]);
    let config = fs::read_to_string(local.dir.join("nodes/node-1/node.yaml")).unwrap();
    assert!(config.contains("name: node-3"), "a founder is a member for ever: {config}");
    assert!(config.contains(&format!("seeds:\n  - 127.0.0.1:{}\n", port + 1001)), "only node-2 can be asked: {config}");
    local.stop();
}

#[test]
fn one_node_at_a_time_begins_anew_and_the_same_request_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (local, port) = Local::new(dir.path());
    let begun = local.ask(&json!({"replace": "node-2"}));
    assert_eq!(begun["done"]["id"], "node-2", "{begun}");
    let kept = || {
        let entries = fs::read_dir(dir.path().join("c/nodes")).unwrap().map(|entry| entry.unwrap().file_name());
        entries.filter(|name| name.to_str().unwrap().starts_with("node-2.replaced-")).count()
    };
    assert_eq!(kept(), 1);
    assert_eq!(local.ask(&json!({"replace": "node-2"}))["done"]["pid"], begun["done"]["pid"], "it goes on");
    let other = local.ask(&json!({"replace": "node-1"}))["refused"].as_str().unwrap().to_owned();
    assert!(other.contains("node-2 is being filled anew"), "{other}");
    local.stop();

    let local = Local::open(dir.path(), port).unwrap();
    assert_eq!(local.ask(&json!({"find": "node-2"}))["refilling"]["id"], "node-2");
    assert_eq!(local.ask(&json!({"refilled": "node-2"}))["done"]["id"], "node-2");
    assert_eq!(local.ask(&json!({"find": "node-2"}))["done"]["id"], "node-2");
    assert!(kept() == 1 && !local.record().contains("replacing"), "{}", local.record());
    local.stop();
}

#[test]
fn a_node_that_is_being_added_is_finished_before_another_and_keeps_no_cluster_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let (local, port) = Local::new(dir.path());
    let first = local.ask(&json!({"add": {"zone": "attic", "weight": 2}}));
    assert!(first.get("refused").is_none(), "{first}");
    let record = local.record();
    assert!(
        record.contains("number: 4") && record.contains("zone: attic") && record.contains("joining: true"),
        "{record}"
    );
    let config = fs::read_to_string(local.dir.join("nodes/node-4/node.yaml")).unwrap();
    assert!(config.contains("weight: 2") && config.contains("zone: attic"), "{config}");
    let second = local.ask(&json!({"add": {"zone": "cellar", "weight": null}}))["refused"].as_str().unwrap().to_owned();
    assert!(second.contains("node-4 is being added already"), "{second}");
    local.stop();

    let local = Local::open(dir.path(), port).unwrap();
    assert_eq!(local.ids()[..3], ["node-1", "node-2", "node-3"]);
    assert_eq!(local.ask(&json!({"find": "node-4"}))["joining"]["zone"], "attic");
    assert!(local.ask(&json!({"remove": "node-4"})).get("left").is_some());
    assert_eq!(local.ids(), ["node-1", "node-2", "node-3"]);
    let next = local.ask(&json!({"add": {"zone": null, "weight": null}}));
    assert!(next.get("refused").is_none() && local.record().contains("number: 5"), "no number comes back: {next}");
    local.stop();
}

#[test]
fn a_node_that_can_not_be_started_keeps_nobody_else_from_it_and_is_emptied_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let (local, port) = Local::new(dir.path());
    local.stop();
    let identity = dir.path().join("c/nodes/node-2/data/identity.yaml");
    fs::write(&identity, "damaged").unwrap();

    let local = Local::open(dir.path(), port).unwrap();
    assert_eq!(local.ids(), ["node-1", "node-3"]);
    let told = fs::read_to_string(dir.path().join("supervisor.log")).unwrap();
    for says in ["node-2 is missing", "identity.yaml is damaged", "restart-node node-2", "replace-node node-2"] {
        assert!(told.contains(says), "{says}: {told}");
    }
    assert!(local.ask(&json!({"restart": "node-2"}))["failed"].as_str().unwrap().contains("is damaged"));
    assert_eq!(local.ask(&json!({"replace": "node-2"}))["done"]["id"], "node-2");
    assert_eq!(local.ids(), ["node-1", "node-2", "node-3"]);
}
