//! A node that makes its own key: it never leaves the disk, and the certificate comes from a signer, which is told by a token
//! who asks (in Kubernetes a token of the pod's service account, bound to the pod).
//!
//! The signer is needed once, and again after two thirds of each certificate's life: what is on the disk is enough for a
//! restart. A certificate is renewed early when it is not signed by the first authority of the bundle: that is how the
//! nodes follow to another authority, without being told one by one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use dynamo_tls::{Connector, Dial, Files, Material, Name, Role, Trust, client};
use http::{
    Request, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use metrics::{counter, describe_counter};
use rcgen::{CertificateParams, DnType, KeyPair, SanType, string::Ia5String};
use tokio::sync::watch;

use super::{NodeTls, Trouble, now_s, wrong_at};
use crate::config::Config;

/// Beside the store; key and certificate in one file, which is replaced whole: a crash leaves no key without its own.
const DIR: &str = "tls";
const FILE: &str = "node.pem";
const NEW_FILE: &str = "node.pem.new";
/// One question to the signer.
const PATIENCE: Duration = Duration::from_secs(30);
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// So often the clock is looked at: it may be set meanwhile.
const LOOK: Duration = Duration::from_secs(30);
/// A chain of certificates is far from it.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// Has this node's certificate signed.
pub struct Signer {
    dir: PathBuf,
    url: Uri,
    url_trust: PathBuf,
    token: PathBuf,
    bundle: PathBuf,
    name: Name,
    hosts: Vec<String>,
}

/// When a certificate is to be renewed: after two thirds of its life, and up to a twentieth of it later, by `lot`: nodes that
/// were started together do not all ask at once.
fn due_s((from_s, until_s): (i64, i64), lot: u16) -> i64 {
    let life = until_s.saturating_sub(from_s).max(0);
    from_s + life / 3 * 2 + life / 20 * i64::from(lot) / i64::from(u16::MAX)
}

impl Signer {
    /// As configured; nothing where the certificate is somebody else's business.
    pub(super) fn of(config: &Config) -> anyhow::Result<Option<Self>> {
        let tls = &config.tls;
        let Some(url) = &tls.signer_url else { return Ok(None) };
        let url: Uri = url.parse().with_context(|| format!("tls.signer_url: {url:?} is no address"))?;
        url.host().ok_or_else(|| anyhow!("tls.signer_url: {url} names no host"))?;
        let path = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
        let me = config.this_node();
        let mut hosts: Vec<String> =
            [&me.address, &me.client_address].into_iter().filter_map(|address| host_of(address)).collect();
        hosts.sort();
        hosts.dedup();
        Ok(Some(Self {
            dir: config.node.data_dir.join(DIR),
            url,
            url_trust: path(&tls.signer_trust_file),
            token: path(&tls.signer_token_file),
            bundle: path(&tls.trust_file),
            name: Name::new(&config.cluster.name, Role::Node, &me.name),
            hosts,
        }))
    }

    /// Where key and certificate are.
    pub(super) fn files(&self) -> Files {
        self.files_at(FILE)
    }

    fn files_at(&self, name: &str) -> Files {
        let own = self.dir.join(name);
        Files { certificate: own.clone(), key: own, trust: self.bundle.clone() }
    }

    /// Returns at once where the disk has a certificate that is good for now; else when the signer has made one.
    pub(super) async fn until_signed(&self) -> anyhow::Result<()> {
        let mut pause = RETRY_MIN;
        loop {
            let now_s = now_s();
            let why = match Material::load(&self.files()) {
                Ok(material) if self.is_mine(&material) && material.not_after_s > now_s => return Ok(()),
                Ok(_) => "the certificate on the disk has expired, or is another node's".to_owned(),
                Err(error) => error.to_string(),
            };
            tracing::info!(signer = %self.url, "asking for a certificate: {why}");
            match self.renew().await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::error!(
                    signer = %self.url,
                    "there is no certificate yet, and this node waits for it: {error:#}"
                ),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Renews it when it is time, until `stop` turns true. What is on the disk is then loaded.
    pub async fn run(self, tls: Arc<NodeTls>, mut stop: watch::Receiver<bool>) {
        describe_counter!("dynamo_tls_renewals_total", "Certificates that were asked for, by whether they came");
        let (mut lot, mut pause) = (rand::random(), Duration::ZERO);
        loop {
            let wait = match self.due_in_s(&tls, lot) {
                0 => pause + pause.mul_f64(f64::from(lot) / f64::from(u16::MAX)),
                seconds => LOOK.min(Duration::from_secs(seconds)),
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(wait) => {}
            }
            if self.due_in_s(&tls, lot) > 0 {
                continue;
            }
            match self.renew().await {
                Ok(()) => {
                    counter!("dynamo_tls_renewals_total", "outcome" => "renewed").increment(1);
                    tls.note(Trouble::Renewal, "");
                    let reader = tls.clone();
                    let _ = tokio::task::spawn_blocking(move || reader.reload_files()).await;
                }
                Err(error) => {
                    counter!("dynamo_tls_renewals_total", "outcome" => "failed").increment(1);
                    tracing::warn!(signer = %self.url, "the certificate could not be renewed, and is good until it expires: {error:#}");
                    tls.note(Trouble::Renewal, &format!("the certificate could not be renewed: {error:#}"));
                }
            }
            lot = rand::random();
            // One that came may be due still: the signer has not gone over to the bundle's first authority yet.
            let is_due = self.due_in_s(&tls, lot) == 0;
            pause = if is_due { (pause * 2).clamp(RETRY_MIN, RETRY_MAX) } else { Duration::ZERO };
        }
    }

    /// For how many seconds more what is loaded is good enough.
    fn due_in_s(&self, tls: &NodeTls, lot: u16) -> u64 {
        let loaded = tls.loaded.load();
        let material = &loaded.material;
        if material.signed_by != material.trust.first() {
            return 0;
        }
        let due_s = due_s((material.not_before_s, material.not_after_s), lot);
        u64::try_from(due_s - now_s()).unwrap_or_default()
    }

    fn is_mine(&self, material: &Material) -> bool {
        material.names.contains(&self.name)
    }

    /// Another key and a certificate for it, on the disk.
    async fn renew(&self) -> anyhow::Result<()> {
        let key = KeyPair::generate().context("making a key")?;
        let request = self.request(&key)?;
        let signed = tokio::time::timeout(PATIENCE, self.ask(request)).await;
        let signed = signed.map_err(|_| anyhow!("the signer did not answer in time"))??;
        self.keep(&key.serialize_pem(), &signed)
    }

    /// What is asked for. The signer decides by the token what it signs; this says only what would be of use.
    fn request(&self, key: &KeyPair) -> anyhow::Result<String> {
        let mut params = CertificateParams::new(self.hosts.clone()).context("the node's host names")?;
        let uri = Ia5String::try_from(self.name.to_string()).context("the node's name")?;
        params.subject_alt_names.push(SanType::URI(uri));
        params.distinguished_name.push(DnType::CommonName, self.name.name.as_str());
        params.serialize_request(key).and_then(|request| request.pem()).context("making a request")
    }

    /// `POST`s the request as PEM, with the token, and gets the chain as PEM.
    async fn ask(&self, request: String) -> anyhow::Result<String> {
        let (host, port) = (self.url.host().unwrap_or_default(), self.url.port_u16().unwrap_or(443));
        let trust = fs::read(&self.url_trust).with_context(|| self.url_trust.display().to_string())?;
        let trust = Trust::read(&self.url_trust, &trust)?;
        let mut config = client::of_client(&trust, None).map_err(|why| anyhow!("{why}"))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        // Bound tokens are replaced on the disk from time to time.
        let token = fs::read_to_string(&self.token).with_context(|| self.token.display().to_string())?;
        let connector = Connector::new(move || Ok(config.clone()), Dial::Host(None));
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = connector.connect(bare, port).await.map_err(|error| {
            anyhow!("the signer can't be reached: {}", dynamo_tls::refusal(&error).unwrap_or_else(|| error.to_string()))
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.context("the signer")?;
        let driving = tokio::spawn(connection);
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::post(path)
            .header(HOST, format!("{host}:{port}"))
            .header(AUTHORIZATION, format!("Bearer {}", token.trim()))
            .header(CONTENT_TYPE, "application/x-pem-file")
            .body(Full::new(Bytes::from(request)))
            .context("the token can't be sent")?;
        let answer = sender.send_request(request).await.context("the signer was lost")?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        driving.abort();
        let body = body.map_err(|error| anyhow!("the signer's answer: {error}"))?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        match status {
            StatusCode::OK => Ok(text),
            status => {
                Err(anyhow!("the signer refuses ({status}): {}", text.trim().chars().take(300).collect::<String>()))
            }
        }
    }

    /// In place of what was there, if it is what was asked for.
    fn keep(&self, key: &str, chain: &str) -> anyhow::Result<()> {
        let new = self.dir.join(NEW_FILE);
        let failed = || new.display().to_string();
        write(&self.dir, &new, &format!("{key}{chain}")).with_context(failed)?;
        let material = Material::load(&self.files_at(NEW_FILE)).context("what the signer gave can't be used")?;
        if !self.is_mine(&material) {
            return Err(anyhow!("the signer gave a certificate for {:?}, not for {}", material.names, self.name));
        }
        if let Some(why) = wrong_at(&material, now_s()) {
            return Err(anyhow!(
                "what the signer gave can't be used now: {why}; a signer dates certificates back by some minutes, for clocks that differ"
            ));
        }
        if material.signed_by.is_empty() {
            return Err(anyhow!(
                "the signer gave a certificate of an authority that is not in {} yet",
                self.bundle.display()
            ));
        }
        fs::rename(&new, self.dir.join(FILE)).with_context(failed)?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).with_context(failed)
    }
}

/// Readable by nobody else, and on the disk.
fn write(dir: &Path, file: &Path, text: &str) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn host_of(address: &str) -> Option<String> {
    let (host, _) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_any = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified());
    (!host.is_empty() && !is_any).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life_and_not_by_all_at_once() {
        let day = 24 * 3600;
        let life = (1000, 1000 + 30 * day);
        assert_eq!(due_s(life, 0), 1000 + 20 * day);
        let last = due_s(life, u16::MAX);
        assert_eq!(last, 1000 + 20 * day + 30 * day / 20);
        assert!((0..u16::MAX).step_by(997).all(|lot| (due_s(life, 0)..=last).contains(&due_s(life, lot))));
        // Long before it expires, there is time to try again.
        assert!(life.1 - last > 8 * day);
    }

    #[test]
    fn a_life_that_makes_no_sense_is_over_and_none_overflows() {
        assert_eq!(due_s((500, 400), 7), 500);
        assert_eq!(due_s((500, 500), u16::MAX), 500);
        let four_thousand = 4096 * 366 * 24 * 3600;
        assert!(due_s((0, four_thousand), u16::MAX) < four_thousand);
    }

    #[test]
    fn hosts_are_asked_for_without_port_brackets_and_wildcards() {
        assert_eq!(host_of("a-0.shop:8400").as_deref(), Some("a-0.shop"));
        assert_eq!(host_of("[fd00::1]:8400").as_deref(), Some("fd00::1"));
        for nothing in ["0.0.0.0:8400", "[::]:8400", "", ":1"] {
            assert_eq!(host_of(nothing), None, "{nothing}");
        }
    }
}
