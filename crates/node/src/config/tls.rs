//! TLS: whether it is spoken, with which files, and who may ask what (docs/SECURITY.md).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Config, check::Problems};

/// Whether TLS is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// By nobody: whoever reaches the ports reads and writes.
    Plaintext,
    /// By peers and clients alike; plaintext is refused.
    Tls,
}

/// How a client shows who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuth {
    /// It need not: whoever trusts the node's certificate reads and writes.
    None,
    /// By a certificate for a client, an administrator or a node of this cluster.
    Certificate,
    /// By a bearer token, or by a certificate.
    Token,
}

/// TLS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a section of keys")]
pub struct TlsConfig {
    /// Whether it is spoken. Who wants no protection has to say so.
    pub mode: Option<TlsMode>,
    /// PEM: this node's certificate and its chain.
    pub certificate_file: Option<PathBuf>,
    /// PEM: its key.
    pub key_file: Option<PathBuf>,
    /// PEM: the authorities that are trusted, for peers and clients.
    pub trust_file: Option<PathBuf>,
    /// How clients show who they are.
    pub client_auth: ClientAuth,
    /// Files of tokens, one a line; each file's name begins with what they may do.
    pub tokens_dir: Option<PathBuf>,
    /// Where the node has its certificate signed, in place of the two files.
    pub signer_url: Option<String>,
    /// PEM: the authorities that are trusted to be the signer's.
    pub signer_trust_file: Option<PathBuf>,
    /// What proves to the signer which node this is.
    pub signer_token_file: Option<PathBuf>,
    /// Between looks at the files, milliseconds.
    pub reload_ms: u64,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            mode: None,
            certificate_file: None,
            key_file: None,
            trust_file: None,
            client_auth: ClientAuth::Certificate,
            tokens_dir: None,
            signer_url: None,
            signer_trust_file: None,
            signer_token_file: None,
            reload_ms: 5000,
        }
    }
}

