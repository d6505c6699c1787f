//! Flags that several commands share, and how they become a connected client.

use clap::Args;
use dynamo_client::{Client, Config, Routing};
use dynamo_version::text;

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
    fn config(&self) -> Result<Config, Failure> {
        match self.endpoint.as_deref() {
            Some(list) => Ok(Config::parse(list)?),
            None => {
                let ports = LOCAL_PORT..LOCAL_PORT + LOCAL_ENDPOINTS;
                Ok(Config::new(ports.map(|port| format!("127.0.0.1:{port}")).collect()))
            }
        }
    }

    /// Connects as the client library likes best.
    pub async fn connect(&self) -> Result<Client, Failure> {
        self.connect_with(Routing::Coordinator).await
    }

    /// Connects with a given routing.
    pub async fn connect_with(&self, routing: Routing) -> Result<Client, Failure> {
        let mut config = self.config()?;
        config.routing = routing;
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
