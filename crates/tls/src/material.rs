//! What the files hold: a certificate with its chain, its key, and whom to trust.
//!
//! Mounted files change under the reader's eyes: a certificate may be read before and its key after the change. So all of
//! them are held against each other, and who reads them keeps what it has until they fit.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::digest;
use rustls::{
    RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use x509_parser::parse_x509_certificate;

use crate::{Name, names_of, provider};

/// A file that is larger holds something else.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// PEM: the certificate first, then those between it and the trust.
    pub certificate: PathBuf,
    /// PEM: its private key. It may be the same file.
    pub key: PathBuf,
    /// PEM: the certificates of the authorities that are trusted.
    pub trust: PathBuf,
}

/// Why files can't be used. What was loaded before is still good.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not there, or not readable.
    #[error("{}: {error}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It does not hold what it should.
    #[error("{}: {what}", .file.display())]
    Bad {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Certificate and key are of two pairs: one of them has just been written, or never fitted.
    #[error("{}: is not the key of the certificate in {}: {error}", .key.display(), .certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
        /// What rustls said.
        error: rustls::Error,
    },
}

/// Whom to trust.
#[derive(Clone)]
pub struct Trust {
    /// As rustls takes it.
    pub roots: Arc<RootCertStore>,
    /// SHA-256 of each authority's certificate, in hex, sorted.
    pub fingerprints: Vec<String>,
    /// Each alone, with its fingerprint, in the order of the file.
    each: Vec<(String, RootCertStore)>,
}

impl Trust {
    /// From a bundle's PEM.
    ///
    /// # Errors
    /// There is no certificate in it, or one that can't be used.
    pub fn read(file: &Path, pem: &[u8]) -> Result<Self, LoadError> {
        let bad = |what: String| LoadError::Bad { file: file.to_owned(), what };
        let mut roots = RootCertStore::empty();
        let mut each = Vec::new();
        for certificate in certificates(file, pem)? {
            let mut alone = RootCertStore::empty();
            let fingerprint = fingerprint(&certificate);
            alone.add(certificate).map_err(|error| bad(format!("a certificate that can't be trusted: {error}")))?;
            roots.roots.extend(alone.roots.iter().cloned());
            each.push((fingerprint, alone));
        }
        let mut fingerprints: Vec<String> = each.iter().map(|(fingerprint, _)| fingerprint.clone()).collect();
        fingerprints.sort();
        fingerprints.dedup();
        Ok(Self { roots: Arc::new(roots), fingerprints, each })
    }

    /// Of the authority that has signed this, as it was in the middle of its life; empty: none of these.
    fn signer_of(&self, chain: &[CertificateDer<'static>], (from_s, until_s): (i64, i64)) -> String {
        let Some((first, between)) = chain.split_first() else { return String::new() };
        let Ok(parsed) = ParsedCertificate::try_from(first) else { return String::new() };
        let middle = u64::try_from(from_s / 2 + until_s / 2).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(middle));
        let algorithms = provider().signature_verification_algorithms.all;
        let has_signed = |alone: &RootCertStore| {
            verify_server_cert_signed_by_trust_anchor(&parsed, alone, between, at, algorithms).is_ok()
        };
        let found = self.each.iter().find(|(_, alone)| has_signed(alone));
        found.map(|(fingerprint, _)| fingerprint.clone()).unwrap_or_default()
    }

    /// Of the authority that comes first in the file: the one that signs now, where several are trusted.
    pub fn first(&self) -> &str {
        self.each.first().map_or("", |(fingerprint, _)| fingerprint)
    }
}

/// What the files hold, all of it fitting together.
pub struct Material {
    /// The certificate and its chain.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub(crate) key: PrivateKeyDer<'static>,
    /// Whom to trust.
    pub trust: Trust,
    /// Whom the certificate speaks for.
    pub names: Vec<Name>,
    /// SHA-256 of the certificate, in hex.
    pub fingerprint: String,
    /// SHA-256 of the certificate of the authority that has signed it, in hex; empty: none that is trusted.
    pub signed_by: String,
    /// From when it is valid, seconds since the Unix epoch.
    pub not_before_s: i64,
    /// Until when.
    pub not_after_s: i64,
    /// Of all that was read: whether there is news.
    digest: [u8; 32],
}

/// Without the key.
impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material")
            .field("names", &self.names)
            .field("fingerprint", &self.fingerprint)
            .field("trust", &self.trust.fingerprints)
            .finish_non_exhaustive()
    }
}

impl Material {
    /// Reads all files.
    ///
    /// # Errors
    /// One of them can't be used, or they don't fit together.
    pub fn load(files: &Files) -> Result<Self, LoadError> {
        let (certificate, key, trust) = (read(&files.certificate)?, read(&files.key)?, read(&files.trust)?);
        let digest = digest_of(&[&certificate, &key, &trust]);
        let chain = certificates(&files.certificate, &certificate)?;
        let key = private_key(&files.key, &key)?;
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider()).map_err(|error| LoadError::Mismatch {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            error,
        })?;
        let (not_before_s, not_after_s) = validity(&chain[0]).ok_or_else(|| LoadError::Bad {
            file: files.certificate.clone(),
            what: "the first certificate can't be read".to_owned(),
        })?;
        let trust = Trust::read(&files.trust, &trust)?;
        Ok(Self {
            names: names_of(&chain[0]),
            fingerprint: fingerprint(&chain[0]),
            signed_by: trust.signer_of(&chain, (not_before_s, not_after_s)),
            trust,
            chain,
            key,
            not_before_s,
            not_after_s,
            digest,
        })
    }

    /// Whether the other holds the same.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// SHA-256 of a certificate, in hex: what `openssl x509 -fingerprint -sha256` shows, without the colons.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    digest::digest(&digest::SHA256, certificate).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn read(file: &Path) -> Result<Vec<u8>, LoadError> {
    let failed = |error| LoadError::Io { file: file.to_owned(), error };
    if fs::metadata(file).map_err(failed)?.len() > FILE_BYTES_MAX {
        let what = format!("has more than {FILE_BYTES_MAX} bytes: is it the right file?");
        return Err(LoadError::Bad { file: file.to_owned(), what });
    }
    fs::read(file).map_err(failed)
}

pub(crate) fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let bad = |what: String| LoadError::Bad { file: file.to_owned(), what };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| bad(format!("is no PEM: {error}")))?;
    if read.is_empty() { Err(bad("holds no certificate (BEGIN CERTIFICATE)".to_owned())) } else { Ok(read) }
}

pub(crate) fn private_key(file: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, LoadError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| LoadError::Bad {
        file: file.to_owned(),
        // What was read is not repeated.
        what: format!("holds no private key (BEGIN PRIVATE KEY): {error}"),
    })
}

pub(crate) fn digest_of(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn validity(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let validity = parsed.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}
