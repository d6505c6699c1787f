//! An authority for one run with `--tls`: it signs for each node and for the client, and goes with the folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use dynamo_client::CallerFiles;
use dynamo_tls::{Name, Role};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

/// Signs for one cluster.
pub struct Authority {
    dir: PathBuf,
    cluster: &'static str,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, whose files are in this folder.
    ///
    /// # Errors
    /// They can't be written.
    pub fn make(dir: &Path, cluster: &'static str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("cluster {cluster}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        fs::create_dir_all(dir)?;
        fs::write(dir.join("ca.pem"), params.self_signed(&key)?.pem()).context("the authority can't be written")?;
        Ok(Self { dir: dir.to_owned(), cluster, issuer: Issuer::new(params, key) })
    }

    /// Whom all trust.
    pub fn trust(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Key and certificate, in one file, of whoever is reached by this address.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn give(&self, role: Role, name: &str, address: &str) -> Result<PathBuf> {
        let mut params = CertificateParams::new([address.to_owned()])?;
        let uri = Name::new(self.cluster, role, name).to_string();
        params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let path = self.dir.join(format!("{name}.pem"));
        fs::write(&path, format!("{}{}", key.serialize_pem(), certificate.pem()))?;
        Ok(path)
    }

    /// What the generator shows.
    ///
    /// # Errors
    /// Its certificate can't be written.
    pub fn caller(&self) -> Result<CallerFiles> {
        let own = self.give(Role::Client, "generator", "localhost")?;
        Ok(CallerFiles { trust: self.trust(), certificate: Some((own.clone(), own)), token: None, server_name: None })
    }
}
