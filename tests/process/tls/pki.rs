//! Authorities and certificates, made for a test, in files as a Secret would be mounted.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use dynamo_client::CallerFiles;
use dynamo_tls::{Name, Role, fingerprint};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};
use serde_json::{Value, json};

/// The cluster that `Nodes` founds.
pub const CLUSTER: &str = "ours";

/// Who signs.
pub struct Authority {
    pub pem: String,
    pub fingerprint: String,
    issuer: Issuer<'static, KeyPair>,
}

/// How long a certificate is good.
#[derive(Clone, Copy, PartialEq)]
pub enum Life {
    Now,
    Past,
    /// From an hour ago until in so many seconds.
    Seconds(u64),
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let fingerprint = fingerprint(certificate.der());
        Self { pem: certificate.pem(), fingerprint, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key of somebody.
    pub fn sign(&self, name: &Name, life: Life) -> (String, String) {
        let mut params = CertificateParams::new(hosts()).unwrap();
        params.subject_alt_names.push(SanType::URI(name.to_string().try_into().unwrap()));
        match life {
            Life::Now => {}
            Life::Past => {
                (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
            }
            Life::Seconds(seconds) => {
                let now = date_time_ymd(1970, 1, 1) + SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
                params.not_before = now - Duration::from_secs(3600);
                params.not_after = now + Duration::from_secs(seconds);
            }
        }
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The certificate that a request asks for.
    pub fn sign_request(&self, request: &str) -> String {
        let request = CertificateSigningRequestParams::from_pem(request).unwrap();
        request.signed_by(&self.issuer).unwrap().pem()
    }

    /// For a server of the test's own.
    pub fn sign_server(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new(hosts()).unwrap().signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

fn hosts() -> Vec<String> {
    vec!["127.0.0.1".to_owned(), "localhost".to_owned()]
}

/// A node of the cluster, in its certificate.
pub fn node(name: &str) -> Name {
    Name::new(CLUSTER, Role::Node, name)
}

/// An administrator.
pub fn admin() -> Name {
    Name::new(CLUSTER, Role::Admin, "boss")
}

/// Somebody who reads and writes.
pub fn client() -> Name {
    Name::new(CLUSTER, Role::Client, "shop")
}

/// The files.
pub struct Pki {
    dir: tempfile::TempDir,
}

impl Pki {
    /// With certificates of so many nodes and an administrator, all of one authority.
    pub fn new(nodes: usize, authority: &Authority) -> Self {
        let pki = Self { dir: tempfile::tempdir().unwrap() };
        pki.trust(&[authority]);
        pki.renew(nodes, authority);
        pki
    }

    /// Other certificates for all of them.
    pub fn renew(&self, nodes: usize, authority: &Authority) {
        for number in 1..=nodes {
            let name = format!("node-{number}");
            self.give(&name, authority.sign(&node(&name), Life::Now));
        }
        self.give("boss", authority.sign(&admin(), Life::Now));
    }

    /// Puts a certificate and its key where somebody looks for them: one after the other, as files change.
    pub fn give(&self, who: &str, (certificate, key): (String, String)) {
        let dir = self.path(who);
        fs::create_dir_all(&dir).unwrap();
        put(&dir.join("certificate"), &certificate);
        put(&dir.join("key"), &key);
    }

    /// Whom all trust: the first signs.
    pub fn trust(&self, authorities: &[&Authority]) {
        let bundle: String = authorities.iter().map(|authority| authority.pem.as_str()).collect();
        put(&self.path("trust"), &bundle);
    }

    /// A folder as kubelet mounts a Secret: links to files of a version, all of which change at once with one link.
    pub fn mount(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = self.path(name);
        fs::create_dir_all(&dir).unwrap();
        let entries = || fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let old: Vec<String> = entries().filter(|entry| entry.starts_with("..version")).collect();
        let version = format!("..version{}", if old.contains(&"..version0".to_owned()) { 1 } else { 0 });
        fs::create_dir(dir.join(&version)).unwrap();
        files.iter().for_each(|(file, text)| fs::write(dir.join(&version).join(file), text).unwrap());
        symlink(&version, dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
        for (file, _) in files.iter().filter(|(file, _)| dir.join(file).symlink_metadata().is_err()) {
            symlink(Path::new("..data").join(file), dir.join(file)).unwrap();
        }
        let gone = entries().filter(|entry| !entry.starts_with('.') && !files.iter().any(|(file, _)| file == entry));
        gone.for_each(|file| fs::remove_file(dir.join(file)).unwrap());
        old.iter().for_each(|version| fs::remove_dir_all(dir.join(version)).unwrap());
        dir
    }

    /// A file of its own.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        put(&path, text);
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the nodes' configuration says of it, with these keys besides.
    pub fn settings(&self, more: &Value) -> Value {
        let mut tls = json!({
            "mode": "tls", "reload_ms": 50, "trust_file": self.path("trust"),
            "certificate_file": self.path("$NODE/certificate"), "key_file": self.path("$NODE/key"),
        });
        for (key, value) in more.as_object().unwrap() {
            match value {
                Value::Null => {
                    tls.as_object_mut().unwrap().remove(key);
                }
                value => tls[key] = value.clone(),
            }
        }
        json!({ "tls": tls })
    }

    /// Who connects with this certificate.
    pub fn caller(&self, who: &str) -> CallerFiles {
        let dir = self.path(who);
        let certificate = Some((dir.join("certificate"), dir.join("key")));
        CallerFiles { trust: self.path("trust"), certificate, token: None, server_name: None }
    }

    /// Who connects with a token, or with nothing.
    pub fn bearer(&self, token: Option<&str>) -> CallerFiles {
        let token = token.map(|token| self.write(&format!("token-of-{}", &token[..3]), token));
        CallerFiles { trust: self.path("trust"), certificate: None, token, server_name: None }
    }
}

/// Whole, as kubelet does it.
fn put(path: &Path, text: &str) {
    let new = path.with_file_name(format!(".{}.new", path.file_name().unwrap().display()));
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}
