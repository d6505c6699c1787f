//! Who the parties of a control plane are: one authority signs the API server's certificate and those of users.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::{Value, json};

use crate::audit;

/// It lives as long as its control plane, in the same folder.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes it, and all that the API server needs to know of who is who.
    pub fn new(dir: &Path, readers: &[&str]) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name = name("control-plane", None);
        write(dir, "ca.crt", &params.self_signed(&key).expect("a certificate").pem());
        let authority = Self { dir: dir.to_owned(), issuer: Issuer::new(params, key) };

        let addresses = ["127.0.0.1", "localhost"].map(str::to_owned);
        let server = CertificateParams::new(addresses).expect("names of the server");
        authority.sign("server", server, name("kube-apiserver", None), ExtendedKeyUsagePurpose::ServerAuth);
        let accounts = KeyPair::generate().expect("a key");
        write(dir, "accounts.key", &accounts.serialize_pem());
        write(dir, "accounts.pub", &accounts.public_key_pem());
        write(dir, "audit-policy.json", &audit::policy(readers).to_string());
        authority
    }

    /// Signs a certificate, and writes it and its key down.
    fn sign(&self, file: &str, mut params: CertificateParams, name: DistinguishedName, usage: ExtendedKeyUsagePurpose) {
        let key = KeyPair::generate().expect("a key");
        params.distinguished_name = name;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        write(&self.dir, &format!("{file}.crt"), &signed.pem());
        write(&self.dir, &format!("{file}.key"), &key.serialize_pem());
    }

    /// The kubeconfig of a user, in this group if one is named.
    pub fn kubeconfig(&self, url: &str, user: &str, group: Option<&str>) -> Value {
        let file = format!("user-{}", file_name(&format!("{user}+{}", group.unwrap_or_default())));
        let (certificate, key) = (self.dir.join(format!("{file}.crt")), self.dir.join(format!("{file}.key")));
        if !certificate.exists() {
            self.sign(&file, CertificateParams::default(), name(user, group), ExtendedKeyUsagePurpose::ClientAuth);
        }
        self.kubeconfig_with(url, user, &json!({ "client-certificate": certificate, "client-key": key }))
    }

    /// The kubeconfig of a user who shows this.
    pub fn kubeconfig_with(&self, url: &str, user: &str, shows: &Value) -> Value {
        let cluster = json!({ "server": url, "certificate-authority": self.dir.join("ca.crt") });
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": cluster }],
            "users": [{ "name": user, "user": shows }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": user } }],
            "current-context": "test",
        })
    }
}

/// A user's name, and its group: so the API server reads a certificate's subject.
fn name(user: &str, group: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, user);
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name
}

/// A user's name as a part of a file's.
pub fn file_name(user: &str) -> String {
    user.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect()
}

fn write(dir: &Path, file: &str, text: &str) {
    fs::write(dir.join(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
}
