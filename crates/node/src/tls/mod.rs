//! TLS of this node: what is loaded from its files, and loaded again when they change (docs/SECURITY.md).
//!
//! A connection that is open goes on under what it was opened with. New ones, in both directions, go by what was loaded
//! last; so nothing has to be restarted for another certificate, another authority or another token. What can't be used is
//! told, and what was loaded before stays.

mod gate;
mod rights;
mod signer;
mod speaker;
mod stream;
mod watch;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use dynamo_ring::NodeId;
use dynamo_tls::{ClientConfig, Connector, Dial, Files, Material, Name, Role, ServerConfig, Tokens, client, server};
use parking_lot::Mutex;
use tokio::sync::watch::Receiver;

use crate::{
    clock::Clock,
    config::{ClientAuth, Config, TlsConfig, TlsMode},
};

pub use gate::gated;
pub use rights::{Grant, Right};
pub use signer::Signer;
pub use speaker::{Acceptor, NotIn, Speaker};
pub use stream::ServerStream;
pub use watch::watch;

/// What is loaded, and what of.
pub struct NodeTls {
    cluster: String,
    me: String,
    files: Files,
    settings: TlsConfig,
    loaded: ArcSwap<Loaded>,
    tokens: ArcSwap<Held>,
    /// By [`Trouble`]; empty: none.
    troubles: Mutex<[String; 3]>,
}

/// What was made of the files.
struct Loaded {
    material: Material,
    clients: Arc<ServerConfig>,
    peers: Arc<ServerConfig>,
    links: Arc<ClientConfig>,
}

/// The tokens that are taken.
#[derive(Default)]
struct Held {
    files: Vec<TokenFile>,
    /// Grows with each change.
    number: u64,
}

/// One file of them, and what they give.
struct TokenFile {
    name: String,
    right: Right,
    tokens: Tokens,
}

/// What may go wrong again and again, and is told in the node's status for as long as it does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    /// Changed files that can't be used.
    Files,
    /// The same of tokens.
    Tokens,
    /// A certificate that can't be renewed.
    Renewal,
}

/// What an operator waits for before a rotation goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Of the certificate that is shown.
    pub certificate: String,
    /// Until when that is valid, seconds since the Unix epoch.
    pub until_s: u64,
    /// Of the authority that has signed it; empty: none that is trusted.
    pub signed_by: String,
    /// Of the authorities that are trusted.
    pub trusted: Vec<String>,
    /// What is wrong with it, or with what was to follow it; empty: nothing.
    pub problem: String,
}

/// What the node begins with; nothing in plaintext. Where the certificate is yet to be signed, this waits for it: nobody
/// would speak with a node that has none.
///
/// # Errors
/// The files can't be used, or it was told to stop.
pub async fn open(
    config: &Config,
    stop: &mut Receiver<bool>,
) -> anyhow::Result<Option<(Arc<NodeTls>, Option<Signer>)>> {
    if config.tls.mode != Some(TlsMode::Tls) {
        tracing::warn!("TLS is off: whoever reaches this node's ports reads and writes all data (tls.mode)");
        return Ok(None);
    }
    let signer = Signer::of(config)?;
    let files = match &signer {
        None => configured(&config.tls),
        Some(signer) => {
            tokio::select! {
                signed = signer.until_signed() => signed?,
                _ = stop.wait_for(|stop| *stop) => return Err(anyhow!("told to stop before the certificate was signed")),
            }
            signer.files()
        }
    };
    let config = config.clone();
    let opened = tokio::task::spawn_blocking(move || NodeTls::open(&config, files));
    Ok(Some((opened.await.context("loading certificates")??, signer)))
}

fn configured(tls: &TlsConfig) -> Files {
    let path = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
    Files { certificate: path(&tls.certificate_file), key: path(&tls.key_file), trust: path(&tls.trust_file) }
}

impl NodeTls {
    fn open(config: &Config, files: Files) -> anyhow::Result<Arc<Self>> {
        let (cluster, me) = (config.cluster.name.clone(), config.node.name.clone());
        let loaded = load(&files, &config.tls, &cluster, &me).map_err(|why| anyhow!("TLS can't be spoken: {why}"))?;
        let held = read_tokens(&config.tls).map_err(|why| anyhow!("tokens can't be read: {why}"))?;
        let (loaded, tokens) = (ArcSwap::from_pointee(loaded), ArcSwap::from_pointee(held));
        let troubles = Mutex::default();
        let tls = Self { cluster, me, files, settings: config.tls.clone(), loaded, tokens, troubles };
        tls.tell();
        Ok(Arc::new(tls))
    }

    /// Reads certificate, key and trust again: whether there was news.
    ///
    /// # Errors
    /// They can't be used: what was loaded before stays.
    fn reload_files(&self) -> Result<bool, String> {
        let newer = Material::load(&self.files).map_err(|error| error.to_string())?;
        let loaded = self.loaded.load();
        if newer.is_same_as(&loaded.material) {
            return Ok(false);
        }
        // Who has a good one does not change it for one that nobody takes.
        if let Some(why) = wrong_at(&newer, now_s()).filter(|_| wrong_at(&loaded.material, now_s()).is_none()) {
            return Err(format!("{}: {why}", self.files.certificate.display()));
        }
        self.loaded.store(Arc::new(made_of(newer, &self.settings, &self.cluster, &self.me)?));
        self.tell();
        Ok(true)
    }

