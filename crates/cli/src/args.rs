//! Flags that several commands share, and how they become a connected client.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use dynamo_client::{CallerFiles, Client, Config, Routing};
use dynamo_version::text;
use serde::Deserialize;

use crate::{failure::Failure, output::Format};

/// Client port of the first node of `dynamo local`.
pub const LOCAL_PORT: u16 = 7400;
/// So many ports from there are tried when no endpoint is given, so that a killed first node is no obstacle.
const LOCAL_ENDPOINTS: u16 = 5;

/// Which cluster to ask.
#[derive(Debug, Clone, Args)]
pub struct Endpoint {
    /// Nodes to ask, host:port, comma separated, tried in order [default: 127.0.0.1:7400, then :7401 to :7404]
    #[arg(long, env = "DYNAMO_ENDPOINT", value_name = "HOST:PORT", hide_env_values = true)]
    pub endpoint: Option<String>,
    /// Send every request through these nodes, not straight to one that has the key: for forwarded ports and proxies
    #[arg(long, env = "DYNAMO_VIA_ENDPOINT", hide_env_values = true)]
    pub via_endpoint: bool,
    /// In a box: commands are of about one size.
    #[command(flatten)]
    tls: Box<Tls>,
    /// File with an answer for any of these that is not given: {"endpoint": "host:port", "tls_ca": "ca.pem", ...}; paths
    /// in it are as seen from where it is
    #[arg(long, env = "DYNAMO_PROFILE", value_name = "FILE", hide_env_values = true)]
    profile: Option<PathBuf>,
}

/// What a profile holds: flags, without their dashes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Profile {
    endpoint: Option<String>,
    tls_ca: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_server_name: Option<String>,
    token_file: Option<PathBuf>,
}

/// What is shown to the nodes, and whom they may be. Files, so that no secret stands in a command line.
#[derive(Debug, Clone, Default, Args)]
struct Tls {
    /// Speak TLS with nodes whose certificates are of these authorities (PEM)
    #[arg(long, alias = "ca", env = "DYNAMO_TLS_CA", value_name = "FILE", hide_env_values = true)]
    tls_ca: Option<PathBuf>,
    /// Certificate to show (PEM)
    #[arg(long, alias = "cert", env = "DYNAMO_TLS_CERT", value_name = "FILE", hide_env_values = true)]
    tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, env = "DYNAMO_TLS_KEY", value_name = "FILE", hide_env_values = true)]
    tls_key: Option<PathBuf>,
    /// Name that the nodes' certificates have to bear, in place of the host that is connected to
    #[arg(long, env = "DYNAMO_TLS_SERVER_NAME", value_name = "NAME", hide_env_values = true)]
    tls_server_name: Option<String>,
    /// Bearer token to show
    #[arg(long, env = "DYNAMO_TOKEN_FILE", value_name = "FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,
}

impl Tls {
    /// These, and those of a profile where nothing is given.
    fn or(self, profile: Profile, from: &Path) -> Self {
        let or = |given: Option<PathBuf>, said: Option<PathBuf>| given.or_else(|| Some(from.join(said?)));
        // A pair stays one.
        let (tls_cert, tls_key) = match (self.tls_cert, self.tls_key) {
            (None, None) => (or(None, profile.tls_cert), or(None, profile.tls_key)),
            given => given,
        };
        Self {
            tls_ca: or(self.tls_ca, profile.tls_ca),
            tls_cert,
            tls_key,
            tls_server_name: self.tls_server_name.or(profile.tls_server_name),
            token_file: or(self.token_file, profile.token_file),
        }
    }

    fn files(&self) -> Result<Option<CallerFiles>, Failure> {
        let certificate = match (self.tls_cert.clone(), self.tls_key.clone()) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(Failure::usage("--tls-cert and --tls-key go together: give both, or neither")),
        };
        let Some(trust) = self.tls_ca.clone() else {
            let shows = certificate.is_some() || self.token_file.is_some() || self.tls_server_name.is_some();
            let why = "without --tls-ca nothing is shown to anybody: in plaintext all could read it. Say which authorities' certificates the nodes have";
            return if shows { Err(Failure::usage(why)) } else { Ok(None) };
        };
        let (token, server_name) = (self.token_file.clone(), self.tls_server_name.clone());
        Ok(Some(CallerFiles { trust, certificate, token, server_name }))
    }
}

/// For whom the output is.
#[derive(Debug, Clone, Copy, Args)]
pub struct Output {
    /// For people or for programs
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

impl Output {
    /// Whether a program reads it.
    pub fn json(self) -> bool {
        self.output == Format::Json
    }
}

/// Which bucket.
#[derive(Debug, Clone, Args)]
pub struct Bucket {
    /// Bucket of the key
    #[arg(long, default_value = dynamo_wire::DEFAULT_BUCKET, value_name = "NAME")]
    pub bucket: String,
}

impl Endpoint {
    /// Where to connect, and how.
    pub fn config(&self) -> Result<Config, Failure> {
        let profile = self.profile()?;
        let from = self.profile.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let config = match self.endpoint.as_deref().or(profile.endpoint.as_deref()) {
            Some(list) => Config::parse(list)?,
            None => {
                let ports = LOCAL_PORT..LOCAL_PORT + LOCAL_ENDPOINTS;
                Config::new(ports.map(|port| format!("127.0.0.1:{port}")).collect())
            }
        };
        Ok(Config { tls: Tls::clone(&self.tls).or(profile, from).files()?, ..config })
    }

