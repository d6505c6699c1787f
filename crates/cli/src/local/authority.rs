//! `dynamo local --tls`: an authority of the directory's own, which signs for each node and for whoever owns the directory.
//!
//! For one machine: its key lies beside what it signs, and nothing expires. A cluster whose certificates somebody tends has
//! `tls.signer_url` (docs/SECURITY.md).

use std::{fs, io};

use dynamo_client::CallerFiles;
use dynamo_tls::{Name, Role};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use serde_json::{Value, json};

use super::layout::{Layout, NodePlan, Readers, write_atomically};
use crate::failure::Failure;

/// What nodes are reached by.
const HOSTS: [&str; 2] = ["127.0.0.1", "localhost"];

/// Signs for one cluster.
pub struct Authority<'a> {
    layout: &'a Layout,
    cluster: &'a str,
    issuer: Issuer<'static, KeyPair>,
}

impl<'a> Authority<'a> {
    /// That of the directory; a new one where there is none. The owner's certificate is there then, too.
    ///
    /// # Errors
    /// The files can't be written or read.
    pub fn open(layout: &'a Layout, cluster: &'a str) -> Result<Self, Failure> {
        let dir = layout.tls_dir();
        let cannot = |error: io::Error| Failure::file(format!("can't keep an authority in {}", dir.display()), &error);
        fs::create_dir_all(&dir).map_err(cannot)?;
        if !layout.ca().exists() {
            let (pem, key) = make(cluster).map_err(bad)?;
            // The certificate last: where it is there, its key is.
            write_atomically(&dir.join("ca.key"), key.as_bytes(), Readers::Owner).map_err(cannot)?;
            write_atomically(&layout.ca(), pem.as_bytes(), Readers::All).map_err(cannot)?;
        }
        let pem = fs::read_to_string(layout.ca()).map_err(cannot)?;
        let key = KeyPair::from_pem(&fs::read_to_string(dir.join("ca.key")).map_err(cannot)?).map_err(bad)?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(bad)?;
        let authority = Self { layout, cluster, issuer };
        authority.give(Role::Admin, "owner", "owner").map_err(cannot)?;
        Ok(authority)
    }

    /// A certificate for a node, and the section of its configuration that names it. Another one at each start.
    ///
    /// # Errors
    /// The files can't be written.
    pub fn node(&self, plan: &NodePlan) -> Result<Value, Failure> {
        let dir = self.layout.tls_dir();
        let cannot = |error: io::Error| Failure::file(format!("can't write to {}", dir.display()), &error);
        self.give(Role::Node, &plan.id, &plan.id).map_err(cannot)?;
        Ok(json!({
            "mode": "tls", "trust_file": self.layout.ca(),
            // Key and certificate in one file, which is replaced whole.
            "certificate_file": dir.join(format!("{}.pem", plan.id)), "key_file": dir.join(format!("{}.pem", plan.id)),
        }))
    }

    fn give(&self, role: Role, name: &str, file: &str) -> io::Result<()> {
        let mut params = CertificateParams::new(HOSTS.map(str::to_owned)).map_err(io::Error::other)?;
        let uri = Name::new(self.cluster, role, name).to_string().try_into().map_err(io::Error::other)?;
        params.subject_alt_names.push(SanType::URI(uri));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let both = format!("{}{}", key.serialize_pem(), certificate.pem());
        write_atomically(&self.layout.tls_dir().join(format!("{file}.pem")), both.as_bytes(), Readers::Owner)
    }
}

/// A certificate that signs others, and its key.
fn make(cluster: &str) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("dynamo local, cluster {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn bad(error: rcgen::Error) -> Failure {
    Failure::unavailable(format!("the directory's own authority can't be used: {error}"))
}

impl Layout {
    /// How the owner of the directory connects with its nodes; nothing where they speak plaintext.
    pub fn caller(&self) -> Option<CallerFiles> {
        let owner = self.tls_dir().join("owner.pem");
        let caller = || CallerFiles {
            trust: self.ca(),
            certificate: Some((owner.clone(), owner.clone())),
            token: None,
            server_name: None,
        };
        self.ca().exists().then(caller)
    }

    /// What `--profile` takes, of the running cluster.
    pub fn profile(&self, endpoints: &[String]) -> Value {
        let file = |name: &str| format!("tls/{name}.pem");
        json!({ "endpoint": endpoints.join(","), "tls_ca": file("ca"), "tls_cert": file("owner"), "tls_key": file("owner") })
    }
}

#[cfg(test)]
mod tests {
    use dynamo_tls::{Files, Material};

    use super::*;

    #[test]
    fn what_is_signed_is_for_its_node_and_for_the_owner_also_after_the_directory_was_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        assert_eq!(layout.caller(), None);
        let plan = layout.plan(2, "zone-a".into(), 1, 7401);
        let mut authorities = Vec::new();
        for _ in 0..2 {
            let authority = Authority::open(&layout, "local-1").unwrap();
            let section = authority.node(&plan).unwrap();
            let path = |key: &str| section[key].as_str().unwrap().into();
            let files =
                Files { certificate: path("certificate_file"), key: path("key_file"), trust: path("trust_file") };
            let material = Material::load(&files).unwrap();
            assert_eq!(material.names, [Name::new("local-1", Role::Node, "node-2")]);
            assert_eq!([material.signed_by], material.trust.fingerprints[..]);
            let (certificate, key) = layout.caller().unwrap().certificate.unwrap();
            let owner = Material::load(&Files { certificate, key, trust: layout.ca() }).unwrap();
            assert_eq!(owner.names, [Name::new("local-1", Role::Admin, "owner")]);
            authorities.push(fs::read(layout.ca()).unwrap());
        }
        assert_eq!(authorities[0], authorities[1], "one authority for the directory's whole life");
    }
}
