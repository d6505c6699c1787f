//! A client's own side: whom it trusts, what it shows, and when that is read again.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use http::HeaderValue;
use parking_lot::Mutex;
use rustls::{ClientConfig, pki_types::ServerName};

use crate::{
    Connector, Dial, LoadError, Trust, client,
    material::{certificates, digest_of, private_key, read},
};

/// Files are looked at no more often than this: they are read where a connection is made or a token is sent.
const LOOK: Duration = Duration::from_secs(1);

/// Where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerFiles {
    /// PEM: the authorities that are trusted.
    pub trust: PathBuf,
    /// PEM: the certificate to show, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The token to send.
    pub token: Option<PathBuf>,
    /// The name that nodes' certificates have to bear, in place of the host that is connected to.
    pub server_name: Option<String>,
}

struct Loaded {
    config: Arc<ClientConfig>,
    token: Option<HeaderValue>,
    digest: [u8; 32],
    looked: Instant,
    number: u64,
}

/// A client's credentials, read again when the files change.
pub struct Caller {
    files: CallerFiles,
    server_name: Option<ServerName<'static>>,
    loaded: Mutex<Loaded>,
}

impl Caller {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them can't be used.
    pub fn open(files: CallerFiles) -> Result<Arc<Self>, String> {
        let name = |name: &String| {
            ServerName::try_from(name.clone()).map_err(|error| format!("{name:?} is no name of a server: {error}"))
        };
        let server_name = files.server_name.as_ref().map(name).transpose()?;
        let loaded = Mutex::new(load(&files, 0)?);
        Ok(Arc::new(Self { files, server_name, loaded }))
    }

    /// Connects with what is loaded at the time.
    pub fn connector(self: &Arc<Self>) -> Connector {
        let caller = self.clone();
        let current = move || Ok(caller.look(|loaded| loaded.config.clone()));
        Connector::new(current, Dial::Host(self.server_name.clone()))
    }

    /// What to send as `authorization`.
    pub fn authorization(&self) -> Option<HeaderValue> {
        self.look(|loaded| loaded.token.clone())
    }

    /// Grows with each change: what was opened under an earlier one is to be opened anew.
    pub fn number(&self) -> u64 {
        self.look(|loaded| loaded.number)
    }

    /// Reads small files now and then, where a request waits: they are on this machine, and in its memory. Bad ones leave
    /// all as it is: the next look may find them whole.
    fn look<T>(&self, take: impl FnOnce(&Loaded) -> T) -> T {
        let mut loaded = self.loaded.lock();
        if loaded.looked.elapsed() >= LOOK {
            loaded.looked = Instant::now();
            let next = loaded.number + 1;
            if let Ok(newer) = load(&self.files, next)
                && newer.digest != loaded.digest
            {
                *loaded = newer;
            }
        }
        take(&loaded)
    }
}

fn load(files: &CallerFiles, number: u64) -> Result<Loaded, String> {
    let words = |error: LoadError| error.to_string();
    let trust = read(&files.trust).map_err(words)?;
    let (mut own, mut parts) = (None, vec![trust.clone()]);
    if let Some((certificate, key)) = &files.certificate {
        let (chain, pem) = (read(certificate).map_err(words)?, read(key).map_err(words)?);
        own = Some((certificates(certificate, &chain).map_err(words)?, private_key(key, &pem).map_err(words)?));
        parts.extend([chain, pem]);
    }
    let mut token = None;
    if let Some(file) = &files.token {
        let text = read(file).map_err(words)?;
        token =
            Some(header(text.trim_ascii()).ok_or_else(|| format!("{}: holds no token, or several", file.display()))?);
        parts.push(text);
    }
    let digest = digest_of(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let config = client::of_client(&Trust::read(&files.trust, &trust).map_err(words)?, own)?;
    Ok(Loaded { config: Arc::new(config), token, digest, looked: Instant::now(), number })
}

fn header(token: &[u8]) -> Option<HeaderValue> {
    let is_one = !token.is_empty() && token.iter().all(u8::is_ascii_graphic);
    let mut value = is_one.then(|| HeaderValue::from_bytes(&[&b"Bearer "[..], token].concat()).ok()).flatten()?;
    value.set_sensitive(true);
    Some(value)
}
