//! `dynamo bucket`: creates and shows buckets.

use clap::{Args, Subcommand, ValueEnum};
use dynamo_wire::v1;
use serde_json::{Value, json};

use crate::{args, failure::Failure, output};

const EXAMPLES: &str = "\
Examples:
  dynamo bucket create sessions --mode last-write-wins
  dynamo bucket create ledger -r 2 -w 2 --strict
  dynamo bucket list

A bucket's settings are fixed when it is created. Creating it again with the same ones succeeds; with others it is \
refused. The bucket `default` keeps siblings, and R and W are a majority of N.";

/// Creates and shows buckets
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Creates a bucket
    #[command(after_help = EXAMPLES)]
    Create {
        /// 1 to 64 characters of a-z A-Z 0-9 _ . -
        name: String,
        /// What becomes of concurrent writes
        #[arg(long, value_enum, default_value_t)]
        mode: Mode,
        /// Replicas that a read waits for [default: a majority of N]
        #[arg(short, value_parser = clap::value_parser!(u32).range(1..), value_name = "REPLICAS")]
        r: Option<u32>,
        /// Replicas that a write waits for [default: a majority of N]
        #[arg(short, value_parser = clap::value_parser!(u32).range(1..), value_name = "REPLICAS")]
        w: Option<u32>,
        /// Count home replicas only: with R+W over N a read sees every acknowledged write, and fewer failures are borne
        #[arg(long)]
        strict: bool,
        #[command(flatten)]
        endpoint: args::Endpoint,
        #[command(flatten)]
        output: args::Output,
    },
    /// Lists the buckets
    List {
        #[command(flatten)]
        endpoint: args::Endpoint,
        #[command(flatten)]
        output: args::Output,
    },
    /// Shows one bucket
    Describe {
        /// Its name
        name: String,
        #[command(flatten)]
        endpoint: args::Endpoint,
        #[command(flatten)]
        output: args::Output,
    },
}

/// What becomes of concurrent writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
enum Mode {
    /// All are kept, for the client to reconcile
    #[default]
    Siblings,
    /// The latest by hybrid logical clock is kept
    LastWriteWins,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Create { name, mode, r, w, strict, endpoint, output } => {
                let mode = match mode {
                    Mode::Siblings => v1::BucketMode::Siblings,
                    Mode::LastWriteWins => v1::BucketMode::LastWriteWins,
                };
                let bucket = v1::Bucket { name, mode: mode.into(), r: r.unwrap_or(0), w: w.unwrap_or(0), strict };
                let (bucket, created) = endpoint.connect().await?.create_bucket(bucket).await?;
                if output.json() {
                    let mut document = document(&bucket);
                    document["created"] = created.into();
                    return output::document(&document);
                }
                let what = if created { "created" } else { "was there already, with the same settings" };
                output::line(format!("{} {what}", bucket.name))
            }
            Action::List { endpoint, output } => {
                let buckets = endpoint.connect().await?.list_buckets().await?;
                if output.json() {
                    let buckets: Vec<Value> = buckets.iter().map(document).collect();
                    return output::document(&json!({ "buckets": buckets }));
                }
                print(&buckets)
            }
            Action::Describe { name, endpoint, output } => {
                let bucket = endpoint.connect().await?.describe_bucket(&name).await?;
                if output.json() { output::document(&document(&bucket)) } else { print(&[bucket]) }
            }
        }
    }
}

fn mode(bucket: &v1::Bucket) -> &'static str {
    match bucket.mode() {
        v1::BucketMode::LastWriteWins => "last-write-wins",
        v1::BucketMode::Siblings | v1::BucketMode::Unspecified => "siblings",
    }
}

/// R and W of 0 stand for the majority of N: `null` says that nothing else was chosen.
fn document(bucket: &v1::Bucket) -> Value {
    let chosen = |replicas: u32| if replicas == 0 { Value::Null } else { replicas.into() };
    json!({
        "name": bucket.name, "mode": mode(bucket), "r": chosen(bucket.r), "w": chosen(bucket.w), "strict": bucket.strict
    })
}

fn print(buckets: &[v1::Bucket]) -> Result<(), Failure> {
    let chosen = |replicas: u32| if replicas == 0 { "majority".to_owned() } else { replicas.to_string() };
    let quorum = |strict: bool| if strict { "strict" } else { "sloppy" }.to_owned();
    let rows = buckets
        .iter()
        .map(|bucket| {
            vec![bucket.name.clone(), mode(bucket).into(), chosen(bucket.r), chosen(bucket.w), quorum(bucket.strict)]
        })
        .collect();
    output::print_table(&output::table(&["NAME", "MODE", "R", "W", "QUORUM"], &[], rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_what_was_chosen_and_null_for_what_was_not() {
        let bucket =
            v1::Bucket { name: "b".into(), mode: v1::BucketMode::LastWriteWins.into(), r: 0, w: 2, strict: true };
        assert_eq!(
            document(&bucket),
            json!({"name": "b", "mode": "last-write-wins", "r": null, "w": 2, "strict": true})
        );
    }
}
