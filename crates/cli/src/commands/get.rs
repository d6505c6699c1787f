//! `dynamo get`: reads a key's values, with the context that covers them (§4.1).

use std::io::Write;

use bytes::Bytes;
use clap::Args;
use dynamo_version::text;
use serde_json::{Value, json};

use crate::{args, failure::Exit, failure::Failure, output};

const EXAMPLES: &str = "\
Examples:
  dynamo get greeting
  dynamo get photo --raw > photo.jpg
  dynamo get greeting -o json        # {\"key\",\"bucket\",\"values\":[...],\"context\"}

Concurrent writes leave siblings: each is printed on a line that begins with [1], [2] and so on. With -o json, a value \
that is no UTF-8 is {\"base64\": \"...\"}. Exit code 1 when there is no value.";

/// Reads a key
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    /// The key; one that begins with a hyphen comes after --
    key: String,
    #[command(flatten)]
    bucket: args::Bucket,
    /// How many replicas have to answer [default: the bucket's R]
    #[arg(short, value_parser = clap::value_parser!(u32).range(1..), value_name = "REPLICAS")]
    r: Option<u32>,
    /// Print the value's bytes and nothing else, no newline after them
    #[arg(long, conflicts_with = "output")]
    raw: bool,
    #[command(flatten)]
    endpoint: args::Endpoint,
    #[command(flatten)]
    output: args::Output,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.endpoint.connect().await?;
        let found = client.get(&self.bucket.bucket, self.key.clone(), self.r).await?;
        if self.output.json() {
            output::document(&document(&self.key, &self.bucket.bucket, &found.values, &found.context))?;
        }
        match &found.values[..] {
            [] => Err(Failure::not_found(format!("{} is not there", self.key))),
            _ if self.output.json() => Ok(()),
            [value] if self.raw => output::raw(value),
            [value] => output::raw(&[value, b"\n".as_slice()].concat()),
            _ if self.raw => {
                eprintln!("error: {} has {} siblings; --raw prints one value only", self.key, found.values.len());
                Err(Failure::Silent(Exit::Usage))
            }
            values => {
                output::raw(&numbered(values))?;
                eprintln!(
                    "note: {} siblings of concurrent writes. To reconcile them, put the merged value with this \
                     context:\n  dynamo put --context {} {} VALUE",
                    values.len(),
                    text::encode(&found.context),
                    args::to_copy(&self.bucket.bucket, &self.key)
                );
                Ok(())
            }
        }
    }
}

fn numbered(values: &[Bytes]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (index, value) in values.iter().enumerate() {
        write!(lines, "[{}] ", index + 1).expect("memory takes all");
        lines.extend_from_slice(value);
        lines.push(b'\n');
    }
    lines
}

fn document(key: &str, bucket: &str, values: &[Bytes], context: &[u8]) -> Value {
    let values: Vec<Value> = values.iter().map(|value| output::bytes_to_json(value)).collect();
    json!({ "key": key, "bucket": bucket, "values": values, "context": text::encode(context) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_holds_text_as_text_and_other_bytes_as_base64() {
        let values = [Bytes::from_static(b"tea"), Bytes::from_static(&[0xff])];
        let document = document("k", "default", &values, &[]);
        assert_eq!(
            document,
            json!({"key": "k", "bucket": "default", "values": ["tea", {"base64": "/w=="}], "context": ""})
        );
    }

    #[test]
    fn siblings_are_numbered_and_their_bytes_kept() {
        let values = [Bytes::from_static(b"a"), Bytes::from_static(&[0xff, 0xfe])];
        assert_eq!(numbered(&values), b"[1] a\n[2] \xff\xfe\n");
    }
}
