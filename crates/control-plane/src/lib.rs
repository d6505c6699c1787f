//! A real control plane of Kubernetes for one test: etcd and kube-apiserver, and kube-controller-manager where a test wants
//! controllers. Schemas, rules, server-side apply, rights, accounts and admission are Kubernetes' own. There is no kubelet:
//! a test says itself what becomes of pods.
//!
//! All of it listens on loopback, keeps its files in a folder of its own, and is killed when [`ControlPlane`] is dropped.
//! [`ControlPlane::writes_since`] tells who wrote what, from the API server's audit log.
//!
//! The binaries are looked for in `KUBEBUILDER_ASSETS`, on the `PATH`, and where `e2e/kind/build control-plane` puts
//! them. Where they are not, [`ControlPlane::start`] says so and gives nothing; with `DYNAMO_REQUIRE_CONTROL_PLANE=1` that
//! is a failure.

#![forbid(unsafe_code)]

mod audit;
mod authority;
mod binaries;
mod flags;
mod process;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

pub use audit::{Mark, Write, Writes};
use authority::Authority;
use binaries::Binaries;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use process::Process;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

/// One takes some 400 MiB and a core while it starts: a process has one at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// How often a part is asked whether it is ready, and how many times.
const ASK_EVERY: Duration = Duration::from_millis(100);
const ASK_TIMES: u32 = 1200;
/// Somebody else may take a port between its choice and its use.
const STARTS: u32 = 3;

/// What runs beside etcd and the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controllers {
    /// Nothing. Nobody makes an account in a new namespace, so pods are taken without one.
    None,
    /// kube-controller-manager, with all of its controllers but these, each under an account of its own. Without a kubelet
    /// `node-lifecycle-controller` finds every node dead, and `pod-garbage-collector-controller` deletes pods on nodes
    /// that are not there: a test that does not mean that names them here.
    AllBut(&'static [&'static str]),
}

