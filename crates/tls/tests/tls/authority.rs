//! Authorities made for a test, and a folder for what they sign.

use std::{fs, path::PathBuf};

use dynamo_tls::{Files, Name, Role};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd};

/// Who signs.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key, which may have expired.
    pub fn sign(&self, name: &Name, expired: bool) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(name.to_string().try_into().unwrap()));
        if expired {
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// Where files are.
pub struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// What an authority has signed, trusting that authority.
    pub fn files(&self, authority: &Authority, name: &Name) -> Files {
        self.files_of(authority.sign(name, false), authority)
    }

    /// This certificate and key, trusting an authority.
    pub fn files_of(&self, (certificate, key): (String, String), trusted: &Authority) -> Files {
        Files {
            certificate: self.put("certificate", &certificate),
            key: self.put("key", &key),
            trust: self.put("trust", &trusted.pem),
        }
    }
}

/// A node of the cluster "shop".
pub fn node(name: &str) -> Name {
    Name::new("shop", Role::Node, name)
}