impl TlsConfig {
    /// The keys that name something, and whether they do.
    fn given(&self) -> [(&'static str, bool); 7] {
        [
            ("tls.certificate_file", self.certificate_file.is_some()),
            ("tls.key_file", self.key_file.is_some()),
            ("tls.trust_file", self.trust_file.is_some()),
            ("tls.tokens_dir", self.tokens_dir.is_some()),
            ("tls.signer_url", self.signer_url.is_some()),
            ("tls.signer_trust_file", self.signer_trust_file.is_some()),
            ("tls.signer_token_file", self.signer_token_file.is_some()),
        ]
    }
}

impl Config {
    pub(super) fn check_tls(&self, found: &mut Problems) {
        let tls = &self.tls;
        let mode = "say tls; or plaintext, with which whoever reaches the ports reads and writes all data";
        found.demand(tls.mode.is_some(), "tls.mode", mode);
        let Some(mode) = tls.mode else { return };
        if mode == TlsMode::Plaintext {
            // Who names files believes to be protected.
            if let Some((key, _)) = tls.given().into_iter().find(|(_, given)| *given) {
                let text = format!("is plaintext, and {key} is given: say tls here, or leave that out");
                found.demand(false, "tls.mode", text);
            }
            return;
        }
        found.demand(tls.trust_file.is_some(), "tls.trust_file", "say whose certificates are trusted");
        match &tls.signer_url {
            None => {
                let text = "say where this node's is, or where it is signed (tls.signer_url)";
                found.demand(tls.certificate_file.is_some(), "tls.certificate_file", text);
                found.demand(tls.key_file.is_some(), "tls.key_file", "say where the key of this node's certificate is");
            }
            Some(url) => {
                let own = "the node makes its key and certificate itself, with tls.signer_url: leave the key out";
                found.demand(tls.certificate_file.is_none(), "tls.certificate_file", own);
                found.demand(tls.key_file.is_none(), "tls.key_file", own);
                let text = format!("{url:?} is no address like https://signer.example:8443/sign");
                found.demand(url.starts_with("https://"), "tls.signer_url", text);
                let trust = "say whose certificate the signer has";
                found.demand(tls.signer_trust_file.is_some(), "tls.signer_trust_file", trust);
                let token = "say where the token is that proves to the signer which node this is";
                found.demand(tls.signer_token_file.is_some(), "tls.signer_token_file", token);
            }
        }
        let tokens = "with tls.client_auth: token, say where the files of tokens are";
        let has_tokens = tls.client_auth != ClientAuth::Token || tls.tokens_dir.is_some();
        found.demand(has_tokens, "tls.tokens_dir", tokens);
        let unused = "certificate takes nobody without one, and tls.tokens_dir is given: say token here, with which certificates are as good, or leave that out";
        let has_use = tls.client_auth != ClientAuth::Certificate || tls.tokens_dir.is_none();
        found.demand(has_use, "tls.client_auth", unused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(change: impl FnOnce(&mut TlsConfig)) -> Vec<&'static str> {
        let mut config =
            Config { tls: TlsConfig { mode: Some(TlsMode::Tls), ..TlsConfig::default() }, ..Config::default() };
        change(&mut config.tls);
        let all = config.problems();
        all.iter().map(|problem| problem.key).filter(|key| key.starts_with("tls.")).collect()
    }

    fn with_files(tls: &mut TlsConfig) {
        tls.trust_file = Some("/t".into());
        (tls.certificate_file, tls.key_file) = (Some("/c".into()), Some("/k".into()));
    }

    fn with_signer(tls: &mut TlsConfig) {
        tls.trust_file = Some("/t".into());
        tls.signer_url = Some("https://signer:1/sign".into());
        (tls.signer_trust_file, tls.signer_token_file) = (Some("/s".into()), Some("/n".into()));
    }

    #[test]
    fn what_is_complete_is_taken_and_what_is_missing_is_named() {
        assert_eq!(problems(with_files), [""; 0]);
        assert_eq!(problems(with_signer), [""; 0]);
        assert_eq!(problems(|_| ()), ["tls.trust_file", "tls.certificate_file", "tls.key_file"]);
        let both = problems(|tls| {
            with_files(tls);
            with_signer(tls);
        });
        assert_eq!(both, ["tls.certificate_file", "tls.key_file"]);
        let plain_signer = problems(|tls| {
            with_signer(tls);
            tls.signer_url = Some("http://signer:1/sign".into());
        });
        assert_eq!(plain_signer, ["tls.signer_url"]);
        let no_tokens = problems(|tls| {
            with_files(tls);
            tls.client_auth = ClientAuth::Token;
        });
        assert_eq!(no_tokens, ["tls.tokens_dir"]);
        for (auth, wrong) in [
            (ClientAuth::Certificate, vec!["tls.client_auth"]),
            (ClientAuth::None, vec![]),
            (ClientAuth::Token, vec![]),
        ] {
            let with_tokens = problems(|tls| {
                with_files(tls);
                (tls.client_auth, tls.tokens_dir) = (auth, Some("/tokens".into()));
            });
            assert_eq!(with_tokens, wrong, "{auth:?}");
        }
    }

    #[test]
    fn nobody_gets_plaintext_by_saying_nothing() {
        assert_eq!(problems(|tls| tls.mode = None), ["tls.mode"]);
        assert_eq!(problems(|tls| tls.mode = Some(TlsMode::Plaintext)), [""; 0]);
    }

    #[test]
    fn who_names_files_and_says_plaintext_is_told_so() {
        for (key, _) in TlsConfig::default().given() {
            let (_, name) = key.split_once('.').unwrap();
            let config: Config = super::super::from_yaml(&format!("tls: {{mode: plaintext, {name}: /x}}")).unwrap();
            let told = config.problems().into_iter().find(|problem| problem.key == "tls.mode").unwrap();
            assert!(told.text.contains(key), "{told}");
        }
    }
}
