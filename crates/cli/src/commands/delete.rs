//! `dynamo delete`: writes a tombstone over what its context covers.

use bytes::Bytes;
use clap::Args;
use dynamo_client::Delete;
use dynamo_version::text;
use serde_json::json;

use crate::{args, failure::Failure, output};

const EXAMPLES: &str = "\
Examples:
  dynamo delete greeting                       # reads it first and deletes all that it has read
  dynamo delete greeting --context CONTEXT     # deletes what that get saw, and nothing newer

Exit code 1 when there is nothing to delete.";

/// Deletes a key
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    /// The key; one that begins with a hyphen comes after --
    key: String,
    #[command(flatten)]
    bucket: args::Bucket,
    /// Context of the get that this supersedes; without it, the key is read first
    #[arg(long, allow_hyphen_values = true)]
    context: Option<String>,
    /// How many replicas have to answer the first read [default: the bucket's R]
    #[arg(short, value_parser = clap::value_parser!(u32).range(1..), value_name = "REPLICAS", conflicts_with = "context")]
    r: Option<u32>,
    /// How many replicas have to hold the deletion [default: the bucket's W]
    #[arg(short, value_parser = clap::value_parser!(u32).range(1..), value_name = "REPLICAS")]
    w: Option<u32>,
    #[command(flatten)]
    endpoint: args::Endpoint,
    #[command(flatten)]
    output: args::Output,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        let given = args::context(self.context.as_deref())?;
        let client = self.endpoint.connect().await?;
        let bucket = self.bucket.bucket;
        let context = match self.context {
            Some(_) => Bytes::from(given),
            None => {
                let found = client.get(&bucket, self.key.clone(), self.r).await?;
                if found.values.is_empty() {
                    return Err(Failure::not_found(format!("{} is not there; nothing to delete", self.key)));
                }
                found.context
            }
        };
        let delete = Delete { bucket: bucket.clone(), key: self.key.clone().into(), context, w: self.w };
        let written = client.delete(delete).await?;
        if self.output.json() {
            let context = text::encode(&written.context);
            return output::document(&json!({ "key": self.key, "bucket": bucket, "context": context }));
        }
        output::line(format!("deleted {}", self.key))
    }
}