    /// The same with the tokens.
    fn reload_tokens(&self) -> Result<bool, String> {
        let (newer, old) = (read_tokens(&self.settings)?, self.tokens.load());
        let is_same =
            |(one, other): (&TokenFile, &TokenFile)| one.name == other.name && one.tokens.is_same_as(&other.tokens);
        let is_old = newer.files.len() == old.files.len() && newer.files.iter().zip(&old.files).all(is_same);
        if !is_old {
            self.tokens.store(Arc::new(Held { number: old.number + 1, ..newer }));
        }
        Ok(!is_old)
    }

    fn tell(&self) {
        let report = self.report();
        tracing::info!(
            certificate = report.certificate,
            until_s = report.until_s,
            signed_by = report.signed_by,
            trusted = ?report.trusted,
            "loaded this node's certificate and whom it trusts"
        );
    }

    /// What is loaded.
    pub fn report(&self) -> Report {
        let loaded = self.loaded.load();
        Report {
            certificate: loaded.material.fingerprint.clone(),
            until_s: u64::try_from(loaded.material.not_after_s).unwrap_or_default(),
            signed_by: loaded.material.signed_by.clone(),
            trusted: loaded.material.trust.fingerprints.clone(),
            problem: self.problem(wrong_at(&loaded.material, now_s())),
        }
    }

    /// What has gone wrong, or that it goes well again (empty).
    fn note(&self, trouble: Trouble, what: &str) {
        let mut troubles = self.troubles.lock();
        // Gossip carries it: a sentence, no more.
        troubles[trouble as usize] = what.chars().take(300).collect();
    }

    fn problem(&self, certificate: Option<&str>) -> String {
        let troubles = self.troubles.lock();
        let all = certificate.into_iter().chain(troubles.iter().map(String::as_str));
        all.filter(|what| !what.is_empty()).collect::<Vec<_>>().join("; ")
    }

    /// Connects with a node: this one, or whichever is there.
    pub fn connector(self: &Arc<Self>, whom: Option<NodeId>) -> Connector {
        let (tls, cluster) = (self.clone(), self.cluster.clone());
        let is_whom = move |name: &str| whom.is_none_or(|whom| NodeId::initial(&cluster, name) == whom);
        let cluster = self.cluster.clone();
        let check = move |names: &[Name]| {
            if names.iter().any(|name| name.is_node(&cluster, &is_whom)) {
                return Ok(());
            }
            let shown: Vec<String> = names.iter().map(Name::to_string).collect();
            let wanted = whom.map_or_else(|| "a node".to_owned(), |whom| format!("node {whom}"));
            Err(format!(
                "who answers there shows a certificate for {shown:?}, not one for {wanted} of cluster {cluster:?}: nothing was exchanged; has another node its address, or a certificate of another node?"
            ))
        };
        Connector::new(move || Ok(tls.loaded.load().links.clone()), Dial::Node(Arc::new(check)))
    }
}

fn load(files: &Files, settings: &TlsConfig, cluster: &str, me: &str) -> Result<Loaded, String> {
    made_of(Material::load(files).map_err(|error| error.to_string())?, settings, cluster, me)
}

fn made_of(material: Material, settings: &TlsConfig, cluster: &str, me: &str) -> Result<Loaded, String> {
    if !material.names.iter().any(|name| name.is_node(cluster, |name| name == me)) {
        let shown: Vec<String> = material.names.iter().map(Name::to_string).collect();
        return Err(format!(
            "the certificate is for {shown:?}, and this is node {me:?} of cluster {cluster:?}: it needs the URI {} among its names",
            Name::new(cluster, Role::Node, me)
        ));
    }
    let certificates = match settings.client_auth {
        ClientAuth::Certificate => server::Certificates::Required,
        ClientAuth::None | ClientAuth::Token => server::Certificates::Asked,
    };
    Ok(Loaded {
        clients: Arc::new(server::config(&material, certificates)?),
        peers: Arc::new(server::config(&material, server::Certificates::Required)?),
        links: Arc::new(client::of_node(&material)?),
        material,
    })
}

/// Why nobody takes a certificate at that time.
fn wrong_at(material: &Material, now_s: i64) -> Option<&'static str> {
    if now_s > material.not_after_s {
        Some("the certificate has expired, and nobody takes it: replace it")
    } else if now_s < material.not_before_s {
        Some("the certificate is not valid yet, or this machine's clock is slow")
    } else {
        None
    }
}

fn now_s() -> i64 {
    i64::try_from(Clock::wall_ms() / 1000).unwrap_or(i64::MAX)
}

/// All files of the folder. Those whose names begin with a dot are how kubelet puts one Secret in place of another.
fn read_tokens(settings: &TlsConfig) -> Result<Held, String> {
    let Some(dir) = &settings.tokens_dir else { return Ok(Held::default()) };
    let failed = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| failed(dir, &error))? {
        let path = entry.map_err(|error| failed(dir, &error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let right = Right::of_file(&name).ok_or_else(|| failed(&path, &NO_RIGHT))?;
        let text = fs::read_to_string(&path).map_err(|error| failed(&path, &error))?;
        let tokens = Tokens::parse(&text).map_err(|error| failed(&path, &error))?;
        files.push(TokenFile { name, right, tokens });
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Held { files, number: 0 })
}

const NO_RIGHT: &str = "its name says no right: call it metrics, read, client or admin, or one of these with a dot and whose tokens they are";