/// It runs until it is dropped.
pub struct ControlPlane {
    url: String,
    authority: Authority,
    admin: Client,
    // Dropped in this order: whoever calls before who is called, all before their folder.
    _manager: Option<Process>,
    server: Process,
    etcd: Process,
    dir: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl ControlPlane {
    /// Starts one, for the test of this name; nothing, and a word about it, where the binaries are missing.
    ///
    /// # Panics
    /// A part does not start: with the end of its log.
    pub async fn start(test: &str, controllers: Controllers) -> Option<Self> {
        Self::start_with_reads_of(&[], test, controllers).await
    }

    /// The same, and its log has what these users read as well: see [`ControlPlane::reads_since`].
    ///
    /// # Panics
    /// A part does not start: with the end of its log.
    pub async fn start_with_reads_of(users: &[&str], test: &str, controllers: Controllers) -> Option<Self> {
        let binaries = Binaries::find(test, controllers != Controllers::None)?;
        let turn = TURN.lock().await;
        let dir = tempfile::tempdir().expect("a folder for the control plane");
        let authority = Authority::new(dir.path(), users);
        let (url, etcd, server) = start_server(&binaries, &authority, dir.path(), controllers).await;
        let admin = client(&authority.kubeconfig(&url, ADMIN, Some(MASTERS))).await;
        let mut started = Self { url, authority, admin, _manager: None, server, etcd, dir, _turn: turn };
        if let (Controllers::AllBut(without), Some(manager)) = (controllers, &binaries.manager) {
            started.start_controllers(manager, without).await;
        }
        Some(started)
    }

    async fn start_controllers(&mut self, binary: &Path, without: &[&str]) {
        let file = self.kubeconfig("system:kube-controller-manager", None);
        let flags = flags::manager(self.dir.path(), &file, without);
        let mut manager = Process::start(binary, &flags, &self.dir.path().join("kube-controller-manager.log"));
        // The account is the first thing that one of its controllers makes.
        let accounts = Api::<ServiceAccount>::namespaced(self.admin.clone(), "default");
        for _ in 0..ASK_TIMES {
            manager.expect_running();
            if accounts.get("default").await.is_ok() {
                self._manager = Some(manager);
                return;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        panic!("kube-controller-manager makes no accounts:\n{}", manager.end_of_log());
    }

    /// A client that may do everything. Its user is [`ADMIN`].
    pub fn admin(&self) -> Client {
        self.admin.clone()
    }

    /// A client of this user, in this group if one is named: it may do what roles give it.
    pub async fn user(&self, name: &str, group: Option<&str>) -> Client {
        client(&self.authority.kubeconfig(&self.url, name, group)).await
    }

    /// A client of this account, which is there. The API server gives its token, as it gives pods theirs.
    ///
    /// # Panics
    /// There is no such account.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Client {
        let token = self.service_account_token(namespace, name).await;
        client(&self.authority.kubeconfig_with(&self.url, name, &json!({ "token": token }))).await
    }

    /// A token of this account, good for an hour.
    ///
    /// # Panics
    /// There is no such account.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> String {
        let spec = TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let accounts = Api::<ServiceAccount>::namespaced(self.admin.clone(), namespace);
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
        let answer = answer.unwrap_or_else(|error| panic!("no token of {namespace}/{name}: {error}"));
        answer.status.expect("a token request is answered").token
    }

    /// A kubeconfig file of this user, for other programs. It goes away with the control plane.
    pub fn kubeconfig(&self, name: &str, group: Option<&str>) -> PathBuf {
        let file = self.dir.path().join(format!("{}.kubeconfig", authority::file_name(name)));
        fs::write(&file, self.authority.kubeconfig(&self.url, name, group).to_string()).expect("a kubeconfig");
        file
    }

    /// `kubectl` as [`ADMIN`], where there is one, without anything of the machine's own settings.
    pub fn kubectl(&self) -> Option<Command> {
        let mut command = Command::new(binaries::find("kubectl")?);
        command.env("KUBECONFIG", self.kubeconfig(ADMIN, Some(MASTERS))).env("HOME", self.dir.path());
        Some(command)
    }

    /// Where the API server is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// This moment: every write whose answer somebody has by now was before it.
    pub fn mark(&self) -> Mark {
        audit::mark(&flags::audit_log(self.dir.path()))
    }

    /// The writes that came to the API server after this moment; among them each whose answer somebody has.
    pub fn writes_since(&self, mark: Mark) -> Writes {
        audit::since(&flags::audit_log(self.dir.path()), mark)
    }

    /// What was read since this moment by those whose reads are logged; a watch is one read, when it begins.
    pub fn reads_since(&self, mark: Mark) -> Writes {
        audit::reads_since(&flags::audit_log(self.dir.path()), mark)
    }

    /// Kills kube-apiserver and etcd and starts them on the same data, at the same port: watches break, nothing is lost.
    pub async fn restart(&mut self) {
        self.server.stop();
        self.etcd.stop();
        self.etcd.start_again();
        self.server.start_again();
        wait_until_ready(&self.admin, &mut self.etcd, &mut self.server).await.unwrap_or_else(|why| panic!("{why}"));
    }
}

/// The user that may do everything.
pub const ADMIN: &str = "admin";
/// The group that may.
const MASTERS: &str = "system:masters";

async fn start_server(
    binaries: &Binaries,
    authority: &Authority,
    dir: &Path,
    controllers: Controllers,
) -> (String, Process, Process) {
    let mut last = String::new();
    for _ in 0..STARTS {
        let [etcd_port, peer_port, port] = process::free_ports();
        let url = format!("https://127.0.0.1:{port}");
        let mut etcd = Process::start(&binaries.etcd, &flags::etcd(dir, etcd_port, peer_port), &dir.join("etcd.log"));
        let flags = flags::server(dir, etcd_port, port, controllers != Controllers::None);
        let mut server = Process::start(&binaries.server, &flags, &dir.join("kube-apiserver.log"));
        let admin = client(&authority.kubeconfig(&url, ADMIN, Some(MASTERS))).await;
        match wait_until_ready(&admin, &mut etcd, &mut server).await {
            Ok(()) => return (url, etcd, server),
            Err(why) => last = why,
        }
        assert!(last.contains("address already in use"), "{last}");
    }
    panic!("all ports were taken, {STARTS} times: {last}");
}

async fn wait_until_ready(admin: &Client, etcd: &mut Process, server: &mut Process) -> Result<(), String> {
    for _ in 0..ASK_TIMES {
        etcd.running()?;
        server.running()?;
        let ready = http::Request::get("/readyz").body(vec![]).expect("a request");
        if admin.request_text(ready).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Err(format!("kube-apiserver does not get ready:\n{}", server.end_of_log()))
}

async fn client(kubeconfig: &Value) -> Client {
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig.clone()).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a configuration")).expect("a client")
}
