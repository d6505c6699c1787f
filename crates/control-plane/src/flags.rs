//! How the programs are started.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Where the API server says who wrote what.
pub fn audit_log(dir: &Path) -> PathBuf {
    dir.join("audit.log")
}

/// A flag with a path.
fn path(flag: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(flag);
    flag.push("=");
    flag.push(path);
    flag
}

fn texts<const COUNT: usize>(flags: [&str; COUNT]) -> impl Iterator<Item = OsString> {
    flags.into_iter().map(OsString::from)
}

/// Of etcd. Nothing of it survives the test, so it need not wait for the disk.
pub fn etcd(dir: &Path, port: u16, peer_port: u16) -> Vec<OsString> {
    let (url, peer_url) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
    let mut flags = vec![path("--data-dir", &dir.join(format!("etcd-{port}")))];
    flags.extend(
        [
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
            format!("--initial-cluster=default={peer_url}"),
        ]
        .map(OsString::from),
    );
    flags.extend(texts(["--unsafe-no-fsync", "--log-level=warn"]));
    flags
}

/// Of the API server.
pub fn server(dir: &Path, etcd_port: u16, port: u16, accounts: bool) -> Vec<OsString> {
    let mut flags = vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}").into(),
        format!("--secure-port={port}").into(),
        path("--client-ca-file", &dir.join("ca.crt")),
        path("--tls-cert-file", &dir.join("server.crt")),
        path("--tls-private-key-file", &dir.join("server.key")),
        path("--service-account-signing-key-file", &dir.join("accounts.key")),
        path("--service-account-key-file", &dir.join("accounts.pub")),
        path("--audit-policy-file", &dir.join("audit-policy.json")),
        path("--audit-log-path", &audit_log(dir)),
    ];
    flags.extend(texts([
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        // It would write its own address down, which must not be loopback.
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--authorization-mode=RBAC",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc",
        // A write is in the log before it is done, so whoever has its answer finds it there; and the log is one file.
        "--audit-log-mode=blocking",
        "--audit-log-maxsize=10000",
    ]));
    if !accounts {
        flags.push("--disable-admission-plugins=ServiceAccount".into());
    }
    flags
}

/// Of kube-controller-manager.
pub fn manager(dir: &Path, kubeconfig: &Path, without: &[&str]) -> Vec<OsString> {
    let controllers: String = without.iter().map(|name| format!(",-{name}")).collect();
    let mut flags = vec![
        path("--kubeconfig", kubeconfig),
        path("--root-ca-file", &dir.join("ca.crt")),
        path("--service-account-private-key-file", &dir.join("accounts.key")),
        format!("--controllers=*{controllers}").into(),
    ];
    flags.extend(texts([
        // It serves nothing: one port less that may be taken.
        "--secure-port=0",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        // It would send 20 requests a second at most, for the sake of an API server that has others to serve.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]));
    flags
}
