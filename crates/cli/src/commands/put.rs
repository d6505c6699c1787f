//! `dynamo put`: writes a value (§4.1), prints the new context.

use std::io::{self, IsTerminal, Read};

use bytes::Bytes;
use clap::Args;
use dynamo_client::Put;
use dynamo_version::text;
use serde_json::json;

use crate::{args, failure::Failure, output};

const EXAMPLES: &str = "\
Examples:
  dynamo put greeting hello
  dynamo put photo < photo.jpg
  dynamo put greeting hej --context \"$(dynamo get greeting -o json | jq -r .context)\"

A put without --context has read nothing: it supersedes nothing, and becomes a sibling of what is there.";

/// Writes a value and prints the new context
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    /// The key; one that begins with a hyphen comes after --
    key: String,
    /// The value; without it, standard input is read to its end. One that begins with a hyphen, and is no number, comes
    /// after --
    #[arg(allow_negative_numbers = true)]
    value: Option<String>,
    #[command(flatten)]
    bucket: args::Bucket,
    /// Context of the get or put that this write supersedes
    #[arg(long, allow_hyphen_values = true)]
    context: Option<String>,
    /// How many replicas have to hold the write [default: the bucket's W]
    #[arg(short, value_parser = clap::value_parser!(u32).range(1..), value_name = "REPLICAS")]
    w: Option<u32>,
    #[command(flatten)]
    endpoint: args::Endpoint,
    #[command(flatten)]
    output: args::Output,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        let context = Bytes::from(args::context(self.context.as_deref())?);
        let value = match self.value {
            Some(value) => value.into_bytes(),
            None => standard_input().await?,
        };
        let client = self.endpoint.connect().await?;
        let bucket = self.bucket.bucket;
        let put = Put { bucket: bucket.clone(), key: self.key.clone().into(), value: value.into(), context, w: self.w };
        let written = client.put(put).await?;
        if written.siblings > 1 {
            eprintln!(
                "note: {} now has {} siblings. `dynamo get {}` shows them; put the merged value with that context",
                self.key,
                written.siblings,
                args::to_copy(&bucket, &self.key)
            );
        }
        let context = text::encode(&written.context);
        if self.output.json() {
            return output::document(
                &json!({ "key": self.key, "bucket": bucket, "context": context, "siblings": written.siblings }),
            );
        }
        output::line(context)
    }
}

/// All of standard input. A value is at most some MiB; the node says how much it takes.
async fn standard_input() -> Result<Vec<u8>, Failure> {
    const MOST: u64 = 64 << 20;
    if io::stdin().is_terminal() {
        eprintln!("reading the value from standard input; end it with Ctrl-D on a line of its own");
    }
    let read = tokio::task::spawn_blocking(|| {
        let mut value = Vec::new();
        io::stdin().lock().take(MOST + 1).read_to_end(&mut value).map(|_| value)
    });
    let value = read
        .await
        .expect("reading does not panic")
        .map_err(|error| Failure::file("can't read the value from standard input", &error))?;
    if value.len() as u64 > MOST {
        return Err(Failure::usage("the value on standard input is over 64 MiB. Nothing was written"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        command: Command,
    }

    fn parse(line: &[&str]) -> (String, Option<String>, Option<u32>) {
        let command = Line::parse_from([&["put"], line].concat()).command;
        (command.key, command.value, command.w)
    }

    #[test]
    fn flags_are_no_values_and_what_begins_with_a_hyphen_comes_after_two() {
        assert_eq!(parse(&["k", "-w", "2"]), ("k".into(), None, Some(2)));
        assert_eq!(parse(&["-w", "2", "k"]), ("k".into(), None, Some(2)));
        assert_eq!(parse(&["k", "-5", "-w", "1"]), ("k".into(), Some("-5".into()), Some(1)));
        assert_eq!(parse(&["--", "-k", "-w"]), ("-k".into(), Some("-w".into()), None));
        // A flag that is misspelt must become neither a key nor a value.
        for line in [["put", "--bukcet=b", "k"], ["put", "k", "--contxt=c"], ["put", "k", "--raw"]] {
            assert!(Line::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