    fn profile(&self) -> Result<Profile, Failure> {
        let Some(path) = &self.profile else { return Ok(Profile::default()) };
        let cannot = |why: String| Failure::usage(format!("--profile {}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| cannot(error.to_string()))
    }

    /// Connects as the client library likes best.
    pub async fn connect(&self) -> Result<Client, Failure> {
        self.connect_with(Routing::Coordinator).await
    }

    /// Connects with a given routing.
    pub async fn connect_with(&self, routing: Routing) -> Result<Client, Failure> {
        let mut config = self.config()?;
        config.routing = if self.via_endpoint { Routing::Server } else { routing };
        Ok(Client::connect(config).await?)
    }
}

/// A key as an argument that can be copied to a shell, with its bucket where that has to be named.
pub fn to_copy(bucket: &str, key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-.:/@%+,".contains(c);
    let quoted = match key.chars().all(bare) && !key.is_empty() {
        true => key.to_owned(),
        false => format!("'{}'", key.replace('\'', "'\\''")),
    };
    let bucket = match bucket {
        "" | dynamo_wire::DEFAULT_BUCKET => String::new(),
        other => format!("--bucket {other} "),
    };
    let apart = if key.starts_with('-') { "-- " } else { "" };
    format!("{bucket}{apart}{quoted}")
}

/// A context as it was printed, back to bytes.
pub fn context(given: Option<&str>) -> Result<Vec<u8>, Failure> {
    let Some(given) = given else { return Ok(Vec::new()) };
    text::decode(given.trim()).ok_or_else(|| {
        Failure::usage(
            "the context is damaged: it is no base64url. Nothing was written; \
             pass it exactly as `put` or `get -o json` printed it",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn nothing_is_shown_in_plaintext_and_half_a_pair_is_none() {
        let file = |name: &str| Some(PathBuf::from(name));
        let refused = |tls: Tls, says: &str| match tls.files() {
            Err(Failure::Told(Exit::Usage, why)) => assert!(why.contains(says), "{why}"),
            other => panic!("{other:?}"),
        };
        assert!(Tls::default().files().unwrap().is_none());
        refused(Tls { token_file: file("t"), ..Tls::default() }, "--tls-ca");
        refused(Tls { tls_server_name: Some("n".into()), ..Tls::default() }, "--tls-ca");
        refused(Tls { tls_cert: file("c"), tls_key: file("k"), ..Tls::default() }, "--tls-ca");
        refused(Tls { tls_ca: file("a"), tls_cert: file("c"), ..Tls::default() }, "go together");
        let whole = Tls { tls_ca: file("a"), tls_cert: file("c"), tls_key: file("k"), ..Tls::default() };
        let files = whole.files().unwrap().unwrap();
        assert_eq!((Some(files.trust), files.certificate), (file("a"), file("c").zip(file("k"))));
    }

    #[test]
    fn a_profile_answers_where_nothing_is_given_and_its_paths_are_as_seen_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("profile.json");
        let given = |tls: Tls| Endpoint {
            endpoint: None,
            via_endpoint: false,
            tls: Box::new(tls),
            profile: Some(file.clone()),
        };
        let text =
            r#"{"endpoint": "a:1,b:2", "tls_ca": "ca.pem", "tls_cert": "c", "tls_key": "/k", "token_file": "t"}"#;
        fs::write(&file, text).unwrap();
        let config = given(Tls::default()).config().unwrap();
        let files = config.tls.unwrap();
        assert_eq!((config.endpoints, files.trust), (vec!["a:1".into(), "b:2".into()], dir.path().join("ca.pem")));
        assert_eq!(files.certificate, Some((dir.path().join("c"), "/k".into())));
        // What is given wins; a pair is taken whole.
        let own = Tls { tls_cert: Some("own".into()), tls_key: Some("key".into()), ..Tls::default() };
        let endpoint = Endpoint { endpoint: Some("c:3".into()), ..given(own) };
        let config = endpoint.config().unwrap();
        assert_eq!(config.endpoints, ["c:3"]);
        assert_eq!(config.tls.unwrap().certificate, Some(("own".into(), "key".into())));
        let half = Tls { tls_cert: Some("own".into()), ..Tls::default() };
        assert!(matches!(given(half).config(), Err(Failure::Told(Exit::Usage, _))));
        for (text, says) in [("{", "line 1"), (r#"{"tls_cat": "x"}"#, "tls_cat")] {
            fs::write(&file, text).unwrap();
            let Err(Failure::Told(Exit::Usage, why)) = given(Tls::default()).config() else {
                panic!("{text} is taken")
            };
            assert!(why.contains("profile.json") && why.contains(says), "{why}");
        }
    }

    #[test]
    fn a_key_to_copy_is_one_word_of_a_shell_and_no_flag() {
        assert_eq!(to_copy("default", "cart:alice"), "cart:alice");
        assert_eq!(to_copy("b", "two words"), "--bucket b 'two words'");
        assert_eq!(to_copy("b", "-k"), "--bucket b -- -k");
        assert_eq!(to_copy("default", "it's $HOME"), "'it'\\''s $HOME'");
    }

    #[test]
    fn a_context_comes_back_as_it_was_printed_and_a_damaged_one_is_wrong_usage() {
        let printed = text::encode(&[1, 2, 250, 255]);
        assert_eq!(context(Some(&format!(" {printed}\n"))).unwrap(), [1, 2, 250, 255]);
        assert_eq!(context(None).unwrap(), [0u8; 0]);
        assert!(matches!(context(Some("not base64!")), Err(Failure::Told(Exit::Usage, _))));
    }
}
